//! tmpfs: files that live in guest memory. Also what /dev and memory descriptors are made of.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use linux_abi::fcntl::{F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE};
use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_rt::{Io, Mutex};

use crate::mm::memory::Memory;
use crate::mm::page_cache::PageCache;
use crate::namespace::{IdKind, UserNs};
use crate::task::Credentials;
use crate::vfs::names::{RENAME_EXCHANGE, inherit};
use crate::vfs::regular::{Atime, RegularFile, Store};
use crate::vfs::{Dirent, File, FileSystem, FileType, Inode, Metadata, OpenFlags, SetAttr, StatFs};
use crate::{Errno, Result, SyscallCx};

const PAGE: u64 = 4096;
const TMPFS_MAGIC: u32 = 0x0102_1994;
/// Extended attributes of one file, in bytes, at most: they take host memory, which nobody is charged for.
const XATTR_MAX: usize = 4096;

/// What a tmpfs is mounted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmpOptions {
    /// Its name: tmpfs or devtmpfs.
    pub name: &'static str,
    /// Bytes its files may take.
    pub size: u64,
    /// Files it may hold.
    pub inodes: u64,
    /// Mode of the root.
    pub mode: u32,
    /// Owner of the root.
    pub uid: u32,
    /// Group of the root.
    pub gid: u32,
    /// Whose ids the option string has.
    pub user_ns: UserNs,
    /// What /proc/mounts shows.
    pub shown: String,
}

impl TmpOptions {
    /// The defaults of Linux: half the memory.
    pub fn new(memory: &Memory) -> Self {
        let frames = u64::from(memory.stats().total);
        Self {
            name: "tmpfs",
            size: frames * PAGE / 2,
            inodes: (frames / 2).max(1024),
            mode: 0o1777,
            uid: 0,
            gid: 0,
            user_ns: UserNs::default(),
            shown: String::new(),
        }
    }

    /// Applies the option string of mount(2); EINVAL for what tmpfs does not know.
    pub fn parse(mut self, options: &str) -> Result<Self> {
        let id = |kind, value: &str| {
            let id = value.parse().map_err(|_| Errno::EINVAL)?;
            self.user_ns.kernel(kind, id).ok_or(Errno::EINVAL)
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "size" => self.size = size(value, self.size * 2)?,
                "nr_blocks" => self.size = size(value, self.size * 2)?.checked_mul(PAGE).ok_or(Errno::EINVAL)?,
                "nr_inodes" => self.inodes = size(value, self.inodes)?,
                "mode" => self.mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
                "uid" => self.uid = id(IdKind::User, value)?,
                "gid" => self.gid = id(IdKind::Group, value)?,
                "huge" | "mpol" | "inode32" | "inode64" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        self.shown = options.to_owned();
        Ok(self)
    }
}

/// A number with a suffix, or a share of the whole.
fn size(text: &str, whole: u64) -> Result<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b'%') => {
            let percent: u64 = text[..text.len() - 1].parse().map_err(|_| Errno::EINVAL)?;
            return whole.checked_mul(percent).map(|size| size / 100).ok_or(Errno::EINVAL);
        }
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    number.checked_shl(shift).filter(|size| size >> shift == number).ok_or(Errno::EINVAL)
}

/// A file system in memory.
pub struct TmpFs {
    memory: Rc<Memory>,
    options: TmpOptions,
    dev: u64,
    root: RefCell<Option<Rc<TmpInode>>>,
    pages: Cell<u64>,
    inodes: Cell<u64>,
    last_ino: Cell<u64>,
}

impl TmpFs {
    /// An empty file system.
    pub fn new(memory: &Rc<Memory>, dev: u64, options: TmpOptions, now: Timespec) -> Rc<Self> {
        let (mode, uid, gid) = (stat::S_IFDIR | options.mode, options.uid, options.gid);
        let fs = Rc::new(Self {
            memory: Rc::clone(memory),
            options,
            dev,
            root: RefCell::default(),
            pages: Cell::new(0),
            inodes: Cell::new(0),
            last_ino: Cell::new(0),
        });
        let root = TmpInode::new(&fs, Body::directory(Weak::new()), mode, uid, gid, 0, now);
        *fs.root.borrow_mut() = Some(root);
        fs
    }

