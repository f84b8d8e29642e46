//! The x87's number format: 80-bit extended precision, exactly as the hardware computes it.
//!
//! Pure functions from operands and a [`Context`] (what the control word says, and what exceptions were raised) to
//! results. Nothing here knows the register stack; [`super::fpu`] does. Arithmetic is in [`arith`], the remainder family in
//! [`remainder`], its common case in [`quick`], conversions in [`convert`], comparisons in [`compare`], and the transcendental functions, computed
//! with 128-bit significands ([`wide`]), in [`transcendental`].

pub(crate) mod arith;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod quick;
pub(crate) mod remainder;
pub(crate) mod transcendental;
mod wide;

use super::soft::{self, Exact, Format, Number, Rounding, Tiny};
use crate::F80;

/// Exception bits, the same in control word, status word and MXCSR.
pub(crate) mod exception {
    /// Invalid operation.
    pub(crate) const INVALID: u16 = 1;
    /// Denormal operand.
    pub(crate) const DENORMAL: u16 = 2;
    /// Division by zero.
    pub(crate) const ZERO_DIVIDE: u16 = 4;
    /// Overflow.
    pub(crate) const OVERFLOW: u16 = 8;
    /// Underflow.
    pub(crate) const UNDERFLOW: u16 = 16;
    /// Inexact result.
    pub(crate) const PRECISION: u16 = 32;
    /// Stack fault, only in the x87 status word.
    pub(crate) const STACK: u16 = 64;
    /// Those found before a result is computed; unmasked, they prevent it.
    pub(crate) const BEFORE: u16 = INVALID | DENORMAL | ZERO_DIVIDE;
}

use exception::{DENORMAL, INVALID, OVERFLOW, PRECISION, UNDERFLOW};

/// Exponent of the smallest normal number.
const MIN_EXPONENT: i32 = -16382;
/// Exponent of the largest numbers.
const MAX_EXPONENT: i32 = 16383;
const BIAS: i32 = 16383;
/// What unmasked overflow and underflow subtract from and add to the exponent.
const BIAS_ADJUST: i32 = 24576;
const INTEGER_BIT: u64 = 1 << 63;
const QUIET_BIT: u64 = 1 << 62;

/// The NaN that masked invalid operations give.
pub(crate) const INDEFINITE: F80 = F80 { mantissa: INTEGER_BIT | QUIET_BIT, sign_exponent: 0xffff };

/// How an instruction computes, and what it noticed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Rounding control.
    pub(crate) rounding: Rounding,
    /// Significand bits results are rounded to.
    pub(crate) precision: u32,
    /// Masked exceptions.
    pub(crate) masks: u16,
    /// Exceptions raised.
    pub(crate) raised: u16,
    /// C1: whether the last rounding was upwards.
    pub(crate) up: bool,
}

impl Context {
    /// Reads a control word.
    pub(crate) fn new(control: u16) -> Self {
        Self {
            rounding: Rounding::from_bits(u32::from(control >> 10)),
            precision: match control >> 8 & 3 {
                0 => 24,
                2 => 53,
                // 1 is reserved; processors treat it as extended.
                _ => 64,
            },
            masks: control & 0x3f,
            raised: 0,
            up: false,
        }
    }

    /// Notes exceptions.
    pub(crate) fn raise(&mut self, exceptions: u16) {
        self.raised |= exceptions;
    }

    /// Whether an exception is masked.
    pub(crate) fn masked(&self, exceptions: u16) -> bool {
        self.masks & exceptions == exceptions
    }

    /// Whether something was raised that prevents a result.
    pub(crate) fn prevented(&self) -> bool {
        self.raised & !self.masks & exception::BEFORE != 0
    }

    /// Whether results are rounded to nearest, to 64 bits.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        self.rounding == Rounding::Nearest && self.precision == 64
    }

    /// Takes over what the common case found.
    #[inline]
    fn take(&mut self, quick: quick::Quick) -> F80 {
        if quick.inexact {
            self.raise(PRECISION);
        }
        self.up = quick.up;
        quick.value
    }

    /// Raises invalid operation and gives its masked answer.
    pub(crate) fn invalid(&mut self) -> F80 {
        self.raise(INVALID);
        INDEFINITE
    }

    /// Rounds a result to the precision of the control word.
    pub(crate) fn finish(&mut self, value: Exact) -> F80 {
        self.finish_to(value, self.precision)
    }

    /// Rounds a result to a given precision.
    pub(crate) fn finish_to(&mut self, value: Exact, precision: u32) -> F80 {
        let format = Format { precision, min: MIN_EXPONENT, max: MAX_EXPONENT };
        let keep = if self.masked(UNDERFLOW) { Tiny::Denormalise } else { Tiny::Keep };
        let mut r = soft::round(value, format, self.rounding, keep);
        self.up = r.up;
        if r.inexact {
            self.raise(PRECISION);
        }
        if r.tiny {
            if !self.masked(UNDERFLOW) {
                self.raise(UNDERFLOW);
                r.exponent += BIAS_ADJUST;
                if r.exponent < MIN_EXPONENT {
                    self.raise(PRECISION);
                    self.up = false;
                    return F80::zero(value.negative);
                }
            } else if r.inexact {
                self.raise(UNDERFLOW);
            }
        } else if r.overflow {
            return self.overflow(value.negative, r, precision);
        }
        F80::pack(value.negative, r.exponent, r.mantissa)
    }

    fn overflow(&mut self, negative: bool, r: soft::Rounded, precision: u32) -> F80 {
        self.raise(OVERFLOW);
        if !self.masked(OVERFLOW) {
            let exponent = r.exponent - BIAS_ADJUST;
            if exponent > MAX_EXPONENT {
                self.raise(PRECISION);
                self.up = true;
                return F80::infinity(negative);
            }
            return F80::pack(negative, exponent, r.mantissa);
        }
        self.raise(PRECISION);
        let infinite = match self.rounding {
            Rounding::Nearest => true,
            Rounding::Down => negative,
            Rounding::Up => !negative,
            Rounding::Zero => false,
        };
        self.up = infinite;
        if infinite { F80::infinity(negative) } else { F80::pack(negative, MAX_EXPONENT, u64::MAX << (64 - precision)) }
    }
}

