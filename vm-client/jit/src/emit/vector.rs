//! SSE registers and integer operations on vectors, most of which are one or two instructions of WebAssembly.

use vm_cpu::assist::{AssistId, Vector};
use vm_cpu::ir::{Code, Op, VSlot};
use wasm_encoder::ValType;

use super::Emitter;

impl Emitter<'_> {
    fn vector_local(&mut self, slot: VSlot) -> u32 {
        let index = usize::from(slot.0 & 31);
        if let Some(local) = self.vectors[index] {
            return local;
        }
        let local = self.new_local(ValType::V128);
        self.vectors[index] = Some(local);
        local
    }

    /// Pushes a vector.
    pub(super) fn get_vector(&mut self, slot: VSlot) {
        let local = self.vector_local(slot);
        self.w().local_get(local);
    }

    /// Pops a vector into its slot.
    pub(super) fn set_vector(&mut self, slot: VSlot) {
        let local = self.vector_local(slot);
        self.w().local_set(local);
        self.plain[usize::from(slot.0 & 31)] = 0;
    }

    /// A vector local for intermediate results, by number.
    pub(super) fn vector_scratch(&mut self, number: u8) -> u32 {
        self.temp_local(number, ValType::V128)
    }

    /// Brings memory up to date with a vector.
    pub(super) fn vector_to_memory(&mut self, slot: VSlot) {
        let (local, at) = (self.vector_local(slot), self.vector_at(slot.0));
        self.w().i32_const(0).local_get(local).v128_store(at);
    }

    /// Takes a vector over from memory.
    pub(super) fn vector_from_memory(&mut self, slot: VSlot) {
        let at = self.vector_at(slot.0);
        self.w().i32_const(0).v128_load(at);
        self.set_vector(slot);
    }

    /// Stores the SSE registers that may have changed.
    pub(super) fn spill_vectors(&mut self) {
        for slot in 0..8 {
            if self.vectors_written >> slot & 1 != 0 {
                self.vector_to_memory(VSlot(slot));
            }
        }
    }

    /// Loads the SSE registers that are used.
    pub(super) fn reload_vectors(&mut self) {
        for slot in 0..8 {
            if self.vectors_used >> slot & 1 != 0 {
                self.vector_from_memory(VSlot(slot));
            }
        }
    }

    /// Moves of vectors; anything else is left to the interpreter.
    pub(super) fn vector_or_foreign(&mut self, op: &Op) {
        let (dst, a) = (VSlot(op.dst), VSlot(op.a));
        match op.code {
            Code::VMov => {
                self.get_vector(a);
                self.set_vector(dst);
                self.plain[usize::from(dst.0 & 31)] = self.plain[usize::from(a.0 & 31)];
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

    /// Emits an assist on vectors, if there are instructions for it.
    pub(super) fn vector_assist(&mut self, op: &Op) -> bool {
        let number = op.assist_number();
        let is = |id: AssistId| number == id as u16;
        let (dst, a, b) = (VSlot(op.dst), VSlot(op.a), VSlot(op.b));
        if is(AssistId::Vector) {
            return Vector::from_number(op.c).is_some_and(|what| self.integer_vector(op, what));
        }
        if is(AssistId::SignMask) {
            self.get_vector(b);
            match op.c {
                1 => self.w().i8x16_bitmask(),
                4 => self.w().i32x4_bitmask(),
                _ => self.w().i64x2_bitmask(),
            };
            self.set32(op.dst);
            return true;
        }
        if is(AssistId::Extract) {
            let lane = op.imm as u8 & (16 / op.c.max(1)).wrapping_sub(1);
            self.get_vector(b);
            match op.c {
                1 => self.w().i8x16_extract_lane_u(lane),
                2 => self.w().i16x8_extract_lane_u(lane),
                4 => self.w().i32x4_extract_lane(lane),
                _ => self.w().i64x2_extract_lane(lane),
            };
            if op.c == 8 {
                self.set64(op.dst)
            } else {
                self.set32(op.dst)
            }
            return true;
        }
        if is(AssistId::Insert) {
            let lane = op.imm as u8 & (16 / op.c.max(1)).wrapping_sub(1);
            self.get_vector(a);
            if op.c == 8 {
                self.get64(op.b)
            } else {
                self.get32(op.b)
            }
            match op.c {
                1 => self.w().i8x16_replace_lane(lane),
                2 => self.w().i16x8_replace_lane(lane),
                4 => self.w().i32x4_replace_lane(lane),
                _ => self.w().i64x2_replace_lane(lane),
            };
            self.set_vector(dst);
            return true;
        }
        if is(AssistId::Blend) {
            self.get_vector(b);
            self.get_vector(a);
            self.get_vector(VSlot(op.c));
            match op.imm {
                1 => self.w().i32_const(7).i8x16_shr_s(),
                4 => self.w().i32_const(31).i32x4_shr_s(),
                _ => self.w().i32_const(63).i64x2_shr_s(),
            };
            self.w().v128_bitselect();
            self.set_vector(dst);
            return true;
        }
        self.float_assist(op)
    }

    /// An operation on two vectors of integers.
    fn integer_vector(&mut self, op: &Op, what: Vector) -> bool {
        use Vector::*;
        let (dst, a, b) = (VSlot(op.dst), VSlot(op.a), VSlot(op.b));
        if self.shift(op, what) || self.shuffle(op, what) {
            return true;
        }
        // Those that only look at the second operand.
        let unary = matches!(
            what,
            Pabsb
                | Pabsw
                | Pabsd
                | Pmovsxbw
                | Pmovsxbd
                | Pmovsxbq
                | Pmovsxwd
                | Pmovsxwq
                | Pmovsxdq
                | Pmovzxbw
                | Pmovzxbd
                | Pmovzxbq
                | Pmovzxwd
                | Pmovzxwq
                | Pmovzxdq
        );
        if matches!(what, Pandn) {
            self.get_vector(b);
            self.get_vector(a);
            self.w().v128_andnot();
            self.set_vector(dst);
            return true;
        }
        if matches!(what, Pshufb) {
            self.get_vector(a);
            self.get_vector(b);
            self.w().i32_const(0x8f).i8x16_splat().v128_and().i8x16_swizzle();
            self.set_vector(dst);
            return true;
        }
        if self.composed(op, what) {
            return true;
        }
        let start = self.code.len();
        if !unary {
            self.get_vector(a);
        }
        self.get_vector(b);
        let mut w = self.w();
        match what {
            Paddb => w.i8x16_add(),
            Paddw => w.i16x8_add(),
            Paddd => w.i32x4_add(),
            Paddq => w.i64x2_add(),
            Paddsb => w.i8x16_add_sat_s(),
            Paddsw => w.i16x8_add_sat_s(),
            Paddusb => w.i8x16_add_sat_u(),
            Paddusw => w.i16x8_add_sat_u(),
            Psubb => w.i8x16_sub(),
            Psubw => w.i16x8_sub(),
            Psubd => w.i32x4_sub(),
            Psubq => w.i64x2_sub(),
            Psubsb => w.i8x16_sub_sat_s(),
            Psubsw => w.i16x8_sub_sat_s(),
            Psubusb => w.i8x16_sub_sat_u(),
            Psubusw => w.i16x8_sub_sat_u(),
            Pmullw => w.i16x8_mul(),
            Pmulld => w.i32x4_mul(),
            Pmaddwd => w.i32x4_dot_i16x8_s(),
            Pavgb => w.i8x16_avgr_u(),
            Pavgw => w.i16x8_avgr_u(),
            Pminub => w.i8x16_min_u(),
            Pminsb => w.i8x16_min_s(),
            Pminuw => w.i16x8_min_u(),
            Pminsw => w.i16x8_min_s(),
            Pminud => w.i32x4_min_u(),
            Pminsd => w.i32x4_min_s(),
            Pmaxub => w.i8x16_max_u(),
            Pmaxsb => w.i8x16_max_s(),
            Pmaxuw => w.i16x8_max_u(),
            Pmaxsw => w.i16x8_max_s(),
            Pmaxud => w.i32x4_max_u(),
            Pmaxsd => w.i32x4_max_s(),
            Pand => w.v128_and(),
            Por => w.v128_or(),
            Pxor => w.v128_xor(),
            Pcmpeqb => w.i8x16_eq(),
            Pcmpeqw => w.i16x8_eq(),
            Pcmpeqd => w.i32x4_eq(),
            Pcmpeqq => w.i64x2_eq(),
            Pcmpgtb => w.i8x16_gt_s(),
            Pcmpgtw => w.i16x8_gt_s(),
            Pcmpgtd => w.i32x4_gt_s(),
            Pcmpgtq => w.i64x2_gt_s(),
            Packsswb => w.i8x16_narrow_i16x8_s(),
            Packuswb => w.i8x16_narrow_i16x8_u(),
            Packssdw => w.i16x8_narrow_i32x4_s(),
            Packusdw => w.i16x8_narrow_i32x4_u(),
            Pabsb => w.i8x16_abs(),
            Pabsw => w.i16x8_abs(),
            Pabsd => w.i32x4_abs(),
            Pmovsxbw => w.i16x8_extend_low_i8x16_s(),
            Pmovsxbd => w.i16x8_extend_low_i8x16_s().i32x4_extend_low_i16x8_s(),
            Pmovsxbq => w.i16x8_extend_low_i8x16_s().i32x4_extend_low_i16x8_s().i64x2_extend_low_i32x4_s(),
            Pmovsxwd => w.i32x4_extend_low_i16x8_s(),
            Pmovsxwq => w.i32x4_extend_low_i16x8_s().i64x2_extend_low_i32x4_s(),
            Pmovsxdq => w.i64x2_extend_low_i32x4_s(),
            Pmovzxbw => w.i16x8_extend_low_i8x16_u(),
            Pmovzxbd => w.i16x8_extend_low_i8x16_u().i32x4_extend_low_i16x8_u(),
            Pmovzxbq => w.i16x8_extend_low_i8x16_u().i32x4_extend_low_i16x8_u().i64x2_extend_low_i32x4_u(),
            Pmovzxwd => w.i32x4_extend_low_i16x8_u(),
            Pmovzxwq => w.i32x4_extend_low_i16x8_u().i64x2_extend_low_i32x4_u(),
            Pmovzxdq => w.i64x2_extend_low_i32x4_u(),
            _ => {
                self.code.truncate(start);
                return false;
            }
        };
        self.set_vector(dst);
        true
    }
}
