//! Directories that the host fills, read-only for the guest: files that a page hands in, or a tree on a web server.
//!
//! The host gives a [`Tree`]; everything else is here. Nothing is kept in the name cache, because the host changes the tree
//! without telling: the tree itself keeps what it has asked for. The pages of files are kept as those of a disk are.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_mem::PAGE_SIZE;
use vm_rt::{Io, Mutex};

use crate::mm::memory::Memory;
use crate::mm::page_cache::{PageCache, PageSource};
use crate::vfs::regular::{Atime, RegularFile, Store};
use crate::vfs::{Dirent, File, FileSystem, FileType, Inode, Metadata, OpenFlags, StatFs};
use crate::{Errno, Result, SyscallCx};

/// `V9FS_MAGIC`: what Linux itself says of a directory of its host.
const MAGIC: u32 = 0x0102_1997;

/// Something in a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// A directory or a regular file.
    pub kind: FileType,
    /// Bytes of a file.
    pub size: u64,
    /// When it was changed.
    pub modified: Timespec,
    /// Another number once a file has other content: pages of the old one are not shown any more.
    pub version: u64,
}

/// Names in a directory, each with its type.
pub type Names = Vec<(Vec<u8>, FileType)>;

/// A tree of files of the host. Paths are names with `/` between them; the root is the empty path.
pub trait Tree {
    /// What a path is; ENOENT if it is nothing.
    fn find<'a>(&'a self, path: &'a [u8]) -> Io<'a, Result<Found>>;
    /// The names in a directory; those of unknown type are told as regular files.
    fn list<'a>(&'a self, path: &'a [u8]) -> Io<'a, Result<Names>>;
    /// Reads from a file; short only at its end.
    fn read<'a>(&'a self, path: &'a [u8], offset: u64, buf: &'a mut [u8]) -> Io<'a, Result<usize>>;
}

/// A mounted tree of the host.
pub struct HostedFs {
    shared: Rc<Shared>,
    root: Rc<HostedInode>,
}

struct Shared {
    tree: Rc<dyn Tree>,
    memory: Rc<Memory>,
    name: &'static str,
    dev: u64,
    /// By path, so that a file has one inode as long as somebody uses it.
    inodes: RefCell<BTreeMap<Vec<u8>, Weak<HostedInode>>>,
    numbers: RefCell<BTreeMap<Vec<u8>, u64>>,
    mode: Modes,
}

/// Permission bits of everything in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Of directories.
    pub directories: u32,
    /// Of files.
    pub files: u32,
}

const ROOT_INO: u64 = 1;

impl HostedFs {
    /// Makes a file system of a tree; `name` is its type in /proc/mounts.
    pub fn new(
        memory: &Rc<Memory>,
        dev: u64,
        name: &'static str,
        tree: Rc<dyn Tree>,
        mode: Modes,
        now: Timespec,
    ) -> Rc<Self> {
        let shared = Rc::new(Shared {
            tree,
            memory: Rc::clone(memory),
            name,
            dev,
            inodes: RefCell::default(),
            numbers: RefCell::new(BTreeMap::from([(Vec::new(), ROOT_INO)])),
            mode,
        });
        let found = Found { kind: FileType::Directory, size: 0, modified: now, version: 0 };
        let root = HostedInode::new(&shared, &[], found);
        Rc::new(Self { shared, root })
    }
}

impl FileSystem for HostedFs {
    fn name(&self) -> &'static str {
        self.shared.name
    }

    fn root(&self) -> Rc<dyn Inode> {
        Rc::clone(&self.root) as Rc<dyn Inode>
    }

    fn statfs(&self) -> Io<'_, Result<StatFs>> {
        Io::ready(Ok(StatFs { magic: MAGIC, block_size: PAGE_SIZE as u32, name_max: 255, ..StatFs::default() }))
    }

    fn read_only(&self) -> bool {
        true
    }

    fn cacheable(&self) -> bool {
        false
    }
}

impl Shared {
    /// A number for a path, the same each time.
    fn number(&self, path: &[u8]) -> u64 {
        let mut numbers = self.numbers.borrow_mut();
        let next = numbers.len() as u64 + ROOT_INO;
        *numbers.entry(path.to_vec()).or_insert(next)
    }

    fn inode(self: &Rc<Self>, path: &[u8], found: Found) -> Rc<HostedInode> {
        if let Some(inode) = self.inodes.borrow().get(path).and_then(Weak::upgrade)
            && inode.found.get() == found
        {
            return inode;
        }
        let inode = HostedInode::new(self, path, found);
        let mut inodes = self.inodes.borrow_mut();
        inodes.insert(path.to_vec(), Rc::downgrade(&inode));
        // What nobody uses is forgotten now and then.
        if inodes.len().is_power_of_two() {
            inodes.retain(|_, inode| inode.strong_count() > 0);
        }
        inode
    }
}

