//! x87 instructions: moves are emitted, arithmetic calls the functions of [`vm_cpu::assist::direct`], what else there is (transcendental
//! functions, environments, decimal) is left to the assist.
//!
//! Whatever is not the usual way, such as an empty register, a full stack or an exception that is not masked, stops before the
//! instruction, which the interpreter then runs. So nothing of the unit's state is touched before the last check.

use vm_cpu::assist::X87;
use vm_cpu::assist::direct::Direct;
use vm_cpu::ir::{Op, Size};
use vm_cpu::reg;

use super::stack::{Pair, is_x87};
use super::{Emitter, Why, local};
use crate::module;
use crate::x87::local_number;

/// Number and operands of the operations that share encodings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// What it calls, and whether the operands change places.
    Compute(Direct, bool),
    Compare {
        pops: u8,
    },
}

impl Operation {
    fn of(number: u8) -> Operation {
        match number & 7 {
            0 => Operation::Compute(Direct::Add, false),
            1 => Operation::Compute(Direct::Mul, false),
            2 => Operation::Compare { pops: 0 },
            3 => Operation::Compare { pops: 1 },
            4 => Operation::Compute(Direct::Sub, false),
            5 => Operation::Compute(Direct::Sub, true),
            6 => Operation::Compute(Direct::Div, false),
            _ => Operation::Compute(Direct::Div, true),
        }
    }
}

