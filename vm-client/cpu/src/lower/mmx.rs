//! MMX: the same operations as SSE's on 64-bit registers, which are the significands of the x87's.
//!
//! Every instruction first asks for pending x87 exceptions, then reads memory, and turns the x87 stack over to MMX last.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::operand::{Place, addr, gpr, place, read};
use super::sse;
use crate::assist::{AssistId, Vector};
use crate::ir::{Builder, Size, Slot, VSlot};

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let has_mmx = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_mm());
    if !has_mmx {
        return None;
    }
    match insn.mnemonic() {
        Mnemonic::Movq | Mnemonic::Movntq => quad(b, insn),
        Mnemonic::Movd => long(b, insn),
        Mnemonic::Pmovmskb => {
            let src = get(b, insn.op1_register());
            b.assist(AssistId::SignMask, [gpr(insn.op0_register()).0, Slot::ZERO.0, src.0, 1], 0);
            enter(b);
            Some(())
        }
        Mnemonic::Pextrw => {
            let src = get(b, insn.op1_register());
            let lane = i64::from(insn.immediate8() & 3);
            b.assist(AssistId::Extract, [gpr(insn.op0_register()).0, Slot::ZERO.0, src.0, 2], lane);
            enter(b);
            Some(())
        }
        Mnemonic::Pinsrw => {
            let old = get(b, insn.op0_register());
            let src = place(b, insn, 1)?;
            let value = read(b, src, Size::B16);
            let t = b.vtemp();
            let lane = i64::from(insn.immediate8() & 3);
            b.assist(AssistId::Insert, [t.0, old.0, value.0, 2], lane);
            put(b, insn.op0_register(), t);
            Some(())
        }
        Mnemonic::Maskmovq => {
            let (value, mask) = (get(b, insn.op1_register()), get(b, insn.op2_register()));
            let address = sse::implicit_destination(b, insn);
            b.assist(AssistId::MaskedStore, [Slot::ZERO.0, address.0, value.0, mask.0], 8);
            enter(b);
            Some(())
        }
        mnemonic => {
            let (operation, _) = sse::vector_operation(mnemonic)?;
            compute(b, insn, operation)
        }
    }
}

/// Faults if an x87 exception is pending.
pub(super) fn check(b: &mut Builder) {
    b.assist(AssistId::MmxCheck, [Slot::ZERO.0, 0, 0, 0], 0);
}

/// Reads a register, after the check.
pub(super) fn get(b: &mut Builder, register: Register) -> VSlot {
    let t = b.vtemp();
    b.assist(AssistId::MmxGet, [t.0, Slot::ZERO.0, register.number() as u8, 0], 0);
    t
}

/// Writes a register.
pub(super) fn put(b: &mut Builder, register: Register, value: VSlot) {
    b.assist(AssistId::MmxPut, [Slot::ZERO.0, Slot::ZERO.0, value.0, register.number() as u8], 0);
}

/// Turns the stack over without writing a register.
pub(super) fn enter(b: &mut Builder) {
    b.assist(AssistId::MmxPut, [Slot::ZERO.0, Slot::ZERO.0, VSlot(0).0, 0], 1);
}

/// An MMX register or so many bytes of memory.
pub(super) fn source(b: &mut Builder, insn: &Instruction, n: u32, bytes: u8) -> Option<VSlot> {
    match insn.op_kind(n) {
        OpKind::Register => Some(get(b, insn.op_register(n))),
        OpKind::Memory => {
            let a = addr(b, insn);
            Some(b.vload(bytes, a))
        }
        _ => None,
    }
}

fn compute(b: &mut Builder, insn: &Instruction, operation: Vector) -> Option<()> {
    let dst = get(b, insn.op0_register());
    let imm = match insn.op_kind(insn.op_count().wrapping_sub(1)) {
        OpKind::Immediate8 => i64::from(insn.immediate8()),
        _ => 0,
    };
    let t = b.vtemp();
    if insn.op_kind(1) == OpKind::Immediate8 {
        b.assist(AssistId::Vector64, [t.0, dst.0, dst.0, operation as u8], 0x100 | imm);
    } else {
        // The low halves are all that these three read.
        let bytes = match operation {
            Vector::Punpcklbw | Vector::Punpcklwd | Vector::Punpckldq => 4,
            _ => 8,
        };
        let src = source(b, insn, 1, bytes)?;
        b.assist(AssistId::Vector64, [t.0, dst.0, src.0, operation as u8], imm);
    }
    put(b, insn.op0_register(), t);
    Some(())
}

fn quad(b: &mut Builder, insn: &Instruction) -> Option<()> {
    if insn.op0_kind() == OpKind::Memory {
        let src = get(b, insn.op1_register());
        let a = addr(b, insn);
        b.vstore(8, a, src);
        enter(b);
        return Some(());
    }
    if !insn.op0_register().is_mm() {
        // movq from MMX to a general register
        let src = get(b, insn.op1_register());
        let t = b.vget(Size::B64, src);
        b.mov(Size::B64, gpr(insn.op0_register()), t);
        enter(b);
        return Some(());
    }
    check(b);
    let src = if insn.op1_kind() == OpKind::Register && insn.op1_register().is_gpr() {
        let t = b.vtemp();
        b.vput(Size::B64, t, gpr(insn.op1_register()));
        t
    } else {
        source(b, insn, 1, 8)?
    };
    put(b, insn.op0_register(), src);
    Some(())
}

fn long(b: &mut Builder, insn: &Instruction) -> Option<()> {
    if insn.op0_kind() == OpKind::Register && insn.op0_register().is_mm() {
        check(b);
        let src = match place(b, insn, 1)? {
            Place::Mem(a) => b.vload(4, a),
            Place::Reg(r) | Place::High(r) => {
                let t = b.vtemp();
                b.vput(Size::B32, t, r);
                t
            }
        };
        put(b, insn.op0_register(), src);
        return Some(());
    }
    let src = get(b, insn.op1_register());
    match place(b, insn, 0)? {
        Place::Mem(a) => b.vstore(4, a, src),
        Place::Reg(r) | Place::High(r) => {
            let t = b.vget(Size::B32, src);
            b.mov(Size::B32, r, t);
        }
    }
    enter(b);
    Some(())
}
