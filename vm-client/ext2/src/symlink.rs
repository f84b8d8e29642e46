//! Symbolic links: short targets in the inode's pointers (fast), long ones in a block (slow).

use crate::error::{Corrupt, Ext2Error};
use crate::inode::FileType;
use crate::map;
use crate::source::Source;
use crate::{Ino, Inode};

/// Bytes of target an inode can hold, the NUL Linux wants behind it not counted.
pub(crate) const FAST_MAX: usize = 59;

/// Reads a link's target.
pub(crate) async fn read<S: Source>(source: &S, ino: Ino, inode: &Inode) -> Result<Vec<u8>, Ext2Error> {
    if inode.file_type() != FileType::Symlink {
        return Err(Ext2Error::Invalid("not a symbolic link"));
    }
    let sb = source.sb();
    let len = usize::try_from(inode.size).unwrap_or(usize::MAX);
    if inode.is_fast_symlink(sb.block_size) {
        let bytes: Vec<u8> = inode.pointers.iter().flat_map(|p| p.to_le_bytes()).collect();
        return Ok(bytes.get(..len).unwrap_or(&bytes).to_vec());
    }
    if len > sb.bs() {
        return Err(Corrupt::Inode { ino, what: "is a link with a target longer than a block" }.into());
    }
    let run = map::lookup(source, ino, inode, 0, 1).await?;
    let number = run.block.ok_or(Corrupt::Inode { ino, what: "is a link without its target" })?;
    let block = source.block(number).await?;
    Ok(block.get(..len).unwrap_or(&[]).to_vec())
}

/// Puts a short target into an inode.
pub(crate) fn store_fast(inode: &mut Inode, target: &[u8]) {
    let mut bytes = [0; 60];
    for (to, from) in bytes.iter_mut().zip(target.iter().take(FAST_MAX)) {
        *to = *from;
    }
    for (pointer, piece) in inode.pointers.iter_mut().zip(bytes.chunks_exact(4)) {
        *pointer = u32::from_le_bytes(piece.try_into().unwrap_or_default());
    }
}
