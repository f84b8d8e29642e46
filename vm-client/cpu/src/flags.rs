//! The arithmetic flags, kept lazily in two words, and the arithmetic that sets them.
//!
//! Every flag is a short expression over `result` and `carries`, whatever operation wrote them, so reading one never
//! asks what came before and code generators need no record of the last operation across blocks:
//!
//! | flag | expression |
//! |---|---|
//! | CF | `carries` bit 63 |
//! | OF | `carries` bit 63 xor bit 62 (carry out of and into the sign bit) |
//! | AF | `carries` bit 4 |
//! | ZF | `result` is 0 |
//! | SF | `result` bit 63 xor `carries` bit 0 |
//! | PF | even parity of the low byte of `result` xor `carries` bits 8 to 15 |
//!
//! `result` is sign-extended from the size of the operation. Bit 0 and bits 8 to 15 of `carries` are zero except after
//! flags were loaded from outside, where ZF, SF and PF need not fit one result. The other bits mean nothing.

/// Bits of the flags register.
pub mod bit {
    #![expect(missing_docs, reason = "the names are the architecture's own")]
    pub const CF: u32 = 1;
    pub const PF: u32 = 1 << 2;
    pub const AF: u32 = 1 << 4;
    pub const ZF: u32 = 1 << 6;
    pub const SF: u32 = 1 << 7;
    pub const TF: u32 = 1 << 8;
    pub const DF: u32 = 1 << 10;
    pub const OF: u32 = 1 << 11;
    pub const NT: u32 = 1 << 14;
    pub const AC: u32 = 1 << 18;
    pub const ID: u32 = 1 << 21;
    /// The six that arithmetic writes.
    pub const ARITHMETIC: u32 = CF | PF | AF | ZF | SF | OF;
}

/// The flags register while the engine runs.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Flags {
    /// See the module.
    pub result: u64,
    /// See the module.
    pub carries: u64,
    /// The flags that arithmetic does not write, in architectural layout.
    pub rest: u32,
}

const AF_BIT: u64 = 0x10;

impl Flags {
    /// Takes over a flags register.
    pub fn from_eflags(eflags: u32) -> Flags {
        let flag = |bit: u32| u64::from(eflags & bit != 0);
        let cf = flag(bit::CF);
        // The result is zero for ZF, and otherwise some positive number of even parity.
        let result = if eflags & bit::ZF != 0 { 0 } else { 0x100 };
        let carries = (cf << 63)
            | ((cf ^ flag(bit::OF)) << 62)
            | (flag(bit::AF) * AF_BIT)
            | flag(bit::SF)
            | ((flag(bit::PF) ^ 1) << 8);
        Flags { result, carries, rest: (eflags & !bit::ARITHMETIC) | 2 }
    }

    /// The flags register in architectural layout.
    pub fn to_eflags(self) -> u32 {
        let put = |set: bool, bit: u32| if set { bit } else { 0 };
        self.rest
            | put(self.cf(), bit::CF)
            | put(self.pf(), bit::PF)
            | put(self.af(), bit::AF)
            | put(self.zf(), bit::ZF)
            | put(self.sf(), bit::SF)
            | put(self.of(), bit::OF)
    }

    /// Replaces the flags under a mask.
    pub fn write(&mut self, eflags: u32, mask: u32) {
        *self = Flags::from_eflags((self.to_eflags() & !mask) | (eflags & mask));
    }

    /// The carry flag.
    #[inline(always)]
    pub fn cf(&self) -> bool {
        self.carries >> 63 != 0
    }
    /// The overflow flag.
    #[inline(always)]
    pub fn of(&self) -> bool {
        ((self.carries >> 63) ^ (self.carries >> 62)) & 1 != 0
    }
    /// The auxiliary carry flag.
    #[inline(always)]
    pub fn af(&self) -> bool {
        self.carries & AF_BIT != 0
    }
    /// The zero flag.
    #[inline(always)]
    pub fn zf(&self) -> bool {
        self.result == 0
    }
    /// The sign flag.
    #[inline(always)]
    pub fn sf(&self) -> bool {
        ((self.result >> 63) ^ self.carries) & 1 != 0
    }
    /// The parity flag.
    #[inline(always)]
    pub fn pf(&self) -> bool {
        ((self.result ^ (self.carries >> 8)) as u8).count_ones() & 1 == 0
    }
    /// Whether the condition "less" holds: the sign and overflow flags differ.
    #[inline(always)]
    pub fn less(&self) -> bool {
        ((self.result >> 63) ^ self.carries ^ (self.carries >> 63) ^ (self.carries >> 62)) & 1 != 0
    }
    /// Whether the trap flag is set.
    pub fn tf(&self) -> bool {
        self.rest & bit::TF != 0
    }
    /// Whether string instructions go down.
    pub fn df(&self) -> bool {
        self.rest & bit::DF != 0
    }

