//! What conditions are computed from: results, and the single flags of a recorded operation.

use vm_cpu::ir::Size;

use super::{Emitter, local};
use crate::lazy::{Base, Carry, Kind};

/// Conditions in pairs, as instructions number them.
pub(super) mod pair {
    pub(in crate::emit) const OVERFLOW: u8 = 0;
    pub(in crate::emit) const CARRY: u8 = 1;
    pub(in crate::emit) const ZERO: u8 = 2;
    pub(in crate::emit) const CARRY_OR_ZERO: u8 = 3;
    pub(in crate::emit) const SIGN: u8 = 4;
    pub(in crate::emit) const PARITY: u8 = 5;
    pub(in crate::emit) const LESS: u8 = 6;
}

/// How far values of a size are shifted to have their sign where 32 bits have it.
fn shift(size: Size) -> i32 {
    match size {
        Size::B8 => 24,
        Size::B16 => 16,
        Size::B32 | Size::B64 => 0,
    }
}

impl Emitter<'_> {
    /// Pushes a flag word, with its sign at bit 31.
    pub(super) fn word_at_top(&mut self, word: u32, size: Size) {
        self.w().local_get(word);
        if shift(size) != 0 {
            self.w().i32_const(shift(size)).i32_shl();
        }
    }

    pub(super) fn static_condition(&mut self, kind: Kind, pair: u8) {
        let plain = kind.carry() == Carry::Base;
        let size = kind.size();
        match (kind.base(), pair) {
            (Base::Sub, pair::ZERO) => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_eq();
            }
            (Base::Sub, pair::CARRY_OR_ZERO) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_le_u();
            }
            (Base::Sub, pair::LESS) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_lt_s();
            }
            (Base::Sub, 7) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_le_s();
            }
            (Base::Whole, pair::CARRY_OR_ZERO) if plain && !kind.is_memory() => {
                self.w().local_get(local::FLAG_A).i32_const(0x41).i32_and().i32_const(0).i32_ne();
            }
            (Base::Logic, pair::LESS) if plain => self.sign(kind),
            (Base::Logic, 7) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.w().i32_const(0).i32_le_s();
            }
            (Base::Logic, pair::CARRY_OR_ZERO) if plain => self.zero(kind),
            _ if self.is_cheap(kind, pair) => match pair {
                pair::OVERFLOW => self.overflow(kind),
                pair::CARRY => self.carry(kind),
                pair::ZERO => self.zero(kind),
                pair::CARRY_OR_ZERO => {
                    self.carry(kind);
                    self.zero(kind);
                    self.w().i32_or();
                }
                pair::SIGN => self.sign(kind),
                pair::PARITY => self.parity(kind),
                pair::LESS => self.less(kind),
                _ => {
                    self.less(kind);
                    self.zero(kind);
                    self.w().i32_or();
                }
            },
            _ => self.slow_condition(pair),
        }
    }

    /// Whether every flag of a condition can be computed here.
    pub(super) fn is_cheap(&self, kind: Kind, pair: u8) -> bool {
        let (base, carry) = (kind.base(), kind.carry());
        let whole = base == Base::Whole;
        let apart = matches!(carry, Carry::Both | Carry::Rol | Carry::Ror);
        if kind.is_memory() {
            return match pair {
                pair::CARRY => apart || carry == Carry::Only,
                pair::OVERFLOW => apart,
                _ => false,
            };
        }
        if carry == Carry::Memory && matches!(pair, pair::CARRY | pair::CARRY_OR_ZERO) {
            return false;
        }
        let shifts = matches!(base, Base::Shl | Base::Shr | Base::Sar | Base::Mul | Base::Shld | Base::Shrd);
        let double = matches!(base, Base::Shld | Base::Shrd);
        let carry_ok = carry != Carry::Base
            || !shifts
            || (matches!(base, Base::Shr | Base::Sar) && kind.size() == Size::B32)
            || (matches!(base, Base::Shl | Base::Mul) && kind.size() == Size::B32);
        let overflow_ok = whole || apart || !shifts;
        let result_ok = whole || !double;
        match pair {
            pair::OVERFLOW => overflow_ok,
            pair::CARRY => carry_ok,
            pair::CARRY_OR_ZERO => carry_ok && result_ok,
            pair::ZERO | pair::SIGN | pair::PARITY => result_ok,
            _ => overflow_ok && result_ok,
        }
    }

    /// Pushes the result of the operation, right above bit 0, anything above its size.
    pub(super) fn result(&mut self, kind: Kind) {
        let (a, b) = (local::FLAG_A, local::FLAG_B);
        match kind.base() {
            Base::Shr => self.zero_extended(a, kind.size()),
            Base::Sar => self.sign_extended(a, kind.size()),
            _ => {
                self.w().local_get(a);
            }
        }
        let mut w = self.w();
        match kind.base() {
            Base::Add => w.local_get(b).i32_add(),
            Base::Sub => w.local_get(b).i32_sub(),
            Base::Adc => w.local_get(b).i32_add().local_get(local::FLAG_C).i32_add(),
            Base::Sbb => w.local_get(b).i32_sub().local_get(local::FLAG_C).i32_sub(),
            Base::Inc => w.i32_const(1).i32_add(),
            Base::Dec => w.i32_const(1).i32_sub(),
            Base::Shl => w.local_get(b).i32_shl(),
            Base::Shr => w.local_get(b).i32_shr_u(),
            Base::Sar => w.local_get(b).i32_shr_s(),
            Base::Mul => w.local_get(b).i32_mul(),
            Base::Logic | Base::Whole | Base::Shld | Base::Shrd => &mut w,
        };
    }

    pub(super) fn zero_extended(&mut self, word: u32, size: Size) {
        self.w().local_get(word);
        match size {
            Size::B8 => self.w().i32_const(0xff).i32_and(),
            Size::B16 => self.w().i32_const(0xffff).i32_and(),
            Size::B32 | Size::B64 => return,
        };
    }

    pub(super) fn sign_extended(&mut self, word: u32, size: Size) {
        self.w().local_get(word);
        match size {
            Size::B8 => self.w().i32_extend8_s(),
            Size::B16 => self.w().i32_extend16_s(),
            Size::B32 | Size::B64 => return,
        };
    }

    /// Pushes the result with its sign at bit 31.
    pub(super) fn result_at_top(&mut self, kind: Kind) {
        self.result(kind);
        if shift(kind.size()) != 0 {
            self.w().i32_const(shift(kind.size())).i32_shl();
        }
    }

    pub(super) fn eflags_bit(&mut self, bit: i32) {
        self.w().local_get(local::FLAG_A).i32_const(bit).i32_shr_u().i32_const(1).i32_and();
    }

    pub(super) fn zero(&mut self, kind: Kind) {
        if kind.base() == Base::Whole {
            return self.eflags_bit(6);
        }
        self.result_at_top(kind);
        self.w().i32_eqz();
    }

    pub(super) fn sign(&mut self, kind: Kind) {
        if kind.base() == Base::Whole {
            return self.eflags_bit(7);
        }
        self.result_at_top(kind);
        self.w().i32_const(31).i32_shr_u();
    }

    pub(super) fn parity(&mut self, kind: Kind) {
        if kind.base() == Base::Whole {
            return self.eflags_bit(2);
        }
        self.result(kind);
        self.w().i32_const(0xff).i32_and().i32_popcnt().i32_const(1).i32_and().i32_eqz();
    }

    pub(super) fn less(&mut self, kind: Kind) {
        self.sign(kind);
        self.overflow(kind);
        self.w().i32_xor();
    }

    pub(super) fn overflow(&mut self, kind: Kind) {
        match kind.carry() {
            Carry::Both => {
                self.w().local_get(local::FLAG_D).i32_const(1).i32_shr_u().i32_const(1).i32_and();
                return;
            }
            Carry::Rol => {
                let top = kind.carry_size().bits() as i32 - 1;
                self.w()
                    .local_get(local::FLAG_D)
                    .i32_const(top)
                    .i32_shr_u()
                    .local_get(local::FLAG_D)
                    .i32_xor()
                    .i32_const(1)
                    .i32_and();
                return;
            }
            Carry::Ror => {
                let top = kind.carry_size().bits() as i32 - 1;
                self.w()
                    .local_get(local::FLAG_D)
                    .i32_const(top)
                    .i32_shr_u()
                    .local_get(local::FLAG_D)
                    .i32_const(top - 1)
                    .i32_shr_u()
                    .i32_xor()
                    .i32_const(1)
                    .i32_and();
                return;
            }
            Carry::Base | Carry::Only | Carry::Memory => {}
        }
        let (a, b) = (local::FLAG_A, local::FLAG_B);
        let top = kind.size().bits() as i32 - 1;
        match kind.base() {
            Base::Whole => return self.eflags_bit(11),
            Base::Add | Base::Adc => {
                self.result(kind);
                self.w().local_tee(local::SCRATCH2).local_get(a).i32_xor();
                self.w().local_get(local::SCRATCH2).local_get(b).i32_xor().i32_and();
            }
            Base::Sub | Base::Sbb => {
                self.result(kind);
                self.w().local_get(a).i32_xor().local_get(a).local_get(b).i32_xor().i32_and();
            }
            Base::Inc => {
                self.result(kind);
                self.w().local_get(a).i32_const(-1).i32_xor().i32_and();
            }
            Base::Dec => {
                self.result(kind);
                self.w().i32_const(-1).i32_xor().local_get(a).i32_and();
            }
            _ => {
                self.w().i32_const(0);
                return;
            }
        }
        self.w().i32_const(top).i32_shr_u().i32_const(1).i32_and();
    }

    /// Pushes CF.
    pub(super) fn carry(&mut self, kind: Kind) {
        match kind.carry() {
            Carry::Both | Carry::Only | Carry::Rol => {
                self.w().local_get(local::FLAG_D).i32_const(1).i32_and();
                return;
            }
            Carry::Ror => {
                let top = kind.carry_size().bits() as i32 - 1;
                self.w().local_get(local::FLAG_D).i32_const(top).i32_shr_u().i32_const(1).i32_and();
                return;
            }
            Carry::Base | Carry::Memory => {}
        }
        let (a, b, size) = (local::FLAG_A, local::FLAG_B, kind.size());
        match kind.base() {
            Base::Whole => self.eflags_bit(0),
            Base::Add => {
                self.result_at_top(kind);
                self.word_at_top(a, size);
                self.w().i32_lt_u();
            }
            Base::Sub => {
                self.word_at_top(a, size);
                self.word_at_top(b, size);
                self.w().i32_lt_u();
            }
            Base::Adc | Base::Sbb => {
                self.zero_extended(a, size);
                self.w().i64_extend_i32_u();
                self.zero_extended(b, size);
                self.w().i64_extend_i32_u();
                let add = kind.base() == Base::Adc;
                if add {
                    self.w().i64_add();
                } else {
                    self.w().i64_sub();
                }
                self.w().local_get(local::FLAG_C).i64_extend_i32_u();
                if add {
                    self.w().i64_add();
                } else {
                    self.w().i64_sub();
                }
                self.w().i64_const(i64::from(size.bits())).i64_shr_u().i32_wrap_i64().i32_const(1).i32_and();
            }
            Base::Mul => {
                // Whether the signed product takes more than 32 bits.
                self.w().local_get(a).i64_extend_i32_s().local_get(b).i64_extend_i32_s().i64_mul();
                self.w().i64_const(1 << 31).i64_add().i64_const(32).i64_shr_u().i64_const(0).i64_ne();
            }
            Base::Shr | Base::Sar => {
                // Only for 32 bits: the last bit that went out.
                self.w().local_get(a).local_get(b).i32_const(1).i32_sub();
                if kind.base() == Base::Shr {
                    self.w().i32_shr_u();
                } else {
                    self.w().i32_shr_s();
                }
                self.w().i32_const(1).i32_and();
            }
            Base::Shl => {
                self.w().local_get(a).local_get(b).i32_const(1).i32_sub().i32_shl().i32_const(31).i32_shr_u();
            }
            _ => {
                self.w().i32_const(0);
            }
        }
    }
}
