//! Arithmetic flags: recorded where they are set, computed where they are read.

use vm_cpu::ir::Size;
use wasm_encoder::BlockType;

use super::condition::pair;
use super::{Emitter, Label, local, state_offset};
use crate::flow::FlagState;
use crate::host::Request;
use crate::lazy::{Base, Carry, Kind};

impl Emitter<'_> {
    /// Pushes a condition by its number: 0 or 1 (or anything else for true, if the caller takes that).
    pub(super) fn condition(&mut self, number: u8) {
        let pair = number >> 1 & 7;
        match self.flags {
            FlagState::Static(kind) => self.static_condition(kind, pair),
            FlagState::DynamicCarry if pair == pair::CARRY => {
                self.w().local_get(local::FLAG_D).i32_const(1).i32_and();
            }
            FlagState::Dynamic | FlagState::DynamicCarry => self.slow_condition(pair),
        }
        if number & 1 != 0 {
            self.w().i32_eqz();
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

    pub(super) fn slow_condition(&mut self, pair: u8) {
        self.eflags();
        let bit = |n: i32| {
            move |e: &mut Self| {
                e.w().local_get(local::SCRATCH2).i32_const(n).i32_shr_u().i32_const(1).i32_and();
            }
        };
        self.w().local_set(local::SCRATCH2);
        let (cf, zf, sf, of) = (bit(0), bit(6), bit(7), bit(11));
        match pair {
            pair::OVERFLOW => of(self),
            pair::CARRY => cf(self),
            pair::ZERO => zf(self),
            pair::CARRY_OR_ZERO => {
                cf(self);
                zf(self);
                self.w().i32_or();
            }
            pair::SIGN => sf(self),
            pair::PARITY => bit(2)(self),
            _ => {
                sf(self);
                of(self);
                self.w().i32_xor();
                if pair != pair::LESS {
                    zf(self);
                    self.w().i32_or();
                }
            }
        }
    }

    /// Pushes CF whatever the state.
    pub(super) fn any_carry(&mut self) {
        self.condition(pair::CARRY << 1);
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
                        if self.is_cheap(kind, pair::CARRY) {
                            self.carry(kind);
                        } else {
                            self.slow_condition(pair::CARRY);
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
