//! Inodes of ext2 in core.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use ext2::{DeviceNumber, Ino, NewInode, RenameMode, SetXattr};
use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_block::BlockDevice;
use vm_rt::{Io, Mutex};

use super::source::Source;
use super::{Ext2Fs, errno, time};
use crate::mm::page_cache::PageCache;
use crate::task::Credentials;
use crate::vfs::names::{RENAME_EXCHANGE, RENAME_NOREPLACE, inherit};
use crate::vfs::regular::{Atime, RegularFile, Store};
use crate::vfs::{Dirent, File, FileType, Inode, Metadata, OpenFlags, SetAttr};
use crate::{Errno, Result, SyscallCx};

/// An inode in core.
pub(super) struct Ext2Inode<D: BlockDevice + 'static> {
    fs: Rc<Ext2Fs<D>>,
    ino: Ino,
    meta: Rc<RefCell<Metadata>>,
    cache: OnceCell<Rc<PageCache>>,
    lock: Mutex<()>,
}

impl<D: BlockDevice + 'static> Ext2Inode<D> {
    pub(super) fn new(fs: Rc<Ext2Fs<D>>, ino: Ino, meta: Metadata) -> Rc<Self> {
        let meta = Rc::new(RefCell::new(meta));
        Rc::new(Self { fs, ino, meta, cache: OnceCell::new(), lock: Mutex::default() })
    }

    pub(super) fn set_metadata(&self, meta: Metadata) {
        *self.meta.borrow_mut() = meta;
    }

    pub(super) fn existing_cache(&self) -> Option<Rc<PageCache>> {
        self.cache.get().cloned()
    }

    fn cache(&self) -> Rc<PageCache> {
        let make = || {
            let source = Source { fs: self.fs.this.clone(), ino: self.ino, meta: Rc::clone(&self.meta) };
            PageCache::new(&self.fs.memory, Rc::new(source))
        };
        Rc::clone(self.cache.get_or_init(make))
    }

    /// Reads back this inode and, once it is there, a new one.
    async fn created(&self, ino: Ino) -> Result<Rc<dyn Inode>> {
        self.fs.refresh(self.ino).await?;
        Ok(self.fs.inode(ino).await?)
    }

    fn new_inode(&self, mode: u32, rdev: u64, creds: &Credentials) -> NewInode {
        let (uid, gid, mode) = inherit(&self.meta.borrow(), mode, creds);
        let rdev = DeviceNumber { major: stat::major(rdev), minor: stat::minor(rdev) };
        NewInode { mode: mode as u16, uid, gid, rdev }
    }

    /// After a name of an inode was removed.
    async fn unlinked(&self, gone: ext2::Unlinked) -> Result<()> {
        self.fs.refresh(self.ino).await?;
        if self.fs.in_core(gone.ino).is_some() {
            self.fs.refresh(gone.ino).await
        } else {
            self.fs.dropped(gone.ino, u32::from(gone.links));
            Ok(())
        }
    }

    async fn change(&self, change: SetAttr) -> Result<()> {
        let now = time(change.ctime);
        if let Some(size) = change.size {
            let _guard = self.lock.lock().await;
            self.fs.disk.truncate(self.ino, size, now).await.map_err(errno)?;
            self.fs.refresh(self.ino).await?;
            if let Some(cache) = self.cache.get() {
                cache.truncate(size);
            }
        }
        let disk_change = ext2::SetAttr {
            mode: change.mode.map(|mode| (mode & 0o7777) as u16),
            uid: change.uid,
            gid: change.gid,
            atime: change.atime.map(time),
            mtime: change.mtime.map(time),
            ctime: Some(now),
            ..ext2::SetAttr::default()
        };
        let changed = self.fs.disk.set_attr(self.ino, disk_change).await.map_err(errno)?;
        self.set_metadata(self.fs.metadata_of(self.ino, &changed));
        Ok(())
    }

    async fn rename_to(&self, from: &[u8], to_dir: &Ext2Inode<D>, to: &[u8], flags: u32, now: Timespec) -> Result<()> {
        let mode = match flags {
            0 => RenameMode::Replace,
            RENAME_NOREPLACE => RenameMode::NoReplace,
            RENAME_EXCHANGE => RenameMode::Exchange,
            _ => return Err(Errno::EINVAL),
        };
        let disk = &self.fs.disk;
        let moved = disk.lookup(self.ino, from).await.map_err(errno)?;
        let replaced = disk.rename(self.ino, from, to_dir.ino, to, mode, time(now)).await.map_err(errno)?;
        self.fs.refresh(moved).await?;
        if mode == RenameMode::Exchange {
            let other = disk.lookup(self.ino, from).await.map_err(errno)?;
            self.fs.refresh(other).await?;
        }
        self.fs.refresh(self.ino).await?;
        match replaced {
            Some(gone) => to_dir.unlinked(gone).await,
            None => to_dir.fs.refresh(to_dir.ino).await,
        }
    }
}

