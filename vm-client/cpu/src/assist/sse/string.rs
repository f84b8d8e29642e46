//! `pcmpestri`, `pcmpestrm`, `pcmpistri`, `pcmpistrm`.

/// The two strings' lengths in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lengths {
    /// Up to the first zero element.
    Implicit,
    /// Signed, saturated.
    Explicit(i64, i64),
}

/// What a comparison found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// One bit for each element of the second string.
    pub(crate) bits: u16,
    /// Whether the first string is shorter than a vector (SF).
    pub(crate) first_ends: bool,
    /// Whether the second string is shorter than a vector (ZF).
    pub(crate) second_ends: bool,
}

/// Compares `a` (the destination operand) with `b`.
pub(crate) fn compare(a: u128, b: u128, imm: u8, lengths: Lengths) -> Found {
    let count = if imm & 1 == 0 { 16 } else { 8 };
    let (x, y) = (elements(a, imm), elements(b, imm));
    let length = |list: &[i32], given: i64| given.unsigned_abs().min(list.len() as u64) as usize;
    let until_zero = |list: &[i32]| list.iter().position(|e| *e == 0).unwrap_or(list.len());
    let (x, y) = (&x[..count], &y[..count]);
    let (len_x, len_y) = match lengths {
        Lengths::Implicit => (until_zero(x), until_zero(y)),
        Lengths::Explicit(first, second) => (length(x, first), length(y, second)),
    };
    let mut bits = 0u16;
    for j in 0..count {
        let set = match imm >> 2 & 3 {
            // Equal any: is the element in the set?
            0 => j < len_y && x[..len_x].contains(&y[j]),
            // Ranges: is it in one of the ranges?
            1 => j < len_y && x[..len_x].chunks_exact(2).any(|r| r[0] <= y[j] && y[j] <= r[1]),
            // Equal each: beyond the ends both are equal, or one is not.
            2 => match (j < len_x, j < len_y) {
                (true, true) => x[j] == y[j],
                (false, false) => true,
                _ => false,
            },
            // Equal ordered: does the first string begin here?
            _ => (0..count - j).all(|i| i >= len_x || i + j < len_y && x[i] == y[i + j]),
        };
        bits |= u16::from(set) << j;
    }
    let all = if count == 16 { 0xffff } else { 0xff };
    match imm >> 4 & 3 {
        1 => bits = !bits & all,
        3 => bits ^= (0..len_y).fold(0, |mask, j| mask | 1 << j),
        _ => {}
    }
    Found { bits, first_ends: len_x < count, second_ends: len_y < count }
}

fn elements(v: u128, imm: u8) -> [i32; 16] {
    std::array::from_fn(|i| match imm & 3 {
        0 => i32::from((v >> (8 * i)) as u8),
        2 => i32::from((v >> (8 * i)) as i8),
        _ if i >= 8 => 0,
        1 => i32::from((v >> (16 * i)) as u16),
        _ => i32::from((v >> (16 * i)) as i16),
    })
}

impl Found {
    /// The index result.
    pub(crate) fn index(self, imm: u8) -> u32 {
        let count = if imm & 1 == 0 { 16 } else { 8 };
        match (self.bits, imm & 0x40) {
            (0, _) => count,
            (bits, 0) => bits.trailing_zeros(),
            (bits, _) => 15 - bits.leading_zeros(),
        }
    }

    /// The mask result.
    pub(crate) fn mask(self, imm: u8) -> u128 {
        if imm & 0x40 == 0 {
            return u128::from(self.bits);
        }
        let (count, bits) = if imm & 1 == 0 { (16, 8) } else { (8, 16) };
        let ones = (1u128 << bits) - 1;
        (0..count).fold(0, |v, i| if self.bits >> i & 1 != 0 { v | ones << (bits * i) } else { v })
    }
}

/// `crc32`: the CRC-32C of so many bytes, continued from a former one.
pub(crate) fn crc32(crc: u32, value: u64, bytes: u8) -> u32 {
    const REFLECTED_POLYNOMIAL: u32 = 0x82f6_3b78;
    (0..bytes).fold(crc, |crc, i| {
        let byte = (value >> (8 * i)) as u8;
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 != 0 { REFLECTED_POLYNOMIAL } else { 0 })
    })
}
