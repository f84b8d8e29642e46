//! The intermediate representation: small, explicitly sized operations over guest registers and temporaries.
//!
//! A [`Block`] is a straight run of guest instructions ending in one explicit exit. It is what the interpreter runs and
//! what a code generator starts from. Temporaries never live across instructions, flags are written by operations of
//! their own codes (`addf` beside `add`), so that an optimiser can drop them where nobody looks.

mod block;
mod builder;
mod op;
mod optimise;
mod print;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use block::insn_of;
pub use block::{Block, Insn};
pub use builder::Segments;
pub(crate) use builder::{Addr, Builder, Val, sized};
pub use op::{Code, Cond, ExitReason, FlagUse, Form, Info, Op, Size, Slot, VSlot};
pub use optimise::{each_read, flag_use, may_trap, optimise};
pub use verify::{VerifyError, verify, written_slot, written_vector};
