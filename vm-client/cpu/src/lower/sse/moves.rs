//! Moves between XMM registers, general registers and memory: plain operations of the IR.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::super::operand::{Place, addr, gpr, place, xmm};
use crate::assist::{AssistId, Vector};
use crate::ir::{Builder, Code, Op, Size, VSlot};

/// `None` when the instruction is no move.
pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<Option<()>> {
    Some(match insn.mnemonic() {
        Mnemonic::Movaps | Mnemonic::Movapd | Mnemonic::Movdqa => whole(b, insn, true),
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu | Mnemonic::Lddqu => whole(b, insn, false),
        Mnemonic::Movntps | Mnemonic::Movntpd | Mnemonic::Movntdq | Mnemonic::Movntdqa => whole(b, insn, true),
        Mnemonic::Movss => scalar(b, insn, 4, Vector::Movss),
        Mnemonic::Movsd => scalar(b, insn, 8, Vector::Movsd),
        Mnemonic::Movq if insn.op0_register().is_gpr() || insn.op1_register().is_gpr() => general(b, insn, Size::B64),
        Mnemonic::Movq => scalar(b, insn, 8, Vector::Movq),
        Mnemonic::Movd => general(b, insn, Size::B32),
        Mnemonic::Movlps | Mnemonic::Movlpd => half(b, insn, Vector::Movsd),
        Mnemonic::Movhps | Mnemonic::Movhpd => half(b, insn, Vector::Movlhps),
        _ => return None,
    })
}

/// Loads into a register without a temporary.
fn load_into(b: &mut Builder, insn: &Instruction, code: Code, dst: VSlot) {
    let a = addr(b, insn);
    let op = Op { dst: dst.0, a: a.base.0, b: a.index.0, c: a.scale, d: a.segment.0, imm: a.disp, ..Op::new(code) };
    b.emit(op);
}

fn whole(b: &mut Builder, insn: &Instruction, aligned: bool) -> Option<()> {
    if insn.op0_kind() == OpKind::Memory {
        let src = xmm(insn, 1)?;
        let a = addr(b, insn);
        if aligned {
            b.vstore_aligned(a, src);
        } else {
            b.vstore(16, a, src);
        }
        return Some(());
    }
    let dst = xmm(insn, 0)?;
    if insn.op1_kind() == OpKind::Memory {
        load_into(b, insn, if aligned { Code::VLoadA128 } else { Code::VLoad128 }, dst);
    } else {
        b.vmov(dst, xmm(insn, 1)?);
    }
    Some(())
}

/// Loads clear the rest of the register; between registers `merge` says what happens to it.
fn scalar(b: &mut Builder, insn: &Instruction, bytes: u8, merge: Vector) -> Option<()> {
    if insn.op0_kind() == OpKind::Memory {
        let src = xmm(insn, 1)?;
        let a = addr(b, insn);
        b.vstore(bytes, a, src);
        return Some(());
    }
    let dst = xmm(insn, 0)?;
    if insn.op1_kind() == OpKind::Memory {
        load_into(b, insn, if bytes == 4 { Code::VLoad32 } else { Code::VLoad64 }, dst);
    } else {
        let src = xmm(insn, 1)?;
        b.assist(AssistId::Vector, [dst.0, dst.0, src.0, merge as u8], 0);
    }
    Some(())
}

fn general(b: &mut Builder, insn: &Instruction, size: Size) -> Option<()> {
    if let Some(dst) = xmm(insn, 0) {
        if insn.op1_kind() == OpKind::Memory {
            load_into(b, insn, if size == Size::B64 { Code::VLoad64 } else { Code::VLoad32 }, dst);
        } else {
            b.vput(size, dst, gpr(insn.op1_register()));
        }
        return Some(());
    }
    let src = xmm(insn, 1)?;
    match place(b, insn, 0)? {
        Place::Mem(a) => b.vstore(size.bytes(), a, src),
        Place::Reg(r) | Place::High(r) => {
            let t = b.vget(size, src);
            b.mov(size, r, t);
        }
    }
    Some(())
}

/// One half of a register to or from memory.
fn half(b: &mut Builder, insn: &Instruction, merge: Vector) -> Option<()> {
    if insn.op0_kind() == OpKind::Memory {
        let src = xmm(insn, 1)?;
        let a = addr(b, insn);
        if merge == Vector::Movsd {
            b.vstore(8, a, src);
        } else {
            let t = b.temp();
            b.emit(Op { dst: t.0, a: src.0, ..Op::new(Code::VGetHi64) });
            b.store(Size::B64, a, t);
        }
        return Some(());
    }
    let dst = xmm(insn, 0)?;
    let src = match insn.op1_kind() {
        OpKind::Memory => {
            let a = addr(b, insn);
            b.vload(8, a)
        }
        _ => xmm(insn, 1)?,
    };
    b.assist(AssistId::Vector, [dst.0, dst.0, src.0, merge as u8], 0);
    Some(())
}