    /// Room for so many more pages, or ENOSPC.
    fn check_room(&self, pages: u64) -> Result<()> {
        let wanted = self.pages.get().saturating_add(pages);
        if wanted.saturating_mul(PAGE) > self.options.size { Err(Errno::ENOSPC) } else { Ok(()) }
    }
}

impl FileSystem for TmpFs {
    fn name(&self) -> &'static str {
        self.options.name
    }

    fn root(&self) -> Rc<dyn Inode> {
        let root = self.root.borrow().clone();
        root.expect("the constructor made the root")
    }

    fn statfs(&self) -> Io<'_, Result<StatFs>> {
        let blocks = self.options.size / PAGE;
        let free = blocks.saturating_sub(self.pages.get());
        Io::ready(Ok(StatFs {
            magic: TMPFS_MAGIC,
            block_size: PAGE as u32,
            blocks,
            blocks_free: free,
            blocks_available: free,
            files: self.options.inodes,
            files_free: self.options.inodes.saturating_sub(self.inodes.get()),
            fsid: self.dev,
            name_max: 255,
        }))
    }

    fn options(&self) -> String {
        self.options.shown.clone()
    }
}

/// A file of a [`TmpFs`].
pub struct TmpInode {
    this: Weak<TmpInode>,
    /// Weak, because the root is an inode; without the file system nothing can be added any more.
    fs: Weak<TmpFs>,
    meta: RefCell<Metadata>,
    body: Body,
    xattrs: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    lock: Mutex<()>,
    /// Pages counted against the file system's size.
    charged: Cell<u64>,
    /// Seals of a memory descriptor; `None` for files that cannot be sealed.
    seals: Cell<Option<u32>>,
}

enum Body {
    Regular(Rc<PageCache>),
    Directory(Directory),
    Symlink(Vec<u8>),
    Special,
}

/// The cookie and the inode of a name.
type Entry = (u64, Rc<TmpInode>);

struct Directory {
    parent: RefCell<Weak<TmpInode>>,
    by_name: RefCell<BTreeMap<Vec<u8>, Entry>>,
    by_cookie: RefCell<BTreeMap<u64, Vec<u8>>>,
    last_cookie: Cell<u64>,
}

impl Body {
    fn directory(parent: Weak<TmpInode>) -> Self {
        Self::Directory(Directory {
            parent: RefCell::new(parent),
            by_name: RefCell::default(),
            by_cookie: RefCell::default(),
            // 1 and 2 are `.` and `..`.
            last_cookie: Cell::new(2),
        })
    }
}

impl Directory {
    fn add(&self, name: &[u8], inode: Rc<TmpInode>) {
        let cookie = self.last_cookie.get() + 1;
        self.last_cookie.set(cookie);
        self.by_cookie.borrow_mut().insert(cookie, name.to_vec());
        self.by_name.borrow_mut().insert(name.to_vec(), (cookie, inode));
    }

    fn take(&self, name: &[u8]) -> Option<Rc<TmpInode>> {
        let (cookie, inode) = self.by_name.borrow_mut().remove(name)?;
        self.by_cookie.borrow_mut().remove(&cookie);
        Some(inode)
    }

    fn find(&self, name: &[u8]) -> Option<Rc<TmpInode>> {
        self.by_name.borrow().get(name).map(|(_, inode)| Rc::clone(inode))
    }
}

