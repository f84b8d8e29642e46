//! The ext2 file system under the VFS: the `ext2` crate's file system with inodes in core and page caches.
//!
//! - [`Ext2Fs`]: one mounted file system; keeps one [`Ext2Inode`](inode::Ext2Inode) per inode number in use.
//! - `inode`: names, attributes and data; each change is one transaction of the crate, and what it changed is read back, so
//!   that what is in core never says anything else than the disk.
//! - `source`: the pages of a file. write(2) changes the file first and repeats it in the page cache, so that ENOSPC comes
//!   when it should.
//!
//! A file whose last name is gone is freed once nobody has it open; until then it is on the disk's orphan list.

mod inode;
mod source;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use ext2::{Ext2, Ext2Error, Ino};
use linux_abi::time::Timespec;
use vm_block::{BlockDevice, BlockError};
use vm_rt::{Io, WaitQueue};

use self::inode::Ext2Inode;
use crate::mm::memory::Memory;
use crate::vfs::{FileSystem, Inode, Metadata, StatFs};
use crate::{Errno, Kernel, Result};

const MAGIC: u32 = 0xef53;

/// A mounted ext2 file system.
pub struct Ext2Fs<D: BlockDevice + 'static> {
    this: Weak<Self>,
    disk: Ext2<D>,
    dev: u64,
    memory: Rc<Memory>,
    now: Box<dyn Fn() -> Timespec>,
    inodes: RefCell<HashMap<Ino, Weak<Ext2Inode<D>>>>,
    root: RefCell<Option<Rc<Ext2Inode<D>>>>,
    /// Unlinked inodes whose last user is gone.
    unused: RefCell<Vec<Ino>>,
    unused_added: WaitQueue,
}

impl<D: BlockDevice + 'static> Ext2Fs<D> {
    /// Puts a mounted file system to use; `dev` is the number of its device (`st_dev`).
    pub async fn new(kernel: &Kernel, disk: Ext2<D>, dev: u64) -> Result<Rc<Self>> {
        let clock = kernel.weak();
        let now = move || clock.upgrade().map_or_else(Timespec::default, |kernel| kernel.now_realtime());
        let fs = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            disk,
            dev,
            memory: Rc::clone(&kernel.memory),
            now: Box::new(now),
            inodes: RefCell::default(),
            root: RefCell::default(),
            unused: RefCell::default(),
            unused_added: WaitQueue::new(),
        });
        let root = fs.inode(Ino::ROOT).await?;
        // The root stays in core as long as the file system: this circle is broken by `unmounted`.
        *fs.root.borrow_mut() = Some(root);
        kernel.executor.spawn(free_unused(Rc::downgrade(&fs)));
        Ok(fs)
    }

    /// The file system of the `ext2` crate.
    pub fn disk(&self) -> &Ext2<D> {
        &self.disk
    }

    /// The inode in core, read from the disk if it is not there yet.
    async fn inode(&self, ino: Ino) -> Result<Rc<Ext2Inode<D>>> {
        if let Some(inode) = self.in_core(ino) {
            return Ok(inode);
        }
        let read = self.disk.inode(ino).await.map_err(errno)?;
        // Somebody else may have read it meanwhile.
        Ok(self.in_core(ino).unwrap_or_else(|| self.insert(ino, &read)))
    }

    /// The same without waiting; `None` where it would have to.
    fn inode_now(&self, ino: Ino) -> Option<Result<Rc<Ext2Inode<D>>>> {
        if let Some(inode) = self.in_core(ino) {
            return Some(Ok(inode));
        }
        Some(match self.disk.inode_now(ino)? {
            Ok(read) => Ok(self.insert(ino, &read)),
            Err(error) => Err(errno(error)),
        })
    }

    fn in_core(&self, ino: Ino) -> Option<Rc<Ext2Inode<D>>> {
        self.inodes.borrow().get(&ino).and_then(Weak::upgrade)
    }

    fn insert(&self, ino: Ino, read: &ext2::Inode) -> Rc<Ext2Inode<D>> {
        let fs = self.this.upgrade().expect("a file system lives in the Rc that its constructor made");
        let inode = Ext2Inode::new(fs, ino, self.metadata_of(ino, read));
        self.inodes.borrow_mut().insert(ino, Rc::downgrade(&inode));
        inode
    }

    fn metadata_of(&self, ino: Ino, inode: &ext2::Inode) -> Metadata {
        let time = |time: ext2::Time| Timespec { sec: time.sec, nsec: time.nsec };
        let rdev = inode.rdev();
        Metadata {
            dev: self.dev,
            ino: u64::from(ino.0),
            mode: u32::from(inode.mode),
            nlink: u32::from(inode.links),
            uid: inode.uid,
            gid: inode.gid,
            rdev: linux_abi::stat::makedev(rdev.major, rdev.minor),
            size: inode.size,
            blocks: inode.sectors,
            block_size: self.disk.superblock().block_size,
            atime: time(inode.atime),
            mtime: time(inode.mtime),
            ctime: time(inode.ctime),
            btime: inode.crtime.map(time),
        }
    }

    /// Brings an inode in core in line with the disk after a change.
    async fn refresh(&self, ino: Ino) -> Result<()> {
        let Some(inode) = self.in_core(ino) else { return Ok(()) };
        let read = self.disk.inode(ino).await.map_err(errno)?;
        inode.set_metadata(self.metadata_of(ino, &read));
        Ok(())
    }

    /// The last user of an inode is gone.
    fn dropped(&self, ino: Ino, nlink: u32) {
        let mut inodes = self.inodes.borrow_mut();
        if inodes.get(&ino).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(&ino);
        }
        drop(inodes);
        if nlink == 0 {
            self.unused.borrow_mut().push(ino);
            self.unused_added.wake_all();
        }
    }

    /// Lets the file system go once nothing has it open any more.
    pub fn unmounted(&self) {
        let root = self.root.borrow_mut().take();
        drop(root);
    }

    async fn release_unused(&self) {
        loop {
            let Some(ino) = self.unused.borrow_mut().pop() else { return };
            // A failure leaves it on the orphan list: the next mount frees it.
            let _ = self.disk.release(ino).await;
        }
    }
}

