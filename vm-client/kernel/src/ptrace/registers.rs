//! The registers of a stopped task as debuggers see them: `struct user` of i386 and the register sets of core files.

use linux_abi::layout::{Reader, Writer};
use vm_cpu::{Cpu, Segment, Selector, reg};

use crate::signal::frame_i386::segment_base;
use crate::task::Task;
use crate::{Errno, Result};

/// `struct user_regs_struct`: 17 words.
pub(crate) const REGS_SIZE: usize = 68;
/// Offset of `u_debugreg` in `struct user`.
const DEBUG_AT: usize = 252;
/// Bytes of `struct user`.
const USER_SIZE: usize = 284;

/// The trap flag.
pub(crate) const FLAG_TF: u32 = 0x100;
/// The flags that a debugger may change.
const FLAG_MASK: u32 = 0x0005_0dd5;

/// General registers in the order of the structure, with where they are.
const GENERAL: [(usize, usize); 7] =
    [(0, reg::RBX), (4, reg::RCX), (8, reg::RDX), (12, reg::RSI), (16, reg::RDI), (20, reg::RBP), (24, reg::RAX)];
const SEGMENTS: [(usize, Segment); 6] =
    [(28, Segment::Ds), (32, Segment::Es), (36, Segment::Fs), (40, Segment::Gs), (52, Segment::Cs), (64, Segment::Ss)];
const ORIG_EAX: usize = 44;
const EIP: usize = 48;
const EFLAGS: usize = 56;
const ESP: usize = 60;

/// The general registers of a task.
pub(crate) fn general(task: &Task) -> [u8; REGS_SIZE] {
    let cpu = task.cpu.borrow();
    let mut raw = [0; REGS_SIZE];
    let mut out = Writer::new(&mut raw);
    for (at, number) in GENERAL {
        out.u32(at, cpu.gpr[number] as u32);
    }
    for (at, segment) in SEGMENTS {
        out.u32(at, u32::from(cpu.segments[segment as usize].selector));
    }
    out.u32(ORIG_EAX, task.orig_ax.get() as u32);
    out.u32(EIP, cpu.rip as u32);
    let hidden = if task.trace.forced_step.get() { FLAG_TF } else { 0 };
    out.u32(EFLAGS, cpu.eflags & !hidden);
    out.u32(ESP, cpu.gpr[reg::RSP] as u32);
    raw
}

/// Sets one word of the general registers.
fn set_word(task: &Task, at: usize, value: u32) -> Result<()> {
    let mut cpu = task.cpu.borrow_mut();
    if let Some((_, number)) = GENERAL.iter().find(|(place, _)| *place == at) {
        cpu.gpr[*number] = u64::from(value);
        return Ok(());
    }
    if let Some((_, segment)) = SEGMENTS.iter().find(|(place, _)| *place == at) {
        return set_segment(&mut cpu, *segment, value as u16);
    }
    match at {
        ORIG_EAX => task.orig_ax.set(value as i32),
        EIP => cpu.rip = u64::from(value),
        ESP => cpu.gpr[reg::RSP] = u64::from(value),
        EFLAGS => {
            // The tracer's own trap flag stays, and is no longer hidden once it is asked for.
            let forced = task.trace.forced_step.get();
            let keep = if forced && value & FLAG_TF == 0 { FLAG_TF } else { 0 };
            if value & FLAG_TF != 0 {
                task.trace.forced_step.set(false);
            }
            cpu.eflags = cpu.eflags & !FLAG_MASK | value & FLAG_MASK | keep;
        }
        _ => return Err(Errno::EIO),
    }
    Ok(())
}

fn set_segment(cpu: &mut Cpu, segment: Segment, selector: u16) -> Result<()> {
    // A selector is of user privilege; code and stack cannot be null.
    let null_is_fine = !matches!(segment, Segment::Cs | Segment::Ss);
    if selector & 3 != 3 && !(null_is_fine && selector == 0) {
        return Err(Errno::EIO);
    }
    let base = segment_base(cpu, selector);
    cpu.segments[segment as usize] = Selector { selector, base };
    Ok(())
}

/// Sets general registers from the bytes of the structure; fewer than all set the first ones.
pub(crate) fn set_general(task: &Task, raw: &[u8]) -> Result<()> {
    let words = Reader::new(raw);
    for at in (0..raw.len().min(REGS_SIZE) & !3).step_by(4) {
        set_word(task, at, words.u32(at))?;
    }
    Ok(())
}

/// PTRACE_PEEKUSR
pub(crate) fn peek_user(task: &Task, at: u64) -> Result<u32> {
    let at = user_offset(at)?;
    if at < REGS_SIZE {
        return Ok(Reader::new(&general(task)).u32(at));
    }
    if at < DEBUG_AT {
        return Ok(0);
    }
    let debug = &task.cpu.borrow().debug;
    Ok(match (at - DEBUG_AT) / 4 {
        index @ 0..=3 => debug.address[index] as u32,
        6 => debug.status,
        7 => debug.control,
        _ => 0,
    })
}

