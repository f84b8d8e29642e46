//! Arithmetic on 128-bit significands, for functions whose 64-bit results have to be rounded correctly.
//!
//! Numbers are [`Exact`] values (a zero significand is zero here); each operation is good to about 2^-126.

use crate::assist::soft::{Exact, shift_right_sticky};

/// Pi.
pub(super) const PI: Exact =
    Exact { negative: false, exponent: 1, mantissa: 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1 };
/// The natural logarithm of two.
pub(super) const LN_2: Exact =
    Exact { negative: false, exponent: -1, mantissa: 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af };
/// The binary logarithm of e.
pub(super) const LOG2_E: Exact =
    Exact { negative: false, exponent: 0, mantissa: 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89 };
/// One.
pub(super) const ONE: Exact = Exact { negative: false, exponent: 0, mantissa: 1 << 127 };
/// Zero.
pub(super) const ZERO: Exact = Exact { negative: false, exponent: -100_000, mantissa: 0 };
/// The arc tangents of 0/8 to 8/8.
const ARC_TANGENTS: [Exact; 9] = [
    ZERO,
    Exact { negative: false, exponent: -4, mantissa: 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8 },
    Exact { negative: false, exponent: -3, mantissa: 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6 },
    Exact { negative: false, exponent: -2, mantissa: 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483 },
    Exact { negative: false, exponent: -2, mantissa: 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03 },
    Exact { negative: false, exponent: -1, mantissa: 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748 },
    Exact { negative: false, exponent: -1, mantissa: 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f },
    Exact { negative: false, exponent: -1, mantissa: 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d },
    Exact { negative: false, exponent: -1, mantissa: 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1 },
];

/// Terms of a series whose terms fall at least as fast as 1/29 each.
const LOG_TERMS: u128 = 27;
const ARC_TERMS: u128 = 17;
const SINE_TERMS: u128 = 18;
const EXP_TERMS: u128 = 36;

/// The upper half of a product.
fn high_product(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (upper, lower) = (a1 * b0, a0 * b1);
    let middle = ((a0 * b0) >> 64) + (upper & LOW) + (lower & LOW);
    a1 * b1 + (upper >> 64) + (lower >> 64) + (middle >> 64)
}

fn normalised(negative: bool, exponent: i32, mantissa: u128) -> Exact {
    if mantissa == 0 { Exact { negative, ..ZERO } } else { Exact::normalised(negative, exponent, mantissa) }
}

/// `a * b`.
pub(super) fn multiply(a: Exact, b: Exact) -> Exact {
    normalised(a.negative != b.negative, a.exponent + b.exponent + 1, high_product(a.mantissa, b.mantissa))
}

/// `a + b`.
pub(super) fn add(a: Exact, b: Exact) -> Exact {
    let key = |x: Exact| (x.exponent, x.mantissa);
    let (large, small) = if key(a) < key(b) { (b, a) } else { (a, b) };
    let high = large.mantissa >> 1;
    let low = shift_right_sticky(small.mantissa >> 1, (large.exponent - small.exponent) as u32);
    let sum = if a.negative == b.negative { high + low } else { high - low };
    normalised(large.negative, large.exponent + 1, sum)
}

/// `a - b`.
pub(super) fn subtract(a: Exact, b: Exact) -> Exact {
    add(a, Exact { negative: !b.negative, ..b })
}

/// `a / b`, `b` not zero.
pub(super) fn divide(a: Exact, b: Exact) -> Exact {
    let (mut rest, mut carry, mut quotient) = (a.mantissa, false, 0u128);
    for _ in 0..128 {
        quotient <<= 1;
        if carry || rest >= b.mantissa {
            rest = rest.wrapping_sub(b.mantissa);
            quotient |= 1;
        }
        carry = rest >> 127 != 0;
        rest <<= 1;
    }
    normalised(a.negative != b.negative, a.exponent - b.exponent, quotient)
}

/// A number below one as a fraction of 2^128.
fn fraction(a: Exact) -> u128 {
    debug_assert!(a.exponent < 0 || a.mantissa == 0);
    shift_right_sticky(a.mantissa, (-1 - a.exponent).clamp(0, 200) as u32)
}

