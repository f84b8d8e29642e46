//! The common case of 80-bit arithmetic: normal operands, results of 64 bits rounded to nearest.
//!
//! Each function gives up (`None`) where anything else is needed: other operands, results that are denormal, overflow or
//! vanish. [`super::arith`] asks here first. Significands are 64 bits with the integer bit set, results 128 bits before
//! rounding, all in halves because WebAssembly has nothing wider.

use super::{BIAS, INTEGER_BIT};
use crate::F80;

/// A result and what its rounding did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quick {
    pub(crate) value: F80,
    pub(crate) inexact: bool,
    pub(crate) up: bool,
}

const EXPONENT: u16 = 0x7fff;
const SIGN: u16 = 0x8000;
const HALF: u64 = 1 << 63;
const TWO_32: f64 = 4_294_967_296.0;
const TWO_64: f64 = TWO_32 * TWO_32;

/// The exponent, biased, if the number is normal.
#[inline(always)]
fn normal(x: F80) -> Option<i32> {
    let biased = x.sign_exponent & EXPONENT;
    (x.mantissa & INTEGER_BIT != 0 && biased.wrapping_sub(1) < EXPONENT - 1).then_some(i32::from(biased))
}

/// Rounds to nearest; the integer bit of `high` is set.
#[inline(always)]
fn round(sign: u16, exponent: i32, high: u64, low: u64) -> Option<Quick> {
    let up = low > HALF || low == HALF && high & 1 != 0;
    let (mut mantissa, mut exponent) = (high.wrapping_add(u64::from(up)), exponent);
    if mantissa == 0 {
        mantissa = INTEGER_BIT;
        exponent += 1;
    }
    if !(1..i32::from(EXPONENT)).contains(&exponent) {
        return None;
    }
    Some(Quick { value: F80 { mantissa, sign_exponent: sign | exponent as u16 }, inexact: low != 0, up })
}

/// `a + b`.
#[inline]
pub(crate) fn add(a: F80, b: F80) -> Option<Quick> {
    let (ea, eb) = (normal(a)?, normal(b)?);
    let swap = (ea, a.mantissa) < (eb, b.mantissa);
    let (large, exponent, small, distance) = if swap { (b, eb, a, eb - ea) } else { (a, ea, b, ea - eb) };
    let sign = large.sign_exponent & SIGN;
    // The smaller number below the larger one; bits that fall off the end stick in the last.
    let (high, low) = match distance as u32 {
        0 => (small.mantissa, 0),
        by @ 1..=63 => (small.mantissa >> by, small.mantissa << (64 - by)),
        64 => (0, small.mantissa),
        by @ 65..=127 => (0, small.mantissa >> (by - 64) | u64::from(small.mantissa << (128 - by) != 0)),
        _ => (0, 1),
    };
    if (a.sign_exponent ^ b.sign_exponent) & SIGN == 0 {
        let (sum, carry) = large.mantissa.overflowing_add(high);
        if carry {
            return round(sign, exponent + 1, sum >> 1 | INTEGER_BIT, sum << 63 | low >> 1 | low & 1);
        }
        return round(sign, exponent, sum, low);
    }
    let (low, borrow) = 0u64.overflowing_sub(low);
    let high = large.mantissa.wrapping_sub(high).wrapping_sub(u64::from(borrow));
    match high.leading_zeros() {
        0 => round(sign, exponent, high, low),
        64 if low == 0 => {
            let value = F80 { mantissa: 0, sign_exponent: 0 };
            Some(Quick { value, inexact: false, up: false })
        }
        64 => {
            let by = low.leading_zeros();
            round(sign, exponent - 64 - by as i32, low << by, 0)
        }
        by => round(sign, exponent - by as i32, high << by | low >> (64 - by), low << by),
    }
}

