//! What is looked at before a result of the host's floating point is taken, see `float`.

use vm_cpu::assist::Lanewise;
use wasm_encoder::{Ieee32, Ieee64};

use super::Emitter;
use super::mxcsr::{DOUBLES_SHIFT, SINGLES_SHIFT};

/// What is known of the lanes of a vector: they are not denormal.
mod plain {
    pub(super) const SINGLE: u8 = 1;
    pub(super) const SINGLES: u8 = 2;
    pub(super) const DOUBLE: u8 = 4;
    pub(super) const DOUBLES: u8 = 8;
}

/// The lanes an instruction works on, as instructions number them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Ps,
    Ss,
    Pd,
    Sd,
}

impl Shape {
    pub(super) fn of(number: u8) -> Shape {
        [Shape::Ps, Shape::Ss, Shape::Pd, Shape::Sd][usize::from(number & 3)]
    }

    pub(super) fn scalar(number: u8) -> Shape {
        if number & 1 == 0 { Shape::Ss } else { Shape::Sd }
    }

    pub(super) fn is_double(self) -> bool {
        matches!(self, Shape::Pd | Shape::Sd)
    }

    pub(super) fn is_packed(self) -> bool {
        matches!(self, Shape::Ps | Shape::Pd)
    }

    /// What has to be known for lanes of this shape to be plain.
    pub(super) fn bit(self) -> u8 {
        match self {
            Shape::Ps => plain::SINGLES,
            Shape::Ss => plain::SINGLE,
            Shape::Pd => plain::DOUBLES,
            Shape::Sd => plain::DOUBLE,
        }
    }

    /// All that is known when lanes of this shape are plain.
    pub(super) fn knowledge(self) -> u8 {
        match self {
            Shape::Ps => plain::SINGLES | plain::SINGLE,
            Shape::Pd => plain::DOUBLES | plain::DOUBLE,
            _ => self.bit(),
        }
    }
}

/// How lanes are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
}

pub(super) fn repeat32(bits: u32) -> i128 {
    let pair = u128::from(bits) << 32 | u128::from(bits);
    (pair << 64 | pair) as i128
}

pub(super) fn repeat64(bits: u64) -> i128 {
    (u128::from(bits) << 64 | u128::from(bits)) as i128
}

