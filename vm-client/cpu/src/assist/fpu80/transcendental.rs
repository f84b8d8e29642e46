//! `f2xm1`, `fyl2x`, `fyl2xp1`, `fsin`, `fcos`, `fptan`, `fpatan`.
//!
//! Results are correctly rounded except where the exact value lies within about 2^-58 units of a rounding border.
//! The argument of the trigonometric functions is reduced by a pi of 66 bits, as processors do.

use super::exception::{PRECISION, ZERO_DIVIDE};
use super::{Class, Context, wide};
use crate::F80;
use crate::assist::soft::{self, Exact, Number};

/// The processor's pi, of 66 bits, as multiples of 2^-64.
const PROCESSOR_PI: u128 = 0x3_243f_6a88_85a3_08d3;
/// Smaller arguments (as powers of two) than this are their own sine, but for the rounding.
const TINY: i32 = -64;

/// Results always have 64 bits; that a value is never exact is made visible in its last bit.
fn finish(cx: &mut Context, value: Exact) -> F80 {
    cx.finish_to(Exact { mantissa: value.mantissa | 1, ..value }, 64)
}

/// A value just below a number's magnitude.
fn just_below(number: Number) -> Exact {
    let exact = number.exact();
    Exact::normalised(exact.negative, exact.exponent, exact.mantissa - 1)
}

/// `2^x - 1`; arguments beyond one either way are undefined and come back unchanged, as on processors.
pub(crate) fn two_to_x_minus_one(cx: &mut Context, x: F80) -> F80 {
    if let Some(nan) = cx.nan_single(x) {
        return nan;
    }
    match x.class() {
        Class::Zero => return x,
        Class::Infinity if x.is_negative() => return F80::one(true),
        Class::Infinity => return x,
        _ if cx.denormals(&[x]) => return x,
        _ => {}
    }
    let number = x.number();
    if number.exponent >= 0 {
        if number.exponent == 0 && number.mantissa == 1 << 63 {
            let one = F80::one(false);
            return if x.is_negative() { F80 { sign_exponent: 0xbffe, ..one } } else { one };
        }
        cx.raise(PRECISION);
        return x;
    }
    let magnitude = Exact { negative: false, ..number.exact() };
    let power = wide::exp_minus_one(wide::multiply(magnitude, wide::LN_2));
    let value = match x.is_negative() {
        false => power,
        // 2^-a - 1 = -(2^a - 1) / 2^a
        true => Exact { negative: true, ..wide::divide(power, wide::add(wide::ONE, power)) },
    };
    finish(cx, value)
}

/// The binary logarithm of a positive number other than a power of two.
fn log2(x: Number) -> Exact {
    // The significand is brought between the roots of 1/2 and 2.
    const ROOT_2: u64 = 0xb504_f333_f9de_6484;
    let halve = x.mantissa > ROOT_2;
    let m = Exact { negative: false, exponent: -i32::from(halve), ..x.exact() };
    let t = wide::divide(wide::subtract(m, wide::ONE), wide::add(m, wide::ONE));
    let fraction = wide::multiply(wide::log_ratio(t), wide::LOG2_E);
    wide::add(wide_integer(x.exponent + i32::from(halve)), fraction)
}

fn wide_integer(value: i32) -> Exact {
    if value == 0 {
        return wide::ZERO;
    }
    Number::integer(value < 0, u64::from(value.unsigned_abs())).exact()
}

/// `y * log2(x)`.
pub(crate) fn y_log2_x(cx: &mut Context, x: F80, y: F80) -> F80 {
    if let Some(nan) = cx.nan_pair(x, y) {
        return nan;
    }
    let one = x.class() == Class::Normal && x.number().exponent == 0 && x.mantissa == 1 << 63 && !x.is_negative();
    match (x.class(), y.class()) {
        (Class::Zero, Class::Zero) => return cx.invalid(),
        (Class::Zero, Class::Infinity) => return F80::infinity(!y.is_negative()),
        (Class::Zero, _) => {
            cx.raise(ZERO_DIVIDE);
            return F80::infinity(!y.is_negative());
        }
        _ if x.is_negative() => return cx.invalid(),
        (Class::Infinity, Class::Zero) => return cx.invalid(),
        (_, Class::Infinity) if one => return cx.invalid(),
        _ if cx.denormals(&[x, y]) => return y,
        (Class::Infinity, _) => return F80::infinity(y.is_negative()),
        (_, Class::Infinity) => return F80::infinity(y.is_negative() != (x.number().exponent < 0)),
        (_, Class::Zero) => return F80::zero(y.is_negative() != (x.number().exponent < 0)),
        _ if one => return F80::zero(y.is_negative()),
        _ => {}
    }
    let (x, y) = (x.number(), y.number());
    if x.mantissa == 1 << 63 {
        let log = Number::integer(x.exponent < 0, u64::from(x.exponent.unsigned_abs()));
        return cx.finish_to(soft::multiply(y, log), 64);
    }
    finish(cx, wide::multiply(log2(x), y.exact()))
}