impl<D: BlockDevice + 'static> Drop for Ext2Inode<D> {
    fn drop(&mut self) {
        self.fs.dropped(self.ino, self.meta.borrow().nlink);
    }
}

impl<D: BlockDevice + 'static> Store for Ext2Inode<D> {
    fn write<'a>(&'a self, cx: &'a SyscallCx, offset: u64, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::later(async move {
            let written = self.fs.disk.write(self.ino, offset, data, time(cx.now())).await.map_err(errno)?;
            self.fs.refresh(self.ino).await?;
            if let (Some(cache), Some(data)) = (self.cache.get(), data.get(..written)) {
                cache.update(offset, data);
            }
            Ok(written)
        })
    }

    fn max_size(&self) -> u64 {
        self.fs.disk.max_file_size()
    }

    fn lock(&self) -> &Mutex<()> {
        &self.lock
    }
}

/// The type a directory entry tells; regular where the format does not keep it.
fn entry_type(kind: ext2::FileType) -> FileType {
    match kind {
        ext2::FileType::Directory => FileType::Directory,
        ext2::FileType::CharDevice => FileType::CharDevice,
        ext2::FileType::BlockDevice => FileType::BlockDevice,
        ext2::FileType::Fifo => FileType::Fifo,
        ext2::FileType::Socket => FileType::Socket,
        ext2::FileType::Symlink => FileType::Symlink,
        ext2::FileType::Regular | ext2::FileType::Unknown => FileType::Regular,
    }
}

fn dirents(entries: Vec<ext2::DirEntry>) -> Vec<Dirent> {
    let convert = |entry: ext2::DirEntry| Dirent {
        ino: u64::from(entry.ino.0),
        kind: entry_type(entry.file_type),
        next: entry.next,
        name: entry.name,
    };
    entries.into_iter().map(convert).collect()
}