/// A file or directory of a [`HostedFs`].
struct HostedInode {
    shared: Rc<Shared>,
    path: Vec<u8>,
    ino: u64,
    found: Cell<Found>,
    cache: Option<Rc<PageCache>>,
    lock: Mutex<()>,
}

impl HostedInode {
    fn new(shared: &Rc<Shared>, path: &[u8], found: Found) -> Rc<Self> {
        let source = || Source { tree: Rc::clone(&shared.tree), path: path.to_vec(), size: found.size };
        let is_file = found.kind == FileType::Regular;
        Rc::new(Self {
            shared: Rc::clone(shared),
            path: path.to_vec(),
            ino: shared.number(path),
            found: Cell::new(found),
            cache: is_file.then(|| PageCache::new(&shared.memory, Rc::new(source()))),
            lock: Mutex::default(),
        })
    }

    fn below(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path, &b"/"[..], name].concat() }
    }

    async fn find(&self, name: &[u8]) -> Result<Rc<dyn Inode>> {
        if self.cache.is_some() {
            return Err(Errno::ENOTDIR);
        }
        let path = self.below(name);
        let found = self.shared.tree.find(&path).await?;
        Ok(self.shared.inode(&path, found))
    }

    async fn entries(&self, cookie: u64) -> Result<Vec<Dirent>> {
        if self.cache.is_some() {
            return Err(Errno::ENOTDIR);
        }
        let parent = self.path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &self.path[..at]);
        let dot = |name: &[u8], ino| (name.to_vec(), FileType::Directory, ino);
        let mut all = vec![dot(b".", self.ino), dot(b"..", self.shared.number(parent))];
        for (name, kind) in self.shared.tree.list(&self.path).await? {
            let ino = self.shared.number(&self.below(&name));
            all.push((name, kind, ino));
        }
        let rest = all.into_iter().zip(1..).skip(usize::try_from(cookie).unwrap_or(usize::MAX));
        Ok(rest.map(|((name, kind, ino), next)| Dirent { ino, kind, next, name }).collect())
    }
}

impl Inode for HostedInode {
    fn metadata(&self) -> Metadata {
        let found = self.found.get();
        let (mode, nlink) = match found.kind {
            FileType::Directory => (stat::S_IFDIR | self.shared.mode.directories, 2),
            _ => (stat::S_IFREG | self.shared.mode.files, 1),
        };
        Metadata {
            dev: self.shared.dev,
            ino: self.ino,
            mode,
            nlink,
            size: found.size,
            blocks: found.size.div_ceil(512),
            block_size: PAGE_SIZE as u32,
            atime: found.modified,
            mtime: found.modified,
            ctime: found.modified,
            ..Metadata::default()
        }
    }

    fn open<'a>(self: Rc<Self>, _cx: &'a SyscallCx, _flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let Some(cache) = self.cache.clone() else { return Io::ready(Err(Errno::EISDIR)) };
        Io::ready(Ok(RegularFile::new(self, cache, Atime::Never) as Rc<dyn File>))
    }

    fn lookup<'a>(&'a self, cx: &'a SyscallCx, name: &'a [u8]) -> Io<'a, Result<Rc<dyn Inode>>> {
        // A server that does not answer must not keep the task from being killed.
        Io::later(async move { cx.task.killable(self.find(name)).await? })
    }

    fn read_dir<'a>(&'a self, cx: &'a SyscallCx, cookie: u64) -> Io<'a, Result<Vec<Dirent>>> {
        Io::later(async move { cx.task.killable(self.entries(cookie)).await? })
    }

    fn page_cache(&self) -> Option<Rc<PageCache>> {
        self.cache.clone()
    }
}

impl Store for HostedInode {
    fn write<'a>(&'a self, _cx: &'a SyscallCx, _offset: u64, _data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::ready(Err(Errno::EROFS))
    }

    fn max_size(&self) -> u64 {
        self.found.get().size
    }

    fn lock(&self) -> &Mutex<()> {
        &self.lock
    }
}

/// The pages of a file.
struct Source {
    tree: Rc<dyn Tree>,
    path: Vec<u8>,
    size: u64,
}

impl PageSource for Source {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_page<'a>(&'a self, index: u64, page: &'a mut [u8; PAGE_SIZE]) -> Io<'a, Result<()>> {
        let Some(offset) = index.checked_mul(PAGE_SIZE as u64) else { return Io::ready(Err(Errno::EFBIG)) };
        page.fill(0);
        match self.tree.read(&self.path, offset, page) {
            Io::Ready(read) => Io::ready(read.unwrap_or(Err(Errno::EIO)).map(drop)),
            Io::Later(read) => Io::later(async move { read.await.map(drop) }),
        }
    }

    fn write_page<'a>(&'a self, _index: u64, _page: &'a [u8; PAGE_SIZE]) -> Io<'a, Result<()>> {
        Io::ready(Err(Errno::EROFS))
    }
}