impl<D: BlockDevice + 'static> Drop for Ext2Fs<D> {
    fn drop(&mut self) {
        self.unused_added.wake_all();
    }
}

/// Frees unlinked files after their last use, for as long as the file system lives.
async fn free_unused<D: BlockDevice + 'static>(fs: Weak<Ext2Fs<D>>) {
    while let Some(alive) = fs.upgrade() {
        let added = alive.unused_added.wait();
        alive.release_unused().await;
        drop(alive);
        added.await;
    }
}

impl<D: BlockDevice + 'static> FileSystem for Ext2Fs<D> {
    fn name(&self) -> &'static str {
        "ext2"
    }

    fn root(&self) -> Rc<dyn Inode> {
        let root = self.root.borrow().clone();
        root.expect("the root is in core while the file system is mounted")
    }

    fn statfs(&self) -> Io<'_, Result<StatFs>> {
        let stat = self.disk.statfs();
        let (low, high) = stat.uuid.split_at(8);
        let half = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        Io::ready(Ok(StatFs {
            magic: MAGIC,
            block_size: stat.block_size,
            blocks: u64::from(stat.blocks),
            blocks_free: u64::from(stat.free_blocks),
            blocks_available: u64::from(stat.available_blocks),
            files: u64::from(stat.inodes),
            files_free: u64::from(stat.free_inodes),
            fsid: half(low) ^ half(high),
            name_max: 255,
        }))
    }

    fn sync(&self) -> Io<'_, Result<()>> {
        Io::later(async move {
            let caches: Vec<_> = {
                let inodes = self.inodes.borrow();
                inodes.values().filter_map(Weak::upgrade).filter_map(|inode| inode.existing_cache()).collect()
            };
            for cache in caches {
                cache.flush().await?;
            }
            self.release_unused().await;
            self.disk.sync().await.map_err(errno)
        })
    }

    fn unmounted(&self) {
        Self::unmounted(self);
    }

    fn read_only(&self) -> bool {
        self.disk.is_read_only()
    }
}

/// The error number of a failure; the one place where the crate's errors become the kernel's.
fn errno(error: Ext2Error) -> Errno {
    match error {
        Ext2Error::NotFound => Errno::ENOENT,
        Ext2Error::Exists => Errno::EEXIST,
        Ext2Error::NotDirectory => Errno::ENOTDIR,
        Ext2Error::IsDirectory => Errno::EISDIR,
        Ext2Error::NotEmpty => Errno::ENOTEMPTY,
        Ext2Error::NameTooLong => Errno::ENAMETOOLONG,
        Ext2Error::TooManyLinks => Errno::EMLINK,
        Ext2Error::NoSpace | Ext2Error::Device(BlockError::StoreFull) => Errno::ENOSPC,
        Ext2Error::FileTooBig => Errno::EFBIG,
        Ext2Error::ReadOnly | Ext2Error::Device(BlockError::ReadOnly) => Errno::EROFS,
        Ext2Error::NoAttribute => Errno::ENODATA,
        Ext2Error::UnsupportedAttribute => Errno::EOPNOTSUPP,
        Ext2Error::Invalid(_) => Errno::EINVAL,
        Ext2Error::Corrupt(_) => Errno::EUCLEAN,
        _ => Errno::EIO,
    }
}

fn time(time: Timespec) -> ext2::Time {
    ext2::Time { sec: time.sec, nsec: time.nsec }
}
