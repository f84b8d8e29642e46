//! What proc shows of the memory of a process.

use std::any::Any;
use std::fmt::Write;
use std::rc::{Rc, Weak};

use vm_mem::VirtAddr;
use vm_rt::Io;

use super::check_inspect;
use crate::mm::Mm;
use crate::mm::vma::{Backing, Visibility, Vma};
use crate::task::Task;
use crate::vfs::{File, IoMode};
use crate::{Result, SyscallCx};

/// Command line and environment are cut here.
const TEXT_MAX: u64 = 1 << 20;

/// The memory between two addresses of a process; empty if it has none (any more).
async fn between(mm: Rc<Mm>, start: u64, end: u64) -> Result<Vec<u8>> {
    let len = end.saturating_sub(start).min(TEXT_MAX);
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    mm.read(VirtAddr(start), &mut text).await?;
    Ok(text)
}

pub(super) async fn cmdline(task: Result<Rc<Task>>) -> Result<Vec<u8>> {
    let Some(mm) = task?.mm() else { return Ok(Vec::new()) };
    let layout = mm.layout();
    let mut text = between(Rc::clone(&mm), layout.arg_start, layout.arg_end).await?;
    // A program that has overwritten the end of its arguments (setproctitle(3)) may have gone on into its environment.
    if text.last().is_some_and(|byte| *byte != 0) {
        text.extend(between(mm, layout.env_start, layout.env_end).await?);
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        text.truncate(end);
    }
    Ok(text)
}

pub(super) async fn environ(task: Result<Rc<Task>>) -> Result<Vec<u8>> {
    let Some(mm) = task?.mm() else { return Ok(Vec::new()) };
    let layout = mm.layout();
    between(mm, layout.env_start, layout.env_end).await
}

pub(super) fn auxv(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    check_inspect(cx, task)?;
    Ok(task.mm().map(|mm| mm.auxv()).unwrap_or_default())
}

/// The line of an area, which smaps repeats.
fn line(mm: &Mm, area: &Vma, out: &mut Vec<u8>) {
    let flag = |on, letter| if on { letter } else { '-' };
    let shared = if area.visibility == Visibility::Shared { 's' } else { 'p' };
    let (offset, dev, ino) = match &area.backing {
        Backing::File { file, first } => (first * 4096, file.object.dev(), file.object.ino()),
        _ => (0, 0, 0),
    };
    let mut text = String::new();
    let _ = write!(
        text,
        "{:08x}-{:08x} {}{}{}{shared} {offset:08x} {:02x}:{:02x} {ino} ",
        area.start,
        area.end,
        flag(area.prot.read, 'r'),
        flag(area.prot.write, 'w'),
        flag(area.prot.execute, 'x'),
        linux_abi::stat::major(dev),
        linux_abi::stat::minor(dev),
    );
    let name = mm.area_name(area);
    if !name.is_empty() {
        // Names begin in column 73 at least.
        while text.len() < 73 {
            text.push(' ');
        }
    }
    out.extend_from_slice(text.as_bytes());
    for byte in name {
        if byte == b'\n' {
            out.extend_from_slice(b"\\012");
        } else {
            out.push(byte);
        }
    }
    out.push(b'\n');
}

pub(super) fn maps(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    check_inspect(cx, task)?;
    let mut out = Vec::new();
    if let Some(mm) = task.mm() {
        for area in mm.areas() {
            line(&mm, &area, &mut out);
        }
    }
    Ok(out)
}

/// Figures of one area, or of many, in KiB.
#[derive(Clone, Copy, Default)]
struct Usage {
    size: u64,
    resident: u64,
    own: u64,
    anonymous: u64,
    locked: u64,
}

impl Usage {
    fn of(mm: &Mm, area: &Vma) -> Self {
        let (resident, own) = mm.resident_in(area);
        Self {
            size: area.len() / 1024,
            resident: resident * 4,
            own: own * 4,
            anonymous: own * 4,
            locked: if area.flags.locked { resident * 4 } else { 0 },
        }
    }

