//! Inodes.

use crate::le::{put_u16, put_u32, u16_at, u32_at};

/// The number of an inode, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ino(pub u32);

impl Ino {
    /// The root directory.
    pub const ROOT: Ino = Ino(2);
}

/// A point in time. Inodes of 128 bytes keep whole seconds in 32 signed bits; larger ones 34 bits and nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Seconds since the Unix epoch.
    pub sec: i64,
    /// Nanoseconds, under a thousand million.
    pub nsec: u32,
}

/// What kind of file an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileType {
    /// Only in directory entries of file systems without the `filetype` feature: look at the inode.
    Unknown,
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symbolic link.
    Symlink,
}

impl FileType {
    /// The type in the high bits of a mode; `Unknown` if they mean nothing.
    pub fn of_mode(mode: u16) -> Self {
        match mode & 0xf000 {
            0x8000 => Self::Regular,
            0x4000 => Self::Directory,
            0x2000 => Self::CharDevice,
            0x6000 => Self::BlockDevice,
            0x1000 => Self::Fifo,
            0xc000 => Self::Socket,
            0xa000 => Self::Symlink,
            _ => Self::Unknown,
        }
    }

    /// The type a directory entry's code means.
    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => Self::Unknown,
        }
    }

    /// The code of a directory entry.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }
}

/// Number of a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DeviceNumber {
    /// Major number, under 4096.
    pub major: u32,
    /// Minor number, under 2^20.
    pub minor: u32,
}

/// Inode flags this crate looks at.
pub mod flag {
    /// The directory has a hash index.
    pub const INDEX: u32 = 0x1000;
    /// The file is mapped by extents (ext4).
    pub const EXTENTS: u32 = 0x8_0000;
    /// The data is in the inode (ext4).
    pub const INLINE_DATA: u32 = 0x1000_0000;
    /// The file cannot be changed.
    pub const IMMUTABLE: u32 = 0x10;
    /// The file can only be appended to.
    pub const APPEND: u32 = 0x20;
    /// What `chattr` may change.
    pub const USER_MODIFIABLE: u32 = 0x0003_80ff;
    /// What a new inode takes over from its directory.
    pub(crate) const INHERITED: u32 = 0x0001_c4cf;
}

/// Bytes of an inode of revision 0.
pub(crate) const OLD_INODE_SIZE: usize = 128;
/// Bytes beyond those that hold the finer times (up to `i_projid`).
pub(crate) const EXTRA_SIZE: u16 = 32;

/// An inode as read from its table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inode {
    /// Type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Directory entries that point here.
    pub links: u16,
    /// Units of 512 bytes in use, map and attribute blocks included (`st_blocks`).
    pub sectors: u64,
    /// See [`flag`].
    pub flags: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the data.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Creation, where inodes are large enough to keep it.
    pub crtime: Option<Time>,
    /// Changes when the number is used again.
    pub generation: u32,
    /// Deletion time; while the inode is on the orphan list, the next inode there.
    pub(crate) dtime: u32,
    pub(crate) file_acl: u32,
    pub(crate) pointers: [u32; 15],
    /// Bytes in use beyond the first 128.
    pub(crate) extra: u16,
}

impl Inode {
    /// What kind of file it is.
    pub fn file_type(&self) -> FileType {
        FileType::of_mode(self.mode)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Which device it is, for device files.
    pub fn rdev(&self) -> DeviceNumber {
        match self.file_type() {
            FileType::CharDevice | FileType::BlockDevice => decode_device(self.pointers[0], self.pointers[1]),
            _ => DeviceNumber::default(),
        }
    }

    /// A new, empty inode.
    pub(crate) fn new(mode: u16, uid: u32, gid: u32, now: Time, extra: u16) -> Self {
        Self {
            mode,
            uid,
            gid,
            size: 0,
            links: 1,
            sectors: 0,
            flags: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: (extra >= 24).then_some(now),
            generation: 0,
            dtime: 0,
            file_acl: 0,
            pointers: [0; 15],
            extra,
        }
    }

    /// Whether the link target is in the pointers instead of a block.
    pub(crate) fn is_fast_symlink(&self, block_size: u32) -> bool {
        let attribute_sectors = if self.file_acl == 0 { 0 } else { u64::from(block_size / 512) };
        self.file_type() == FileType::Symlink && self.sectors.saturating_sub(attribute_sectors) == 0 && self.size < 60
    }

    /// Whether the pointers point to blocks.
    pub(crate) fn has_map(&self, block_size: u32) -> bool {
        match self.file_type() {
            FileType::Regular | FileType::Directory => true,
            FileType::Symlink => !self.is_fast_symlink(block_size),
            _ => false,
        }
    }

    /// Reads an inode from its slot of the table.
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let mode = u16_at(raw, 0);
        let extra = if raw.len() > OLD_INODE_SIZE { usable_extra(raw) } else { 0 };
        let time = |at: usize, extra_at: usize| {
            let bits = if usize::from(extra) + OLD_INODE_SIZE >= extra_at + 4 { u32_at(raw, extra_at) } else { 0 };
            decode_time(u32_at(raw, at), bits)
        };
        let regular = FileType::of_mode(mode) == FileType::Regular;
        let mut pointers = [0; 15];
        for (n, pointer) in pointers.iter_mut().enumerate() {
            *pointer = u32_at(raw, 40 + n * 4);
        }
        Self {
            mode,
            uid: u32::from(u16_at(raw, 2)) | u32::from(u16_at(raw, 120)) << 16,
            gid: u32::from(u16_at(raw, 24)) | u32::from(u16_at(raw, 122)) << 16,
            size: u64::from(u32_at(raw, 4)) | if regular { u64::from(u32_at(raw, 108)) << 32 } else { 0 },
            links: u16_at(raw, 26),
            sectors: u64::from(u32_at(raw, 28)),
            flags: u32_at(raw, 32),
            atime: time(8, 140),
            ctime: time(12, 132),
            mtime: time(16, 136),
            crtime: (extra >= 24).then(|| decode_time(u32_at(raw, 144), u32_at(raw, 148))),
            generation: u32_at(raw, 100),
            dtime: u32_at(raw, 20),
            file_acl: u32_at(raw, 104),
            pointers,
            extra,
        }
    }