fn same_fs<'a, D: BlockDevice + 'static>(of: &Ext2Inode<D>, inode: &'a Rc<dyn Inode>) -> Result<&'a Ext2Inode<D>> {
    let any: &dyn Any = &**inode;
    any.downcast_ref::<Ext2Inode<D>>().filter(|inode| Rc::ptr_eq(&inode.fs, &of.fs)).ok_or(Errno::EXDEV)
}

impl<D: BlockDevice + 'static> Inode for Ext2Inode<D> {
    fn metadata(&self) -> Metadata {
        *self.meta.borrow()
    }

    fn set_attr(&self, change: SetAttr) -> Io<'_, Result<()>> {
        Io::later(self.change(change))
    }

    fn open<'a>(self: Rc<Self>, _cx: &'a SyscallCx, _flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let cache = self.cache();
        // A disk whose every read is a write would fill its overlay by being looked at.
        Io::ready(Ok(RegularFile::new(self, cache, Atime::Never)))
    }

    fn lookup<'a>(&'a self, cx: &'a SyscallCx, name: &'a [u8]) -> Io<'a, Result<Rc<dyn Inode>>> {
        let at_hand = self.fs.disk.lookup_now(self.ino, name).and_then(|found| match found {
            Ok(ino) => self.fs.inode_now(ino),
            Err(error) => Some(Err(errno(error))),
        });
        match at_hand {
            Some(found) => Io::ready(found.map(|inode| inode as Rc<dyn Inode>)),
            None => Io::later(async move {
                let search = async {
                    let ino = self.fs.disk.lookup(self.ino, name).await.map_err(errno)?;
                    Ok(self.fs.inode(ino).await? as Rc<dyn Inode>)
                };
                cx.task.killable(search).await?
            }),
        }
    }

    fn create<'a>(
        &'a self,
        name: &'a [u8],
        mode: u32,
        rdev: u64,
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::later(async move {
            let new = self.new_inode(mode, rdev, creds);
            let ino = if mode & stat::S_IFMT == stat::S_IFDIR {
                self.fs.disk.mkdir(self.ino, name, new, time(now)).await.map_err(errno)?
            } else {
                self.fs.disk.create(self.ino, name, new, time(now)).await.map_err(errno)?
            };
            self.created(ino).await
        })
    }

    fn create_unnamed<'a>(&'a self, mode: u32, creds: &'a Credentials, now: Timespec) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::later(async move {
            let new = self.new_inode(mode, 0, creds);
            let ino = self.fs.disk.create_unnamed(self.ino, new, time(now)).await.map_err(errno)?;
            Ok(self.fs.inode(ino).await? as Rc<dyn Inode>)
        })
    }

    fn symlink<'a>(
        &'a self,
        name: &'a [u8],
        target: &'a [u8],
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::later(async move {
            let new = self.new_inode(stat::S_IFLNK | 0o777, 0, creds);
            let ino = self.fs.disk.symlink(self.ino, name, target, new, time(now)).await.map_err(errno)?;
            self.created(ino).await
        })
    }

    fn link<'a>(&'a self, name: &'a [u8], inode: &'a Rc<dyn Inode>, now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            let inode = same_fs(self, inode)?;
            self.fs.disk.link(inode.ino, self.ino, name, time(now)).await.map_err(errno)?;
            self.fs.refresh(inode.ino).await?;
            self.fs.refresh(self.ino).await
        })
    }

    fn unlink<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            let gone = self.fs.disk.unlink(self.ino, name, time(now)).await.map_err(errno)?;
            self.unlinked(gone).await
        })
    }

    fn rmdir<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            let gone = self.fs.disk.rmdir(self.ino, name, time(now)).await.map_err(errno)?;
            self.unlinked(gone).await
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a [u8],
        to_dir: &'a Rc<dyn Inode>,
        to: &'a [u8],
        flags: u32,
        now: Timespec,
    ) -> Io<'a, Result<()>> {
        Io::later(async move { self.rename_to(from, same_fs(self, to_dir)?, to, flags, now).await })
    }

    fn read_dir<'a>(&'a self, cx: &'a SyscallCx, cookie: u64) -> Io<'a, Result<Vec<Dirent>>> {
        match self.fs.disk.read_dir_now(self.ino, cookie) {
            Some(Ok(entries)) => Io::ready(Ok(dirents(entries))),
            Some(Err(error)) => Io::ready(Err(errno(error))),
            None => Io::later(async move {
                let entries = cx.task.killable(self.fs.disk.read_dir(self.ino, cookie)).await?.map_err(errno)?;
                Ok(dirents(entries))
            }),
        }
    }

    fn read_link<'a>(&'a self, cx: &'a SyscallCx) -> Io<'a, Result<Vec<u8>>> {
        if self.meta.borrow().file_type() != FileType::Symlink {
            return Io::ready(Err(Errno::EINVAL));
        }
        match self.fs.disk.read_link_now(self.ino) {
            Some(target) => Io::ready(target.map_err(errno)),
            None => Io::later(async move { cx.task.killable(self.fs.disk.read_link(self.ino)).await?.map_err(errno) }),
        }
    }

    fn page_cache(&self) -> Option<Rc<PageCache>> {
        (self.meta.borrow().file_type() == FileType::Regular).then(|| self.cache())
    }

    fn get_xattr<'a>(&'a self, name: &'a [u8]) -> Io<'a, Result<Vec<u8>>> {
        Io::later(async move { self.fs.disk.get_xattr(self.ino, name).await.map_err(errno) })
    }

    fn set_xattr<'a>(&'a self, name: &'a [u8], value: &'a [u8], flags: u32, now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            let how = match flags {
                1 => SetXattr::Create,
                2 => SetXattr::Replace,
                _ => SetXattr::CreateOrReplace,
            };
            self.fs.disk.set_xattr(self.ino, name, value, how, time(now)).await.map_err(errno)?;
            self.fs.refresh(self.ino).await
        })
    }

    fn remove_xattr<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            self.fs.disk.remove_xattr(self.ino, name, time(now)).await.map_err(errno)?;
            self.fs.refresh(self.ino).await
        })
    }

    fn list_xattr(&self) -> Io<'_, Result<Vec<Vec<u8>>>> {
        Io::later(async move { self.fs.disk.list_xattrs(self.ino).await.map_err(errno) })
    }

    fn sync(&self) -> Io<'_, Result<()>> {
        Io::later(async move { self.fs.disk.sync().await.map_err(errno) })
    }
}
