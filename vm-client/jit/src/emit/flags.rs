//! Arithmetic flags: recorded where they are set, computed where they are read.

use vm_cpu::ir::Size;
use wasm_encoder::BlockType;

use super::{Emitter, Label, local, state_offset};
use crate::flow::FlagState;
use crate::host::Request;
use crate::lazy::{Base, Carry, Kind};

/// Conditions in pairs, as instructions number them.
mod condition {
    pub(super) const OVERFLOW: u8 = 0;
    pub(super) const CARRY: u8 = 1;
    pub(super) const ZERO: u8 = 2;
    pub(super) const CARRY_OR_ZERO: u8 = 3;
    pub(super) const SIGN: u8 = 4;
    pub(super) const PARITY: u8 = 5;
    pub(super) const LESS: u8 = 6;
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
    fn word_at_top(&mut self, word: u32, size: Size) {
        self.w().local_get(word);
        if shift(size) != 0 {
            self.w().i32_const(shift(size)).i32_shl();
        }
    }

    /// Pushes a condition by its number: 0 or 1 (or anything else for true, if the caller takes that).
    pub(super) fn condition(&mut self, number: u8) {
        let pair = number >> 1 & 7;
        match self.flags {
            FlagState::Static(kind) => self.static_condition(kind, pair),
            FlagState::DynamicCarry if pair == condition::CARRY => {
                self.w().local_get(local::FLAG_D).i32_const(1).i32_and();
            }
            FlagState::Dynamic | FlagState::DynamicCarry => self.slow_condition(pair),
        }
        if number & 1 != 0 {
            self.w().i32_eqz();
        }
    }

