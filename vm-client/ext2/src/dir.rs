//! Directories: blocks of entries, each with its length, so that a removed entry becomes slack of the one before.
//!
//! Directories are searched linearly. A hash index (`htree`) hides in entries that look unused, so indexed directories read
//! correctly; the first change of one drops its index flag, as Linux's ext2 does.

use crate::error::{Corrupt, Ext2Error};
use crate::inode::FileType;
use crate::le::{put, put_u16, put_u32, u8_at, u16_at, u32_at};
use crate::map;
use crate::source::{Block, Source};
use crate::superblock::Superblock;
use crate::{Ino, Inode};

/// Longest name of an entry.
pub(crate) const NAME_MAX: usize = 255;
/// Bytes of an entry before its name.
const HEADER: usize = 8;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The inode it points to.
    pub ino: Ino,
    /// Its name, any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// The inode's type, `Unknown` on file systems that do not keep it here.
    pub file_type: FileType,
    /// Cookie that continues behind this entry. Stays good while entries are added and removed.
    pub next: u64,
}

/// Bytes an entry with a name of this length needs.
pub(crate) fn entry_len(name_len: usize) -> usize {
    (HEADER + name_len).next_multiple_of(4)
}

/// An entry within its block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'b> {
    pub(crate) offset: usize,
    pub(crate) ino: u32,
    pub(crate) rec_len: usize,
    pub(crate) name: &'b [u8],
    pub(crate) code: u8,
}

impl Raw<'_> {
    /// Bytes the entry itself needs, none if it is unused.
    pub(crate) fn used(&self) -> usize {
        if self.ino == 0 { 0 } else { entry_len(self.name.len()) }
    }
}

/// Walks the entries of one directory block, checking each.
pub(crate) struct Entries<'b> {
    block: &'b [u8],
    offset: usize,
    ino: Ino,
    base: u64,
    filetype: bool,
    inodes: u32,
    failed: bool,
}

/// Walks the entries of block `lblock` of directory `ino`.
pub(crate) fn entries<'b>(sb: &Superblock, ino: Ino, lblock: u64, block: &'b [u8]) -> Entries<'b> {
    Entries {
        block,
        offset: 0,
        ino,
        base: lblock * u64::from(sb.block_size),
        filetype: sb.has_filetype(),
        inodes: sb.inodes_count,
        failed: false,
    }
}

impl<'b> Iterator for Entries<'b> {
    type Item = Result<Raw<'b>, Ext2Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.offset >= self.block.len() {
            return None;
        }
        let offset = self.offset;
        let rec_len = usize::from(u16_at(self.block, offset + 4));
        // Without the feature the length has 16 bits, of which only 8 can be used.
        let name_len = if self.filetype {
            usize::from(u8_at(self.block, offset + 6))
        } else {
            usize::from(u16_at(self.block, offset + 6))
        };
        let code = if self.filetype { u8_at(self.block, offset + 7) } else { 0 };
        let raw = Raw {
            offset,
            ino: u32_at(self.block, offset),
            rec_len,
            name: self.block.get(offset + HEADER..offset + HEADER + name_len).unwrap_or(&[]),
            code,
        };
        let what = if rec_len < entry_len(1) {
            Some("entry is too short")
        } else if !rec_len.is_multiple_of(4) {
            Some("entry length is not a multiple of 4")
        } else if offset + rec_len > self.block.len() {
            Some("entry crosses the end of its block")
        } else if raw.ino != 0 && rec_len < entry_len(name_len) {
            Some("entry is too short for its name")
        } else if raw.ino > self.inodes {
            Some("entry points to an inode that does not exist")
        } else if raw.ino != 0 && (name_len == 0 || name_len > NAME_MAX) {
            Some("entry has a name of an impossible length")
        } else {
            None
        };
        if let Some(what) = what {
            self.failed = true;
            return Some(Err(Corrupt::Entry { ino: self.ino, offset: self.base + offset as u64, what }.into()));
        }
        self.offset += rec_len;
        Some(Ok(raw))
    }
}

/// Blocks of a directory.
pub(crate) fn block_count(sb: &Superblock, inode: &Inode) -> u64 {
    inode.size / u64::from(sb.block_size)
}

