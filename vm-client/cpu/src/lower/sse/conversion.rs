//! Conversions between floating point and integers in general and MMX registers, and moves between MMX and XMM.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::super::mmx;
use super::super::operand::{gpr, place, read, size, xmm};
use super::source;
use crate::assist::{AssistId, Other};
use crate::ir::{Builder, Size, Slot};

const DOUBLE: u8 = 1;
const TRUNCATE: u8 = 2;
const WIDE: u8 = 4;

/// `None` when the instruction is no conversion.
pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<Option<()>> {
    Some(match insn.mnemonic() {
        Mnemonic::Cvtss2si => to_int(b, insn, 4, 0),
        Mnemonic::Cvttss2si => to_int(b, insn, 4, TRUNCATE),
        Mnemonic::Cvtsd2si => to_int(b, insn, 8, DOUBLE),
        Mnemonic::Cvttsd2si => to_int(b, insn, 8, DOUBLE | TRUNCATE),
        Mnemonic::Cvtsi2ss => from_int(b, insn, 0),
        Mnemonic::Cvtsi2sd => from_int(b, insn, DOUBLE),
        // These two have a memory operand where others have an MMX register.
        Mnemonic::Cvtpi2ps | Mnemonic::Cvtpi2pd => with_mmx(b, insn),
        _ => return None,
    })
}

fn to_int(b: &mut Builder, insn: &Instruction, bytes: u8, kind: u8) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = gpr(insn.op0_register());
    let src = source(b, insn, 1, bytes)?;
    let wide = if s == Size::B64 { WIDE } else { 0 };
    b.assist(AssistId::FloatToInt, [dst.0, Slot::ZERO.0, src.0, kind | wide], 0);
    Some(())
}

fn from_int(b: &mut Builder, insn: &Instruction, kind: u8) -> Option<()> {
    let s = size(insn, 1)?;
    let dst = xmm(insn, 0)?;
    let src = place(b, insn, 1)?;
    let value = read(b, src, s);
    let wide = if s == Size::B64 { WIDE } else { 0 };
    b.assist(AssistId::IntToFloat, [dst.0, dst.0, value.0, kind | wide], 0);
    Some(())
}

/// Instructions with one MMX and one XMM operand, or 64 bits of memory for the MMX one.
pub(super) fn with_mmx(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Cvtpi2ps | Mnemonic::Cvtpi2pd => {
            let dst = xmm(insn, 0)?;
            let register = insn.op1_kind() == OpKind::Register;
            let src = mmx::source(b, insn, 1, 8)?;
            let other = if insn.mnemonic() == Mnemonic::Cvtpi2ps { Other::Cvtpi2ps } else { Other::Cvtdq2pd };
            b.assist(AssistId::Float, [dst.0, dst.0, src.0, other as u8], 0);
            if register {
                mmx::enter(b);
            }
        }
        Mnemonic::Cvtps2pi => to_mmx(b, insn, 8, 0)?,
        Mnemonic::Cvttps2pi => to_mmx(b, insn, 8, TRUNCATE)?,
        Mnemonic::Cvtpd2pi => to_mmx(b, insn, 16, DOUBLE)?,
        Mnemonic::Cvttpd2pi => to_mmx(b, insn, 16, DOUBLE | TRUNCATE)?,
        Mnemonic::Movdq2q => {
            mmx::check(b);
            let src = xmm(insn, 1)?;
            mmx::put(b, insn.op0_register(), src);
        }
        Mnemonic::Movq2dq => {
            let dst = xmm(insn, 0)?;
            let src = mmx::get(b, insn.op1_register());
            b.vmov(dst, src);
            mmx::enter(b);
        }
        _ => return None,
    }
    Some(())
}

fn to_mmx(b: &mut Builder, insn: &Instruction, bytes: u8, kind: u8) -> Option<()> {
    mmx::check(b);
    let src = source(b, insn, 1, bytes)?;
    let t = b.vtemp();
    b.assist(AssistId::FloatToIntPair, [t.0, Slot::ZERO.0, src.0, kind], 0);
    mmx::put(b, insn.op0_register(), t);
    Some(())
}
