//! Floating-point instructions on whole vectors, made of the operations on lanes.

use super::convert::{self, To};
use super::float::{self, Operation};
use super::{Context, Kind, estimate};

/// Which lanes an instruction works on. The others come from the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Shape {
    Ps,
    Ss,
    Pd,
    Sd,
}

impl Shape {
    fn kind(self) -> Kind {
        match self {
            Shape::Ps | Shape::Ss => Kind::Single,
            Shape::Pd | Shape::Sd => Kind::Double,
        }
    }
    fn lanes(self) -> u32 {
        match self {
            Shape::Ps => 4,
            Shape::Pd => 2,
            Shape::Ss | Shape::Sd => 1,
        }
    }
}

/// Lane-wise operations; four numbers each, one a shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are instructions")]
#[repr(u8)]
pub enum Lanewise {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Sqrt,
    Cmp,
    Round,
    Rcp,
    Rsqrt,
}

/// Everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are instructions")]
#[repr(u8)]
pub enum Other {
    Haddps = 64,
    Haddpd,
    Hsubps,
    Hsubpd,
    Addsubps,
    Addsubpd,
    Dpps,
    Dppd,
    Cvtdq2ps,
    Cvtdq2pd,
    Cvtps2pd,
    Cvtpd2ps,
    Cvtps2dq,
    Cvttps2dq,
    Cvtpd2dq,
    Cvttpd2dq,
    Cvtss2sd,
    Cvtsd2ss,
    Cvtpi2ps,
}

const LANEWISE: [Lanewise; 11] = [
    Lanewise::Add,
    Lanewise::Sub,
    Lanewise::Mul,
    Lanewise::Div,
    Lanewise::Min,
    Lanewise::Max,
    Lanewise::Sqrt,
    Lanewise::Cmp,
    Lanewise::Round,
    Lanewise::Rcp,
    Lanewise::Rsqrt,
];
const SHAPES: [Shape; 4] = [Shape::Ps, Shape::Ss, Shape::Pd, Shape::Sd];
const OTHERS: [Other; 19] = [
    Other::Haddps,
    Other::Haddpd,
    Other::Hsubps,
    Other::Hsubpd,
    Other::Addsubps,
    Other::Addsubpd,
    Other::Dpps,
    Other::Dppd,
    Other::Cvtdq2ps,
    Other::Cvtdq2pd,
    Other::Cvtps2pd,
    Other::Cvtpd2ps,
    Other::Cvtps2dq,
    Other::Cvttps2dq,
    Other::Cvtpd2dq,
    Other::Cvttpd2dq,
    Other::Cvtss2sd,
    Other::Cvtsd2ss,
    Other::Cvtpi2ps,
];

/// The number of a lane-wise operation.
pub(crate) fn number(operation: Lanewise, shape: Shape) -> u8 {
    operation as u8 * 4 + shape as u8
}

fn lane(v: u128, kind: Kind, i: u32) -> u64 {
    match kind {
        Kind::Single => u64::from((v >> (32 * i)) as u32),
        Kind::Double => (v >> (64 * i)) as u64,
    }
}

fn with_lane(v: u128, kind: Kind, i: u32, value: u64) -> u128 {
    let bits = kind.bits();
    let mask = ((1u128 << bits) - 1) << (bits * i);
    v & !mask | u128::from(value) << (bits * i) & mask
}

/// The result of a plain operation by the host's arithmetic, where that gives the same and raises nothing new.
#[inline]
pub(crate) fn on_host(mxcsr: u32, number: u8, a: u128, b: u128) -> Option<u128> {
    if !super::host_will_do(mxcsr) {
        return None;
    }
    let operation = match number / 4 {
        0 => Operation::Add,
        1 => Operation::Sub,
        2 => Operation::Mul,
        3 => Operation::Div,
        4 => Operation::Min,
        5 => Operation::Max,
        6 => Operation::Sqrt,
        _ => return None,
    };
    let single = |i: u32| float::on_host(Kind::Single, operation, lane(a, Kind::Single, i), lane(b, Kind::Single, i));
    match number & 3 {
        0 => {
            let (r0, r1, r2, r3) = (single(0)?, single(1)?, single(2)?, single(3)?);
            Some(u128::from(r0 | r1 << 32) | u128::from(r2 | r3 << 32) << 64)
        }
        1 => Some(a >> 32 << 32 | u128::from(single(0)?)),
        2 => {
            let low = float::on_host(Kind::Double, operation, a as u64, b as u64)?;
            let high = float::on_host(Kind::Double, operation, (a >> 64) as u64, (b >> 64) as u64)?;
            Some(u128::from(low) | u128::from(high) << 64)
        }
        _ => Some(a >> 64 << 64 | u128::from(float::on_host(Kind::Double, operation, a as u64, b as u64)?)),
    }
}

