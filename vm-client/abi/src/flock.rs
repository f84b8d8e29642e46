//! `struct flock` of fcntl(2).

use crate::Errno;
use crate::layout::{Reader, Writer};

/// A shared lock.
pub const F_RDLCK: i16 = 0;
/// An exclusive lock.
pub const F_WRLCK: i16 = 1;
/// No lock.
pub const F_UNLCK: i16 = 2;

/// A lock as programs write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names mirror struct flock")]
pub struct Flock {
    pub kind: i16,
    pub whence: i16,
    pub start: i64,
    pub len: i64,
    pub pid: i32,
}

impl Flock {
    /// Size of `struct flock` of i386.
    pub const SIZE_I386: usize = 16;
    /// Size of `struct flock64` of i386.
    pub const SIZE_64_I386: usize = 24;

    /// From `struct flock` of i386.
    pub fn decode_i386(bytes: &[u8; Self::SIZE_I386]) -> Self {
        let r = Reader::new(bytes);
        Self {
            kind: r.u16(0) as i16,
            whence: r.u16(2) as i16,
            start: i64::from(r.i32(4)),
            len: i64::from(r.i32(8)),
            pid: r.i32(12),
        }
    }

    /// To `struct flock` of i386; EOVERFLOW when the range does not fit.
    pub fn encode_i386(&self) -> Result<[u8; Self::SIZE_I386], Errno> {
        let fit = |value: i64| i32::try_from(value).map_err(|_| Errno::EOVERFLOW);
        let mut out = [0; Self::SIZE_I386];
        let mut w = Writer::new(&mut out);
        w.u16(0, self.kind as u16);
        w.u16(2, self.whence as u16);
        w.u32(4, fit(self.start)? as u32);
        w.u32(8, fit(self.len)? as u32);
        w.u32(12, self.pid as u32);
        Ok(out)
    }

    /// From `struct flock64` of i386.
    pub fn decode_64_i386(bytes: &[u8; Self::SIZE_64_I386]) -> Self {
        let r = Reader::new(bytes);
        Self { kind: r.u16(0) as i16, whence: r.u16(2) as i16, start: r.i64(4), len: r.i64(12), pid: r.i32(20) }
    }

    /// To `struct flock64` of i386.
    pub fn encode_64_i386(&self) -> [u8; Self::SIZE_64_I386] {
        let mut out = [0; Self::SIZE_64_I386];
        let mut w = Writer::new(&mut out);
        w.u16(0, self.kind as u16);
        w.u16(2, self.whence as u16);
        w.u64(4, self.start as u64);
        w.u64(12, self.len as u64);
        w.u32(20, self.pid as u32);
        out
    }
}
