//! SSE: vectors live in memory, in `Core::vec`; what WebAssembly has the same operation for is done here.

use vm_cpu::ir::{Code, Op, VSlot};

use super::Emitter;

impl Emitter<'_> {
    /// Pushes a vector.
    pub(super) fn get_vector(&mut self, slot: VSlot) {
        let at = self.vector_at(slot.0);
        self.w().i32_const(0).v128_load(at);
    }

    /// Pops a vector into its slot.
    pub(super) fn set_vector(&mut self, slot: VSlot) {
        let at = self.vector_at(slot.0);
        let scratch = self.vector_scratch();
        self.w().local_set(scratch).i32_const(0).local_get(scratch).v128_store(at);
    }

    fn vector_scratch(&mut self) -> u32 {
        self.temp_local(0, wasm_encoder::ValType::V128)
    }

    /// Brings memory up to date with a vector.
    pub(super) fn vector_to_memory(&mut self, _slot: VSlot) {}

    /// Takes a vector over from memory.
    pub(super) fn vector_from_memory(&mut self, _slot: VSlot) {}

    /// Emits an assist on vectors, if there are instructions for it.
    pub(super) fn vector_assist(&mut self, _op: &Op) -> bool {
        false
    }

    /// Moves of vectors; anything else is left to the interpreter.
    pub(super) fn vector_or_foreign(&mut self, op: &Op) {
        let (dst, a) = (VSlot(op.dst), VSlot(op.a));
        match op.code {
            Code::VMov => {
                self.get_vector(a);
                self.set_vector(dst);
            }
            Code::VLoad8 => self.vector_load(op, 1, false),
            Code::VLoad16 => self.vector_load(op, 2, false),
            Code::VLoad32 => self.vector_load(op, 4, false),
            Code::VLoad64 => self.vector_load(op, 8, false),
            Code::VLoad128 => self.vector_load(op, 16, false),
            Code::VLoadA128 => self.vector_load(op, 16, true),
            Code::VStore32 => self.vector_store(op, 4, false),
            Code::VStore64 => self.vector_store(op, 8, false),
            Code::VStore128 => self.vector_store(op, 16, false),
            Code::VStoreA128 => self.vector_store(op, 16, true),
            Code::VGet32 => {
                self.get_vector(a);
                self.w().i32x4_extract_lane(0);
                self.set32(op.dst);
            }
            Code::VGet64 => {
                self.get_vector(a);
                self.w().i64x2_extract_lane(0);
                self.set64(op.dst);
            }
            Code::VGetHi64 => {
                self.get_vector(a);
                self.w().i64x2_extract_lane(1);
                self.set64(op.dst);
            }
            Code::VPut32 => {
                self.w().v128_const(0);
                self.get32(op.a);
                self.w().i32x4_replace_lane(0);
                self.set_vector(dst);
            }
            Code::VPut64 => {
                self.w().v128_const(0);
                self.get64(op.a);
                self.w().i64x2_replace_lane(0);
                self.set_vector(dst);
            }
            _ => self.foreign(op),
        }
    }
}
