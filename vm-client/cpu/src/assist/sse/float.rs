//! Arithmetic on one lane.

use std::cmp::Ordering;

use super::{Context, Kind};
use crate::assist::fpu80::exception::{DENORMAL, INVALID, PRECISION, ZERO_DIVIDE};
use crate::assist::soft::{self, Number, Rounding};

/// An unpacked number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Zero,
    /// Finite; whether it was denormal.
    Number(Number, bool),
    Infinity,
    QuietNan,
    SignalingNan,
}

/// Takes a number apart; its sign is the sign bit.
pub(super) fn unpack(cx: &Context, kind: Kind, bits: u64) -> (Value, bool) {
    let negative = bits & kind.sign() != 0;
    let fraction_bits = kind.fraction_bits();
    let magnitude = bits & (kind.sign() - 1);
    let fraction = magnitude << (64 - fraction_bits) >> 1;
    let biased = (magnitude >> fraction_bits) as i32;
    let format = kind.format();
    let value = match biased {
        0 if fraction == 0 || cx.denormals_are_zeros() => Value::Zero,
        0 => Value::Number(Number::normalised(negative, format.min, fraction), true),
        _ if magnitude == kind.infinity() => Value::Infinity,
        _ if magnitude > kind.infinity() && bits & kind.quiet() != 0 => Value::QuietNan,
        _ if magnitude > kind.infinity() => Value::SignalingNan,
        _ => Value::Number(Number { negative, exponent: biased - format.max, mantissa: 1 << 63 | fraction }, false),
    };
    (value, negative)
}

/// Operations on two lanes; `Sqrt` looks at the second only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Sqrt,
}

/// `a op b`.
pub(crate) fn binary(cx: &mut Context, kind: Kind, operation: Operation, a: u64, b: u64) -> u64 {
    if super::host_will_do(cx.mxcsr)
        && let Some(result) = on_host(kind, operation, a, b)
    {
        return result;
    }
    match operation {
        Operation::Min | Operation::Max => extreme(cx, kind, operation, a, b),
        Operation::Sqrt => sqrt(cx, kind, b),
        _ => arithmetic(cx, kind, operation, a, b),
    }
}

/// The result when operands and result are well inside the range of normal numbers, so that no flag but the inexact one,
/// which the caller has already, can be raised.
#[inline]
pub(super) fn on_host(kind: Kind, operation: Operation, a: u64, b: u64) -> Option<u64> {
    let plain = |bits: u64| {
        let magnitude = bits & (kind.sign() - 1);
        magnitude == 0 || magnitude >> kind.fraction_bits() != 0 && magnitude < kind.infinity()
    };
    let ordinary = |bits: u64| {
        let biased = (bits & (kind.sign() - 1)) >> kind.fraction_bits();
        biased > 1 && biased < (kind.infinity() >> kind.fraction_bits())
    };
    if !plain(b) || operation != Operation::Sqrt && !plain(a) {
        return None;
    }
    let result = match kind {
        Kind::Single => {
            let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            let result = match operation {
                Operation::Add => x + y,
                Operation::Sub => x - y,
                Operation::Mul => x * y,
                Operation::Div => x / y,
                Operation::Sqrt => y.sqrt(),
                Operation::Min => return Some(if x < y { a } else { b }),
                Operation::Max => return Some(if x > y { a } else { b }),
            };
            u64::from(result.to_bits())
        }
        Kind::Double => {
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            let result = match operation {
                Operation::Add => x + y,
                Operation::Sub => x - y,
                Operation::Mul => x * y,
                Operation::Div => x / y,
                Operation::Sqrt => y.sqrt(),
                Operation::Min => return Some(if x < y { a } else { b }),
                Operation::Max => return Some(if x > y { a } else { b }),
            };
            result.to_bits()
        }
    };
    ordinary(result).then_some(result)
}

/// If an operand is a NaN, the result.
fn nan_pair(cx: &mut Context, kind: Kind, a: (u64, Value), b: (u64, Value)) -> Option<u64> {
    let nan = |v: Value| matches!(v, Value::QuietNan | Value::SignalingNan);
    if !nan(a.1) && !nan(b.1) {
        return None;
    }
    if a.1 == Value::SignalingNan || b.1 == Value::SignalingNan {
        cx.raise(INVALID);
    }
    Some(kind.quiet() | if nan(a.1) { a.0 } else { b.0 })
}

fn note_denormals(cx: &mut Context, operands: &[Value]) {
    if operands.iter().any(|v| matches!(v, Value::Number(_, true))) {
        cx.raise(DENORMAL);
    }
}

fn arithmetic(cx: &mut Context, kind: Kind, operation: Operation, a: u64, b: u64) -> u64 {
    let ((x, negative_x), (y, negative_y)) = (unpack(cx, kind, a), unpack(cx, kind, b));
    if let Some(nan) = nan_pair(cx, kind, (a, x), (b, y)) {
        return nan;
    }
    let negative = negative_x != negative_y;
    match operation {
        Operation::Add | Operation::Sub => {
            let flip = operation == Operation::Sub;
            add(cx, kind, (x, negative_x), (negate(y, flip), negative_y != flip))
        }
        Operation::Mul => match (x, y) {
            (Value::Infinity, Value::Zero) | (Value::Zero, Value::Infinity) => cx.invalid(kind),
            _ => {
                note_denormals(cx, &[x, y]);
                match (x, y) {
                    (Value::Number(x, _), Value::Number(y, _)) => cx.finish(kind, soft::multiply(x, y)),
                    (Value::Infinity, _) | (_, Value::Infinity) => kind.signed(kind.infinity(), negative),
                    _ => kind.signed(0, negative),
                }
            }
        },
        _ => match (x, y) {
            (Value::Infinity, Value::Infinity) | (Value::Zero, Value::Zero) => cx.invalid(kind),
            (Value::Number(..), Value::Zero) => {
                cx.raise(ZERO_DIVIDE);
                kind.signed(kind.infinity(), negative)
            }
            _ => {
                note_denormals(cx, &[x, y]);
                match (x, y) {
                    (Value::Number(x, _), Value::Number(y, _)) => cx.finish(kind, soft::divide(x, y)),
                    (Value::Infinity, _) => kind.signed(kind.infinity(), negative),
                    _ => kind.signed(0, negative),
                }
            }
        },
    }
}

