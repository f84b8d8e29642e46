//! Families of operations that share a shape: shifts, packing, unpacking, widening, horizontal arithmetic.
//!
//! All are inlined where the operation is a constant, so each becomes code of its own.

use super::Vector;
use super::lanes::{
    bytes, clamp_i8, clamp_i16, clamp_u8, clamp_u16, each_long, each_quad, each_word, from_bytes, from_longs,
    from_quads, from_words, longs, words,
};

#[inline(always)]
pub(super) fn shift(op: Vector, a: &u128, count: u32) -> u128 {
    use Vector::*;
    match op {
        Psllw => each_word(a, a, |x, _| x.checked_shl(count).unwrap_or(0)),
        Pslld => each_long(a, a, |x, _| x.checked_shl(count).unwrap_or(0)),
        Psllq => each_quad(a, a, |x, _| x.checked_shl(count).unwrap_or(0)),
        Psrlw => each_word(a, a, |x, _| x.checked_shr(count).unwrap_or(0)),
        Psrld => each_long(a, a, |x, _| x.checked_shr(count).unwrap_or(0)),
        Psrlq => each_quad(a, a, |x, _| x.checked_shr(count).unwrap_or(0)),
        Psraw => each_word(a, a, |x, _| (x as i16 >> count.min(15)) as u16),
        _ => each_long(a, a, |x, _| (x as i32 >> count.min(31)) as u32),
    }
}

#[inline(always)]
pub(super) fn unpack(op: Vector, a: &u128, b: &u128) -> u128 {
    use Vector::*;
    let from = if matches!(op, Punpckhbw | Punpckhwd | Punpckhdq) { 1 } else { 0 };
    match op {
        Punpcklbw | Punpckhbw => {
            let (a, b) = (bytes(a), bytes(b));
            from_bytes(std::array::from_fn(|i| if i % 2 == 0 { a[8 * from + i / 2] } else { b[8 * from + i / 2] }))
        }
        Punpcklwd | Punpckhwd => {
            let (a, b) = (words(a), words(b));
            from_words(std::array::from_fn(|i| if i % 2 == 0 { a[4 * from + i / 2] } else { b[4 * from + i / 2] }))
        }
        _ => {
            let (a, b) = (longs(a), longs(b));
            from_longs(std::array::from_fn(|i| if i % 2 == 0 { a[2 * from + i / 2] } else { b[2 * from + i / 2] }))
        }
    }
}

#[inline(always)]
pub(super) fn pack(op: Vector, a: &u128, b: &u128) -> u128 {
    use Vector::*;
    match op {
        Packsswb | Packuswb => {
            let narrow = if op == Packsswb { clamp_i8 } else { clamp_u8 };
            let (a, b) = (words(a), words(b));
            from_bytes(std::array::from_fn(|i| narrow(if i < 8 { a[i] } else { b[i - 8] } as i16)))
        }
        _ => {
            let narrow = if op == Packssdw { clamp_i16 } else { clamp_u16 };
            let (a, b) = (longs(a), longs(b));
            from_words(std::array::from_fn(|i| narrow(if i < 4 { a[i] } else { b[i - 4] } as i32)))
        }
    }
}

#[inline(always)]
pub(super) fn align(a: u128, b: u128, imm: u8) -> u128 {
    match u32::from(imm) * 8 {
        0 => b,
        by @ 1..=127 => b >> by | a << (128 - by),
        128 => a,
        by => a.checked_shr(by - 128).unwrap_or(0),
    }
}

#[inline(always)]
pub(super) fn extend(op: Vector, b: &u128) -> u128 {
    use Vector::*;
    let (b8, b16, b32) = (bytes(b), words(b), longs(b));
    match op {
        Pmovsxbw => from_words(std::array::from_fn(|i| b8[i] as i8 as u16)),
        Pmovsxbd => from_longs(std::array::from_fn(|i| b8[i] as i8 as u32)),
        Pmovsxbq => from_quads(std::array::from_fn(|i| b8[i] as i8 as u64)),
        Pmovsxwd => from_longs(std::array::from_fn(|i| b16[i] as i16 as u32)),
        Pmovsxwq => from_quads(std::array::from_fn(|i| b16[i] as i16 as u64)),
        Pmovsxdq => from_quads(std::array::from_fn(|i| b32[i] as i32 as u64)),
        Pmovzxbw => from_words(std::array::from_fn(|i| u16::from(b8[i]))),
        Pmovzxbd => from_longs(std::array::from_fn(|i| u32::from(b8[i]))),
        Pmovzxbq => from_quads(std::array::from_fn(|i| u64::from(b8[i]))),
        Pmovzxwd => from_longs(std::array::from_fn(|i| u32::from(b16[i]))),
        Pmovzxwq => from_quads(std::array::from_fn(|i| u64::from(b16[i]))),
        _ => from_quads(std::array::from_fn(|i| u64::from(b32[i]))),
    }
}

#[inline(always)]
pub(super) fn horizontal_words(op: Vector, a: &u128, b: &u128) -> u128 {
    use Vector::*;
    let (a, b) = (words(a), words(b));
    let f = |x: u16, y: u16| match op {
        Phaddw => x.wrapping_add(y),
        Phaddsw => (x as i16).saturating_add(y as i16) as u16,
        Phsubw => x.wrapping_sub(y),
        _ => (x as i16).saturating_sub(y as i16) as u16,
    };
    from_words(std::array::from_fn(|i| if i < 4 { f(a[2 * i], a[2 * i + 1]) } else { f(b[2 * i - 8], b[2 * i - 7]) }))
}

#[inline(always)]
pub(super) fn horizontal_longs(a: &u128, b: &u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (a, b) = (longs(a), longs(b));
    from_longs([f(a[0], a[1]), f(a[2], a[3]), f(b[0], b[1]), f(b[2], b[3])])
}

/// Two bits of an immediate.
#[inline(always)]
pub(super) fn pick(imm: u8, i: usize) -> usize {
    usize::from(imm >> (2 * i) & 3)
}
