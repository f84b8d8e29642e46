//! SSE arithmetic.
//!
//! The host's own operations are used where they do exactly what the processor does, flags included: rounding to nearest,
//! every exception masked, inexactness noted before, operands and result zero or normal. That much is checked at run time;
//! what does not pass goes to the assist. Lanes that are known to be zero or normal ([`plain`]) are not checked again: where
//! a result of the assist is neither, the rest of the block takes the assist, too.

use vm_cpu::assist::{AssistId, Effects, Lanewise, Other};
use vm_cpu::ir::{Op, VSlot};
use wasm_encoder::{Ieee32, Ieee64, ValType};

use super::{Emitter, Why, local, state_offset};
use crate::host::Request;

/// What is known of the lanes of a vector: they are zero or normal numbers.
mod plain {
    pub(super) const SINGLE: u8 = 1;
    pub(super) const SINGLES: u8 = 2;
    pub(super) const DOUBLE: u8 = 4;
    pub(super) const DOUBLES: u8 = 8;
}

/// The lanes an instruction works on, as instructions number them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Ps,
    Ss,
    Pd,
    Sd,
}

impl Shape {
    fn of(number: u8) -> Shape {
        [Shape::Ps, Shape::Ss, Shape::Pd, Shape::Sd][usize::from(number & 3)]
    }

    fn scalar(number: u8) -> Shape {
        if number & 1 == 0 { Shape::Ss } else { Shape::Sd }
    }

    fn is_double(self) -> bool {
        matches!(self, Shape::Pd | Shape::Sd)
    }

    fn is_packed(self) -> bool {
        matches!(self, Shape::Ps | Shape::Pd)
    }

    /// What has to be known for lanes of this shape to be plain.
    fn bit(self) -> u8 {
        match self {
            Shape::Ps => plain::SINGLES,
            Shape::Ss => plain::SINGLE,
            Shape::Pd => plain::DOUBLES,
            Shape::Sd => plain::DOUBLE,
        }
    }

    /// All that is known when lanes of this shape are plain.
    fn knowledge(self) -> u8 {
        match self {
            Shape::Ps => plain::SINGLES | plain::SINGLE,
            Shape::Pd => plain::DOUBLES | plain::DOUBLE,
            _ => self.bit(),
        }
    }
}