    fn add(&mut self, other: Self) {
        self.size += other.size;
        self.resident += other.resident;
        self.own += other.own;
        self.anonymous += other.anonymous;
        self.locked += other.locked;
    }

    fn show(&self, out: &mut Vec<u8>) {
        let shared = self.resident.saturating_sub(self.own);
        let rows = [
            ("Rss", self.resident),
            ("Pss", self.resident),
            ("Pss_Dirty", self.own),
            ("Shared_Clean", shared),
            ("Shared_Dirty", 0),
            ("Private_Clean", 0),
            ("Private_Dirty", self.own),
            ("Referenced", self.resident),
            ("Anonymous", self.anonymous),
            ("LazyFree", 0),
            ("AnonHugePages", 0),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", 0),
            ("SwapPss", 0),
            ("Locked", self.locked),
        ];
        for (name, value) in rows {
            out.extend_from_slice(format!("{:<16}{value:>8} kB\n", format!("{name}:")).as_bytes());
        }
    }
}

pub(super) fn smaps(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    check_inspect(cx, task)?;
    let mut out = Vec::new();
    let Some(mm) = task.mm() else { return Ok(out) };
    for area in mm.areas() {
        line(&mm, &area, &mut out);
        let usage = Usage::of(&mm, &area);
        for (name, value) in [("Size", usage.size), ("KernelPageSize", 4), ("MMUPageSize", 4)] {
            out.extend_from_slice(format!("{:<16}{value:>8} kB\n", format!("{name}:")).as_bytes());
        }
        usage.show(&mut out);
        out.extend_from_slice(format!("THPeligible:    0\nVmFlags: {}\n", vm_flags(&area)).as_bytes());
    }
    Ok(out)
}

fn vm_flags(area: &Vma) -> String {
    let shared = area.visibility == Visibility::Shared;
    let flags = [
        (area.prot.read, "rd "),
        (area.prot.write, "wr "),
        (area.prot.execute, "ex "),
        (shared, "sh "),
        (area.max_prot.read, "mr "),
        (area.max_prot.write, "mw "),
        (area.max_prot.execute, "me "),
        (shared && area.max_prot.write, "ms "),
        (area.flags.grows_down, "gd "),
        (area.flags.locked, "lo "),
        (area.flags.dont_fork, "dc "),
        (area.flags.no_reserve, "nr "),
        (area.flags.dont_dump, "dd "),
        (area.flags.wipe_on_fork, "wf "),
    ];
    flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect()
}

pub(super) fn smaps_rollup(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    check_inspect(cx, task)?;
    let mut out = Vec::new();
    let Some(mm) = task.mm() else { return Ok(out) };
    let areas = mm.areas();
    let mut total = Usage::default();
    for area in &areas {
        total.add(Usage::of(&mm, area));
    }
    let (start, end) = (areas.first().map_or(0, |area| area.start), areas.last().map_or(0, |area| area.end));
    let head = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ");
    out.extend_from_slice(format!("{head:<73}[rollup]\n").as_bytes());
    total.show(&mut out);
    Ok(out)
}

/// Opens the memory of a process to be read and written at its own addresses.
pub(super) fn open_mem(cx: &SyscallCx, task: &Rc<Task>) -> Result<Rc<dyn File>> {
    check_inspect(cx, task)?;
    Ok(Rc::new(Memory { mm: task.mm().map(|mm| Rc::downgrade(&mm)).unwrap_or_default() }))
}

/// Does not keep the memory: once the program has ended or executed another, reads find its end.
struct Memory {
    mm: Weak<Mm>,
}

impl File for Memory {
    fn read<'a>(&'a self, _cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let Some(mm) = self.mm.upgrade() else { return Io::ready(Ok(0)) };
        Io::later(async move { mm.peek(mode.offset, buf).await })
    }

    fn write<'a>(&'a self, _cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        let Some(mm) = self.mm.upgrade() else { return Io::ready(Ok(0)) };
        Io::later(async move { mm.poke(mode.offset, data).await })
    }

    fn seekable(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
