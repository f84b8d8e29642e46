//! Names of functions in an i386 ELF file (System V ABI, chapter 4): `.symtab` where there is one, else `.dynsym`.

use crate::mm::PageCache;
use crate::{Errno, Result};

const HEADER: usize = 52;
const SECTION: usize = 40;
const SYMBOL: usize = 16;
const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;
const PT_LOAD: u32 = 1;
const PHDR: usize = 32;
/// No table is larger than this, or it is not looked at.
const LARGEST: u64 = 32 << 20;

/// Functions by offset in the file.
#[derive(Default)]
pub(super) struct Symbols {
    /// Start, length, name; in order of starts.
    functions: Vec<(u64, u64, String)>,
}

impl Symbols {
    /// Reads them; an error if the file is not a proper ELF file.
    pub(super) async fn read(cache: &PageCache) -> Result<Self> {
        let header = read(cache, 0, HEADER as u64).await?;
        if !header.starts_with(b"\x7fELF\x01\x01") {
            return Err(Errno::ENOEXEC);
        }
        let (phoff, shoff) = (word(&header, 28)?, word(&header, 32)?);
        let (phnum, shnum) = (half(&header, 44)?, half(&header, 48)?);
        let segments = read(cache, phoff.into(), u64::from(phnum) * PHDR as u64).await?;
        let sections = read(cache, shoff.into(), u64::from(shnum) * SECTION as u64).await?;
        let sections: Vec<&[u8]> = sections.chunks_exact(SECTION).collect();
        let of_kind = |kind| sections.iter().find(|section| word(section, 4) == Ok(kind));
        let Some(table) = of_kind(SHT_SYMTAB).or_else(|| of_kind(SHT_DYNSYM)) else { return Ok(Self::default()) };
        let names = sections.get(word(table, 24)? as usize).ok_or(Errno::ENOEXEC)?;
        let names = read(cache, word(names, 16)?.into(), word(names, 20)?.into()).await?;
        let table = read(cache, word(table, 16)?.into(), word(table, 20)?.into()).await?;
        let mut functions = Vec::new();
        for symbol in table.chunks_exact(SYMBOL) {
            let (name, value, size) = (word(symbol, 0)?, word(symbol, 4)?, word(symbol, 8)?);
            let kind = symbol[12] & 15;
            // Index 0 of a section means that the symbol is defined elsewhere.
            if (kind != STT_FUNC && kind != STT_GNU_IFUNC) || half(symbol, 14)? == 0 {
                continue;
            }
            let Some(offset) = file_offset(&segments, value) else { continue };
            let text = names.get(name as usize..).unwrap_or_default();
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            functions.push((offset, u64::from(size), String::from_utf8_lossy(text).into_owned()));
        }
        functions.sort();
        Ok(Self { functions })
    }

    /// The function at an offset, and where it starts.
    pub(super) fn find(&self, offset: u64) -> Option<(String, u64)> {
        let behind = self.functions.partition_point(|(start, _, _)| *start <= offset);
        // Of several that start in one place the last is as good as any.
        let (start, length, name) = self.functions.get(behind.checked_sub(1)?)?;
        // Hand-written code often has no length.
        (*length == 0 || offset - start < *length).then(|| (name.clone(), *start))
    }
}

/// Where in the file an address is.
fn file_offset(segments: &[u8], address: u32) -> Option<u64> {
    segments.chunks_exact(PHDR).find_map(|segment| {
        let (kind, offset) = (word(segment, 0).ok()?, word(segment, 4).ok()?);
        let (start, size) = (word(segment, 8).ok()?, word(segment, 16).ok()?);
        let inside = address.checked_sub(start).filter(|inside| *inside < size)?;
        (kind == PT_LOAD).then(|| u64::from(offset) + u64::from(inside))
    })
}

async fn read(cache: &PageCache, offset: u64, len: u64) -> Result<Vec<u8>> {
    if len > LARGEST {
        return Err(Errno::EFBIG);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let got = cache.read(offset, &mut bytes).await?;
    if got < bytes.len() {
        return Err(Errno::ENOEXEC);
    }
    Ok(bytes)
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or(Errno::ENOEXEC)?;
    Ok(u32::from_le_bytes(bytes))
}

fn half(bytes: &[u8], at: usize) -> Result<u16> {
    let bytes = bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).ok_or(Errno::ENOEXEC)?;
    Ok(u16::from_le_bytes(bytes))
}
