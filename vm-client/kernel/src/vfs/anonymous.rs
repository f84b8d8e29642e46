//! Files without a name: pipes, sockets, event descriptors.

use std::rc::Rc;

use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_rt::Io;

use super::{File, FileSystem, Inode, Metadata, OpenFlags, StatFs};
use crate::{Errno, Result, SyscallCx};

/// The file system that files without a name live in. It is never mounted.
pub(super) struct AnonymousFs {
    pub(super) name: &'static str,
    pub(super) magic: u32,
}

impl FileSystem for AnonymousFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn root(&self) -> Rc<dyn Inode> {
        Rc::new(AnonymousInode { meta: Metadata { mode: stat::S_IFDIR | 0o555, ..Metadata::default() } })
    }

    fn statfs(&self) -> Io<'_, Result<StatFs>> {
        Io::ready(Ok(StatFs { magic: self.magic, block_size: 4096, name_max: 255, ..StatFs::default() }))
    }
}

/// An inode that only has attributes.
pub(super) struct AnonymousInode {
    pub(super) meta: Metadata,
}

impl AnonymousInode {
    pub(super) fn new(dev: u64, ino: u64, mode: u32, uid: u32, gid: u32, now: Timespec) -> Rc<Self> {
        let meta = Metadata {
            dev,
            ino,
            mode,
            nlink: 1,
            uid,
            gid,
            block_size: 4096,
            atime: now,
            mtime: now,
            ctime: now,
            ..Metadata::default()
        };
        Rc::new(Self { meta })
    }
}

impl Inode for AnonymousInode {
    fn metadata(&self) -> Metadata {
        self.meta
    }

    fn open<'a>(self: Rc<Self>, _cx: &'a SyscallCx, _flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        Io::ready(Err(Errno::ENXIO))
    }
}
