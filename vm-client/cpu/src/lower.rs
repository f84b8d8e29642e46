//! Lowers decoded instructions to IR: the one place that says what an instruction means.
//!
//! Each file covers a family; its `lower` returns `None` for instructions that are not its own. An instruction that may
//! fault does so before its first change: loads first, then stores, then registers and flags.

mod bcd;
mod bits;
mod branch;
mod fpu;
mod int;
mod mmx;
mod muldiv;
mod operand;
mod shift;
mod sse;
mod stack;
mod string;
mod system;

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, Register};

use crate::Mode;
use crate::ir::{Builder, ExitReason};

/// A lowering: emits an instruction or declines it.
type Lower = fn(&mut Builder, &Instruction) -> Option<()>;

/// The families, the most frequent first.
const FAMILIES: &[Lower] = &[
    int::lower,
    stack::lower,
    branch::lower,
    shift::lower,
    bits::lower,
    muldiv::lower,
    string::lower,
    bcd::lower,
    system::lower,
    sse::lower,
    fpu::lower,
    mmx::lower,
];

/// Emits one instruction; `None` if it is not known, with nothing emitted.
pub(crate) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    for family in FAMILIES {
        if family(b, insn).is_some() {
            if b.is_refused() || writes_code_segment(b, insn) {
                b.abandon_insn();
                b.leave(ExitReason::Protection);
            }
            return Some(());
        }
        b.abandon_insn();
    }
    None
}

/// Whether the instruction stores through CS, which no protected-mode code may.
fn writes_code_segment(b: &Builder, insn: &Instruction) -> bool {
    if insn.memory_segment() != Register::CS || b.mode() != Mode::I386 || insn.op_count() == 0 {
        return false;
    }
    InstructionInfoFactory::new().info(insn).used_memory().iter().any(|m| {
        let writes =
            matches!(m.access(), OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite);
        m.segment() == Register::CS && writes
    })
}
