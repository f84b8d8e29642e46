//! x87 computations that generated code calls directly, with numbers as arguments.
//!
//! A call by way of an assist costs several times what an addition does. These functions know neither registers nor memory:
//! significands come and go as `u64`; sign and exponent of a result, and what was raised on the way, are left in one place,
//! [`side_address`], because functions of WebAssembly that Rust exports return one value. Exceptions there mean what they do
//! in the status word; [`PREVENTED`] tells that one of them is not masked, and the instruction has to be run by the assist.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::F80;
use crate::assist::fpu80::compare::{self, Nans};
use crate::assist::fpu80::{Context, arith, convert, exception, quick};
use crate::assist::soft::Rounding;

/// Where sign and exponent of the last result are (bits 0 to 15), exceptions (from bit 16), C1 (bit 25), [`PREVENTED`].
static SIDE: AtomicU32 = AtomicU32::new(0);

/// An unmasked exception was raised: nothing of the instruction may be done.
pub const PREVENTED: u32 = 1 << 31;

/// A function that generated code may call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direct {
    /// Of two significands, both exponents (the second above bit 16) and the control word; returns a significand.
    Add,
    /// The first less the second.
    Sub,
    /// Likewise.
    Mul,
    /// The first by the second.
    Div,
    /// `fscale` of the first by the second.
    Scale,
    /// Returns ZF, PF and CF; quiet NaNs are invalid.
    Compare,
    /// The same, quiet NaNs are not.
    CompareQuietly,
    /// Of one significand, exponent and control word.
    Sqrt,
    /// `frndint`
    Round,
    /// Of the bits of a single, which is loaded.
    FromSingle,
    /// Of the bits of a double, which is loaded.
    FromDouble,
    /// Of the bits of a single, which an operation uses; those that raise anything by themselves count as prevented.
    OperandSingle,
    /// The same of a double.
    OperandDouble,
    /// To the bits of a single.
    ToSingle,
    /// To the bits of a double.
    ToDouble,
    /// To an integer of 16 bits.
    ToI16,
    /// To an integer of 32 bits.
    ToI32,
    /// To an integer of 64 bits.
    ToI64,
    /// `fxam`: the condition codes.
    Examine,
}

/// A function of two numbers.
type Binary = extern "C" fn(u64, u64, u32, u32) -> u64;
/// A function of one number.
type Unary = extern "C" fn(u64, u32, u32) -> u64;

impl Direct {
    /// All of them, by number.
    pub const ALL: [Direct; 19] = [
        Direct::Add,
        Direct::Sub,
        Direct::Mul,
        Direct::Div,
        Direct::Scale,
        Direct::Compare,
        Direct::CompareQuietly,
        Direct::Sqrt,
        Direct::Round,
        Direct::FromSingle,
        Direct::FromDouble,
        Direct::OperandSingle,
        Direct::OperandDouble,
        Direct::ToSingle,
        Direct::ToDouble,
        Direct::ToI16,
        Direct::ToI32,
        Direct::ToI64,
        Direct::Examine,
    ];

    /// Whether it takes two numbers: `(i64, i64, i32, i32) -> i64`; else `(i64, i32, i32) -> i64`.
    pub fn is_binary(self) -> bool {
        (self as u8) < Direct::Sqrt as u8
    }

    /// The number of the function: in WebAssembly, its place in the table.
    pub fn number(self) -> usize {
        let binary = |f: Binary| f as usize;
        let unary = |f: Unary| f as usize;
        match self {
            Direct::Add => binary(add),
            Direct::Sub => binary(sub),
            Direct::Mul => binary(mul),
            Direct::Div => binary(div),
            Direct::Scale => binary(scale),
            Direct::Compare => binary(compare_signaling),
            Direct::CompareQuietly => binary(compare_quietly),
            Direct::Sqrt => unary(sqrt),
            Direct::Round => unary(round),
            Direct::FromSingle => unary(from_single),
            Direct::FromDouble => unary(from_double),
            Direct::OperandSingle => unary(operand_single),
            Direct::OperandDouble => unary(operand_double),
            Direct::ToSingle => unary(to_single),
            Direct::ToDouble => unary(to_double),
            Direct::ToI16 => unary(to_i16),
            Direct::ToI32 => unary(to_i32),
            Direct::ToI64 => unary(to_i64),
            Direct::Examine => unary(examine),
        }
    }
}

