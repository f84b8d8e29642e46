//! Shifts and rotations of integers.

use vm_cpu::ir::{Code, Op, Size};

use super::{Emitter, local};
use crate::flow::{FlagState, constant_count};
use crate::lazy::{Base, Carry, Kind};

impl Emitter<'_> {
    /// Pushes `a` shifted by the scratch local.
    pub(super) fn shifted(&mut self, op: &Op, size: Size) {
        use Code::*;
        self.get32(op.a);
        self.w().local_set(local::SCRATCH2);
        match op.code {
            Shl8 | Shl16 | Shl32 | ShlF8 | ShlF16 | ShlF32 => {
                self.w().local_get(local::SCRATCH2).local_get(local::SCRATCH).i32_shl();
            }
            Shr8 | Shr16 | Shr32 | ShrF8 | ShrF16 | ShrF32 => {
                self.zero_extended(local::SCRATCH2, size);
                self.w().local_get(local::SCRATCH).i32_shr_u();
            }
            _ => {
                self.sign_extended(local::SCRATCH2, size);
                self.w().local_get(local::SCRATCH).i32_shr_s();
            }
        }
    }

    pub(super) fn shift_flags(&mut self, op: &Op) {
        use Code::*;
        let size = op.code.info().size;
        let base = match op.code {
            ShlF8 | ShlF16 | ShlF32 => Base::Shl,
            ShrF8 | ShrF16 | ShrF32 => Base::Shr,
            _ => Base::Sar,
        };
        match constant_count(op) {
            Some(0) => {
                // Still a write: of 32 bits it is the register itself.
                self.get32(op.a);
                self.put(op.dst, size);
            }
            Some(count) => {
                self.w().i32_const(count as i32).local_set(local::SCRATCH);
                self.shifted(op, size);
                self.w().local_get(local::SCRATCH2).local_set(local::FLAG_A);
                self.w().i32_const(count as i32).local_set(local::FLAG_B);
                self.put(op.dst, size);
            }
            None => {
                self.second32(op);
                self.w().i32_const(31).i32_and().local_set(local::SCRATCH);
                self.shifted(op, size);
                self.keep_unless(Kind::of(base, size).0);
                self.w().local_get(local::SCRATCH2).local_get(local::FLAG_A).local_get(local::SCRATCH).select();
                self.w().local_set(local::FLAG_A);
                self.w().local_get(local::SCRATCH).local_get(local::FLAG_B).local_get(local::SCRATCH).select();
                self.w().local_set(local::FLAG_B);
                self.put(op.dst, size);
            }
        }
    }

    /// Sets the kind in its local unless the scratch local is zero.
    pub(super) fn keep_unless(&mut self, kind: u32) {
        self.kind_to_local();
        self.w().i32_const(kind as i32).local_get(local::FLAG_KIND).local_get(local::SCRATCH).select();
        self.w().local_set(local::FLAG_KIND);
    }

    /// Pushes `a` rotated.
    pub(super) fn rotated(&mut self, op: &Op, size: Size) {
        use Code::*;
        let left = matches!(op.code, Rol8 | Rol16 | Rol32 | RolF8 | RolF16 | RolF32);
        if size == Size::B32 {
            self.get32(op.a);
            self.second32(op);
            if left {
                self.w().i32_rotl();
            } else {
                self.w().i32_rotr();
            }
            return;
        }
        // The value repeated over 32 bits (four or two times) rotates like a narrow one.
        self.get32(op.a);
        self.w().local_set(local::SCRATCH2);
        self.zero_extended(local::SCRATCH2, size);
        let factor = if size == Size::B8 { 0x0101_0101 } else { 0x0001_0001 };
        self.w().i32_const(factor).i32_mul();
        self.second32(op);
        if left {
            self.w().i32_rotl();
        } else {
            self.w().i32_rotr();
        }
    }

    pub(super) fn rotate_flags(&mut self, op: &Op) {
        use Code::*;
        let size = op.code.info().size;
        let carry = if matches!(op.code, RolF8 | RolF16 | RolF32) { Carry::Rol } else { Carry::Ror };
        match (constant_count(op), self.flags) {
            (Some(0), _) => {
                self.get32(op.a);
                self.put(op.dst, size);
            }
            (Some(_), FlagState::Static(_)) => {
                self.rotated(op, size);
                self.w().local_tee(local::FLAG_D);
                self.put(op.dst, size);
            }
            (count, _) => {
                self.kind_to_local();
                self.rotated(op, size);
                self.w().local_set(local::SCRATCH2);
                if count.is_some() {
                    self.w().i32_const(1);
                } else {
                    self.second32(op);
                    self.w().i32_const(31).i32_and();
                }
                let part = Kind(0).with(carry, size).0;
                self.w().local_set(local::SCRATCH);
                self.w()
                    .local_get(local::FLAG_KIND)
                    .i32_const(0xff)
                    .i32_and()
                    .i32_const(part as i32)
                    .i32_or()
                    .local_get(local::FLAG_KIND)
                    .local_get(local::SCRATCH)
                    .select()
                    .local_set(local::FLAG_KIND);
                self.w()
                    .local_get(local::SCRATCH2)
                    .local_get(local::FLAG_D)
                    .local_get(local::SCRATCH)
                    .select()
                    .local_set(local::FLAG_D);
                self.w().local_get(local::SCRATCH2);
                self.put(op.dst, size);
            }
        }
    }

    /// Puts the count of a double shift into the scratch local.
    pub(super) fn double_count(&mut self, op: &Op) {
        self.get32(op.c);
        self.w().i32_const(op.imm as i32).i32_add().i32_const(31).i32_and().local_set(local::SCRATCH);
    }

    /// Pushes the result of a double shift of 32 bits by the scratch local.
    pub(super) fn double(&mut self, op: &Op) {
        let left = matches!(op.code, Code::Shld32 | Code::ShldF32);
        // high:low shifted as one number of 64 bits
        let (high, low) = if left { (op.a, op.b) } else { (op.b, op.a) };
        self.get64(high);
        self.w().i64_const(32).i64_shl();
        self.get32(low);
        self.w().i64_extend_i32_u().i64_or().local_get(local::SCRATCH).i64_extend_i32_u();
        if left {
            self.w().i64_shl().i64_const(32).i64_shr_u().i32_wrap_i64();
        } else {
            self.w().i64_shr_u().i32_wrap_i64();
        }
    }

    pub(super) fn double_flags(&mut self, op: &Op) {
        let base = if op.code == Code::ShldF32 { Base::Shld } else { Base::Shrd };
        self.double_count(op);
        match constant_count(op) {
            Some(0) => {}
            Some(_) => {
                self.get32(op.a);
                self.w().local_set(local::FLAG_A);
                self.get32(op.b);
                self.w().local_set(local::FLAG_C);
                self.w().local_get(local::SCRATCH).local_set(local::FLAG_B);
            }
            None => {
                self.keep_unless(Kind::of(base, Size::B32).0);
                for (value, word) in [(op.a, local::FLAG_A), (op.b, local::FLAG_C)] {
                    self.get32(value);
                    self.w().local_get(word).local_get(local::SCRATCH).select().local_set(word);
                }
                self.w().local_get(local::SCRATCH).local_get(local::FLAG_B).local_get(local::SCRATCH).select();
                self.w().local_set(local::FLAG_B);
            }
        }
        self.double(op);
        self.set32(op.dst);
    }
}
