//! One file of an overlay.

use std::any::Any;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_rt::{Io, Mutex};

use super::OverlayFs;
use super::layers::{self, PRIVATE};
use crate::mm::page_cache::PageCache;
use crate::task::Credentials;
use crate::vfs::names::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use crate::vfs::{Dentry, Dirent, File, FileType, Inode, Metadata, OpenFlags, SetAttr};
use crate::{Errno, Result, SyscallCx};

/// A file, or merged directories, of the layers.
pub struct OverlayInode {
    pub(super) this: Weak<OverlayInode>,
    /// Weak, because the root is an inode.
    fs: Weak<OverlayFs>,
    /// Where it was found, for bringing it up; a file that was renamed is up already.
    pub(super) parent: Option<Rc<OverlayInode>>,
    pub(super) name: Box<[u8]>,
    upper: RefCell<Option<Rc<Dentry>>>,
    lower: Vec<Rc<Dentry>>,
    /// Its number, which stays when it is brought up.
    ino: u64,
    /// The merged names, from the last time reading began.
    listing: RefCell<Rc<Vec<Dirent>>>,
    /// Held while it is brought up.
    pub(super) lock: Mutex<()>,
}

impl OverlayInode {
    pub(super) fn new(
        fs: &Rc<OverlayFs>,
        parent: Option<Rc<OverlayInode>>,
        name: &[u8],
        upper: Option<Rc<Dentry>>,
        lower: Vec<Rc<Dentry>>,
    ) -> Result<Rc<Self>> {
        let origin = lower.first().or(upper.as_ref()).ok_or(Errno::ENOENT)?;
        let ino = origin.inode().metadata().ino;
        Ok(Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            fs: Rc::downgrade(fs),
            parent,
            name: name.into(),
            upper: RefCell::new(upper),
            lower,
            ino,
            listing: RefCell::default(),
            lock: Mutex::default(),
        }))
    }

    pub(super) fn fs(&self) -> Result<Rc<OverlayFs>> {
        self.fs.upgrade().ok_or(Errno::EIO)
    }

    pub(super) fn upper(&self) -> Option<Rc<Dentry>> {
        self.upper.borrow().clone()
    }

    pub(super) fn set_upper(&self, upper: &Rc<Dentry>) {
        *self.upper.borrow_mut() = Some(Rc::clone(upper));
    }

    pub(super) fn lower(&self) -> &[Rc<Dentry>] {
        &self.lower
    }

    /// What it shows.
    pub(super) fn real(&self) -> Rc<Dentry> {
        let upper = self.upper();
        upper.or_else(|| self.lower.first().cloned()).expect("an inode of an overlay is in some layer")
    }

    async fn find(&self, cx: &SyscallCx, name: &[u8]) -> Result<Rc<OverlayInode>> {
        let found = self.layers(cx, name).await?;
        self.fs()?.inode(self.this.upgrade(), name, found.upper, found.lower)
    }

    /// The names of all layers, `.` and `..` among them.
    async fn merged(&self, cx: &SyscallCx) -> Result<Vec<Dirent>> {
        let mut all: Vec<Dirent> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for dir in self.upper().iter().chain(&self.lower) {
            let mut cookie = 0;
            loop {
                let some = dir.inode().read_dir(cx, cookie).await?;
                let Some(last) = some.last() else { break };
                cookie = last.next;
                for mut entry in some {
                    if !seen.insert(entry.name.clone()) {
                        continue;
                    }
                    // Only a look can tell a device from what hides a name.
                    let hides = entry.kind == FileType::CharDevice
                        && match cx.kernel.vfs.dentries.lookup(cx, dir, &entry.name).await? {
                            Some(dentry) => layers::is_whiteout(&dentry),
                            None => true,
                        };
                    if !hides {
                        entry.next = all.len() as u64 + 1;
                        all.push(entry);
                    }
                }
            }
        }
        Ok(all)
    }

    /// Makes sure that nothing is in a directory, and that its upper part can be removed.
    async fn empty(&self, cx: &SyscallCx, now: Timespec) -> Result<()> {
        let names = self.merged(cx).await?;
        if names.iter().any(|entry| entry.name != b"." && entry.name != b"..") {
            return Err(Errno::ENOTEMPTY);
        }
        let Some(dir) = self.upper() else { return Ok(()) };
        let mut hiding = Vec::new();
        let mut cookie = 0;
        loop {
            let some = dir.inode().read_dir(cx, cookie).await?;
            let Some(last) = some.last() else { break };
            cookie = last.next;
            hiding.extend(some.into_iter().map(|entry| entry.name).filter(|name| name != b"." && name != b".."));
        }
        let _guard = dir.lock.lock().await;
        for name in hiding {
            layers::uncover(cx, &dir, &name, now).await?;
        }
        Ok(())
    }

    async fn add<'a, F>(&'a self, name: &'a [u8], now: Timespec, make: F) -> Result<Rc<dyn Inode>>
    where
        F: AsyncFnOnce(&Rc<dyn Inode>) -> Result<Rc<dyn Inode>>,
    {
        let dir = self.copied_up().await?;
        let fs = self.fs()?;
        let cx = fs.context()?;
        let _guard = dir.lock.lock().await;
        let hid = layers::uncover(&cx, &dir, name, now).await?;
        let made = make(dir.inode()).await;
        let inode = match made {
            Ok(inode) => inode,
            Err(errno) => {
                if hid {
                    layers::hide(&cx, &dir, name, now).await?;
                }
                return Err(errno);
            }
        };
        let dentry = cx.kernel.vfs.dentries.insert(&dir, name, inode);
        if hid && dentry.is_dir() {
            layers::make_opaque(&dentry, now).await?;
        }
        Ok(fs.inode(self.this.upgrade(), name, Some(dentry), Vec::new())?)
    }

    async fn remove(&self, name: &[u8], is_dir: bool, now: Timespec) -> Result<()> {
        let cx = self.fs()?.context()?;
        if is_dir {
            self.find(&cx, name).await?.empty(&cx, now).await?;
        }
        let below = self.shows_below(&cx, name).await?;
        let dir = self.copied_up().await?;
        let dentries = &cx.kernel.vfs.dentries;
        let _guard = dir.lock.lock().await;
        if let Some(dentry) = dentries.lookup_locked(&cx, &dir, name).await? {
            if is_dir {
                dir.inode().rmdir(name, now).await?;
            } else {
                dir.inode().unlink(name, now).await?;
            }
            dentries.unlink(&dentry);
        }
        if below { layers::hide(&cx, &dir, name, now).await } else { Ok(()) }
    }

    async fn rename_to(&self, from: &[u8], to_dir: &OverlayInode, to: &[u8], flags: u32, now: Timespec) -> Result<()> {
        if flags & RENAME_EXCHANGE != 0 || flags & !RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL);
        }
        let cx = self.fs()?.context()?;
        let moving = self.find(&cx, from).await?;
        let is_dir = moving.real().is_dir();
        if is_dir && !moving.lower.is_empty() {
            return Err(Errno::EXDEV);
        }
        match to_dir.find(&cx, to).await {
            Ok(target) if target.real().is_dir() => target.empty(&cx, now).await?,
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        let dentry = moving.copied_up().await?;
        let (source, target) = (self.copied_up().await?, to_dir.copied_up().await?);
        let below_from = self.shows_below(&cx, from).await?;
        let below_to = to_dir.shows_below(&cx, to).await?;
        let dentries = &cx.kernel.vfs.dentries;
        // Renames between directories come one at a time, so the order does not matter.
        let _source = source.lock.lock().await;
        let _target = if Rc::ptr_eq(&source, &target) { None } else { Some(target.lock.lock().await) };
        let mut replaced = dentries.lookup_locked(&cx, &target, to).await?;
        if replaced.as_ref().is_some_and(|dentry| layers::is_whiteout(dentry)) {
            layers::uncover(&cx, &target, to, now).await?;
            replaced = None;
        }
        source.inode().rename(from, target.inode(), to, 0, now).await?;
        dentries.rename(&dentry, &target, to, replaced.as_ref());
        if is_dir && below_to {
            layers::make_opaque(&dentry, now).await?;
        }
        if below_from { layers::hide(&cx, &source, from, now).await } else { Ok(()) }
    }
}

