//! Files by name: the traits that every file system and every kind of open file implements, path walking, mounts and
//! descriptors.
//!
//! [`FileSystem`] gives a root [`Inode`]; an inode opens to a [`File`] (Linux's `file_operations`); a [`File`] in use is an
//! [`OpenFile`] (Linux's `struct file`: position, flags, path) behind a number in an [`FdTable`]. Default methods answer
//! the right errno, so a new file type is short. Names are [`Dentry`]s, a place is a [`Path`] (name and mount), [`walk`]
//! finds places and [`open`] opens them; [`names`] changes names. [`Vfs`] is what all tasks of a machine share.

mod anonymous;
pub mod attr;
mod dentry;
mod directory;
mod fd_table;
pub mod file;
mod fs_context;
pub mod inode;
pub mod locks;
pub mod mount;
pub mod names;
pub mod notify;
pub mod open;
mod open_file;
mod path;
pub mod permission;
pub mod regular;
pub mod special;
pub mod walk;

pub use dentry::{Dentry, DentryCache};
pub use fd_table::{FdTable, OnExec};
pub use file::{File, IoMode, Mappable};
pub use fs_context::FsContext;
pub use inode::{Dirent, FileSystem, FileType, Inode, Metadata, OpenFlags, SetAttr, StatFs};
pub use mount::{Mount, MountTable};
pub use open_file::{OpenFile, Whence};
pub use path::Path;
pub use walk::Follow;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_rt::Mutex;

use crate::task::Credentials;
use crate::{Result, SyscallCx};

/// What all tasks of a machine share about files.
pub struct Vfs {
    /// The tree.
    pub mounts: MountTable,
    /// Names in core.
    pub dentries: DentryCache,
    /// Device drivers.
    pub drivers: special::Drivers,
    /// File locks.
    pub locks: locks::LockTable,
    /// Watches.
    pub notifier: notify::Notifier,
    /// Open fifos and pipes by inode.
    pub pipes: crate::fs::pipe::Pipes,
    rename_lock: Mutex<()>,
    last_minor: Cell<u32>,
    last_ino: Cell<u64>,
    anonymous: [(Rc<Mount>, u64); 3],
    open_files: Cell<u64>,
    memory_mount: RefCell<Option<Rc<Mount>>>,
    /// /proc/loadavg
    pub(crate) load_average: crate::fs::proc::LoadAverage,
    /// /proc/sys/kernel/random/boot_id
    pub(crate) boot_id: OnceCell<[u8; 16]>,
}

/// Which kind of file without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// A pipe.
    Pipe,
    /// A socket.
    Socket,
    /// An event descriptor of any kind.
    Event,
}

impl Vfs {
    /// A tree without mounts.
    pub fn new() -> Rc<Self> {
        let mounts = MountTable::default();
        let last_minor = Cell::new(0);
        let anonymous =
            [("pipefs", 0x5049_5045), ("sockfs", 0x534f_434b), ("anon_inodefs", 0x0904_1934)].map(|(name, magic)| {
                let fs: Rc<dyn FileSystem> = Rc::new(anonymous::AnonymousFs { name, magic });
                let root = fs.root();
                last_minor.set(last_minor.get() + 1);
                (mounts.detached(Dentry::root(fs, root), name, 0), stat::makedev(0, last_minor.get()))
            });
        Rc::new(Self {
            mounts,
            dentries: DentryCache::default(),
            drivers: special::Drivers::default(),
            locks: locks::LockTable::default(),
            notifier: notify::Notifier::default(),
            pipes: crate::fs::pipe::Pipes::default(),
            rename_lock: Mutex::default(),
            last_minor,
            last_ino: Cell::new(0),
            anonymous,
            open_files: Cell::new(0),
            memory_mount: RefCell::default(),
            load_average: crate::fs::proc::LoadAverage::default(),
            boot_id: OnceCell::new(),
        })
    }

    /// A device number for a file system without a disk.
    pub fn new_device_number(&self) -> u64 {
        self.last_minor.set(self.last_minor.get() + 1);
        stat::makedev(0, self.last_minor.get())
    }

