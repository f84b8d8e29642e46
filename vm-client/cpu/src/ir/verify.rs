//! Checks what every block must keep to, whoever made it.
//!
//! - Exits: the last operation is the only one that leaves the block; instructions cover all operations in order.
//! - Slots: constants and segment bases are not written, temporaries are written before they are read, within one
//!   instruction.
//! - Precision: within an instruction nothing may trap after guest registers, flags or memory were changed, unless a
//!   check of the memory came first.

use std::fmt;

use super::optimise::{each_read, flag_use, may_trap};
use super::{Block, ExitReason, FlagUse, Form, Op, Slot, VSlot};
use crate::assist::{self, AssistId, Effects};

/// What is wrong with a block, and at which operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// Index of the operation.
    pub op: usize,
    /// The broken rule.
    pub what: &'static str,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}: {}", self.op, self.what)
    }
}

impl std::error::Error for VerifyError {}

/// Checks a block.
pub fn verify(block: &Block) -> Result<(), VerifyError> {
    let error = |op, what| Err(VerifyError { op, what });
    if block.insns.first().is_none_or(|i| i.first_op != 0 || i.offset != 0) {
        return error(0, "the first instruction does not begin at the start");
    }
    if block.insns.windows(2).any(|w| w[0].first_op > w[1].first_op || w[0].offset >= w[1].offset) {
        return error(0, "instructions are not in order");
    }
    match block.ops.iter().position(|op| op.code.is_exit()) {
        None => return error(block.ops.len(), "the block has no exit"),
        Some(i) if i + 1 != block.ops.len() => return error(i, "operations follow the exit"),
        Some(_) => {}
    }
    for insn in 0..block.insns.len() {
        let range = block.ops_of(insn);
        let mut state = InsnState::default();
        for index in range {
            let Some(op) = block.ops.get(index) else { return error(index, "an instruction begins behind the end") };
            state.step(op).map_err(|what| VerifyError { op: index, what })?;
        }
    }
    Ok(())
}

struct InsnState {
    written: [bool; 256],
    changed: bool,
    checked: bool,
}

impl Default for InsnState {
    fn default() -> Self {
        InsnState { written: [false; 256], changed: false, checked: false }
    }
}

impl InsnState {
    fn step(&mut self, op: &Op) -> Result<(), &'static str> {
        let form = op.code.info().form;
        let mut unwritten = false;
        let mut unknown = false;
        each_read(op, |slot| {
            unwritten |= Slot(slot).is_temp() && !self.written[usize::from(slot)];
            unknown |= (23..Slot::FIRST_TEMP).contains(&slot);
        });
        if unwritten {
            return Err("a temporary is read before it is written");
        }
        if unknown {
            return Err("a slot that means nothing is read");
        }
        let store = matches!(form, Form::Store | Form::StoreIndexed | Form::StoreImm | Form::VStore);
        // What ends in another code segment is no trap: everything before it is to stay.
        let transfers = form == Form::Assist && op.assist_number() == AssistId::Transfer as u16;
        if may_trap(op) && self.changed && !(store && self.checked) && !transfers {
            return Err("an operation may trap after the instruction changed something");
        }
        if form == Form::Check {
            self.checked = true;
        }
        if let Some(dst) = written_slot(op) {
            if (16..Slot::FIRST_TEMP).contains(&dst.0) {
                return Err("a slot that cannot be written is written");
            }
            self.written[usize::from(dst.0)] = true;
            self.changed |= !dst.is_temp();
        }
        if let Some(dst) = written_vector(op) {
            if dst.0 >= VSlot::COUNT {
                return Err("a vector slot that does not exist is written");
            }
            self.changed |= dst.0 < VSlot::FIRST_TEMP;
        }
        if form == Form::Assist {
            self.changed |= assist::row(op.assist_number()).effects.contains(Effects::CHANGES_STATE);
        }
        if form == Form::Fused {
            return Err("a fused operation is outside the interpreter");
        }
        if form == Form::Exit && ExitReason::ALL.get(usize::from(op.c)).is_none() {
            return Err("the reason to leave is unknown");
        }
        self.changed |= store || matches!(flag_use(op), FlagUse::Sets | FlagUse::Updates);
        Ok(())
    }
}

/// The integer slot that an operation writes.
pub fn written_slot(op: &Op) -> Option<Slot> {
    match op.code.info().form {
        Form::Move
        | Form::Binary
        | Form::Unary
        | Form::Double
        | Form::Select
        | Form::Set
        | Form::CondMove
        | Form::Load
        | Form::LoadIndexed
        | Form::Address
        | Form::VGet
        | Form::ReadFlags => Some(Slot(op.dst)),
        Form::Assist => assist::row(op.assist_number()).operands.starts_with('w').then_some(Slot(op.dst)),
        _ => None,
    }
}

/// The vector slot that an operation writes.
pub fn written_vector(op: &Op) -> Option<VSlot> {
    match op.code.info().form {
        Form::VMove | Form::VLoad | Form::VPut => Some(VSlot(op.dst)),
        Form::Assist => assist::row(op.assist_number()).operands.starts_with('v').then_some(VSlot(op.dst)),
        _ => None,
    }
}
