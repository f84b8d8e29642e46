//! Binary floating point without the host's: exact arithmetic on unpacked numbers, and the one rounding step behind it.
//!
//! x87 ([`super::fpu80`]) and SSE ([`super::sse`]) share it; each unpacks its own formats, deals with zeros, infinities and
//! NaNs itself, and packs what [`round`] returns.

use std::cmp::Ordering;

/// Rounding control, as both control words encode it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rounding {
    Nearest,
    Down,
    Up,
    Zero,
}

impl Rounding {
    /// From the two bits of a control word.
    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }

    /// Whether a discarded part makes the magnitude one larger. `rest` compares it with half a unit.
    #[inline]
    fn rounds_up(self, negative: bool, odd: bool, rest: Ordering, exact: bool) -> bool {
        match self {
            _ if exact => false,
            Self::Nearest => rest == Ordering::Greater || rest == Ordering::Equal && odd,
            Self::Down => negative,
            Self::Up => !negative,
            Self::Zero => false,
        }
    }
}

/// A finite number other than zero: `mantissa / 2^63 * 2^exponent`, bit 63 of the mantissa set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Number {
    pub(crate) negative: bool,
    pub(crate) exponent: i32,
    pub(crate) mantissa: u64,
}

impl Number {
    /// Shifts the highest set bit of a non-zero mantissa to the top.
    pub(crate) fn normalised(negative: bool, exponent: i32, mantissa: u64) -> Self {
        let shift = mantissa.leading_zeros();
        Self { negative, exponent: exponent - shift as i32, mantissa: mantissa.wrapping_shl(shift) }
    }

    /// The integer `magnitude`, which is not zero.
    pub(crate) fn integer(negative: bool, magnitude: u64) -> Self {
        Self::normalised(negative, 63, magnitude)
    }

    /// The same number with room below.
    pub(crate) fn exact(self) -> Exact {
        Exact { negative: self.negative, exponent: self.exponent, mantissa: u128::from(self.mantissa) << 64 }
    }

    /// Compares magnitudes.
    pub(crate) fn cmp_magnitude(self, other: Self) -> Ordering {
        (self.exponent, self.mantissa).cmp(&(other.exponent, other.mantissa))
    }
}

/// An exact or nearly exact result: `mantissa / 2^127 * 2^exponent`, bit 127 set. When bits were lost below, the lowest bit
/// is set ("sticky"), which rounds like the exact value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exact {
    pub(crate) negative: bool,
    pub(crate) exponent: i32,
    pub(crate) mantissa: u128,
}

impl Exact {
    /// Shifts the highest set bit of a non-zero mantissa to the top.
    pub(crate) fn normalised(negative: bool, exponent: i32, mantissa: u128) -> Self {
        let shift = mantissa.leading_zeros();
        Self { negative, exponent: exponent - shift as i32, mantissa: mantissa.wrapping_shl(shift) }
    }
}

/// Shifts right; lost bits stick in the lowest bit.
#[inline]
pub(crate) fn shift_right_sticky(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => value >> by | u128::from(value << (128 - by) != 0),
        _ => u128::from(value != 0),
    }
}

/// The sum; nothing when it is exactly zero.
#[inline]
pub(crate) fn add(a: Number, b: Number) -> Option<Exact> {
    let (large, small) = if a.cmp_magnitude(b) == Ordering::Less { (b, a) } else { (a, b) };
    // Two bits of room above, 62 below for the smaller number to slide into.
    let high = u128::from(large.mantissa) << 62;
    let low = shift_right_sticky(u128::from(small.mantissa) << 62, (large.exponent - small.exponent) as u32);
    let sum = if a.negative == b.negative { high + low } else { high - low };
    (sum != 0).then(|| Exact::normalised(large.negative, large.exponent + 2, sum))
}

/// The product.
#[inline]
pub(crate) fn multiply(a: Number, b: Number) -> Exact {
    let product = u128::from(a.mantissa) * u128::from(b.mantissa);
    Exact::normalised(a.negative != b.negative, a.exponent + b.exponent + 1, product)
}

/// The quotient.
pub(crate) fn divide(a: Number, b: Number) -> Exact {
    let divisor = u128::from(b.mantissa);
    let dividend = u128::from(a.mantissa) << 64;
    let quotient = dividend / divisor;
    let rest = dividend - quotient * divisor;
    // The quotient has 64 or 65 bits; one more and the sticky bit decide every rounding.
    let twice = rest << 1;
    let (more, left) = (u128::from(twice >= divisor), twice != 0 && twice != divisor);
    let mantissa = (quotient << 2) | (more << 1) | u128::from(left);
    Exact::normalised(a.negative != b.negative, a.exponent - b.exponent + 61, mantissa)
}

/// The square root of a positive number.
pub(crate) fn square_root(a: Number) -> Exact {
    let odd = a.exponent & 1 != 0;
    let radicand = u128::from(a.mantissa) << if odd { 64 } else { 63 };
    let root = radicand.isqrt();
    let rest = radicand - root * root;
    // What is left compares with half a unit as `rest` with `root`; a tie cannot occur.
    let below = match rest {
        0 => 0,
        _ if rest > root => 3,
        _ => 1,
    };
    let exponent = (a.exponent - i32::from(odd)) / 2;
    Exact { negative: false, exponent, mantissa: root << 64 | below << 62 }
}

/// What a number can be rounded to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Format {
    /// Bits of the significand.
    pub(crate) precision: u32,
    /// Exponent of the smallest normal number.
    pub(crate) min: i32,
    /// Exponent of the largest numbers.
    pub(crate) max: i32,
}

