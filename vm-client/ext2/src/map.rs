//! From a file's blocks to the device's: direct pointers and trees of one to three levels.
//!
//! Block numbers within a file are `u64` (`lblock`), those of the file system `u32` (`block`), so that they cannot be
//! mixed up.

use crate::error::{Corrupt, Ext2Error};
use crate::le::u32_at;
use crate::source::Source;
use crate::superblock::Superblock;
use crate::{Ino, Inode};

/// Direct pointers of an inode.
pub(crate) const DIRECT: u64 = 12;

/// Where a block of a file hangs: a pointer of the inode, and the way down from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    /// Index of the inode's pointer.
    pub(crate) slot: usize,
    /// Levels of map blocks below the pointer.
    pub(crate) depth: u32,
    /// The block's number within that tree.
    pub(crate) rest: u64,
}

/// Blocks that lie together: `len` of them from `block`, or a hole of `len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) block: Option<u32>,
    pub(crate) len: u64,
}

/// Finds the way to a block; `None` beyond what the format can address.
pub(crate) fn locate(pointers: u64, lblock: u64) -> Option<Path> {
    if lblock < DIRECT {
        return Some(Path { slot: lblock as usize, depth: 0, rest: 0 });
    }
    let mut rest = lblock - DIRECT;
    for depth in 1..=3 {
        let span = pointers.pow(depth);
        if rest < span {
            return Some(Path { slot: 11 + depth as usize, depth, rest });
        }
        rest -= span;
    }
    None
}

/// Blocks a file can have by its map alone.
pub(crate) fn addressable(pointers: u64) -> u64 {
    DIRECT + pointers + pointers.pow(2) + pointers.pow(3)
}

/// The largest size of a file: what the map addresses, and what fits in a 32-bit count of 512-byte units.
pub(crate) fn max_size(sb: &Superblock) -> u64 {
    let by_map = addressable(sb.pointers()).saturating_mul(u64::from(sb.block_size));
    // The map blocks count too; this is a little under the bound, as Linux's own limit is.
    let by_count = (u64::from(u32::MAX) * 512).saturating_sub(u64::from(u32::MAX) * 512 / sb.pointers() * 2);
    by_map.min(by_count) / u64::from(sb.block_size) * u64::from(sb.block_size)
}

/// Refuses a pointer that cannot be one.
pub(crate) fn check_pointer(sb: &Superblock, ino: Ino, block: u32) -> Result<(), Ext2Error> {
    if block <= sb.first_data_block || block >= sb.blocks_count {
        return Err(Corrupt::Pointer { ino, block, what: "which is outside the file system" }.into());
    }
    Ok(())
}

/// Finds where up to `max` blocks from `lblock` are.
pub(crate) async fn lookup<S: Source>(
    source: &S,
    ino: Ino,
    inode: &Inode,
    lblock: u64,
    max: u64,
) -> Result<Run, Ext2Error> {
    let sb = source.sb();
    let pointers = sb.pointers();
    let Some(Path { slot, depth, rest }) = locate(pointers, lblock) else {
        return Ok(Run { block: None, len: max });
    };
    if depth == 0 {
        let direct = inode.pointers.get(slot..DIRECT as usize).unwrap_or(&[]);
        return run_of(sb, ino, direct.iter().copied(), max);
    }
    let mut pointer = inode.pointers.get(slot).copied().unwrap_or(0);
    for level in (0..depth).rev() {
        let below = pointers.pow(level);
        if pointer == 0 {
            let whole = below * pointers;
            return Ok(Run { block: None, len: (whole - rest % whole).min(max) });
        }
        check_pointer(sb, ino, pointer)?;
        let block = source.block(pointer).await?;
        let index = (rest / below % pointers) as usize;
        if level == 0 {
            return run_of(sb, ino, (index..pointers as usize).map(|n| u32_at(&block, n * 4)), max);
        }
        pointer = u32_at(&block, index * 4);
    }
    Ok(Run { block: None, len: max.min(1) })
}

/// The run at the start of consecutive pointers.
fn run_of(sb: &Superblock, ino: Ino, mut pointers: impl Iterator<Item = u32>, max: u64) -> Result<Run, Ext2Error> {
    let Some(first) = pointers.next() else { return Ok(Run { block: None, len: max }) };
    let mut len = 1;
    if first == 0 {
        len += pointers.take_while(|p| *p == 0).count() as u64;
        return Ok(Run { block: None, len: len.min(max) });
    }
    check_pointer(sb, ino, first)?;
    for pointer in pointers {
        if len >= max || u64::from(pointer) != u64::from(first) + len {
            break;
        }
        check_pointer(sb, ino, pointer)?;
        len += 1;
    }
    Ok(Run { block: Some(first), len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_on_every_level() {
        let p = 256;
        assert_eq!(locate(p, 11), Some(Path { slot: 11, depth: 0, rest: 0 }));
        assert_eq!(locate(p, 12), Some(Path { slot: 12, depth: 1, rest: 0 }));
        assert_eq!(locate(p, 12 + p), Some(Path { slot: 13, depth: 2, rest: 0 }));
        assert_eq!(locate(p, 12 + p + p * p), Some(Path { slot: 14, depth: 3, rest: 0 }));
        assert_eq!(locate(p, addressable(p) - 1), Some(Path { slot: 14, depth: 3, rest: p * p * p - 1 }));
        assert_eq!(locate(p, addressable(p)), None);
    }
}
