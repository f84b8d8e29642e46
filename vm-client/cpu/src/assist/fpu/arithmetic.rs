//! Computation and comparison.

use std::cmp::Ordering;

use vm_mem::{Mmu, VirtAddr};

use super::{X87, overflow, underflow};
use crate::assist::fpu80::compare::{self, Nans};
use crate::assist::fpu80::remainder::{self, Quotient};
use crate::assist::fpu80::transcendental::{self as special, Angle};
use crate::assist::fpu80::{Context, INDEFINITE, arith, convert};
use crate::core::{Core, Trap};
use crate::flags::bit;
use crate::{F80, Fpu};

/// The operations that share encodings, by number: add mul com comp sub subr div divr.
const COMPARE: u8 = 2;
const COMPARE_POP: u8 = 3;

fn operate(cx: &mut Context, operation: u8, a: F80, b: F80) -> F80 {
    match operation {
        0 => arith::add(cx, a, b),
        1 => arith::mul(cx, a, b),
        4 => arith::sub(cx, a, b),
        5 => arith::sub(cx, b, a),
        6 => arith::div(cx, a, b),
        _ => arith::div(cx, b, a),
    }
}

/// ST(0) and an operand from memory.
pub(super) fn with_memory(fpu: &mut Fpu, mmu: &mut Mmu, what: X87, addr: VirtAddr, c: u8) -> Result<(), Trap> {
    let mut cx = Context::new(fpu.control);
    let operand = match what {
        X87::WithF32 => convert::from_f32(&mut cx, mmu.load(addr)?),
        X87::WithF64 => convert::from_f64(&mut cx, mmu.load(addr)?),
        X87::WithI16 => arith::integer(i64::from(mmu.load::<u16>(addr)? as i16)),
        _ => arith::integer(i64::from(mmu.load::<u32>(addr)? as i32)),
    };
    // What the conversion noticed belongs to the operation, which has its own order of precedence.
    let noticed = std::mem::take(&mut cx.raised);
    let operation = c >> 3;
    if operation == COMPARE || operation == COMPARE_POP {
        compare_with(fpu, cx, Some(operand), noticed, Nans::Signal, u8::from(operation == COMPARE_POP));
        return Ok(());
    }
    let result = match fpu.st(0) {
        Some(value) => {
            let result = operate(&mut cx, operation, value, operand);
            merge(&mut cx, noticed, &[value, operand]);
            result
        }
        None => underflow(&mut cx),
    };
    if fpu.settle(&cx) {
        fpu.set_st(0, result);
    }
    Ok(())
}

/// Adds what the conversion of an operand raised. A denormal only counts where no NaN or invalid operand came first.
fn merge(cx: &mut Context, noticed: u16, operands: &[F80]) {
    use crate::assist::fpu80::exception::{BEFORE, DENORMAL, INVALID, ZERO_DIVIDE};
    let nan = operands.iter().any(|o| o.is_nan());
    if noticed & DENORMAL != 0 && !nan && cx.raised & (INVALID | ZERO_DIVIDE) == 0 {
        cx.raise(DENORMAL);
        if cx.prevented() {
            cx.raised &= BEFORE;
            cx.up = false;
        }
    }
}

