//! x87 instructions: each is one call of the x87 assist.

use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register};

use super::operand::addr;
use crate::assist::{AssistId, X87};
use crate::ir::{Builder, Slot};

/// Numbers of the operations that share encodings.
fn operation(mnemonic: Mnemonic) -> Option<u8> {
    Some(match mnemonic {
        Mnemonic::Fadd | Mnemonic::Faddp | Mnemonic::Fiadd => 0,
        Mnemonic::Fmul | Mnemonic::Fmulp | Mnemonic::Fimul => 1,
        Mnemonic::Fcom | Mnemonic::Ficom => 2,
        Mnemonic::Fcomp | Mnemonic::Ficomp => 3,
        Mnemonic::Fsub | Mnemonic::Fsubp | Mnemonic::Fisub => 4,
        Mnemonic::Fsubr | Mnemonic::Fsubrp | Mnemonic::Fisubr => 5,
        Mnemonic::Fdiv | Mnemonic::Fdivp | Mnemonic::Fidiv => 6,
        Mnemonic::Fdivr | Mnemonic::Fdivrp | Mnemonic::Fidivr => 7,
        _ => return None,
    })
}

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let in_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
    let (what, c) = if in_memory { with_memory(insn)? } else { with_registers(insn)? };
    let address = if in_memory {
        let a = addr(b, insn);
        b.linear(a)
    } else {
        Slot::ZERO
    };
    let id = match what {
        X87::CompareFlags | X87::CompareFlagsPop | X87::UnorderedFlags | X87::UnorderedFlagsPop => AssistId::X87Flags,
        X87::ConditionalMove => AssistId::X87Condition,
        X87::StatusToAx => AssistId::X87Register,
        _ => AssistId::X87,
    };
    let ip = b.ip() as i64;
    b.assist(id, [Slot::ZERO.0, address.0, what as u8, c], ip);
    Some(())
}

fn with_memory(insn: &Instruction) -> Option<(X87, u8)> {
    let size = insn.memory_size();
    if let Some(operation) = operation(insn.mnemonic()) {
        let what = match size {
            MemorySize::Float32 => X87::WithF32,
            MemorySize::Float64 => X87::WithF64,
            MemorySize::Int16 => X87::WithI16,
            MemorySize::Int32 => X87::WithI32,
            _ => return None,
        };
        return Some((what, operation << 3));
    }
    let what = match (insn.mnemonic(), size) {
        (Mnemonic::Fld, MemorySize::Float32) => X87::LoadF32,
        (Mnemonic::Fld, MemorySize::Float64) => X87::LoadF64,
        (Mnemonic::Fld, _) => X87::LoadF80,
        (Mnemonic::Fild, MemorySize::Int16) => X87::LoadI16,
        (Mnemonic::Fild, MemorySize::Int32) => X87::LoadI32,
        (Mnemonic::Fild, _) => X87::LoadI64,
        (Mnemonic::Fbld, _) => X87::LoadBcd,
        (Mnemonic::Fst | Mnemonic::Fstp, MemorySize::Float32) => X87::StoreF32,
        (Mnemonic::Fst | Mnemonic::Fstp, MemorySize::Float64) => X87::StoreF64,
        (Mnemonic::Fstp, _) => X87::StoreF80,
        (Mnemonic::Fist | Mnemonic::Fistp, MemorySize::Int16) => X87::StoreI16,
        (Mnemonic::Fist | Mnemonic::Fistp, MemorySize::Int32) => X87::StoreI32,
        (Mnemonic::Fistp, _) => X87::StoreI64,
        (Mnemonic::Fisttp, MemorySize::Int16) => X87::TruncateI16,
        (Mnemonic::Fisttp, MemorySize::Int32) => X87::TruncateI32,
        (Mnemonic::Fisttp, _) => X87::TruncateI64,
        (Mnemonic::Fbstp, _) => X87::StoreBcd,
        (Mnemonic::Fldcw, _) => X87::LoadControl,
        (Mnemonic::Fnstcw, _) => X87::StoreControl,
        (Mnemonic::Fnstsw, _) => X87::StoreStatus,
        (Mnemonic::Fldenv, MemorySize::FpuEnv28) => X87::LoadEnvironment,
        (Mnemonic::Fldenv, _) => X87::LoadEnvironment16,
        (Mnemonic::Fnstenv, MemorySize::FpuEnv28) => X87::StoreEnvironment,
        (Mnemonic::Fnstenv, _) => X87::StoreEnvironment16,
        (Mnemonic::Fnsave, MemorySize::FpuState108) => X87::Save,
        (Mnemonic::Fnsave, _) => X87::Save16,
        (Mnemonic::Frstor, MemorySize::FpuState108) => X87::Restore,
        (Mnemonic::Frstor, _) => X87::Restore16,
        _ => return None,
    };
    let pops = matches!(insn.mnemonic(), Mnemonic::Fstp | Mnemonic::Fistp | Mnemonic::Fisttp | Mnemonic::Fbstp);
    Some((what, u8::from(pops)))
}

