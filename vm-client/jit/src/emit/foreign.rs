//! What generated code leaves to functions of `vm-cpu`: assists, and operations that are not worth emitting.

use vm_cpu::assist::{self, AssistId, Effects};
use vm_cpu::ir::{Op, Slot, VSlot, each_read, written_slot};
use wasm_encoder::ValType;

use super::stack::meets_stack;
use super::{Emitter, STOPPED, Why, local, state_offset};
use crate::host::Request;

impl Emitter<'_> {
    /// Calls an assist.
    pub(super) fn assist(&mut self, op: &Op) {
        if self.wide(op) || self.vector_assist(op) || self.x87(op) {
            return;
        }
        if meets_stack(op) {
            self.stack_to_memory();
        }
        match assist::block_move(op) {
            Some(what) => self.block_move(op, what),
            None => self.call_assist_with_state(op),
        }
    }

    /// Calls an assist with whatever it looks at in memory.
    pub(super) fn call_assist_with_state(&mut self, op: &Op) {
        let row = assist::row(op.assist_number());
        let does = |effects| Self::assist_does(op, effects);
        // What moves blocks looks at the direction only.
        if (does(Effects::READS_FLAGS) || does(Effects::WRITES_FLAGS)) && assist::block_move(op).is_none() {
            self.sync_flags();
        }
        let registers = does(Effects::REGISTERS);
        if registers {
            self.spill();
            self.spill_fuel();
        }
        let number = op.assist_number();
        let all_vectors = number == AssistId::Fxsave as u16 || number == AssistId::Fxrstor as u16;
        if all_vectors {
            self.spill_vectors();
        }
        each_read(op, |slot| self.store_operand(slot, !registers));
        if row.operands.starts_with('w') {
            // Some write only under a condition, as LAR does.
            self.store_operand(op.dst, !registers);
        }
        self.vectors_to_memory(op, row.operands);
        let number = self.numbers.operation(*op);
        self.w().i32_const(Request::Assist as i32).i32_const(number as i32).i32_const(0);
        self.request();
        self.refused(does(Effects::TRAPS), does(Effects::MEMORY), registers);
        if registers {
            self.reload_general();
            self.reload_fuel();
        }
        if all_vectors {
            self.reload_vectors();
        }
        if does(Effects::CHANGES_STATE) {
            self.reload_mxcsr();
        }
        if row.operands.starts_with('w') {
            self.load_result(op.dst);
        }
        self.vectors_from_memory(op, row.operands);
    }

    /// Has the interpreter do an operation.
    pub(super) fn foreign(&mut self, op: &Op) {
        if op.code.info().flags != vm_cpu::ir::FlagUse::None {
            self.sync_flags();
        }
        each_read(op, |slot| self.store_operand(slot, true));
        if let Some(slot) = written_slot(op) {
            // A part may be kept.
            self.store_operand(slot.0, true);
        }
        let number = self.numbers.operation(*op);
        self.w().i32_const(Request::Operation as i32).i32_const(number as i32).i32_const(0);
        self.request();
        self.refused(true, false, false);
        if let Some(slot) = written_slot(op) {
            self.load_result(slot.0);
        }
    }

    /// Stores an operand where assists look for it. Registers only if they are not there already.
    fn store_operand(&mut self, slot: u8, registers: bool) {
        if slot == Slot::ZERO.0 {
            return;
        }
        let at = self.slot_at(slot);
        if self.register(slot).is_some() {
            if registers {
                self.spill_one(slot);
            }
        } else if let Some(&ty) = self.temps.get(&slot) {
            self.w().i32_const(0);
            self.get64(slot);
            debug_assert!(matches!(ty, ValType::I32 | ValType::I64));
            self.w().i64_store(at);
        }
    }

    /// Loads what was written to a slot.
    fn load_result(&mut self, slot: u8) {
        let at = self.slot_at(slot);
        self.w().i32_const(0);
        if self.register(slot).is_some() {
            self.w().i32_load(at);
            self.set32(slot);
        } else {
            self.w().i64_load(at);
            self.set64(slot);
        }
    }

    /// With the answer of a request on the stack: stops if it failed, or notes that code was changed.
    fn refused(&mut self, traps: bool, changes_code: bool, in_memory: bool) {
        if !traps && !changes_code {
            self.w().drop();
            return;
        }
        if changes_code {
            self.w().local_tee(local::HOW);
            self.may_leave = true;
            self.w().i32_const(1).i32_eq();
        }
        self.open_unlikely_if();
        if in_memory {
            // What has been done so far counts: memory is newer than the locals.
            let exit = self.exit_here(Why::Refused { stores_back: false });
            let (at, region) = (self.state_at(state_offset::EXIT), self.state_at(state_offset::REGION));
            let id = self.id as i32;
            self.w().i32_const(0).i32_const(exit as i32).i32_store(at);
            self.w().i32_const(0).i32_const(id).i32_store(region);
            self.sync_copy();
            self.w().i32_const(STOPPED as i32).return_();
        } else {
            self.stop(Why::Refused { stores_back: false });
        }
        self.close();
    }

    /// Brings the flags into memory on a way that ends here.
    fn sync_copy(&mut self) {
        let flags = self.flags;
        self.sync_flags();
        self.flags = flags;
    }

    /// Stores all operands of an assist that works on vectors and memory of its own.
    pub(super) fn operands_to_memory(&mut self, op: &Op, operands: &str) {
        each_read(op, |slot| self.store_operand(slot, true));
        self.vectors_to_memory(op, operands);
    }

    fn vectors_to_memory(&mut self, op: &Op, operands: &str) {
        for (kind, slot) in operands.bytes().zip([op.dst, op.a, op.b, op.c]).skip(1) {
            if kind == b'v' {
                self.vector_to_memory(VSlot(slot));
            }
        }
    }

    fn vectors_from_memory(&mut self, op: &Op, operands: &str) {
        if operands.starts_with('v') {
            self.vector_from_memory(VSlot(op.dst));
        }
    }
}