    /// Replaces carry and overflow only.
    #[inline]
    pub fn set_cf_of(&mut self, cf: bool, of: bool) {
        let cf = u64::from(cf);
        self.carries = (self.carries & !(3 << 62)) | (cf << 63) | ((cf ^ u64::from(of)) << 62);
    }
    /// Replaces the carry flag only.
    #[inline]
    pub fn set_cf(&mut self, cf: bool) {
        self.set_cf_of(cf, self.of());
    }
    /// Replaces the zero flag only.
    pub fn set_zf(&mut self, zf: bool) {
        self.write(if zf { bit::ZF } else { 0 }, bit::ZF);
    }

    /// Whether a condition holds, by its number.
    #[inline]
    pub fn condition(&self, number: u8) -> bool {
        match number & 15 {
            0 => self.of(),
            1 => !self.of(),
            2 => self.cf(),
            3 => !self.cf(),
            4 => self.zf(),
            5 => !self.zf(),
            6 => self.cf() || self.zf(),
            7 => !(self.cf() || self.zf()),
            8 => self.sf(),
            9 => !self.sf(),
            10 => self.pf(),
            11 => !self.pf(),
            12 => self.less(),
            13 => !self.less(),
            14 => self.less() || self.zf(),
            _ => !(self.less() || self.zf()),
        }
    }
}

/// An unsigned integer of an operand size.
pub trait Int {
    /// Bits of the size.
    const BITS: u32;
    /// The low bits of a value.
    fn low(value: u64) -> u64;
    /// The low bits of a value, sign-extended.
    fn signed(value: u64) -> u64;
}

macro_rules! int {
    ($($t:ty, $s:ty);*) => { $(impl Int for $t {
        const BITS: u32 = <$t>::BITS;
        #[inline(always)]
        fn low(value: u64) -> u64 {
            u64::from(value as $t)
        }
        #[inline(always)]
        fn signed(value: u64) -> u64 {
            i64::from(value as $s) as u64
        }
    })* };
}
int!(u8, i8; u16, i16; u32, i32; u64, i64);

/// Brings carries, as `a ^ b ^ result` holds them, into the fixed layout. `out` is the carry out of bit 63.
#[inline(always)]
fn carries<T: Int>(vector: u64, out: u64) -> u64 {
    if T::BITS == 64 {
        (out << 63) | ((vector >> 63) << 62) | (vector & AF_BIT)
    } else {
        (vector << (63 - T::BITS)) | (vector & AF_BIT)
    }
}

/// The masks a shift count is taken under.
#[inline(always)]
fn count_mask<T: Int>() -> u64 {
    if T::BITS == 64 { 63 } else { 31 }
}

#[inline(always)]
fn top<T: Int>(value: u64) -> bool {
    (value >> (T::BITS - 1)) & 1 != 0
}

/// Arithmetic that writes flags. Inputs may have anything above the size, results too.
impl Flags {
    /// Addition with carry in.
    #[inline(always)]
    pub fn add<T: Int>(&mut self, a: u64, b: u64, carry: u64) -> u64 {
        let (a, b) = (T::low(a), T::low(b));
        let r = a.wrapping_add(b).wrapping_add(carry);
        let out = if T::BITS == 64 { ((a & b) | ((a | b) & !r)) >> 63 } else { 0 };
        self.result = T::signed(r);
        self.carries = carries::<T>(a ^ b ^ r, out);
        r
    }

    /// Subtraction with borrow in.
    #[inline(always)]
    pub fn sub<T: Int>(&mut self, a: u64, b: u64, borrow: u64) -> u64 {
        let (a, b) = (T::low(a), T::low(b));
        let r = a.wrapping_sub(b).wrapping_sub(borrow);
        let out = if T::BITS == 64 { ((!a & b) | ((!a | b) & r)) >> 63 } else { 0 };
        self.result = T::signed(r);
        self.carries = carries::<T>(a ^ b ^ r, out);
        r
    }

    /// The flags of a bitwise result.
    #[inline(always)]
    pub fn logic<T: Int>(&mut self, r: u64) -> u64 {
        self.result = T::signed(r);
        self.carries = 0;
        r
    }