impl F80 {
    /// The nearest double, whatever is raised.
    pub fn to_f64(self) -> f64 {
        f64::from_bits(convert::to_f64(&mut Context::new(MASKED), self).unwrap_or(0))
    }

    /// A double as it is.
    pub fn from_f64(value: f64) -> F80 {
        convert::from_f64(&mut Context::new(MASKED), value.to_bits())
    }
}

/// The control word after `fninit`.
const MASKED: u16 = 0x37f;

/// The address of the word beside results.
pub fn side_address() -> usize {
    std::ptr::from_ref(&SIDE) as usize
}

fn leave_side(word: u32) {
    SIDE.store(word, Ordering::Relaxed);
}

/// The common control words: everything masked, to nearest, 64 bits.
fn is_usual(control: u32) -> bool {
    control & 0xf3f == 0x33f
}

fn number(mantissa: u64, exponent: u32) -> F80 {
    F80 { mantissa, sign_exponent: exponent as u16 }
}

/// What was raised, as the word beside the result has it.
fn raised(cx: &Context) -> u32 {
    let prevented = if cx.raised & !cx.masks & 0x3f != 0 { PREVENTED } else { 0 };
    u32::from(cx.raised) << 16 | u32::from(cx.up) << 25 | prevented
}

fn finish(cx: &Context, value: F80) -> u64 {
    leave_side(u32::from(value.sign_exponent) | raised(cx));
    value.mantissa
}

fn finish_bits(cx: &Context, bits: u64) -> u64 {
    leave_side(raised(cx));
    bits
}

#[inline(always)]
fn finish_quick(quick: quick::Quick) -> u64 {
    let inexact = if quick.inexact { u32::from(exception::PRECISION) << 16 } else { 0 };
    leave_side(u32::from(quick.value.sign_exponent) | inexact | u32::from(quick.up) << 25);
    quick.value.mantissa
}

macro_rules! binary {
    ($($name:ident $quick:expr, $exact:expr;)*) => { $(
        extern "C" fn $name(a: u64, b: u64, exponents: u32, control: u32) -> u64 {
            let (a, b) = (number(a, exponents), number(b, exponents >> 16));
            if is_usual(control)
                && let Some(result) = $quick(a, b)
            {
                return finish_quick(result);
            }
            let mut cx = Context::new(control as u16);
            let value = $exact(&mut cx, a, b);
            finish(&cx, value)
        }
    )* };
}

binary! {
    add quick::add, arith::add;
    sub |a, b: F80| quick::add(a, b.negated()), arith::sub;
    mul quick::mul, arith::mul;
    div quick::div, arith::div;
    scale |_, _| None::<quick::Quick>, arith::scale;
}

macro_rules! unary {
    ($($name:ident $quick:expr, $exact:expr;)*) => { $(
        extern "C" fn $name(a: u64, exponent: u32, control: u32) -> u64 {
            let a = number(a, exponent);
            if is_usual(control)
                && let Some(result) = $quick(a)
            {
                return finish_quick(result);
            }
            let mut cx = Context::new(control as u16);
            let value = $exact(&mut cx, a);
            finish(&cx, value)
        }
    )* };
}

unary! {
    sqrt quick::sqrt, arith::sqrt;
    round |_| None::<quick::Quick>, arith::round_to_integer;
}

fn compare(a: u64, b: u64, exponents: u32, control: u32, nans: Nans) -> u64 {
    let (a, b) = (number(a, exponents), number(b, exponents >> 16));
    let mut cx = Context::new(control as u16);
    let ordering = compare::compare(&mut cx, a, b, nans);
    finish_bits(&cx, u64::from(compare::eflags(ordering)))
}

extern "C" fn compare_signaling(a: u64, b: u64, exponents: u32, control: u32) -> u64 {
    compare(a, b, exponents, control, Nans::Signal)
}

extern "C" fn compare_quietly(a: u64, b: u64, exponents: u32, control: u32) -> u64 {
    compare(a, b, exponents, control, Nans::Quiet)
}

