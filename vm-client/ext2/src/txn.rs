//! A transaction: private copies of the blocks an operation changes, published all at once.
//!
//! A [`Txn`] holds the file system's lock for changes. Until [`Txn::commit`] nobody else sees anything of it, so it may
//! await, fail or be dropped anywhere. `commit` first waits for room on the device, then writes every block within one
//! device operation without awaiting.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use vm_block::{BlockDevice, PAGE_SIZE};
use vm_rt::MutexGuard;

use crate::error::Ext2Error;
use crate::fs::Ext2;
use crate::group::Group;
use crate::source::{Block, Source};
use crate::superblock::{SuperState, Superblock, feature};
use crate::{Ino, Inode};

/// How the orphan list changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrphanChange {
    Add(Ino),
    Remove(Ino),
    /// Forget a list that makes no sense.
    Clear,
}

/// A running transaction; see the module's head.
pub(crate) struct Txn<'f, D> {
    pub(crate) fs: &'f Ext2<D>,
    _changing: MutexGuard<'f, ()>,
    blocks: BTreeMap<u32, Block>,
    data: BTreeMap<u32, Vec<u8>>,
    /// First and one past the last block of each freed run.
    freed: Vec<(u32, u32)>,
    groups: BTreeMap<u32, Group>,
    pub(crate) state: SuperState,
    pub(crate) orphans: Vec<OrphanChange>,
}

impl<D: BlockDevice> Ext2<D> {
    /// Waits for its turn and begins a transaction.
    pub(crate) async fn change(&self) -> Result<Txn<'_, D>, Ext2Error> {
        if self.is_read_only() {
            return Err(Ext2Error::ReadOnly);
        }
        let changing = self.changing.lock().await;
        if let Some(error) = &*self.broken.borrow() {
            return Err(error.clone().into());
        }
        Ok(Txn {
            fs: self,
            _changing: changing,
            blocks: BTreeMap::new(),
            data: BTreeMap::new(),
            freed: Vec::new(),
            groups: BTreeMap::new(),
            state: self.state.get(),
            orphans: Vec::new(),
        })
    }
}

impl<D: BlockDevice> Source for Txn<'_, D> {
    fn sb(&self) -> &Superblock {
        &self.fs.superblock
    }

    fn group(&self, number: u32) -> Result<Group, Ext2Error> {
        match self.groups.get(&number) {
            Some(group) => Ok(*group),
            None => self.fs.group(number),
        }
    }

    fn is_orphan(&self, ino: Ino) -> bool {
        self.fs.is_orphan(ino)
    }

    async fn block(&self, block: u32) -> Result<Block, Ext2Error> {
        match self.blocks.get(&block) {
            Some(own) => Ok(Rc::clone(own)),
            None => self.fs.block(block).await,
        }
    }

    async fn data(&self, offset: u64, buf: &mut [u8]) -> Result<(), Ext2Error> {
        self.fs.data(offset, buf).await
    }
}

