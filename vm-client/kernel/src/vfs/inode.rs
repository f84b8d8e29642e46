//! File systems and inodes.

use std::any::Any;
use std::rc::Rc;

use linux_abi::stat;
use linux_abi::time::Timespec;
use vm_rt::Io;

use crate::mm::page_cache::PageCache;
use crate::task::Credentials;
use crate::vfs::File;
use crate::{Errno, Result, SyscallCx};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl FileType {
    /// The type in a mode's upper bits.
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & stat::S_IFMT {
            stat::S_IFREG => Self::Regular,
            stat::S_IFDIR => Self::Directory,
            stat::S_IFLNK => Self::Symlink,
            stat::S_IFCHR => Self::CharDevice,
            stat::S_IFBLK => Self::BlockDevice,
            stat::S_IFIFO => Self::Fifo,
            stat::S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }

    /// The mode bits of the type.
    pub fn mode(self) -> u32 {
        match self {
            Self::Regular => stat::S_IFREG,
            Self::Directory => stat::S_IFDIR,
            Self::Symlink => stat::S_IFLNK,
            Self::CharDevice => stat::S_IFCHR,
            Self::BlockDevice => stat::S_IFBLK,
            Self::Fifo => stat::S_IFIFO,
            Self::Socket => stat::S_IFSOCK,
        }
    }

    /// The `d_type` of getdents64(2).
    pub fn dirent_type(self) -> u8 {
        (self.mode() >> 12) as u8
    }
}

/// What stat(2) and statx(2) report; the fields mirror `struct stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `st_dev`
    pub dev: u64,
    /// `st_ino`
    pub ino: u64,
    /// `st_mode`, type bits included.
    pub mode: u32,
    /// `st_nlink`
    pub nlink: u32,
    /// `st_uid`
    pub uid: u32,
    /// `st_gid`
    pub gid: u32,
    /// `st_rdev`
    pub rdev: u64,
    /// `st_size`, bytes.
    pub size: u64,
    /// `st_blocks`, in units of 512 bytes.
    pub blocks: u64,
    /// `st_blksize`, bytes.
    pub block_size: u32,
    /// `st_atim`
    pub atime: Timespec,
    /// `st_mtim`
    pub mtime: Timespec,
    /// `st_ctim`
    pub ctime: Timespec,
    /// `stx_btime`, where the file system keeps it.
    pub btime: Option<Timespec>,
}

impl Metadata {
    /// The file type.
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode).unwrap_or(FileType::Regular)
    }

    /// Makes a change, but for the size.
    pub fn apply(&mut self, change: &SetAttr) {
        if let Some(mode) = change.mode {
            self.mode = (self.mode & stat::S_IFMT) | (mode & 0o7777);
        }
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = change.atime.unwrap_or(self.atime);
        self.mtime = change.mtime.unwrap_or(self.mtime);
        self.ctime = change.ctime;
    }
}

/// A change of attributes; `None` leaves one alone. Permission was checked by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length, for truncate(2) and O_TRUNC.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<Timespec>,
    /// Modification time.
    pub mtime: Option<Timespec>,
    /// The present time, which becomes the change time.
    pub ctime: Timespec,
}

/// What statfs(2) reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names mirror struct statfs")]
pub struct StatFs {
    pub magic: u32,
    pub block_size: u32,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub fsid: u64,
    pub name_max: u32,
}

/// One directory entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// Inode number.
    pub ino: u64,
    /// Type of the file.
    pub kind: FileType,
    /// Where to go on reading after this entry.
    pub next: u64,
    /// Name, without `.` and `..` being special.
    pub name: Vec<u8>,
}

/// Flags of open(2), i386 values (`linux_abi::fcntl`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// Whether all these bits are set.
    pub fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
    /// Whether reading is permitted.
    pub fn readable(self) -> bool {
        matches!(self.0 & linux_abi::fcntl::O_ACCMODE, linux_abi::fcntl::O_RDONLY | linux_abi::fcntl::O_RDWR)
    }
    /// Whether writing is permitted.
    pub fn writable(self) -> bool {
        matches!(self.0 & linux_abi::fcntl::O_ACCMODE, linux_abi::fcntl::O_WRONLY | linux_abi::fcntl::O_RDWR)
    }
}

/// A mounted file system.
pub trait FileSystem {
    /// Its name in /proc/filesystems and /proc/mounts.
    fn name(&self) -> &'static str;
    /// The root directory.
    fn root(&self) -> Rc<dyn Inode>;
    /// Sizes.
    fn statfs(&self) -> Io<'_, Result<StatFs>>;
    /// Its own options in /proc/mounts, separated by commas.
    fn options(&self) -> String {
        String::new()
    }
    /// Waits until everything written is durable.
    fn sync(&self) -> Io<'_, Result<()>> {
        Io::ready(Ok(()))
    }
    /// Called when the last mount of it is gone; what is open still works.
    fn unmounted(&self) {}
    /// Whether names can be created at all.
    fn read_only(&self) -> bool {
        false
    }
    /// Whether the VFS may keep names, present and absent, in its cache. Generated trees such as proc say no.
    fn cacheable(&self) -> bool {
        true
    }
}

