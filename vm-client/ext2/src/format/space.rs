//! Handing out the blocks of a new file system.
//!
//! Three sources, in this order: the place a file had in the previous version ([`Space::claim`]); what that version used and
//! nobody claimed, since the chunks there change anyway ([`Space::release`]); the end of the data.

use super::{BLOCK_SIZE, CHUNK_BLOCKS};
use crate::bitmap;
use crate::error::Ext2Error;
use crate::group::inode_table_blocks;
use crate::superblock::Superblock;

/// First block behind a group's own structures.
pub(crate) fn data_start(sb: &Superblock, group: u32) -> u32 {
    sb.group_start(group) + sb.backup_blocks(group) + 2 + inode_table_blocks(sb)
}

/// Where a run of new blocks shall start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Right behind what is there.
    Anywhere,
    /// On a chunk border.
    Chunk,
}

/// The blocks of a file system, free and taken.
#[derive(Debug)]
pub(crate) struct Space<'s> {
    sb: &'s Superblock,
    taken: Vec<u8>,
    /// Runs the previous version used, in order; what is left of them is free.
    released: Vec<(u32, u32)>,
    /// Where the data ends.
    next: u32,
    /// Nothing before this is free, once the end was reached.
    gap: u32,
}

impl<'s> Space<'s> {
    /// Only the groups' own structures are taken.
    pub(crate) fn new(sb: &'s Superblock) -> Self {
        let bits = sb.group_count() as usize * BLOCK_SIZE as usize;
        let mut taken = vec![0; bits];
        for group in 0..sb.group_count() {
            (sb.group_start(group)..data_start(sb, group)).for_each(|block| bitmap::set(&mut taken, block));
        }
        Self { sb, taken, released: Vec::new(), next: 0, gap: 0 }
    }

    /// Takes this very block, if it is free.
    pub(crate) fn claim(&mut self, block: u32) -> bool {
        let free = self.is_free(block);
        if free {
            bitmap::set(&mut self.taken, block);
            self.next = self.next.max(block + 1);
        }
        free
    }

    /// Says which blocks the previous version used, once all claims are made. Data goes on behind the last of them.
    pub(crate) fn release(&mut self, used: impl IntoIterator<Item = u32>) {
        let mut free: Vec<u32> = used.into_iter().filter(|block| self.is_free(*block)).collect();
        free.sort_unstable();
        free.dedup();
        for block in free {
            self.next = self.next.max(block + 1);
            match self.released.last_mut() {
                Some((_, end)) if *end == block => *end += 1,
                _ => self.released.push((block, block + 1)),
            }
        }
    }

    /// Takes `count` blocks, together if there is room; `start` is where a file of several begins, and where it goes on
    /// when it crosses into another group.
    pub(crate) fn take_many(&mut self, count: u64, start: Start) -> Result<Vec<u32>, Ext2Error> {
        let count =
            u32::try_from(count).ok().filter(|count| *count <= self.sb.blocks_count).ok_or(Ext2Error::NoSpace)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        if let Some(first) = self.take_released(count, start) {
            return Ok((first..first + count).collect());
        }
        (0..count).map(|_| self.take_next(start)).collect()
    }

    /// Lengthens a run that ends with `last`, as far as the blocks behind it are free.
    pub(crate) fn extend(&mut self, last: u32, count: u64) -> Vec<u32> {
        let mut taken = Vec::new();
        let mut block = last;
        while (taken.len() as u64) < count {
            block = match block.checked_add(1).filter(|block| self.is_free(*block)) {
                Some(block) => block,
                None => break,
            };
            bitmap::set(&mut self.taken, block);
            self.next = self.next.max(block + 1);
            taken.push(block);
        }
        if let (Some(first), Some(end)) = (taken.first(), taken.last()) {
            self.cut(*first, *end + 1);
        }
        taken
    }

    /// Moves the end of the data to a chunk border.
    pub(crate) fn align(&mut self) {
        self.next = self.next.next_multiple_of(CHUNK_BLOCKS);
    }