impl TmpInode {
    fn new(fs: &Rc<TmpFs>, body: Body, mode: u32, uid: u32, gid: u32, rdev: u64, now: Timespec) -> Rc<Self> {
        let ino = fs.last_ino.get() + 1;
        fs.last_ino.set(ino);
        fs.inodes.set(fs.inodes.get() + 1);
        let size = match &body {
            Body::Symlink(target) => target.len() as u64,
            _ => 0,
        };
        let nlink = if matches!(body, Body::Directory(_)) { 2 } else { 1 };
        let meta = Metadata {
            dev: fs.dev,
            ino,
            mode,
            nlink,
            uid,
            gid,
            rdev,
            size,
            blocks: 0,
            block_size: PAGE as u32,
            atime: now,
            mtime: now,
            ctime: now,
            btime: Some(now),
        };
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            fs: Rc::downgrade(fs),
            meta: RefCell::new(meta),
            body,
            xattrs: RefCell::default(),
            lock: Mutex::default(),
            charged: Cell::new(0),
            seals: Cell::new(None),
        })
    }

    fn fs(&self) -> Result<Rc<TmpFs>> {
        self.fs.upgrade().ok_or(Errno::EIO)
    }

    fn directory(&self) -> Result<&Directory> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// A regular file of the same file system without a name, for memfd_create(2).
    pub(super) fn unnamed_sibling(&self, creds: &Credentials, now: Timespec, seals: u32) -> Result<Rc<TmpInode>> {
        let fs = self.fs()?;
        let body = Body::Regular(PageCache::in_memory(&fs.memory, 0));
        let inode = TmpInode::new(&fs, body, stat::S_IFREG | 0o777, creds.fsuid, creds.fsgid, 0, now);
        inode.seals.set(Some(seals));
        inode.meta.borrow_mut().nlink = 0;
        Ok(inode)
    }

    fn make_unnamed(&self, mode: u32, creds: &Credentials, now: Timespec) -> Result<Rc<dyn Inode>> {
        let fs = self.fs()?;
        self.directory()?;
        if fs.inodes.get() >= fs.options.inodes {
            return Err(Errno::ENOSPC);
        }
        let (uid, gid, mode) = inherit(&self.meta.borrow(), mode, creds);
        let inode = TmpInode::new(&fs, Body::Regular(PageCache::in_memory(&fs.memory, 0)), mode, uid, gid, 0, now);
        inode.meta.borrow_mut().nlink = 0;
        Ok(inode)
    }

    /// Seals of a memory descriptor.
    pub(super) fn seals(&self) -> Option<u32> {
        self.seals.get()
    }

    /// Adds seals.
    pub(super) fn set_seals(&self, seals: u32) {
        self.seals.set(Some(seals));
    }

    fn sealed(&self, seal: u32) -> bool {
        self.seals.get().is_some_and(|seals| seals & seal != 0)
    }

    /// Brings what is counted against the size in line with the pages there are.
    fn recount(&self, cache: &PageCache) {
        let pages = cache.resident();
        if let Some(fs) = self.fs.upgrade() {
            fs.pages.set((fs.pages.get() + pages).saturating_sub(self.charged.get()));
        }
        self.charged.set(pages);
    }

    fn changed(&self, now: Timespec) {
        let mut meta = self.meta.borrow_mut();
        meta.mtime = now;
        meta.ctime = now;
        if let Body::Directory(directory) = &self.body {
            meta.size = directory.by_name.borrow().len() as u64 * 20;
        }
    }

    fn add_links(&self, count: i32, now: Timespec) {
        let mut meta = self.meta.borrow_mut();
        meta.nlink = meta.nlink.saturating_add_signed(count);
        meta.ctime = now;
    }

    fn is_dir(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    fn insert(&self, name: &[u8], inode: &Rc<TmpInode>, now: Timespec) -> Result<()> {
        let directory = self.directory()?;
        if self.meta.borrow().nlink == 0 {
            return Err(Errno::ENOENT);
        }
        directory.add(name, Rc::clone(inode));
        if inode.is_dir() {
            self.add_links(1, now);
        }
        self.changed(now);
        Ok(())
    }

    fn make(
        &self,
        name: &[u8],
        body: Body,
        mode: u32,
        rdev: u64,
        creds: &Credentials,
        now: Timespec,
    ) -> Result<Rc<dyn Inode>> {
        let fs = self.fs()?;
        if fs.inodes.get() >= fs.options.inodes {
            return Err(Errno::ENOSPC);
        }
        if self.directory()?.find(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let (uid, gid, mode) = inherit(&self.meta.borrow(), mode, creds);
        let inode = TmpInode::new(&fs, body, mode, uid, gid, rdev, now);
        self.insert(name, &inode, now)?;
        Ok(inode)
    }

    fn rename_to(&self, from: &[u8], to_dir: &TmpInode, to: &[u8], flags: u32, now: Timespec) -> Result<()> {
        let (source, target) = (self.directory()?, to_dir.directory()?);
        let moving = source.find(from).ok_or(Errno::ENOENT)?;
        let replaced = target.find(to);
        if to_dir.meta.borrow().nlink == 0 {
            return Err(Errno::ENOENT);
        }
        if flags & RENAME_EXCHANGE != 0 {
            let other = replaced.ok_or(Errno::ENOENT)?;
            source.take(from);
            target.take(to);
            self.place(from, other, to_dir, now);
            to_dir.place(to, moving, self, now);
            return Ok(());
        }
        if let Some(replaced) = &replaced {
            if let Body::Directory(directory) = &replaced.body {
                if !directory.by_name.borrow().is_empty() {
                    return Err(Errno::ENOTEMPTY);
                }
                to_dir.add_links(-1, now);
                replaced.add_links(-2, now);
            } else {
                replaced.add_links(-1, now);
            }
            target.take(to);
        }
        source.take(from);
        to_dir.place(to, moving, self, now);
        self.changed(now);
        Ok(())
    }

    /// Puts an inode that was in `from` here.
    fn place(&self, name: &[u8], inode: Rc<TmpInode>, from: &TmpInode, now: Timespec) {
        let Body::Directory(here) = &self.body else { return };
        if let Body::Directory(directory) = &inode.body {
            *directory.parent.borrow_mut() = Weak::clone(&self.this);
            from.add_links(-1, now);
            self.add_links(1, now);
        }
        inode.meta.borrow_mut().ctime = now;
        here.add(name, inode);
        self.changed(now);
    }

    fn remove(&self, name: &[u8], now: Timespec) -> Result<()> {
        let directory = self.directory()?;
        let victim = directory.find(name).ok_or(Errno::ENOENT)?;
        if let Body::Directory(inner) = &victim.body {
            if !inner.by_name.borrow().is_empty() {
                return Err(Errno::ENOTEMPTY);
            }
            self.add_links(-1, now);
            victim.add_links(-2, now);
        } else {
            victim.add_links(-1, now);
        }
        directory.take(name);
        self.changed(now);
        Ok(())
    }

    fn resize(&self, size: u64) -> Result<()> {
        let Body::Regular(cache) = &self.body else { return Err(Errno::EINVAL) };
        let old = self.meta.borrow().size;
        if (size > old && self.sealed(F_SEAL_GROW)) || (size < old && self.sealed(F_SEAL_SHRINK)) {
            return Err(Errno::EPERM);
        }
        cache.truncate(size);
        self.meta.borrow_mut().size = size;
        self.recount(cache);
        Ok(())
    }
}

impl Drop for TmpInode {
    fn drop(&mut self) {
        if let Some(fs) = self.fs.upgrade() {
            fs.pages.set(fs.pages.get().saturating_sub(self.charged.get()));
            fs.inodes.set(fs.inodes.get().saturating_sub(1));
        }
        // Not by recursion: a tree can be deeper than the host's stack.
        let mut below = self.take_children();
        while let Some(inode) = below.pop() {
            if Rc::strong_count(&inode) == 1 {
                below.extend(inode.take_children());
            }
        }
    }
}

impl TmpInode {
    fn take_children(&self) -> Vec<Rc<TmpInode>> {
        let Body::Directory(directory) = &self.body else { return Vec::new() };
        let children = std::mem::take(&mut *directory.by_name.borrow_mut());
        children.into_values().map(|(_, inode)| inode).collect()
    }
}

impl Store for TmpInode {
    fn write<'a>(&'a self, cx: &'a SyscallCx, offset: u64, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::ready(self.store(offset, data, cx.now()))
    }

    fn max_size(&self) -> u64 {
        i64::MAX as u64 & !(PAGE - 1)
    }

    fn lock(&self) -> &Mutex<()> {
        &self.lock
    }
}

