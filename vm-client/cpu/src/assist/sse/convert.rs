//! Conversions of one lane.

use super::float::{Value, unpack};
use super::{Context, Kind};
use crate::assist::fpu80::exception::{DENORMAL, INVALID, PRECISION};
use crate::assist::soft::{self, Number, Rounding};

/// Which rounding a conversion to an integer uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    /// MXCSR's.
    Rounded,
    /// Towards zero.
    Truncated,
}

/// To a signed integer of so many bits; the "integer indefinite" when that is impossible.
pub(crate) fn to_int(cx: &mut Context, kind: Kind, value: u64, bits: u32, to: To) -> u64 {
    let indefinite = 1u64 << (bits - 1);
    let rounding = if to == To::Truncated { Rounding::Zero } else { cx.rounding };
    match unpack(cx, kind, value).0 {
        Value::Zero => 0,
        Value::Number(n, _) => {
            let integer = soft::to_integer(n, rounding);
            match integer.magnitude {
                Some(m) if m <= indefinite - u64::from(!n.negative) => {
                    if integer.inexact {
                        cx.raise(PRECISION);
                    }
                    let value = if n.negative { m.wrapping_neg() } else { m };
                    if bits == 32 { value & 0xffff_ffff } else { value }
                }
                _ => {
                    cx.raise(INVALID);
                    indefinite
                }
            }
        }
        _ => {
            cx.raise(INVALID);
            indefinite
        }
    }
}

/// From a signed integer.
pub(crate) fn from_int(cx: &mut Context, kind: Kind, value: i64) -> u64 {
    if value == 0 {
        return 0;
    }
    cx.finish(kind, Number::integer(value < 0, value.unsigned_abs()).exact())
}

/// Between single and double precision.
pub(crate) fn change(cx: &mut Context, from: Kind, to: Kind, bits: u64) -> u64 {
    let (value, negative) = unpack(cx, from, bits);
    match value {
        Value::Zero => to.signed(0, negative),
        Value::Infinity => to.signed(to.infinity(), negative),
        Value::QuietNan | Value::SignalingNan => {
            if value == Value::SignalingNan {
                cx.raise(INVALID);
            }
            let (have, want) = (from.fraction_bits(), to.fraction_bits());
            let fraction = bits & ((1 << have) - 1);
            let fraction = if want > have { fraction << (want - have) } else { fraction >> (have - want) };
            to.signed(to.infinity() | to.quiet() | fraction, negative)
        }
        Value::Number(n, denormal) => {
            if denormal {
                cx.raise(DENORMAL);
            }
            cx.finish(to, n.exact())
        }
    }
}