/// `y * log2(x + 1)`.
pub(crate) fn y_log2_x_plus_one(cx: &mut Context, x: F80, y: F80) -> F80 {
    if let Some(nan) = cx.nan_pair(x, y) {
        return nan;
    }
    match (x.class(), y.class()) {
        (Class::Infinity, _) if x.is_negative() => return cx.invalid(),
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return cx.invalid(),
        _ if cx.denormals(&[x, y]) => return y,
        (Class::Infinity, _) => return F80::infinity(y.is_negative()),
        (Class::Zero, _) | (_, Class::Zero) => return F80::zero(x.is_negative() != y.is_negative()),
        (_, Class::Infinity) => return F80::infinity(x.is_negative() != y.is_negative()),
        _ => {}
    }
    let number = x.number();
    if x.is_negative() && number.exponent >= 0 {
        // Not a number's logarithm: undefined.
        cx.raise(PRECISION);
        return x;
    }
    let exact = number.exact();
    let log = if number.exponent < -2 {
        // ln(1 + x) with t = x / (2 + x)
        let t = wide::divide(exact, wide::add(Exact { exponent: 1, ..wide::ONE }, exact));
        wide::multiply(wide::log_ratio(t), wide::LOG2_E)
    } else {
        let sum = wide::add(wide::ONE, exact);
        let m = Number { negative: false, exponent: sum.exponent, mantissa: (sum.mantissa >> 64) as u64 };
        if m.exact() == sum && m.mantissa == 1 << 63 {
            let log = wide_integer(m.exponent);
            return cx.finish_to(wide::multiply(log, y.number().exact()), 64);
        }
        log2_wide(sum)
    };
    finish(cx, wide::multiply(log, y.number().exact()))
}

/// The binary logarithm of a wide positive number.
fn log2_wide(x: Exact) -> Exact {
    const ROOT_2: u128 = 0xb504_f333_f9de_6484 << 64;
    let halve = x.mantissa > ROOT_2;
    let m = Exact { exponent: -i32::from(halve), ..x };
    let t = wide::divide(wide::subtract(m, wide::ONE), wide::add(m, wide::ONE));
    let fraction = wide::multiply(wide::log_ratio(t), wide::LOG2_E);
    wide::add(wide_integer(x.exponent + i32::from(halve)), fraction)
}

/// An angle brought to the first eighth of the circle.
struct Reduced {
    /// The rest, and whether it counts downwards from the next multiple of a quarter circle.
    rest: Exact,
    negative: bool,
    /// Quarter circles before it.
    quarters: u32,
}

/// Reduces the magnitude of an angle below 2^63.
fn reduce(x: Number) -> Reduced {
    let exact = Exact { negative: false, ..x.exact() };
    if x.exponent < -2 {
        return Reduced { rest: exact, negative: false, quarters: 0 };
    }
    // In units of 2^-65 the angle is an integer and half of pi is PROCESSOR_PI.
    let fixed = u128::from(x.mantissa) << (x.exponent + 2);
    let (quarters, rest) = ((fixed / PROCESSOR_PI) as u32, fixed % PROCESSOR_PI);
    let (negative, rest) = if rest * 2 > PROCESSOR_PI { (true, PROCESSOR_PI - rest) } else { (false, rest) };
    let rest = if rest == 0 { wide::ZERO } else { Exact::normalised(false, 127 - 65, rest) };
    Reduced { rest, negative, quarters: quarters.wrapping_add(u32::from(negative)) }
}

/// What the trigonometric functions give.
pub(crate) enum Angle<T> {
    /// Results.
    Value(T),
    /// The argument is too large (C2 is set, nothing changes).
    OutOfRange,
}

fn angle(cx: &mut Context, x: F80) -> Angle<Option<F80>> {
    if let Some(nan) = cx.nan_single(x) {
        return Angle::Value(Some(nan));
    }
    match x.class() {
        Class::Infinity => Angle::Value(Some(cx.invalid())),
        Class::Zero => Angle::Value(None),
        _ if cx.denormals(&[x]) => Angle::Value(Some(x)),
        _ if x.number().exponent >= 63 => Angle::OutOfRange,
        _ => Angle::Value(None),
    }
}

/// Sine and cosine of a finite angle with their signs.
fn both(x: Number) -> (Exact, Exact) {
    let reduced = reduce(x);
    let (sine, cosine) = wide::sine_cosine(reduced.rest);
    let sine = Exact { negative: reduced.negative, ..sine };
    let (s, c) = match reduced.quarters & 3 {
        0 => (sine, cosine),
        1 => (cosine, negate(sine)),
        2 => (negate(sine), negate(cosine)),
        _ => (negate(cosine), sine),
    };
    (Exact { negative: s.negative != x.negative, ..s }, c)
}

