//! Core files (core(5)): an ELF file of what a process had in memory and registers when a signal ended it.
//!
//! Written as `core` into the working directory, within RLIMIT_CORE, which is zero unless the program or its shell raised it.
//! Pages that were never touched are holes in the file. Other threads of the process go on until it is written.

use std::rc::Rc;

use linux_abi::fcntl::{AT_FDCWD, O_CREAT, O_NOFOLLOW, O_WRONLY};
use linux_abi::layout::Writer;
use linux_abi::siginfo::SigInfo;
use vm_mem::VirtAddr;

use crate::mm::Mm;
use crate::mm::vma::{Backing, Visibility, Vma};
use crate::ptrace::registers::{self, Set};
use crate::task::{Resource, Task};
use crate::vfs::{OpenFile, OpenFlags, SetAttr, open};
use crate::{Errno, Result, SyscallCx};

const PAGE: u64 = 4096;
/// Bytes of the ELF header and of one program header.
const EHDR: usize = 52;
const PHDR: usize = 32;

/// Types of notes.
mod note {
    pub(super) const PRSTATUS: u32 = 1;
    pub(super) const FPREGSET: u32 = 2;
    pub(super) const PRPSINFO: u32 = 3;
    pub(super) const AUXV: u32 = 6;
    pub(super) const TLS: u32 = 0x200;
    pub(super) const FILE: u32 = 0x4649_4c45;
    pub(super) const PRXFPREG: u32 = 0x46e6_2b7f;
    pub(super) const SIGINFO: u32 = 0x5349_4749;
}

/// Writes the core file of the caller's process; tells whether there is one.
pub(crate) async fn write(cx: &SyscallCx, info: &SigInfo) -> bool {
    let limit = cx.task.group.rlimits.borrow().soft(Resource::Core);
    if limit < PAGE || cx.task.group.dumpable.get() != 1 {
        return false;
    }
    write_within(cx, info, limit).await.is_ok()
}

async fn write_within(cx: &SyscallCx, info: &SigInfo, limit: u64) -> Result<()> {
    let mm = cx.task.mm().ok_or(Errno::ESRCH)?;
    let flags = OpenFlags(O_CREAT | O_WRONLY | O_NOFOLLOW);
    let file = open::open(cx, AT_FDCWD, b"core", flags, 0o600).await?;
    let meta = file.inode().metadata();
    // Not into what somebody else can read, nor through another name of some file.
    if meta.uid != cx.creds().fsuid || meta.nlink != 1 || meta.file_type() != crate::vfs::FileType::Regular {
        return Err(Errno::EPERM);
    }
    resize(cx, &file, 0).await?;
    let areas = mm.areas();
    let notes = notes(cx, &mm, &areas, info).await?;
    let mut dumped = Vec::with_capacity(areas.len());
    for area in &areas {
        dumped.push(length(&mm, area).await);
    }
    let notes_at = EHDR + PHDR * (areas.len() + 1);
    let data_at = ((notes_at + notes.len()) as u64).next_multiple_of(PAGE);
    let mut head = header(areas.len() + 1, notes_at, notes.len());
    let mut at = data_at;
    for (area, len) in areas.iter().zip(&dumped) {
        head.extend(load(area, at, *len));
        at += len;
    }
    head.extend(notes);
    write_all(cx, &file, 0, &head, limit).await?;
    let mut at = data_at;
    for (area, len) in areas.iter().zip(&dumped) {
        for offset in (0..*len).step_by(PAGE as usize) {
            if at + offset >= limit {
                break;
            }
            let mut page = [0; PAGE as usize];
            let from = VirtAddr(area.start + offset);
            let present = match (&area.backing, mm.read_present(from, &mut page)) {
                (_, Ok(())) => true,
                // What was never touched is zero; what a file has is read from it.
                (Backing::Anonymous, Err(_)) => false,
                (_, Err(_)) => mm.read(from, &mut page).await.is_ok(),
            };
            if present {
                write_all(cx, &file, at + offset, &page, limit).await?;
            }
        }
        at += len;
    }
    resize(cx, &file, at.min(limit)).await
}

