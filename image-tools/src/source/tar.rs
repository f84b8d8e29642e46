//! Reading tar archives: old, ustar, GNU and PAX, with every extension that matters to a file system.
//!
//! The usual crate splits PAX records at line ends, which breaks binary attributes such as `security.capability`, and does
//! not know PAX sparse files; so this reads the format itself. Only positions are kept: data stays in the archive.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use ext2::{DeviceNumber, Time};

use super::data::{Extent, Piece};
use super::sparse;

/// Bytes in a tar block.
pub(super) const BLOCK: u64 = 512;
/// Long names and PAX records beyond this are nonsense.
const EXTENSION_LIMIT: u64 = 16 << 20;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink(Vec<u8>),
    /// Another name of an earlier entry.
    HardLink(Vec<u8>),
    CharDevice(DeviceNumber),
    BlockDevice(DeviceNumber),
    Fifo,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
    /// Where they are; relative to the start of the underlying file.
    pub(crate) pieces: Vec<Piece>,
}

/// PAX records in order; keys may repeat (old sparse maps do).
pub(super) type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads every entry of an archive.
pub(crate) fn scan(archive: &Extent) -> Result<Vec<Entry>> {
    let mut scanner = Scanner { archive, at: 0, global: Vec::new(), entries: Vec::new() };
    scanner.run()?;
    Ok(scanner.entries)
}

struct Scanner<'a> {
    archive: &'a Extent,
    at: u64,
    global: Records,
    entries: Vec<Entry>,
}

/// What extension headers say about the next entry.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Records,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<()> {
        let mut pending = Pending::default();
        // Some writers leave out the two blocks of zeros at the end.
        while self.at + BLOCK <= self.archive.len {
            let at = self.at;
            let mut header = [0; BLOCK as usize];
            self.archive.read_at(at, &mut header)?;
            if header.iter().all(|byte| *byte == 0) {
                break;
            }
            let header = Header(header);
            header.check().with_context(|| format!("tar header at byte {at}"))?;
            self.at += BLOCK;
            self.entry(&header, &mut pending).with_context(|| format!("tar entry at byte {at}"))?;
        }
        ensure!(self.at > 0 || self.archive.len == 0, "not a tar archive");
        Ok(())
    }

    fn entry(&mut self, header: &Header, pending: &mut Pending) -> Result<()> {
        match header.kind() {
            b'x' => pending.records = parse_records(&self.extension(header)?)?,
            b'g' => {
                let records = parse_records(&self.extension(header)?)?;
                self.global.extend(records);
            }
            b'L' => pending.name = Some(until_zero(&self.extension(header)?).to_vec()),
            b'K' => pending.link = Some(until_zero(&self.extension(header)?).to_vec()),
            // The label of a volume.
            b'V' => self.skip(header.size()?)?,
            _ => {
                let entry = self.file(header, std::mem::take(pending))?;
                self.entries.push(entry);
            }
        }
        Ok(())
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.size()?;
        ensure!(size <= EXTENSION_LIMIT, "an extension of {size} bytes");
        let mut bytes = vec![0; usize::try_from(size)?];
        self.archive.read_at(self.at, &mut bytes).context("the archive ends early")?;
        self.skip(size)?;
        Ok(bytes)
    }

    fn skip(&mut self, size: u64) -> Result<()> {
        let end = size.checked_next_multiple_of(BLOCK).and_then(|size| self.at.checked_add(size));
        let end = end.context("a size beyond all bounds")?;
        ensure!(self.at + size <= self.archive.len, "the archive ends early");
        self.at = end;
        Ok(())
    }

    fn file(&mut self, header: &Header, pending: Pending) -> Result<Entry> {
        let mut records = self.global.clone();
        records.extend(pending.records);
        let find = |key: &str| records.iter().rev().find(|(found, _)| found == key.as_bytes()).map(|(_, value)| value);
        let number = |key: &str| find(key).map(|value| decimal(value)).transpose();
        let sparse_name = find("GNU.sparse.name").cloned();
        let path = sparse_name.or_else(|| find("path").cloned()).or(pending.name).unwrap_or_else(|| header.path());
        let link = find("linkpath").cloned().or(pending.link).unwrap_or_else(|| header.link());
        let stored = number("size")?.map_or_else(|| header.size(), Ok)?;
        let directory_by_name = matches!(header.kind(), 0 | b'0') && path.ends_with(b"/");
        let kind = match header.kind() {
            _ if directory_by_name => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::CharDevice(header.device()?),
            b'4' => Kind::BlockDevice(header.device()?),
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => bail!("{}: unknown entry type {:?}", String::from_utf8_lossy(&path), char::from(other)),
        };
        let (mut size, mut pieces) = (0, Vec::new());
        if kind == Kind::File {
            let map = match header.kind() {
                b'S' => {
                    let (map, blocks) = sparse::old_gnu(&header.0, self.archive, self.at)?;
                    self.at += blocks * BLOCK;
                    Some(map)
                }
                _ => sparse::pax(&records, self.archive, self.at)?,
            };
            let data_at = self.archive.start + self.at;
            match map {
                Some(map) => (size, pieces) = (map.size, map.pieces(data_at, stored)?),
                None => {
                    size = stored;
                    pieces.extend((size > 0).then_some(Piece { at: 0, from: data_at, len: size }));
                }
            }
            self.skip(stored)?;
        }
        let mut xattrs = BTreeMap::new();
        for (key, value) in &records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                xattrs.insert(name.to_vec(), value.clone());
            }
        }
        let id = |value: u64| u32::try_from(value).context("an owner beyond 32 bits");
        Ok(Entry {
            kind,
            mode: (header.number(100..108)? & 0o7777) as u16,
            uid: id(number("uid")?.map_or_else(|| header.unsigned(108..116), Ok)?)?,
            gid: id(number("gid")?.map_or_else(|| header.unsigned(116..124), Ok)?)?,
            mtime: match find("mtime") {
                Some(text) => time(text)?,
                None => Time { sec: header.number(136..148)?, nsec: 0 },
            },
            xattrs,
            path,
            size,
            pieces,
        })
    }
}

