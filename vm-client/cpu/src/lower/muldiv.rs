//! Multiplication and division.

use iced_x86::{Instruction, Mnemonic};

use super::operand::{self, size, value};
use crate::assist::AssistId;
use crate::ir::{Builder, Size, sized};

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match (insn.mnemonic(), insn.op_count()) {
        (Mnemonic::Mul, _) => implicit(b, insn, AssistId::MulWide),
        (Mnemonic::Imul, 1) => implicit(b, insn, AssistId::ImulWide),
        (Mnemonic::Div, _) => implicit(b, insn, AssistId::Div),
        (Mnemonic::Idiv, _) => implicit(b, insn, AssistId::Idiv),
        (Mnemonic::Imul, operands) => {
            let s = size(insn, 0)?;
            let dst = operand::gpr(insn.op0_register());
            let (first, second) = if operands == 2 { (0, 1) } else { (1, 2) };
            let a = value(b, insn, first, s)?;
            let a = b.slot(a);
            let rhs = value(b, insn, second, s)?;
            b.binary(sized!(s, MulF16 MulF32 MulF64), dst, a, rhs);
            Some(())
        }
        _ => None,
    }
}

fn implicit(b: &mut Builder, insn: &Instruction, id: AssistId) -> Option<()> {
    let s: Size = size(insn, 0)?;
    let src = value(b, insn, 0, s)?;
    b.assist(id, [0, src.slot.0, s.bytes(), 0], 0);
    Some(())
}