/// Runs the operation with this number; `a` is the destination's old value.
pub(crate) fn compute(cx: &mut Context, number: u8, a: u128, b: u128, imm: u8) -> u128 {
    if let Some(&other) = OTHERS.get(usize::from(number).wrapping_sub(64)) {
        return compute_other(cx, other, a, b, imm);
    }
    let operation = LANEWISE[usize::from(number / 4) % LANEWISE.len()];
    let shape = SHAPES[usize::from(number & 3)];
    let kind = shape.kind();
    let mut result = a;
    for i in 0..shape.lanes() {
        let (x, y) = (lane(a, kind, i), lane(b, kind, i));
        let value = match operation {
            Lanewise::Add => float::binary(cx, kind, Operation::Add, x, y),
            Lanewise::Sub => float::binary(cx, kind, Operation::Sub, x, y),
            Lanewise::Mul => float::binary(cx, kind, Operation::Mul, x, y),
            Lanewise::Div => float::binary(cx, kind, Operation::Div, x, y),
            Lanewise::Min => float::binary(cx, kind, Operation::Min, x, y),
            Lanewise::Max => float::binary(cx, kind, Operation::Max, x, y),
            Lanewise::Sqrt => float::binary(cx, kind, Operation::Sqrt, x, y),
            Lanewise::Cmp => {
                if float::predicate(cx, kind, x, y, imm) {
                    u64::MAX
                } else {
                    0
                }
            }
            Lanewise::Round => float::round_to_integer(cx, kind, y, imm),
            Lanewise::Rcp => u64::from(estimate::reciprocal(y as u32)),
            Lanewise::Rsqrt => u64::from(estimate::reciprocal_root(y as u32)),
        };
        result = with_lane(result, kind, i, value);
    }
    result
}

fn compute_other(cx: &mut Context, other: Other, a: u128, b: u128, imm: u8) -> u128 {
    use Kind::{Double, Single};
    match other {
        Other::Haddps | Other::Hsubps => {
            let operation = if other == Other::Haddps { Operation::Add } else { Operation::Sub };
            let pairs = [(a, 0), (a, 2), (b, 0), (b, 2)];
            each(
                Single,
                |cx, i| {
                    let (v, at) = pairs[i as usize];
                    float::binary(cx, Single, operation, lane(v, Single, at), lane(v, Single, at + 1))
                },
                cx,
                4,
            )
        }
        Other::Haddpd | Other::Hsubpd => {
            let operation = if other == Other::Haddpd { Operation::Add } else { Operation::Sub };
            each(
                Double,
                |cx, i| {
                    let v = if i == 0 { a } else { b };
                    float::binary(cx, Double, operation, lane(v, Double, 0), lane(v, Double, 1))
                },
                cx,
                2,
            )
        }
        Other::Addsubps => add_sub(cx, Single, a, b, 4),
        Other::Addsubpd => add_sub(cx, Double, a, b, 2),
        Other::Dpps => dot_product(cx, Single, a, b, imm, 4),
        Other::Dppd => dot_product(cx, Double, a, b, imm, 2),
        Other::Cvtdq2ps => each(Single, |cx, i| convert::from_int(cx, Single, int_lane(b, i)), cx, 4),
        Other::Cvtdq2pd => each(Double, |cx, i| convert::from_int(cx, Double, int_lane(b, i)), cx, 2),
        Other::Cvtps2pd => each(Double, |cx, i| convert::change(cx, Single, Double, lane(b, Single, i)), cx, 2),
        Other::Cvtpd2ps => each(Single, |cx, i| convert::change(cx, Double, Single, lane(b, Double, i)), cx, 2),
        Other::Cvtps2dq => to_ints(cx, Single, b, To::Rounded, 4),
        Other::Cvttps2dq => to_ints(cx, Single, b, To::Truncated, 4),
        Other::Cvtpd2dq => to_ints(cx, Double, b, To::Rounded, 2),
        Other::Cvttpd2dq => to_ints(cx, Double, b, To::Truncated, 2),
        Other::Cvtss2sd => with_lane(a, Double, 0, convert::change(cx, Single, Double, lane(b, Single, 0))),
        Other::Cvtsd2ss => with_lane(a, Single, 0, convert::change(cx, Double, Single, lane(b, Double, 0))),
        Other::Cvtpi2ps => {
            let low = each(Single, |cx, i| convert::from_int(cx, Single, int_lane(b, i)), cx, 2);
            a >> 64 << 64 | low
        }
    }
}

fn int_lane(v: u128, i: u32) -> i64 {
    i64::from((v >> (32 * i)) as i32)
}

/// A vector from its lanes, the rest zero.
fn each(kind: Kind, f: impl Fn(&mut Context, u32) -> u64, cx: &mut Context, lanes: u32) -> u128 {
    (0..lanes).fold(0, |v, i| v | u128::from(f(cx, i)) << (kind.bits() * i))
}

/// To 32-bit integers in the low lanes, the rest zero.
pub(crate) fn to_ints(cx: &mut Context, kind: Kind, b: u128, to: To, lanes: u32) -> u128 {
    (0..lanes).fold(0, |v, i| v | u128::from(convert::to_int(cx, kind, lane(b, kind, i), 32, to)) << (32 * i))
}

fn add_sub(cx: &mut Context, kind: Kind, a: u128, b: u128, lanes: u32) -> u128 {
    each(
        kind,
        |cx, i| {
            let operation = if i & 1 == 0 { Operation::Sub } else { Operation::Add };
            float::binary(cx, kind, operation, lane(a, kind, i), lane(b, kind, i))
        },
        cx,
        lanes,
    )
}

fn dot_product(cx: &mut Context, kind: Kind, a: u128, b: u128, imm: u8, lanes: u32) -> u128 {
    let mut products = [0; 4];
    for i in 0..lanes {
        if imm >> (4 + i) & 1 != 0 {
            products[i as usize] = float::binary(cx, kind, Operation::Mul, lane(a, kind, i), lane(b, kind, i));
        }
    }
    // Each step traps before the next one raises anything.
    if cx.trapped() {
        return a;
    }
    let mut sum = float::binary(cx, kind, Operation::Add, products[0], products[1]);
    if kind == Kind::Single {
        let high = float::binary(cx, kind, Operation::Add, products[2], products[3]);
        if cx.trapped() {
            return a;
        }
        sum = float::binary(cx, kind, Operation::Add, sum, high);
    }
    each(kind, |_, i| if imm >> i & 1 != 0 { sum } else { 0 }, cx, lanes)
}