/// The product of two significands.
#[inline(always)]
fn widening_mul(a: u64, b: u64) -> (u64, u64) {
    let (ah, al, bh, bl) = (a >> 32, a & 0xffff_ffff, b >> 32, b & 0xffff_ffff);
    let (hh, hl, lh, ll) = (ah * bh, ah * bl, al * bh, al * bl);
    let middle = (ll >> 32) + (hl & 0xffff_ffff) + (lh & 0xffff_ffff);
    (hh + (hl >> 32) + (lh >> 32) + (middle >> 32), middle << 32 | ll & 0xffff_ffff)
}

/// `a * b`.
#[inline]
pub(crate) fn mul(a: F80, b: F80) -> Option<Quick> {
    let exponent = normal(a)? + normal(b)? - BIAS;
    let sign = (a.sign_exponent ^ b.sign_exponent) & SIGN;
    let (high, low) = widening_mul(a.mantissa, b.mantissa);
    if high & INTEGER_BIT != 0 {
        round(sign, exponent + 1, high, low)
    } else {
        round(sign, exponent, high << 1 | low >> 63, low << 1)
    }
}

/// Divides a 128-bit number by a divisor with its top bit set that is above the upper half; quotient and rest.
#[inline(always)]
fn divide(high: u64, low: u64, divisor: u64) -> (u64, u64) {
    // Two digits of 32 bits, each guessed from the divisor's upper half (Knuth, volume 2, 4.3.1, algorithm D).
    let (dh, dl) = (divisor >> 32, divisor & 0xffff_ffff);
    let digit = |high: u64, next: u64| {
        let (mut q, mut rest) = (high / dh, high % dh);
        while q >> 32 != 0 || q * dl > (rest << 32 | next) {
            q -= 1;
            rest += dh;
            if rest >> 32 != 0 {
                break;
            }
        }
        let left = (high << 32 | next).wrapping_sub(q.wrapping_mul(divisor));
        (q, left)
    };
    let (q1, rest) = digit(high, low >> 32);
    let (q0, rest) = digit(rest, low & 0xffff_ffff);
    (q1 << 32 | q0, rest)
}

/// `a / b`.
#[inline]
pub(crate) fn div(a: F80, b: F80) -> Option<Quick> {
    let exponent = normal(a)? - normal(b)? + BIAS;
    let sign = (a.sign_exponent ^ b.sign_exponent) & SIGN;
    // The dividend just below the divisor, so that the quotient has 64 bits.
    let (high, low, exponent) = if a.mantissa >= b.mantissa {
        (a.mantissa >> 1, a.mantissa << 63, exponent)
    } else {
        (a.mantissa, 0, exponent - 1)
    };
    let (quotient, rest) = divide(high, low, b.mantissa);
    // What is left compares with half the divisor as bits below would with half a unit; a tie cannot occur.
    let below = match rest {
        0 => 0,
        _ if rest > b.mantissa - rest => HALF | 1,
        _ => 1,
    };
    round(sign, exponent, quotient, below)
}

/// The square root.
#[inline]
pub(crate) fn sqrt(a: F80) -> Option<Quick> {
    let biased = normal(a)?;
    if a.sign_exponent & SIGN != 0 {
        return None;
    }
    // The root of this has 64 bits.
    let odd = (biased ^ BIAS) & 1 != 0;
    let radicand = u128::from(a.mantissa) << if odd { 64 } else { 63 };
    let left = |root: u64| {
        let (high, low) = widening_mul(root, root);
        radicand.wrapping_sub(u128::from(high) << 64 | u128::from(low)) as i128
    };
    // A guess good to some 50 bits, corrected by what its square leaves; then it is a unit off at most.
    let guess = ((((radicand >> 64) as u64) as f64).sqrt() * TWO_32) as u64;
    let rest = left(guess);
    let by = (((rest >> 64) as i64) as f64 * TWO_64 + (rest as u64) as f64) / (2.0 * guess as f64);
    let mut root = guess.saturating_add_signed(by as i64);
    let mut rest = left(root);
    while rest < 0 {
        rest += (i128::from(root) << 1) - 1;
        root -= 1;
    }
    while rest > i128::from(root) << 1 {
        rest -= i128::from(root) << 1 | 1;
        root += 1;
    }
    // What is left compares with half a unit as with the root; a tie cannot occur.
    let below = match rest {
        0 => 0,
        _ if rest > i128::from(root) => HALF | 1,
        _ => 1,
    };
    round(0, (biased - BIAS - i32::from(odd)) / 2 + BIAS, root, below)
}

