//! Conversions of SSE: between precisions, to and from integers, and rounding to integers. How results are checked is in
//! `float`.

use vm_cpu::assist::Other;
use vm_cpu::ir::{Op, VSlot};
use wasm_encoder::{Ieee32, Ieee64};

use super::checks::{Shape, repeat32, repeat64};
use super::shuffle::lanes;
use super::{Emitter, local};

impl Emitter<'_> {
    /// `roundps` and its kin.
    pub(super) fn round_lanes(&mut self, op: &Op) -> bool {
        let shape = Shape::of(op.c);
        let (x, result) = (self.float_local(1, shape), self.float_local(2, shape));
        self.operand(VSlot(op.b), shape);
        self.w().local_tee(x);
        // MXCSR's mode is to nearest where the host is asked at all.
        let mode = if op.imm & 4 != 0 { 0 } else { op.imm & 3 };
        match (shape, mode) {
            (Shape::Ss, 0) => self.w().f32_nearest(),
            (Shape::Ss, 1) => self.w().f32_floor(),
            (Shape::Ss, 2) => self.w().f32_ceil(),
            (Shape::Ss, _) => self.w().f32_trunc(),
            (Shape::Sd, 0) => self.w().f64_nearest(),
            (Shape::Sd, 1) => self.w().f64_floor(),
            (Shape::Sd, 2) => self.w().f64_ceil(),
            (Shape::Sd, _) => self.w().f64_trunc(),
            (Shape::Ps, 0) => self.w().f32x4_nearest(),
            (Shape::Ps, 1) => self.w().f32x4_floor(),
            (Shape::Ps, 2) => self.w().f32x4_ceil(),
            (Shape::Ps, _) => self.w().f32x4_trunc(),
            (Shape::Pd, 0) => self.w().f64x2_nearest(),
            (Shape::Pd, 1) => self.w().f64x2_floor(),
            (Shape::Pd, 2) => self.w().f64x2_ceil(),
            (Shape::Pd, _) => self.w().f64x2_trunc(),
        };
        self.w().local_set(result);
        self.push_host_rounds();
        self.w().local_get(x).local_get(x);
        match shape {
            Shape::Ss => self.w().f32_eq(),
            Shape::Sd => self.w().f64_eq(),
            Shape::Ps => self.w().f32x4_eq().i32x4_all_true(),
            Shape::Pd => self.w().f64x2_eq().i64x2_all_true(),
        };
        self.w().i32_and();
        self.and_plain(x, shape);
        self.take_or_call(op, shape, result);
        true
    }

    /// Between packed single and double precision.
    pub(super) fn change_lanes(&mut self, op: &Op, widens: bool) -> bool {
        let (value, result) = (self.vector_scratch(0), self.vector_scratch(2));
        let to = if widens { Shape::Pd } else { Shape::Ps };
        self.get_vector(VSlot(op.b));
        if widens {
            // The upper half is not looked at.
            self.w().v128_const(i128::from(u64::MAX)).v128_and().local_tee(value).f64x2_promote_low_f32x4();
        } else {
            self.w().local_tee(value).f32x4_demote_f64x2_zero();
        }
        self.w().local_set(result);
        // Each lane ordinary, or zero as what it comes from is.
        self.push_magnitude(result, widens);
        if widens {
            self.w().v128_const(repeat64((2.0 * f64::MIN_POSITIVE).to_bits())).f64x2_ge();
            self.push_magnitude(result, true);
            self.w().v128_const(repeat64(f64::MAX.to_bits())).f64x2_le().v128_and();
            self.w().local_get(result).v128_const(0).f64x2_eq().v128_or().i64x2_all_true();
            self.push_host_rounds();
            self.w().i32_and();
            self.and_plain(value, Shape::Ps);
        } else {
            self.w().v128_const(repeat32((2.0 * f32::MIN_POSITIVE).to_bits())).f32x4_ge();
            self.push_magnitude(result, false);
            self.w().v128_const(repeat32(f32::MAX.to_bits())).f32x4_le().v128_and();
            let upper = (u128::from(u64::MAX) << 64) as i128;
            self.w().local_get(value).v128_const(0).f64x2_eq();
            self.w().v128_const(0).i8x16_shuffle(lanes([0, 2, 4, 4])).v128_or();
            self.w().v128_const(upper).v128_or().i32x4_all_true();
            self.push_host_rounds();
            self.w().i32_and();
        }
        self.take_or_call(op, to, result);
        true
    }

    pub(super) fn float_to_int(&mut self, op: &Op) {
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
        self.hint(true);
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

    pub(super) fn int_to_float(&mut self, op: &Op) -> bool {
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
        self.hint(true);
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

    pub(super) fn conversion(&mut self, op: &Op) -> bool {
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
            self.hint(true);
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
            self.hint(true);
            self.open_if(None);
            self.get_vector(b);
            self.w().i32x4_trunc_sat_f32x4_s();
            self.set_vector(dst);
            self.w().else_();
            self.call_assist(op);
            self.close();
            return true;
        }
        for other in [Other::Haddps, Other::Haddpd, Other::Hsubps, Other::Hsubpd, Other::Addsubps, Other::Addsubpd] {
            if op.c == other as u8 {
                return self.across(op, other);
            }
        }
        if op.c == Other::Cvtps2pd as u8 || op.c == Other::Cvtpd2ps as u8 {
            return self.change_lanes(op, op.c == Other::Cvtps2pd as u8);
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
        self.push_ordinary(result, to);
        // A zero stays one.
        self.w().local_get(value);
        if widens {
            self.w().f32_const(Ieee32::from(0.0)).f32_eq();
        } else {
            self.w().f64_const(Ieee64::from(0.0)).f64_eq();
        }
        self.push_host_rounds();
        self.w().i32_and().i32_or();
        if widens && !self.is_plain(b, from) {
            self.and_plain(value, from);
        }
        self.take_or_call(op, to, result);
        true
    }
}
