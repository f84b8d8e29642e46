//! Moves, integer arithmetic, comparisons, exchanges, conditions on flags.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::operand::{self, Place, addr, place, read, size, value, write};
use crate::flags::bit;
use crate::ir::{Addr, Builder, Code, Cond, Size, Slot, Val, sized};
use crate::reg;

/// The codes of a family by size.
type Family = [Code; 4];

macro_rules! family {
    ($c8:ident $c16:ident $c32:ident $c64:ident) => {
        [Code::$c8, Code::$c16, Code::$c32, Code::$c64]
    };
}

const ADD: (Family, Family) = (family!(Add8 Add16 Add32 Add64), family!(AddF8 AddF16 AddF32 AddF64));
const SUB: (Family, Family) = (family!(Sub8 Sub16 Sub32 Sub64), family!(SubF8 SubF16 SubF32 SubF64));
const AND: (Family, Family) = (family!(And8 And16 And32 And64), family!(AndF8 AndF16 AndF32 AndF64));
const OR: (Family, Family) = (family!(Or8 Or16 Or32 Or64), family!(OrF8 OrF16 OrF32 OrF64));
const XOR: (Family, Family) = (family!(Xor8 Xor16 Xor32 Xor64), family!(XorF8 XorF16 XorF32 XorF64));
const ADC: (Family, Family) = (family!(Adc8 Adc16 Adc32 Adc64), family!(AdcF8 AdcF16 AdcF32 AdcF64));
const SBB: (Family, Family) = (family!(Sbb8 Sbb16 Sbb32 Sbb64), family!(SbbF8 SbbF16 SbbF32 SbbF64));