fn negate(x: Exact) -> Exact {
    Exact { negative: !x.negative, ..x }
}

fn round_trigonometric(cx: &mut Context, value: Exact) -> F80 {
    if value.mantissa == 0 {
        return F80::zero(value.negative);
    }
    finish(cx, value)
}

/// `fsin`.
pub(crate) fn sine(cx: &mut Context, x: F80) -> Angle<F80> {
    match angle(cx, x) {
        Angle::OutOfRange => Angle::OutOfRange,
        Angle::Value(Some(value)) => Angle::Value(value),
        Angle::Value(None) if x.class() == Class::Zero => Angle::Value(x),
        Angle::Value(None) => {
            let number = x.number();
            let value = if number.exponent < TINY { just_below(number) } else { both(number).0 };
            Angle::Value(round_trigonometric(cx, value))
        }
    }
}

/// `fcos`.
pub(crate) fn cosine(cx: &mut Context, x: F80) -> Angle<F80> {
    match angle(cx, x) {
        Angle::OutOfRange => Angle::OutOfRange,
        Angle::Value(Some(value)) => Angle::Value(value),
        Angle::Value(None) if x.class() == Class::Zero => Angle::Value(F80::one(false)),
        Angle::Value(None) => {
            let number = x.number();
            let one = Number { negative: false, exponent: 0, mantissa: 1 << 63 };
            let value = if number.exponent < TINY / 2 - 1 { just_below(one) } else { both(number).1 };
            Angle::Value(round_trigonometric(cx, value))
        }
    }
}

/// `fptan`.
pub(crate) fn tangent(cx: &mut Context, x: F80) -> Angle<F80> {
    match angle(cx, x) {
        Angle::OutOfRange => Angle::OutOfRange,
        Angle::Value(Some(value)) => Angle::Value(value),
        Angle::Value(None) if x.class() == Class::Zero => Angle::Value(x),
        Angle::Value(None) => {
            let number = x.number();
            if number.exponent < TINY {
                return Angle::Value(finish(cx, number.exact()));
            }
            let (sine, cosine) = both(number);
            if sine.mantissa == 0 || cosine.mantissa == 0 {
                // No 64-bit number is a multiple of the processor's pi.
                cx.raise(PRECISION);
                return Angle::Value(F80::zero(sine.negative));
            }
            Angle::Value(finish(cx, wide::divide(sine, cosine)))
        }
    }
}

/// `fpatan`: the angle of the point (x, y).
pub(crate) fn arc_tangent(cx: &mut Context, x: F80, y: F80) -> F80 {
    if let Some(nan) = cx.nan_pair(x, y) {
        return nan;
    }
    if cx.denormals(&[x, y]) {
        return y;
    }
    let negative = y.is_negative();
    let angle = |cx: &mut Context, eighths: u64| {
        let pi = wide::PI;
        let times = wide::multiply(pi, Number::integer(negative, eighths).exact());
        finish(cx, Exact { exponent: times.exponent - 2, ..times })
    };
    match (y.class(), x.class()) {
        (Class::Infinity, Class::Infinity) if x.is_negative() => angle(cx, 3),
        (Class::Infinity, Class::Infinity) => angle(cx, 1),
        (Class::Infinity, _) => angle(cx, 2),
        (_, Class::Infinity) | (Class::Zero, _) if x.is_negative() => angle(cx, 4),
        (_, Class::Infinity) | (Class::Zero, _) => F80::zero(negative),
        (_, Class::Zero) => angle(cx, 2),
        _ => {
            let (b, a) = (y.number(), x.number());
            let wide_of = |n: Number| Exact { negative: false, ..n.exact() };
            let flat = b.cmp_magnitude(a).is_le();
            let ratio = if flat { wide::divide(wide_of(b), wide_of(a)) } else { wide::divide(wide_of(a), wide_of(b)) };
            let exact_ratio = flat && !a.negative && soft::divide(b, a).mantissa & 1 == 0;
            if ratio.exponent < TINY && flat && !a.negative {
                let value = if exact_ratio {
                    Exact::normalised(negative, ratio.exponent, ratio.mantissa - 1)
                } else {
                    Exact { negative, ..ratio }
                };
                return finish(cx, value);
            }
            let small = wide::arc_tangent(ratio);
            let half_pi = Exact { exponent: 0, ..wide::PI };
            let upright = if flat { small } else { wide::subtract(half_pi, small) };
            let value = if a.negative { wide::subtract(wide::PI, upright) } else { upright };
            finish(cx, Exact { negative, ..value })
        }
    }
}
