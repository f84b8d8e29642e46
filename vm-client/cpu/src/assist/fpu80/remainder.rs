//! `fprem` and `fprem1`: remainders, exact, at most 63 bits of quotient at a time.

use super::{Class, Context};
use crate::F80;
use crate::assist::soft::{Exact, Number};

/// How the quotient is made an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quotient {
    /// Cut off, `fprem`.
    Truncated,
    /// To the nearest, ties to even, `fprem1`.
    Nearest,
}

/// A remainder and, if there is a quotient, the condition codes C0, C1, C2, C3 in place in the status word.
pub(crate) fn remainder(cx: &mut Context, a: F80, b: F80, kind: Quotient) -> (F80, Option<u16>) {
    if let Some(nan) = cx.nan_pair(a, b) {
        return (nan, None);
    }
    match (a.class(), b.class()) {
        (Class::Infinity, _) | (_, Class::Zero) => return (cx.invalid(), None),
        _ if cx.denormals(&[a, b]) => return (a, Some(0)),
        (Class::Zero, _) => return (a, Some(0)),
        // A denormal dividend is still a result that underflow is asked about.
        (_, Class::Infinity) => return (cx.finish_to(a.number().exact(), 64), Some(0)),
        _ => {}
    }
    let (x, y) = (a.number(), b.number());
    let difference = x.exponent - y.exponent;
    if difference < -1 || difference == -1 && kind == Quotient::Truncated {
        return (cx.finish_to(x.exact(), 64), Some(0));
    }
    if difference >= 64 {
        // Partial: take a multiple of 32 bits short of the whole.
        let bits = difference as u32 & 31 | 32;
        let (_, rest) = divide(x.mantissa, y.mantissa, bits);
        let value = rest_value(x.negative, rest, x.exponent - bits as i32);
        return (value.map_or(F80::zero(a.is_negative()), |v| cx.finish_to(v, 64)), Some(0x0400));
    }
    // In units of y's last place; a dividend half as large has one bit more below.
    let (mut quotient, mut rest, unit) = match difference {
        -1 => (0, u128::from(x.mantissa), x.exponent),
        _ => {
            let (quotient, rest) = divide(x.mantissa, y.mantissa, difference as u32);
            (quotient, rest, y.exponent)
        }
    };
    let mut negative = x.negative;
    if kind == Quotient::Nearest {
        let whole = if difference == -1 { u128::from(y.mantissa) << 1 } else { u128::from(y.mantissa) };
        let twice = rest << 1;
        if twice > whole || twice == whole && quotient & 1 != 0 {
            rest = whole - rest;
            negative = !negative;
            quotient = quotient.wrapping_add(1);
        }
    }
    let codes = (quotient as u16 & 1) << 9 | (quotient as u16 & 2) << 13 | (quotient as u16 & 4) << 6;
    let value = rest_value(negative, rest, unit);
    (value.map_or(F80::zero(a.is_negative()), |v| cx.finish_to(v, 64)), Some(codes))
}

/// `(x << bits) / y` with its rest, for up to 63 bits.
fn divide(x: u64, y: u64, bits: u32) -> (u128, u128) {
    let dividend = u128::from(x) << bits;
    (dividend / u128::from(y), dividend % u128::from(y))
}

fn rest_value(negative: bool, rest: u128, exponent: i32) -> Option<Exact> {
    let rest = u64::try_from(rest).ok()?;
    (rest != 0).then(|| Number::normalised(negative, exponent, rest).exact())
}