const RAX: Slot = Slot(reg::RAX as u8);
const RDX: Slot = Slot(reg::RDX as u8);

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Mov => mov(b, insn),
        Mnemonic::Lea => lea(b, insn),
        Mnemonic::Add => alu(b, insn, ADD),
        Mnemonic::Sub => alu(b, insn, SUB),
        Mnemonic::And => alu(b, insn, AND),
        Mnemonic::Or => alu(b, insn, OR),
        Mnemonic::Xor => alu(b, insn, XOR),
        Mnemonic::Adc => alu(b, insn, ADC),
        Mnemonic::Sbb => alu(b, insn, SBB),
        Mnemonic::Cmp => compare(b, insn, family!(CmpF8 CmpF16 CmpF32 CmpF64)),
        Mnemonic::Test => compare(b, insn, family!(TestF8 TestF16 TestF32 TestF64)),
        Mnemonic::Inc => inc_dec(b, insn, ADD.0, family!(IncF8 IncF16 IncF32 IncF64)),
        Mnemonic::Dec => inc_dec(b, insn, SUB.0, family!(DecF8 DecF16 DecF32 DecF64)),
        Mnemonic::Neg => neg(b, insn),
        Mnemonic::Not => {
            let s = size(insn, 0)?;
            let p = place(b, insn, 0)?;
            read_modify_write(b, p, s, XOR.0[s as usize], None, Val::constant(-1));
            Some(())
        }
        Mnemonic::Movzx => extend(b, insn, false),
        Mnemonic::Movsx | Mnemonic::Movsxd => extend(b, insn, true),
        Mnemonic::Xchg => xchg(b, insn),
        Mnemonic::Xadd => xadd(b, insn),
        Mnemonic::Cmpxchg => cmpxchg(b, insn),
        Mnemonic::Cmpxchg8b => cmpxchg8b(b, insn),
        Mnemonic::Cbw => convert(b, Code::Sx8To16, Size::B16),
        Mnemonic::Cwde => convert(b, Code::Sx16To32, Size::B32),
        Mnemonic::Cdqe => convert(b, Code::Sx32To64, Size::B64),
        Mnemonic::Cwd => sign_into_dx(b, Size::B16),
        Mnemonic::Cdq => sign_into_dx(b, Size::B32),
        Mnemonic::Cqo => sign_into_dx(b, Size::B64),
        Mnemonic::Bswap => {
            let s = size(insn, 0)?;
            let r = operand::gpr(insn.op0_register());
            b.unary(sized!(s, Bswap16 Bswap32 Bswap64), r, r);
            Some(())
        }
        Mnemonic::Seto
        | Mnemonic::Setno
        | Mnemonic::Setb
        | Mnemonic::Setae
        | Mnemonic::Sete
        | Mnemonic::Setne
        | Mnemonic::Setbe
        | Mnemonic::Seta
        | Mnemonic::Sets
        | Mnemonic::Setns
        | Mnemonic::Setp
        | Mnemonic::Setnp
        | Mnemonic::Setl
        | Mnemonic::Setge
        | Mnemonic::Setle
        | Mnemonic::Setg => set_cc(b, insn),
        Mnemonic::Cmovo
        | Mnemonic::Cmovno
        | Mnemonic::Cmovb
        | Mnemonic::Cmovae
        | Mnemonic::Cmove
        | Mnemonic::Cmovne
        | Mnemonic::Cmovbe
        | Mnemonic::Cmova
        | Mnemonic::Cmovs
        | Mnemonic::Cmovns
        | Mnemonic::Cmovp
        | Mnemonic::Cmovnp
        | Mnemonic::Cmovl
        | Mnemonic::Cmovge
        | Mnemonic::Cmovle
        | Mnemonic::Cmovg => cmov(b, insn),
        Mnemonic::Lahf => {
            let t = b.read_flags();
            b.unary(Code::SetH, RAX, t);
            Some(())
        }
        Mnemonic::Sahf => {
            let t = b.unary_temp(Code::GetH, RAX);
            b.write_flags(bit::SF | bit::ZF | bit::AF | bit::PF | bit::CF, t);
            Some(())
        }
        Mnemonic::Clc => {
            b.flag_bit(Code::SetCf, Slot::ZERO);
            Some(())
        }
        Mnemonic::Stc => {
            let one = b.slot(Val::constant(1));
            b.flag_bit(Code::SetCf, one);
            Some(())
        }
        Mnemonic::Cmc => {
            let t = b.temp();
            b.set(t, Cond::Ae as u8);
            b.flag_bit(Code::SetCf, t);
            Some(())
        }
        Mnemonic::Cld => {
            b.write_flags(bit::DF, Slot::ZERO);
            Some(())
        }
        Mnemonic::Std => {
            b.write_flags(bit::DF, Val::constant(i64::from(bit::DF)));
            Some(())
        }
        Mnemonic::Salc => {
            let t = b.temp();
            b.set(t, Cond::B as u8);
            let t = b.unary_temp(Code::Zx8, t);
            b.binary(Code::Sub8, RAX, Slot::ZERO, t);
            Some(())
        }
        Mnemonic::Xlatb => xlat(b, insn),
        _ => None,
    }
}

/// The number of the condition in the mnemonic.
pub(super) fn condition(insn: &Instruction) -> Option<u8> {
    (insn.condition_code() as u8).checked_sub(1)
}

fn mov(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = place(b, insn, 0)?;
    // A load straight into a register, without a temporary, where it replaces the whole register.
    if let Place::Reg(r) = dst
        && insn.op1_kind() == OpKind::Memory
        && s >= Size::B32
    {
        let a = addr(b, insn);
        b.load_to(s, r, a);
        return Some(());
    }
    let v = value(b, insn, 1, s)?;
    write(b, dst, s, v);
    Some(())
}

fn lea(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = operand::gpr(insn.op0_register());
    let a = operand::offset(b, insn);
    if a.index == Slot::ZERO {
        b.mov(s, dst, Val { slot: a.base, imm: a.disp });
    } else if s == Size::B16 {
        let t = b.effective(Size::B16, a);
        b.mov(s, dst, t);
    } else {
        let t = b.effective(s, a);
        b.mov(s, dst, t);
    }
    Some(())
}

/// Changes a place by one binary operation: loads, stores, and only then writes flags.
pub(super) fn read_modify_write(
    b: &mut Builder,
    place: Place,
    size: Size,
    plain: Code,
    flagged: Option<Code>,
    rhs: Val,
) {
    match place {
        Place::Reg(r) => b.binary(flagged.unwrap_or(plain), r, r, rhs),
        Place::High(_) => {
            let t = read(b, place, size);
            let r = b.binary_temp(flagged.unwrap_or(plain), t, rhs);
            write(b, place, size, r);
        }
        Place::Mem(a) => {
            let t = b.load(size, a);
            let r = b.binary_temp(plain, t, rhs);
            b.store(size, a, r);
            if let Some(code) = flagged {
                b.binary_temp(code, t, rhs);
            }
        }
    }
}