async fn resize(cx: &SyscallCx, file: &OpenFile, size: u64) -> Result<()> {
    let now = cx.now();
    file.inode().set_attr(SetAttr { size: Some(size), mtime: Some(now), ctime: now, ..SetAttr::default() }).await
}

async fn write_all(cx: &SyscallCx, file: &OpenFile, at: u64, data: &[u8], limit: u64) -> Result<()> {
    let room = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX).min(data.len());
    let mut left = data.get(..room).unwrap_or_default();
    let mut at = at;
    while !left.is_empty() {
        let count = file.write_at(cx, at, left).await?;
        if count == 0 {
            return Err(Errno::EIO);
        }
        left = left.get(count..).unwrap_or_default();
        at += count as u64;
    }
    Ok(())
}

/// How much of an area is written (`vma_dump_size` with the usual filter, 0x33).
async fn length(mm: &Rc<Mm>, area: &Vma) -> u64 {
    if area.flags.dont_dump {
        return 0;
    }
    match &area.backing {
        Backing::Anonymous => area.len(),
        // The vDSO, for unwinding.
        Backing::Frames { name, .. } => {
            if *name == "[vdso]" {
                area.len()
            } else {
                0
            }
        }
        Backing::File { file, .. } if area.visibility == Visibility::Shared => {
            if file.cache.is_in_memory() {
                area.len()
            } else {
                0
            }
        }
        Backing::File { .. } if mm.resident_in(area).1 > 0 => area.len(),
        Backing::File { first: 0, .. } if area.prot.read => {
            let mut magic = [0; 4];
            let is_elf = mm.read(VirtAddr(area.start), &mut magic).await.is_ok() && magic == *b"\x7fELF";
            if is_elf { PAGE } else { 0 }
        }
        Backing::File { .. } => 0,
    }
}

/// The ELF header, and the program header of the notes.
fn header(segments: usize, notes_at: usize, notes: usize) -> Vec<u8> {
    const ET_CORE: u16 = 4;
    const EM_386: u16 = 3;
    const PT_NOTE: u32 = 4;
    let mut raw = vec![0; EHDR + PHDR];
    let mut w = Writer::new(&mut raw);
    // Class 32, little-endian, version 1.
    w.bytes(0, b"\x7fELF\x01\x01\x01");
    w.u16(16, ET_CORE);
    w.u16(18, EM_386);
    w.u32(20, 1);
    w.u32(28, EHDR as u32);
    w.u16(40, EHDR as u16);
    w.u16(42, PHDR as u16);
    w.u16(44, u16::try_from(segments).unwrap_or(u16::MAX));
    w.u32(EHDR, PT_NOTE);
    w.u32(EHDR + 4, notes_at as u32);
    w.u32(EHDR + 16, notes as u32);
    raw
}

/// The program header of an area.
fn load(area: &Vma, at: u64, len: u64) -> Vec<u8> {
    const PT_LOAD: u32 = 1;
    let mut raw = vec![0; PHDR];
    let mut w = Writer::new(&mut raw);
    let prot = area.prot;
    let flags = u32::from(prot.execute) | u32::from(prot.write) << 1 | u32::from(prot.read) << 2;
    let words = [PT_LOAD, at as u32, area.start as u32, 0, len as u32, area.len() as u32, flags, PAGE as u32];
    for (index, word) in words.into_iter().enumerate() {
        w.u32(4 * index, word);
    }
    raw
}