    /// One bit a block, whole bitmaps of groups one after the other.
    pub(crate) fn into_bitmap(self) -> Vec<u8> {
        self.taken
    }

    fn is_free(&self, block: u32) -> bool {
        block > 0 && block < self.sb.blocks_count && !bitmap::is_set(&self.taken, block)
    }

    fn take_released(&mut self, count: u32, start: Start) -> Option<u32> {
        let begin = |run: &(u32, u32)| match start {
            Start::Anywhere => run.0,
            Start::Chunk => run.0.next_multiple_of(CHUNK_BLOCKS),
        };
        let fits = |run: &(u32, u32)| run.1.checked_sub(begin(run)).is_some_and(|room| room >= count);
        let first = begin(self.released.iter().find(|run| fits(run))?);
        self.cut(first, first + count);
        (first..first + count).for_each(|block| bitmap::set(&mut self.taken, block));
        Some(first)
    }

    /// Takes blocks out of the released runs.
    fn cut(&mut self, from: u32, to: u32) {
        let first = self.released.partition_point(|run| run.1 <= from);
        let behind = self.released.partition_point(|run| run.0 < to).max(first);
        let touched = self.released.get(first..behind).unwrap_or(&[]);
        let rest: Vec<(u32, u32)> =
            touched.iter().flat_map(|run| [(run.0, run.1.min(from)), (run.0.max(to), run.1)]).collect();
        self.released.splice(first..behind, rest.into_iter().filter(|(from, to)| from < to));
    }

    fn take_next(&mut self, start: Start) -> Result<u32, Ext2Error> {
        while self.next < self.sb.blocks_count && bitmap::is_set(&self.taken, self.next) {
            let behind = data_start(self.sb, self.sb.group_of_block(self.next)).max(self.next + 1);
            // A file that crosses into a new group keeps its place within chunks.
            self.next = if start == Start::Chunk { behind.next_multiple_of(CHUNK_BLOCKS) } else { behind };
        }
        let block = if self.next < self.sb.blocks_count {
            self.next
        } else {
            // The end is reached; gaps are left.
            self.released.clear();
            let found = bitmap::first_clear(&self.taken, self.gap, self.sb.blocks_count).ok_or(Ext2Error::NoSpace)?;
            self.gap = found;
            found
        };
        bitmap::set(&mut self.taken, block);
        self.next = self.next.max(block + 1);
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{FormatOptions, Metadata, Tree, geometry};

    fn superblock() -> Superblock {
        geometry(64 << 20, &FormatOptions::default(), &Tree::new(Metadata::default())).expect("is large enough")
    }

    #[test]
    fn blocks_are_kept_then_reused_then_appended() {
        let sb = superblock();
        let mut space = Space::new(&sb);
        let first = data_start(&sb, 0);
        assert!(!space.claim(first - 1) && !space.claim(0) && !space.claim(sb.blocks_count));
        let base = first.next_multiple_of(CHUNK_BLOCKS);
        assert!(space.claim(base) && !space.claim(base));
        space.release(base..base + 100);
        assert_eq!(space.take_many(2, Start::Anywhere), Ok(vec![base + 1, base + 2]));
        assert_eq!(space.take_many(33, Start::Chunk).expect("has room").first(), Some(&(base + 32)));
        assert_eq!(space.extend(base + 2, 3), [base + 3, base + 4, base + 5]);
        let behind = space.take_many(60, Start::Anywhere).expect("has room");
        assert_eq!(behind.first(), Some(&(base + 100)));
        assert_eq!(space.take_many(1, Start::Anywhere), Ok(vec![base + 6]), "each block once");
    }

    #[test]
    fn everything_can_be_taken_once() {
        let sb = superblock();
        let mut space = Space::new(&sb);
        space.claim(sb.blocks_count - 1);
        let free = u64::from(sb.blocks_count - data_start(&sb, 0)) - 1;
        let mut all = space.take_many(free, Start::Chunk).expect("has room");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64, free);
        assert_eq!(space.take_many(1, Start::Anywhere), Err(Ext2Error::NoSpace));
    }
}