fn alu(b: &mut Builder, insn: &Instruction, (plain, flagged): (Family, Family)) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = place(b, insn, 0)?;
    let rhs = value(b, insn, 1, s)?;
    read_modify_write(b, dst, s, plain[s as usize], Some(flagged[s as usize]), rhs);
    Some(())
}

fn compare(b: &mut Builder, insn: &Instruction, codes: Family) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = place(b, insn, 0)?;
    let a = read(b, dst, s);
    let rhs = value(b, insn, 1, s)?;
    b.compare(codes[s as usize], a, rhs);
    Some(())
}

fn inc_dec(b: &mut Builder, insn: &Instruction, plain: Family, flagged: Family) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = place(b, insn, 0)?;
    let code = flagged[s as usize];
    match dst {
        Place::Reg(r) => b.unary(code, r, r),
        Place::High(_) => {
            let t = read(b, dst, s);
            let r = b.unary_temp(code, t);
            write(b, dst, s, r);
        }
        Place::Mem(a) => {
            let t = b.load(s, a);
            let r = b.binary_temp(plain[s as usize], t, Val::constant(1));
            b.store(s, a, r);
            b.unary_temp(code, t);
        }
    }
    Some(())
}

fn neg(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = place(b, insn, 0)?;
    let t = read(b, dst, s);
    let (plain, flagged) = (SUB.0[s as usize], SUB.1[s as usize]);
    match dst {
        Place::Reg(r) => b.binary(flagged, r, Slot::ZERO, r),
        Place::High(_) => {
            let r = b.binary_temp(flagged, Slot::ZERO, t);
            write(b, dst, s, r);
        }
        Place::Mem(a) => {
            let r = b.binary_temp(plain, Slot::ZERO, t);
            b.store(s, a, r);
            b.binary_temp(flagged, Slot::ZERO, t);
        }
    }
    Some(())
}

fn extend(b: &mut Builder, insn: &Instruction, signed: bool) -> Option<()> {
    let (to, from) = (size(insn, 0)?, size(insn, 1)?);
    let dst = operand::gpr(insn.op0_register());
    let src = place(b, insn, 1)?;
    if !signed && let Place::Mem(a) = src {
        if to == Size::B16 {
            let t = b.load(from, a);
            b.mov(to, dst, t);
        } else {
            b.load_to(from, dst, a);
        }
        return Some(());
    }
    let t = read(b, src, from);
    let code = match (signed, from, to) {
        (false, Size::B8, _) => Code::Zx8,
        (false, Size::B16, _) => Code::Zx16,
        (true, Size::B8, Size::B16) => Code::Sx8To16,
        (true, Size::B8, Size::B32) => Code::Sx8To32,
        (true, Size::B8, Size::B64) => Code::Sx8To64,
        (true, Size::B16, Size::B32) => Code::Sx16To32,
        (true, Size::B16, Size::B64) => Code::Sx16To64,
        (true, Size::B32, Size::B64) => Code::Sx32To64,
        // movsxd and movsx to the size they come from are plain moves.
        _ => {
            b.mov(to, dst, t);
            return Some(());
        }
    };
    if to == Size::B16 && !signed {
        let t = b.unary_temp(code, t);
        b.mov(to, dst, t);
    } else {
        b.unary(code, dst, t);
    }
    Some(())
}

fn xchg(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let (mut p, mut q) = (place(b, insn, 0)?, place(b, insn, 1)?);
    if matches!(q, Place::Mem(_)) {
        std::mem::swap(&mut p, &mut q);
    }
    let from_p = read(b, p, s);
    let from_p = if matches!(p, Place::Reg(_)) {
        let t = b.temp();
        b.mov(Size::B64, t, from_p);
        t
    } else {
        from_p
    };
    let from_q = read(b, q, s);
    write(b, p, s, from_q);
    write(b, q, s, from_p);
    Some(())
}

