//! Shifts and rotates, single and double.

use iced_x86::{Instruction, Mnemonic};

use super::int::read_modify_write;
use super::operand::{Place, place, read, size, value, write};
use crate::ir::{Builder, Code, Size, sized};

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = size(insn, 0)?;
    let (plain, flagged) = match insn.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => (sized!(s, Shl8 Shl16 Shl32 Shl64), sized!(s, ShlF8 ShlF16 ShlF32 ShlF64)),
        Mnemonic::Shr => (sized!(s, Shr8 Shr16 Shr32 Shr64), sized!(s, ShrF8 ShrF16 ShrF32 ShrF64)),
        Mnemonic::Sar => (sized!(s, Sar8 Sar16 Sar32 Sar64), sized!(s, SarF8 SarF16 SarF32 SarF64)),
        Mnemonic::Rol => (sized!(s, Rol8 Rol16 Rol32 Rol64), sized!(s, RolF8 RolF16 RolF32 RolF64)),
        Mnemonic::Ror => (sized!(s, Ror8 Ror16 Ror32 Ror64), sized!(s, RorF8 RorF16 RorF32 RorF64)),
        Mnemonic::Rcl => (sized!(s, Rcl8 Rcl16 Rcl32 Rcl64), sized!(s, RclF8 RclF16 RclF32 RclF64)),
        Mnemonic::Rcr => (sized!(s, Rcr8 Rcr16 Rcr32 Rcr64), sized!(s, RcrF8 RcrF16 RcrF32 RcrF64)),
        Mnemonic::Shld => return double(b, insn, sized!(s, Shld16 Shld32 Shld64), sized!(s, ShldF16 ShldF32 ShldF64)),
        Mnemonic::Shrd => return double(b, insn, sized!(s, Shrd16 Shrd32 Shrd64), sized!(s, ShrdF16 ShrdF32 ShrdF64)),
        _ => return None,
    };
    let dst = place(b, insn, 0)?;
    let count = value(b, insn, 1, Size::B8)?;
    read_modify_write(b, dst, s, plain, Some(flagged), count);
    Some(())
}

fn double(b: &mut Builder, insn: &Instruction, plain: Code, flagged: Code) -> Option<()> {
    let s = size(insn, 0)?;
    let dst = place(b, insn, 0)?;
    let from = place(b, insn, 1)?;
    let from = read(b, from, s);
    let count = value(b, insn, 2, Size::B8)?;
    let old = read(b, dst, s);
    if let Place::Mem(a) = dst {
        let r = b.temp();
        b.double(plain, r, old, from, count);
        b.store(s, a, r);
        let unused = b.temp();
        b.double(flagged, unused, old, from, count);
    } else {
        let r = b.temp();
        b.double(flagged, r, old, from, count);
        write(b, dst, s, r);
    }
    Some(())
}
