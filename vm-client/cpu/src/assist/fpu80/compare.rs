//! Comparison and classification.

use std::cmp::Ordering;

use super::exception::INVALID;
use super::{Class, Context};
use crate::F80;

/// Whether quiet NaNs are invalid operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nans {
    /// `fcom`, `fcomi`, `ftst`.
    Signal,
    /// `fucom`, `fucomi`.
    Quiet,
}

/// Compares; nothing means unordered.
pub(crate) fn compare(cx: &mut Context, a: F80, b: F80, nans: Nans) -> Option<Ordering> {
    for operand in [a, b] {
        match operand.class() {
            Class::Unsupported | Class::SignalingNan => cx.raise(INVALID),
            Class::QuietNan if nans == Nans::Signal => cx.raise(INVALID),
            _ => {}
        }
    }
    let unordered = |x: F80| matches!(x.class(), Class::Unsupported | Class::SignalingNan | Class::QuietNan);
    if unordered(a) || unordered(b) {
        return None;
    }
    cx.denormals(&[a, b]);
    Some(order(a).cmp(&order(b)))
}

/// A key that orders all numbers and infinities; pseudo-denormals fall in with the numbers they equal.
fn order(x: F80) -> i128 {
    let magnitude = match x.class() {
        Class::Zero => 0,
        Class::Infinity => 0x7fff << 64,
        _ => {
            // Denormals share the exponent of the smallest normal numbers.
            i128::from(x.biased_exponent().max(1)) << 64 | i128::from(x.mantissa)
        }
    };
    if x.is_negative() { -magnitude } else { magnitude }
}

/// The condition codes C3, C2, C0 of a comparison, in place in the status word.
pub(crate) fn condition_codes(ordering: Option<Ordering>) -> u16 {
    match ordering {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => 0x0100,
        Some(Ordering::Equal) => 0x4000,
        None => 0x4500,
    }
}

/// The flags ZF, PF, CF of a comparison.
pub(crate) fn eflags(ordering: Option<Ordering>) -> u32 {
    match ordering {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => 0x01,
        Some(Ordering::Equal) => 0x40,
        None => 0x45,
    }
}

/// The condition codes of `fxam`, C1 (the sign) included.
pub(crate) fn examine(x: F80, empty: bool) -> u16 {
    let class = match x.class() {
        _ if empty => 0x4100,
        Class::Unsupported => 0,
        Class::QuietNan | Class::SignalingNan => 0x0100,
        Class::Normal => 0x0400,
        Class::Infinity => 0x0500,
        Class::Zero => 0x4000,
        Class::Denormal => 0x4400,
    };
    class | u16::from(x.is_negative()) << 9
}