/// A header block.
struct Header([u8; BLOCK as usize]);

impl Header {
    fn field(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or_default()
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn check(&self) -> Result<()> {
        let expected = self.number(148..156)?;
        let bytes = || self.0.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let unsigned: i64 = bytes().map(i64::from).sum();
        // Some old writers added up signed bytes.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        ensure!(expected == unsigned || expected == signed, "wrong checksum; is this a tar archive?");
        Ok(())
    }

    fn path(&self) -> Vec<u8> {
        let name = until_zero(self.field(0..100));
        let prefix = until_zero(self.field(345..500));
        // GNU's own format has times where ustar has the prefix.
        if self.field(257..263) == b"ustar\0" && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    fn link(&self) -> Vec<u8> {
        until_zero(self.field(157..257)).to_vec()
    }

    fn size(&self) -> Result<u64> {
        self.unsigned(124..136)
    }

    fn device(&self) -> Result<DeviceNumber> {
        let major = u32::try_from(self.unsigned(329..337)?).context("device number")?;
        let minor = u32::try_from(self.unsigned(337..345)?).context("device number")?;
        ensure!(major < 1 << 12 && minor < 1 << 20, "a device {major}:{minor} that Linux cannot have");
        Ok(DeviceNumber { major, minor })
    }

    fn unsigned(&self, range: std::ops::Range<usize>) -> Result<u64> {
        u64::try_from(self.number(range)?).context("a negative number")
    }

    fn number(&self, range: std::ops::Range<usize>) -> Result<i64> {
        number(self.field(range))
    }
}

/// A number of a header: octal digits, or with the top bit set big-endian two's complement.
pub(super) fn number(field: &[u8]) -> Result<i64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        let negative = first & 0x40 != 0;
        let start = if negative { i128::from(*first) - 0x100 } else { i128::from(first & 0x7f) };
        let value = rest.iter().try_fold(start, |value, byte| {
            value.checked_mul(256).and_then(|value| value.checked_add(i128::from(*byte)))
        });
        return value.and_then(|value| i64::try_from(value).ok()).context("a number beyond 64 bits");
    }
    let text = until_zero(field).trim_ascii();
    text.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => {
            value.checked_mul(8).map(|value| value + i64::from(digit - b'0')).context("a number beyond 64 bits")
        }
        _ => bail!("a number with the character {:?}", char::from(*digit)),
    })
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A decimal number of a PAX record.
pub(super) fn decimal(text: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(text).context("a number that is not text")?;
    text.parse().with_context(|| format!("{text:?} is not a number"))
}

/// A PAX time: decimal seconds, possibly negative, possibly with a fraction.
fn time(text: &[u8]) -> Result<Time> {
    let text = std::str::from_utf8(text).context("a time that is not text")?;
    let bad = || format!("{text:?} is not a time");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let sec: i64 = whole.parse().with_context(bad)?;
    ensure!(fraction.bytes().all(|byte| byte.is_ascii_digit()), bad());
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nsec: u32 = digits.parse().with_context(bad)?;
    // "-1.25" lies before -1.
    Ok(match (whole.starts_with('-'), nsec) {
        (true, 1..) => Time { sec: sec.checked_sub(1).with_context(bad)?, nsec: 1_000_000_000 - nsec },
        _ => Time { sec, nsec },
    })
}

/// Parses PAX records: `LENGTH KEY=VALUE\n`, where only the length says where a value ends.
fn parse_records(mut bytes: &[u8]) -> Result<Records> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').context("a PAX record without a length")?;
        let (length, _) = bytes.split_at(space);
        let length = usize::try_from(decimal(length)?)?;
        let (record, rest) = bytes.split_at_checked(length).context("a PAX record beyond its header")?;
        let record =
            record.get(space + 1..).and_then(|record| record.strip_suffix(b"\n")).context("a bad PAX record")?;
        let equals = record.iter().position(|byte| *byte == b'=').context("a PAX record without a value")?;
        let (key, value) = record.split_at(equals);
        records.push((key.to_vec(), value.get(1..).unwrap_or_default().to_vec()));
        bytes = rest;
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
