//! The headers of i386 ELF programs (System V ABI, chapters 4 and 5).

use vm_mem::Prot;

use crate::mm::PageCache;
use crate::{Errno, Result};

const PAGE: u64 = 4096;
const HEADER_SIZE: usize = 52;
const PHDR_SIZE: usize = 32;
/// Linux reads at most this much of program headers.
const PHDRS_MAX: usize = 65_536 / PHDR_SIZE;
/// And this much of an interpreter's name.
const PATH_MAX: u32 = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_386: u16 = 3;
const EM_486: u16 = 6;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Whether the addresses in a file are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `ET_EXEC`: they are.
    Executable,
    /// `ET_DYN`: they count from wherever the file is loaded.
    Dynamic,
}

/// A part of the file to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) vaddr: u64,
    pub(super) file_size: u64,
    pub(super) mem_size: u64,
    align: u64,
    pub(super) prot: Prot,
}

/// What matters of the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) entry: u64,
    phoff: u64,
    pub(super) phnum: u16,
    phdr: Option<u64>,
    /// In ascending order of addresses.
    pub(super) segments: Vec<Segment>,
    pub(super) interpreter: Option<Vec<u8>>,
    /// What PT_GNU_STACK says, if there is one.
    pub(super) stack_executable: Option<bool>,
}

impl Header {
    /// The pages from the first to the last segment: first address and first behind.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let first = self.segments.first()?.vaddr & !(PAGE - 1);
        let end = self.segments.iter().map(|segment| segment.vaddr + segment.mem_size).max()?;
        Some((first, end.next_multiple_of(PAGE)))
    }

    /// The largest alignment any segment asks for, at least a page.
    pub(super) fn align(&self) -> u64 {
        let wanted = self.segments.iter().map(|segment| segment.align).filter(|align| align.is_power_of_two());
        wanted.max().unwrap_or(PAGE).clamp(PAGE, 1 << 22)
    }

    /// Where the program headers are in memory, before relocation.
    pub(super) fn phdr_address(&self) -> Option<u64> {
        let holds =
            |segment: &&Segment| segment.offset <= self.phoff && self.phoff < segment.offset + segment.file_size;
        let found = self.segments.iter().find(holds).map(|segment| segment.vaddr + (self.phoff - segment.offset));
        found.or(self.phdr)
    }
}

/// Reads the headers of a file of which `start` is the beginning; ENOEXEC for anything that cannot be run here.
pub(super) async fn read(file: &PageCache, start: &[u8]) -> Result<Header> {
    let (mut header, phdrs_size) = parse_header(start)?;
    let mut phdrs = vec![0; phdrs_size];
    read_exact(file, header.phoff, &mut phdrs).await?;
    if let Some((offset, len)) = parse_phdrs(&mut header, &phdrs)? {
        let mut path = vec![0; len];
        read_exact(file, offset, &mut path).await?;
        if path.pop() != Some(0) {
            return Err(Errno::ENOEXEC);
        }
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        header.interpreter = Some(path);
    }
    Ok(header)
}

async fn read_exact(file: &PageCache, offset: u64, buf: &mut [u8]) -> Result<()> {
    if file.read(offset, buf).await? == buf.len() { Ok(()) } else { Err(Errno::ENOEXEC) }
}

/// Parses the ELF header; also tells how long the program headers are.
fn parse_header(start: &[u8]) -> Result<(Header, usize)> {
    let header: &[u8; HEADER_SIZE] = start.first_chunk().ok_or(Errno::ENOEXEC)?;
    let is_i386 = header.starts_with(b"\x7fELF\x01\x01") && matches!(u16_at(header, 18), EM_386 | EM_486);
    let kind = match u16_at(header, 16) {
        ET_EXEC => Kind::Executable,
        ET_DYN => Kind::Dynamic,
        _ => return Err(Errno::ENOEXEC),
    };
    let phnum = u16_at(header, 44);
    if !is_i386 || usize::from(u16_at(header, 42)) != PHDR_SIZE || phnum == 0 || usize::from(phnum) > PHDRS_MAX {
        return Err(Errno::ENOEXEC);
    }
    let header = Header {
        kind,
        entry: u32_at(header, 24).into(),
        phoff: u32_at(header, 28).into(),
        phnum,
        phdr: None,
        segments: Vec::new(),
        interpreter: None,
        stack_executable: None,
    };
    Ok((header, usize::from(phnum) * PHDR_SIZE))
}

