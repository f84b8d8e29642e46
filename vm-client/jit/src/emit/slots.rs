//! Registers and temporaries as locals, and what memory has of them.

use std::mem::offset_of;

use vm_cpu::Core;
use vm_cpu::flags::Flags;
use vm_cpu::ir::{Op, Size, Slot, VSlot};
use wasm_encoder::{InstructionSink, MemArg, ValType};

use super::dirty::Dirty;
use super::{Emitter, local};

impl Emitter<'_> {
    pub(super) fn new_local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        self.locals.len() as u32
    }

    pub(super) fn w(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    pub(super) fn const32(&mut self, value: u32) {
        self.w().i32_const(value as i32);
    }

    // ---- memory of our own ----

    pub(super) fn at(&self, address: u32, align: u32) -> MemArg {
        MemArg { offset: u64::from(address), align, memory_index: 0 }
    }

    pub(super) fn state_at(&self, offset: usize) -> MemArg {
        self.at(self.config.state + offset as u32, 2)
    }

    pub(super) fn rip_at(&self) -> MemArg {
        self.at(self.config.core + offset_of!(Core, rip) as u32, 2)
    }

    pub(super) fn fuel_at(&self) -> MemArg {
        self.at(self.config.core + offset_of!(Core, fuel) as u32, 3)
    }

    pub(super) fn slot_at(&self, slot: u8) -> MemArg {
        self.at(self.config.core + offset_of!(Core, regs) as u32 + 8 * u32::from(slot), 2)
    }

    /// The flags that arithmetic does not write.
    pub(super) fn other_flags_at(&self) -> MemArg {
        self.at(self.config.core + (offset_of!(Core, flags) + offset_of!(Flags, rest)) as u32, 2)
    }

    pub(super) fn mxcsr_at(&self) -> MemArg {
        self.at(self.config.core + offset_of!(Core, mxcsr) as u32, 2)
    }

    pub(super) fn vector_at(&self, slot: u8) -> MemArg {
        self.at(self.config.core + offset_of!(Core, vec) as u32 + 16 * u32::from(slot & 31), 3)
    }

    /// Loads a word of the state.
    pub(super) fn load_state(&mut self, offset: usize) {
        let at = self.state_at(offset);
        self.w().i32_const(0).i32_load(at);
    }

    // ---- slots ----

    /// Pushes the low 32 bits of a slot.
    pub(super) fn get32(&mut self, slot: u8) {
        if slot == Slot::ZERO.0 {
            self.w().i32_const(0);
        } else if let Some(local) = self.register(slot) {
            self.w().local_get(local);
        } else {
            match self.temps.get(&slot).copied() {
                Some(ValType::I64) => {
                    let local = self.temp_local(slot, ValType::I64);
                    self.w().local_get(local).i32_wrap_i64();
                }
                _ => {
                    let local = self.temp_local(slot, ValType::I32);
                    self.w().local_get(local);
                }
            }
        }
    }

    /// Pushes all 64 bits of a slot.
    pub(super) fn get64(&mut self, slot: u8) {
        if slot == Slot::ZERO.0 {
            self.w().i64_const(0);
        } else if self.temps.get(&slot) == Some(&ValType::I64) {
            let local = self.temp_local(slot, ValType::I64);
            self.w().local_get(local);
        } else {
            self.get32(slot);
            self.w().i64_extend_i32_u();
        }
    }

    pub(super) fn register(&self, slot: u8) -> Option<u32> {
        self.registers.get(usize::from(slot)).copied().flatten()
    }

    pub(super) fn temp_local(&mut self, slot: u8, ty: ValType) -> u32 {
        if let Some(&local) = self.temp_locals.get(&(slot, ty)) {
            return local;
        }
        let local = self.new_local(ty);
        self.temp_locals.insert((slot, ty), local);
        local
    }

    /// Pops a 32-bit value into a slot, all of it.
    pub(super) fn set32(&mut self, slot: u8) {
        let local = match self.register(slot) {
            Some(local) => local,
            None => {
                self.temps.insert(slot, ValType::I32);
                self.temp_local(slot, ValType::I32)
            }
        };
        self.w().local_set(local);
    }

    /// Pops a 64-bit value into a slot.
    pub(super) fn set64(&mut self, slot: u8) {
        if let Some(local) = self.register(slot) {
            self.w().i32_wrap_i64().local_set(local);
        } else {
            self.temps.insert(slot, ValType::I64);
            let local = self.temp_local(slot, ValType::I64);
            self.w().local_set(local);
        }
    }

    /// Pops a 32-bit value into the low bits of a slot, as many as the size says.
    pub(super) fn put(&mut self, slot: u8, size: Size) {
        let mask = match size {
            Size::B8 => 0xff,
            Size::B16 => 0xffff,
            Size::B32 | Size::B64 => return self.set32(slot),
        };
        match self.register(slot) {
            Some(local) => {
                self.w()
                    .i32_const(mask)
                    .i32_and()
                    .local_get(local)
                    .i32_const(!mask)
                    .i32_and()
                    .i32_or()
                    .local_set(local);
            }
            // Nobody looks above the size of a temporary.
            None => {
                self.w().i32_const(mask).i32_and();
                self.set32(slot);
            }
        }
    }

    /// Pushes the second operand of an operation, 32 bits.
    pub(super) fn second32(&mut self, op: &Op) {
        if op.b == Slot::ZERO.0 {
            self.w().i32_const(op.imm as i32);
            return;
        }
        self.get32(op.b);
        if op.imm as i32 != 0 {
            self.w().i32_const(op.imm as i32).i32_add();
        }
    }

    /// Pushes the second operand, 64 bits.
    pub(super) fn second64(&mut self, op: &Op) {
        if op.b == Slot::ZERO.0 {
            self.w().i64_const(op.imm);
            return;
        }
        self.get64(op.b);
        if op.imm != 0 {
            self.w().i64_const(op.imm).i64_add();
        }
    }

    // ---- what memory has of the registers ----

    /// Stores one register.
    pub(super) fn spill_one(&mut self, slot: u8) {
        if let Some(local) = self.register(slot) {
            let at = self.slot_at(slot);
            self.w().i32_const(0).local_get(local).i32_store(at);
        }
    }

    /// Stores the registers that may have changed.
    pub(super) fn spill(&mut self) {
        self.spill_vectors();
        self.spill_general();
    }

    /// Stores the registers that may have changed when a node ends.
    pub(super) fn spill_at_end(&mut self, node: usize) {
        let Dirty { general, vectors } = self.dirty[node];
        for slot in (0..8).filter(|slot| vectors >> slot & 1 != 0) {
            self.vector_to_memory(VSlot(slot));
        }
        for slot in (0..8).filter(|slot| general >> slot & 1 != 0) {
            self.spill_one(slot);
        }
    }

    /// Stores the general registers that may have changed.
    pub(super) fn spill_general(&mut self) {
        for slot in 0..8 {
            if self.written >> slot & 1 != 0 {
                self.spill_one(slot);
            }
        }
    }

    /// Loads all registers.
    pub(super) fn reload(&mut self) {
        self.reload_vectors();
        self.reload_general();
    }

    /// Loads the general registers.
    pub(super) fn reload_general(&mut self) {
        for slot in 0..32 {
            if let Some(local) = self.register(slot) {
                let at = self.slot_at(slot);
                self.w().i32_const(0).i32_load(at).local_set(local);
            }
        }
    }

    pub(super) fn spill_fuel(&mut self) {
        let at = self.fuel_at();
        self.w().i32_const(0).local_get(local::FUEL).i64_store(at);
    }

    pub(super) fn reload_fuel(&mut self) {
        let at = self.fuel_at();
        self.w().i32_const(0).i64_load(at).local_set(local::FUEL);
    }
}
