//! Arithmetic flags as generated code keeps them: which operation set them, and its inputs.
//!
//! A [`Kind`] names the operation; up to four words go with it. Nothing is computed when flags are set; conditions are
//! computed from the kind where they are read (`emit/flags.rs`), and all six flags here when state has to be exact.
//!
//! Rotations, `inc`, `dec` and `bt` replace some flags only, so a kind has two halves: the *base* says where flags come
//! from, the *carry* part what replaces CF (and OF). Words: `a` and `b` are inputs of the base, `c` is the carry in of
//! `adc` and `sbb` and the second operand of double shifts, `d` belongs to the carry part.

use vm_cpu::flags::Flags;
use vm_cpu::flags::bit;
use vm_cpu::ir::Size;

/// Which operation set the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Kind(pub u32);

/// What the base of a kind is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of the operations")]
#[repr(u32)]
pub enum Base {
    /// Kinds without a size: [`Kind::MEMORY`] and [`Kind::EFLAGS`].
    Whole,
    Add,
    Sub,
    /// `a` is the result.
    Logic,
    Adc,
    Sbb,
    Inc,
    Dec,
    /// `a` shifted by `b`, which is not zero (modulo 32).
    Shl,
    Shr,
    Sar,
    Mul,
    /// `a` and `c` shifted by `b`, which is not zero (modulo 32).
    Shld,
    Shrd,
}

const BASES: [Base; 14] = [
    Base::Whole,
    Base::Add,
    Base::Sub,
    Base::Logic,
    Base::Adc,
    Base::Sbb,
    Base::Inc,
    Base::Dec,
    Base::Shl,
    Base::Shr,
    Base::Sar,
    Base::Mul,
    Base::Shld,
    Base::Shrd,
];

/// What replaces CF and OF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Carry {
    /// Nothing.
    Base,
    /// Bit 0 of `d` is CF, bit 1 is OF.
    Both,
    /// Bit 0 of `d` is CF.
    Only,
    /// `d` is the result of a rotation to the left.
    Rol,
    /// `d` is the result of a rotation to the right.
    Ror,
    /// CF is the one that memory has.
    Memory,
}

const CARRIES: [Carry; 6] = [Carry::Base, Carry::Both, Carry::Only, Carry::Rol, Carry::Ror, Carry::Memory];

impl Kind {
    /// Flags are where they were when the region was entered: in the state's record, or in `Core::flags`.
    pub const MEMORY: Kind = Kind(0);
    /// `a` is the flags register.
    pub const EFLAGS: Kind = Kind(1);

    /// The flags of an operation.
    pub fn of(base: Base, size: Size) -> Kind {
        Kind((base as u32) << 2 | size as u32)
    }

    /// The same base with another carry part.
    pub fn with(self, carry: Carry, size: Size) -> Kind {
        Kind(self.0 & 0xff | (carry as u32) << 10 | (size as u32) << 8)
    }

    /// The base.
    pub fn base(self) -> Base {
        BASES.get((self.0 >> 2 & 63) as usize).copied().unwrap_or(Base::Whole)
    }

    /// The size of the base.
    pub fn size(self) -> Size {
        size(self.0)
    }

    /// The carry part.
    pub fn carry(self) -> Carry {
        CARRIES.get((self.0 >> 10 & 7) as usize).copied().unwrap_or(Carry::Base)
    }

    /// The size of the carry part.
    pub fn carry_size(self) -> Size {
        size(self.0 >> 8)
    }

    /// Whether the base is what memory holds.
    pub fn is_memory(self) -> bool {
        self.0 & 0xff == Kind::MEMORY.0
    }

    /// Whether some flag is what memory holds, so that nothing else may be put there before.
    pub fn needs_memory(self) -> bool {
        self.is_memory() || self.carry() == Carry::Memory
    }
}