impl Emitter<'_> {
    /// Emits an x87 instruction, if it is one of those.
    pub(super) fn x87(&mut self, op: &Op) -> bool {
        if !is_x87(op) {
            return false;
        }
        let Some(&what) = X87::ALL.get(usize::from(op.b)) else { return false };
        let (c, i) = (op.c, op.c & 7);
        if !is_emitted(what) || self.config.x87_fast && what == X87::Scale {
            return false;
        }
        self.enter_stack();
        if self.config.x87_fast && self.x87_fast(op, what) {
            return true;
        }
        match what {
            X87::LoadF32 | X87::LoadF64 | X87::LoadF80 | X87::LoadI16 | X87::LoadI32 | X87::LoadI64 => {
                self.load_number(op, what)
            }
            X87::LoadSt => {
                let from = self.value_of(i);
                let to = self.require_room();
                let to = self.pair_of(to);
                self.copy(from, to);
                self.quiet_push(op);
            }
            X87::LoadConstant => self.load_constant(op),
            X87::StoreF32
            | X87::StoreF64
            | X87::StoreF80
            | X87::StoreI16
            | X87::StoreI32
            | X87::StoreI64
            | X87::TruncateI16
            | X87::TruncateI32
            | X87::TruncateI64 => self.store_number(op, what),
            X87::StoreSt | X87::StoreStPop => {
                let from = self.value_of(0);
                let to = self.register_of(i);
                if i != 0 {
                    let pair = self.pair_of(to);
                    self.copy(from, pair);
                    self.commit(to);
                }
                self.clear_c1();
                self.note_place(op, false);
                if what == X87::StoreStPop {
                    self.pop_register();
                }
            }
            X87::Exchange => {
                self.value_of(0);
                self.value_of(i);
                let (a, b) = (self.register_of(0), self.register_of(i));
                if a != b {
                    self.exchange(a, b);
                }
                self.clear_c1();
                self.note_place(op, false);
            }
            X87::WithF32 | X87::WithF64 | X87::WithI16 | X87::WithI32 => {
                let top = self.value_of(0);
                let other = self.operand_from_memory(op, what);
                self.operate(op, Operation::of(c >> 3), 0, (top, other), true);
            }
            X87::WithSt => {
                let (top, other) = (self.value_of(0), self.value_of(i));
                self.operate(op, Operation::of(c >> 3), 0, (top, other), false);
            }
            X87::ToSt | X87::ToStPop => {
                let (top, other) = (self.value_of(0), self.value_of(i));
                self.operate(op, Operation::of(c >> 3), i, (other, top), false);
                if what == X87::ToStPop {
                    self.pop_register();
                }
            }
            X87::CompareTwicePop => self.compare_registers(op, Direct::Compare, i, 2),
            X87::Unordered => self.compare_registers(op, Direct::CompareQuietly, i, 0),
            X87::UnorderedPop => self.compare_registers(op, Direct::CompareQuietly, i, 1),
            X87::UnorderedTwicePop => self.compare_registers(op, Direct::CompareQuietly, i, 2),
            X87::Test => {
                let (top, zero) = (self.value_of(0), self.stack.other);
                self.w().i64_const(0).local_set(zero.significand).i32_const(0).local_set(zero.exponent);
                self.compare(op, Direct::Compare, (top, zero), 0, false);
            }
            X87::CompareFlags => self.compare_to_flags(op, Direct::Compare, i, 0),
            X87::CompareFlagsPop => self.compare_to_flags(op, Direct::Compare, i, 1),
            X87::UnorderedFlags => self.compare_to_flags(op, Direct::CompareQuietly, i, 0),
            X87::UnorderedFlagsPop => self.compare_to_flags(op, Direct::CompareQuietly, i, 1),
            X87::Examine => {
                let pair = self.value_of(0);
                self.examine(op, pair);
            }
            X87::ChangeSign | X87::Absolute => {
                let pair = self.value_of(0);
                let exponent = pair.exponent;
                self.w().local_get(exponent);
                match what {
                    X87::ChangeSign => self.w().i32_const(0x8000).i32_xor(),
                    _ => self.w().i32_const(0x7fff).i32_and(),
                };
                self.w().local_set(exponent);
                let register = self.register_of(0);
                self.commit_exponent(register);
                self.clear_c1();
                self.note_place(op, false);
            }
            X87::SquareRoot => self.unary(op, Direct::Sqrt),
            X87::RoundInt => self.unary(op, Direct::Round),
            X87::Scale => {
                let (top, other) = (self.value_of(0), self.value_of(1));
                self.operate(op, Operation::Compute(Direct::Scale, false), 0, (top, other), false);
            }
            X87::ConditionalMove => {
                let (to, from) = (self.value_of(0), self.value_of(i));
                self.condition(c >> 3);
                self.open_if(None);
                self.copy(from, to);
                self.close();
                let register = self.register_of(0);
                self.commit(register);
                self.note_place(op, false);
            }
            X87::LoadControl => {
                self.get32(op.a);
                self.loadable(2, Why::Refused { stores_back: false });
                let at = self.data(0);
                self.w().i32_load16_u(at).i32_const(0x1f3f).i32_and().i32_const(0x40).i32_or();
                self.w().local_tee(local::SCRATCH).i32_const(0x3f).i32_and().i32_const(0x3f).i32_ne();
                self.stop_if(Why::Refused { stores_back: false });
                self.w().local_get(local::SCRATCH);
                self.set_control();
            }
            X87::StoreControl => {
                let control = self.stack.control;
                self.store_word(op, |e| {
                    e.w().local_get(control);
                });
            }
            X87::StoreStatus => self.store_word(op, |e| {
                e.push_status();
                e.push_top();
                e.w().i32_or();
            }),
            X87::StatusToAx => {
                self.push_status();
                self.push_top();
                self.w().i32_or();
                self.put(reg::RAX as u8, Size::B16);
            }
            // Waiting was all, and what there is to wait for would have stopped before.
            _ => {}
        }
        true
    }

    /// Calls a function with what is pushed; the word beside the result goes to its local.
    pub(super) fn call_direct_function(&mut self, function: Direct) {
        let side = self.stack.side;
        if let Some(number) = local_number(function) {
            self.w().call(module::REQUEST + 1 + number).local_set(side);
            return;
        }
        let at = self.at(self.config.x87.side, 2);
        let ty = if function.is_binary() { module::BINARY_TYPE } else { module::UNARY_TYPE };
        let slot = self.config.x87.slots[function as usize];
        self.w().i32_const(slot as i32).call_indirect(0, ty);
        self.w().i32_const(0).i32_load(at).local_set(side);
    }

    /// Calls a function of two numbers; its result is left on the stack.
    fn call_binary(&mut self, function: Direct, (a, b): (Pair, Pair)) {
        let control = self.stack.control;
        self.w().local_get(a.significand).local_get(b.significand);
        self.w().local_get(a.exponent).local_get(b.exponent).i32_const(16).i32_shl().i32_or().local_get(control);
        self.call_direct_function(function);
    }

    /// Calls a function of one number, whose exponent is pushed last here.
    pub(super) fn call_unary(&mut self, function: Direct, control: impl Fn(&mut Self)) {
        control(self);
        self.call_direct_function(function);
    }

    pub(super) fn push_control(&mut self) {
        let control = self.stack.control;
        self.w().local_get(control);
    }

    /// Stops if an exception is not masked, as the word beside a result tells.
    pub(super) fn check_side(&mut self) {
        let side = self.stack.side;
        self.w().local_get(side).i32_const(0).i32_lt_s();
        self.stop_if(Why::Refused { stores_back: false });
    }

    /// Merges the word beside a result into the status.
    pub(super) fn note_side(&mut self) {
        let s = self.stack;
        self.w().local_get(s.raised).local_get(s.side).i32_or().local_set(s.raised);
        self.w().local_get(s.side).local_set(s.last);
    }

    pub(super) fn clear_c1(&mut self) {
        let last = self.stack.last;
        self.w().i32_const(0).local_set(last);
    }

    /// Notes where the last instruction and its operand were.
    pub(super) fn note_place(&mut self, op: &Op, in_memory: bool) {
        let s = self.stack;
        self.w().i64_const(op.imm).local_set(s.place);
        if in_memory {
            self.get32(op.a);
            self.w().local_set(s.data);
        }
    }

    // ---- loads ----

    // ---- stores ----

    // ---- computing ----

    /// Computes or compares; a result goes to ST(`to`).
    fn operate(&mut self, op: &Op, operation: Operation, to: u8, (a, b): (Pair, Pair), in_memory: bool) {
        let (function, swapped) = match operation {
            Operation::Compare { pops } => return self.compare(op, Direct::Compare, (a, b), pops, in_memory),
            Operation::Compute(function, swapped) => (function, swapped),
        };
        self.call_binary(function, if swapped { (b, a) } else { (a, b) });
        self.take_result(op, to, in_memory);
    }

    /// Pops a significand for ST(`to`); the rest is beside it.
    fn take_result(&mut self, op: &Op, to: u8, in_memory: bool) {
        let register = self.register_of(to);
        let pair = self.pair_of(register);
        let side = self.stack.side;
        self.w().local_set(pair.significand);
        self.check_side();
        self.w().local_get(side).i32_const(0xffff).i32_and().local_set(pair.exponent);
        self.note_side();
        self.commit(register);
        self.note_place(op, in_memory);
    }

    fn unary(&mut self, op: &Op, function: Direct) {
        let pair = self.value_of(0);
        self.w().local_get(pair.significand).local_get(pair.exponent);
        self.call_unary(function, Self::push_control);
        self.take_result(op, 0, false);
    }

    fn compare_registers(&mut self, op: &Op, function: Direct, i: u8, pops: u8) {
        let pairs = (self.value_of(0), self.value_of(i));
        self.compare(op, function, pairs, pops, false);
    }

    /// Compares; the outcome goes to C0, C2 and C3.
    fn compare(&mut self, op: &Op, function: Direct, pairs: (Pair, Pair), pops: u8, in_memory: bool) {
        let status = self.stack.status;
        self.call_binary(function, pairs);
        // CF, PF and ZF are C0, C2 and C3 eight bits lower.
        self.w().i32_wrap_i64().i32_const(8).i32_shl().local_set(local::SCRATCH);
        self.check_side();
        self.w().local_get(status).i32_const(!0x4500).i32_and().local_get(local::SCRATCH).i32_or().local_set(status);
        self.note_side();
        self.note_place(op, in_memory);
        for _ in 0..pops {
            self.pop_register();
        }
    }

    /// Compares; the outcome goes to the flags. C1 stays.
    fn compare_to_flags(&mut self, op: &Op, function: Direct, i: u8, pops: u8) {
        let s = self.stack;
        let pairs = (self.value_of(0), self.value_of(i));
        self.call_binary(function, pairs);
        self.w().i32_wrap_i64().local_set(local::SCRATCH);
        self.check_side();
        self.w().local_get(local::SCRATCH).local_set(local::FLAG_A);
        self.w().local_get(s.raised).local_get(s.side).i32_or().local_set(s.raised);
        self.note_place(op, false);
        for _ in 0..pops {
            self.pop_register();
        }
    }

    /// `fxam` of a number.
    pub(super) fn examine(&mut self, op: &Op, pair: Pair) {
        let s = self.stack;
        self.w().local_get(pair.significand).local_get(pair.exponent);
        self.call_unary(Direct::Examine, Self::push_control);
        self.w().i32_wrap_i64().local_tee(local::SCRATCH).i32_const(16).i32_shl().local_set(s.last);
        self.w().local_get(s.status).i32_const(!0x4500).i32_and();
        self.w().local_get(local::SCRATCH).i32_const(0x4500).i32_and().i32_or().local_set(s.status);
        self.note_place(op, false);
    }
}

/// Whether an instruction is emitted; the others are assists.
pub(crate) fn is_emitted(what: X87) -> bool {
    !matches!(
        what,
        X87::LoadBcd
            | X87::StoreBcd
            | X87::TwoToXMinusOne
            | X87::Sine
            | X87::Cosine
            | X87::SineCosine
            | X87::Tangent
            | X87::ArcTangent
            | X87::YLog2X
            | X87::YLog2X1
            | X87::Remainder
            | X87::Remainder1
            | X87::Extract
            | X87::Init
            | X87::ClearExceptions
            | X87::StoreEnvironment
            | X87::LoadEnvironment
            | X87::Save
            | X87::Restore
            | X87::Free
            | X87::FreePop
            | X87::IncrementTop
            | X87::DecrementTop
            | X87::Emms
            | X87::StoreEnvironment16
            | X87::LoadEnvironment16
            | X87::Save16
            | X87::Restore16
    )
}
