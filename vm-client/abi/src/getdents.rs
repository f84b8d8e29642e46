//! Directory entries of getdents(2) and getdents64(2).

use crate::layout::Writer;

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct LinuxDirent<'a> {
    /// Inode number.
    pub ino: u64,
    /// Where the next entry is.
    pub next: u64,
    /// Type (`DT_*`).
    pub kind: u8,
    /// Name.
    pub name: &'a [u8],
}

impl LinuxDirent<'_> {
    /// As `struct linux_dirent64`.
    pub fn encode_64(&self) -> Vec<u8> {
        let len = (19 + self.name.len() + 1).next_multiple_of(8);
        let mut out = vec![0; len];
        let mut w = Writer::new(&mut out);
        w.u64(0, self.ino);
        w.u64(8, self.next);
        w.u16(16, len as u16);
        w.bytes(18, &[self.kind]);
        w.bytes(19, self.name);
        out
    }

    /// As `struct linux_dirent` of i386, with the type in the last byte.
    pub fn encode_i386(&self) -> Vec<u8> {
        let len = (10 + self.name.len() + 2).next_multiple_of(4);
        let mut out = vec![0; len];
        let mut w = Writer::new(&mut out);
        w.u32(0, self.ino as u32);
        w.u32(4, self.next as u32);
        w.u16(8, len as u16);
        w.bytes(10, self.name);
        w.bytes(len - 1, &[self.kind]);
        out
    }
}
