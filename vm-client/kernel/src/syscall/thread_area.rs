//! Thread-local segments and the words the kernel keeps for a thread (set_thread_area(2), set_tid_address(2)).

use vm_cpu::{Cpu, Segment, Selector, TlsDescriptor};

use super::table::{Args, Row, now, wait};
use crate::task::Task;
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(243, "set_thread_area", set_thread_area),
    wait!(244, "get_thread_area", get_thread_area),
    now!(258, "set_tid_address", set_tid_address),
    now!(311, "set_robust_list", set_robust_list),
    wait!(312, "get_robust_list", get_robust_list),
    now!(386, "rseq", rseq, "programs do without: ENOSYS"),
];

/// Number of the first of the three entries in the descriptor table.
const FIRST_ENTRY: u32 = 12;
/// "any free entry"
const ANY_ENTRY: u32 = u32::MAX;

mod bits {
    pub(super) const SEG_32BIT: u32 = 1;
    pub(super) const CONTENTS: u32 = 6;
    pub(super) const READ_EXEC_ONLY: u32 = 8;
    pub(super) const LIMIT_IN_PAGES: u32 = 16;
    pub(super) const NOT_PRESENT: u32 = 32;
    pub(super) const USEABLE: u32 = 64;
}

/// `struct user_desc`
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserDesc {
    entry: u32,
    base: u32,
    limit: u32,
    flags: u32,
}

/// Reads a `struct user_desc`.
pub(crate) async fn read(cx: &SyscallCx, at: u64) -> Result<UserDesc> {
    let mut raw = [0; 16];
    cx.read_user(at, &mut raw).await?;
    let word =
        |index: usize| u32::from_le_bytes([raw[4 * index], raw[4 * index + 1], raw[4 * index + 2], raw[4 * index + 3]]);
    Ok(UserDesc { entry: word(0), base: word(1), limit: word(2), flags: word(3) & 0x7f })
}

impl UserDesc {
    /// The two ways of saying "no segment".
    fn is_empty(&self) -> bool {
        let cleared = bits::READ_EXEC_ONLY | bits::NOT_PRESENT;
        self.base == 0 && self.limit == 0 && (self.flags == cleared || self.flags == 0)
    }

