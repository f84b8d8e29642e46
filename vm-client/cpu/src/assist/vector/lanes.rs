//! Vectors as arrays of lanes and back.
//!
//! Lanes are looked at in memory, through references: compilers then use vector instructions of their own, where from an
//! integer in registers they would pick every lane by a shift.

use bytemuck::{cast, cast_ref};

const _: () = assert!(cfg!(target_endian = "little"), "lanes are in the order of the host's memory");

#[inline(always)]
pub(super) fn bytes(v: &u128) -> &[u8; 16] {
    cast_ref(v)
}

#[inline(always)]
pub(super) fn words(v: &u128) -> &[u16; 8] {
    cast_ref(v)
}

#[inline(always)]
pub(super) fn longs(v: &u128) -> &[u32; 4] {
    cast_ref(v)
}

#[inline(always)]
pub(super) fn quads(v: &u128) -> &[u64; 2] {
    cast_ref(v)
}

#[inline(always)]
pub(super) fn from_bytes(v: [u8; 16]) -> u128 {
    cast(v)
}

#[inline(always)]
pub(super) fn from_words(v: [u16; 8]) -> u128 {
    cast(v)
}

#[inline(always)]
pub(super) fn from_longs(v: [u32; 4]) -> u128 {
    cast(v)
}

#[inline(always)]
pub(super) fn from_quads(v: [u64; 2]) -> u128 {
    cast(v)
}

#[inline(always)]
pub(super) fn each_byte(a: &u128, b: &u128, f: impl Fn(u8, u8) -> u8) -> u128 {
    let (a, b) = (bytes(a), bytes(b));
    from_bytes(std::array::from_fn(|i| f(a[i], b[i])))
}

#[inline(always)]
pub(super) fn each_word(a: &u128, b: &u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    let (a, b) = (words(a), words(b));
    from_words(std::array::from_fn(|i| f(a[i], b[i])))
}

#[inline(always)]
pub(super) fn each_long(a: &u128, b: &u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (a, b) = (longs(a), longs(b));
    from_longs(std::array::from_fn(|i| f(a[i], b[i])))
}

#[inline(always)]
pub(super) fn each_quad(a: &u128, b: &u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let (a, b) = (quads(a), quads(b));
    from_quads(std::array::from_fn(|i| f(a[i], b[i])))
}

/// All ones for true.
#[inline(always)]
pub(super) fn mask8(x: bool) -> u8 {
    if x { !0 } else { 0 }
}
#[inline(always)]
pub(super) fn mask16(x: bool) -> u16 {
    if x { !0 } else { 0 }
}
#[inline(always)]
pub(super) fn mask32(x: bool) -> u32 {
    if x { !0 } else { 0 }
}
#[inline(always)]
pub(super) fn mask64(x: bool) -> u64 {
    if x { !0 } else { 0 }
}

#[inline(always)]
pub(super) fn clamp_i8(x: i16) -> u8 {
    x.clamp(-128, 127) as u8
}
#[inline(always)]
pub(super) fn clamp_u8(x: i16) -> u8 {
    x.clamp(0, 255) as u8
}
#[inline(always)]
pub(super) fn clamp_i16(x: i32) -> u16 {
    x.clamp(-32768, 32767) as u16
}
#[inline(always)]
pub(super) fn clamp_u16(x: i32) -> u16 {
    x.clamp(0, 65535) as u16
}

/// Shift counts are the low 64 bits of the source.
#[inline(always)]
pub(super) fn count(b: &u128) -> u32 {
    u32::try_from(*b as u64).unwrap_or(u32::MAX)
}
