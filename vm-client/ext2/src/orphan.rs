//! The list of inodes that were unlinked while open.
//!
//! On disk it starts in the superblock and goes on through the inodes' deletion times, as in ext3. An inode enters it in
//! the transaction that removes its last link and leaves it in the one that frees it, so that a crash in between loses
//! nothing: mount frees what is on the list.

use vm_block::BlockDevice;

use crate::alloc::Purpose;
use crate::error::Ext2Error;
use crate::fs::Ext2;
use crate::source::Source;
use crate::txn::{OrphanChange, Txn};
use crate::write::Unmapped;
use crate::{Ino, Inode, xattr};

/// Blocks freed in one transaction, a few milliseconds of work.
const FREED_AT_ONCE: u64 = 4096;

impl<D: BlockDevice> Ext2<D> {
    /// Frees an inode without links, because its last user is gone. Does nothing if it has links (again).
    ///
    /// A long file goes in several transactions, with others in between; one that is cut off there goes on at the next call
    /// or mount.
    pub async fn release(&self, ino: Ino) -> Result<(), Ext2Error> {
        while self.is_orphan(ino) {
            let mut txn = self.change().await?;
            if !self.is_orphan(ino) {
                break;
            }
            let inode = txn.inode(ino).await?;
            if inode.links > 0 {
                break;
            }
            txn.free_piece(ino, inode).await?;
            txn.commit().await?;
            vm_rt::yield_now().await;
        }
        Ok(())
    }

    /// The inodes on the list.
    pub fn orphans(&self) -> Vec<Ino> {
        self.orphans.borrow().clone()
    }

    /// Frees everything on the list that the last session left.
    pub(crate) async fn free_orphans(&self) -> Result<(), Ext2Error> {
        if self.state.get().last_orphan == 0 {
            return Ok(());
        }
        match self.load_orphans().await? {
            Some(list) => *self.orphans.borrow_mut() = list,
            None => {
                // What is not a list cannot be followed; the inodes stay lost until a check finds them.
                let mut txn = self.change().await?;
                txn.state.last_orphan = 0;
                txn.orphans.push(OrphanChange::Clear);
                return txn.commit().await;
            }
        }
        loop {
            let head = self.orphans.borrow().last().copied();
            let Some(ino) = head else { return Ok(()) };
            let mut txn = self.change().await?;
            let inode = Inode::parse(&txn.inode_raw(ino).await?);
            if inode.links == 0 {
                txn.free_piece(ino, inode).await?;
            } else {
                txn.unlist_orphan(ino, &inode).await?;
                // Linked inodes are put there by others while they cut a file; finish that.
                let mut inode = Inode { dtime: 0, ..inode };
                if inode.has_map(self.superblock.block_size) {
                    let first = inode.size.div_ceil(u64::from(self.superblock.block_size));
                    txn.unmap(ino, &mut inode, first..u64::MAX, u64::MAX).await?;
                }
                txn.put_inode(ino, &inode).await?;
            }
            txn.commit().await?;
        }
    }

    /// Follows the list on disk; `None` if it is damaged. The head comes last.
    async fn load_orphans(&self) -> Result<Option<Vec<Ino>>, Ext2Error> {
        let mut list = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut next = self.state.get().last_orphan;
        while next != 0 {
            let ino = Ino(next);
            if next < self.superblock.first_ino || next > self.superblock.inodes_count || !seen.insert(next) {
                return Ok(None);
            }
            let inode = Inode::parse(&self.inode_raw(ino).await?);
            if inode.mode == 0 {
                return Ok(None);
            }
            next = inode.dtime;
            list.push(ino);
        }
        list.reverse();
        Ok(Some(list))
    }

    pub(crate) fn apply_orphan_changes(&self, changes: &[OrphanChange]) {
        let mut orphans = self.orphans.borrow_mut();
        for change in changes {
            match change {
                OrphanChange::Add(ino) => orphans.push(*ino),
                OrphanChange::Remove(ino) => orphans.retain(|o| o != ino),
                OrphanChange::Clear => orphans.clear(),
            }
        }
    }
}

impl<D: BlockDevice> Txn<'_, D> {
    /// Puts an inode at the head of the list; the caller writes the inode.
    pub(crate) fn list_orphan(&mut self, ino: Ino, inode: &mut Inode) {
        inode.dtime = self.state.last_orphan;
        self.state.last_orphan = ino.0;
        self.orphans.push(OrphanChange::Add(ino));
    }

    /// Takes an inode off the list. The caller writes the inode, whose deletion time is then free for another use.
    pub(crate) async fn unlist_orphan(&mut self, ino: Ino, inode: &Inode) -> Result<(), Ext2Error> {
        let after = {
            let list = self.fs.orphans.borrow();
            let place = list.iter().position(|o| *o == ino);
            place.and_then(|n| list.get(n + 1).copied())
        };
        match after {
            None => self.state.last_orphan = inode.dtime,
            Some(pointing) => {
                let mut other = Inode::parse(&self.inode_raw(pointing).await?);
                other.dtime = inode.dtime;
                self.put_inode(pointing, &other).await?;
            }
        }
        self.orphans.push(OrphanChange::Remove(ino));
        Ok(())
    }

    /// Frees the next blocks of an orphan, and with the last of them its attributes and itself.
    async fn free_piece(&mut self, ino: Ino, mut inode: Inode) -> Result<(), Ext2Error> {
        let purpose = if inode.is_dir() { Purpose::Directory } else { Purpose::Other };
        if inode.has_map(self.sb().block_size)
            && self.unmap(ino, &mut inode, 0..u64::MAX, FREED_AT_ONCE).await? == Unmapped::InPart
        {
            return self.put_inode(ino, &inode).await;
        }
        self.unlist_orphan(ino, &inode).await?;
        self.drop_attribute_block(ino, &mut inode).await?;
        self.free_inode(ino, purpose).await?;
        // The generation stays, so that the number's next user gets another. A deletion time under the number of inodes
        // would look like a link of the orphan list.
        let least = self.sb().inodes_count.saturating_add(1);
        let mut raw = vec![0; self.sb().inode_size as usize];
        let generation = inode.generation;
        let mut gone = Inode::new(0, 0, 0, crate::Time::default(), 0);
        gone.links = 0;
        gone.generation = generation;
        gone.dtime = u32::try_from(inode.ctime.sec).unwrap_or(0).max(least);
        gone.store(&mut raw);
        self.put_inode_raw(ino, &raw).await
    }

    /// Gives up the inode's share of its attribute block.
    pub(crate) async fn drop_attribute_block(&mut self, ino: Ino, inode: &mut Inode) -> Result<(), Ext2Error> {
        let block = std::mem::take(&mut inode.file_acl);
        if block == 0 {
            return Ok(());
        }
        crate::map::check_pointer(self.sb(), ino, block)?;
        let content = self.block(block).await?;
        xattr::check_block(ino, &content)?;
        match xattr::references(&content) {
            0 | 1 => self.free_blocks(ino, block, 1).await?,
            count => xattr::set_references(self.edit(block).await?, count - 1),
        }
        inode.sectors = inode.sectors.saturating_sub(u64::from(self.sb().block_size / 512));
        Ok(())
    }
}
