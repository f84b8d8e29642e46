//! SSE arithmetic.
//!
//! The host's own operations are used where they do exactly what the processor does, flags included: rounding to nearest,
//! every exception masked, inexactness noted before, no operand denormal. That much is checked at run time. A result well
//! inside the range of normal numbers is taken at once. The others are looked at again, without a call: they may be
//! zeros that no rounding made, and of packed results, where overflow and invalid operations have been noted before, infinities and NaNs,
//! whose bits are not left to the host. What does not pass goes to the assist. Lanes that are known not to be denormal
//! ([`plain`]) are not checked again: where a result of the assist is, the rest of the block takes the assist, too.

use vm_cpu::assist::{AssistId, Effects, Lanewise, Other};
use vm_cpu::ir::{Op, VSlot};
use wasm_encoder::ValType;

use super::checks::{Compare, Shape, repeat64};
use super::shuffle::lanes;
use super::{Emitter, Label, Why, local, state_offset};
use crate::host::Request;

impl Emitter<'_> {
    pub(super) fn is_plain(&self, slot: VSlot, shape: Shape) -> bool {
        self.plain[usize::from(slot.0 & 31)] & shape.bit() != 0
    }

    pub(super) fn note_plain(&mut self, slot: VSlot, shape: Shape) {
        self.plain[usize::from(slot.0 & 31)] |= shape.knowledge();
    }

    /// Pushes the lane or lanes of a vector in the type that arithmetic takes.
    pub(super) fn operand(&mut self, slot: VSlot, shape: Shape) {
        self.get_vector(slot);
        match shape {
            Shape::Ss => self.w().f32x4_extract_lane(0),
            Shape::Sd => self.w().f64x2_extract_lane(0),
            Shape::Ps | Shape::Pd => return,
        };
    }

    /// The local that holds an operand or result of a shape, by number.
    pub(super) fn float_local(&mut self, number: u8, shape: Shape) -> u32 {
        match shape {
            Shape::Ss => self.temp_local(number, ValType::F32),
            Shape::Sd => self.temp_local(number, ValType::F64),
            Shape::Ps | Shape::Pd => self.vector_scratch(number),
        }
    }

    /// Emits an assist of floating point, if there are instructions for it.
    pub(super) fn float_assist(&mut self, op: &Op) -> bool {
        let number = op.assist_number();
        let is = |id: AssistId| number == id as u16;
        if is(AssistId::Float) {
            return match op.c {
                0..28 => self.lanewise(op),
                28..32 => self.compare_lanes(op),
                32..36 => self.round_lanes(op),
                _ => self.conversion(op),
            };
        }
        if is(AssistId::FloatCompare) {
            self.compare_scalars(op);
            return true;
        }
        if is(AssistId::FloatToInt) && op.c & 4 == 0 {
            self.float_to_int(op);
            return true;
        }
        if is(AssistId::IntToFloat) && op.c & 4 == 0 {
            return self.int_to_float(op);
        }
        false
    }

    /// With a condition on the stack: takes the result in `result`, or lets the assist do it.
    pub(super) fn take_or_call(&mut self, op: &Op, shape: Shape, result: u32) {
        let dst = VSlot(op.dst);
        self.hint(true);
        self.open_if(None);
        self.take(op, shape, result);
        self.w().else_();
        self.call_assist(op);
        self.check_assists_result(dst, shape, result, &[]);
        self.close();
        self.note_plain(dst, shape);
    }

    /// Takes a result.
    fn take(&mut self, op: &Op, shape: Shape, result: u32) {
        match shape {
            Shape::Ss => {
                self.get_vector(VSlot(op.a));
                self.w().local_get(result).f32x4_replace_lane(0);
            }
            Shape::Sd => {
                self.get_vector(VSlot(op.a));
                self.w().local_get(result).f64x2_replace_lane(0);
            }
            Shape::Ps | Shape::Pd => {
                self.w().local_get(result);
            }
        }
        self.set_vector(VSlot(op.dst));
    }

    fn lanewise(&mut self, op: &Op) -> bool {
        let shape = Shape::of(op.c);
        let what = match op.c >> 2 {
            0 => Lanewise::Add,
            1 => Lanewise::Sub,
            2 => Lanewise::Mul,
            3 => Lanewise::Div,
            4 => Lanewise::Min,
            5 => Lanewise::Max,
            _ => Lanewise::Sqrt,
        };
        let (a, b) = (VSlot(op.a), VSlot(op.b));
        let (x, y, result) = (self.float_local(0, shape), self.float_local(1, shape), self.float_local(2, shape));
        let unary = what == Lanewise::Sqrt;
        if !unary {
            self.operand(a, shape);
            self.w().local_set(x);
        }
        self.operand(b, shape);
        self.w().local_set(y);
        self.arithmetic(what, shape, x, y);
        self.w().local_set(result);
        let operands = [(a, x), (b, y)];
        self.take_lanes(op, what, shape, [x, y, result], &operands[usize::from(unary)..]);
        true
    }

    /// Takes the result of an operation on lanes if it is right, or lets the assist do it. `operands` are those that are
    /// the lanes of slots, of which something may be known.
    fn take_lanes(
        &mut self,
        op: &Op,
        what: Lanewise,
        shape: Shape,
        [x, y, result]: [u32; 3],
        operands: &[(VSlot, u32)],
    ) {
        let unary = what == Lanewise::Sqrt;
        let unknown = |e: &Self, value: u32| !operands.iter().any(|o| o.1 == value && e.is_plain(o.0, shape));
        let mut checked = [x, y][usize::from(unary)..].to_vec();
        checked.retain(|value| unknown(self, *value));
        // The same slot twice is looked at once.
        if let [first, second] = operands
            && first.0 == second.0
        {
            checked.retain(|value| *value != first.1);
        }
        if matches!(what, Lanewise::Min | Lanewise::Max) {
            self.push_numbers(x, y, shape);
            for value in checked {
                self.and_plain(value, shape);
            }
            return self.take_or_call(op, shape, result);
        }
        for _ in 0..3 {
            self.open_block(Label::Plain);
        }
        // At once, where everything is ordinary.
        self.branch_unless_ordinary(result, &checked, shape);
        self.take(op, shape, result);
        self.w().br(2);
        self.close();
        // Else after a second look.
        if shape.is_packed() {
            // Infinities and NaNs come in crowds.
            self.push_only_special(what, shape, &checked, y, result);
            self.open_if(None);
            self.put_nans_right(shape, [x, y], unary, result);
            self.take(op, shape, result);
            self.w().br(2);
            self.close();
            self.second_look(what, shape, x, y, result);
        } else {
            self.push_ordinary(result, shape);
            self.push_exact_zero(what, x, y, result, shape);
            self.w().i32_or();
            if !unary {
                self.and_plain(x, shape);
            }
            self.and_plain(y, shape);
        }
        self.w().i32_eqz().br_if(0);
        self.take(op, shape, result);
        self.w().br(1);
        self.close();
        self.call_assist(op);
        // What the checks have shown is known from here on: of the destination it is its new value.
        let dst = VSlot(op.dst);
        let others: Vec<(VSlot, u32)> =
            operands.iter().copied().filter(|o| o.0 != dst && checked.contains(&o.1)).collect();
        let values: Vec<u32> = others.iter().map(|o| o.1).collect();
        self.check_assists_result(dst, shape, result, &values);
        self.close();
        self.note_plain(dst, shape);
        for (slot, _) in others {
            self.note_plain(slot, shape);
        }
    }

    /// Operations on neighbours, and those that add and subtract by turns.
    pub(super) fn across(&mut self, op: &Op, other: Other) -> bool {
        use Other::*;
        let shape = match other {
            Haddps | Hsubps | Addsubps => Shape::Ps,
            Haddpd | Hsubpd | Addsubpd => Shape::Pd,
            _ => return false,
        };
        let (a, b) = (VSlot(op.a), VSlot(op.b));
        let (x, y, result) = (self.vector_scratch(0), self.vector_scratch(1), self.vector_scratch(2));
        let by_turns = matches!(other, Addsubps | Addsubpd);
        for (odd, local) in [(0, x), (1, y)] {
            if by_turns {
                self.get_vector([a, b][usize::from(odd)]);
            } else {
                self.get_vector(a);
                self.get_vector(b);
                let picks = match shape {
                    Shape::Ps => lanes([odd, 2 + odd, 4 + odd, 6 + odd]),
                    _ => lanes([odd, 2 + odd]),
                };
                self.w().i8x16_shuffle(picks);
            }
            self.w().local_set(local);
        }
        let what = if matches!(other, Haddps | Haddpd) { Lanewise::Add } else { Lanewise::Sub };
        self.arithmetic(what, shape, x, y);
        if by_turns {
            self.arithmetic(Lanewise::Add, shape, x, y);
            let even = if shape == Shape::Ps { repeat64(0xffff_ffff) } else { i128::from(u64::MAX) };
            self.w().v128_const(even).v128_bitselect();
        }
        self.w().local_set(result);
        self.take_lanes(op, what, shape, [x, y, result], &[]);
        true
    }

    /// Pushes the result of an operation on the lanes in two locals.
    fn arithmetic(&mut self, what: Lanewise, shape: Shape, x: u32, y: u32) {
        let mut w = self.w();
        if what == Lanewise::Sqrt {
            w.local_get(y);
        } else {
            w.local_get(x).local_get(y);
        }
        match (what, shape) {
            (Lanewise::Add, Shape::Ss) => w.f32_add(),
            (Lanewise::Sub, Shape::Ss) => w.f32_sub(),
            (Lanewise::Mul, Shape::Ss) => w.f32_mul(),
            (Lanewise::Div, Shape::Ss) => w.f32_div(),
            (Lanewise::Sqrt, Shape::Ss) => w.f32_sqrt(),
            (Lanewise::Min, Shape::Ss) => w.local_get(x).local_get(y).f32_lt().select(),
            (_, Shape::Ss) => w.local_get(x).local_get(y).f32_gt().select(),
            (Lanewise::Add, Shape::Sd) => w.f64_add(),
            (Lanewise::Sub, Shape::Sd) => w.f64_sub(),
            (Lanewise::Mul, Shape::Sd) => w.f64_mul(),
            (Lanewise::Div, Shape::Sd) => w.f64_div(),
            (Lanewise::Sqrt, Shape::Sd) => w.f64_sqrt(),
            (Lanewise::Min, Shape::Sd) => w.local_get(x).local_get(y).f64_lt().select(),
            (_, Shape::Sd) => w.local_get(x).local_get(y).f64_gt().select(),
            (Lanewise::Add, Shape::Ps) => w.f32x4_add(),
            (Lanewise::Sub, Shape::Ps) => w.f32x4_sub(),
            (Lanewise::Mul, Shape::Ps) => w.f32x4_mul(),
            (Lanewise::Div, Shape::Ps) => w.f32x4_div(),
            (Lanewise::Sqrt, Shape::Ps) => w.f32x4_sqrt(),
            (Lanewise::Min, Shape::Ps) => w.drop().drop().local_get(y).local_get(x).f32x4_pmin(),
            (_, Shape::Ps) => w.drop().drop().local_get(y).local_get(x).f32x4_pmax(),
            (Lanewise::Add, Shape::Pd) => w.f64x2_add(),
            (Lanewise::Sub, Shape::Pd) => w.f64x2_sub(),
            (Lanewise::Mul, Shape::Pd) => w.f64x2_mul(),
            (Lanewise::Div, Shape::Pd) => w.f64x2_div(),
            (Lanewise::Sqrt, Shape::Pd) => w.f64x2_sqrt(),
            (Lanewise::Min, Shape::Pd) => w.drop().drop().local_get(y).local_get(x).f64x2_pmin(),
            (_, Shape::Pd) => w.drop().drop().local_get(y).local_get(x).f64x2_pmax(),
        };
    }

    /// `cmpps` and its kin: masks.
    fn compare_lanes(&mut self, op: &Op) -> bool {
        let shape = Shape::of(op.c);
        let (a, b) = (VSlot(op.a), VSlot(op.b));
        // Of scalars the other lanes do no harm: they are not taken.
        let whole = if shape.is_double() { Shape::Pd } else { Shape::Ps };
        let (x, y, result) = (self.float_local(0, shape), self.float_local(1, shape), self.vector_scratch(2));
        self.get_vector(a);
        self.get_vector(b);
        let double = whole == Shape::Pd;
        let mut w = self.w();
        match op.imm & 3 {
            0 if double => w.f64x2_eq(),
            0 => w.f32x4_eq(),
            1 if double => w.f64x2_lt(),
            1 => w.f32x4_lt(),
            2 if double => w.f64x2_le(),
            2 => w.f32x4_le(),
            _ => w.drop().drop(),
        };
        if op.imm & 3 == 3 {
            for slot in [a, b] {
                self.get_vector(slot);
                self.get_vector(slot);
                self.compare_whole(Compare::Ne, double);
            }
            self.w().v128_or();
        }
        if op.imm & 4 != 0 {
            self.w().v128_not();
        }
        self.w().local_set(result);
        self.operand(a, shape);
        self.w().local_set(x);
        self.operand(b, shape);
        self.w().local_set(y);
        self.push_numbers(x, y, shape);
        if !self.is_plain(a, shape) {
            self.and_plain(x, shape);
        }
        if !self.is_plain(b, shape) {
            self.and_plain(y, shape);
        }
        self.hint(true);
        self.open_if(None);
        if shape.is_packed() {
            self.w().local_get(result);
        } else {
            self.w().local_get(result);
            self.get_vector(a);
            let low = if double { u64::MAX.into() } else { i128::from(u32::MAX) };
            self.w().v128_const(low).v128_bitselect();
        }
        self.set_vector(VSlot(op.dst));
        self.w().else_();
        self.call_assist(op);
        self.close();
        self.plain[usize::from(op.dst & 31)] = 0;
        true
    }

    /// `ucomisd` and its kin: flags.
    fn compare_scalars(&mut self, op: &Op) {
        let shape = Shape::scalar(op.c);
        let (a, b) = (VSlot(op.a), VSlot(op.b));
        let (x, y) = (self.float_local(0, shape), self.float_local(1, shape));
        self.operand(a, shape);
        self.w().local_set(x);
        self.operand(b, shape);
        self.w().local_set(y);
        self.push_host_rounds();
        for value in [x, y] {
            self.w().local_get(value).local_get(value);
            self.compare_equal(shape);
            self.w().i32_and();
        }
        if !self.is_plain(a, shape) {
            self.and_plain(x, shape);
        }
        if !self.is_plain(b, shape) {
            self.and_plain(y, shape);
        }
        self.hint(true);
        self.open_if(None);
        self.w().local_get(x).local_get(y);
        if shape == Shape::Sd {
            self.w().f64_lt().local_get(x).local_get(y).f64_eq();
        } else {
            self.w().f32_lt().local_get(x).local_get(y).f32_eq();
        }
        self.w().i32_const(6).i32_shl().i32_or().local_set(local::FLAG_A);
        self.w().else_();
        self.call_assist(op);
        let at = self.state_at(state_offset::ARGS);
        self.w().i32_const(0).i32_const(0).i32_store(at);
        self.w().i32_const(Request::Flags as i32).i32_const(0).i32_const(0);
        self.request();
        self.w().local_set(local::FLAG_A);
        self.close();
    }

    /// Calls the assist of an operation and takes over its result.
    pub(super) fn call_assist(&mut self, op: &Op) {
        self.call_assist_only(op);
        if vm_cpu::assist::row(op.assist_number()).operands.starts_with('v') {
            self.vector_from_memory(VSlot(op.dst));
        }
    }

    /// Calls the assist of an operation, whose result stays in memory.
    pub(super) fn call_assist_only(&mut self, op: &Op) {
        let row = vm_cpu::assist::row(op.assist_number());
        debug_assert!(row.effects.contains(Effects::TRAPS));
        self.operands_to_memory(op, row.operands);
        let number = self.numbers.operation(*op);
        self.w().i32_const(Request::Assist as i32).i32_const(number as i32).i32_const(0);
        self.request();
        self.open_unlikely_if();
        self.stop(Why::Refused { stores_back: false });
        self.close();
    }
}