fn negate(value: Value, flip: bool) -> Value {
    match value {
        Value::Number(n, denormal) => Value::Number(Number { negative: n.negative != flip, ..n }, denormal),
        other => other,
    }
}

fn add(cx: &mut Context, kind: Kind, (x, negative_x): (Value, bool), (y, negative_y): (Value, bool)) -> u64 {
    if x == Value::Infinity && y == Value::Infinity && negative_x != negative_y {
        return cx.invalid(kind);
    }
    note_denormals(cx, &[x, y]);
    let down = cx.rounding == Rounding::Down;
    match (x, y) {
        (Value::Infinity, _) => kind.signed(kind.infinity(), negative_x),
        (_, Value::Infinity) => kind.signed(kind.infinity(), negative_y),
        (Value::Number(x, _), Value::Number(y, _)) => match soft::add(x, y) {
            Some(sum) => cx.finish(kind, sum),
            None => kind.signed(0, down),
        },
        (Value::Number(n, _), _) | (_, Value::Number(n, _)) => cx.finish(kind, n.exact()),
        _ => kind.signed(0, if negative_x == negative_y { negative_x } else { down }),
    }
}

/// `min` and `max` are not symmetric: a NaN, or two zeros, give the second operand.
fn extreme(cx: &mut Context, kind: Kind, operation: Operation, a: u64, b: u64) -> u64 {
    let wanted = if operation == Operation::Min { Ordering::Less } else { Ordering::Greater };
    let first = compare(cx, kind, a, b, Nans::Signal) == Some(wanted);
    let chosen = if first { a } else { b };
    let (value, negative) = unpack(cx, kind, chosen);
    if value == Value::Zero { kind.signed(0, negative) } else { chosen }
}

/// Whether quiet NaNs are invalid operands of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nans {
    Signal,
    Quiet,
}

/// Compares; nothing means unordered.
pub(crate) fn compare(cx: &mut Context, kind: Kind, a: u64, b: u64, nans: Nans) -> Option<Ordering> {
    let ((x, negative_x), (y, negative_y)) = (unpack(cx, kind, a), unpack(cx, kind, b));
    for value in [x, y] {
        match value {
            Value::SignalingNan => cx.raise(INVALID),
            Value::QuietNan if nans == Nans::Signal => cx.raise(INVALID),
            _ => {}
        }
    }
    if [x, y].iter().any(|v| matches!(v, Value::QuietNan | Value::SignalingNan)) {
        return None;
    }
    note_denormals(cx, &[x, y]);
    let order = |value: Value, bits: u64, negative: bool| {
        let magnitude = if value == Value::Zero { 0 } else { (bits & (kind.sign() - 1)) as i128 };
        if negative { -magnitude } else { magnitude }
    };
    Some(order(x, a, negative_x).cmp(&order(y, b, negative_y)))
}

/// The eight predicates of `cmpps` and its kin.
pub(crate) fn predicate(cx: &mut Context, kind: Kind, a: u64, b: u64, number: u8) -> bool {
    let nans = match number & 3 {
        1 | 2 => Nans::Signal,
        _ => Nans::Quiet,
    };
    let ordering = compare(cx, kind, a, b, nans);
    let holds = match number & 3 {
        0 => ordering == Some(Ordering::Equal),
        1 => ordering == Some(Ordering::Less),
        2 => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        _ => ordering.is_none(),
    };
    holds != (number & 4 != 0)
}

fn sqrt(cx: &mut Context, kind: Kind, b: u64) -> u64 {
    let (value, negative) = unpack(cx, kind, b);
    match value {
        Value::QuietNan => b,
        Value::SignalingNan => {
            cx.raise(INVALID);
            b | kind.quiet()
        }
        Value::Zero => kind.signed(0, negative),
        _ if negative => cx.invalid(kind),
        Value::Infinity => b,
        Value::Number(n, denormal) => {
            if denormal {
                cx.raise(DENORMAL);
            }
            cx.finish(kind, soft::square_root(n))
        }
    }
}

/// `roundps` and its kin: `imm` holds the rounding mode, bit 2 takes MXCSR's, bit 3 keeps quiet about precision.
pub(crate) fn round_to_integer(cx: &mut Context, kind: Kind, b: u64, imm: u8) -> u64 {
    let rounding = if imm & 4 != 0 { cx.rounding } else { Rounding::from_bits(u32::from(imm)) };
    let (value, negative) = unpack(cx, kind, b);
    match value {
        Value::QuietNan | Value::Infinity => b,
        Value::SignalingNan => {
            cx.raise(INVALID);
            b | kind.quiet()
        }
        Value::Zero => kind.signed(0, negative),
        Value::Number(n, _) => {
            if n.exponent >= kind.fraction_bits() as i32 {
                return b;
            }
            let integer = soft::to_integer(n, rounding);
            if integer.inexact && imm & 8 == 0 {
                cx.raise(PRECISION);
            }
            match integer.magnitude {
                Some(m) if m != 0 => {
                    let mut exact = *cx;
                    exact.finish(kind, Number::integer(negative, m).exact())
                }
                _ => kind.signed(0, negative),
            }
        }
    }
}
