//! x87 instructions in double precision, where the machine's option asks for that: values are `f64`, no exception is noted,
//! neither the address of the last instruction nor C1 is kept.
//!
//! While code runs, registers are in `State::x87` and not in [`vm_cpu::Core`]; the engine converts those in use where code is
//! entered and left. 64-bit integers that are loaded and stored again in one block keep all their bits: that is how 64 bits
//! are moved at once.

use vm_cpu::assist::X87;
use vm_cpu::assist::direct::Direct;
use vm_cpu::ir::Op;
use wasm_encoder::{Ieee64, MemArg, ValType};

use super::{Emitter, local};

/// `fld1`, `fldl2t`, `fldl2e`, `fldpi`, `fldlg2`, `fldln2`, `fldz`.
const CONSTANTS: [f64; 7] = [
    1.0,
    std::f64::consts::LOG2_10,
    std::f64::consts::LOG2_E,
    std::f64::consts::PI,
    std::f64::consts::LOG10_2,
    std::f64::consts::LN_2,
    0.0,
];

impl Emitter<'_> {
    /// Emits an instruction that touches registers; nothing else is different in this mode.
    pub(super) fn x87_fast(&mut self, op: &Op, what: X87) -> bool {
        let (c, i) = (op.c, op.c & 7);
        match what {
            X87::LoadF32 | X87::LoadF64 | X87::LoadF80 | X87::LoadI16 | X87::LoadI32 | X87::LoadI64 => {
                let register = self.require_room();
                self.double_from_memory(op, what, register);
                self.set_double(register);
                self.push_register();
                if what == X87::LoadI64 {
                    self.note_integer(register);
                }
            }
            X87::LoadSt => {
                let from = self.double_of(i);
                let register = self.require_room();
                self.w().local_get(from);
                self.set_double(register);
                self.push_register();
            }
            X87::LoadConstant => {
                let register = self.require_room();
                self.w().f64_const(Ieee64::from(CONSTANTS[usize::from(c).min(6)]));
                self.set_double(register);
                self.push_register();
            }
            X87::StoreF32
            | X87::StoreF64
            | X87::StoreF80
            | X87::StoreI16
            | X87::StoreI32
            | X87::StoreI64
            | X87::TruncateI16
            | X87::TruncateI32
            | X87::TruncateI64 => {
                self.store_double(op, what);
                if c != 0 {
                    self.pop_register();
                }
            }
            X87::StoreSt | X87::StoreStPop => {
                let from = self.double_of(0);
                if i != 0 {
                    self.w().local_get(from);
                    self.finish_double(i);
                }
                if what == X87::StoreStPop {
                    self.pop_register();
                }
            }
            X87::Exchange => {
                self.double_of(0);
                self.double_of(i);
                let (a, b) = (self.register_of(0), self.register_of(i));
                if a != b {
                    self.exchange(a, b);
                }
            }
            X87::WithF32 | X87::WithF64 | X87::WithI16 | X87::WithI32 => {
                let (top, operand) = (self.double_of(0), self.stack.operand);
                self.double_from_memory(op, what, 0);
                self.w().local_set(operand);
                self.fast_operation(c >> 3, 0, top, operand);
            }
            X87::WithSt => {
                let (top, other) = (self.double_of(0), self.double_of(i));
                self.fast_operation(c >> 3, 0, top, other);
            }
            X87::ToSt | X87::ToStPop => {
                let (top, other) = (self.double_of(0), self.double_of(i));
                self.fast_operation(c >> 3, i, other, top);
                if what == X87::ToStPop {
                    self.pop_register();
                }
            }
            X87::CompareTwicePop | X87::UnorderedTwicePop => self.fast_compare(i, 2),
            X87::Unordered => self.fast_compare(i, 0),
            X87::UnorderedPop => self.fast_compare(i, 1),
            X87::Test => {
                let (top, zero) = (self.double_of(0), self.stack.operand);
                self.w().f64_const(Ieee64::from(0.0)).local_set(zero);
                self.push_comparison(top, zero);
                self.comparison_to_status(0);
            }
            X87::CompareFlags | X87::UnorderedFlags | X87::CompareFlagsPop | X87::UnorderedFlagsPop => {
                let (top, other) = (self.double_of(0), self.double_of(i));
                self.push_comparison(top, other);
                self.w().local_set(local::FLAG_A);
                if matches!(what, X87::CompareFlagsPop | X87::UnorderedFlagsPop) {
                    self.pop_register();
                }
            }
            X87::Examine => {
                let (top, pair) = (self.double_of(0), self.stack.other);
                self.w().local_get(top).i64_reinterpret_f64();
                self.unpack(false, true, pair);
                self.examine(op, pair);
            }
            X87::ChangeSign | X87::Absolute | X87::SquareRoot => {
                let top = self.double_of(0);
                self.w().local_get(top);
                match what {
                    X87::ChangeSign => self.w().f64_neg(),
                    X87::Absolute => self.w().f64_abs(),
                    _ => self.w().f64_sqrt(),
                };
                self.finish_double(0);
            }
            X87::RoundInt => {
                let top = self.double_of(0);
                self.push_rounded(top);
                self.finish_double(0);
            }
            X87::ConditionalMove => {
                let (to, from) = (self.double_of(0), self.double_of(i));
                self.w().local_get(from).local_get(to);
                self.condition(c >> 3);
                self.w().select();
                self.finish_double(0);
            }
            _ => return false,
        }
        true
    }

    /// Pops the value of ST(i).
    fn finish_double(&mut self, i: u8) {
        let register = self.register_of(i);
        self.set_double(register);
        self.commit(register);
    }

    /// Pushes the operand in memory. Of a 64-bit integer, the bits are kept for a register.
    fn double_from_memory(&mut self, op: &Op, what: X87, register: u8) {
        let bytes = match what {
            X87::LoadF80 => 10,
            X87::LoadF64 | X87::WithF64 | X87::LoadI64 => 8,
            X87::LoadI16 | X87::WithI16 => 2,
            _ => 4,
        };
        let at = self.operand_at(op, bytes);
        match what {
            X87::LoadF32 | X87::WithF32 => {
                self.w().f32_load(at).f64_promote_f32();
            }
            X87::LoadF64 | X87::WithF64 => {
                self.w().f64_load(at);
            }
            X87::LoadI16 | X87::WithI16 => {
                self.w().i32_load16_s(at).f64_convert_i32_s();
            }
            X87::LoadI32 | X87::WithI32 => {
                self.w().i32_load(at).f64_convert_i32_s();
            }
            X87::LoadI64 => {
                let kept = self.pair_of(register).significand;
                self.w().i64_load(at).local_tee(kept).f64_convert_i64_s();
            }
            _ => {
                let (pair, upper) = (self.stack.other, MemArg { offset: at.offset + 8, ..at });
                self.w().local_tee(local::SCRATCH).i64_load(at).local_set(pair.significand);
                self.w().local_get(local::SCRATCH).i32_load16_u(upper).local_set(pair.exponent);
                // All masked: nothing that is raised matters.
                self.w().local_get(pair.significand).local_get(pair.exponent).i32_const(0x37f);
                self.call_direct_function(Direct::ToDouble);
                self.w().f64_reinterpret_i64();
            }
        }
    }

    /// Pushes a number rounded to an integer as the control word says.
    fn push_rounded(&mut self, value: u32) {
        let control = self.stack.control;
        self.w().local_get(control).i32_const(0xc00).i32_and().local_tee(local::SCRATCH).i32_eqz();
        self.open_if(Some(ValType::F64));
        self.w().local_get(value).f64_nearest().else_();
        self.w().local_get(value).f64_trunc();
        self.w().local_get(value).f64_floor().local_get(value).f64_ceil();
        self.w().local_get(local::SCRATCH).i32_const(0x400).i32_eq().select();
        self.w().local_get(local::SCRATCH).i32_const(0xc00).i32_eq().select();
        self.close();
    }

    fn store_double(&mut self, op: &Op, what: X87) {
        let from = self.double_of(0);
        let register = self.register_of(0);
        let (operand, bits) = (self.stack.operand, self.stack.bits);
        let (bytes, limit) = match what {
            X87::StoreF32 | X87::StoreF64 => {
                self.get32(op.a);
                let single = what == X87::StoreF32;
                return self.store_with(
                    if single { 4 } else { 8 },
                    |e| {
                        e.w().local_get(from);
                        if single {
                            e.w().f32_demote_f64();
                        }
                    },
                    |e, at| {
                        if single {
                            e.w().f32_store(at);
                        } else {
                            e.w().f64_store(at);
                        }
                    },
                );
            }
            X87::StoreF80 => {
                let pair = self.stack.other;
                self.w().local_get(from).i64_reinterpret_f64();
                self.unpack(false, true, pair);
                return self.store_pair(op, pair);
            }
            X87::StoreI16 | X87::TruncateI16 => (2, 32_768.0),
            X87::StoreI32 | X87::TruncateI32 => (4, 2_147_483_648.0),
            _ => (8, 9_223_372_036_854_775_808.0),
        };
        if bytes == 8 && self.is_integer(register) {
            let kept = self.pair_of(register).significand;
            self.w().local_get(kept).local_set(bits);
        } else {
            if matches!(what, X87::TruncateI16 | X87::TruncateI32 | X87::TruncateI64) {
                self.w().local_get(from).f64_trunc();
            } else {
                self.push_rounded(from);
            }
            // What does not fit is the lowest integer.
            self.w().local_tee(operand).f64_const(Ieee64::from(-limit)).f64_ge();
            self.w().local_get(operand).f64_const(Ieee64::from(limit)).f64_lt().i32_and();
            self.open_if(Some(ValType::I64));
            self.w().local_get(operand).i64_trunc_f64_s().else_();
            self.w().i64_const(i64::MIN >> (64 - 8 * bytes));
            self.close();
            self.w().local_set(bits);
        }
        self.get32(op.a);
        self.store_with(
            bytes,
            |e| {
                e.w().local_get(bits);
            },
            |e, at| {
                match bytes {
                    2 => e.w().i64_store16(at),
                    4 => e.w().i64_store32(at),
                    _ => e.w().i64_store(at),
                };
            },
        );
    }

    fn fast_operation(&mut self, number: u8, to: u8, a: u32, b: u32) {
        let (a, b) = if matches!(number & 7, 5 | 7) { (b, a) } else { (a, b) };
        match number & 7 {
            2 | 3 => {
                self.push_comparison(a, b);
                return self.comparison_to_status(u8::from(number & 7 == 3));
            }
            0 => self.w().local_get(a).local_get(b).f64_add(),
            1 => self.w().local_get(a).local_get(b).f64_mul(),
            4 | 5 => self.w().local_get(a).local_get(b).f64_sub(),
            _ => self.w().local_get(a).local_get(b).f64_div(),
        };
        self.finish_double(to);
    }

    fn fast_compare(&mut self, i: u8, pops: u8) {
        let (top, other) = (self.double_of(0), self.double_of(i));
        self.push_comparison(top, other);
        self.comparison_to_status(pops);
    }

    /// Pushes CF, PF and ZF as two numbers compare.
    fn push_comparison(&mut self, a: u32, b: u32) {
        self.w().local_get(a).local_get(b).f64_lt().local_get(a).local_get(b).f64_eq();
        self.w().i32_const(6).i32_shl().i32_or();
        self.w().local_get(a).local_get(a).f64_ne().local_get(b).local_get(b).f64_ne().i32_or();
        self.w().i32_const(0x45).i32_mul().i32_or();
    }

    fn comparison_to_status(&mut self, pops: u8) {
        let status = self.stack.status;
        self.w().i32_const(8).i32_shl();
        self.w().local_get(status).i32_const(!0x4500).i32_and().i32_or().local_set(status);
        for _ in 0..pops {
            self.pop_register();
        }
    }
}
