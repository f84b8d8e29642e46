//! The local descriptor table (modify_ldt(2)), as arch/x86/kernel/ldt.c of Linux keeps it.
//!
//! Segments have their base, and code segments their size; limits are told by `lsl` but no access is held to them.

use vm_cpu::{Cpu, Ldt, Segment, Selector};

use super::table::{Args, Row, wait};
use super::thread_area;
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[wait!(123, "modify_ldt", modify_ldt, "limits are kept but not enforced")];

/// Bytes of a descriptor.
const ENTRY_SIZE: usize = 8;
/// Bytes of `struct user_desc`.
const USER_DESC_SIZE: u64 = 16;
/// What is told to be the default table's size.
const DEFAULT_SIZE: u64 = 128;

async fn modify_ldt(cx: &SyscallCx, [func, at, bytes, ..]: Args) -> Result<i64> {
    match func {
        0 => read(cx, at, bytes).await,
        1 => write(cx, at, bytes, true).await,
        2 => {
            let len = bytes.min(DEFAULT_SIZE);
            cx.write_user(at, &vec![0; len as usize]).await?;
            Ok(len as i64)
        }
        0x11 => write(cx, at, bytes, false).await,
        _ => Err(Errno::ENOSYS),
    }
}

async fn read(cx: &SyscallCx, at: u64, bytes: u64) -> Result<i64> {
    let Some(ldt) = cx.task.cpu.borrow().ldt.clone() else { return Ok(0) };
    let len = bytes.min((Ldt::ENTRIES * ENTRY_SIZE) as u64) as usize;
    // What is longer than the table reads as zeros.
    let mut raw: Vec<u8> = (0..ldt.len().min(len.div_ceil(ENTRY_SIZE)))
        .flat_map(|index| ldt.get(index).map_or(0, |entry| entry.encode()).to_le_bytes())
        .collect();
    raw.resize(len, 0);
    cx.write_user(at, &raw).await?;
    Ok(len as i64)
}

async fn write(cx: &SyscallCx, at: u64, bytes: u64, old: bool) -> Result<i64> {
    if bytes != USER_DESC_SIZE {
        return Err(Errno::EINVAL);
    }
    let desc = thread_area::read(cx, at).await?;
    let index = desc.entry() as usize;
    // Conforming code could be called from the kernel.
    if index >= Ldt::ENTRIES || desc.contents() == 3 && (old || desc.is_present()) {
        return Err(Errno::EINVAL);
    }
    let desc = if old { desc.without_useable() } else { desc };
    let entry = (!desc.is_cleared(old)).then(|| desc.filled());
    let ldt = table(cx);
    ldt.set(index, entry);
    refresh(&mut cx.task.cpu.borrow_mut(), &ldt);
    Ok(0)
}

/// The table of the process, made if there is none: all that share its memory get it.
fn table(cx: &SyscallCx) -> Ldt {
    if let Some(ldt) = &cx.task.cpu.borrow().ldt {
        return ldt.clone();
    }
    let ldt = Ldt::default();
    let mine = cx.mm();
    for task in cx.kernel.processes.tasks() {
        if task.mm().is_some_and(|mm| std::rc::Rc::ptr_eq(&mm, &mine)) {
            task.cpu.borrow_mut().ldt = Some(ldt.clone());
        }
    }
    ldt
}

/// Data segments that are loaded see their new descriptor at once.
fn refresh(cpu: &mut Cpu, ldt: &Ldt) {
    for segment in [Segment::Ds, Segment::Es, Segment::Fs, Segment::Gs] {
        let register = &mut cpu.segments[segment as usize];
        if register.selector & Ldt::INDICATOR != 0 {
            let present = ldt.get(usize::from(register.selector >> 3)).filter(|own| own.present && own.is_readable());
            *register = match present {
                Some(own) => Selector { base: u64::from(own.base), ..*register },
                None => Selector::default(),
            };
        }
    }
}