fn size(bits: u32) -> Size {
    match bits & 3 {
        0 => Size::B8,
        1 => Size::B16,
        _ => Size::B32,
    }
}

/// A kind and its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "see the module")]
pub struct Record {
    pub kind: u32,
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub d: u32,
}

impl Record {
    /// The flags that a record stands for, where `before` is what memory holds.
    pub fn flags(self, before: Flags) -> Flags {
        let kind = Kind(self.kind);
        let mut flags = before;
        match kind.size() {
            _ if kind.base() == Base::Whole => {
                if kind.0 & 0xff == Kind::EFLAGS.0 {
                    flags.write(self.a, bit::ARITHMETIC);
                }
            }
            Size::B8 => self.base::<u8>(&mut flags),
            Size::B16 => self.base::<u16>(&mut flags),
            _ => self.base::<u32>(&mut flags),
        }
        let top = |n: u32| self.d >> (kind.carry_size().bits() - n) & 1 != 0;
        match kind.carry() {
            Carry::Base => {}
            Carry::Both => flags.set_cf_of(self.d & 1 != 0, self.d & 2 != 0),
            Carry::Only => flags.set_cf(self.d & 1 != 0),
            Carry::Memory => flags.set_cf(before.cf()),
            Carry::Rol => flags.set_cf_of(self.d & 1 != 0, top(1) ^ (self.d & 1 != 0)),
            Carry::Ror => flags.set_cf_of(top(1), top(1) ^ top(2)),
        }
        flags
    }

    fn base<T: vm_cpu::flags::Int>(self, flags: &mut Flags) {
        let (a, b, c) = (u64::from(self.a), u64::from(self.b), u64::from(self.c));
        match Kind(self.kind).base() {
            Base::Whole => 0,
            Base::Add => flags.add::<T>(a, b, 0),
            Base::Sub => flags.sub::<T>(a, b, 0),
            Base::Logic => flags.logic::<T>(a),
            Base::Adc => flags.add::<T>(a, b, c),
            Base::Sbb => flags.sub::<T>(a, b, c),
            Base::Inc => flags.inc::<T>(a),
            Base::Dec => flags.dec::<T>(a),
            Base::Shl => flags.shl::<T>(a, b),
            Base::Shr => flags.shr::<T>(a, b),
            Base::Sar => flags.sar::<T>(a, b),
            Base::Mul => flags.mul::<T>(a, b),
            Base::Shld => flags.shld::<T>(a, c, b),
            Base::Shrd => flags.shrd::<T>(a, c, b),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_tell_their_parts() {
        let kind = Kind::of(Base::Dec, Size::B16).with(Carry::Ror, Size::B8);
        assert_eq!((kind.base(), kind.size()), (Base::Dec, Size::B16));
        assert_eq!((kind.carry(), kind.carry_size()), (Carry::Ror, Size::B8));
        assert!(BASES.iter().enumerate().all(|(i, &b)| b as usize == i));
        assert!(CARRIES.iter().enumerate().all(|(i, &c)| c as usize == i));
    }

    #[test]
    fn a_rotation_after_a_subtraction_replaces_carry_and_overflow_only() {
        let before = Flags::from_eflags(2);
        let record = |carry, d| {
            let kind = Kind::of(Base::Sub, Size::B32).with(carry, Size::B32);
            Record { kind: kind.0, a: 5, b: 5, c: 0, d }.flags(before)
        };
        let mut expected = before;
        expected.sub::<u32>(5, 5, 0);
        for value in [1u64, 0x8000_0001, 0x4000_0000, 0xffff_ffff, 6] {
            let mut left = expected;
            let r = left.rol::<u32>(value, 3);
            assert_eq!(record(Carry::Rol, r as u32).to_eflags(), left.to_eflags());
            let mut right = expected;
            let r = right.ror::<u32>(value, 3);
            assert_eq!(record(Carry::Ror, r as u32).to_eflags(), right.to_eflags());
        }
    }
}