extern "C" fn from_single(bits: u64, _: u32, control: u32) -> u64 {
    let mut cx = Context::new(control as u16);
    let value = convert::from_f32(&mut cx, bits as u32);
    let value = convert::quiet(&mut cx, value);
    finish(&cx, value)
}

extern "C" fn from_double(bits: u64, _: u32, control: u32) -> u64 {
    let mut cx = Context::new(control as u16);
    let value = convert::from_f64(&mut cx, bits);
    let value = convert::quiet(&mut cx, value);
    finish(&cx, value)
}

/// What a conversion notices belongs to the operation, which has its own order of precedence.
fn finish_operand(cx: &Context, value: F80) -> u64 {
    leave_side(u32::from(value.sign_exponent) | if cx.raised == 0 { 0 } else { PREVENTED });
    value.mantissa
}

extern "C" fn operand_single(bits: u64, _: u32, control: u32) -> u64 {
    let mut cx = Context::new(control as u16);
    let value = convert::from_f32(&mut cx, bits as u32);
    finish_operand(&cx, value)
}

extern "C" fn operand_double(bits: u64, _: u32, control: u32) -> u64 {
    let mut cx = Context::new(control as u16);
    let value = convert::from_f64(&mut cx, bits);
    finish_operand(&cx, value)
}

extern "C" fn to_single(mantissa: u64, exponent: u32, control: u32) -> u64 {
    let mut cx = Context::new(control as u16);
    let bits = convert::to_f32(&mut cx, number(mantissa, exponent));
    finish_bits(&cx, u64::from(bits.unwrap_or(0)))
}

extern "C" fn to_double(mantissa: u64, exponent: u32, control: u32) -> u64 {
    let mut cx = Context::new(control as u16);
    let bits = convert::to_f64(&mut cx, number(mantissa, exponent));
    finish_bits(&cx, bits.unwrap_or(0))
}

fn to_int(mantissa: u64, exponent: u32, control: u32, bits: u32) -> u64 {
    let mut cx = Context::new(control as u16);
    let rounding = Rounding::from_bits(control >> 10);
    let value = convert::to_int(&mut cx, number(mantissa, exponent), bits, rounding);
    finish_bits(&cx, value as u64)
}

extern "C" fn to_i16(mantissa: u64, exponent: u32, control: u32) -> u64 {
    to_int(mantissa, exponent, control, 16)
}

extern "C" fn to_i32(mantissa: u64, exponent: u32, control: u32) -> u64 {
    to_int(mantissa, exponent, control, 32)
}

extern "C" fn to_i64(mantissa: u64, exponent: u32, control: u32) -> u64 {
    to_int(mantissa, exponent, control, 64)
}

extern "C" fn examine(mantissa: u64, exponent: u32, _: u32) -> u64 {
    u64::from(compare::examine(number(mantissa, exponent), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_what_is_beside_them() {
        let usual = 0x37f;
        let side = || SIDE.load(Ordering::Relaxed);
        // 1 + 2^-64 is a tie, which goes to even; 3 of them round up.
        let exponents = 0x3fff | (0x3fff - 64) << 16;
        assert_eq!(add(1 << 63, 1 << 63, exponents, usual), 1 << 63);
        assert_eq!(side(), 0x3fff | 0x20 << 16);
        assert_eq!(add(1 << 63, 3 << 62, exponents, usual), 1 << 63 | 1);
        assert_eq!(side(), 0x3fff | 0x20 << 16 | 1 << 25);
        // Inexactness that is not masked.
        add(1 << 63, 1 << 63, exponents, usual & !0x20);
        assert_eq!(side() & PREVENTED, PREVENTED);
        // 1 / 0
        div(1 << 63, 0, 0x3fff, usual);
        assert_eq!(side(), 0x7fff | 4 << 16);
        assert_eq!(compare_signaling(1 << 63, 1 << 63, 0x3fff | 0x4000 << 16, usual), 1);
        assert_eq!(from_double(0x4045_0000_0000_0000, 0, usual), 42 << 58);
        assert_eq!(side(), 0x3fff + 5);
        operand_double(1, 0, usual);
        assert_eq!(side() & PREVENTED, PREVENTED);
        assert_eq!(to_i32(42 << 58, 0x3fff + 5, usual), 42);
    }
}