impl TmpInode {
    fn store(&self, offset: u64, data: &[u8], now: Timespec) -> Result<usize> {
        let Body::Regular(cache) = &self.body else { return Err(Errno::EINVAL) };
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::EFBIG)?;
        if self.sealed(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
            || (end > self.meta.borrow().size && self.sealed(F_SEAL_GROW))
        {
            return Err(Errno::EPERM);
        }
        let fs = self.fs()?;
        // As much as fits, page by page from the start.
        let mut data = data;
        while fs.check_room(cache.missing(offset, data.len() as u64)).is_err() {
            let shorter = (data.len() - 1) & !(PAGE as usize - 1);
            let shorter = shorter.saturating_sub((offset % PAGE) as usize);
            if shorter == 0 {
                return Err(Errno::ENOSPC);
            }
            data = data.get(..shorter).ok_or(Errno::ENOSPC)?;
        }
        let count = cache.store(offset, data)?;
        self.recount(cache);
        {
            let mut meta = self.meta.borrow_mut();
            meta.size = meta.size.max(offset + count as u64);
        }
        self.changed(now);
        Ok(count)
    }
}

fn same_fs<'a>(of: &TmpInode, inode: &'a Rc<dyn Inode>) -> Result<&'a TmpInode> {
    let any: &dyn Any = &**inode;
    let inode = any.downcast_ref::<TmpInode>().ok_or(Errno::EXDEV)?;
    if Weak::ptr_eq(&of.fs, &inode.fs) { Ok(inode) } else { Err(Errno::EXDEV) }
}