/// Reads a block of a directory, with its number on the device.
pub(crate) async fn read_block<S: Source>(
    source: &S,
    ino: Ino,
    inode: &Inode,
    lblock: u64,
) -> Result<(u32, Block), Ext2Error> {
    let run = map::lookup(source, ino, inode, lblock, 1).await?;
    let Some(number) = run.block else {
        let offset = lblock * u64::from(source.sb().block_size);
        return Err(Corrupt::Entry { ino, offset, what: "directory has a hole" }.into());
    };
    Ok((number, source.block(number).await?))
}

/// An entry that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) ino: Ino,
    /// The block it is in.
    pub(crate) block: u32,
    /// Its offset there.
    pub(crate) offset: usize,
    /// The entry before it in the same block.
    pub(crate) previous: Option<usize>,
}

/// Searches a directory for a name.
pub(crate) async fn find<S: Source>(
    source: &S,
    ino: Ino,
    inode: &Inode,
    name: &[u8],
) -> Result<Option<Found>, Ext2Error> {
    if !inode.is_dir() {
        return Err(Ext2Error::NotDirectory);
    }
    if name.len() > NAME_MAX {
        return Err(Ext2Error::NameTooLong);
    }
    let sb = source.sb();
    for lblock in 0..block_count(sb, inode) {
        let (number, block) = read_block(source, ino, inode, lblock).await?;
        let mut previous = None;
        for raw in entries(sb, ino, lblock, &block) {
            let raw = raw?;
            if raw.ino != 0 && raw.name == name {
                return Ok(Some(Found { ino: Ino(raw.ino), block: number, offset: raw.offset, previous }));
            }
            previous = Some(raw.offset);
        }
    }
    Ok(None)
}

/// Reads entries from a cookie on: the rest of one block, or of the next that has any. Empty at the end.
pub(crate) async fn list<S: Source>(
    source: &S,
    ino: Ino,
    inode: &Inode,
    cookie: u64,
) -> Result<Vec<DirEntry>, Ext2Error> {
    if !inode.is_dir() {
        return Err(Ext2Error::NotDirectory);
    }
    let sb = source.sb();
    let block_size = u64::from(sb.block_size);
    for lblock in cookie / block_size..block_count(sb, inode) {
        let (_, block) = read_block(source, ino, inode, lblock).await?;
        let mut found = Vec::new();
        for raw in entries(sb, ino, lblock, &block) {
            let raw = raw?;
            let at = lblock * block_size + raw.offset as u64;
            // A cookie inside an entry is left from one that was removed and merged into the one before.
            if raw.ino != 0 && at >= cookie {
                found.push(DirEntry {
                    ino: Ino(raw.ino),
                    name: raw.name.to_vec(),
                    file_type: FileType::of_code(raw.code),
                    next: at + 1,
                });
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Tells whether a directory has nothing but `.` and `..`.
pub(crate) async fn is_empty<S: Source>(source: &S, ino: Ino, inode: &Inode) -> Result<bool, Ext2Error> {
    let sb = source.sb();
    for lblock in 0..block_count(sb, inode) {
        let (_, block) = read_block(source, ino, inode, lblock).await?;
        for raw in entries(sb, ino, lblock, &block) {
            let raw = raw?;
            if raw.ino != 0 && raw.name != b"." && raw.name != b".." {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Writes an entry.
pub(crate) fn put_entry(
    sb: &Superblock,
    block: &mut [u8],
    offset: usize,
    rec_len: usize,
    ino: Ino,
    name: &[u8],
    kind: FileType,
) {
    put_u32(block, offset, ino.0);
    put_u16(block, offset + 4, (rec_len & 0xffff) as u16);
    let code = if sb.has_filetype() { kind.code() } else { 0 };
    put(block, offset + 6, &[(name.len() & 0xff) as u8, code]);
    put(block, offset + HEADER, name);
}

/// The first block of a new directory.
pub(crate) fn new_block(sb: &Superblock, own: Ino, parent: Ino) -> Vec<u8> {
    let mut block = vec![0; sb.bs()];
    put_entry(sb, &mut block, 0, 12, own, b".", FileType::Directory);
    put_entry(sb, &mut block, 12, sb.bs() - 12, parent, b"..", FileType::Directory);
    block
}

/// Removes the entry at `offset`: its bytes become slack of the one before, or it becomes unused.
pub(crate) fn remove_entry(block: &mut [u8], offset: usize, previous: Option<usize>) {
    let rec_len = u16_at(block, offset + 4);
    match previous {
        Some(before) => {
            let merged = u16_at(block, before + 4).saturating_add(rec_len);
            put_u16(block, before + 4, merged);
        }
        None => put_u32(block, offset, 0),
    }
}
