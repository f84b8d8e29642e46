//! Assists: instructions, or parts of them, that are one Rust function each, called by the interpreter and by generated
//! code alike.
//!
//! An assist gets the working state, guest memory and its operation, whose fields `dst`, `a`, `b`, `c` and `imm` mean
//! what its row in the table says. It keeps to the rule of all operations: on an error it has changed nothing.

mod bcd;
mod fpu;
mod fpu80;
mod muldiv;
mod soft;
mod sse;
mod string;
mod system;
mod vector;

pub use self::fpu::{X87, direct};
pub(crate) use self::fpu::{frstor_image, fsave_image};
pub(crate) use self::sse::MXCSR_MASK;
pub use self::sse::packed::{Lanewise, Other};
pub(crate) use self::sse::packed::{Shape, number as float_number};
pub use self::vector::Vector;

use vm_mem::Mmu;

use crate::core::{Core, Trap};
use crate::ir::Op;

pub use string::{BlockMove, block_move};
pub(crate) use string::{Kind, Repeat, StringOp};

/// The function behind an assist.
pub type AssistFn = fn(&mut Core, &mut Mmu, Op) -> Result<(), Trap>;

/// What an assist does besides reading and writing its operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effects(u8);

impl Effects {
    /// Nothing.
    pub const NONE: Effects = Effects(0);
    /// May return an error.
    pub const TRAPS: Effects = Effects(1);
    /// Reads arithmetic flags.
    pub const READS_FLAGS: Effects = Effects(2);
    /// Writes some arithmetic flags.
    pub const WRITES_FLAGS: Effects = Effects(4);
    /// Writes all arithmetic flags (and so needs none of the old ones).
    pub const ALL_FLAGS: Effects = Effects(4 | 8);
    /// Reads or writes general registers that are not among its operands.
    pub const REGISTERS: Effects = Effects(16);
    /// Reads or writes guest memory.
    pub const MEMORY: Effects = Effects(32);
    /// Changes architectural state other than by its operands and the flags: registers, segments, the x87 unit, memory.
    pub const CHANGES_STATE: Effects = Effects(64);

    /// Both.
    pub const fn and(self, other: Effects) -> Effects {
        Effects(self.0 | other.0)
    }

    /// Whether all of these are among them.
    pub const fn contains(self, other: Effects) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A row of the table of assists.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name in printed IR.
    pub name: &'static str,
    /// The function.
    pub run: AssistFn,
    /// One letter for each of `dst`, `a`, `b`, `c`: `w` a slot that is written (only `dst`), `r` a slot that is read, `v`
    /// a vector slot (written as `dst`, read elsewhere), `i` a number, `-` unused.
    pub operands: &'static str,
    /// Everything else it does.
    pub effects: Effects,
}

macro_rules! assists {
    ($($id:ident $run:path, $operands:literal, $effects:expr;)*) => {
        /// The number of an assist.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "the table names the functions, whose documentation says it")]
        #[repr(u16)]
        pub enum AssistId { $($id),* }

        static TABLE: &[Row] = &[
            $(Row { name: stringify!($id), run: $run, operands: $operands, effects: $effects }),*
        ];
    };
}

/// Faults, and changes registers that are not operands.
const IMPLICIT: Effects = Effects::TRAPS.and(Effects::REGISTERS).and(Effects::CHANGES_STATE);

/// May fault, works on memory and on the x87 unit.
const X87_EFFECTS: Effects = Effects::TRAPS.and(Effects::MEMORY).and(Effects::CHANGES_STATE);

/// May fault, and changes MXCSR.
const MXCSR_EFFECTS: Effects = Effects::TRAPS.and(Effects::CHANGES_STATE);