fn xadd(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let (dst, src) = (place(b, insn, 0)?, place(b, insn, 1)?);
    let old = read(b, dst, s);
    let added = read(b, src, s);
    if let Place::Mem(a) = dst {
        let sum = b.binary_temp(ADD.0[s as usize], old, added);
        b.store(s, a, sum);
        b.binary_temp(ADD.1[s as usize], old, added);
        write(b, src, s, old);
    } else {
        let sum = b.binary_temp(ADD.1[s as usize], old, added);
        write(b, src, s, old);
        write(b, dst, s, sum);
    }
    Some(())
}

fn cmpxchg(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let (dst, src) = (place(b, insn, 0)?, place(b, insn, 1)?);
    let old = read(b, dst, s);
    let new = read(b, src, s);
    let equal = b.binary_temp(sized!(s, Eq8 Eq16 Eq32 Eq64), old, RAX);
    let stored = b.temp();
    b.select(stored, equal, new, old);
    let accumulator = b.temp();
    b.select(accumulator, equal, RAX, old);
    let code = sized!(s, CmpF8 CmpF16 CmpF32 CmpF64);
    // The destination is written even when it keeps its value, so a read-only page faults either way.
    if let Place::Mem(a) = dst {
        b.store(s, a, stored);
        b.compare(code, RAX, old);
        b.mov(s, RAX, accumulator);
    } else {
        b.compare(code, RAX, old);
        b.mov(s, RAX, accumulator);
        write(b, dst, s, stored);
    }
    Some(())
}

fn cmpxchg8b(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let a = addr(b, insn);
    let pair = |b: &mut Builder, low: usize, high: usize| {
        let high = b.binary_temp(Code::Shl64, Slot::gpr(high), Val::constant(32));
        let low_part = b.temp();
        b.mov(Size::B32, low_part, Slot::gpr(low));
        b.binary_temp(Code::Or64, high, low_part)
    };
    let old = b.load(Size::B64, a);
    let expected = pair(b, reg::RAX, reg::RDX);
    let new = pair(b, reg::RBX, reg::RCX);
    let equal = b.binary_temp(Code::Eq64, old, expected);
    let stored = b.temp();
    b.select(stored, equal, new, old);
    b.store(Size::B64, a, stored);
    b.flag_bit(Code::SetZf, equal);
    let high = b.binary_temp(Code::Shr64, old, Val::constant(32));
    // Equal means that both registers hold the old value already.
    b.mov(Size::B32, RAX, old);
    b.mov(Size::B32, RDX, high);
    Some(())
}

fn convert(b: &mut Builder, code: Code, size: Size) -> Option<()> {
    if size == Size::B16 {
        let t = b.unary_temp(code, RAX);
        b.mov(size, RAX, t);
    } else {
        b.unary(code, RAX, RAX);
    }
    Some(())
}

fn sign_into_dx(b: &mut Builder, size: Size) -> Option<()> {
    let code = sized!(size, Sar8 Sar16 Sar32 Sar64);
    let count = Val::constant(i64::from(size.bits()) - 1);
    b.binary(code, RDX, RAX, count);
    Some(())
}

fn set_cc(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let cond = condition(insn)?;
    let dst = place(b, insn, 0)?;
    if let Place::Reg(r) = dst {
        b.set(r, cond);
    } else {
        let t = b.temp();
        b.set(t, cond);
        write(b, dst, Size::B8, t);
    }
    Some(())
}

fn cmov(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let cond = condition(insn)?;
    // Memory is read whether or not the condition holds.
    let src = value(b, insn, 1, s)?;
    let src = b.slot(src);
    b.cond_move(s, operand::gpr(insn.op0_register()), cond, src);
    Some(())
}

fn xlat(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let al = b.unary_temp(Code::Zx8, RAX);
    let base = operand::gpr(insn.memory_base());
    let width = Size::from_bytes(insn.memory_base().size())?;
    let segment = operand::segment_base(b, insn.memory_segment());
    let t = b.effective(width, Addr { index: al, ..Addr::at(base, 0) });
    let t = b.load(Size::B8, Addr { segment, ..Addr::at(t, 0) });
    b.mov(Size::B8, RAX, t);
    Some(())
}