/// The number of the stack register among the operands that is not ST(0), if there is one.
fn register(insn: &Instruction) -> u8 {
    (0..insn.op_count())
        .filter(|&n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_st())
        .map(|n| insn.op_register(n).number() as u8)
        .find(|&i| i != 0)
        .unwrap_or(0)
}

fn with_registers(insn: &Instruction) -> Option<(X87, u8)> {
    let i = register(insn);
    let mnemonic = insn.mnemonic();
    if let Some(operation) = operation(mnemonic) {
        let pops = matches!(
            mnemonic,
            Mnemonic::Faddp | Mnemonic::Fmulp | Mnemonic::Fsubp | Mnemonic::Fsubrp | Mnemonic::Fdivp | Mnemonic::Fdivrp
        );
        let what = match (pops, insn.op0_register()) {
            (true, _) => X87::ToStPop,
            (false, Register::ST0) => X87::WithSt,
            (false, _) => X87::ToSt,
        };
        return Some((what, operation << 3 | i));
    }
    let condition = |number: u8| (X87::ConditionalMove, number << 3 | i);
    Some(match mnemonic {
        Mnemonic::Fld => (X87::LoadSt, i),
        Mnemonic::Fld1 => (X87::LoadConstant, 0),
        Mnemonic::Fldl2t => (X87::LoadConstant, 1),
        Mnemonic::Fldl2e => (X87::LoadConstant, 2),
        Mnemonic::Fldpi => (X87::LoadConstant, 3),
        Mnemonic::Fldlg2 => (X87::LoadConstant, 4),
        Mnemonic::Fldln2 => (X87::LoadConstant, 5),
        Mnemonic::Fldz => (X87::LoadConstant, 6),
        Mnemonic::Fst => (X87::StoreSt, i),
        Mnemonic::Fstp | Mnemonic::Fstpnce => (X87::StoreStPop, i),
        Mnemonic::Fxch => (X87::Exchange, i),
        Mnemonic::Fcompp => (X87::CompareTwicePop, 1),
        Mnemonic::Fucom => (X87::Unordered, i),
        Mnemonic::Fucomp => (X87::UnorderedPop, i),
        Mnemonic::Fucompp => (X87::UnorderedTwicePop, 1),
        Mnemonic::Fcomi => (X87::CompareFlags, i),
        Mnemonic::Fcomip => (X87::CompareFlagsPop, i),
        Mnemonic::Fucomi => (X87::UnorderedFlags, i),
        Mnemonic::Fucomip => (X87::UnorderedFlagsPop, i),
        Mnemonic::Ftst => (X87::Test, 0),
        Mnemonic::Fxam => (X87::Examine, 0),
        Mnemonic::Fchs => (X87::ChangeSign, 0),
        Mnemonic::Fabs => (X87::Absolute, 0),
        Mnemonic::Fsqrt => (X87::SquareRoot, 0),
        Mnemonic::Frndint => (X87::RoundInt, 0),
        Mnemonic::F2xm1 => (X87::TwoToXMinusOne, 0),
        Mnemonic::Fsin => (X87::Sine, 0),
        Mnemonic::Fcos => (X87::Cosine, 0),
        Mnemonic::Fsincos => (X87::SineCosine, 0),
        Mnemonic::Fptan => (X87::Tangent, 0),
        Mnemonic::Fpatan => (X87::ArcTangent, 0),
        Mnemonic::Fyl2x => (X87::YLog2X, 0),
        Mnemonic::Fyl2xp1 => (X87::YLog2X1, 0),
        Mnemonic::Fprem => (X87::Remainder, 0),
        Mnemonic::Fprem1 => (X87::Remainder1, 0),
        Mnemonic::Fscale => (X87::Scale, 0),
        Mnemonic::Fxtract => (X87::Extract, 0),
        Mnemonic::Fcmovb => condition(2),
        Mnemonic::Fcmovnb => condition(3),
        Mnemonic::Fcmove => condition(4),
        Mnemonic::Fcmovne => condition(5),
        Mnemonic::Fcmovbe => condition(6),
        Mnemonic::Fcmovnbe => condition(7),
        Mnemonic::Fcmovu => condition(10),
        Mnemonic::Fcmovnu => condition(11),
        Mnemonic::Fninit => (X87::Init, 0),
        Mnemonic::Fnclex => (X87::ClearExceptions, 0),
        Mnemonic::Wait => (X87::Wait, 0),
        Mnemonic::Fnstsw => (X87::StatusToAx, 0),
        Mnemonic::Ffree => (X87::Free, i),
        Mnemonic::Ffreep => (X87::FreePop, i),
        Mnemonic::Fincstp => (X87::IncrementTop, 0),
        Mnemonic::Fdecstp => (X87::DecrementTop, 0),
        // The 8087's and 80287's own control instructions do nothing.
        Mnemonic::Fnop | Mnemonic::Fneni | Mnemonic::Fndisi | Mnemonic::Fnsetpm => (X87::Nop, 0),
        Mnemonic::Emms => (X87::Emms, 0),
        _ => return None,
    })
}
