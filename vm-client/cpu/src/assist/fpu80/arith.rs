//! Addition, subtraction, multiplication, division, square root, rounding to an integer, scaling, splitting.

use super::exception::{PRECISION, ZERO_DIVIDE};
use super::{Class, Context, MAX_EXPONENT, MIN_EXPONENT, quick};
use crate::F80;
use crate::assist::soft::{self, Exact, Number, Rounding};

/// `a + b`.
pub(crate) fn add(cx: &mut Context, a: F80, b: F80) -> F80 {
    if cx.is_usual()
        && let Some(result) = quick::add(a, b)
    {
        return cx.take(result);
    }
    if let Some(nan) = cx.nan_pair(a, b) {
        return nan;
    }
    let infinite = |x: F80| x.class() == Class::Infinity;
    if infinite(a) && infinite(b) && a.is_negative() != b.is_negative() {
        return cx.invalid();
    }
    if cx.denormals(&[a, b]) {
        return a;
    }
    if infinite(a) {
        return a;
    }
    if infinite(b) {
        return b;
    }
    let down = cx.rounding == Rounding::Down;
    match (a.class(), b.class()) {
        (Class::Zero, Class::Zero) if a.is_negative() == b.is_negative() => a,
        (Class::Zero, Class::Zero) => F80::zero(down),
        (Class::Zero, _) => cx.finish(b.number().exact()),
        (_, Class::Zero) => cx.finish(a.number().exact()),
        _ => match soft::add(a.number(), b.number()) {
            Some(sum) => cx.finish(sum),
            None => F80::zero(down),
        },
    }
}

/// `a - b`.
pub(crate) fn sub(cx: &mut Context, a: F80, b: F80) -> F80 {
    match cx.nan_pair(a, b) {
        Some(nan) => nan,
        None => add(cx, a, b.negated()),
    }
}

/// `a * b`.
pub(crate) fn mul(cx: &mut Context, a: F80, b: F80) -> F80 {
    if cx.is_usual()
        && let Some(result) = quick::mul(a, b)
    {
        return cx.take(result);
    }
    if let Some(nan) = cx.nan_pair(a, b) {
        return nan;
    }
    let negative = a.is_negative() != b.is_negative();
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => cx.invalid(),
        _ if cx.denormals(&[a, b]) => a,
        (Class::Infinity, _) | (_, Class::Infinity) => F80::infinity(negative),
        (Class::Zero, _) | (_, Class::Zero) => F80::zero(negative),
        _ => cx.finish(soft::multiply(a.number(), b.number())),
    }
}

/// `a / b`.
pub(crate) fn div(cx: &mut Context, a: F80, b: F80) -> F80 {
    if cx.is_usual()
        && let Some(result) = quick::div(a, b)
    {
        return cx.take(result);
    }
    if let Some(nan) = cx.nan_pair(a, b) {
        return nan;
    }
    let negative = a.is_negative() != b.is_negative();
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => cx.invalid(),
        (Class::Infinity, Class::Zero) => F80::infinity(negative),
        (_, Class::Zero) => {
            cx.raise(ZERO_DIVIDE);
            F80::infinity(negative)
        }
        _ if cx.denormals(&[a, b]) => a,
        (Class::Infinity, _) => F80::infinity(negative),
        (_, Class::Infinity) | (Class::Zero, _) => F80::zero(negative),
        _ => cx.finish(soft::divide(a.number(), b.number())),
    }
}

/// The square root.
pub(crate) fn sqrt(cx: &mut Context, a: F80) -> F80 {
    if cx.is_usual()
        && let Some(result) = quick::sqrt(a)
    {
        return cx.take(result);
    }
    if let Some(nan) = cx.nan_single(a) {
        return nan;
    }
    match a.class() {
        Class::Zero => a,
        _ if a.is_negative() => cx.invalid(),
        _ if cx.denormals(&[a]) => a,
        Class::Infinity => a,
        _ => cx.finish(soft::square_root(a.number())),
    }
}

/// `frndint`.
pub(crate) fn round_to_integer(cx: &mut Context, a: F80) -> F80 {
    if let Some(nan) = cx.nan_single(a) {
        return nan;
    }
    if cx.denormals(&[a]) || matches!(a.class(), Class::Infinity | Class::Zero) {
        return a;
    }
    let number = a.number();
    if number.exponent >= 63 {
        return a;
    }
    let integer = soft::to_integer(number, cx.rounding);
    if integer.inexact {
        cx.raise(PRECISION);
    }
    cx.up = integer.up;
    match integer.magnitude {
        Some(magnitude) if magnitude != 0 => {
            let n = Number::integer(number.negative, magnitude);
            F80::pack(n.negative, n.exponent, n.mantissa)
        }
        _ => F80::zero(number.negative),
    }
}

/// `fscale`: `a` times two to the power of `b` cut to an integer.
pub(crate) fn scale(cx: &mut Context, a: F80, b: F80) -> F80 {
    if let Some(nan) = cx.nan_pair(a, b) {
        return nan;
    }
    let negative = a.is_negative();
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Infinity) if b.is_negative() => return cx.invalid(),
        (Class::Zero, Class::Infinity) if !b.is_negative() => return cx.invalid(),
        _ if cx.denormals(&[a, b]) => return a,
        (Class::Infinity | Class::Zero, _) => return a,
        (_, Class::Infinity) if b.is_negative() => return F80::zero(negative),
        (_, Class::Infinity) => return F80::infinity(negative),
        _ => {}
    }
    // Anything beyond this overflows or underflows whatever `a` is.
    const LIMIT: i32 = 0x10000;
    let by = match b.class() {
        Class::Zero => 0,
        _ => {
            let magnitude = match soft::to_integer(b.number(), Rounding::Zero).magnitude {
                Some(m) => m.min(LIMIT as u64) as i32,
                None => LIMIT,
            };
            if b.is_negative() { -magnitude } else { magnitude }
        }
    };
    let number = a.number();
    let value = Exact { exponent: number.exponent + by, ..number.exact() };
    // Scaling keeps all 64 bits whatever the precision control says.
    cx.finish_to(value, 64)
}

/// `fxtract`: exponent and significand.
pub(crate) fn extract(cx: &mut Context, a: F80) -> (F80, F80) {
    if let Some(nan) = cx.nan_single(a) {
        return (nan, nan);
    }
    match a.class() {
        Class::Infinity => return (F80::infinity(false), a),
        Class::Zero => {
            cx.raise(ZERO_DIVIDE);
            return (F80::infinity(true), a);
        }
        _ if cx.denormals(&[a]) => return (a, a),
        _ => {}
    }
    let number = a.number();
    let exponent = integer(i64::from(number.exponent));
    (exponent, F80::pack(number.negative, 0, number.mantissa))
}

/// An integer, exactly.
pub(crate) fn integer(value: i64) -> F80 {
    if value == 0 {
        return F80::zero(false);
    }
    let n = Number::integer(value < 0, value.unsigned_abs());
    debug_assert!((MIN_EXPONENT..=MAX_EXPONENT).contains(&n.exponent));
    F80::pack(n.negative, n.exponent, n.mantissa)
}
