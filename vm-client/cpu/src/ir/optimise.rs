//! Drops flags nobody reads and temporaries nobody uses, in one backward walk over a block.
//!
//! State must be exact wherever the block can be left, so every operation that may trap reads all flags, and so does the
//! end of the block.

use super::{Block, Code, FlagUse, Form, Op, Slot};
use crate::assist::{self, Effects};

/// Rewrites a block in place.
pub fn optimise(block: &mut Block) {
    let mut keep = vec![true; block.ops.len()];
    let mut flags_live = true;
    let mut live = [false; 256];
    for (op, keep) in block.ops.iter_mut().zip(&mut keep).rev() {
        if !flags_live && let Some(plain) = without_flags(op) {
            match plain {
                Some(code) => op.code = code,
                None => {
                    *keep = false;
                    continue;
                }
            }
        }
        if let Some(dst) = pure_temp(op)
            && !live[usize::from(dst.0)]
        {
            *keep = false;
            continue;
        }
        flags_live = match flag_use(op) {
            _ if may_trap(op) => true,
            FlagUse::None => flags_live,
            FlagUse::Sets => false,
            FlagUse::Reads | FlagUse::Updates => true,
        };
        // A temporary may be built up by 8- or 16-bit writes, so writes do not end its life.
        each_read(op, |slot| live[usize::from(slot)] = true);
    }
    if keep.iter().all(|&k| k) {
        return;
    }
    let mut kept_before = Vec::with_capacity(keep.len() + 1);
    let mut count = 0u16;
    for &k in &keep {
        kept_before.push(count);
        count += u16::from(k);
    }
    kept_before.push(count);
    for insn in &mut block.insns {
        insn.first_op = kept_before[usize::from(insn.first_op)];
    }
    let mut keep = keep.iter();
    block.ops.retain(|_| *keep.next().expect("one mark for each operation"));
}

/// What an operation does to flags, more exactly than the table of codes can say.
pub fn flag_use(op: &Op) -> FlagUse {
    match op.code {
        Code::Assist => {
            let effects = assist::row(op.assist_number()).effects;
            match (effects.contains(Effects::READS_FLAGS), effects.contains(Effects::WRITES_FLAGS)) {
                (false, false) => FlagUse::None,
                (true, false) => FlagUse::Reads,
                (false, true) if effects.contains(Effects::ALL_FLAGS) => FlagUse::Sets,
                _ => FlagUse::Updates,
            }
        }
        Code::ShlF8
        | Code::ShlF16
        | Code::ShlF32
        | Code::ShrF8
        | Code::ShrF16
        | Code::ShrF32
        | Code::SarF8
        | Code::SarF16
        | Code::SarF32
            if op.b == Slot::ZERO.0 && op.imm & 31 != 0 =>
        {
            FlagUse::Sets
        }
        _ => op.code.info().flags,
    }
}

/// Whether an operation can leave the block before it has done anything.
pub fn may_trap(op: &Op) -> bool {
    match op.code.info().form {
        Form::Load
        | Form::LoadIndexed
        | Form::Store
        | Form::StoreIndexed
        | Form::StoreImm
        | Form::Check
        | Form::VLoad
        | Form::VStore => true,
        Form::Assist => assist::row(op.assist_number()).effects.contains(Effects::TRAPS),
        _ => false,
    }
}