impl Emitter<'_> {
    fn is_plain(&self, slot: VSlot, shape: Shape) -> bool {
        self.plain[usize::from(slot.0 & 31)] & shape.bit() != 0
    }

    fn note_plain(&mut self, slot: VSlot, shape: Shape) {
        self.plain[usize::from(slot.0 & 31)] |= shape.knowledge();
    }

    /// Loads whether the host's arithmetic will do, into its local. Nothing is known of lanes then.
    pub(super) fn reload_mxcsr(&mut self) {
        self.plain = [0; 32];
        if let Some(local) = self.host_rounds {
            let at = self.mxcsr_at();
            self.w().i32_const(0).i32_load(at).i32_const(0x7fa0).i32_and().i32_const(0x1fa0).i32_eq().local_set(local);
        }
    }

    fn push_host_rounds(&mut self) {
        match self.host_rounds {
            Some(local) => self.w().local_get(local),
            None => self.w().i32_const(0),
        };
    }

    /// Pushes the lane or lanes of a vector in the type that arithmetic takes.
    fn operand(&mut self, slot: VSlot, shape: Shape) {
        self.get_vector(slot);
        match shape {
            Shape::Ss => self.w().f32x4_extract_lane(0),
            Shape::Sd => self.w().f64x2_extract_lane(0),
            Shape::Ps | Shape::Pd => return,
        };
    }

    /// With 1 on the stack (or what held so far): clears it unless the lanes on the stack before, in `value`, are zero or
    /// normal.
    fn and_plain(&mut self, value: u32, shape: Shape) {
        // Twice the bits, without the sign, is zero or from the smallest normal number to below infinity.
        match shape {
            Shape::Sd => {
                let zero = self.double_magnitude(value);
                self.w().i64_const(1 << 53).i64_sub().i64_const(0xffe0_0000_0000_0000_u64 as i64 - (1 << 53));
                self.w().i64_lt_u().local_get(zero).i64_eqz().i32_or().i32_and();
            }
            Shape::Ss => {
                self.w().local_get(value).i32_reinterpret_f32().i32_const(1).i32_shl().local_tee(local::SCRATCH);
                self.w().i32_const(1 << 24).i32_sub().i32_const(0xff00_0000_u32 as i32 - (1 << 24)).i32_lt_u();
                self.w().local_get(local::SCRATCH).i32_eqz().i32_or().i32_and();
            }
            Shape::Pd => {
                let magnitude = self.vector_scratch(3);
                self.w().local_get(value).f64x2_abs().local_tee(magnitude);
                self.w().f64_const(Ieee64::from(f64::MIN_POSITIVE)).f64x2_splat().f64x2_ge();
                self.w().local_get(magnitude).f64_const(Ieee64::from(f64::MAX)).f64x2_splat().f64x2_le().v128_and();
                self.w().local_get(magnitude).v128_const(0).f64x2_eq().v128_or().i64x2_all_true().i32_and();
            }
            Shape::Ps => {
                let magnitude = self.vector_scratch(3);
                self.w().local_get(value).f32x4_abs().local_tee(magnitude);
                self.w().f32_const(Ieee32::from(f32::MIN_POSITIVE)).f32x4_splat().f32x4_ge();
                self.w().local_get(magnitude).f32_const(Ieee32::from(f32::MAX)).f32x4_splat().f32x4_le().v128_and();
                self.w().local_get(magnitude).v128_const(0).f32x4_eq().v128_or().i32x4_all_true().i32_and();
            }
        }
    }

    /// Pushes twice the bits of a double without its sign, and keeps them in a local.
    fn double_magnitude(&mut self, value: u32) -> u32 {
        let kept = self.temp_local(1, ValType::I64);
        self.w().local_get(value).i64_reinterpret_f64().i64_const(1).i64_shl().local_tee(kept);
        kept
    }

    /// The same for a result: normal and above the smallest exponent, or zero where `zero_if` pushes that this is exact.
    fn and_ordinary(&mut self, value: u32, shape: Shape) {
        match shape {
            Shape::Sd => {
                self.double_magnitude(value);
                self.w().i64_const(2 << 53).i64_sub().i64_const(0xffe0_0000_0000_0000_u64 as i64 - (2 << 53));
                self.w().i64_lt_u().i32_and();
            }
            Shape::Ss => {
                self.w().local_get(value).i32_reinterpret_f32().i32_const(1).i32_shl();
                self.w()
                    .i32_const(2 << 24)
                    .i32_sub()
                    .i32_const(0xff00_0000_u32 as i32 - (2 << 24))
                    .i32_lt_u()
                    .i32_and();
            }
            Shape::Pd => {
                let magnitude = self.vector_scratch(3);
                self.w().local_get(value).f64x2_abs().local_tee(magnitude);
                self.w().f64_const(Ieee64::from(2.0 * f64::MIN_POSITIVE)).f64x2_splat().f64x2_ge();
                self.w().local_get(magnitude).f64_const(Ieee64::from(f64::MAX)).f64x2_splat().f64x2_le();
                self.w().v128_and().i64x2_all_true().i32_and();
            }
            Shape::Ps => {
                let magnitude = self.vector_scratch(3);
                self.w().local_get(value).f32x4_abs().local_tee(magnitude);
                self.w().f32_const(Ieee32::from(2.0 * f32::MIN_POSITIVE)).f32x4_splat().f32x4_ge();
                self.w().local_get(magnitude).f32_const(Ieee32::from(f32::MAX)).f32x4_splat().f32x4_le();
                self.w().v128_and().i32x4_all_true().i32_and();
            }
        }
    }

    /// Adds to a failed check of a result that it is a zero which cannot have come from rounding: with the result of the
    /// check on the stack. Only for scalars.
    fn or_exact_zero(&mut self, what: Lanewise, x: u32, y: u32, result: u32, shape: Shape) {
        let zero = |e: &mut Self, local: u32| match shape {
            Shape::Sd => {
                e.w().local_get(local).f64_const(Ieee64::from(0.0)).f64_eq();
            }
            _ => {
                e.w().local_get(local).f32_const(Ieee32::from(0.0)).f32_eq();
            }
        };
        zero(self, result);
        match what {
            Lanewise::Mul => {
                zero(self, x);
                zero(self, y);
                self.w().i32_or().i32_and();
            }
            Lanewise::Div => {
                zero(self, x);
                self.w().i32_and();
            }
            _ => {}
        }
        self.w().i32_or();
    }

    /// The local that holds an operand or result of a shape, by number.
    fn float_local(&mut self, number: u8, shape: Shape) -> u32 {
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
    fn take_or_call(&mut self, op: &Op, shape: Shape, result: u32) {
        let (dst, a) = (VSlot(op.dst), VSlot(op.a));
        self.open_if(None);
        match shape {
            Shape::Ss => {
                self.get_vector(a);
                self.w().local_get(result).f32x4_replace_lane(0);
            }
            Shape::Sd => {
                self.get_vector(a);
                self.w().local_get(result).f64x2_replace_lane(0);
            }
            Shape::Ps | Shape::Pd => {
                self.w().local_get(result);
            }
        }
        self.set_vector(dst);
        self.w().else_();
        self.call_assist(op);
        self.check_assists_result(dst, shape, result);
        self.close();
        self.note_plain(dst, shape);
    }

    /// Lets the rest of the block take the assist unless the lanes that one has written are zero or normal.
    fn check_assists_result(&mut self, dst: VSlot, shape: Shape, scratch: u32) {
        let Some(local) = self.host_rounds else { return };
        self.operand(dst, shape);
        self.w().local_set(scratch).local_get(local);
        self.and_plain(scratch, shape);
        self.w().local_set(local);
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
        let extreme = matches!(what, Lanewise::Min | Lanewise::Max);
        self.arithmetic(what, shape, x, y);
        self.w().local_set(result);
        if extreme {
            self.w().i32_const(1);
        } else {
            // Zeros are looked at apart: they are few, and exact or not by what they come from.
            self.w().i32_const(1);
            self.and_ordinary(result, shape);
            if !shape.is_packed() && !unary {
                self.or_exact_zero(what, x, y, result, shape);
            }
        }
        self.push_host_rounds();
        self.w().i32_and();
        if !unary && !self.is_plain(a, shape) {
            self.and_plain(x, shape);
        }
        if !self.is_plain(b, shape) {
            self.and_plain(y, shape);
        }
        self.take_or_call(op, shape, result);
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
            // Numbers are never unordered.
            _ => w.drop().drop().v128_const(0),
        };
        if op.imm & 4 != 0 {
            w.v128_not();
        }
        w.local_set(result);
        self.operand(a, shape);
        self.w().local_set(x);
        self.operand(b, shape);
        self.w().local_set(y);
        self.push_host_rounds();
        if !self.is_plain(a, shape) {
            self.and_plain(x, shape);
        }
        if !self.is_plain(b, shape) {
            self.and_plain(y, shape);
        }
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
        if !self.is_plain(a, shape) {
            self.and_plain(x, shape);
        }
        if !self.is_plain(b, shape) {
            self.and_plain(y, shape);
        }
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

    fn float_to_int(&mut self, op: &Op) {
        let shape = Shape::scalar(op.c);
        let value = self.float_local(0, shape);
        self.operand(VSlot(op.b), shape);
        let truncates = op.c & 2 != 0;
        let mut w = self.w();
        // What is not below 2^31 in magnitude, and no number at all, goes to the assist.
        if shape == Shape::Sd {
            if !truncates {
                w.f64_nearest();
            }
            w.local_tee(value).f64_abs().f64_const(Ieee64::from(2_147_483_648.0)).f64_lt();
        } else {
            if !truncates {
                w.f32_nearest();
            }
            w.local_tee(value).f32_abs().f32_const(Ieee32::from(2_147_483_648.0)).f32_lt();
        }
        self.push_host_rounds();
        self.w().i32_and();
        self.open_if(None);
        self.w().local_get(value);
        if shape == Shape::Sd {
            self.w().i32_trunc_f64_s();
        } else {
            self.w().i32_trunc_f32_s();
        }
        self.w().local_set(local::SCRATCH);
        self.w().else_();
        self.call_assist_only(op);
        let at = self.slot_at(op.dst);
        self.w().i32_const(0).i32_load(at).local_set(local::SCRATCH);
        self.close();
        self.w().local_get(local::SCRATCH);
        self.set32(op.dst);
    }

    fn int_to_float(&mut self, op: &Op) -> bool {
        let (dst, a) = (VSlot(op.dst), VSlot(op.a));
        if Shape::scalar(op.c) == Shape::Sd {
            // Exact.
            self.get_vector(a);
            self.get32(op.b);
            self.w().f64_convert_i32_s().f64x2_replace_lane(0);
            self.set_vector(dst);
            self.note_plain(dst, Shape::Sd);
            return true;
        }
        self.push_host_rounds();
        self.open_if(None);
        self.get_vector(a);
        self.get32(op.b);
        self.w().f32_convert_i32_s().f32x4_replace_lane(0);
        self.set_vector(dst);
        self.w().else_();
        self.call_assist(op);
        self.close();
        self.note_plain(dst, Shape::Ss);
        true
    }

    fn conversion(&mut self, op: &Op) -> bool {
        let (dst, b) = (VSlot(op.dst), VSlot(op.b));
        if op.c == Other::Cvtdq2pd as u8 {
            self.get_vector(b);
            self.w().f64x2_convert_low_i32x4_s();
            self.set_vector(dst);
            self.note_plain(dst, Shape::Pd);
            return true;
        }
        if op.c == Other::Cvtdq2ps as u8 {
            self.push_host_rounds();
            self.open_if(None);
            self.get_vector(b);
            self.w().f32x4_convert_i32x4_s();
            self.set_vector(dst);
            self.w().else_();
            self.call_assist(op);
            self.close();
            self.note_plain(dst, Shape::Ps);
            return true;
        }
        if op.c == Other::Cvttps2dq as u8 {
            let magnitude = self.vector_scratch(3);
            self.get_vector(b);
            self.w().f32x4_abs().local_tee(magnitude);
            self.w().f32_const(Ieee32::from(2_147_483_648.0)).f32x4_splat().f32x4_lt().i32x4_all_true();
            self.push_host_rounds();
            self.w().i32_and();
            self.open_if(None);
            self.get_vector(b);
            self.w().i32x4_trunc_sat_f32x4_s();
            self.set_vector(dst);
            self.w().else_();
            self.call_assist(op);
            self.close();
            return true;
        }
        let widens = op.c == Other::Cvtss2sd as u8;
        if !widens && op.c != Other::Cvtsd2ss as u8 {
            return false;
        }
        let (from, to) = if widens { (Shape::Ss, Shape::Sd) } else { (Shape::Sd, Shape::Ss) };
        let (value, result) = (self.float_local(0, from), self.float_local(2, to));
        self.operand(b, from);
        self.w().local_tee(value);
        if widens {
            self.w().f64_promote_f32().local_set(result);
        } else {
            self.w().f32_demote_f64().local_set(result);
        }
        self.push_host_rounds();
        if !self.is_plain(b, from) {
            self.and_plain(value, from);
        }
        if !widens {
            self.w().i32_const(1);
            self.and_ordinary(result, to);
            // A zero stays one.
            self.w().local_get(value).f64_const(Ieee64::from(0.0)).f64_eq().i32_or().i32_and();
        }
        self.take_or_call(op, to, result);
        true
    }

    /// Calls the assist of an operation and takes over its result.
    fn call_assist(&mut self, op: &Op) {
        self.call_assist_only(op);
        if vm_cpu::assist::row(op.assist_number()).operands.starts_with('v') {
            self.vector_from_memory(VSlot(op.dst));
        }
    }

    /// Calls the assist of an operation, whose result stays in memory.
    fn call_assist_only(&mut self, op: &Op) {
        let row = vm_cpu::assist::row(op.assist_number());
        debug_assert!(row.effects.contains(Effects::TRAPS));
        self.operands_to_memory(op, row.operands);
        let number = self.numbers.operation(*op);
        self.w().i32_const(Request::Assist as i32).i32_const(number as i32).i32_const(0);
        self.request();
        self.open_if(None);
        self.stop(Why::Refused { stores_back: false });
        self.close();
    }
}
