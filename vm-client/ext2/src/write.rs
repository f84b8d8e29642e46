//! Changing data: write, truncate, punch.

use std::ops::Range;

use vm_block::BlockDevice;

use crate::error::{Corrupt, Ext2Error};
use crate::fs::Ext2;
use crate::inode::FileType;
use crate::le::{put_u32, u32_at};
use crate::map::{self, DIRECT, Path};
use crate::source::Source;
use crate::txn::Txn;
use crate::{Ino, Inode, Time};

/// Most bytes written in one transaction, so that a long write does not keep others waiting.
const PIECE: usize = 256 << 10;

impl<D: BlockDevice> Ext2<D> {
    /// Writes data into a regular file, which grows if needed. Long writes are several transactions: when a later one
    /// fails, the length written until then is returned, and the next call gets the error.
    pub async fn write(&self, ino: Ino, offset: u64, data: &[u8], now: Time) -> Result<usize, Ext2Error> {
        let mut done = 0;
        while done < data.len() {
            let at = offset.checked_add(done as u64).ok_or(Ext2Error::FileTooBig)?;
            // Pieces end at multiples of their size, so that blocks are not written twice.
            let room = PIECE - (at % PIECE as u64) as usize;
            let piece = data.get(done..data.len().min(done + room)).unwrap_or(&[]);
            match self.write_piece(ino, at, piece, now).await {
                Ok(written) => done += written,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Writes as much of a piece as there is room for.
    async fn write_piece(&self, ino: Ino, offset: u64, piece: &[u8], now: Time) -> Result<usize, Ext2Error> {
        let block_size = u64::from(self.superblock.block_size);
        let mut len = piece.len();
        loop {
            let mut txn = self.change().await?;
            match txn.write(ino, offset, piece.get(..len).unwrap_or(piece), now).await {
                Ok(()) => {
                    txn.commit().await?;
                    return Ok(len);
                }
                // Try again with less, whole blocks as long as possible.
                Err(Ext2Error::NoSpace) if len as u64 > block_size => {
                    drop(txn);
                    let half = (offset + len as u64 / 2) / block_size * block_size;
                    let end = if half > offset { half } else { (offset / block_size + 1) * block_size };
                    len = (end - offset) as usize;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Cuts or extends a regular file.
    pub async fn truncate(&self, ino: Ino, size: u64, now: Time) -> Result<(), Ext2Error> {
        let mut txn = self.change().await?;
        let mut inode = txn.inode(ino).await?;
        require_regular(&inode)?;
        if size > self.max_file_size() {
            return Err(Ext2Error::FileTooBig);
        }
        txn.clear_tail(ino, &inode, size.min(inode.size)).await?;
        if size < inode.size {
            let first = size.div_ceil(u64::from(self.superblock.block_size));
            txn.unmap(ino, &mut inode, first..u64::MAX, u64::MAX).await?;
        }
        inode.size = size;
        inode.mtime = now;
        inode.ctime = now;
        txn.put_inode(ino, &inode).await?;
        txn.commit().await
    }

    /// Makes a range of a regular file read as zeros and frees the blocks wholly inside. The size stays.
    pub async fn punch_hole(&self, ino: Ino, offset: u64, len: u64, now: Time) -> Result<(), Ext2Error> {
        let mut txn = self.change().await?;
        let mut inode = txn.inode(ino).await?;
        require_regular(&inode)?;
        let end = offset.saturating_add(len).min(inode.size);
        if offset >= end {
            return Ok(());
        }
        let block_size = u64::from(self.superblock.block_size);
        let (first, last) = (offset / block_size, (end - 1) / block_size);
        for lblock in [first, last] {
            let start = lblock * block_size;
            let zeros = offset.max(start) - start..end.min(start + block_size) - start;
            let partly = zeros.end - zeros.start < block_size && !(end == inode.size && zeros.start == 0);
            if partly {
                txn.zero_in_block(ino, &inode, lblock, zeros.start as usize..zeros.end as usize).await?;
            }
        }
        let whole_end = if end == inode.size { end.div_ceil(block_size) } else { end / block_size };
        txn.unmap(ino, &mut inode, offset.div_ceil(block_size)..whole_end, u64::MAX).await?;
        inode.mtime = now;
        inode.ctime = now;
        txn.put_inode(ino, &inode).await?;
        txn.commit().await
    }
}

fn require_regular(inode: &Inode) -> Result<(), Ext2Error> {
    match inode.file_type() {
        FileType::Regular => Ok(()),
        FileType::Directory => Err(Ext2Error::IsDirectory),
        _ => Err(Ext2Error::Invalid("not a regular file")),
    }
}

impl<D: BlockDevice> Txn<'_, D> {
    async fn write(&mut self, ino: Ino, offset: u64, data: &[u8], now: Time) -> Result<(), Ext2Error> {
        let mut inode = self.inode(ino).await?;
        require_regular(&inode)?;
        let end = offset.checked_add(data.len() as u64).ok_or(Ext2Error::FileTooBig)?;
        if end > map::max_size(self.sb()) {
            return Err(Ext2Error::FileTooBig);
        }
        if offset > inode.size {
            self.clear_tail(ino, &inode, inode.size).await?;
        }
        let block_size = u64::from(self.sb().block_size);
        let mut goal = self.goal(ino, &inode, offset / block_size).await?;
        let mut lblock = offset / block_size;
        let last = end.div_ceil(block_size);
        while lblock < last {
            let run = map::lookup(self, ino, &inode, lblock, last - lblock).await?;
            let len = run.len.clamp(1, last - lblock);
            let (first, count, fresh) = match run.block {
                Some(block) => (block, len as u32, false),
                None => {
                    let (block, count) = self.take_blocks(goal, u32::try_from(len).unwrap_or(u32::MAX)).await?;
                    self.attach(ino, &mut inode, lblock, block, count).await?;
                    (block, count, true)
                }
            };
            for n in 0..u64::from(count) {
                let start = (lblock + n) * block_size;
                let content = self.merged(&inode, first + n as u32, fresh, start, offset, data).await?;
                self.put_data(first + n as u32, content);
            }
            lblock += u64::from(count);
            goal = first.saturating_add(count);
        }
        inode.size = inode.size.max(end);
        inode.mtime = now;
        inode.ctime = now;
        self.put_inode(ino, &inode).await
    }

    /// The new content of the block that holds the file's bytes from `start`, when `data` is written at `offset`.
    async fn merged(
        &self,
        inode: &Inode,
        block: u32,
        fresh: bool,
        start: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<Vec<u8>, Ext2Error> {
        let block_size = self.sb().bs();
        let from = offset.max(start);
        let to = (offset + data.len() as u64).min(start + block_size as u64);
        let piece = data.get((from - offset) as usize..(to - offset) as usize).unwrap_or(&[]);
        if piece.len() == block_size {
            return Ok(piece.to_vec());
        }
        let mut content = if fresh { vec![0; block_size] } else { self.data_block(block).await? };
        // Whatever lies behind the end of the file must not show up when the file grows.
        let valid = inode.size.saturating_sub(start).min(block_size as u64) as usize;
        if let Some(stale) = content.get_mut(valid..) {
            stale.fill(0);
        }
        let within = (from - start) as usize;
        if let Some(target) = content.get_mut(within..within + piece.len()) {
            target.copy_from_slice(piece);
        }
        Ok(content)
    }

    /// Where the next block of a file is best put: behind the block before, else in the inode's group.
    pub(crate) async fn goal(&self, ino: Ino, inode: &Inode, lblock: u64) -> Result<u32, Ext2Error> {
        if let Some(before) = lblock.checked_sub(1)
            && let Some(block) = map::lookup(self, ino, inode, before, 1).await?.block
        {
            return Ok(block.saturating_add(1));
        }
        let group = ino.0.saturating_sub(1) / self.sb().inodes_per_group;
        Ok(self.sb().group_start(group))
    }

    /// Zeroes the rest of the block that `size` ends in.
    async fn clear_tail(&mut self, ino: Ino, inode: &Inode, size: u64) -> Result<(), Ext2Error> {
        let block_size = u64::from(self.sb().block_size);
        let within = (size % block_size) as usize;
        if within == 0 {
            return Ok(());
        }
        self.zero_in_block(ino, inode, size / block_size, within..block_size as usize).await
    }

    async fn zero_in_block(
        &mut self,
        ino: Ino,
        inode: &Inode,
        lblock: u64,
        zeros: Range<usize>,
    ) -> Result<(), Ext2Error> {
        let Some(block) = map::lookup(self, ino, inode, lblock, 1).await?.block else { return Ok(()) };
        let mut content = self.data_block(block).await?;
        let Some(target) = content.get_mut(zeros) else { return Ok(()) };
        if target.iter().any(|byte| *byte != 0) {
            target.fill(0);
            self.put_data(block, content);
        }
        Ok(())
    }

    /// Enters `count` blocks from `block` into a file's map at `lblock`, which was a hole, and counts them.
    pub(crate) async fn attach(
        &mut self,
        ino: Ino,
        inode: &mut Inode,
        lblock: u64,
        block: u32,
        count: u32,
    ) -> Result<(), Ext2Error> {
        let pointers = self.sb().pointers();
        let sectors = u64::from(self.sb().block_size / 512);
        inode.sectors += u64::from(count) * sectors;
        let mut done = 0;
        while done < count {
            let Path { slot, depth, rest } =
                map::locate(pointers, lblock + u64::from(done)).ok_or(Ext2Error::FileTooBig)?;
            if depth == 0 {
                if let Some(pointer) = inode.pointers.get_mut(slot) {
                    *pointer = block + done;
                }
                done += 1;
                continue;
            }
            let mut leaf = inode.pointers.get(slot).copied().unwrap_or(0);
            if leaf == 0 {
                leaf = self.new_map_block(block).await?;
                inode.sectors += sectors;
                if let Some(pointer) = inode.pointers.get_mut(slot) {
                    *pointer = leaf;
                }
            }
            for level in (1..depth).rev() {
                map::check_pointer(self.sb(), ino, leaf)?;
                let index = (rest / pointers.pow(level) % pointers) as usize;
                let mut below = u32_at(&self.block(leaf).await?, index * 4);
                if below == 0 {
                    below = self.new_map_block(block).await?;
                    inode.sectors += sectors;
                    put_u32(self.edit(leaf).await?, index * 4, below);
                }
                leaf = below;
            }
            map::check_pointer(self.sb(), ino, leaf)?;
            let index = (rest % pointers) as u32;
            let here = (count - done).min(pointers as u32 - index);
            let content = self.edit(leaf).await?;
            for n in 0..here {
                put_u32(content, (index + n) as usize * 4, block + done + n);
            }
            done += here;
        }
        Ok(())
    }

    async fn new_map_block(&mut self, goal: u32) -> Result<u32, Ext2Error> {
        let (block, _) = self.take_blocks(goal, 1).await?;
        let zeros = vec![0; self.sb().bs()];
        self.put(block, zeros);
        Ok(block)
    }

    /// Frees the file's blocks in a range and the map blocks that become empty. Stops after about `budget` blocks; tells
    /// whether that was before the end.
    pub(crate) async fn unmap(
        &mut self,
        ino: Ino,
        inode: &mut Inode,
        range: Range<u64>,
        budget: u64,
    ) -> Result<Unmapped, Ext2Error> {
        let pointers = self.sb().pointers();
        let (from, to) = (range.start, range.end.min(map::addressable(pointers)));
        let mut runs = FreeRuns { runs: Vec::new(), blocks: 0, budget };
        for lblock in from..to.min(DIRECT) {
            if let Some(pointer) = inode.pointers.get_mut(lblock as usize) {
                runs.add(std::mem::take(pointer));
            }
        }
        let mut base = DIRECT;
        for depth in 1..=3_u32 {
            let span = pointers.pow(depth);
            let slot = 11 + depth as usize;
            let root = inode.pointers.get(slot).copied().unwrap_or(0);
            if root != 0 && from < base + span && to > base && !runs.is_full() {
                let range = from.saturating_sub(base)..to.saturating_sub(base).min(span);
                let left = self.unmap_tree(ino, root, depth, range, &mut runs).await?;
                if let Some(pointer) = inode.pointers.get_mut(slot) {
                    *pointer = left;
                }
            }
            base += span;
        }
        let outcome = if runs.is_full() { Unmapped::InPart } else { Unmapped::All };
        for (first, count) in runs.runs {
            self.free_blocks(ino, first, count).await?;
        }
        inode.sectors = inode.sectors.saturating_sub(runs.blocks * u64::from(self.sb().block_size / 512));
        Ok(outcome)
    }

    /// Frees a range of a tree; returns what its parent should point to: the tree, or 0 if nothing is left of it.
    async fn unmap_tree(
        &mut self,
        ino: Ino,
        root: u32,
        depth: u32,
        range: Range<u64>,
        runs: &mut FreeRuns,
    ) -> Result<u32, Ext2Error> {
        map::check_pointer(self.sb(), ino, root)?;
        if runs.blocks > u64::from(self.sb().blocks_count) {
            return Err(Corrupt::Inode { ino, what: "has more blocks than there are" }.into());
        }
        let pointers = self.sb().pointers();
        let below = pointers.pow(depth - 1);
        let old = self.block(root).await?;
        let mut new = None;
        let mut empty = true;
        for index in 0..pointers {
            let at = index as usize * 4;
            let pointer = u32_at(&old, at);
            if pointer == 0 {
                continue;
            }
            let start = index * below;
            let inside = range.start.max(start)..range.end.min(start + below);
            let left = if inside.start >= inside.end || runs.is_full() {
                pointer
            } else if depth == 1 {
                runs.add(pointer);
                0
            } else {
                let inside = inside.start - start..inside.end - start;
                Box::pin(self.unmap_tree(ino, pointer, depth - 1, inside, runs)).await?
            };
            if left == 0 {
                put_u32(new.get_or_insert_with(|| old.to_vec()), at, 0);
            } else {
                empty = false;
            }
        }
        if empty {
            runs.add(root);
            return Ok(0);
        }
        if let Some(new) = new {
            self.put(root, new);
        }
        Ok(root)
    }
}

/// How far an unmapping went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmapped {
    All,
    /// The budget was used up.
    InPart,
}

/// Blocks to free, joined where they follow each other.
struct FreeRuns {
    runs: Vec<(u32, u32)>,
    blocks: u64,
    budget: u64,
}

impl FreeRuns {
    fn is_full(&self) -> bool {
        self.blocks >= self.budget
    }

    fn add(&mut self, block: u32) {
        if block == 0 {
            return;
        }
        self.blocks += 1;
        match self.runs.last_mut() {
            Some((first, count)) if first.checked_add(*count) == Some(block) => *count += 1,
            _ => self.runs.push((block, 1)),
        }
    }
}