fn put(out: &mut Vec<u8>, owner: &[u8], kind: u32, content: &[u8]) {
    for word in [owner.len() as u32 + 1, content.len() as u32, kind] {
        out.extend(word.to_le_bytes());
    }
    out.extend(owner);
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(content);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// All notes: the thread that got the signal first, then the others.
async fn notes(cx: &SyscallCx, mm: &Rc<Mm>, areas: &[Vma], info: &SigInfo) -> Result<Vec<u8>> {
    let task = &cx.task;
    let mut out = Vec::new();
    put(&mut out, b"CORE", note::PRSTATUS, &status(task, info));
    put(&mut out, b"CORE", note::PRPSINFO, &process(cx, mm).await);
    put(&mut out, b"CORE", note::SIGINFO, &info.encode());
    put(&mut out, b"CORE", note::AUXV, &mm.auxv());
    put(&mut out, b"CORE", note::FILE, &files(areas));
    registers_of(&mut out, task);
    let others: Vec<Rc<Task>> =
        task.group.threads.borrow().iter().filter(|other| !Rc::ptr_eq(other, task)).cloned().collect();
    for other in others {
        put(&mut out, b"CORE", note::PRSTATUS, &status(&other, info));
        registers_of(&mut out, &other);
    }
    Ok(out)
}

fn registers_of(out: &mut Vec<u8>, task: &Task) {
    put(out, b"CORE", note::FPREGSET, &registers::get(task, Set::Float));
    put(out, b"LINUX", note::PRXFPREG, &registers::get(task, Set::ExtendedFloat));
    put(out, b"LINUX", note::TLS, &registers::get(task, Set::Tls));
}

/// `struct elf_prstatus`
fn status(task: &Task, info: &SigInfo) -> [u8; 144] {
    let mut raw = [0; 144];
    let mut w = Writer::new(&mut raw);
    let group = &task.group;
    w.u32(0, info.signal.number());
    w.u32(4, info.code as u32);
    w.u32(8, info.errno as u32);
    w.u16(12, info.signal.number() as u16);
    w.u32(16, task.pending.borrow().set().0 as u32);
    w.u32(20, task.blocked.get().0 as u32);
    let parent = group.parent().map_or(0, |parent| parent.pid);
    for (index, number) in [task.tid(), parent, group.pgrp.get(), group.session.borrow().sid].into_iter().enumerate() {
        w.u32(24 + 4 * index, number as u32);
    }
    let (own, children) = (task.usage.get(), group.children_usage.get());
    for (index, time) in [own.user, own.system, children.user, children.system].into_iter().enumerate() {
        w.u32(40 + 8 * index, time.as_secs() as u32);
        w.u32(44 + 8 * index, time.subsec_micros());
    }
    w.bytes(72, &registers::general(task));
    w.u32(140, 1);
    raw
}

/// `struct elf_prpsinfo`
async fn process(cx: &SyscallCx, mm: &Rc<Mm>) -> [u8; 124] {
    const ARGUMENTS: usize = 79;
    let (task, group, creds) = (&cx.task, &cx.task.group, cx.creds());
    let layout = mm.layout();
    let len = usize::try_from(layout.arg_end.saturating_sub(layout.arg_start)).unwrap_or(0).min(ARGUMENTS);
    let mut arguments = vec![0; len];
    if mm.read(VirtAddr(layout.arg_start), &mut arguments).await.is_err() {
        arguments.clear();
    }
    for byte in &mut arguments {
        *byte = if *byte == 0 { b' ' } else { *byte };
    }
    let mut raw = [0; 124];
    let mut w = Writer::new(&mut raw);
    w.bytes(1, b"R");
    w.bytes(3, &[task.nice.get() as u8]);
    w.u16(8, creds.uid as u16);
    w.u16(10, creds.gid as u16);
    let parent = group.parent().map_or(0, |parent| parent.pid);
    for (index, number) in [group.pid, parent, group.pgrp.get(), group.session.borrow().sid].into_iter().enumerate() {
        w.u32(12 + 4 * index, number as u32);
    }
    w.bytes(28, &task.comm.borrow());
    w.bytes(44, &arguments);
    raw
}

/// NT_FILE: which files are mapped where.
fn files(areas: &[Vma]) -> Vec<u8> {
    let (mut places, mut names, mut count) = (Vec::new(), Vec::new(), 0u32);
    for area in areas {
        let Backing::File { file, first } = &area.backing else { continue };
        for word in [area.start as u32, area.end as u32, *first as u32] {
            places.extend(word.to_le_bytes());
        }
        names.extend(file.object.path());
        names.push(0);
        count += 1;
    }
    let mut out = Vec::new();
    for word in [count, PAGE as u32] {
        out.extend(word.to_le_bytes());
    }
    out.extend(places);
    out.extend(names);
    out
}