    /// The mount outside the tree that memory descriptors live in.
    pub(crate) fn memory_mount(&self, make: impl FnOnce() -> Rc<dyn FileSystem>) -> Rc<Mount> {
        if let Some(mount) = &*self.memory_mount.borrow() {
            return Rc::clone(mount);
        }
        let fs = make();
        let root = fs.root();
        let mount = self.mounts.detached(Dentry::root(fs, root), "tmpfs", 0);
        *self.memory_mount.borrow_mut() = Some(Rc::clone(&mount));
        mount
    }

    /// Waits until everything written to any file system is durable; all are tried, the first error is reported.
    pub async fn sync_all(&self) -> Result<()> {
        let mut result = Ok(());
        let mut done: Vec<Rc<dyn FileSystem>> = Vec::new();
        for mount in self.mounts.list() {
            if done.iter().any(|fs| Rc::ptr_eq(fs, mount.fs())) {
                continue;
            }
            result = result.and(mount.fs().sync().await);
            done.push(Rc::clone(mount.fs()));
        }
        result
    }

    /// Unmounts what is at a place (umount2(2)) and waits until its files are durable.
    pub async fn unmount(&self, at: Path, lazy: bool) -> Result<()> {
        let fs = Rc::clone(at.mount.fs());
        let gone = self.mounts.unmount(at, lazy)?;
        let synced = fs.sync().await;
        self.left(gone);
        synced
    }

    /// Takes down the mounts of a namespace that nobody is in.
    pub(crate) fn drop_namespace(&self, number: u32) {
        self.left(self.mounts.drop_namespace(number));
    }

    /// Lets file systems go whose last mount this was.
    fn left(&self, gone: Vec<Rc<Mount>>) {
        for mount in gone {
            let fs = Rc::clone(mount.fs());
            drop(mount);
            if !self.mounts.uses(&fs) {
                fs.unmounted();
                self.dentries.forget(&fs);
            }
        }
    }

    /// How many files are open.
    pub fn open_files(&self) -> u64 {
        self.open_files.get()
    }

    /// A place for a file without a name.
    pub fn anonymous_path(&self, kind: Anonymous, mode: u32, creds: &Credentials, now: Timespec) -> Path {
        let index = match kind {
            Anonymous::Pipe => 0,
            Anonymous::Socket => 1,
            Anonymous::Event => 2,
        };
        let (mount, dev) = &self.anonymous[index];
        let ino = self.last_ino.get() + 1;
        self.last_ino.set(ino);
        let inode = anonymous::AnonymousInode::new(*dev, ino, mode, creds.fsuid, creds.fsgid, now);
        Path { mount: Rc::clone(mount), dentry: Dentry::root(Rc::clone(mount.fs()), inode) }
    }

    /// An open file without a name; `mode` is what fstat(2) shows, type bits included.
    pub fn open_anonymous(
        self: &Rc<Self>,
        cx: &SyscallCx,
        kind: Anonymous,
        mode: u32,
        file: Rc<dyn File>,
        flags: OpenFlags,
    ) -> Rc<OpenFile> {
        let path = self.anonymous_path(kind, mode, &cx.creds(), cx.now());
        OpenFile::new(self, file, path, flags)
    }

    /// The last descriptor of an open file went.
    fn closed(&self, file: &OpenFile) {
        self.open_files.set(self.open_files.get().saturating_sub(1));
        self.locks.release_open_file(file.inode(), std::ptr::from_ref(file) as usize);
        if !file.is_path_only() {
            let mask = if file.flags().writable() { notify::CLOSE_WRITE } else { notify::CLOSE_NOWRITE };
            self.notifier.changed(&file.path().dentry, mask);
        }
        let dentry = &file.path().dentry;
        if dentry.unlinked() && Rc::strong_count(dentry) == 1 && dentry.inode().metadata().nlink == 0 {
            self.notifier.gone(dentry);
        }
    }
}

impl SyscallCx {
    /// The caller's descriptors.
    pub fn files(&self) -> Rc<FdTable> {
        Rc::clone(&self.task.files.borrow())
    }

    /// The caller's root, working directory and umask.
    pub fn fs(&self) -> Rc<FsContext> {
        Rc::clone(&self.task.fs.borrow())
    }

    /// Who the caller acts as.
    pub fn creds(&self) -> Rc<Credentials> {
        Rc::clone(&self.task.creds.borrow())
    }

    /// The time that files are stamped with.
    pub fn now(&self) -> Timespec {
        self.kernel.now_realtime()
    }
}
