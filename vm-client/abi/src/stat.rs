//! File types and modes (inode(7)).
#![expect(missing_docs, reason = "the names are Linux's own")]

use crate::Errno;
use crate::layout::Writer;
use crate::time::Timespec;

pub const S_IFMT: u32 = 0o170_000;
pub const S_IFSOCK: u32 = 0o140_000;
pub const S_IFLNK: u32 = 0o120_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFBLK: u32 = 0o060_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFIFO: u32 = 0o010_000;
pub const S_ISUID: u32 = 0o4000;
pub const S_ISGID: u32 = 0o2000;
pub const S_ISVTX: u32 = 0o1000;

/// Builds a device number as the kernel's `makedev` does (64-bit encoding of glibc).
pub fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    ((major & 0xffff_f000) << 32) | ((major & 0xfff) << 8) | ((minor & 0xffff_ff00) << 12) | (minor & 0xff)
}

/// The major number of a device.
pub fn major(dev: u64) -> u32 {
    (((dev >> 32) & 0xffff_f000) | ((dev >> 8) & 0xfff)) as u32
}

/// The minor number of a device.
pub fn minor(dev: u64) -> u32 {
    (((dev >> 12) & 0xffff_ff00) | (dev & 0xff)) as u32
}

/// Everything the stat calls report; each of the encodings takes what fits into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names mirror struct statx")]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub blksize: u32,
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    pub btime: Option<Timespec>,
    pub mnt_id: u64,
    pub is_mount_root: bool,
}

/// Basic fields of statx(2) that are always filled.
pub const STATX_BASIC_STATS: u32 = 0x7ff;
/// statx(2): `stx_btime`.
pub const STATX_BTIME: u32 = 0x800;
/// statx(2): `stx_mnt_id`.
pub const STATX_MNT_ID: u32 = 0x1000;
/// statx(2): a bit that no mask may have.
pub const STATX_RESERVED: u32 = 0x8000_0000;
const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;

fn id16(id: u32) -> u16 {
    // 65534 is what an id that does not fit looks like (fs.overflowuid).
    u16::try_from(id).unwrap_or(65534)
}

fn overflow<T, U>(value: T) -> Result<U, Errno>
where
    U: TryFrom<T>,
{
    U::try_from(value).map_err(|_| Errno::EOVERFLOW)
}

impl Stat {
    /// `struct stat64` of i386.
    pub fn encode_stat64_i386(&self) -> [u8; 96] {
        let mut out = [0; 96];
        let mut w = Writer::new(&mut out);
        w.u64(0, self.dev);
        w.u32(12, self.ino as u32);
        w.u32(16, self.mode);
        w.u32(20, self.nlink);
        w.u32(24, self.uid);
        w.u32(28, self.gid);
        w.u64(32, self.rdev);
        w.u64(44, self.size);
        w.u32(52, self.blksize);
        w.u64(56, self.blocks);
        for (at, time) in [(64, self.atime), (72, self.mtime), (80, self.ctime)] {
            w.u32(at, time.sec as u32);
            w.u32(at + 4, time.nsec);
        }
        w.u64(88, self.ino);
        out
    }

    /// `struct stat` of i386 (calls 106 to 108); EOVERFLOW when a field does not fit.
    pub fn encode_stat_i386(&self) -> Result<[u8; 64], Errno> {
        let mut out = [0; 64];
        let mut w = Writer::new(&mut out);
        w.u32(0, overflow(self.dev)?);
        w.u32(4, overflow(self.ino)?);
        w.u16(8, self.mode as u16);
        w.u16(10, overflow(self.nlink)?);
        w.u16(12, id16(self.uid));
        w.u16(14, id16(self.gid));
        w.u32(16, overflow(self.rdev)?);
        w.u32(20, overflow::<_, i32>(self.size)? as u32);
        w.u32(24, self.blksize);
        w.u32(28, overflow(self.blocks)?);
        for (at, time) in [(32, self.atime), (40, self.mtime), (48, self.ctime)] {
            w.u32(at, time.sec as u32);
            w.u32(at + 4, time.nsec);
        }
        Ok(out)
    }