/// IEEE single precision.
pub(crate) const SINGLE: Format = Format { precision: 24, min: -126, max: 127 };
/// IEEE double precision.
pub(crate) const DOUBLE: Format = Format { precision: 53, min: -1022, max: 1023 };

/// A rounded number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rounded {
    /// Significand, the integer bit in bit 63; clear in a denormal number (or zero).
    pub(crate) mantissa: u64,
    /// Exponent; that of the smallest normal number when the number is denormal.
    pub(crate) exponent: i32,
    /// Whether the value is not exact.
    pub(crate) inexact: bool,
    /// Whether the magnitude was rounded up.
    pub(crate) up: bool,
    /// Whether the number, rounded with unbounded exponent, is smaller than the smallest normal one.
    pub(crate) tiny: bool,
    /// Whether the exponent is beyond the largest.
    pub(crate) overflow: bool,
}

/// How numbers too small for the format are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tiny {
    /// Become denormal.
    Denormalise,
    /// Keep their unbounded exponent, for an unmasked underflow.
    Keep,
}

/// Rounds to a format.
#[inline]
pub(crate) fn round(value: Exact, format: Format, rounding: Rounding, on_tiny: Tiny) -> Rounded {
    let (mantissa, carry, inexact, up) = round_to_bits(value.mantissa, format.precision, rounding, value.negative);
    let exponent = value.exponent + i32::from(carry);
    let tiny = exponent < format.min;
    let rounded = Rounded { mantissa, exponent, inexact, up, tiny, overflow: exponent > format.max };
    if !tiny || on_tiny == Tiny::Keep {
        return rounded;
    }
    let shifted = shift_right_sticky(value.mantissa, (format.min - value.exponent) as u32);
    let (mantissa, _, inexact, up) = round_to_bits(shifted, format.precision, rounding, value.negative);
    Rounded { mantissa, exponent: format.min, inexact, up, ..rounded }
}

/// Keeps the top `bits`; returns the significand, whether it overflowed into the next exponent, inexact, rounded up.
#[inline]
fn round_to_bits(mantissa: u128, bits: u32, rounding: Rounding, negative: bool) -> (u64, bool, bool, bool) {
    // In halves, because shifts of 128 bits are slow.
    let (high, low) = ((mantissa >> 64) as u64, mantissa as u64);
    let spare = 64 - bits;
    let unit = 1u64 << spare;
    let kept = high & unit.wrapping_neg();
    // What is lost, and half a unit, both as 64.64 fixed point.
    let (lost, half) = if spare == 0 { ((0, low), (0, 1 << 63)) } else { ((high & (unit - 1), low), (unit >> 1, 0)) };
    let exact = lost == (0, 0);
    let up = rounding.rounds_up(negative, kept & unit != 0, lost.cmp(&half), exact);
    if !up {
        return (kept, false, !exact, false);
    }
    match kept.checked_add(unit) {
        Some(kept) => (kept, false, !exact, true),
        None => (1 << 63, true, !exact, true),
    }
}

/// A number rounded to an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Integer {
    /// Its magnitude, or nothing when it needs more than 64 bits.
    pub(crate) magnitude: Option<u64>,
    /// Whether the number was no integer.
    pub(crate) inexact: bool,
    /// Whether the magnitude was rounded up.
    pub(crate) up: bool,
}

/// Rounds to an integer.
pub(crate) fn to_integer(value: Number, rounding: Rounding) -> Integer {
    if value.exponent > 63 {
        return Integer { magnitude: None, inexact: false, up: false };
    }
    let (kept, lost) = match 63 - value.exponent {
        0 => (value.mantissa, 0),
        by @ 1..=63 => (value.mantissa >> by, value.mantissa << (64 - by)),
        64 => (0, value.mantissa),
        // Less than half.
        _ => (0, 1),
    };
    let exact = lost == 0;
    let up = rounding.rounds_up(value.negative, kept & 1 != 0, lost.cmp(&(1 << 63)), exact);
    Integer { magnitude: kept.checked_add(u64::from(up)), inexact: !exact, up }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> Number {
        let bits = value.to_bits();
        Number::normalised(value < 0.0, (bits >> 52 & 0x7ff) as i32 - 1023, 1 << 63 | bits << 11)
    }

    fn double(value: Exact) -> f64 {
        let r = round(value, DOUBLE, Rounding::Nearest, Tiny::Denormalise);
        let biased = if r.mantissa >> 63 == 0 { 0 } else { (r.exponent + 1023) as u64 };
        let bits = biased << 52 | r.mantissa << 1 >> 12;
        f64::from_bits(bits | u64::from(value.negative) << 63)
    }

    #[test]
    fn double_arithmetic_is_the_hosts() {
        let values =
            [1.0, 3.0, -7.25, 0.1, 1e10, -1e-10, 1.5e300, 2.2250738585072014e-308, 9007199254740993.0, -0.3333];
        for a in values {
            for b in values {
                let (x, y) = (number(a), number(b));
                assert_eq!(add(x, y).map_or(0.0, double), a + b, "{a} + {b}");
                if (a * b).is_finite() {
                    assert_eq!(double(multiply(x, y)), a * b, "{a} * {b}");
                }
                if (a / b).is_finite() {
                    assert_eq!(double(divide(x, y)), a / b, "{a} / {b}");
                }
            }
            if a > 0.0 {
                assert_eq!(double(square_root(number(a))), a.sqrt(), "sqrt {a}");
            }
        }
    }
}
