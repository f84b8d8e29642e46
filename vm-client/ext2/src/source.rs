//! Where the parsers get blocks from.
//!
//! The same code walks the committed state (waiting or not) and the private state of a running transaction; [`Source`] is
//! what it needs. [`BlockCache`] keeps recently used metadata blocks of the committed state.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::error::{Corrupt, Ext2Error};
use crate::group::{Group, inode_place};
use crate::superblock::Superblock;
use crate::{Ino, Inode};

/// The content of a metadata block.
pub(crate) type Block = Rc<Vec<u8>>;

/// A state of the file system that can be read.
pub(crate) trait Source {
    /// The superblock.
    fn sb(&self) -> &Superblock;

    /// A group's descriptor.
    fn group(&self, number: u32) -> Result<Group, Ext2Error>;

    /// A metadata block: map, directory, link target, attributes, bitmaps, inode table.
    async fn block(&self, block: u32) -> Result<Block, Ext2Error>;

    /// Bytes of file data, which are not cached here.
    async fn data(&self, offset: u64, buf: &mut [u8]) -> Result<(), Ext2Error>;

    /// Whether an inode without links is kept because it is still open.
    fn is_orphan(&self, ino: Ino) -> bool;

    /// The block and offset of an inode's slot.
    fn inode_slot(&self, ino: Ino) -> Result<(u32, usize), Ext2Error> {
        let (group, block, offset) = inode_place(self.sb(), ino)?;
        Ok((self.group(group)?.inode_table.saturating_add(block), offset))
    }

    /// The raw slot of an inode.
    async fn inode_raw(&self, ino: Ino) -> Result<Vec<u8>, Ext2Error> {
        let (block, offset) = self.inode_slot(ino)?;
        let block = self.block(block).await?;
        let size = self.sb().inode_size as usize;
        Ok(block.get(offset..offset + size).unwrap_or(&[]).to_vec())
    }

    /// An inode that is in use: linked, or unlinked and still open.
    async fn inode(&self, ino: Ino) -> Result<Inode, Ext2Error> {
        let (block, offset) = self.inode_slot(ino)?;
        let block = self.block(block).await?;
        let size = self.sb().inode_size as usize;
        let inode = Inode::parse(block.get(offset..offset + size).unwrap_or(&[]));
        if inode.mode == 0 || inode.links == 0 && !self.is_orphan(ino) {
            return Err(Ext2Error::NotFound);
        }
        if inode.flags & (crate::inode::flag::EXTENTS | crate::inode::flag::INLINE_DATA) != 0 {
            return Err(Corrupt::Inode { ino, what: "has ext4 flags on a file system without these features" }.into());
        }
        if inode.is_dir() && (inode.size == 0 || !inode.size.is_multiple_of(u64::from(self.sb().block_size))) {
            return Err(Corrupt::Inode { ino, what: "is a directory whose size is not whole blocks" }.into());
        }
        Ok(inode)
    }
}

/// Recently used blocks in two generations: when the young one is full it becomes the old one, and what the old one still
/// held is forgotten. Bounded, constant time, close to least-recently-used.
pub(crate) struct BlockCache {
    half: usize,
    young: RefCell<HashMap<u32, Block>>,
    old: RefCell<HashMap<u32, Block>>,
}

impl BlockCache {
    pub(crate) fn new(blocks: usize) -> Self {
        Self { half: (blocks / 2).max(1), young: RefCell::default(), old: RefCell::default() }
    }

    pub(crate) fn get(&self, block: u32) -> Option<Block> {
        if let Some(found) = self.young.borrow().get(&block) {
            return Some(Rc::clone(found));
        }
        let found = self.old.borrow_mut().remove(&block)?;
        self.insert(block, Rc::clone(&found));
        Some(found)
    }

    pub(crate) fn insert(&self, block: u32, content: Block) {
        let mut young = self.young.borrow_mut();
        if young.len() >= self.half {
            *self.old.borrow_mut() = std::mem::take(&mut *young);
        }
        self.old.borrow_mut().remove(&block);
        young.insert(block, content);
    }

    pub(crate) fn remove(&self, block: u32) {
        self.young.borrow_mut().remove(&block);
        self.old.borrow_mut().remove(&block);
    }
}

/// Counts changes, so that a reader that awaited can tell whether what it read is still true.
#[derive(Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn bump(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

/// Polls a future of a non-waiting source, which is finished at the first poll.
pub(crate) fn finish_now<T>(future: impl Future<Output = Result<T, Ext2Error>>) -> Option<Result<T, Ext2Error>> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(Ext2Error::WouldWait)) | Poll::Pending => None,
        Poll::Ready(done) => Some(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_is_used() {
        let cache = BlockCache::new(8);
        cache.insert(0, Rc::new(vec![9]));
        for n in 1..100 {
            assert!(cache.get(0).is_some());
            cache.insert(n, Rc::new(vec![]));
        }
        assert!(cache.young.borrow().len() + cache.old.borrow().len() <= 8);
        assert!(cache.get(50).is_none());
        cache.remove(0);
        assert!(cache.get(0).is_none());
    }
}
