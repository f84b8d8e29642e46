//! Integer vector operations, as pure functions from bits to bits; MMX and SSE share them.
//!
//! [`compute`] works on 128 bits, [`compute_64`] says what each operation means on the 64 bits of an MMX register in terms
//! of it. Loads, stores and registers are the lowering's; the floating-point half of SSE is [`super::sse`].

macro_rules! operations {
    ($($name:ident)*) => {
        /// An operation on two vectors and an immediate byte.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Vector { $($name),* }

        impl Vector {
            const ALL: &[Vector] = &[$(Vector::$name),*];
        }
    };
}

operations! {
    Paddb Paddw Paddd Paddq Paddsb Paddsw Paddusb Paddusw
    Psubb Psubw Psubd Psubq Psubsb Psubsw Psubusb Psubusw
    Pmullw Pmulhw Pmulhuw Pmulhrsw Pmulld Pmuludq Pmuldq Pmaddwd Pmaddubsw
    Pavgb Pavgw Psadbw
    Pminub Pminsb Pminuw Pminsw Pminud Pminsd Pmaxub Pmaxsb Pmaxuw Pmaxsw Pmaxud Pmaxsd
    Pand Pandn Por Pxor
    Pcmpeqb Pcmpeqw Pcmpeqd Pcmpeqq Pcmpgtb Pcmpgtw Pcmpgtd Pcmpgtq
    Psllw Pslld Psllq Psrlw Psrld Psrlq Psraw Psrad Pslldq Psrldq
    Punpcklbw Punpcklwd Punpckldq Punpcklqdq Punpckhbw Punpckhwd Punpckhdq Punpckhqdq
    Packsswb Packssdw Packuswb Packusdw
    Pshufb Pshufd Pshuflw Pshufhw Palignr Shufps Shufpd
    Phaddw Phaddd Phaddsw Phsubw Phsubd Phsubsw
    Psignb Psignw Psignd Pabsb Pabsw Pabsd
    Blendps Blendpd Pblendw Insertps Mpsadbw Phminposuw
    Pmovsxbw Pmovsxbd Pmovsxbq Pmovsxwd Pmovsxwq Pmovsxdq
    Pmovzxbw Pmovzxbd Pmovzxbq Pmovzxwd Pmovzxwq Pmovzxdq
    Movss Movsd Movhlps Movlhps Movsldup Movshdup Movddup Movq
}