impl<D: BlockDevice> Txn<'_, D> {
    /// The private copy of a metadata block, to be changed.
    pub(crate) async fn edit(&mut self, block: u32) -> Result<&mut Vec<u8>, Ext2Error> {
        if !self.blocks.contains_key(&block) {
            let content = self.fs.block(block).await?;
            self.blocks.insert(block, content);
        }
        Ok(Rc::make_mut(self.blocks.entry(block).or_default()))
    }

    /// Sets the whole content of a metadata block.
    pub(crate) fn put(&mut self, block: u32, content: Vec<u8>) {
        self.blocks.insert(block, Rc::new(content));
    }

    /// Sets the whole content of a block of file data.
    pub(crate) fn put_data(&mut self, block: u32, content: Vec<u8>) {
        self.data.insert(block, content);
    }

    /// A block of file data as this transaction sees it.
    pub(crate) async fn data_block(&self, block: u32) -> Result<Vec<u8>, Ext2Error> {
        if let Some(own) = self.data.get(&block) {
            return Ok(own.clone());
        }
        let mut content = vec![0; self.sb().bs()];
        self.fs.data(u64::from(block) * u64::from(self.sb().block_size), &mut content).await?;
        Ok(content)
    }

    /// Changes a group's descriptor.
    pub(crate) fn put_group(&mut self, number: u32, group: Group) {
        self.groups.insert(number, group);
    }

    /// Notes that blocks were freed; what this transaction had put there is forgotten.
    pub(crate) fn note_freed(&mut self, start: u32, count: u32) {
        let end = start.saturating_add(count);
        match self.freed.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => self.freed.push((start, end)),
        }
        let own: Vec<u32> = self.blocks.range(start..end).map(|(n, _)| *n).collect();
        for block in own {
            self.blocks.remove(&block);
        }
        let own: Vec<u32> = self.data.range(start..end).map(|(n, _)| *n).collect();
        for block in own {
            self.data.remove(&block);
        }
    }

    /// Writes an inode.
    pub(crate) async fn put_inode(&mut self, ino: Ino, inode: &Inode) -> Result<(), Ext2Error> {
        let (block, offset) = self.inode_slot(ino)?;
        let size = self.sb().inode_size as usize;
        if inode.size > i32::MAX as u64 && inode.file_type() == crate::FileType::Regular {
            self.need_large_files();
        }
        if let Some(raw) = self.edit(block).await?.get_mut(offset..offset + size) {
            inode.store(raw);
        }
        Ok(())
    }

    /// Replaces the whole slot of an inode.
    pub(crate) async fn put_inode_raw(&mut self, ino: Ino, raw: &[u8]) -> Result<(), Ext2Error> {
        let (block, offset) = self.inode_slot(ino)?;
        if let Some(slot) = self.edit(block).await?.get_mut(offset..offset + raw.len()) {
            slot.copy_from_slice(raw);
        }
        Ok(())
    }

    /// Reads, changes and writes an inode.
    pub(crate) async fn edit_inode(&mut self, ino: Ino, change: impl FnOnce(&mut Inode)) -> Result<Inode, Ext2Error> {
        let mut inode = self.inode(ino).await?;
        change(&mut inode);
        self.put_inode(ino, &inode).await?;
        Ok(inode)
    }

    /// Files over 2 GiB need a feature bit, and bits need revision 1.
    fn need_large_files(&mut self) {
        self.state.revision = self.state.revision.max(1);
        self.state.ro_compat |= feature::RO_COMPAT_LARGE_FILE;
    }

    /// Publishes everything.
    pub(crate) async fn commit(mut self) -> Result<(), Ext2Error> {
        let fs = self.fs;
        let committed = fs.state.get();
        if self.state != committed {
            let (block, offset) = fs.superblock.place();
            let state = self.state;
            state.store(self.edit(block).await?, offset, &committed);
        }
        for (number, group) in self.groups.clone() {
            let (block, offset) = fs.superblock.descriptor_place(number);
            group.store(self.edit(block).await?, offset);
        }
        match self.data.is_empty() {
            true => fs.device.reserve_metadata(self.page_bytes()).await?,
            false => fs.device.reserve(self.page_bytes()).await?,
        }
        self.publish()
    }

    /// Bytes of device pages the transaction touches.
    fn page_bytes(&self) -> u64 {
        let block_size = u64::from(self.sb().block_size);
        let page = |block: &u32| u64::from(*block) * block_size / PAGE_SIZE as u64;
        let pages: BTreeSet<u64> = self.blocks.keys().map(page).chain(self.data.keys().map(page)).collect();
        pages.len() as u64 * PAGE_SIZE as u64
    }

    /// The part that must not await. A device that takes only a part of it has broken its contract, or is a file of a host
    /// in trouble; nothing is changed any more then.
    fn publish(self) -> Result<(), Ext2Error> {
        let fs = self.fs;
        self.apply().inspect_err(|error| {
            if let Ext2Error::Device(error) = error {
                *fs.broken.borrow_mut() = Some(error.clone());
            }
        })
    }

    fn apply(self) -> Result<(), Ext2Error> {
        let fs = self.fs;
        let block_size = u64::from(fs.superblock.block_size);
        let _operation = fs.device.begin();
        for (start, end) in &self.freed {
            fs.device.discard(u64::from(*start) * block_size..u64::from(*end) * block_size);
            for block in *start..*end {
                fs.cache.remove(block);
            }
        }
        for (block, content) in &self.data {
            fs.device.write_now(u64::from(*block) * block_size, content)?;
            fs.cache.remove(*block);
        }
        for (block, content) in self.blocks {
            fs.device.write_now(u64::from(block) * block_size, &content)?;
            fs.cache.insert(block, content);
        }
        for (number, group) in self.groups {
            if let Some(slot) = fs.groups.borrow_mut().get_mut(number as usize) {
                *slot = group;
            }
        }
        fs.state.set(self.state);
        fs.apply_orphan_changes(&self.orphans);
        fs.commits.bump();
        if !self.freed.is_empty() {
            fs.frees.bump();
        }
        Ok(())
    }
}