fn as_overlay(inode: &Rc<dyn Inode>) -> Result<&OverlayInode> {
    let any: &dyn Any = &**inode;
    any.downcast_ref::<OverlayInode>().ok_or(Errno::EXDEV)
}

impl Inode for OverlayInode {
    fn metadata(&self) -> Metadata {
        let mut meta = self.real().inode().metadata();
        meta.ino = self.ino;
        if let Some(fs) = self.fs.upgrade() {
            meta.dev = fs.dev;
        }
        let parts = self.lower.len() + usize::from(self.upper.borrow().is_some());
        if meta.file_type() == FileType::Directory && parts > 1 {
            meta.nlink = 1;
        }
        meta
    }

    fn set_attr(&self, change: SetAttr) -> Io<'_, Result<()>> {
        Io::later(async move { self.copied_up().await?.inode().set_attr(change).await })
    }

    fn open<'a>(self: Rc<Self>, cx: &'a SyscallCx, flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        Io::later(async move {
            let dentry = if flags.writable() { self.copied_up().await? } else { self.real() };
            Rc::clone(dentry.inode()).open(cx, flags).await
        })
    }

    fn lookup<'a>(&'a self, cx: &'a SyscallCx, name: &'a [u8]) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::later(async move { Ok(self.find(cx, name).await? as Rc<dyn Inode>) })
    }

    fn create<'a>(
        &'a self,
        name: &'a [u8],
        mode: u32,
        rdev: u64,
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        if mode & stat::S_IFMT == stat::S_IFCHR && rdev == 0 {
            return Io::ready(Err(Errno::EPERM));
        }
        Io::later(self.add(name, now, async move |dir: &Rc<dyn Inode>| dir.create(name, mode, rdev, creds, now).await))
    }

    fn symlink<'a>(
        &'a self,
        name: &'a [u8],
        target: &'a [u8],
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::later(self.add(name, now, async move |dir: &Rc<dyn Inode>| dir.symlink(name, target, creds, now).await))
    }

    fn link<'a>(&'a self, name: &'a [u8], inode: &'a Rc<dyn Inode>, now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            let linked = as_overlay(inode)?.copied_up().await?;
            let make = async |dir: &Rc<dyn Inode>| {
                dir.link(name, linked.inode(), now).await?;
                Ok(Rc::clone(linked.inode()))
            };
            self.add(name, now, make).await.map(drop)
        })
    }

    fn unlink<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::later(self.remove(name, false, now))
    }

    fn rmdir<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::later(self.remove(name, true, now))
    }

    fn rename<'a>(
        &'a self,
        from: &'a [u8],
        to_dir: &'a Rc<dyn Inode>,
        to: &'a [u8],
        flags: u32,
        now: Timespec,
    ) -> Io<'a, Result<()>> {
        Io::later(async move { self.rename_to(from, as_overlay(to_dir)?, to, flags, now).await })
    }

    fn read_dir<'a>(&'a self, cx: &'a SyscallCx, cookie: u64) -> Io<'a, Result<Vec<Dirent>>> {
        Io::later(async move {
            if cookie == 0 {
                let listing = Rc::new(self.merged(cx).await?);
                *self.listing.borrow_mut() = listing;
            }
            let listing = Rc::clone(&self.listing.borrow());
            Ok(listing.iter().skip(cookie as usize).take(64).cloned().collect())
        })
    }

    fn read_link<'a>(&'a self, cx: &'a SyscallCx) -> Io<'a, Result<Vec<u8>>> {
        Io::later(async move { self.real().inode().read_link(cx).await })
    }

    fn page_cache(&self) -> Option<Rc<PageCache>> {
        self.real().inode().page_cache()
    }

    fn get_xattr<'a>(&'a self, name: &'a [u8]) -> Io<'a, Result<Vec<u8>>> {
        Io::later(async move {
            if name.starts_with(PRIVATE) {
                return Err(Errno::ENODATA);
            }
            self.real().inode().get_xattr(name).await
        })
    }

    fn set_xattr<'a>(&'a self, name: &'a [u8], value: &'a [u8], flags: u32, now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            if name.starts_with(PRIVATE) {
                return Err(Errno::EPERM);
            }
            self.copied_up().await?.inode().set_xattr(name, value, flags, now).await
        })
    }

    fn remove_xattr<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::later(async move {
            if name.starts_with(PRIVATE) {
                return Err(Errno::EPERM);
            }
            self.real().inode().get_xattr(name).await?;
            self.copied_up().await?.inode().remove_xattr(name, now).await
        })
    }

    fn list_xattr(&self) -> Io<'_, Result<Vec<Vec<u8>>>> {
        Io::later(async move {
            let mut names = self.real().inode().list_xattr().await?;
            names.retain(|name| !name.starts_with(PRIVATE));
            Ok(names)
        })
    }

    fn allocate(&self, offset: u64, len: u64) -> Io<'_, Result<()>> {
        Io::later(async move { self.copied_up().await?.inode().allocate(offset, len).await })
    }

    fn sync(&self) -> Io<'_, Result<()>> {
        Io::later(async move { self.real().inode().sync().await })
    }
}
