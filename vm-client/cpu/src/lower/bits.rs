//! Bit tests and scans.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::operand::{self, Place, addr, place, read, size, value, write};
use crate::ir::{Addr, Builder, Code, Size, Val, sized};

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Bt => bit_test(b, insn, None),
        Mnemonic::Bts => bit_test(b, insn, Some(Change::Set)),
        Mnemonic::Btr => bit_test(b, insn, Some(Change::Reset)),
        Mnemonic::Btc => bit_test(b, insn, Some(Change::Complement)),
        // Processors without LZCNT and TZCNT run their encodings as the older instructions.
        Mnemonic::Bsf | Mnemonic::Tzcnt => scan(b, insn, |s| sized!(s, BsfF16 BsfF32 BsfF64)),
        Mnemonic::Bsr | Mnemonic::Lzcnt => scan(b, insn, |s| sized!(s, BsrF16 BsrF32 BsrF64)),
        Mnemonic::Popcnt => {
            let s = size(insn, 0)?;
            let src = value(b, insn, 1, s)?;
            b.unary(sized!(s, PopcntF16 PopcntF32 PopcntF64), operand::gpr(insn.op0_register()), src.slot);
            Some(())
        }
        _ => None,
    }
}

fn scan(b: &mut Builder, insn: &Instruction, code: fn(Size) -> Code) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = operand::gpr(insn.op0_register());
    let src = value(b, insn, 1, s)?;
    b.binary(code(s), dst, dst, src);
    Some(())
}

#[derive(Clone, Copy)]
enum Change {
    Set,
    Reset,
    Complement,
}

fn bit_test(b: &mut Builder, insn: &Instruction, change: Option<Change>) -> Option<()> {
    let s = size(insn, 0)?;
    let by_register = insn.op1_kind() == OpKind::Register;
    let number = value(b, insn, 1, s)?;
    let dst = if by_register && insn.op0_kind() == OpKind::Memory {
        Place::Mem(bit_string(b, insn, s, number)?)
    } else {
        place(b, insn, 0)?
    };
    let old = read(b, dst, s);
    let within = i64::from(s.bits()) - 1;
    let number = if by_register {
        Val::from(b.binary_temp(Code::And32, number.slot, Val::constant(within)))
    } else {
        Val::constant(number.imm & within)
    };
    let tested = b.binary_temp(sized!(s, Shr8 Shr16 Shr32 Shr64), old, number);
    let Some(change) = change else {
        b.flag_bit(Code::SetCf, tested);
        return Some(());
    };
    let one = b.slot(Val::constant(1));
    let mask = b.binary_temp(Code::Shl64, one, number);
    let new = match change {
        Change::Set => b.binary_temp(Code::Or64, old, mask),
        Change::Complement => b.binary_temp(Code::Xor64, old, mask),
        Change::Reset => {
            let keep = b.binary_temp(Code::Xor64, mask, Val::constant(-1));
            b.binary_temp(Code::And64, old, keep)
        }
    };
    write(b, dst, s, new);
    b.flag_bit(Code::SetCf, tested);
    Some(())
}

/// The address of the unit that holds a bit of a string in memory; the number is signed and not cut.
fn bit_string(b: &mut Builder, insn: &Instruction, s: Size, number: Val) -> Option<Addr> {
    let extended = match s {
        Size::B16 => b.unary_temp(Code::Sx16To64, number.slot),
        Size::B32 => b.unary_temp(Code::Sx32To64, number.slot),
        _ => number.slot,
    };
    let shift = s.bits().trailing_zeros();
    let unit = b.binary_temp(Code::Sar64, extended, Val::constant(i64::from(shift)));
    let a = addr(b, insn);
    let width = b.address_size();
    let start = b.effective(width, a);
    let bytes_shift = s.bytes().trailing_zeros() as u8;
    Some(Addr { segment: a.segment, index: unit, scale: bytes_shift, ..Addr::at(start, 0) })
}
