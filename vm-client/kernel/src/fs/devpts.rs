//! devpts: the slaves of pseudoterminals as files (pts(4)).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use linux_abi::fcntl::O_CLOEXEC;
use linux_abi::stat::{S_IFCHR, S_IFDIR, makedev};
use linux_abi::time::Timespec;
use vm_rt::Io;

use crate::tty::pty::{PtyTable, Slave};
use crate::vfs::{Dirent, File, FileSystem, FileType, Inode, Metadata, OnExec, OpenFlags, SetAttr, StatFs, open};
use crate::{Errno, Kernel, Result, SyscallCx};

/// `DEVPTS_SUPER_MAGIC` of statfs(2).
const MAGIC: u32 = 0x1cd1;
const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;
/// Inode number of slave 0.
const FIRST_INO: u64 = 3;
/// Group `tty` of Debian and most others, which owns the slaves (mount option `gid=5`).
const TTY_GROUP: u32 = 5;

/// A mounted devpts.
pub struct DevPts {
    shared: Rc<Shared>,
}

struct Shared {
    ptys: Rc<PtyTable>,
    dev: u64,
    created: Timespec,
    slaves: RefCell<HashMap<u32, Weak<SlaveInode>>>,
}

impl DevPts {
    /// The pseudoterminals of a kernel as a file system.
    pub fn new(kernel: &Kernel) -> Rc<Self> {
        Rc::new(Self {
            shared: Rc::new(Shared {
                ptys: Rc::clone(&kernel.ptys),
                dev: kernel.vfs.new_device_number(),
                created: kernel.now_realtime(),
                slaves: RefCell::default(),
            }),
        })
    }
}

impl FileSystem for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn root(&self) -> Rc<dyn Inode> {
        Rc::new(RootInode(Rc::clone(&self.shared)))
    }

    fn statfs(&self) -> Io<'_, Result<StatFs>> {
        Io::ready(Ok(StatFs { magic: MAGIC, block_size: 1024, name_max: 255, ..StatFs::default() }))
    }

    /// Slaves come and go by themselves.
    fn cacheable(&self) -> bool {
        false
    }
}

impl Shared {
    fn slave(self: &Rc<Self>, index: u32) -> Option<Rc<SlaveInode>> {
        let slave = self.ptys.slave(index)?;
        let mut known = self.slaves.borrow_mut();
        if let Some(inode) = known.get(&index).and_then(Weak::upgrade)
            && Rc::ptr_eq(&inode.slave.tty, &slave.tty)
        {
            return Some(inode);
        }
        let inode = Rc::new(SlaveInode { shared: Rc::clone(self), index, slave });
        known.insert(index, Rc::downgrade(&inode));
        Some(inode)
    }
}

struct RootInode(Rc<Shared>);

impl Inode for RootInode {
    fn metadata(&self) -> Metadata {
        let Shared { dev, created, .. } = *self.0;
        Metadata {
            dev,
            ino: ROOT_INO,
            mode: S_IFDIR | 0o755,
            nlink: 2,
            block_size: 1024,
            atime: created,
            mtime: created,
            ctime: created,
            ..Metadata::default()
        }
    }

    fn lookup<'a>(&'a self, _cx: &'a SyscallCx, name: &'a [u8]) -> Io<'a, Result<Rc<dyn Inode>>> {
        if name == b"ptmx" {
            return Io::ready(Ok(Rc::new(PtmxInode(Rc::clone(&self.0))) as Rc<dyn Inode>));
        }
        let index = std::str::from_utf8(name).ok().and_then(|text| text.parse().ok());
        // `007` is no name of slave 7.
        let index = index.filter(|index: &u32| index.to_string().as_bytes() == name);
        let slave = index.and_then(|index| self.0.slave(index));
        Io::ready(slave.map(|inode| inode as Rc<dyn Inode>).ok_or(Errno::ENOENT))
    }

    fn read_dir<'a>(&'a self, _cx: &'a SyscallCx, cookie: u64) -> Io<'a, Result<Vec<Dirent>>> {
        let entry = |name: &str, ino, kind, next| Dirent { ino, kind, next, name: name.as_bytes().to_vec() };
        let mut all = vec![
            entry(".", ROOT_INO, FileType::Directory, 1),
            entry("..", ROOT_INO, FileType::Directory, 2),
            entry("ptmx", PTMX_INO, FileType::CharDevice, 3),
        ];
        for index in self.0.ptys.indices() {
            let position = u64::from(index) + 4;
            all.push(entry(&index.to_string(), u64::from(index) + FIRST_INO, FileType::CharDevice, position));
        }
        all.retain(|entry| entry.next > cookie);
        Io::ready(Ok(all))
    }
}

struct PtmxInode(Rc<Shared>);

impl Inode for PtmxInode {
    fn metadata(&self) -> Metadata {
        let Shared { dev, created, .. } = *self.0;
        Metadata {
            dev,
            ino: PTMX_INO,
            mode: S_IFCHR | 0o666,
            nlink: 1,
            rdev: makedev(5, 2),
            block_size: 1024,
            atime: created,
            mtime: created,
            ctime: created,
            ..Metadata::default()
        }
    }
}

struct SlaveInode {
    shared: Rc<Shared>,
    index: u32,
    slave: Slave,
}

impl Inode for SlaveInode {
    fn metadata(&self) -> Metadata {
        let created = self.shared.created;
        Metadata {
            dev: self.shared.dev,
            ino: u64::from(self.index) + FIRST_INO,
            mode: S_IFCHR | self.slave.mode.get(),
            nlink: 1,
            uid: self.slave.uid.get(),
            gid: self.slave.gid.get(),
            rdev: self.slave.tty.name().rdev(),
            block_size: 1024,
            atime: created,
            mtime: created,
            ctime: created,
            ..Metadata::default()
        }
    }

    fn set_attr(&self, change: SetAttr) -> Io<'_, Result<()>> {
        if change.size.is_some() {
            return Io::ready(Err(Errno::EINVAL));
        }
        for (slot, value) in
            [(&self.slave.mode, change.mode), (&self.slave.uid, change.uid), (&self.slave.gid, change.gid)]
        {
            if let Some(value) = value {
                slot.set(value);
            }
        }
        Io::ready(Ok(()))
    }
}

/// Opens a slave by number.
pub(super) fn open_slave(cx: &SyscallCx, index: u32, flags: OpenFlags) -> Result<Rc<dyn File>> {
    let slave = cx.kernel.ptys.slave(index).ok_or(Errno::EIO)?;
    if slave.locked.get() {
        return Err(Errno::EIO);
    }
    slave.tty.open(cx, flags)
}

/// ioctl TIOCGPTPEER: a descriptor of the slave for whoever has the master.
pub(crate) async fn open_peer(cx: &SyscallCx, index: u32, flags: u32) -> Result<i64> {
    let name = format!("/dev/pts/{index}");
    let file = open::open(cx, linux_abi::fcntl::AT_FDCWD, name.as_bytes(), OpenFlags(flags), 0).await?;
    let limit = cx.task.group.rlimits.borrow().soft(crate::task::Resource::Nofile);
    let fd = cx.files().insert_from(0, file, OnExec::from_flag(flags, O_CLOEXEC), limit)?;
    Ok(i64::from(fd))
}

/// The group that new slaves belong to.
pub(crate) fn slave_group() -> u32 {
    TTY_GROUP
}