/// `ln((1 + t) / (1 - t))` for `t` up to 0.18 either way.
pub(super) fn log_ratio(t: Exact) -> Exact {
    let square = fraction(multiply(t, t));
    let mut sum = 0;
    for n in (0..LOG_TERMS).rev() {
        sum = (1 << 127) / (2 * n + 1) + high_product(square, sum);
    }
    let twice = Exact { exponent: t.exponent + 1, ..t };
    multiply(twice, normalised(false, 0, sum))
}

/// `e^y - 1` for `y` from 0 to 0.7.
pub(super) fn exp_minus_one(y: Exact) -> Exact {
    let argument = fraction(y);
    let mut sum = 1 << 126;
    for n in (2..=EXP_TERMS).rev() {
        sum = (1 << 126) + high_product(argument, sum) / n;
    }
    multiply(y, normalised(false, 1, sum))
}

/// Sine and cosine of `r` from 0 to 0.8.
pub(super) fn sine_cosine(r: Exact) -> (Exact, Exact) {
    let square = fraction(multiply(r, r));
    let one = 1u128 << 127;
    let (mut sine, mut cosine) = (one, one);
    for n in (1..=SINE_TERMS).rev() {
        sine = one - high_product(square, sine) / (2 * n * (2 * n + 1));
        cosine = one - high_product(square, cosine) / (2 * n * (2 * n - 1));
    }
    (multiply(r, normalised(false, 0, sine)), normalised(false, 0, cosine))
}

/// The arc tangent of `t` from 0 to 1.
pub(super) fn arc_tangent(t: Exact) -> Exact {
    // The nearest eighth.
    let eighths = match t.exponent {
        0.. => 8,
        -5..0 => ((t.mantissa >> 120 >> -t.exponent) + 8) >> 4,
        _ => 0,
    } as usize;
    let centre = match eighths {
        0 => ZERO,
        n => normalised(false, -3 + 127, n as u128),
    };
    let u = match eighths {
        0 => t,
        _ => divide(subtract(t, centre), add(ONE, multiply(t, centre))),
    };
    let square = fraction(multiply(u, u));
    let mut sum = 0;
    for n in (0..ARC_TERMS).rev() {
        sum = (1 << 127) / (2 * n + 1) - high_product(square, sum);
    }
    let small = multiply(u, normalised(false, 0, sum));
    add(ARC_TANGENTS[eighths.min(8)], small)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(x: Exact) -> f64 {
        let magnitude = (x.mantissa >> 64) as f64 / 2f64.powi(63) * 2f64.powi(x.exponent);
        if x.negative { -magnitude } else { magnitude }
    }

    fn wide(x: f64) -> Exact {
        let bits = x.abs().to_bits();
        let mantissa = u128::from(1 << 63 | bits << 11) << 64;
        Exact { negative: x < 0.0, exponent: (bits >> 52) as i32 - 1023, mantissa }
    }

    #[test]
    fn functions_agree_with_the_hosts_to_double_precision() {
        for x in [0.001, 0.05, 0.0625, 0.1, 0.124, 0.126, 0.3, 0.4376, 0.55, 0.69, 0.785] {
            let close = |a: f64, b: f64| assert!((a - b).abs() <= b.abs() * 5e-16, "{x}: {a} {b}");
            let (sine, cosine) = sine_cosine(wide(x));
            close(value(sine), x.sin());
            close(value(cosine), x.cos());
            close(value(arc_tangent(wide(x))), x.atan());
            close(value(exp_minus_one(wide(x * 0.8))), (x * 0.8).exp_m1());
            close(value(divide(wide(x), wide(-0.37))), x / -0.37);
            close(value(subtract(wide(x), wide(0.4))), x - 0.4);
            if x < 0.18 {
                close(value(log_ratio(wide(x))), 2.0 * x.atanh());
            }
        }
        assert_eq!(value(arc_tangent(ONE)), 1f64.atan());
    }
}