impl Inode for TmpInode {
    fn metadata(&self) -> Metadata {
        let mut meta = *self.meta.borrow();
        if let Body::Regular(cache) = &self.body {
            self.recount(cache);
            meta.blocks = cache.resident() * (PAGE / 512);
        }
        meta
    }

    fn set_attr(&self, change: SetAttr) -> Io<'_, Result<()>> {
        if let Some(size) = change.size
            && let Err(errno) = self.resize(size)
        {
            return Io::ready(Err(errno));
        }
        self.meta.borrow_mut().apply(&change);
        Io::ready(Ok(()))
    }

    fn open<'a>(self: Rc<Self>, _cx: &'a SyscallCx, _flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let Body::Regular(cache) = &self.body else { return Io::ready(Err(Errno::ENXIO)) };
        let cache = Rc::clone(cache);
        Io::ready(Ok(RegularFile::new(self, cache, Atime::Relative)))
    }

    fn lookup<'a>(&'a self, _cx: &'a SyscallCx, name: &'a [u8]) -> Io<'a, Result<Rc<dyn Inode>>> {
        let found = self.directory().map(|directory| directory.find(name));
        Io::ready(match found {
            Ok(Some(inode)) => Ok(inode),
            Ok(None) => Err(Errno::ENOENT),
            Err(errno) => Err(errno),
        })
    }

    fn create<'a>(
        &'a self,
        name: &'a [u8],
        mode: u32,
        rdev: u64,
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        let body = match FileType::from_mode(mode) {
            Some(FileType::Regular) => match self.fs() {
                Ok(fs) => Body::Regular(PageCache::in_memory(&fs.memory, 0)),
                Err(errno) => return Io::ready(Err(errno)),
            },
            Some(FileType::Directory) => Body::directory(Weak::clone(&self.this)),
            _ => Body::Special,
        };
        Io::ready(self.make(name, body, mode, rdev, creds, now))
    }

    fn symlink<'a>(
        &'a self,
        name: &'a [u8],
        target: &'a [u8],
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::ready(self.make(name, Body::Symlink(target.to_vec()), stat::S_IFLNK | 0o777, 0, creds, now))
    }

    fn create_unnamed<'a>(&'a self, mode: u32, creds: &'a Credentials, now: Timespec) -> Io<'a, Result<Rc<dyn Inode>>> {
        Io::ready(self.make_unnamed(mode, creds, now))
    }

    fn link<'a>(&'a self, name: &'a [u8], inode: &'a Rc<dyn Inode>, now: Timespec) -> Io<'a, Result<()>> {
        let linked = same_fs(self, inode).and_then(|inode| {
            let inode = inode.this.upgrade().ok_or(Errno::ENOENT)?;
            self.insert(name, &inode, now)?;
            inode.add_links(1, now);
            Ok(())
        });
        Io::ready(linked)
    }

    fn unlink<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::ready(self.remove(name, now))
    }

    fn rmdir<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        Io::ready(self.remove(name, now))
    }

    fn rename<'a>(
        &'a self,
        from: &'a [u8],
        to_dir: &'a Rc<dyn Inode>,
        to: &'a [u8],
        flags: u32,
        now: Timespec,
    ) -> Io<'a, Result<()>> {
        Io::ready(same_fs(self, to_dir).and_then(|to_dir| self.rename_to(from, to_dir, to, flags, now)))
    }

    fn read_dir<'a>(&'a self, _cx: &'a SyscallCx, cookie: u64) -> Io<'a, Result<Vec<Dirent>>> {
        let directory = match self.directory() {
            Ok(directory) => directory,
            Err(errno) => return Io::ready(Err(errno)),
        };
        let mut out = Vec::new();
        let ino = self.meta.borrow().ino;
        if cookie < 1 {
            out.push(Dirent { ino, kind: FileType::Directory, next: 1, name: b".".to_vec() });
        }
        if cookie < 2 {
            let parent = directory.parent.borrow().upgrade().map_or(ino, |parent| parent.meta.borrow().ino);
            out.push(Dirent { ino: parent, kind: FileType::Directory, next: 2, name: b"..".to_vec() });
        }
        let by_name = directory.by_name.borrow();
        for (cookie, name) in directory.by_cookie.borrow().range(cookie.max(2) + 1..).take(256) {
            if let Some((_, inode)) = by_name.get(name) {
                let meta = inode.meta.borrow();
                out.push(Dirent { ino: meta.ino, kind: meta.file_type(), next: *cookie, name: name.clone() });
            }
        }
        Io::ready(Ok(out))
    }

    fn read_link<'a>(&'a self, _cx: &'a SyscallCx) -> Io<'a, Result<Vec<u8>>> {
        Io::ready(match &self.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        })
    }

    fn page_cache(&self) -> Option<Rc<PageCache>> {
        match &self.body {
            Body::Regular(cache) => Some(Rc::clone(cache)),
            _ => None,
        }
    }

    fn allocate(&self, offset: u64, len: u64) -> Io<'_, Result<()>> {
        let Body::Regular(cache) = &self.body else { return Io::ready(Err(Errno::ENODEV)) };
        Io::ready(self.fs().and_then(|fs| fs.check_room(cache.missing(offset, len))))
    }

    fn get_xattr<'a>(&'a self, name: &'a [u8]) -> Io<'a, Result<Vec<u8>>> {
        if !supported(name) {
            return Io::ready(Err(Errno::EOPNOTSUPP));
        }
        Io::ready(self.xattrs.borrow().get(name).cloned().ok_or(Errno::ENODATA))
    }

    fn set_xattr<'a>(&'a self, name: &'a [u8], value: &'a [u8], flags: u32, now: Timespec) -> Io<'a, Result<()>> {
        Io::ready(self.put_xattr(name, value, flags, now))
    }

    fn remove_xattr<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        if !supported(name) {
            return Io::ready(Err(Errno::EOPNOTSUPP));
        }
        let removed = self.xattrs.borrow_mut().remove(name);
        self.meta.borrow_mut().ctime = now;
        Io::ready(removed.map(|_| ()).ok_or(Errno::ENODATA))
    }

    fn list_xattr(&self) -> Io<'_, Result<Vec<Vec<u8>>>> {
        Io::ready(Ok(self.xattrs.borrow().keys().cloned().collect()))
    }
}