    /// `struct __old_kernel_stat` (calls 18, 28 and 84); EOVERFLOW when the size does not fit.
    pub fn encode_old_stat_i386(&self) -> Result<[u8; 32], Errno> {
        let mut out = [0; 32];
        let mut w = Writer::new(&mut out);
        w.u16(0, self.dev as u16);
        w.u16(2, self.ino as u16);
        w.u16(4, self.mode as u16);
        w.u16(6, self.nlink as u16);
        w.u16(8, id16(self.uid));
        w.u16(10, id16(self.gid));
        w.u16(12, self.rdev as u16);
        w.u32(16, overflow::<_, i32>(self.size)? as u32);
        w.u32(20, self.atime.sec as u32);
        w.u32(24, self.mtime.sec as u32);
        w.u32(28, self.ctime.sec as u32);
        Ok(out)
    }

    /// `struct statx`.
    pub fn encode_statx(&self) -> [u8; 256] {
        let mut out = [0; 256];
        let mut w = Writer::new(&mut out);
        let btime = if self.btime.is_some() { STATX_BTIME } else { 0 };
        w.u32(0, STATX_BASIC_STATS | STATX_MNT_ID | btime);
        w.u32(4, self.blksize);
        w.u64(8, if self.is_mount_root { STATX_ATTR_MOUNT_ROOT } else { 0 });
        w.u32(16, self.nlink);
        w.u32(20, self.uid);
        w.u32(24, self.gid);
        w.u16(28, self.mode as u16);
        w.u64(32, self.ino);
        w.u64(40, self.size);
        w.u64(48, self.blocks);
        w.u64(56, STATX_ATTR_MOUNT_ROOT);
        let times = [(64, self.atime), (80, self.btime.unwrap_or_default()), (96, self.ctime), (112, self.mtime)];
        for (at, time) in times {
            w.u64(at, time.sec as u64);
            w.u32(at + 8, time.nsec);
        }
        w.u32(128, major(self.rdev));
        w.u32(132, minor(self.rdev));
        w.u32(136, major(self.dev));
        w.u32(140, minor(self.dev));
        w.u64(144, self.mnt_id);
        out
    }
}

/// What the statfs calls report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names mirror struct statfs")]
pub struct Statfs {
    pub kind: u32,
    pub bsize: u32,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub fsid: u64,
    pub namelen: u32,
    pub frsize: u32,
    pub flags: u32,
}

impl Statfs {
    /// `struct statfs64` of i386.
    pub fn encode_statfs64_i386(&self) -> [u8; 84] {
        let mut out = [0; 84];
        let mut w = Writer::new(&mut out);
        w.u32(0, self.kind);
        w.u32(4, self.bsize);
        let counts = [self.blocks, self.bfree, self.bavail, self.files, self.ffree, self.fsid];
        for (index, count) in counts.into_iter().enumerate() {
            w.u64(8 + 8 * index, count);
        }
        w.u32(56, self.namelen);
        w.u32(60, self.frsize);
        w.u32(64, self.flags);
        out
    }

    /// `struct statfs` of i386; EOVERFLOW when a count does not fit.
    pub fn encode_statfs_i386(&self) -> Result<[u8; 64], Errno> {
        let mut out = [0; 64];
        let mut w = Writer::new(&mut out);
        w.u32(0, self.kind);
        w.u32(4, self.bsize);
        for (index, count) in [self.blocks, self.bfree, self.bavail, self.files, self.ffree].into_iter().enumerate() {
            w.u32(8 + 4 * index, overflow(count)?);
        }
        w.u64(28, self.fsid);
        w.u32(36, self.namelen);
        w.u32(40, self.frsize);
        w.u32(44, self.flags);
        Ok(out)
    }
}