/// The same operation without its effect on flags: `Some(None)` when nothing is left of it.
fn without_flags(op: &Op) -> Option<Option<Code>> {
    macro_rules! table {
        ($($with:ident $without:ident),* $(,)?) => {
            match op.code {
                Code::CmpF8 | Code::CmpF16 | Code::CmpF32 | Code::CmpF64 => Some(None),
                Code::TestF8 | Code::TestF16 | Code::TestF32 | Code::TestF64 => Some(None),
                Code::SetCf | Code::SetZf => Some(None),
                $(Code::$with => Some(Some(Code::$without)),)*
                _ => None,
            }
        };
    }
    table! {
        AddF8 Add8, AddF16 Add16, AddF32 Add32, AddF64 Add64,
        SubF8 Sub8, SubF16 Sub16, SubF32 Sub32, SubF64 Sub64,
        AndF8 And8, AndF16 And16, AndF32 And32, AndF64 And64,
        OrF8 Or8, OrF16 Or16, OrF32 Or32, OrF64 Or64,
        XorF8 Xor8, XorF16 Xor16, XorF32 Xor32, XorF64 Xor64,
        AdcF8 Adc8, AdcF16 Adc16, AdcF32 Adc32, AdcF64 Adc64,
        SbbF8 Sbb8, SbbF16 Sbb16, SbbF32 Sbb32, SbbF64 Sbb64,
        ShlF8 Shl8, ShlF16 Shl16, ShlF32 Shl32, ShlF64 Shl64,
        ShrF8 Shr8, ShrF16 Shr16, ShrF32 Shr32, ShrF64 Shr64,
        SarF8 Sar8, SarF16 Sar16, SarF32 Sar32, SarF64 Sar64,
        RolF8 Rol8, RolF16 Rol16, RolF32 Rol32, RolF64 Rol64,
        RorF8 Ror8, RorF16 Ror16, RorF32 Ror32, RorF64 Ror64,
        RclF8 Rcl8, RclF16 Rcl16, RclF32 Rcl32, RclF64 Rcl64,
        RcrF8 Rcr8, RcrF16 Rcr16, RcrF32 Rcr32, RcrF64 Rcr64,
        MulF16 Mul16, MulF32 Mul32, MulF64 Mul64,
        ShldF16 Shld16, ShldF32 Shld32, ShldF64 Shld64,
        ShrdF16 Shrd16, ShrdF32 Shrd32, ShrdF64 Shrd64,
    }
}

/// The temporary an operation writes, if that is all it does.
fn pure_temp(op: &Op) -> Option<Slot> {
    let info = op.code.info();
    let pure = matches!(
        info.form,
        Form::Move
            | Form::Binary
            | Form::Unary
            | Form::Double
            | Form::Select
            | Form::Set
            | Form::CondMove
            | Form::Address
            | Form::VGet
            | Form::ReadFlags
    ) && matches!(info.flags, FlagUse::None | FlagUse::Reads);
    (pure && Slot(op.dst).is_temp()).then_some(Slot(op.dst))
}

/// Calls `f` with each slot an operation reads (vector slots are not told).
pub fn each_read(op: &Op, mut f: impl FnMut(u8)) {
    match op.code.info().form {
        Form::Move => f(op.b),
        Form::Binary | Form::Compare => {
            f(op.a);
            f(op.b);
        }
        Form::Unary | Form::VPut | Form::WriteFlags | Form::FlagBit | Form::JumpReg | Form::BranchReg => f(op.a),
        Form::Double | Form::Select => {
            f(op.a);
            f(op.b);
            f(op.c);
        }
        Form::CondMove => {
            f(op.a);
            f(op.dst);
        }
        Form::Load => f(op.a),
        Form::Store => {
            f(op.a);
            f(op.dst);
        }
        Form::LoadIndexed | Form::StoreImm | Form::Check | Form::VLoad | Form::VStore | Form::Address => {
            f(op.a);
            f(op.b);
            f(op.d);
        }
        Form::StoreIndexed => {
            f(op.a);
            f(op.b);
            f(op.d);
            f(op.dst);
        }
        Form::Assist => {
            let row = assist::row(op.assist_number());
            for (kind, field) in row.operands.bytes().zip([op.dst, op.a, op.b, op.c]) {
                if kind == b'r' {
                    f(field);
                }
            }
        }
        Form::Set
        | Form::VMove
        | Form::VGet
        | Form::ReadFlags
        | Form::Jump
        | Form::Branch
        | Form::Exit
        | Form::Fused => {}
    }
}