/// What kind of value an [`F80`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Zero,
    /// Denormal numbers, pseudo-denormals included.
    Denormal,
    Normal,
    Infinity,
    QuietNan,
    SignalingNan,
    /// Encodings no current processor accepts: unnormals, pseudo-infinities, pseudo-NaNs.
    Unsupported,
}

impl F80 {
    pub(crate) fn zero(negative: bool) -> Self {
        Self { mantissa: 0, sign_exponent: u16::from(negative) << 15 }
    }

    pub(crate) fn one(negative: bool) -> Self {
        Self { mantissa: INTEGER_BIT, sign_exponent: 0x3fff | u16::from(negative) << 15 }
    }

    pub(crate) fn infinity(negative: bool) -> Self {
        Self { mantissa: INTEGER_BIT, sign_exponent: 0x7fff | u16::from(negative) << 15 }
    }

    /// A number from its parts; a mantissa without integer bit is a denormal.
    fn pack(negative: bool, exponent: i32, mantissa: u64) -> Self {
        let biased = if mantissa & INTEGER_BIT == 0 { 0 } else { (exponent + BIAS) as u16 };
        Self { mantissa, sign_exponent: biased | u16::from(negative) << 15 }
    }

    pub(crate) fn is_negative(self) -> bool {
        self.sign_exponent & 0x8000 != 0
    }

    pub(crate) fn negated(self) -> Self {
        Self { sign_exponent: self.sign_exponent ^ 0x8000, ..self }
    }

    pub(crate) fn with_sign(self, negative: bool) -> Self {
        Self { sign_exponent: self.sign_exponent & 0x7fff | u16::from(negative) << 15, ..self }
    }

    fn biased_exponent(self) -> u16 {
        self.sign_exponent & 0x7fff
    }

    #[inline]
    pub(crate) fn is_nan(self) -> bool {
        matches!(self.class(), Class::QuietNan | Class::SignalingNan)
    }

    #[inline]
    pub(crate) fn class(self) -> Class {
        let integer_bit = self.mantissa & INTEGER_BIT != 0;
        match self.biased_exponent() {
            0 if self.mantissa == 0 => Class::Zero,
            0 => Class::Denormal,
            _ if !integer_bit => Class::Unsupported,
            0x7fff if self.mantissa == INTEGER_BIT => Class::Infinity,
            0x7fff if self.mantissa & QUIET_BIT != 0 => Class::QuietNan,
            0x7fff => Class::SignalingNan,
            _ => Class::Normal,
        }
    }

    /// The value of a normal or denormal number.
    fn number(self) -> Number {
        let biased = i32::from(self.biased_exponent()).max(1);
        Number::normalised(self.is_negative(), biased - BIAS, self.mantissa)
    }

    fn quieted(self) -> Self {
        Self { mantissa: self.mantissa | QUIET_BIT, ..self }
    }
}

/// Operands that are not both finite numbers, or one that is not, answered the same way by every operation.
impl Context {
    /// If an operand is a NaN or unsupported, the result of an operation on both.
    #[inline]
    fn nan_pair(&mut self, a: F80, b: F80) -> Option<F80> {
        // Two normal numbers, nearly always.
        let normal = |x: F80| x.mantissa & INTEGER_BIT != 0 && (1..0x7fff).contains(&x.biased_exponent());
        if normal(a) && normal(b) {
            return None;
        }
        let (class_a, class_b) = (a.class(), b.class());
        if class_a == Class::Unsupported || class_b == Class::Unsupported {
            return Some(self.invalid());
        }
        if !a.is_nan() && !b.is_nan() {
            return None;
        }
        if class_a == Class::SignalingNan || class_b == Class::SignalingNan {
            self.raise(INVALID);
        }
        Some(match (class_a, class_b) {
            (Class::SignalingNan, Class::QuietNan) => b,
            (Class::QuietNan, Class::SignalingNan) => a,
            _ if !b.is_nan() => a.quieted(),
            _ if !a.is_nan() => b.quieted(),
            _ => larger_nan(a.quieted(), b.quieted()),
        })
    }

    /// The same for one operand.
    fn nan_single(&mut self, a: F80) -> Option<F80> {
        match a.class() {
            Class::Unsupported => Some(self.invalid()),
            Class::SignalingNan => {
                self.raise(INVALID);
                Some(a.quieted())
            }
            Class::QuietNan => Some(a),
            _ => None,
        }
    }

    /// Notes denormal operands; returns whether the operation must stop.
    fn denormals(&mut self, operands: &[F80]) -> bool {
        if operands.iter().any(|o| o.class() == Class::Denormal) {
            self.raise(DENORMAL);
        }
        self.prevented()
    }
}

/// Of two quiet NaNs the one with the larger significand; of equal ones the positive.
fn larger_nan(a: F80, b: F80) -> F80 {
    match a.mantissa.cmp(&b.mantissa) {
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Equal if a.is_negative() => b,
        std::cmp::Ordering::Equal => a,
    }
}