/// An inode in core. One `Rc` per inode number and file system, so identity is pointer identity.
///
/// Names were checked for length; permission was checked by the caller; `.` and `..` never get here.
pub trait Inode: Any {
    /// Attributes, always in core.
    fn metadata(&self) -> Metadata;

    /// Changes attributes.
    fn set_attr(&self, change: SetAttr) -> Io<'_, Result<()>> {
        let _ = change;
        Io::ready(Err(Errno::EPERM))
    }

    /// Makes an open file of a regular file. Permission was checked. Directories, devices, fifos and sockets are opened by
    /// the VFS itself and need not do anything here.
    fn open<'a>(self: Rc<Self>, cx: &'a SyscallCx, flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let _ = (cx, flags);
        Io::ready(Err(Errno::ENXIO))
    }

    /// Finds a name in a directory.
    fn lookup<'a>(&'a self, cx: &'a SyscallCx, name: &'a [u8]) -> Io<'a, Result<Rc<dyn Inode>>> {
        let _ = (cx, name);
        Io::ready(Err(Errno::ENOTDIR))
    }

    /// Creates a file, directory, device, fifo or socket; `mode` has the type bits and the umask applied.
    fn create<'a>(
        &'a self,
        name: &'a [u8],
        mode: u32,
        rdev: u64,
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        let _ = (name, mode, rdev, creds, now);
        Io::ready(Err(Errno::EPERM))
    }

    /// Makes a regular file without a name in the directory's file system (O_TMPFILE); [`Inode::link`] may give it one.
    fn create_unnamed<'a>(&'a self, mode: u32, creds: &'a Credentials, now: Timespec) -> Io<'a, Result<Rc<dyn Inode>>> {
        let _ = (mode, creds, now);
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    /// Creates a symbolic link.
    fn symlink<'a>(
        &'a self,
        name: &'a [u8],
        target: &'a [u8],
        creds: &'a Credentials,
        now: Timespec,
    ) -> Io<'a, Result<Rc<dyn Inode>>> {
        let _ = (name, target, creds, now);
        Io::ready(Err(Errno::EPERM))
    }

    /// Gives an inode of the same file system another name.
    fn link<'a>(&'a self, name: &'a [u8], inode: &'a Rc<dyn Inode>, now: Timespec) -> Io<'a, Result<()>> {
        let _ = (name, inode, now);
        Io::ready(Err(Errno::EPERM))
    }

    /// Removes a name of anything but a directory.
    fn unlink<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        let _ = (name, now);
        Io::ready(Err(Errno::EPERM))
    }

    /// Removes an empty directory.
    fn rmdir<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        let _ = (name, now);
        Io::ready(Err(Errno::EPERM))
    }

    /// Renames within one file system; `flags` are those of renameat2(2).
    fn rename<'a>(
        &'a self,
        from: &'a [u8],
        to_dir: &'a Rc<dyn Inode>,
        to: &'a [u8],
        flags: u32,
        now: Timespec,
    ) -> Io<'a, Result<()>> {
        let _ = (from, to_dir, to, flags, now);
        Io::ready(Err(Errno::EPERM))
    }

    /// Entries from a cookie on (0 is the start), some at a time; empty at the end. `.` and `..` are included.
    fn read_dir<'a>(&'a self, cx: &'a SyscallCx, cookie: u64) -> Io<'a, Result<Vec<Dirent>>> {
        let _ = (cx, cookie);
        Io::ready(Err(Errno::ENOTDIR))
    }

    /// The target of a symbolic link.
    fn read_link<'a>(&'a self, cx: &'a SyscallCx) -> Io<'a, Result<Vec<u8>>> {
        let _ = cx;
        Io::ready(Err(Errno::EINVAL))
    }

    /// Where following this link leads when it is no ordinary path: the links under /proc/PID/{exe,cwd,root,fd}.
    fn magic_link<'a>(&'a self, cx: &'a SyscallCx) -> Io<'a, Option<Result<crate::vfs::Path>>> {
        let _ = cx;
        Io::ready(None)
    }

    /// The page cache of a regular file, for reads, writes and mappings alike; `None` for everything else.
    fn page_cache(&self) -> Option<Rc<PageCache>> {
        None
    }

    /// Reads an extended attribute.
    fn get_xattr<'a>(&'a self, name: &'a [u8]) -> Io<'a, Result<Vec<u8>>> {
        let _ = name;
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    /// Writes one; `flags` are those of setxattr(2).
    fn set_xattr<'a>(&'a self, name: &'a [u8], value: &'a [u8], flags: u32, now: Timespec) -> Io<'a, Result<()>> {
        let _ = (name, value, flags, now);
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    /// Removes one.
    fn remove_xattr<'a>(&'a self, name: &'a [u8], now: Timespec) -> Io<'a, Result<()>> {
        let _ = (name, now);
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    /// The names of all.
    fn list_xattr(&self) -> Io<'_, Result<Vec<Vec<u8>>>> {
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    /// Makes sure that a byte range can be written without ENOSPC (fallocate(2)); the size stays.
    fn allocate(&self, offset: u64, len: u64) -> Io<'_, Result<()>> {
        let _ = (offset, len);
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    /// Waits until the file's data and metadata are durable.
    fn sync(&self) -> Io<'_, Result<()>> {
        Io::ready(Ok(()))
    }
}