impl Emitter<'_> {
    /// With what held so far on the stack: clears it where a lane of `value` is denormal.
    pub(super) fn and_plain(&mut self, value: u32, shape: Shape) {
        // Twice the bits, which drops the sign, less one: denormal numbers are below all others, and zero above.
        match shape {
            Shape::Sd => {
                self.w().local_get(value).i64_reinterpret_f64().i64_const(1).i64_shl().i64_const(1).i64_sub();
                self.w().i64_const((1 << 53) - 1).i64_ge_u().i32_and();
            }
            Shape::Ss => {
                self.w().local_get(value).i32_reinterpret_f32().i32_const(1).i32_shl().i32_const(1).i32_sub();
                self.w().i32_const((1 << 24) - 1).i32_ge_u().i32_and();
            }
            Shape::Pd | Shape::Ps => {
                self.push_denormals(value, shape);
                self.w().v128_any_true().i32_eqz().i32_and();
            }
        }
    }

    /// Pushes a mask of the lanes of a vector that are denormal.
    pub(super) fn push_denormals(&mut self, value: u32, shape: Shape) {
        if shape.is_double() {
            self.w().local_get(value).f64x2_abs();
            self.w().v128_const(repeat64(f64::MIN_POSITIVE.to_bits())).f64x2_lt();
            self.w().local_get(value).v128_const(0).f64x2_ne().v128_and();
        } else {
            self.w().local_get(value).i32_const(1).i32x4_shl().i32_const(-1).i32x4_splat().i32x4_add();
            self.w().v128_const(repeat32((1 << 24) - 1)).i32x4_lt_u();
        }
    }

    /// Pushes whether the host rounds and a result is normal and above the smallest exponent, so that nothing new can have
    /// been raised by finding it.
    pub(super) fn push_ordinary(&mut self, value: u32, shape: Shape) {
        let Some(host) = self.host_float else {
            self.w().i32_const(0);
            return;
        };
        match shape {
            Shape::Sd => {
                self.w().local_get(value).i64_reinterpret_f64().i64_const(32).i64_shr_u().i32_wrap_i64();
                self.w().i32_const(1).i32_shl().i32_const(2 << 21).i32_sub().local_get(host.double_limit).i32_lt_u();
            }
            Shape::Ss => {
                self.w().local_get(value).i32_reinterpret_f32().i32_const(1).i32_shl();
                self.w().i32_const(2 << 24).i32_sub().local_get(host.single_limit).i32_lt_u();
            }
            Shape::Pd => {
                self.push_ordinary_lanes(value, shape);
                self.w().i64x2_all_true();
            }
            Shape::Ps => {
                self.push_ordinary_lanes(value, shape);
                self.w().i32x4_all_true();
            }
        }
    }

    /// The same of each lane, as a mask.
    fn push_ordinary_lanes(&mut self, value: u32, shape: Shape) {
        let Some(limits) = self.host_float.and_then(|host| host.lanes) else {
            self.w().v128_const(0);
            return;
        };
        // The range begins at the least number there is, for lanes are compared with their signs.
        self.w().local_get(value).i32_const(1);
        if shape.is_double() {
            self.w().i64x2_shl().v128_const(repeat64(DOUBLES_SHIFT as u64)).i64x2_add();
            self.w().local_get(limits.doubles).i64x2_lt_s();
        } else {
            self.w().i32x4_shl().v128_const(repeat32(SINGLES_SHIFT as u32)).i32x4_add();
            self.w().local_get(limits.singles).i32x4_lt_s();
        }
    }

    /// Pushes whether a scalar result is a zero which cannot have come from rounding.
    pub(super) fn push_exact_zero(&mut self, what: Lanewise, x: u32, y: u32, result: u32, shape: Shape) {
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
        self.push_host_rounds();
        self.w().i32_and();
    }

    /// Pushes whether the host rounds and two operands are numbers, or invalid operations have been noted.
    pub(super) fn push_numbers(&mut self, x: u32, y: u32, shape: Shape) {
        for value in [x, y] {
            self.w().local_get(value).local_get(value);
            self.compare_equal(shape);
        }
        match shape {
            Shape::Ps => self.w().v128_and().i32x4_all_true(),
            Shape::Pd => self.w().v128_and().i64x2_all_true(),
            Shape::Ss | Shape::Sd => self.w().i32_and(),
        };
        self.push_noted();
        self.w().i32_or();
        self.push_host_rounds();
        self.w().i32_and();
    }

    /// Pushes whether packed lanes whose result is not ordinary are what the processor gives, with NaNs put right.
    pub(super) fn second_look(&mut self, what: Lanewise, shape: Shape, x: u32, y: u32, result: u32) {
        let (double, unary) = (shape == Shape::Pd, what == Lanewise::Sqrt);
        let bad = self.vector_scratch(3);
        let noted = self.vector_scratch(4);
        let constant = |single: f32, double_too: f64| {
            if double { repeat64(double_too.to_bits()) } else { repeat32(single.to_bits()) }
        };
        // Too small to be sure, and no zero that comes from a zero.
        self.push_magnitude(result, double);
        self.w().v128_const(constant(2.0 * f32::MIN_POSITIVE, 2.0 * f64::MIN_POSITIVE));
        self.compare_whole(Compare::Lt, double);
        let source = match what {
            Lanewise::Mul => &[x, y][..],
            Lanewise::Div => &[x][..],
            Lanewise::Sqrt => &[y][..],
            _ => &[result][..],
        };
        for (i, local) in source.iter().enumerate() {
            self.w().local_get(*local).v128_const(0);
            self.compare_whole(Compare::Eq, double);
            if i > 0 {
                self.w().v128_or();
            }
        }
        self.w().v128_andnot();
        // Not finite, and not noted before.
        self.push_magnitude(result, double);
        self.w().v128_const(constant(f32::MAX, f64::MAX));
        self.compare_whole(Compare::Le, double);
        self.push_noted();
        self.w().i32_const(-1).i32_mul().i32x4_splat().local_tee(noted).v128_or().v128_not().v128_or();
        if what == Lanewise::Div {
            self.w().local_get(y).v128_const(0);
            self.compare_whole(Compare::Eq, double);
            self.w().v128_or();
        }
        for value in &[y, x][..if unary { 1 } else { 2 }] {
            self.push_denormals(*value, shape);
            self.w().v128_or();
        }
        self.w().local_set(bad);
        self.put_nans_right(shape, [x, y], unary, result);
        self.w().local_get(bad).v128_any_true().i32_eqz();
        self.push_host_rounds();
        self.w().i32_and();
    }

    /// Pushes whether invalid operations and overflow have been noted and no lane is too small to be sure: then all lanes are
    /// ordinary, infinite or NaNs.
    pub(super) fn push_only_special(&mut self, what: Lanewise, shape: Shape, operands: &[u32], y: u32, result: u32) {
        let double = shape.is_double();
        let least = |single: f32, double_too: f64| {
            if double { repeat64(double_too.to_bits()) } else { repeat32(single.to_bits()) }
        };
        self.push_magnitude(result, double);
        self.w().v128_const(least(2.0 * f32::MIN_POSITIVE, 2.0 * f64::MIN_POSITIVE));
        self.compare_whole(Compare::Lt, double);
        for value in operands {
            self.push_magnitude(*value, double);
            self.w().v128_const(least(f32::MIN_POSITIVE, f64::MIN_POSITIVE));
            self.compare_whole(Compare::Lt, double);
            self.w().v128_or();
        }
        if what == Lanewise::Div {
            self.w().local_get(y).v128_const(0);
            self.compare_whole(Compare::Eq, double);
            self.w().v128_or();
        }
        self.w().v128_any_true().i32_eqz();
        self.push_noted();
        self.w().i32_and();
    }

    /// Gives the NaNs of a result the bits that the processor gives them.
    pub(super) fn put_nans_right(&mut self, shape: Shape, [x, y]: [u32; 2], unary: bool, result: u32) {
        let (double, chosen) = (shape == Shape::Pd, self.vector_scratch(4));
        // An invalid operation gives the indefinite; else the first NaN, quiet.
        let quiet = if double { repeat64(1 << 51) } else { repeat32(1 << 22) };
        let indefinite = if double { repeat64(0xfff8 << 48) } else { repeat32(0xffc0_0000) };
        self.w().v128_const(indefinite);
        for value in &[y, x][..if unary { 1 } else { 2 }] {
            // What was chosen so far is the second of the selection: the operand goes first.
            self.w().local_set(chosen).local_get(*value).v128_const(quiet).v128_or().local_get(chosen);
            self.w().local_get(*value).local_get(*value);
            self.compare_whole(Compare::Ne, double);
            self.w().v128_bitselect();
        }
        self.w().local_get(result).local_get(result).local_get(result);
        self.compare_whole(Compare::Ne, double);
        self.w().v128_bitselect().local_set(result);
    }

    /// Compares two values of a shape.
    pub(super) fn compare_equal(&mut self, shape: Shape) {
        match shape {
            Shape::Ss => self.w().f32_eq(),
            Shape::Sd => self.w().f64_eq(),
            Shape::Ps => self.w().f32x4_eq(),
            Shape::Pd => self.w().f64x2_eq(),
        };
    }

    /// Compares two vectors lane by lane.
    pub(super) fn compare_whole(&mut self, how: Compare, double: bool) {
        match (how, double) {
            (Compare::Eq, false) => self.w().f32x4_eq(),
            (Compare::Ne, false) => self.w().f32x4_ne(),
            (Compare::Lt, false) => self.w().f32x4_lt(),
            (Compare::Le, false) => self.w().f32x4_le(),
            (Compare::Eq, true) => self.w().f64x2_eq(),
            (Compare::Ne, true) => self.w().f64x2_ne(),
            (Compare::Lt, true) => self.w().f64x2_lt(),
            (Compare::Le, true) => self.w().f64x2_le(),
        };
    }

    pub(super) fn push_magnitude(&mut self, value: u32, double: bool) {
        self.w().local_get(value);
        if double {
            self.w().f64x2_abs();
        } else {
            self.w().f32x4_abs();
        }
    }

    /// Branches to the innermost label unless the host rounds, a result is ordinary, and operands are normal.
    pub(super) fn branch_unless_ordinary(&mut self, result: u32, operands: &[u32], shape: Shape) {
        if shape.is_packed() {
            let double = shape.is_double();
            let least =
                if double { repeat64(f64::MIN_POSITIVE.to_bits()) } else { repeat32(f32::MIN_POSITIVE.to_bits()) };
            self.push_ordinary_lanes(result, shape);
            for value in operands {
                self.w().v128_const(least);
                self.push_magnitude(*value, double);
                self.compare_whole(Compare::Le, double);
                self.w().v128_and();
            }
            if double {
                self.w().i64x2_bitmask().i32_const(3).i32_ne();
            } else {
                self.w().i32x4_bitmask().i32_const(15).i32_ne();
            }
            self.br_if(0, false);
            return;
        }
        self.push_ordinary(result, shape);
        self.w().i32_eqz();
        self.br_if(0, false);
        // Zeros are left to the second look with the denormal numbers: both are below.
        for value in operands {
            if shape == Shape::Sd {
                self.w().local_get(*value).i64_reinterpret_f64().i64_const(32).i64_shr_u().i32_wrap_i64();
                self.w().i32_const(1).i32_shl().i32_const(1 << 21).i32_lt_u();
            } else {
                self.w().local_get(*value).i32_reinterpret_f32().i32_const(1).i32_shl();
                self.w().i32_const(1 << 24).i32_lt_u();
            }
            self.br_if(0, false);
        }
    }
}