/// Linux's tmpfs keeps only these.
fn supported(name: &[u8]) -> bool {
    name.starts_with(b"trusted.") || name.starts_with(b"security.")
}

impl TmpInode {
    fn put_xattr(&self, name: &[u8], value: &[u8], flags: u32, now: Timespec) -> Result<()> {
        if !supported(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut xattrs = self.xattrs.borrow_mut();
        match xattrs.contains_key(name) {
            true if flags & 1 != 0 => return Err(Errno::EEXIST),
            false if flags & 2 != 0 => return Err(Errno::ENODATA),
            _ => {}
        }
        let others: usize = xattrs.iter().filter(|(key, _)| *key != name).map(|(k, v)| k.len() + v.len()).sum();
        if others + name.len() + value.len() > XATTR_MAX {
            return Err(Errno::ENOSPC);
        }
        xattrs.insert(name.to_vec(), value.to_vec());
        self.meta.borrow_mut().ctime = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::size;
    use crate::Errno;

    #[test]
    fn sizes_have_suffixes_and_shares() {
        assert_eq!(size("64k", 0), Ok(65_536));
        assert_eq!(size("50%", 1000), Ok(500));
        assert_eq!(size("12", 0), Ok(12));
        assert_eq!(size("99999999999g", 0), Err(Errno::EINVAL));
        assert_eq!(size("x", 0), Err(Errno::EINVAL));
    }
}