    /// Writes the inode into its slot; what it does not know there stays.
    pub(crate) fn store(&self, raw: &mut [u8]) {
        let low = |value: u32| (value & 0xffff) as u16;
        let high = |value: u32| (value >> 16) as u16;
        let regular = self.file_type() == FileType::Regular;
        put_u16(raw, 0, self.mode);
        put_u16(raw, 2, low(self.uid));
        put_u32(raw, 4, (self.size & 0xffff_ffff) as u32);
        put_u32(raw, 20, self.dtime);
        put_u16(raw, 24, low(self.gid));
        put_u16(raw, 26, self.links);
        put_u32(raw, 28, u32::try_from(self.sectors).unwrap_or(u32::MAX));
        put_u32(raw, 32, self.flags);
        for (n, pointer) in self.pointers.iter().enumerate() {
            put_u32(raw, 40 + n * 4, *pointer);
        }
        put_u32(raw, 100, self.generation);
        put_u32(raw, 104, self.file_acl);
        put_u32(raw, 108, if regular { (self.size >> 32) as u32 } else { 0 });
        put_u16(raw, 120, high(self.uid));
        put_u16(raw, 122, high(self.gid));
        if raw.len() > OLD_INODE_SIZE {
            put_u16(raw, 128, self.extra);
        }
        for (at, extra_at, time) in [(8, 140, self.atime), (12, 132, self.ctime), (16, 136, self.mtime)] {
            let fine = usize::from(self.extra) + OLD_INODE_SIZE >= extra_at + 4;
            let (seconds, bits) = encode_time(time, fine);
            put_u32(raw, at, seconds);
            if fine {
                put_u32(raw, extra_at, bits);
            }
        }
        if let (Some(crtime), 24..) = (self.crtime, self.extra) {
            let (seconds, bits) = encode_time(crtime, true);
            put_u32(raw, 144, seconds);
            put_u32(raw, 148, bits);
        }
    }
}

/// The extra size of a large inode, 0 if the slot cannot hold what it says.
fn usable_extra(raw: &[u8]) -> u16 {
    let extra = u16_at(raw, 128);
    if extra < 4 || !extra.is_multiple_of(4) || usize::from(extra) + OLD_INODE_SIZE > raw.len() { 0 } else { extra }
}

/// Seconds are signed; with extra bits, two more bits count epochs of 2^32 seconds and the other 30 are nanoseconds.
fn decode_time(seconds: u32, bits: u32) -> Time {
    let sec = i64::from(seconds as i32) + (i64::from(bits & 3) << 32);
    let nsec = bits >> 2;
    Time { sec, nsec: if nsec < 1_000_000_000 { nsec } else { 0 } }
}

fn encode_time(time: Time, fine: bool) -> (u32, u32) {
    let first = i64::from(i32::MIN);
    if !fine {
        return (time.sec.clamp(first, i64::from(i32::MAX)) as i32 as u32, 0);
    }
    let sec = time.sec.clamp(first, i64::from(i32::MAX) + (3 << 32));
    let epoch = ((sec - first) >> 32) as u32;
    ((sec & 0xffff_ffff) as u32, time.nsec.min(999_999_999) << 2 | epoch & 3)
}

/// Linux keeps small numbers in the old 8:8 form in the first pointer, others in the 12:20 form in the second.
fn decode_device(old: u32, new: u32) -> DeviceNumber {
    if old != 0 {
        DeviceNumber { major: old >> 8 & 0xff, minor: old & 0xff }
    } else {
        DeviceNumber { major: new >> 8 & 0xfff, minor: new & 0xff | new >> 12 & 0xf_ff00 }
    }
}

/// The first two pointers of a device's inode.
pub(crate) fn encode_device(device: DeviceNumber) -> (u32, u32) {
    let DeviceNumber { major, minor } = device;
    if major < 256 && minor < 256 {
        (major << 8 | minor, 0)
    } else {
        (0, minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_both_encodings() {
        for (sec, nsec) in [(0, 0), (-1, 999_999_999), (i64::from(i32::MAX), 1), (1 << 31, 5), (0x3_7fff_ffff, 7)] {
            let time = Time { sec, nsec };
            let (seconds, bits) = encode_time(time, true);
            assert_eq!(decode_time(seconds, bits), time);
        }
        assert_eq!(decode_time(encode_time(Time { sec: 1 << 40, nsec: 3 }, false).0, 0).sec, i64::from(i32::MAX));
    }

    #[test]
    fn device_numbers_survive_both_encodings() {
        for (major, minor) in [(1, 3), (255, 255), (8, 256), (4095, 0xf_ffff), (259, 0)] {
            let device = DeviceNumber { major, minor };
            let (old, new) = encode_device(device);
            assert_eq!(decode_device(old, new), device);
        }
    }

    #[test]
    fn a_stored_inode_parses_to_the_same() {
        let mut inode = Inode::new(0x81ed, 70_000, 80_000, Time { sec: 1 << 33, nsec: 12 }, EXTRA_SIZE);
        inode.size = 5 << 32 | 9;
        inode.pointers[14] = 77;
        inode.flags = flag::APPEND;
        let mut raw = vec![0; 256];
        inode.store(&mut raw);
        assert_eq!(Inode::parse(&raw), inode);
    }
}
