//! Conversions between 80-bit numbers and what memory holds: single, double, integers, packed decimal.

use super::exception::{DENORMAL, INVALID, OVERFLOW, PRECISION, UNDERFLOW};
use super::{Class, Context, INTEGER_BIT, QUIET_BIT, quick};
use crate::F80;
use crate::assist::soft::{self, DOUBLE, Format, Integer, Number, Rounding, SINGLE, Tiny};

/// From single precision. A signaling NaN stays one, for the operation that uses it to see; [`quiet`] is for plain loads.
pub(crate) fn from_f32(cx: &mut Context, bits: u32) -> F80 {
    let fraction = u64::from(bits & 0x7f_ffff) << 40;
    from_ieee(cx, bits >> 31 != 0, (bits >> 23 & 0xff) as i32, fraction, SINGLE)
}

/// From double precision.
pub(crate) fn from_f64(cx: &mut Context, bits: u64) -> F80 {
    let fraction = (bits & 0xf_ffff_ffff_ffff) << 11;
    from_ieee(cx, bits >> 63 != 0, (bits >> 52 & 0x7ff) as i32, fraction, DOUBLE)
}

/// `fraction` is left-aligned below the integer bit.
fn from_ieee(cx: &mut Context, negative: bool, biased: i32, fraction: u64, format: Format) -> F80 {
    let special = format.max + format.max + 1;
    if biased == special {
        return F80 { mantissa: INTEGER_BIT | fraction, ..F80::infinity(negative) };
    }
    if biased == 0 {
        if fraction == 0 {
            return F80::zero(negative);
        }
        cx.raise(DENORMAL);
        let n = Number::normalised(negative, format.min, fraction);
        return F80::pack(negative, n.exponent, n.mantissa);
    }
    F80::pack(negative, biased - format.max, INTEGER_BIT | fraction)
}

/// What a load makes of a number from memory: signaling NaNs are invalid and become quiet.
pub(crate) fn quiet(cx: &mut Context, value: F80) -> F80 {
    if value.class() == Class::SignalingNan {
        cx.raise(INVALID);
    }
    if value.is_nan() { F80 { mantissa: value.mantissa | QUIET_BIT, ..value } } else { value }
}

/// To single precision. Nothing when an unmasked exception keeps memory unchanged.
pub(crate) fn to_f32(cx: &mut Context, value: F80) -> Option<u32> {
    to_ieee(cx, value, SINGLE).map(|bits| bits as u32)
}

/// To double precision likewise.
pub(crate) fn to_f64(cx: &mut Context, value: F80) -> Option<u64> {
    to_ieee(cx, value, DOUBLE)
}

fn to_ieee(cx: &mut Context, value: F80, format: Format) -> Option<u64> {
    let fraction_bits = format.precision - 1;
    if cx.rounding == Rounding::Nearest
        && let Some((bits, inexact, up)) = quick::to_ieee(value, fraction_bits, format.max)
    {
        if inexact {
            cx.raise(PRECISION);
        }
        cx.up = up;
        return (!cx.prevented()).then_some(bits);
    }
    let special = ((format.max + format.max + 1) as u64) << fraction_bits;
    let sign_bit = 1 << (fraction_bits + format.max.count_ones() + 1);
    let sign = if value.is_negative() { sign_bit } else { 0 };
    let nan = |mantissa: u64| sign | special | (mantissa & !INTEGER_BIT | QUIET_BIT) >> (63 - fraction_bits);
    let bits = match value.class() {
        Class::Zero => sign,
        Class::Infinity => sign | special,
        Class::QuietNan => nan(value.mantissa),
        Class::SignalingNan => {
            cx.raise(INVALID);
            nan(value.mantissa)
        }
        Class::Unsupported => {
            cx.raise(INVALID);
            sign_bit | special | 1 << (fraction_bits - 1)
        }
        Class::Normal | Class::Denormal => {
            let number = value.number();
            let r = soft::round(number.exact(), format, cx.rounding, Tiny::Denormalise);
            if r.tiny && (r.inexact || !cx.masked(UNDERFLOW)) {
                cx.raise(UNDERFLOW);
            }
            if r.overflow {
                cx.raise(OVERFLOW);
            }
            let prevented = cx.raised & !cx.masks & (OVERFLOW | UNDERFLOW) != 0;
            if prevented {
                return None;
            }
            cx.up = r.up;
            if r.inexact || r.overflow {
                cx.raise(PRECISION);
            }
            if r.overflow {
                let infinite = match cx.rounding {
                    Rounding::Nearest => true,
                    Rounding::Down => number.negative,
                    Rounding::Up => !number.negative,
                    Rounding::Zero => false,
                };
                cx.up = infinite;
                sign | if infinite { special } else { special - 1 }
            } else {
                let biased = if r.mantissa & INTEGER_BIT == 0 { 0 } else { (r.exponent + format.max) as u64 };
                sign | biased << fraction_bits | (r.mantissa & !INTEGER_BIT) >> (63 - fraction_bits)
            }
        }
    };
    (!cx.prevented()).then_some(bits)
}