assists! {
    // system
    Cpuid system::cpuid, "----", Effects::REGISTERS.and(Effects::CHANGES_STATE);
    LoadSegment system::load_segment, "-rii", Effects::TRAPS.and(Effects::CHANGES_STATE);
    CheckCode system::check_code, "-r--", Effects::TRAPS;
    Transfer system::transfer, "-rr-", IMPLICIT.and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
    Arpl system::arpl, "wrr-", Effects::WRITES_FLAGS.and(Effects::READS_FLAGS);
    Interrupt system::interrupt, "-i--", Effects::TRAPS;
    ReadSelector system::read_selector, "w-i-", Effects::NONE;
    Into system::into, "----", Effects::TRAPS.and(Effects::READS_FLAGS);
    Bound system::bound, "-rri", Effects::TRAPS;
    SegmentLimit system::segment_limit, "wri-", Effects::WRITES_FLAGS.and(Effects::READS_FLAGS);

    // multiplication and division with implicit registers
    MulWide muldiv::mul_wide, "-ri-", Effects::REGISTERS.and(Effects::CHANGES_STATE).and(Effects::ALL_FLAGS);
    ImulWide muldiv::imul_wide, "-ri-", Effects::REGISTERS.and(Effects::CHANGES_STATE).and(Effects::ALL_FLAGS);
    Div muldiv::div, "-ri-", IMPLICIT;
    Idiv muldiv::idiv, "-ri-", IMPLICIT;

    // decimal arithmetic
    Daa bcd::daa, "----", Effects::REGISTERS.and(Effects::CHANGES_STATE).and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
    Das bcd::das, "----", Effects::REGISTERS.and(Effects::CHANGES_STATE).and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
    Aaa bcd::aaa, "----", Effects::REGISTERS.and(Effects::CHANGES_STATE).and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
    Aas bcd::aas, "----", Effects::REGISTERS.and(Effects::CHANGES_STATE).and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
    Aam bcd::aam, "-i--", IMPLICIT.and(Effects::ALL_FLAGS);
    Aad bcd::aad, "-i--", Effects::REGISTERS.and(Effects::CHANGES_STATE).and(Effects::ALL_FLAGS);

    // x87: a is the linear address, b what to do, c a number of its own
    X87 fpu::run, "-rii", X87_EFFECTS;
    X87Flags fpu::run, "-rii", X87_EFFECTS.and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
    X87Condition fpu::run, "-rii", X87_EFFECTS.and(Effects::READS_FLAGS);
    X87Register fpu::run, "-rii", X87_EFFECTS.and(Effects::REGISTERS);

    // vectors: the operation is a number in c
    Vector sse::run::vector, "vvvi", Effects::NONE;
    Vector64 sse::run::vector_64, "vvvi", Effects::NONE;
    Float sse::run::float, "vvvi", MXCSR_EFFECTS;
    FloatCompare sse::run::compare, "-vvi", MXCSR_EFFECTS.and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
    FloatToInt sse::run::to_int, "w-vi", MXCSR_EFFECTS;
    FloatToIntPair sse::run::to_int_pair, "v-vi", MXCSR_EFFECTS;
    IntToFloat sse::run::from_int, "vvri", MXCSR_EFFECTS;
    SignMask sse::run::sign_mask, "w-vi", Effects::NONE;
    Extract sse::run::extract, "w-vi", Effects::NONE;
    Insert sse::run::insert, "vvri", Effects::NONE;
    Blend sse::run::blend, "vvvv", Effects::NONE;
    VectorTest sse::run::test, "-vv-", Effects::ALL_FLAGS;
    StringIndex sse::run::string_index, "wvv-", Effects::REGISTERS.and(Effects::ALL_FLAGS);
    StringMask sse::run::string_mask, "vvv-", Effects::REGISTERS.and(Effects::ALL_FLAGS);
    Crc32 sse::run::crc32, "wrri", Effects::NONE;
    MaskedStore sse::run::masked_store, "-rvv", Effects::TRAPS.and(Effects::MEMORY).and(Effects::CHANGES_STATE);
    LoadMxcsr sse::run::load_mxcsr, "-r--", Effects::TRAPS.and(Effects::CHANGES_STATE);
    StoreMxcsr sse::run::store_mxcsr, "w---", Effects::NONE;
    MmxCheck sse::run::mmx_check, "----", Effects::TRAPS;
    MmxGet sse::run::mmx_get, "v-i-", Effects::TRAPS;
    MmxPut sse::run::mmx_put, "--vi", Effects::CHANGES_STATE;
    Fxsave sse::run::fxsave, "-r--", Effects::TRAPS.and(Effects::MEMORY).and(Effects::CHANGES_STATE);
    Fxrstor sse::run::fxrstor, "-r--", Effects::TRAPS.and(Effects::MEMORY).and(Effects::CHANGES_STATE);

    // strings: dst tells whether to come back for more, a is the segment base of the source
    StringOp string::run, "wr--", IMPLICIT.and(Effects::MEMORY).and(Effects::READS_FLAGS).and(Effects::WRITES_FLAGS);
}

/// The row of an assist by number.
pub fn row(number: u16) -> &'static Row {
    // Numbers come from `AssistId`; the first row stands in for any other, so that no check can fail.
    TABLE.get(usize::from(number)).unwrap_or(&TABLE[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_four_operands() {
        for row in TABLE {
            assert_eq!(row.operands.len(), 4, "{}", row.name);
            assert!(row.operands.bytes().all(|c| b"wrvi-".contains(&c)), "{}", row.name);
            assert!(!row.operands[1..].contains('w'), "{}", row.name);
        }
    }
}