/// PTRACE_POKEUSR
pub(crate) fn poke_user(task: &Task, at: u64, value: u32) -> Result<()> {
    let at = user_offset(at)?;
    if at < REGS_SIZE {
        return set_word(task, at, value);
    }
    if at < DEBUG_AT {
        return Ok(());
    }
    let mut cpu = task.cpu.borrow_mut();
    match (at - DEBUG_AT) / 4 {
        index @ 0..=3 => cpu.debug.address[index] = u64::from(value),
        6 => cpu.debug.status = value,
        7 => {
            check_control(value)?;
            cpu.debug.control = value;
        }
        _ => return Err(Errno::EIO),
    }
    Ok(())
}

/// DR7 as Linux takes it: breakpoints on instructions have length one, and none waits for input or output.
fn check_control(value: u32) -> Result<()> {
    for index in 0..4 {
        let (kind, length) = (value >> (16 + 4 * index) & 3, value >> (18 + 4 * index) & 3);
        let enabled = value >> (2 * index) & 3 != 0;
        if enabled && (kind == 2 || kind == 0 && length != 0 || length == 2) {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}

fn user_offset(at: u64) -> Result<usize> {
    let at = usize::try_from(at).map_err(|_| Errno::EIO)?;
    if at % 4 != 0 || at >= USER_SIZE { Err(Errno::EIO) } else { Ok(at) }
}

/// Makes the task stop after one instruction.
pub(crate) fn start_stepping(task: &Task) {
    let mut cpu = task.cpu.borrow_mut();
    if cpu.eflags & FLAG_TF == 0 {
        task.trace.forced_step.set(true);
        cpu.eflags |= FLAG_TF;
    }
}

/// Takes the tracer's trap flag away.
pub(crate) fn stop_stepping(task: &Task) {
    if task.trace.forced_step.replace(false) {
        task.cpu.borrow_mut().eflags &= !FLAG_TF;
    }
}

/// A register set as PTRACE_GETREGSET names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    General,
    /// The FSAVE image.
    Float,
    /// The FXSAVE image.
    ExtendedFloat,
    Tls,
}

impl Set {
    /// The set of a note type of core files; EINVAL for one that this processor does not have.
    pub(crate) fn of_note(note: u64) -> Result<Self> {
        match note {
            1 => Ok(Self::General),
            2 => Ok(Self::Float),
            0x46e6_2b7f => Ok(Self::ExtendedFloat),
            0x200 => Ok(Self::Tls),
            // NT_X86_XSTATE: the processor has no XSAVE.
            0x202 => Err(Errno::ENODEV),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Size of the set's elements.
    pub(crate) fn unit(self) -> usize {
        match self {
            Self::Tls => 16,
            _ => 4,
        }
    }
}

/// The bytes of a set.
pub(crate) fn get(task: &Task, set: Set) -> Vec<u8> {
    match set {
        Set::General => general(task).to_vec(),
        Set::Float => task.cpu.borrow().fsave_image().to_vec(),
        Set::ExtendedFloat => task.cpu.borrow().fxsave_image().to_vec(),
        Set::Tls => {
            let cpu = task.cpu.borrow();
            let mut raw = vec![0; 48];
            let mut out = Writer::new(&mut raw);
            for (index, tls) in cpu.tls.iter().enumerate() {
                out.u32(16 * index, 12 + index as u32);
                out.u32(16 * index + 4, tls.base);
                out.u32(16 * index + 8, tls.limit);
                // An empty entry is "not present, read only".
                out.u32(16 * index + 12, if tls.present { tls.flags } else { 0x28 });
            }
            raw
        }
    }
}

/// Changes a set; bytes that are not given stay.
pub(crate) fn set(task: &Task, which: Set, raw: &[u8]) -> Result<()> {
    match which {
        Set::General => set_general(task, raw),
        Set::Float => {
            let mut cpu = task.cpu.borrow_mut();
            let mut image = cpu.fsave_image();
            overlay(&mut image, raw);
            cpu.set_fsave_image(&image);
            Ok(())
        }
        Set::ExtendedFloat => {
            let mut cpu = task.cpu.borrow_mut();
            let mut image = cpu.fxsave_image();
            overlay(&mut image, raw);
            cpu.set_fxsave_image(&image).map_err(|_| Errno::EINVAL)
        }
        Set::Tls => Err(Errno::EINVAL),
    }
}

fn overlay(image: &mut [u8], raw: &[u8]) {
    for (to, from) in image.iter_mut().zip(raw) {
        *to = *from;
    }
}
