//! Integer vector operations, as pure functions from bits to bits; MMX and SSE share them.
//!
//! [`compute`] works on 128 bits, [`compute_64`] says what each operation means on the 64 bits of an MMX register in terms
//! of it. Loads, stores and registers are the lowering's; the floating-point half of SSE is [`super::sse`].

mod lanes;
mod shuffle;

use lanes::{
    bytes, clamp_i16, count, each_byte, each_long, each_quad, each_word, from_bytes, from_longs, from_quads,
    from_words, longs, mask8, mask16, mask32, mask64, quads, words,
};

/// `result <- a op b`, with `a` the destination's old value, and an immediate byte.
type Function = fn(a: &u128, b: &u128, imm: u8, result: &mut u128);

macro_rules! operations {
    (($a:ident, $b:ident, $imm:ident) $($name:ident => $value:expr;)*) => {
        /// An operation on two vectors and an immediate byte; the names are the mnemonics.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "the names are instructions")]
        #[repr(u8)]
        pub enum Vector { $($name),* }

        impl Vector {
            const ALL: &[Vector] = &[$(Vector::$name),*];
        }

        // A function each: one large function would spill registers for every small operation.
        static FUNCTIONS: &[Function] = {
            use Vector::*;
            &[$(|$a, $b, $imm, result| {
                let _ = ($a, $b, $imm);
                *result = $value;
            }),*]
        };
    };
}