pub(super) fn run(fpu: &mut Fpu, what: X87, c: u8) {
    match what {
        X87::WithSt => {
            let operation = c >> 3;
            if operation == COMPARE || operation == COMPARE_POP {
                let cx = Context::new(fpu.control);
                compare_with(fpu, cx, fpu.st(c & 7), 0, Nans::Signal, u8::from(operation == COMPARE_POP));
            } else {
                binary(fpu, 0, c & 7, 0, |cx, a, b| operate(cx, operation, a, b));
            }
        }
        X87::ToSt => binary(fpu, c & 7, 0, 0, |cx, a, b| operate(cx, c >> 3, a, b)),
        X87::ToStPop => binary(fpu, c & 7, 0, 1, |cx, a, b| operate(cx, c >> 3, a, b)),
        X87::CompareTwicePop => compare_registers(fpu, 1, Nans::Signal, 2),
        X87::Unordered => compare_registers(fpu, c, Nans::Quiet, 0),
        X87::UnorderedPop => compare_registers(fpu, c, Nans::Quiet, 1),
        X87::UnorderedTwicePop => compare_registers(fpu, 1, Nans::Quiet, 2),
        X87::Test => {
            let cx = Context::new(fpu.control);
            compare_with(fpu, cx, Some(F80::zero(false)), 0, Nans::Signal, 0);
        }
        X87::Examine => {
            let codes = compare::examine(fpu.regs[fpu.index(0)], fpu.is_empty(0));
            fpu.status = fpu.status & !0x4700 | codes;
        }
        X87::ChangeSign => unary(fpu, |_, a| a.negated()),
        X87::Absolute => unary(fpu, |_, a| a.with_sign(false)),
        X87::SquareRoot => unary(fpu, arith::sqrt),
        X87::RoundInt => unary(fpu, arith::round_to_integer),
        X87::TwoToXMinusOne => unary(fpu, special::two_to_x_minus_one),
        X87::Sine => trigonometric(fpu, special::sine),
        X87::Cosine => trigonometric(fpu, special::cosine),
        X87::SineCosine => pair(fpu, |cx, x| match special::sine(cx, x) {
            Angle::OutOfRange => Angle::OutOfRange,
            Angle::Value(sine) => match special::cosine(cx, x) {
                Angle::OutOfRange => Angle::OutOfRange,
                Angle::Value(cosine) => Angle::Value((sine, cosine)),
            },
        }),
        X87::Tangent => pair(fpu, |cx, x| match special::tangent(cx, x) {
            Angle::OutOfRange => Angle::OutOfRange,
            // A NaN is pushed beside a NaN.
            Angle::Value(tangent) if tangent.is_nan() => Angle::Value((tangent, tangent)),
            Angle::Value(tangent) => Angle::Value((tangent, F80::one(false))),
        }),
        X87::ArcTangent => binary(fpu, 1, 0, 1, |cx, y, x| special::arc_tangent(cx, x, y)),
        X87::YLog2X => binary(fpu, 1, 0, 1, |cx, y, x| special::y_log2_x(cx, x, y)),
        X87::YLog2X1 => binary(fpu, 1, 0, 1, |cx, y, x| special::y_log2_x_plus_one(cx, x, y)),
        X87::Remainder => partial(fpu, Quotient::Truncated),
        X87::Remainder1 => partial(fpu, Quotient::Nearest),
        X87::Scale => binary(fpu, 0, 1, 0, arith::scale),
        X87::Extract => extract(fpu),
        _ => {}
    }
}

fn unary(fpu: &mut Fpu, f: impl Fn(&mut Context, F80) -> F80) {
    let mut cx = Context::new(fpu.control);
    let result = match fpu.st(0) {
        Some(value) => f(&mut cx, value),
        None => underflow(&mut cx),
    };
    if fpu.settle(&cx) {
        fpu.set_st(0, result);
    }
}

/// `ST(to) <- f(ST(to), ST(from))`
fn binary(fpu: &mut Fpu, to: u8, from: u8, pops: u8, f: impl Fn(&mut Context, F80, F80) -> F80) {
    let mut cx = Context::new(fpu.control);
    let result = match (fpu.st(to), fpu.st(from)) {
        (Some(a), Some(b)) => f(&mut cx, a, b),
        _ => underflow(&mut cx),
    };
    if fpu.settle(&cx) {
        fpu.set_st(to, result);
        for _ in 0..pops {
            fpu.pop();
        }
    }
}

fn compare_registers(fpu: &mut Fpu, i: u8, nans: Nans, pops: u8) {
    let cx = Context::new(fpu.control);
    compare_with(fpu, cx, fpu.st(i), 0, nans, pops);
}

fn compare_with(fpu: &mut Fpu, mut cx: Context, operand: Option<F80>, noticed: u16, nans: Nans, pops: u8) {
    let ordering = match (fpu.st(0), operand) {
        (Some(a), Some(b)) => {
            let ordering = compare::compare(&mut cx, a, b, nans);
            merge(&mut cx, noticed, &[a, b]);
            ordering
        }
        _ => {
            underflow(&mut cx);
            None
        }
    };
    fpu.set_conditions(compare::condition_codes(ordering));
    // An unmasked exception only prevents the pops.
    if fpu.settle(&cx) {
        for _ in 0..pops {
            fpu.pop();
        }
    }
}