/// Parses the program headers; tells where the interpreter's name is.
fn parse_phdrs(header: &mut Header, phdrs: &[u8]) -> Result<Option<(u64, usize)>> {
    let mut interpreter = None;
    for phdr in phdrs.chunks_exact(PHDR_SIZE) {
        let offset = u64::from(u32_at(phdr, 4));
        let vaddr = u64::from(u32_at(phdr, 8));
        let (file_size, mem_size) = (u32_at(phdr, 16), u32_at(phdr, 20));
        let flags = u32_at(phdr, 24);
        match u32_at(phdr, 0) {
            PT_LOAD => {
                if file_size > mem_size || offset % PAGE != vaddr % PAGE || vaddr + u64::from(mem_size) > 1 << 32 {
                    return Err(Errno::EINVAL);
                }
                let prot = Prot { read: flags & PF_R != 0, write: flags & PF_W != 0, execute: flags & PF_X != 0 };
                if mem_size > 0 {
                    header.segments.push(Segment {
                        offset,
                        vaddr,
                        file_size: file_size.into(),
                        mem_size: mem_size.into(),
                        align: u32_at(phdr, 28).into(),
                        prot,
                    });
                }
            }
            PT_INTERP if interpreter.is_none() => {
                if !(2..=PATH_MAX).contains(&file_size) {
                    return Err(Errno::ENOEXEC);
                }
                interpreter = Some((offset, file_size as usize));
            }
            PT_PHDR => header.phdr = Some(vaddr),
            PT_GNU_STACK => header.stack_executable = Some(flags & PF_X != 0),
            _ => {}
        }
    }
    if header.segments.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    header.segments.sort_by_key(|segment| segment.vaddr);
    Ok(interpreter)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of the vDSO: made by a linker, with one segment at 0.
    fn sample() -> Vec<u8> {
        super::super::vdso::IMAGE.to_vec()
    }

    fn parse(file: &[u8]) -> Result<Header> {
        let (mut header, size) = parse_header(file)?;
        let phoff = header.phoff as usize;
        parse_phdrs(&mut header, file.get(phoff..phoff + size).ok_or(Errno::ENOEXEC)?)?;
        Ok(header)
    }

    #[test]
    fn a_linkers_output_is_understood() {
        let header = parse(&sample()).unwrap();
        assert_eq!(header.kind, Kind::Dynamic);
        assert_eq!((header.span(), header.phdr_address()), (Some((0, 4096)), Some(52)));
        assert_eq!(header.segments[0].prot, Prot { read: true, write: false, execute: true });
        assert_eq!(header.stack_executable, None);
    }

    #[test]
    fn foreign_and_damaged_files_are_refused() {
        let damaged = |at: usize, value: u8| {
            let mut file = sample();
            file[at] = value;
            parse(&file)
        };
        assert_eq!(damaged(0, 0), Err(Errno::ENOEXEC), "not ELF");
        assert_eq!(damaged(4, 2), Err(Errno::ENOEXEC), "64 bits");
        assert_eq!(damaged(5, 2), Err(Errno::ENOEXEC), "big-endian");
        assert_eq!(damaged(16, 1), Err(Errno::ENOEXEC), "an object file");
        assert_eq!(damaged(18, 62), Err(Errno::ENOEXEC), "x86-64");
        assert_eq!(damaged(42, 56), Err(Errno::ENOEXEC), "odd program headers");
        assert_eq!(damaged(44, 0), Err(Errno::ENOEXEC), "none");
        assert_eq!(damaged(52 + 8, 1), Err(Errno::EINVAL), "a segment that does not fit its page");
        assert_eq!(parse(&sample()[..51]), Err(Errno::ENOEXEC));
        assert_eq!(damaged(52 + 19, 0xff), Err(Errno::EINVAL), "more in the file than in memory");
    }

    #[test]
    fn any_bytes_are_an_error_or_a_header() {
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut file = sample();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 16) as usize % 200;
                file[at] = (state >> 8) as u8;
            }
            if let Ok(header) = parse(&file) {
                assert!(header.span().is_some_and(|(first, end)| first < end));
                let _ = (header.align(), header.phdr_address());
            }
        }
    }
}