/// To IEEE bits of a format whose fractions have so many bits: the bits, and what rounding did.
#[inline]
pub(crate) fn to_ieee(value: F80, fraction_bits: u32, bias: i32) -> Option<(u64, bool, bool)> {
    let biased = normal(value)? - BIAS + bias;
    let spare = 63 - fraction_bits;
    let (kept, lost) = (value.mantissa >> spare, value.mantissa << (64 - spare));
    let up = lost > HALF || lost == HALF && kept & 1 != 0;
    // Away from both ends, where rounding cannot lead to another kind of number.
    if !(2..2 * bias).contains(&biased) {
        return None;
    }
    let sign = u64::from(value.sign_exponent >> 15) << (fraction_bits + 1 + bias.count_ones());
    let fraction = kept & !(1 << fraction_bits);
    let magnitude = ((biased as u64) << fraction_bits | fraction) + u64::from(up);
    Some((sign | magnitude, lost != 0, up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assist::fpu80::Context;
    use crate::assist::soft;

    /// Numbers around each other, with significands that make ties, carries and long cancellations.
    fn numbers() -> Vec<F80> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut all = Vec::new();
        for i in 0..400 {
            let mantissa = match i % 5 {
                0 => INTEGER_BIT,
                1 => u64::MAX,
                2 => INTEGER_BIT | next() >> (next() % 63),
                3 => INTEGER_BIT | next() << (next() % 63),
                _ => INTEGER_BIT | next(),
            };
            let exponent = match i % 7 {
                0 => 16383 + (next() % 140) as u16,
                1 => (next() % 0x7fff) as u16,
                _ => 16383 - 3 + (next() % 6) as u16,
            };
            all.push(F80 { mantissa, sign_exponent: exponent | ((next() & 1) << 15) as u16 });
        }
        all
    }

    fn same(quick: Option<Quick>, slow: impl Fn(&mut Context) -> F80, what: &str) -> bool {
        let Some(quick) = quick else { return false };
        let mut cx = Context::new(0x37f);
        let value = slow(&mut cx);
        let raised = if quick.inexact { 0x20 } else { 0 };
        assert_eq!((quick.value, raised, quick.up), (value, cx.raised, cx.up), "{what}");
        true
    }

    #[test]
    fn agrees_with_exact_arithmetic() {
        let all = numbers();
        let mut quickly = 0;
        for &a in &all {
            let exact = |x: F80| x.number();
            for &b in &all {
                let what = format!("{a:x?} {b:x?}");
                let sum = |cx: &mut Context| match soft::add(exact(a), exact(b)) {
                    Some(sum) => cx.finish(sum),
                    None => F80::zero(false),
                };
                if normal(a).is_some() && normal(b).is_some() {
                    quickly += usize::from(same(add(a, b), sum, &format!("add {what}")));
                    let product = |cx: &mut Context| cx.finish(soft::multiply(exact(a), exact(b)));
                    quickly += usize::from(same(mul(a, b), product, &format!("mul {what}")));
                    let quotient = |cx: &mut Context| cx.finish(soft::divide(exact(a), exact(b)));
                    quickly += usize::from(same(div(a, b), quotient, &format!("div {what}")));
                }
            }
            let root = |cx: &mut Context| cx.finish(soft::square_root(exact(a)));
            quickly += usize::from(same(sqrt(a), root, &format!("sqrt {a:x?}")));
        }
        assert!(quickly > 350_000, "{quickly}");
    }
}