/// `fcomi` and its kin.
pub(super) fn compare_flags(core: &mut Core, what: X87, i: u8) {
    let mut cx = Context::new(core.fpu.control);
    let nans = match what {
        X87::CompareFlags | X87::CompareFlagsPop => Nans::Signal,
        _ => Nans::Quiet,
    };
    let ordering = match (core.fpu.st(0), core.fpu.st(i)) {
        (Some(a), Some(b)) => compare::compare(&mut cx, a, b, nans),
        _ => {
            underflow(&mut cx);
            None
        }
    };
    set_flags(core, ordering);
    // An unmasked exception only prevents the pop.
    if core.fpu.settle_keeping_c1(&cx) && matches!(what, X87::CompareFlagsPop | X87::UnorderedFlagsPop) {
        core.fpu.pop();
    }
}

fn set_flags(core: &mut Core, ordering: Option<Ordering>) {
    core.flags.write(compare::eflags(ordering), bit::ARITHMETIC);
}

fn trigonometric(fpu: &mut Fpu, f: impl Fn(&mut Context, F80) -> Angle<F80>) {
    let mut cx = Context::new(fpu.control);
    let result = match fpu.st(0) {
        Some(value) => f(&mut cx, value),
        None => Angle::Value(underflow(&mut cx)),
    };
    fpu.set_conditions(fpu.status & !0x0400);
    match result {
        Angle::OutOfRange => {
            fpu.settle(&cx);
            fpu.status |= 0x0400;
        }
        Angle::Value(value) => {
            if fpu.settle(&cx) {
                fpu.set_st(0, value);
            }
        }
    }
}

/// Replaces ST(0) by one result and pushes another.
fn pair(fpu: &mut Fpu, f: impl Fn(&mut Context, F80) -> Angle<(F80, F80)>) {
    let mut cx = Context::new(fpu.control);
    let result = match fpu.st(0) {
        None => {
            underflow(&mut cx);
            Angle::Value((INDEFINITE, INDEFINITE))
        }
        Some(_) if !fpu.is_empty(7) => {
            overflow(&mut cx);
            Angle::Value((INDEFINITE, INDEFINITE))
        }
        Some(value) => f(&mut cx, value),
    };
    fpu.set_conditions(fpu.status & !0x0400);
    match result {
        Angle::OutOfRange => {
            fpu.settle(&cx);
            fpu.status |= 0x0400;
        }
        Angle::Value((replaced, pushed)) => {
            if fpu.settle(&cx) {
                fpu.set_st(0, replaced);
                fpu.push(pushed);
            }
        }
    }
}

fn partial(fpu: &mut Fpu, quotient: Quotient) {
    let mut cx = Context::new(fpu.control);
    let (result, codes) = match (fpu.st(0), fpu.st(1)) {
        (Some(a), Some(b)) => remainder::remainder(&mut cx, a, b, quotient),
        _ => (underflow(&mut cx), None),
    };
    let done = fpu.settle(&cx);
    if done {
        fpu.set_st(0, result);
    }
    // Without a quotient C0 and C3 stay as they are.
    fpu.status = match codes {
        Some(codes) if done => fpu.status & !0x4700 | codes,
        _ => fpu.status & !0x0400,
    };
}

fn extract(fpu: &mut Fpu) {
    let mut cx = Context::new(fpu.control);
    let (exponent, significand) = match fpu.st(0) {
        None => {
            underflow(&mut cx);
            (INDEFINITE, INDEFINITE)
        }
        Some(_) if !fpu.is_empty(7) => {
            overflow(&mut cx);
            (INDEFINITE, INDEFINITE)
        }
        Some(value) => arith::extract(&mut cx, value),
    };
    if fpu.settle(&cx) {
        fpu.set_st(0, exponent);
        fpu.push(significand);
    }
}