    /// Increment: addition that keeps the carry.
    #[inline(always)]
    pub fn inc<T: Int>(&mut self, a: u64) -> u64 {
        let cf = self.cf();
        let r = self.add::<T>(a, 1, 0);
        self.set_cf_of(cf, self.of());
        r
    }

    /// Decrement: subtraction that keeps the carry.
    #[inline(always)]
    pub fn dec<T: Int>(&mut self, a: u64) -> u64 {
        let cf = self.cf();
        let r = self.sub::<T>(a, 1, 0);
        self.set_cf_of(cf, self.of());
        r
    }

    fn shifted<T: Int>(&mut self, r: u64, cf: bool, of: bool) -> u64 {
        self.logic::<T>(r);
        self.set_cf_of(cf, of);
        r
    }

    /// Shift left. A count of zero keeps all flags.
    pub fn shl<T: Int>(&mut self, a: u64, count: u64) -> u64 {
        let (a, count) = (T::low(a), count & count_mask::<T>());
        if count == 0 {
            return a;
        }
        let r = a << count;
        let cf = if T::BITS == 64 { (a >> (64 - count)) & 1 } else { (r >> T::BITS) & 1 } != 0;
        self.shifted::<T>(r, cf, top::<T>(r) ^ cf)
    }

    /// Logical shift right.
    pub fn shr<T: Int>(&mut self, a: u64, count: u64) -> u64 {
        let (a, count) = (T::low(a), count & count_mask::<T>());
        if count == 0 {
            return a;
        }
        let r = a >> count;
        self.shifted::<T>(r, (a >> (count - 1)) & 1 != 0, top::<T>(r ^ (r << 1)))
    }

    /// Arithmetic shift right.
    pub fn sar<T: Int>(&mut self, a: u64, count: u64) -> u64 {
        let (a, count) = (T::signed(a), count & count_mask::<T>());
        if count == 0 {
            return a;
        }
        let r = ((a as i64) >> count) as u64;
        self.shifted::<T>(r, ((a as i64) >> (count - 1)) & 1 != 0, false)
    }

    /// Rotate left; writes carry and overflow only.
    pub fn rol<T: Int>(&mut self, a: u64, count: u64) -> u64 {
        let r = rotate_left::<T>(a, count);
        if count & count_mask::<T>() != 0 {
            let cf = r & 1 != 0;
            self.set_cf_of(cf, top::<T>(r) ^ cf);
        }
        r
    }

    /// Rotate right; writes carry and overflow only.
    pub fn ror<T: Int>(&mut self, a: u64, count: u64) -> u64 {
        let r = rotate_right::<T>(a, count);
        if count & count_mask::<T>() != 0 {
            self.set_cf_of(top::<T>(r), top::<T>(r ^ (r << 1)));
        }
        r
    }

    /// Rotate left through carry.
    pub fn rcl<T: Int>(&mut self, a: u64, count: u64) -> u64 {
        let (r, cf, moved) = rotate_through::<T>(a, self.cf(), count, false);
        if moved {
            self.set_cf_of(cf, top::<T>(r) ^ cf);
        }
        r
    }

    /// Rotate right through carry.
    pub fn rcr<T: Int>(&mut self, a: u64, count: u64) -> u64 {
        let (r, cf, moved) = rotate_through::<T>(a, self.cf(), count, true);
        if moved {
            self.set_cf_of(cf, top::<T>(r ^ (r << 1)));
        }
        r
    }

    /// Double shift left: bits of `b` come in from the right.
    pub fn shld<T: Int>(&mut self, a: u64, b: u64, count: u64) -> u64 {
        let count = (count & count_mask::<T>()) as u32;
        if count == 0 {
            return a;
        }
        let r = double_left::<T>(a, b, count);
        let before = double_left::<T>(a, b, count - 1);
        let cf = top::<T>(before);
        self.shifted::<T>(r, cf, top::<T>(r) ^ cf)
    }

    /// Double shift right: bits of `b` come in from the left.
    pub fn shrd<T: Int>(&mut self, a: u64, b: u64, count: u64) -> u64 {
        let count = (count & count_mask::<T>()) as u32;
        if count == 0 {
            return a;
        }
        let r = double_right::<T>(a, b, count);
        let before = double_right::<T>(a, b, count - 1);
        self.shifted::<T>(r, before & 1 != 0, top::<T>(r ^ (r << 1)))
    }

    /// Signed multiplication cut to the operand size; carry and overflow tell whether it was cut.
    pub fn mul<T: Int>(&mut self, a: u64, b: u64) -> u64 {
        let product = i128::from(T::signed(a) as i64) * i128::from(T::signed(b) as i64);
        let r = product as u64;
        let cut = i128::from(T::signed(r) as i64) != product;
        self.shifted::<T>(r, cut, cut)
    }
}