    fn check(&self) -> Result<()> {
        // 16-bit segments could be used against the kernel's stack; code segments are not for thread-local data.
        if !self.is_empty() && (self.flags & bits::SEG_32BIT == 0 || self.flags & bits::CONTENTS > 2) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    pub(super) fn entry(&self) -> u32 {
        self.entry
    }

    pub(super) fn contents(&self) -> u32 {
        (self.flags & bits::CONTENTS) >> 1
    }

    /// What clears an entry of the local table.
    pub(super) fn is_cleared(&self, old: bool) -> bool {
        let nothing = self.base == 0 && self.limit == 0;
        nothing && (old || self.flags == bits::READ_EXEC_ONLY | bits::NOT_PRESENT)
    }

    pub(super) fn is_present(&self) -> bool {
        self.flags & bits::NOT_PRESENT == 0
    }

    /// The descriptor that a program without the `useable` bit meant.
    pub(super) fn without_useable(mut self) -> Self {
        self.flags &= !bits::USEABLE;
        self
    }

    pub(super) fn descriptor(&self) -> TlsDescriptor {
        if self.is_empty() { TlsDescriptor::default() } else { self.filled() }
    }

    /// The descriptor with exactly these fields.
    pub(super) fn filled(&self) -> TlsDescriptor {
        TlsDescriptor {
            present: self.flags & bits::NOT_PRESENT == 0,
            base: self.base,
            limit: self.limit,
            flags: self.flags,
        }
    }
}

fn slot(entry: u32) -> Result<usize> {
    let index = entry.wrapping_sub(FIRST_ENTRY) as usize;
    if index < 3 { Ok(index) } else { Err(Errno::EINVAL) }
}

fn install(cpu: &mut Cpu, index: usize, descriptor: TlsDescriptor) {
    cpu.tls[index] = descriptor;
    // A register that holds the selector sees the new base at once.
    let selector = ((FIRST_ENTRY + index as u32) << 3 | 3) as u16;
    for segment in [Segment::Fs, Segment::Gs] {
        let register = &mut cpu.segments[segment as usize];
        if register.selector == selector {
            *register = Selector { selector, base: u64::from(descriptor.base) };
        }
    }
}

/// CLONE_SETTLS: the entry must be named.
pub(crate) fn set_for_child(cpu: &mut Cpu, desc: UserDesc) -> Result<()> {
    desc.check()?;
    let index = slot(desc.entry)?;
    install(cpu, index, desc.descriptor());
    Ok(())
}

async fn set_thread_area(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    let desc = read(cx, at).await?;
    desc.check()?;
    let index = if desc.entry == ANY_ENTRY {
        let free = cx.task.cpu.borrow().tls.iter().position(|entry| *entry == TlsDescriptor::default());
        let index = free.ok_or(Errno::ESRCH)?;
        cx.write_u32(at, FIRST_ENTRY + index as u32).await?;
        index
    } else {
        slot(desc.entry)?
    };
    install(&mut cx.task.cpu.borrow_mut(), index, desc.descriptor());
    Ok(0)
}

async fn get_thread_area(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    let entry = cx.read_u32(at).await?;
    get_of(cx, &cx.task, entry, at).await
}

/// Writes an entry of a task as a `struct user_desc` (PTRACE_GET_THREAD_AREA too).
pub(crate) async fn get_of(cx: &SyscallCx, task: &Task, entry: u32, to: u64) -> Result<i64> {
    let tls = task.cpu.borrow().tls[slot(entry)?];
    let flags = if tls == TlsDescriptor::default() {
        bits::READ_EXEC_ONLY | bits::NOT_PRESENT
    } else {
        tls.flags & (bits::USEABLE | bits::LIMIT_IN_PAGES | 0x2f)
    };
    let mut raw = [0; 16];
    for (index, word) in [entry, tls.base, tls.limit, flags].into_iter().enumerate() {
        raw[4 * index..4 * index + 4].copy_from_slice(&word.to_le_bytes());
    }
    cx.write_user(to, &raw).await?;
    Ok(0)
}

/// PTRACE_SET_THREAD_AREA
pub(crate) async fn set_of(cx: &SyscallCx, task: &Task, entry: u32, from: u64) -> Result<i64> {
    let desc = read(cx, from).await?;
    desc.check()?;
    install(&mut task.cpu.borrow_mut(), slot(entry)?, desc.descriptor());
    Ok(0)
}

fn set_tid_address(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    cx.task.clear_child_tid.set(at);
    Ok(i64::from(cx.task.tid()))
}

/// Bytes of `struct robust_list_head` on i386.
const ROBUST_HEAD: u64 = 12;

fn set_robust_list(cx: &SyscallCx, [head, len, ..]: Args) -> Result<i64> {
    if len != ROBUST_HEAD {
        return Err(Errno::EINVAL);
    }
    cx.task.robust_list.set((head, len));
    Ok(0)
}

async fn get_robust_list(cx: &SyscallCx, [tid, head, len, ..]: Args) -> Result<i64> {
    let task = match tid as i32 {
        0 => std::rc::Rc::clone(&cx.task),
        tid => cx.kernel.processes.task(tid).ok_or(Errno::ESRCH)?,
    };
    let same = cx.creds().uid == task.creds.borrow().uid;
    if !same && !cx.creds().capable(crate::task::cap::SYS_PTRACE) {
        return Err(Errno::EPERM);
    }
    let (at, _) = task.robust_list.get();
    cx.write_u32(len, ROBUST_HEAD as u32).await?;
    cx.write_u32(head, at as u32).await?;
    Ok(0)
}

fn rseq(_: &SyscallCx, _: Args) -> Result<i64> {
    Err(Errno::ENOSYS)
}
