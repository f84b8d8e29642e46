//! Loads and stores of the x87.

use vm_cpu::assist::X87;
use vm_cpu::assist::direct::Direct;
use vm_cpu::ir::Op;
use wasm_encoder::MemArg;

use super::stack::Pair;
use super::{Emitter, Why, local};

/// The bias of exponents, less that of doubles and singles.
const FROM_DOUBLE: i32 = 16383 - 1023;
const FROM_SINGLE: i32 = 16383 - 127;

impl Emitter<'_> {
    pub(super) fn copy(&mut self, from: Pair, to: Pair) {
        if from != to {
            self.w().local_get(from.significand).local_set(to.significand);
            self.w().local_get(from.exponent).local_set(to.exponent);
        }
    }

    /// Pushes the register whose locals have been filled; nothing was raised.
    pub(super) fn quiet_push(&mut self, op: &Op) {
        self.clear_c1();
        self.note_place(op, false);
        self.push_register();
    }

    /// Pops the bits of a number in memory into locals, as a load (`quiets`) or as an operand; the word beside the result is
    /// in its local.
    pub(super) fn unpack(&mut self, single: bool, quiets: bool, to: Pair) {
        let s = self.stack;
        let (bits, side) = (s.bits, s.side);
        self.w().local_tee(bits);
        let (exponent_at, most, bias, up) =
            if single { (23, 0xfe, FROM_SINGLE, 40) } else { (52, 0x7fe, FROM_DOUBLE, 11) };
        self.w().i64_const(exponent_at).i64_shr_u().i32_wrap_i64().i32_const(most + 1).i32_and();
        self.w().local_tee(side).i32_const(1).i32_sub().i32_const(most).i32_lt_u();
        self.open_if(None);
        // What is above the fraction is shifted out, or hidden by the integer bit.
        self.w().local_get(bits).i64_const(up).i64_shl().i64_const(i64::MIN).i64_or().local_set(to.significand);
        self.w().local_get(side).i32_const(bias).i32_add();
        self.w().local_get(bits).i64_const(if single { 16 } else { 48 }).i64_shr_u().i32_wrap_i64();
        self.w().i32_const(0x8000).i32_and().i32_or().local_set(side);
        self.w().else_();
        let function = match (single, quiets) {
            (true, true) => Direct::FromSingle,
            (true, false) => Direct::OperandSingle,
            (false, true) => Direct::FromDouble,
            (false, false) => Direct::OperandDouble,
        };
        self.w().local_get(bits).i32_const(0);
        self.call_unary(function, Self::push_control);
        self.w().local_set(to.significand);
        self.check_side();
        self.close();
        self.w().local_get(side).i32_const(0xffff).i32_and().local_set(to.exponent);
    }

    /// Pops an integer into locals.
    pub(super) fn unpack_integer(&mut self, to: Pair) {
        let bits = self.stack.bits;
        // The magnitude, in place of the number.
        self.w()
            .local_tee(bits)
            .i64_const(63)
            .i64_shr_u()
            .i32_wrap_i64()
            .i32_const(15)
            .i32_shl()
            .local_set(to.exponent);
        self.w().i64_const(0).local_get(bits).i64_sub().local_get(bits).local_get(to.exponent).select().local_tee(bits);
        self.w().local_get(bits).i64_clz().i64_shl().local_set(to.significand);
        self.w().i32_const(16383 + 63).local_get(bits).i64_clz().i32_wrap_i64().i32_sub();
        self.w().local_get(to.exponent).i32_or().i32_const(0).local_get(bits).i64_eqz().i32_eqz().select();
        self.w().local_set(to.exponent);
    }

    /// Pushes what a memory operand of so many bytes is at, and how to load from there.
    pub(super) fn operand_at(&mut self, op: &Op, bytes: u32) -> MemArg {
        self.get32(op.a);
        self.loadable(bytes, Why::Refused { stores_back: false });
        self.data(0)
    }

    pub(super) fn load_number(&mut self, op: &Op, what: X87) {
        let s = self.stack;
        let register = self.require_room();
        let to = self.pair_of(register);
        let mut converted = false;
        match what {
            X87::LoadF32 => {
                let at = self.operand_at(op, 4);
                self.w().i64_load32_u(at);
                self.unpack(true, true, to);
                converted = true;
            }
            X87::LoadF64 => {
                let at = self.operand_at(op, 8);
                self.w().i64_load(at);
                self.unpack(false, true, to);
                converted = true;
            }
            X87::LoadF80 => {
                let at = self.operand_at(op, 10);
                self.w().local_tee(local::SCRATCH).i64_load(at).local_set(to.significand);
                let upper = MemArg { offset: at.offset + 8, ..at };
                self.w().local_get(local::SCRATCH).i32_load16_u(upper).local_set(to.exponent);
            }
            _ => self.load_integer(op, what, to),
        }
        if converted {
            self.w().local_get(s.raised).local_get(s.side).i32_or().local_set(s.raised);
        }
        self.clear_c1();
        self.note_place(op, true);
        self.push_register();
    }

    pub(super) fn load_integer(&mut self, op: &Op, what: X87, to: Pair) {
        let bytes = match what {
            X87::LoadI16 | X87::WithI16 => 2,
            X87::LoadI32 | X87::WithI32 => 4,
            _ => 8,
        };
        let at = self.operand_at(op, bytes);
        match bytes {
            2 => self.w().i64_load16_s(at),
            4 => self.w().i64_load32_s(at),
            _ => self.w().i64_load(at),
        };
        self.unpack_integer(to);
    }

    /// The operand of an operation with memory, in locals.
    pub(super) fn operand_from_memory(&mut self, op: &Op, what: X87) -> Pair {
        let to = self.stack.other;
        match what {
            X87::WithF32 => {
                let at = self.operand_at(op, 4);
                self.w().i64_load32_u(at);
                self.unpack(true, false, to);
            }
            X87::WithF64 => {
                let at = self.operand_at(op, 8);
                self.w().i64_load(at);
                self.unpack(false, false, to);
            }
            _ => self.load_integer(op, what, to),
        }
        to
    }

    pub(super) fn load_constant(&mut self, op: &Op) {
        // To nearest: the table of the assist, rounded.
        const CONSTANTS: [(u64, u16); 7] = [
            (0x8000_0000_0000_0000, 0x3fff),
            (0xd49a_784b_cd1b_8afe, 0x4000),
            (0xb8aa_3b29_5c17_f0bc, 0x3fff),
            (0xc90f_daa2_2168_c235, 0x4000),
            (0x9a20_9a84_fbcf_f799, 0x3ffd),
            (0xb172_17f7_d1cf_79ac, 0x3ffe),
            (0, 0),
        ];
        let number = usize::from(op.c).min(6);
        let (significand, exponent) = CONSTANTS[number];
        let register = self.require_room();
        if number != 0 && number != 6 {
            self.push_control();
            self.w().i32_const(0xc00).i32_and();
            self.stop_if(Why::Refused { stores_back: false });
        }
        let to = self.pair_of(register);
        self.w().i64_const(significand as i64).local_set(to.significand);
        self.w().i32_const(i32::from(exponent)).local_set(to.exponent);
        self.quiet_push(op);
    }

    pub(super) fn store_number(&mut self, op: &Op, what: X87) {
        let s = self.stack;
        let from = self.value_of(0);
        let truncates = matches!(what, X87::TruncateI16 | X87::TruncateI32 | X87::TruncateI64);
        let conversion = match what {
            X87::StoreF32 => Some((Direct::ToSingle, 4)),
            X87::StoreF64 => Some((Direct::ToDouble, 8)),
            X87::StoreI16 | X87::TruncateI16 => Some((Direct::ToI16, 2)),
            X87::StoreI32 | X87::TruncateI32 => Some((Direct::ToI32, 4)),
            X87::StoreI64 | X87::TruncateI64 => Some((Direct::ToI64, 8)),
            _ => None,
        };
        match conversion {
            Some((function, bytes)) => {
                self.w().local_get(from.significand).local_get(from.exponent);
                self.call_unary(function, |e| {
                    e.push_control();
                    if truncates {
                        e.w().i32_const(0xc00).i32_or();
                    }
                });
                self.w().local_set(s.bits);
                self.check_side();
                self.get32(op.a);
                self.store_with(
                    bytes,
                    |e| {
                        e.w().local_get(s.bits);
                    },
                    |e, at| {
                        match bytes {
                            2 => e.w().i64_store16(at),
                            4 => e.w().i64_store32(at),
                            _ => e.w().i64_store(at),
                        };
                    },
                );
                self.note_side();
            }
            None => {
                self.store_pair(op, from);
                self.clear_c1();
            }
        }
        self.note_place(op, true);
        if op.c != 0 {
            self.pop_register();
        }
    }

    /// Stores all 80 bits.
    pub(super) fn store_pair(&mut self, op: &Op, from: Pair) {
        self.get32(op.a);
        // The address is wanted twice.
        self.store_with(
            10,
            |e| {
                e.w().local_tee(local::SCRATCH2).local_get(from.significand);
            },
            |e, at| {
                let upper = MemArg { offset: at.offset + 8, ..at };
                e.w().i64_store(at).local_get(local::SCRATCH2).local_get(from.exponent).i32_store16(upper);
            },
        );
    }

    pub(super) fn store_word(&mut self, op: &Op, value: impl Fn(&mut Self)) {
        self.get32(op.a);
        self.store_with(2, value, |e, at| {
            e.w().i32_store16(at);
        });
    }
}
