//! System calls, traps, segments, hints, and what user code may not do.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::branch::refuse;
use super::operand::{self, Place, addr, place, read, segment_number, size, value, write};
use super::stack;
use crate::assist::AssistId;
use crate::ir::{Builder, ExitReason, Size, Slot};
use crate::{Mode, Segment, reg};

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Mov => move_special(b, insn),
        Mnemonic::Int => {
            match insn.immediate8() {
                0x80 => b.leave(ExitReason::Int80),
                3 => b.leave(ExitReason::Breakpoint),
                number => {
                    b.assist(AssistId::Interrupt, [0, number, 0, 0], 0);
                    b.leave(ExitReason::Protection);
                }
            }
            Some(())
        }
        Mnemonic::Int3 => leave(b, ExitReason::Breakpoint),
        Mnemonic::Int1 => leave(b, ExitReason::Int1),
        Mnemonic::Into => {
            b.assist(AssistId::Into, [0; 4], 0);
            Some(())
        }
        Mnemonic::Bound => bound(b, insn),
        Mnemonic::Sysenter if b.mode() == Mode::I386 => leave(b, ExitReason::Sysenter),
        Mnemonic::Syscall if b.mode() == Mode::X86_64 => {
            let next = b.next_ip() as i64;
            let flags = b.read_flags();
            b.mov(Size::B64, Slot::gpr(11), flags);
            b.mov(Size::B64, Slot(reg::RCX as u8), crate::ir::Val::constant(next));
            leave(b, ExitReason::Syscall)
        }
        Mnemonic::Cpuid => {
            b.assist(AssistId::Cpuid, [0; 4], 0);
            Some(())
        }
        Mnemonic::Rdtsc => leave(b, ExitReason::ReadTsc),
        Mnemonic::Rdtscp => leave(b, ExitReason::ReadTscp),
        Mnemonic::Lds => stack::load_far_pointer(b, insn, Segment::Ds),
        Mnemonic::Les => stack::load_far_pointer(b, insn, Segment::Es),
        Mnemonic::Lfs => stack::load_far_pointer(b, insn, Segment::Fs),
        Mnemonic::Lgs => stack::load_far_pointer(b, insn, Segment::Gs),
        Mnemonic::Lss => stack::load_far_pointer(b, insn, Segment::Ss),
        Mnemonic::Lsl => segment_limit(b, insn, 0),
        Mnemonic::Lar => segment_limit(b, insn, 1),
        Mnemonic::Verr => segment_limit(b, insn, 2),
        Mnemonic::Verw => segment_limit(b, insn, 3),
        Mnemonic::Arpl if b.mode() == Mode::I386 => arpl(b, insn),
        Mnemonic::Nop
        | Mnemonic::Reservednop
        | Mnemonic::Pause
        | Mnemonic::Endbr32
        | Mnemonic::Endbr64
        // Shadow stacks are off: then reading their pointer does nothing.
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq
        | Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetchw => Some(()),
        Mnemonic::Clflush => {
            // The line itself is ours to ignore, but the address is checked as a load of one byte.
            let a = addr(b, insn);
            b.load(Size::B8, a);
            Some(())
        }
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => leave(b, ExitReason::InvalidOpcode),
        Mnemonic::Hlt
        | Mnemonic::Cli
        | Mnemonic::Sti
        | Mnemonic::In
        | Mnemonic::Out
        | Mnemonic::Clts
        | Mnemonic::Invd
        | Mnemonic::Wbinvd
        | Mnemonic::Invlpg
        | Mnemonic::Lgdt
        | Mnemonic::Lidt
        | Mnemonic::Lldt
        | Mnemonic::Ltr
        | Mnemonic::Lmsw
        | Mnemonic::Rdmsr
        | Mnemonic::Wrmsr
        | Mnemonic::Rdpmc
        | Mnemonic::Sysexit
        | Mnemonic::Sgdt
        | Mnemonic::Sidt
        | Mnemonic::Sldt
        | Mnemonic::Smsw
        | Mnemonic::Str => refuse(b),
        _ => None,
    }
}

fn leave(b: &mut Builder, reason: ExitReason) -> Option<()> {
    b.leave(reason);
    Some(())
}

/// Ends the block where loading a segment may have changed what lowering takes for granted.
pub(super) fn after_segment_load(b: &mut Builder) {
    // In 64-bit mode only the bases of FS and GS count, and those are read when they are used.
    if b.mode() == Mode::I386 {
        b.leave(ExitReason::Resync);
    }
}

/// Moves to and from segment, control and debug registers.
fn move_special(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let register = |n: u32| (insn.op_kind(n) == OpKind::Register).then(|| insn.op_register(n));
    if [0, 1].into_iter().filter_map(register).any(|r| r.is_cr() || r.is_dr() || r.is_tr()) {
        return refuse(b);
    }
    if let Some(segment) = register(0).and_then(segment_number) {
        if segment == Segment::Cs {
            return leave(b, ExitReason::InvalidOpcode);
        }
        let src = place(b, insn, 1)?;
        let t = read(b, src, Size::B16);
        b.assist(AssistId::LoadSegment, [0, t.0, segment as u8, 0], 0);
        after_segment_load(b);
        return Some(());
    }
    let segment = register(1).and_then(segment_number)?;
    let dst = place(b, insn, 0)?;
    let t = b.temp();
    b.assist(AssistId::ReadSelector, [t.0, 0, segment as u8, 0], 0);
    // Memory gets 16 bits whatever the operand size, a register is zero-extended to its own.
    let s = if matches!(dst, Place::Mem(_)) { Size::B16 } else { size(insn, 0)? };
    write(b, dst, s, t);
    Some(())
}

fn bound(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let both = if s == Size::B16 { Size::B32 } else { Size::B64 };
    let a = addr(b, insn);
    let bounds = b.load(both, a);
    b.assist(AssistId::Bound, [0, operand::gpr(insn.op0_register()).0, bounds.0, s.bytes()], 0);
    Some(())
}

fn arpl(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let dst = place(b, insn, 0)?;
    let selector = read(b, dst, Size::B16);
    if let Place::Mem(a) = dst {
        b.check_store(Size::B16.bytes(), a);
    }
    let t = b.temp();
    b.assist(AssistId::Arpl, [t.0, selector.0, operand::gpr(insn.op1_register()).0, 0], 0);
    write(b, dst, Size::B16, t);
    Some(())
}

fn segment_limit(b: &mut Builder, insn: &Instruction, what: u8) -> Option<()> {
    let last = insn.op_count().checked_sub(1)?;
    let selector = value(b, insn, last, Size::B16)?;
    let t = b.temp();
    if last == 0 {
        b.assist(AssistId::SegmentLimit, [t.0, selector.slot.0, what, 0], 0);
        return Some(());
    }
    let s = size(insn, 0)?;
    let dst = operand::gpr(insn.op0_register());
    b.mov(Size::B64, t, dst);
    b.assist(AssistId::SegmentLimit, [t.0, selector.slot.0, what, 0], 0);
    b.mov(s, dst, t);
    Some(())
}