operations! {
    (a, b, imm)
    Paddb => each_byte(a, b, u8::wrapping_add);
    Paddw => each_word(a, b, u16::wrapping_add);
    Paddd => each_long(a, b, u32::wrapping_add);
    Paddq => each_quad(a, b, u64::wrapping_add);
    Paddsb => each_byte(a, b, |x, y| (x as i8).saturating_add(y as i8) as u8);
    Paddsw => each_word(a, b, |x, y| (x as i16).saturating_add(y as i16) as u16);
    Paddusb => each_byte(a, b, u8::saturating_add);
    Paddusw => each_word(a, b, u16::saturating_add);
    Psubb => each_byte(a, b, u8::wrapping_sub);
    Psubw => each_word(a, b, u16::wrapping_sub);
    Psubd => each_long(a, b, u32::wrapping_sub);
    Psubq => each_quad(a, b, u64::wrapping_sub);
    Psubsb => each_byte(a, b, |x, y| (x as i8).saturating_sub(y as i8) as u8);
    Psubsw => each_word(a, b, |x, y| (x as i16).saturating_sub(y as i16) as u16);
    Psubusb => each_byte(a, b, u8::saturating_sub);
    Psubusw => each_word(a, b, u16::saturating_sub);
    Pmullw => each_word(a, b, u16::wrapping_mul);
    Pmulhw => each_word(a, b, |x, y| ((i32::from(x as i16) * i32::from(y as i16)) >> 16) as u16);
    Pmulhuw => each_word(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16);
    Pmulhrsw => each_word(a, b, |x, y| ((((i32::from(x as i16) * i32::from(y as i16)) >> 14) + 1) >> 1) as u16);
    Pmulld => each_long(a, b, u32::wrapping_mul);
    Pmuludq => each_quad(a, b, |x, y| u64::from(x as u32) * u64::from(y as u32));
    Pmuldq => each_quad(a, b, |x, y| (i64::from(x as i32) * i64::from(y as i32)) as u64);
    Pmaddwd => each_long(a, b, |x, y| {
            let low = i32::from(x as i16) * i32::from(y as i16);
            let high = i32::from((x >> 16) as i16) * i32::from((y >> 16) as i16);
            low.wrapping_add(high) as u32
        });
    Pmaddubsw => each_word(a, b, |x, y| {
            let low = i32::from(x as u8) * i32::from(y as i8);
            let high = i32::from(x >> 8) * i32::from((y >> 8) as i8);
            clamp_i16(low + high)
        });
    Pavgb => each_byte(a, b, |x, y| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8);
    Pavgw => each_word(a, b, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16);
    Psadbw => each_quad(a, b, |x, y| {
            let pairs = x.to_le_bytes().into_iter().zip(y.to_le_bytes());
            pairs.map(|(x, y)| u64::from(x.abs_diff(y))).sum()
        });
    Pminub => each_byte(a, b, u8::min);
    Pminsb => each_byte(a, b, |x, y| (x as i8).min(y as i8) as u8);
    Pminuw => each_word(a, b, u16::min);
    Pminsw => each_word(a, b, |x, y| (x as i16).min(y as i16) as u16);
    Pminud => each_long(a, b, u32::min);
    Pminsd => each_long(a, b, |x, y| (x as i32).min(y as i32) as u32);
    Pmaxub => each_byte(a, b, u8::max);
    Pmaxsb => each_byte(a, b, |x, y| (x as i8).max(y as i8) as u8);
    Pmaxuw => each_word(a, b, u16::max);
    Pmaxsw => each_word(a, b, |x, y| (x as i16).max(y as i16) as u16);
    Pmaxud => each_long(a, b, u32::max);
    Pmaxsd => each_long(a, b, |x, y| (x as i32).max(y as i32) as u32);
    Pand => *a & *b;
    Pandn => !*a & *b;
    Por => *a | *b;
    Pxor => *a ^ *b;
    Pcmpeqb => each_byte(a, b, |x, y| mask8(x == y));
    Pcmpeqw => each_word(a, b, |x, y| mask16(x == y));
    Pcmpeqd => each_long(a, b, |x, y| mask32(x == y));
    Pcmpeqq => each_quad(a, b, |x, y| mask64(x == y));
    Pcmpgtb => each_byte(a, b, |x, y| mask8(x as i8 > y as i8));
    Pcmpgtw => each_word(a, b, |x, y| mask16(x as i16 > y as i16));
    Pcmpgtd => each_long(a, b, |x, y| mask32(x as i32 > y as i32));
    Pcmpgtq => each_quad(a, b, |x, y| mask64(x as i64 > y as i64));
    Psllw => shuffle::shift(Psllw, a, count(b));
    Pslld => shuffle::shift(Pslld, a, count(b));
    Psllq => shuffle::shift(Psllq, a, count(b));
    Psrlw => shuffle::shift(Psrlw, a, count(b));
    Psrld => shuffle::shift(Psrld, a, count(b));
    Psrlq => shuffle::shift(Psrlq, a, count(b));
    Psraw => shuffle::shift(Psraw, a, count(b));
    Psrad => shuffle::shift(Psrad, a, count(b));
    Pslldq => a.checked_shl(8 * count(b).min(16)).unwrap_or(0);
    Psrldq => a.checked_shr(8 * count(b).min(16)).unwrap_or(0);
    Punpcklbw => shuffle::unpack(Punpcklbw, a, b);
    Punpcklwd => shuffle::unpack(Punpcklwd, a, b);
    Punpckldq => shuffle::unpack(Punpckldq, a, b);
    Punpcklqdq => from_quads([*a as u64, *b as u64]);
    Punpckhbw => shuffle::unpack(Punpckhbw, a, b);
    Punpckhwd => shuffle::unpack(Punpckhwd, a, b);
    Punpckhdq => shuffle::unpack(Punpckhdq, a, b);
    Punpckhqdq => from_quads([(*a >> 64) as u64, (*b >> 64) as u64]);
    Packsswb => shuffle::pack(Packsswb, a, b);
    Packssdw => shuffle::pack(Packssdw, a, b);
    Packuswb => shuffle::pack(Packuswb, a, b);
    Packusdw => shuffle::pack(Packusdw, a, b);
    Pshufb => {
            let table = bytes(a);
            from_bytes(bytes(b).map(|i| if i & 0x80 != 0 { 0 } else { table[usize::from(i & 15)] }))
        };
    Pshufd => {
            let b = longs(b);
            from_longs(std::array::from_fn(|i| b[shuffle::pick(imm, i)]))
        };
    Pshuflw => {
            let b = words(b);
            from_words(std::array::from_fn(|i| if i < 4 { b[shuffle::pick(imm, i)] } else { b[i] }))
        };
    Pshufhw => {
            let b = words(b);
            from_words(std::array::from_fn(|i| if i < 4 { b[i] } else { b[4 + shuffle::pick(imm, i - 4)] }))
        };
    Palignr => shuffle::align(*a, *b, imm);
    Shufps => {
            let (a, b) = (longs(a), longs(b));
            from_longs(std::array::from_fn(|i| if i < 2 { a[shuffle::pick(imm, i)] } else { b[shuffle::pick(imm, i)] }))
        };
    Shufpd => from_quads([quads(a)[usize::from(imm & 1)], quads(b)[usize::from(imm >> 1 & 1)]]);
    Phaddw => shuffle::horizontal_words(Phaddw, a, b);
    Phaddd => shuffle::horizontal_longs(a, b, u32::wrapping_add);
    Phaddsw => shuffle::horizontal_words(Phaddsw, a, b);
    Phsubw => shuffle::horizontal_words(Phsubw, a, b);
    Phsubd => shuffle::horizontal_longs(a, b, u32::wrapping_sub);
    Phsubsw => shuffle::horizontal_words(Phsubsw, a, b);
    Psignb => each_byte(a, b, |x, y| (x as i8).wrapping_mul((y as i8).signum()) as u8);
    Psignw => each_word(a, b, |x, y| (x as i16).wrapping_mul((y as i16).signum()) as u16);
    Psignd => each_long(a, b, |x, y| (x as i32).wrapping_mul((y as i32).signum()) as u32);
    Pabsb => each_byte(b, b, |x, _| (x as i8).unsigned_abs());
    Pabsw => each_word(b, b, |x, _| (x as i16).unsigned_abs());
    Pabsd => each_long(b, b, |x, _| (x as i32).unsigned_abs());
    Blendps => {
            let (a, b) = (longs(a), longs(b));
            from_longs(std::array::from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
        };
    Blendpd => {
            let (a, b) = (quads(a), quads(b));
            from_quads(std::array::from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
        };
    Pblendw => {
            let (a, b) = (words(a), words(b));
            from_words(std::array::from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
        };
    Insertps => {
            let mut lanes = *longs(a);
            lanes[shuffle::pick(imm, 2)] = longs(b)[shuffle::pick(imm, 3)];
            from_longs(std::array::from_fn(|i| if imm >> i & 1 != 0 { 0 } else { lanes[i] }))
        };
    Mpsadbw => {
            let (a, b) = (bytes(a), bytes(b));
            let (to, from) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
            from_words(std::array::from_fn(|i| (0..4).map(|j| u16::from(a[to + i + j].abs_diff(b[from + j]))).sum()))
        };
    Phminposuw => {
            let b = words(b);
            let (index, value) = (0..8).map(|i| (i, b[i])).min_by_key(|&(_, v)| v).unwrap_or((0, 0));
            u128::from(value) | (index as u128) << 16
        };
    Pmovsxbw => shuffle::extend(Pmovsxbw, b);
    Pmovsxbd => shuffle::extend(Pmovsxbd, b);
    Pmovsxbq => shuffle::extend(Pmovsxbq, b);
    Pmovsxwd => shuffle::extend(Pmovsxwd, b);
    Pmovsxwq => shuffle::extend(Pmovsxwq, b);
    Pmovsxdq => shuffle::extend(Pmovsxdq, b);
    Pmovzxbw => shuffle::extend(Pmovzxbw, b);
    Pmovzxbd => shuffle::extend(Pmovzxbd, b);
    Pmovzxbq => shuffle::extend(Pmovzxbq, b);
    Pmovzxwd => shuffle::extend(Pmovzxwd, b);
    Pmovzxwq => shuffle::extend(Pmovzxwq, b);
    Pmovzxdq => shuffle::extend(Pmovzxdq, b);
    Movss => *a >> 32 << 32 | u128::from(*b as u32);
    Movsd => *a >> 64 << 64 | u128::from(*b as u64);
    Movhlps => from_quads([(*b >> 64) as u64, (*a >> 64) as u64]);
    Movlhps => from_quads([*a as u64, *b as u64]);
    Movsldup => {
            let b = longs(b);
            from_longs([b[0], b[0], b[2], b[2]])
        };
    Movshdup => {
            let b = longs(b);
            from_longs([b[1], b[1], b[3], b[3]])
        };
    Movddup => from_quads([*b as u64, *b as u64]);
    Movq => u128::from(*b as u64);
}

impl Vector {
    /// The operation with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// `a op b`, with `a` the destination's old value.
pub(crate) fn compute(op: Vector, a: u128, b: u128, imm: u8) -> u128 {
    let mut result = 0;
    FUNCTIONS[op as usize](&a, &b, imm, &mut result);
    result
}

/// The function behind the operation with this number.
pub(crate) fn function(number: u8) -> Option<Function> {
    FUNCTIONS.get(usize::from(number)).copied()
}

/// The operation on MMX registers.
pub(crate) fn compute_64(op: Vector, a: u64, b: u64, imm: u8) -> u64 {
    use Vector::*;
    let (wide_a, wide_b) = (u128::from(a), u128::from(b));
    let joined = wide_a | wide_b << 64;
    (match op {
        // The upper halves of short registers are the lower halves of what is left of them.
        Punpckhbw => compute(Punpcklbw, wide_a >> 32, wide_b >> 32, imm),
        Punpckhwd => compute(Punpcklwd, wide_a >> 32, wide_b >> 32, imm),
        Punpckhdq => compute(Punpckldq, wide_a >> 32, wide_b >> 32, imm),
        // Both operands fill one half of the result each.
        Packsswb | Packssdw | Packuswb | Phaddw | Phaddd | Phaddsw | Phsubw | Phsubd | Phsubsw => {
            compute(op, joined, joined, imm)
        }
        Pshufb => compute(op, wide_a, wide_b & 0x8787_8787_8787_8787, imm),
        Palignr => compute(Psrldq, wide_a << 64 | wide_b, u128::from(imm), 0),
        _ => compute(op, wide_a, wide_b, imm),
    }) as u64
}

/// The top bits of the bytes.
pub(crate) fn byte_mask(v: u128) -> u32 {
    // The product brings the eight bits of a half together in its top byte.
    let half = |x: u64| (((x >> 7) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32;
    let [low, high] = *quads(&v);
    half(low) | half(high) << 8
}