/// Rotates left within the size.
pub fn rotate_left<T: Int>(a: u64, count: u64) -> u64 {
    let a = T::low(a);
    let n = (count & count_mask::<T>()) as u32 % T::BITS;
    if n == 0 { a } else { T::low((a << n) | (a >> (T::BITS - n))) }
}

/// Rotates right within the size.
pub fn rotate_right<T: Int>(a: u64, count: u64) -> u64 {
    let n = (count & count_mask::<T>()) as u32 % T::BITS;
    rotate_left::<T>(a, u64::from(T::BITS - n))
}

/// Rotates through carry: result, carry, and whether anything moved.
pub fn rotate_through<T: Int>(a: u64, cf: bool, count: u64, right: bool) -> (u64, bool, bool) {
    let width = T::BITS + 1;
    let n = (count & count_mask::<T>()) as u32 % width;
    let wide = u128::from(T::low(a)) | (u128::from(cf) << T::BITS);
    if n == 0 {
        return (T::low(a), cf, false);
    }
    let left = if right { width - n } else { n };
    let turned = (wide << left) | (wide >> (width - left));
    (T::low(turned as u64), (turned >> T::BITS) & 1 != 0, true)
}

/// `a:b` shifted left, the upper half. Counts above 16 bits of a 16-bit operand go on with `a`, as processors do.
pub fn double_left<T: Int>(a: u64, b: u64, count: u32) -> u64 {
    let (a, b) = (u128::from(T::low(a)), u128::from(T::low(b)));
    if T::BITS == 64 {
        return ((((a << 64) | b) << count) >> 64) as u64;
    }
    let wide = (((a << T::BITS) | b) << T::BITS) | a;
    T::low((wide >> (2 * T::BITS - count.min(2 * T::BITS))) as u64)
}

/// `b:a` shifted right, the lower half; likewise.
pub fn double_right<T: Int>(a: u64, b: u64, count: u32) -> u64 {
    let (a, b) = (u128::from(T::low(a)), u128::from(T::low(b)));
    if T::BITS == 64 {
        return (((b << 64) | a) >> count) as u64;
    }
    let wide = (((a << T::BITS) | b) << T::BITS) | a;
    T::low((wide >> count) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flags_register_survives_the_round_trip() {
        for n in 0..64u32 {
            let bits = [bit::CF, bit::PF, bit::AF, bit::ZF, bit::SF, bit::OF];
            let eflags =
                bits.iter().enumerate().map(|(i, b)| if n >> i & 1 != 0 { *b } else { 0 }).sum::<u32>() | 0x202;
            assert_eq!(Flags::from_eflags(eflags).to_eflags(), eflags);
        }
    }

    #[test]
    fn additions_and_subtractions_of_all_bytes_match_their_definition() {
        let mut f = Flags::from_eflags(2);
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let r = f.add::<u8>(u64::from(a), u64::from(b), 0) as u8;
                assert_eq!((r, f.cf()), a.overflowing_add(b));
                assert_eq!(f.of(), (a as i8).checked_add(b as i8).is_none());
                assert_eq!((f.zf(), f.sf(), f.af()), (r == 0, r >= 0x80, (a & 15) + (b & 15) > 15));
                let r = f.sub::<u8>(u64::from(a), u64::from(b), 0) as u8;
                assert_eq!((r, f.cf()), a.overflowing_sub(b));
                assert_eq!(f.of(), (a as i8).checked_sub(b as i8).is_none());
                assert_eq!((f.pf(), f.af()), (r.count_ones().is_multiple_of(2), (a & 15) < (b & 15)));
                assert_eq!(f.less(), (a as i8) < (b as i8));
            }
        }
    }

    #[test]
    fn the_carries_of_64_bits_are_not_lost() {
        let mut f = Flags::from_eflags(2);
        assert_eq!(f.add::<u64>(u64::MAX, 1, 0), 0);
        assert_eq!((f.cf(), f.of(), f.zf()), (true, false, true));
        f.add::<u64>(i64::MAX as u64, 1, 0);
        assert_eq!((f.cf(), f.of(), f.sf()), (false, true, true));
        f.sub::<u64>(0, 1, 0);
        assert_eq!((f.cf(), f.of()), (true, false));
        f.sub::<u64>(i64::MIN as u64, 1, 0);
        assert_eq!((f.cf(), f.of()), (false, true));
    }
}
