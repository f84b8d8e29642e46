//! SSE: single and double precision arithmetic, conversions and comparisons with MXCSR's rounding, masks and flags.
//!
//! [`Context`] is MXCSR while one instruction runs. [`float`] has the arithmetic of one lane, [`convert`] the conversions,
//! [`packed`] the instructions made of them, [`string`] the string comparisons of SSE4.2, [`run`] the assists. Integer vector
//! operations are in [`super::vector`].

pub(crate) mod convert;
pub(crate) mod estimate;
pub(crate) mod float;
pub(crate) mod packed;
pub(crate) mod run;
pub(crate) mod string;

use super::fpu80::exception;
use super::soft::{self, DOUBLE, Exact, Format, Rounding, SINGLE, Tiny};
use crate::Exception;

/// Flush to zero.
const FTZ: u32 = 0x8000;
/// Denormals are zeros.
const DAZ: u32 = 0x40;
/// The bits that exist.
pub(crate) const MXCSR_MASK: u32 = 0xffff;

/// Single or double precision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Single,
    Double,
}

impl Kind {
    fn format(self) -> Format {
        match self {
            Kind::Single => SINGLE,
            Kind::Double => DOUBLE,
        }
    }
    fn fraction_bits(self) -> u32 {
        self.format().precision - 1
    }
    /// Bits of the whole number.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Kind::Single => 32,
            Kind::Double => 64,
        }
    }
    fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }
    fn quiet(self) -> u64 {
        1 << (self.fraction_bits() - 1)
    }
    /// Positive infinity.
    fn infinity(self) -> u64 {
        let biased = (self.format().max as u64) << 1 | 1;
        biased << self.fraction_bits()
    }
    /// The NaN that masked invalid operations give.
    fn indefinite(self) -> u64 {
        self.sign() | self.infinity() | self.quiet()
    }
    fn signed(self, magnitude: u64, negative: bool) -> u64 {
        if negative { magnitude | self.sign() } else { magnitude }
    }
}

/// Whether the host's own arithmetic will do: it rounds to nearest, everything is masked, denormals are themselves, and the
/// one exception that is expensive to find out about has been noted before.
fn host_will_do(mxcsr: u32) -> bool {
    mxcsr & 0x7fa0 == 0x1fa0
}

/// MXCSR during an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    mxcsr: u32,
    rounding: Rounding,
    raised: u16,
}

impl Context {
    pub(crate) fn new(mxcsr: u32) -> Self {
        Self { mxcsr, rounding: Rounding::from_bits(mxcsr >> 13), raised: 0 }
    }

    fn raise(&mut self, exceptions: u16) {
        self.raised |= exceptions;
    }

    fn masks(&self) -> u16 {
        (self.mxcsr >> 7 & 0x3f) as u16
    }

    fn denormals_are_zeros(&self) -> bool {
        self.mxcsr & DAZ != 0
    }

    /// The new MXCSR, or the exception that was not masked (MXCSR then is to be written all the same).
    pub(crate) fn settle(&self, mxcsr: &mut u32) -> Result<(), Exception> {
        let unmasked = self.raised & !self.masks();
        // Exceptions found before computing hide those found after it.
        let before = exception::BEFORE;
        let flags = if unmasked & before != 0 { self.raised & before } else { self.raised };
        *mxcsr |= u32::from(flags);
        if unmasked != 0 { Err(Exception::SimdFloatingPoint) } else { Ok(()) }
    }

    /// Whether something was raised that is not masked.
    fn trapped(&self) -> bool {
        self.raised & !self.masks() != 0
    }

    fn invalid(&mut self, kind: Kind) -> u64 {
        self.raise(exception::INVALID);
        kind.indefinite()
    }

    /// Rounds and packs a result.
    fn finish(&mut self, kind: Kind, value: Exact) -> u64 {
        let masks = self.masks();
        let underflow_masked = masks & exception::UNDERFLOW != 0;
        let flush = underflow_masked && self.mxcsr & FTZ != 0;
        let keep = if underflow_masked && !flush { Tiny::Denormalise } else { Tiny::Keep };
        let r = soft::round(value, kind.format(), self.rounding, keep);
        if r.overflow {
            self.raise(exception::OVERFLOW);
            if masks & exception::OVERFLOW != 0 || r.inexact {
                self.raise(exception::PRECISION);
            }
            let infinite = match self.rounding {
                Rounding::Nearest => true,
                Rounding::Down => value.negative,
                Rounding::Up => !value.negative,
                Rounding::Zero => false,
            };
            return kind.signed(kind.infinity() - u64::from(!infinite), value.negative);
        }
        if r.tiny && flush {
            self.raise(exception::UNDERFLOW | exception::PRECISION);
            return kind.signed(0, value.negative);
        }
        if r.inexact {
            self.raise(exception::PRECISION);
        }
        if r.tiny && (r.inexact || !underflow_masked) {
            self.raise(exception::UNDERFLOW);
        }
        let fraction_bits = kind.fraction_bits();
        let biased = if r.mantissa >> 63 == 0 { 0 } else { (r.exponent + kind.format().max).max(0) as u64 };
        let magnitude = biased << fraction_bits | r.mantissa << 1 >> (64 - fraction_bits);
        kind.signed(magnitude, value.negative)
    }
}