    fn static_condition(&mut self, kind: Kind, pair: u8) {
        let plain = kind.carry() == Carry::Base;
        let size = kind.size();
        match (kind.base(), pair) {
            (Base::Sub, condition::ZERO) => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_eq();
            }
            (Base::Sub, condition::CARRY_OR_ZERO) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_le_u();
            }
            (Base::Sub, condition::LESS) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_lt_s();
            }
            (Base::Sub, 7) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.word_at_top(local::FLAG_B, size);
                self.w().i32_le_s();
            }
            (Base::Whole, condition::CARRY_OR_ZERO) if plain && !kind.is_memory() => {
                self.w().local_get(local::FLAG_A).i32_const(0x41).i32_and().i32_const(0).i32_ne();
            }
            (Base::Logic, condition::LESS) if plain => self.sign(kind),
            (Base::Logic, 7) if plain => {
                self.word_at_top(local::FLAG_A, size);
                self.w().i32_const(0).i32_le_s();
            }
            (Base::Logic, condition::CARRY_OR_ZERO) if plain => self.zero(kind),
            _ if self.is_cheap(kind, pair) => match pair {
                condition::OVERFLOW => self.overflow(kind),
                condition::CARRY => self.carry(kind),
                condition::ZERO => self.zero(kind),
                condition::CARRY_OR_ZERO => {
                    self.carry(kind);
                    self.zero(kind);
                    self.w().i32_or();
                }
                condition::SIGN => self.sign(kind),
                condition::PARITY => self.parity(kind),
                condition::LESS => self.less(kind),
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
    fn is_cheap(&self, kind: Kind, pair: u8) -> bool {
        let (base, carry) = (kind.base(), kind.carry());
        let whole = base == Base::Whole;
        let apart = matches!(carry, Carry::Both | Carry::Rol | Carry::Ror);
        if kind.is_memory() {
            return match pair {
                condition::CARRY => apart || carry == Carry::Only,
                condition::OVERFLOW => apart,
                _ => false,
            };
        }
        if carry == Carry::Memory && matches!(pair, condition::CARRY | condition::CARRY_OR_ZERO) {
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
            condition::OVERFLOW => overflow_ok,
            condition::CARRY => carry_ok,
            condition::CARRY_OR_ZERO => carry_ok && result_ok,
            condition::ZERO | condition::SIGN | condition::PARITY => result_ok,
            _ => overflow_ok && result_ok,
        }
    }

    /// Pushes the result of the operation, right above bit 0, anything above its size.
    fn result(&mut self, kind: Kind) {
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
    fn result_at_top(&mut self, kind: Kind) {
        self.result(kind);
        if shift(kind.size()) != 0 {
            self.w().i32_const(shift(kind.size())).i32_shl();
        }
    }

    fn eflags_bit(&mut self, bit: i32) {
        self.w().local_get(local::FLAG_A).i32_const(bit).i32_shr_u().i32_const(1).i32_and();
    }

    fn zero(&mut self, kind: Kind) {
        if kind.base() == Base::Whole {
            return self.eflags_bit(6);
        }
        self.result_at_top(kind);
        self.w().i32_eqz();
    }

    fn sign(&mut self, kind: Kind) {
        if kind.base() == Base::Whole {
            return self.eflags_bit(7);
        }
        self.result_at_top(kind);
        self.w().i32_const(31).i32_shr_u();
    }

    fn parity(&mut self, kind: Kind) {
        if kind.base() == Base::Whole {
            return self.eflags_bit(2);
        }
        self.result(kind);
        self.w().i32_const(0xff).i32_and().i32_popcnt().i32_const(1).i32_and().i32_eqz();
    }

    fn less(&mut self, kind: Kind) {
        self.sign(kind);
        self.overflow(kind);
        self.w().i32_xor();
    }

    fn overflow(&mut self, kind: Kind) {
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

    // ---- the slow way ----

    /// Puts the current state of flags into the kind local.
    pub(super) fn kind_to_local(&mut self) {
        if let FlagState::Static(kind) = self.flags {
            self.w().i32_const(kind.0 as i32).local_set(local::FLAG_KIND);
        }
    }

    /// Pushes all arithmetic flags in architectural layout.
    pub(super) fn eflags(&mut self) {
        self.kind_to_local();
        self.store_words(state_offset::ARGS, [true; 5]);
        self.w().i32_const(Request::Flags as i32).i32_const(0).i32_const(0);
        self.request();
    }

    fn store_words(&mut self, record: usize, used: [bool; 5]) {
        let words = [local::FLAG_KIND, local::FLAG_A, local::FLAG_B, local::FLAG_C, local::FLAG_D];
        for ((word, offset), _) in words.into_iter().zip(state_offset::WORDS).zip(used).filter(|(_, used)| *used) {
            let at = self.state_at(record + offset);
            self.w().i32_const(0).local_get(word).i32_store(at);
        }
    }

    fn slow_condition(&mut self, pair: u8) {
        self.eflags();
        let bit = |n: i32| {
            move |e: &mut Self| {
                e.w().local_get(local::SCRATCH2).i32_const(n).i32_shr_u().i32_const(1).i32_and();
            }
        };
        self.w().local_set(local::SCRATCH2);
        let (cf, zf, sf, of) = (bit(0), bit(6), bit(7), bit(11));
        match pair {
            condition::OVERFLOW => of(self),
            condition::CARRY => cf(self),
            condition::ZERO => zf(self),
            condition::CARRY_OR_ZERO => {
                cf(self);
                zf(self);
                self.w().i32_or();
            }
            condition::SIGN => sf(self),
            condition::PARITY => bit(2)(self),
            _ => {
                sf(self);
                of(self);
                self.w().i32_xor();
                if pair != condition::LESS {
                    zf(self);
                    self.w().i32_or();
                }
            }
        }
    }

    /// Pushes CF whatever the state.
    pub(super) fn any_carry(&mut self) {
        self.condition(condition::CARRY << 1);
    }

    /// Brings the flags into the form of the flags register, with another carry part to come.
    pub(super) fn flags_to_eflags(&mut self) {
        self.eflags();
        self.w().local_set(local::FLAG_A);
        self.flags = FlagState::Static(Kind::EFLAGS);
    }

    /// Makes the kind in its local one that needs nothing of memory.
    pub(super) fn base_off_memory(&mut self) {
        let (carry, memory) = (7 << 10, (Carry::Memory as i32) << 10);
        self.w().local_get(local::FLAG_KIND).i32_const(0xff).i32_and().i32_eqz();
        self.w().local_get(local::FLAG_KIND).i32_const(carry).i32_and().i32_const(memory).i32_eq().i32_or();
        self.open_unlikely_if();
        let state = self.flags;
        self.flags = FlagState::Dynamic;
        self.eflags();
        self.w().local_set(local::FLAG_A).i32_const(Kind::EFLAGS.0 as i32).local_set(local::FLAG_KIND);
        self.flags = state;
        self.close();
    }

    /// Brings memory up to date with the flags, whatever their state; afterwards they are in memory.
    pub(super) fn sync_flags(&mut self) {
        match self.flags {
            FlagState::Static(Kind::MEMORY) => {}
            FlagState::Static(kind) => {
                if kind.needs_memory() {
                    self.flags_to_eflags();
                }
                self.kind_to_local();
                let FlagState::Static(kind) = self.flags else { return };
                self.store_words(state_offset::RECORD, words_of(kind));
            }
            FlagState::Dynamic | FlagState::DynamicCarry => self.sync_dynamic_flags(),
        }
        self.flags = FlagState::Static(Kind::MEMORY);
    }

    /// The same where the kind is in its local.
    pub(super) fn sync_dynamic_flags(&mut self) {
        self.w().local_get(local::FLAG_KIND).if_(BlockType::Empty);
        self.labels.push(Label::Plain);
        self.base_off_memory();
        self.store_words(state_offset::RECORD, [true; 5]);
        self.close();
    }

    /// What has to be done on the way to code that expects flags in a certain state.
    pub(super) fn adapt(&mut self, wanted: FlagState) {
        match (self.flags, wanted) {
            (FlagState::Static(kind), FlagState::DynamicCarry) => {
                let new = match kind.carry() {
                    _ if kind.needs_memory() => return self.carry_from_eflags(),
                    Carry::Base => {
                        if self.is_cheap(kind, condition::CARRY) {
                            self.carry(kind);
                        } else {
                            self.slow_condition(condition::CARRY);
                        }
                        self.w().local_set(local::FLAG_D);
                        kind.with(Carry::Only, Size::B8)
                    }
                    Carry::Only | Carry::Both | Carry::Memory => kind,
                    Carry::Rol | Carry::Ror => {
                        self.carry(kind);
                        self.overflow(kind);
                        self.w().i32_const(1).i32_shl().i32_or().local_set(local::FLAG_D);
                        kind.with(Carry::Both, Size::B8)
                    }
                };
                self.w().i32_const(new.0 as i32).local_set(local::FLAG_KIND);
            }
            (FlagState::Dynamic, FlagState::DynamicCarry) => self.carry_from_eflags(),
            (FlagState::Static(_), FlagState::Dynamic) => self.kind_to_local(),
            _ => {}
        }
    }

    /// Brings the flags into the form of the flags register, with the carry apart.
    fn carry_from_eflags(&mut self) {
        self.eflags();
        let kind = Kind::EFLAGS.with(Carry::Only, Size::B8);
        self.w().local_tee(local::FLAG_A).local_set(local::FLAG_D);
        self.w().i32_const(kind.0 as i32).local_set(local::FLAG_KIND);
    }
}

/// Which words of a record a kind uses: the kind itself, `a`, `b`, `c`, `d`.
fn words_of(kind: Kind) -> [bool; 5] {
    let (b, c) = match kind.base() {
        Base::Whole | Base::Logic | Base::Inc | Base::Dec => (false, false),
        Base::Add | Base::Sub | Base::Mul | Base::Shl | Base::Shr | Base::Sar => (true, false),
        Base::Adc | Base::Sbb | Base::Shld | Base::Shrd => (true, true),
    };
    [true, true, b, c, kind.carry() != Carry::Base]
}