impl Vector {
    /// The operation with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

fn bytes(v: u128) -> [u8; 16] {
    v.to_le_bytes()
}

fn words(v: u128) -> [u16; 8] {
    std::array::from_fn(|i| (v >> (16 * i)) as u16)
}

fn longs(v: u128) -> [u32; 4] {
    std::array::from_fn(|i| (v >> (32 * i)) as u32)
}

fn quads(v: u128) -> [u64; 2] {
    [v as u64, (v >> 64) as u64]
}

fn from_bytes(v: [u8; 16]) -> u128 {
    u128::from_le_bytes(v)
}

fn from_words(v: [u16; 8]) -> u128 {
    v.iter().rev().fold(0, |all, x| all << 16 | u128::from(*x))
}

fn from_longs(v: [u32; 4]) -> u128 {
    v.iter().rev().fold(0, |all, x| all << 32 | u128::from(*x))
}

fn from_quads(v: [u64; 2]) -> u128 {
    u128::from(v[0]) | u128::from(v[1]) << 64
}

fn each_byte(a: u128, b: u128, f: impl Fn(u8, u8) -> u8) -> u128 {
    let (a, b) = (bytes(a), bytes(b));
    from_bytes(std::array::from_fn(|i| f(a[i], b[i])))
}

fn each_word(a: u128, b: u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    let (a, b) = (words(a), words(b));
    from_words(std::array::from_fn(|i| f(a[i], b[i])))
}

fn each_long(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (a, b) = (longs(a), longs(b));
    from_longs(std::array::from_fn(|i| f(a[i], b[i])))
}

fn each_quad(a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let (a, b) = (quads(a), quads(b));
    from_quads([f(a[0], b[0]), f(a[1], b[1])])
}

/// All ones for true.
fn mask8(x: bool) -> u8 {
    if x { !0 } else { 0 }
}
fn mask16(x: bool) -> u16 {
    if x { !0 } else { 0 }
}
fn mask32(x: bool) -> u32 {
    if x { !0 } else { 0 }
}
fn mask64(x: bool) -> u64 {
    if x { !0 } else { 0 }
}

fn clamp_i8(x: i16) -> u8 {
    x.clamp(-128, 127) as u8
}
fn clamp_u8(x: i16) -> u8 {
    x.clamp(0, 255) as u8
}
fn clamp_i16(x: i32) -> u16 {
    x.clamp(-32768, 32767) as u16
}
fn clamp_u16(x: i32) -> u16 {
    x.clamp(0, 65535) as u16
}

/// Shift counts are the low 64 bits of the source.
fn count(b: u128) -> u32 {
    u32::try_from(b as u64).unwrap_or(u32::MAX)
}

/// `a op b`, with `a` the destination's old value.
pub(crate) fn compute(op: Vector, a: u128, b: u128, imm: u8) -> u128 {
    use Vector::*;
    match op {
        Paddb => each_byte(a, b, u8::wrapping_add),
        Paddw => each_word(a, b, u16::wrapping_add),
        Paddd => each_long(a, b, u32::wrapping_add),
        Paddq => each_quad(a, b, u64::wrapping_add),
        Paddsb => each_byte(a, b, |x, y| (x as i8).saturating_add(y as i8) as u8),
        Paddsw => each_word(a, b, |x, y| (x as i16).saturating_add(y as i16) as u16),
        Paddusb => each_byte(a, b, u8::saturating_add),
        Paddusw => each_word(a, b, u16::saturating_add),
        Psubb => each_byte(a, b, u8::wrapping_sub),
        Psubw => each_word(a, b, u16::wrapping_sub),
        Psubd => each_long(a, b, u32::wrapping_sub),
        Psubq => each_quad(a, b, u64::wrapping_sub),
        Psubsb => each_byte(a, b, |x, y| (x as i8).saturating_sub(y as i8) as u8),
        Psubsw => each_word(a, b, |x, y| (x as i16).saturating_sub(y as i16) as u16),
        Psubusb => each_byte(a, b, u8::saturating_sub),
        Psubusw => each_word(a, b, u16::saturating_sub),
        Pmullw => each_word(a, b, u16::wrapping_mul),
        Pmulhw => each_word(a, b, |x, y| ((i32::from(x as i16) * i32::from(y as i16)) >> 16) as u16),
        Pmulhuw => each_word(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16),
        Pmulhrsw => each_word(a, b, |x, y| ((((i32::from(x as i16) * i32::from(y as i16)) >> 14) + 1) >> 1) as u16),
        Pmulld => each_long(a, b, u32::wrapping_mul),
        Pmuludq => each_quad(a, b, |x, y| u64::from(x as u32) * u64::from(y as u32)),
        Pmuldq => each_quad(a, b, |x, y| (i64::from(x as i32) * i64::from(y as i32)) as u64),
        Pmaddwd => each_long(a, b, |x, y| {
            let low = i32::from(x as i16) * i32::from(y as i16);
            let high = i32::from((x >> 16) as i16) * i32::from((y >> 16) as i16);
            low.wrapping_add(high) as u32
        }),
        Pmaddubsw => each_word(a, b, |x, y| {
            let low = i32::from(x as u8) * i32::from(y as i8);
            let high = i32::from(x >> 8) * i32::from((y >> 8) as i8);
            clamp_i16(low + high)
        }),
        Pavgb => each_byte(a, b, |x, y| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8),
        Pavgw => each_word(a, b, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16),
        Psadbw => each_quad(a, b, |x, y| {
            let pairs = x.to_le_bytes().into_iter().zip(y.to_le_bytes());
            pairs.map(|(x, y)| u64::from(x.abs_diff(y))).sum()
        }),
        Pminub => each_byte(a, b, u8::min),
        Pminsb => each_byte(a, b, |x, y| (x as i8).min(y as i8) as u8),
        Pminuw => each_word(a, b, u16::min),
        Pminsw => each_word(a, b, |x, y| (x as i16).min(y as i16) as u16),
        Pminud => each_long(a, b, u32::min),
        Pminsd => each_long(a, b, |x, y| (x as i32).min(y as i32) as u32),
        Pmaxub => each_byte(a, b, u8::max),
        Pmaxsb => each_byte(a, b, |x, y| (x as i8).max(y as i8) as u8),
        Pmaxuw => each_word(a, b, u16::max),
        Pmaxsw => each_word(a, b, |x, y| (x as i16).max(y as i16) as u16),
        Pmaxud => each_long(a, b, u32::max),
        Pmaxsd => each_long(a, b, |x, y| (x as i32).max(y as i32) as u32),
        Pand => a & b,
        Pandn => !a & b,
        Por => a | b,
        Pxor => a ^ b,
        Pcmpeqb => each_byte(a, b, |x, y| mask8(x == y)),
        Pcmpeqw => each_word(a, b, |x, y| mask16(x == y)),
        Pcmpeqd => each_long(a, b, |x, y| mask32(x == y)),
        Pcmpeqq => each_quad(a, b, |x, y| mask64(x == y)),
        Pcmpgtb => each_byte(a, b, |x, y| mask8(x as i8 > y as i8)),
        Pcmpgtw => each_word(a, b, |x, y| mask16(x as i16 > y as i16)),
        Pcmpgtd => each_long(a, b, |x, y| mask32(x as i32 > y as i32)),
        Pcmpgtq => each_quad(a, b, |x, y| mask64(x as i64 > y as i64)),
        Psllw | Pslld | Psllq | Psrlw | Psrld | Psrlq | Psraw | Psrad => shift(op, a, count(b)),
        Pslldq => a.checked_shl(8 * count(b).min(16)).unwrap_or(0),
        Psrldq => a.checked_shr(8 * count(b).min(16)).unwrap_or(0),
        Punpcklbw | Punpcklwd | Punpckldq | Punpckhbw | Punpckhwd | Punpckhdq => unpack(op, a, b),
        Punpcklqdq | Movlhps => from_quads([a as u64, b as u64]),
        Punpckhqdq => from_quads([(a >> 64) as u64, (b >> 64) as u64]),
        Packsswb | Packssdw | Packuswb | Packusdw => pack(op, a, b),
        _ => shuffle(op, a, b, imm),
    }
}

fn shift(op: Vector, a: u128, count: u32) -> u128 {
    use Vector::*;
    match op {
        Psllw => each_word(a, 0, |x, _| x.checked_shl(count).unwrap_or(0)),
        Pslld => each_long(a, 0, |x, _| x.checked_shl(count).unwrap_or(0)),
        Psllq => each_quad(a, 0, |x, _| x.checked_shl(count).unwrap_or(0)),
        Psrlw => each_word(a, 0, |x, _| x.checked_shr(count).unwrap_or(0)),
        Psrld => each_long(a, 0, |x, _| x.checked_shr(count).unwrap_or(0)),
        Psrlq => each_quad(a, 0, |x, _| x.checked_shr(count).unwrap_or(0)),
        Psraw => each_word(a, 0, |x, _| (x as i16 >> count.min(15)) as u16),
        _ => each_long(a, 0, |x, _| (x as i32 >> count.min(31)) as u32),
    }
}

fn unpack(op: Vector, a: u128, b: u128) -> u128 {
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

fn pack(op: Vector, a: u128, b: u128) -> u128 {
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

/// Two bits of an immediate.
fn pick(imm: u8, i: usize) -> usize {
    usize::from(imm >> (2 * i) & 3)
}

fn shuffle(op: Vector, a: u128, b: u128, imm: u8) -> u128 {
    use Vector::*;
    match op {
        Pshufb => {
            let table = bytes(a);
            from_bytes(bytes(b).map(|i| if i & 0x80 != 0 { 0 } else { table[usize::from(i & 15)] }))
        }
        Pshufd => {
            let b = longs(b);
            from_longs(std::array::from_fn(|i| b[pick(imm, i)]))
        }
        Pshuflw => {
            let b = words(b);
            from_words(std::array::from_fn(|i| if i < 4 { b[pick(imm, i)] } else { b[i] }))
        }
        Pshufhw => {
            let b = words(b);
            from_words(std::array::from_fn(|i| if i < 4 { b[i] } else { b[4 + pick(imm, i - 4)] }))
        }
        Shufps => {
            let (a, b) = (longs(a), longs(b));
            from_longs(std::array::from_fn(|i| if i < 2 { a[pick(imm, i)] } else { b[pick(imm, i)] }))
        }
        Shufpd => from_quads([quads(a)[usize::from(imm & 1)], quads(b)[usize::from(imm >> 1 & 1)]]),
        Palignr => align(a, b, imm),
        Phaddw | Phaddsw | Phsubw | Phsubsw => {
            let (a, b) = (words(a), words(b));
            let f = |x: u16, y: u16| match op {
                Phaddw => x.wrapping_add(y),
                Phaddsw => (x as i16).saturating_add(y as i16) as u16,
                Phsubw => x.wrapping_sub(y),
                _ => (x as i16).saturating_sub(y as i16) as u16,
            };
            from_words(std::array::from_fn(|i| {
                if i < 4 { f(a[2 * i], a[2 * i + 1]) } else { f(b[2 * i - 8], b[2 * i - 7]) }
            }))
        }
        Phaddd | Phsubd => {
            let (a, b) = (longs(a), longs(b));
            let f = if op == Phaddd { u32::wrapping_add } else { u32::wrapping_sub };
            from_longs([f(a[0], a[1]), f(a[2], a[3]), f(b[0], b[1]), f(b[2], b[3])])
        }
        Psignb => each_byte(a, b, |x, y| (x as i8).wrapping_mul((y as i8).signum()) as u8),
        Psignw => each_word(a, b, |x, y| (x as i16).wrapping_mul((y as i16).signum()) as u16),
        Psignd => each_long(a, b, |x, y| (x as i32).wrapping_mul((y as i32).signum()) as u32),
        Pabsb => each_byte(b, 0, |x, _| (x as i8).unsigned_abs()),
        Pabsw => each_word(b, 0, |x, _| (x as i16).unsigned_abs()),
        Pabsd => each_long(b, 0, |x, _| (x as i32).unsigned_abs()),
        Blendps => {
            let (a, b) = (longs(a), longs(b));
            from_longs(std::array::from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
        }
        Blendpd => {
            let (a, b) = (quads(a), quads(b));
            from_quads(std::array::from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
        }
        Pblendw => {
            let (a, b) = (words(a), words(b));
            from_words(std::array::from_fn(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] }))
        }
        Insertps => {
            let mut lanes = longs(a);
            lanes[pick(imm, 2)] = longs(b)[pick(imm, 3)];
            from_longs(std::array::from_fn(|i| if imm >> i & 1 != 0 { 0 } else { lanes[i] }))
        }
        Mpsadbw => {
            let (a, b) = (bytes(a), bytes(b));
            let (to, from) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
            from_words(std::array::from_fn(|i| (0..4).map(|j| u16::from(a[to + i + j].abs_diff(b[from + j]))).sum()))
        }
        Phminposuw => {
            let b = words(b);
            let (index, value) = (0..8).map(|i| (i, b[i])).min_by_key(|&(_, v)| v).unwrap_or((0, 0));
            u128::from(value) | (index as u128) << 16
        }
        Movss => a >> 32 << 32 | u128::from(b as u32),
        Movsd => a >> 64 << 64 | u128::from(b as u64),
        Movhlps => from_quads([(b >> 64) as u64, (a >> 64) as u64]),
        Movsldup => {
            let b = longs(b);
            from_longs([b[0], b[0], b[2], b[2]])
        }
        Movshdup => {
            let b = longs(b);
            from_longs([b[1], b[1], b[3], b[3]])
        }
        Movddup => from_quads([b as u64, b as u64]),
        Movq => u128::from(b as u64),
        _ => extend(op, b),
    }
}

fn align(a: u128, b: u128, imm: u8) -> u128 {
    match u32::from(imm) * 8 {
        0 => b,
        by @ 1..=127 => b >> by | a << (128 - by),
        128 => a,
        by => a.checked_shr(by - 128).unwrap_or(0),
    }
}

fn extend(op: Vector, b: u128) -> u128 {
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
    let [low, high] = quads(v);
    half(low) | half(high) << 8
}