/// To a signed integer of so many bits; the "integer indefinite" when that is impossible.
pub(crate) fn to_int(cx: &mut Context, value: F80, bits: u32, rounding: Rounding) -> i64 {
    let indefinite = i64::MIN >> (64 - bits);
    match integer(cx, value, rounding) {
        Some((negative, Integer { magnitude: Some(magnitude), inexact, up })) => {
            let limit = (1u64 << (bits - 1)) - u64::from(!negative);
            if magnitude > limit {
                cx.raise(INVALID);
                return indefinite;
            }
            if inexact {
                cx.raise(PRECISION);
            }
            cx.up = up;
            if negative { (magnitude as i64).wrapping_neg() } else { magnitude as i64 }
        }
        _ => {
            cx.raise(INVALID);
            indefinite
        }
    }
}

/// Nothing for what is no number.
fn integer(cx: &Context, value: F80, rounding: Rounding) -> Option<(bool, Integer)> {
    debug_assert_eq!(cx.raised & PRECISION, 0);
    match value.class() {
        Class::Zero => Some((value.is_negative(), Integer { magnitude: Some(0), inexact: false, up: false })),
        Class::Normal | Class::Denormal => Some((value.is_negative(), soft::to_integer(value.number(), rounding))),
        _ => None,
    }
}

/// From packed decimal: 18 digits and a sign.
pub(crate) fn from_bcd(bytes: [u8; 10]) -> F80 {
    let magnitude = bytes[..9].iter().rev().fold(0u64, |value, byte| {
        value.wrapping_mul(100).wrapping_add(u64::from(byte >> 4) * 10 + u64::from(byte & 15))
    });
    let negative = bytes[9] & 0x80 != 0;
    if magnitude == 0 {
        return F80::zero(negative);
    }
    let n = Number::integer(negative, magnitude);
    F80::pack(negative, n.exponent, n.mantissa)
}

/// To packed decimal; the "packed BCD indefinite" when that is impossible.
pub(crate) fn to_bcd(cx: &mut Context, value: F80) -> [u8; 10] {
    const LIMIT: u64 = 999_999_999_999_999_999;
    if let Some((negative, Integer { magnitude: Some(mut rest), inexact, up })) = integer(cx, value, cx.rounding)
        && rest <= LIMIT
    {
        if inexact {
            cx.raise(PRECISION);
        }
        cx.up = up;
        let mut bytes = [0; 10];
        for byte in &mut bytes[..9] {
            *byte = ((rest % 10) | ((rest / 10 % 10) << 4)) as u8;
            rest /= 100;
        }
        bytes[9] = u8::from(negative) << 7;
        return bytes;
    }
    cx.raise(INVALID);
    [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff]
}
