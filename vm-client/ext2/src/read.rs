//! Reading: inodes, names, data, link targets and attributes of the committed state.
//!
//! Readers take no lock. One that awaited may have followed a pointer that was freed meanwhile, so it starts over if blocks
//! were freed since it began. Each call has a non-waiting twin (`*_now`) that answers `None` where it would have to wait.

use vm_block::BlockDevice;

use crate::dir::{self, DirEntry};
use crate::error::Ext2Error;
use crate::fs::{Ext2, Now};
use crate::inode::FileType;
use crate::source::{Source, finish_now};
use crate::{Ino, Inode, map, symlink, xattr};

/// Starts over so often before a reader queues up with the writers.
const ATTEMPTS: u32 = 8;

impl<D: BlockDevice> Ext2<D> {
    /// Runs a read that may have to start over; see the module's head.
    async fn stable<T>(&self, mut read: impl AsyncFnMut() -> Result<T, Ext2Error>) -> Result<T, Ext2Error> {
        for _ in 0..ATTEMPTS {
            let before = self.frees.get();
            let done = read().await;
            if self.frees.get() == before {
                return done;
            }
        }
        let _still = self.changing.lock().await;
        read().await
    }

    /// Reads an inode.
    pub async fn inode(&self, ino: Ino) -> Result<Inode, Ext2Error> {
        self.stable(async || Source::inode(self, ino).await).await
    }

    /// [`Ext2::inode`] without waiting.
    pub fn inode_now(&self, ino: Ino) -> Option<Result<Inode, Ext2Error>> {
        finish_now(async { Now(self).inode(ino).await })
    }

    /// Finds a name in a directory.
    pub async fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino, Ext2Error> {
        self.stable(async || lookup(self, dir, name).await).await
    }

    /// [`Ext2::lookup`] without waiting.
    pub fn lookup_now(&self, dir: Ino, name: &[u8]) -> Option<Result<Ino, Ext2Error>> {
        finish_now(async { lookup(&Now(self), dir, name).await })
    }

    /// Reads some entries of a directory from a cookie on: 0 at first, then [`DirEntry::next`] of the last entry taken.
    /// Empty at the end. An entry that stays in the directory is neither skipped nor repeated, whatever else changes.
    pub async fn read_dir(&self, dir: Ino, cookie: u64) -> Result<Vec<DirEntry>, Ext2Error> {
        self.stable(async || read_dir(self, dir, cookie).await).await
    }

    /// [`Ext2::read_dir`] without waiting.
    pub fn read_dir_now(&self, dir: Ino, cookie: u64) -> Option<Result<Vec<DirEntry>, Ext2Error>> {
        finish_now(async { read_dir(&Now(self), dir, cookie).await })
    }

    /// Reads data of a regular file; returns how much there was before its end.
    pub async fn read(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize, Ext2Error> {
        self.stable(async || read(self, ino, offset, buf).await).await
    }

    /// [`Ext2::read`] without waiting. On `None` the buffer may have been written in part.
    pub fn read_now(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Option<Result<usize, Ext2Error>> {
        finish_now(async { read(&Now(self), ino, offset, buf).await })
    }

    /// Tells the device that a range of a file will be read soon.
    pub async fn advise(&self, ino: Ino, offset: u64, len: u64) -> Result<(), Ext2Error> {
        let inode = self.inode(ino).await?;
        if !inode.has_map(self.superblock.block_size) {
            return Ok(());
        }
        let block_size = u64::from(self.superblock.block_size);
        let end = offset.saturating_add(len).min(inode.size).div_ceil(block_size);
        let mut lblock = offset / block_size;
        while lblock < end {
            let run = self.stable(async || map::lookup(self, ino, &inode, lblock, end - lblock).await).await?;
            if let Some(block) = run.block {
                let start = u64::from(block) * block_size;
                self.device.advise(start..start + run.len * block_size);
            }
            lblock += run.len.max(1);
        }
        Ok(())
    }

    /// Reads the target of a symbolic link.
    pub async fn read_link(&self, ino: Ino) -> Result<Vec<u8>, Ext2Error> {
        self.stable(async || read_link(self, ino).await).await
    }

    /// [`Ext2::read_link`] without waiting.
    pub fn read_link_now(&self, ino: Ino) -> Option<Result<Vec<u8>, Ext2Error>> {
        finish_now(async { read_link(&Now(self), ino).await })
    }

    /// Reads an attribute by its full name, as in `user.note`.
    pub async fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Ext2Error> {
        let (index, name) = xattr::split_name(name)?;
        let found = self.stable(async || attributes(self, ino).await).await?;
        let value = &found.find(index, name).ok_or(Ext2Error::NoAttribute)?.value;
        Ok(if xattr::acl::is_acl(index) { xattr::acl::from_stored(value) } else { value.clone() })
    }

    /// Lists the full names of an inode's attributes.
    pub async fn list_xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Ext2Error> {
        let found = self.stable(async || attributes(self, ino).await).await?;
        Ok(found.iter().filter_map(xattr::Attribute::full_name).collect())
    }
}

async fn lookup<S: Source>(source: &S, dir: Ino, name: &[u8]) -> Result<Ino, Ext2Error> {
    let inode = source.inode(dir).await?;
    dir::find(source, dir, &inode, name).await?.map(|found| found.ino).ok_or(Ext2Error::NotFound)
}

async fn read_dir<S: Source>(source: &S, dir: Ino, cookie: u64) -> Result<Vec<DirEntry>, Ext2Error> {
    let inode = source.inode(dir).await?;
    dir::list(source, dir, &inode, cookie).await
}

async fn read_link<S: Source>(source: &S, ino: Ino) -> Result<Vec<u8>, Ext2Error> {
    let inode = source.inode(ino).await?;
    symlink::read(source, ino, &inode).await
}

async fn attributes<S: Source>(source: &S, ino: Ino) -> Result<xattr::Attributes, Ext2Error> {
    let inode = source.inode(ino).await?;
    let raw = source.inode_raw(ino).await?;
    xattr::read(source, ino, &inode, &raw).await
}

async fn read<S: Source>(source: &S, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize, Ext2Error> {
    let inode = source.inode(ino).await?;
    match inode.file_type() {
        FileType::Regular => {}
        FileType::Directory => return Err(Ext2Error::IsDirectory),
        _ => return Err(Ext2Error::Invalid("not a regular file")),
    }
    let left = inode.size.saturating_sub(offset);
    let total = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    let block_size = u64::from(source.sb().block_size);
    let mut rest = buf.get_mut(..total).unwrap_or(&mut []);
    let mut at = offset;
    while !rest.is_empty() {
        let (lblock, within) = (at / block_size, at % block_size);
        let wanted = (within + rest.len() as u64).div_ceil(block_size);
        let run = map::lookup(source, ino, &inode, lblock, wanted).await?;
        let len = (run.len.max(1) * block_size - within).min(rest.len() as u64);
        let (piece, behind) = rest.split_at_mut(len as usize);
        match run.block {
            Some(block) => source.data(u64::from(block) * block_size + within, piece).await?,
            None => piece.fill(0),
        }
        at += len;
        rest = behind;
    }
    Ok(total)
}
