//! String instructions, repeated or not. Each element is committed as it is done: a fault leaves the registers after the
//! last finished element and the instruction pointer on the instruction.

use vm_mem::{Mmu, Scalar, VirtAddr};

use super::AssistId;
use crate::core::{Core, Trap};
use crate::flags::{Flags, Int};
use crate::ir::{Code, Op, Slot};
use crate::{Segment, reg};

/// What a string instruction does, as the immediate of its operation encodes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StringOp {
    pub kind: Kind,
    pub repeat: Repeat,
    /// Bytes of an element.
    pub element: u8,
    /// Bytes of the address registers.
    pub address: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Movs,
    Stos,
    Lods,
    Cmps,
    Scas,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repeat {
    Once,
    /// `rep`, and `repe` where elements are compared.
    WhileEqual,
    WhileNotEqual,
}

const KINDS: [Kind; 5] = [Kind::Movs, Kind::Stos, Kind::Lods, Kind::Cmps, Kind::Scas];
const REPEATS: [Repeat; 3] = [Repeat::Once, Repeat::WhileEqual, Repeat::WhileNotEqual];

impl StringOp {
    pub(crate) fn encode(self) -> i64 {
        i64::from(u32::from_le_bytes([self.kind as u8, self.repeat as u8, self.element, self.address]))
    }

    fn decode(imm: i64) -> StringOp {
        let [kind, repeat, element, address] = (imm as u32).to_le_bytes();
        StringOp {
            kind: KINDS.get(usize::from(kind)).copied().unwrap_or(Kind::Movs),
            repeat: REPEATS.get(usize::from(repeat)).copied().unwrap_or(Repeat::Once),
            element,
            address,
        }
    }
}

/// A string instruction that moves whole blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockMove {
    /// `movs`; else `stos`.
    pub copies: bool,
    /// Has a `rep` prefix.
    pub repeated: bool,
    /// Bytes of an element.
    pub element: u8,
}

/// What an operation is, if it is the assist of `movs` or `stos` with 32-bit addresses, from a flat segment.
pub fn block_move(op: &Op) -> Option<BlockMove> {
    if op.code != Code::Assist || op.assist_number() != AssistId::StringOp as u16 {
        return None;
    }
    let what = StringOp::decode(op.imm);
    let moves = matches!(what.kind, Kind::Movs | Kind::Stos) && what.address == 4 && op.a == Slot::ZERO.0;
    let (copies, repeated) = (what.kind == Kind::Movs, what.repeat != Repeat::Once);
    moves.then_some(BlockMove { copies, repeated, element: what.element })
}

/// The most elements done before the engine gets a chance to look at its fuel.
const BATCH: u64 = 16 * 1024;

pub(super) fn run(core: &mut Core, mmu: &mut Mmu, op: Op) -> Result<(), Trap> {
    match StringOp::decode(op.imm).element {
        1 => run_sized::<u8>(core, mmu, op),
        2 => run_sized::<u16>(core, mmu, op),
        4 => run_sized::<u32>(core, mmu, op),
        _ => run_sized::<u64>(core, mmu, op),
    }
}

/// An element: something memory and the flags both know.
trait Element: Scalar + Int {
    fn widen(self) -> u64;
    fn cut(value: u64) -> Self;
}

macro_rules! element {
    ($($t:ty)*) => { $(impl Element for $t {
        fn widen(self) -> u64 {
            u64::from(self)
        }
        fn cut(value: u64) -> Self {
            value as $t
        }
    })* };
}
element!(u8 u16 u32 u64);

/// The registers of a running string instruction.
struct Cursor {
    si: u64,
    di: u64,
    source_base: u64,
    dest_base: u64,
    step: u64,
    register_mask: u64,
    address_mask: u64,
}

impl Cursor {
    fn source(&self) -> VirtAddr {
        VirtAddr(self.source_base.wrapping_add(self.si) & self.address_mask)
    }
    fn dest(&self) -> VirtAddr {
        VirtAddr(self.dest_base.wrapping_add(self.di) & self.address_mask)
    }
    fn advance_source(&mut self, steps: u64) {
        self.si = self.si.wrapping_add(self.step.wrapping_mul(steps)) & self.register_mask;
    }
    fn advance_dest(&mut self, steps: u64) {
        self.di = self.di.wrapping_add(self.step.wrapping_mul(steps)) & self.register_mask;
    }
    /// How many elements fit before an address register wraps around.
    fn before_wrap(&self, offset: u64, element: u64) -> u64 {
        (self.register_mask - offset) / element
    }
}

fn run_sized<T: Element>(core: &mut Core, mmu: &mut Mmu, op: Op) -> Result<(), Trap> {
    let what = StringOp::decode(op.imm);
    let element = u64::from(what.element);
    let register_mask = match what.address {
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    };
    let repeated = what.repeat != Repeat::Once;
    let count = if repeated { core.get(reg::RCX as u8) & register_mask } else { 1 };
    let limit = if core.flags.tf() { 1 } else { BATCH };
    let mut cursor = Cursor {
        si: core.get(reg::RSI as u8) & register_mask,
        di: core.get(reg::RDI as u8) & register_mask,
        source_base: core.get(op.a),
        dest_base: core.get(Slot::segment_base(Segment::Es as usize).0),
        step: if core.flags.df() { element.wrapping_neg() } else { element },
        register_mask,
        address_mask: core.address_mask,
    };
    let wanted = count.min(limit);
    let mut done = 0;
    let mut flags = None;
    let mut accumulator = None;
    let mut satisfied = false;
    let mut result = Ok(());
    while done < wanted && !satisfied {
        let bulk = if cursor.step == element { bulk::<T>(core, mmu, what, &mut cursor, wanted - done) } else { 0 };
        if bulk > 0 {
            done += bulk;
            if mmu.has_code_writes() {
                break;
            }
            continue;
        }
        match one::<T>(core, mmu, what.kind, &mut cursor) {
            Err(fault) => {
                result = Err(Trap::Fault(fault));
                break;
            }
            Ok(Outcome::Stored) => {}
            Ok(Outcome::Loaded(value)) => accumulator = Some(value),
            Ok(Outcome::Compared(f)) => {
                satisfied = match what.repeat {
                    Repeat::Once => true,
                    Repeat::WhileEqual => !f.zf(),
                    Repeat::WhileNotEqual => f.zf(),
                };
                flags = Some(f);
            }
        }
        done += 1;
        if mmu.has_code_writes() {
            break;
        }
    }
    if done > 0 {
        if !matches!(what.kind, Kind::Stos | Kind::Scas) {
            core.set_sized(reg::RSI as u8, what.address, cursor.si);
        }
        if !matches!(what.kind, Kind::Lods) {
            core.set_sized(reg::RDI as u8, what.address, cursor.di);
        }
        if repeated {
            core.set_sized(reg::RCX as u8, what.address, count - done);
        }
        if let Some(value) = accumulator {
            core.set_sized(reg::RAX as u8, what.element, value);
        }
        let cost = (done / 4) as i64;
        core.fuel -= cost;
        core.string_fuel += cost;
    }
    // On a fault the flags are those of the last comparison that was finished, as on AMD processors.
    if let Some(f) = flags {
        core.flags = f;
    }
    core.set(op.dst, u64::from(repeated && !satisfied && done < count));
    result
}

enum Outcome {
    Stored,
    Loaded(u64),
    Compared(Flags),
}

/// Does one element.
fn one<T: Element>(core: &Core, mmu: &mut Mmu, kind: Kind, cursor: &mut Cursor) -> Result<Outcome, vm_mem::PageFault> {
    let accumulator = core.get(reg::RAX as u8);
    Ok(match kind {
        Kind::Movs => {
            let value: T = mmu.load(cursor.source())?;
            mmu.store(cursor.dest(), value)?;
            cursor.advance_source(1);
            cursor.advance_dest(1);
            Outcome::Stored
        }
        Kind::Stos => {
            mmu.store(cursor.dest(), T::cut(accumulator))?;
            cursor.advance_dest(1);
            Outcome::Stored
        }
        Kind::Lods => {
            let value: T = mmu.load(cursor.source())?;
            cursor.advance_source(1);
            Outcome::Loaded(value.widen())
        }
        Kind::Cmps => {
            let a: T = mmu.load(cursor.source())?;
            let b: T = mmu.load(cursor.dest())?;
            cursor.advance_source(1);
            cursor.advance_dest(1);
            let mut flags = core.flags;
            flags.sub::<T>(a.widen(), b.widen(), 0);
            Outcome::Compared(flags)
        }
        Kind::Scas => {
            let b: T = mmu.load(cursor.dest())?;
            cursor.advance_dest(1);
            let mut flags = core.flags;
            flags.sub::<T>(accumulator, b.widen(), 0);
            Outcome::Compared(flags)
        }
    })
}

/// Does several upward elements at once where that comes to the same; returns how many. Of comparisons these are the
/// elements that do not end the repetition, and not the last one that is wanted, whose flags stay.
fn bulk<T: Element>(core: &Core, mmu: &mut Mmu, what: StringOp, cursor: &mut Cursor, wanted: u64) -> u64 {
    let element = u64::from(T::BITS / 8);
    let uses_source = matches!(what.kind, Kind::Movs | Kind::Cmps);
    let mut room = wanted.min(cursor.before_wrap(cursor.di, element));
    if uses_source {
        room = room.min(cursor.before_wrap(cursor.si, element));
    }
    if matches!(what.kind, Kind::Lods) || what.repeat == Repeat::Once {
        return 0;
    }
    let mut done = 0;
    while done < room {
        let left = (room - done) as usize;
        let elements = match what.kind {
            Kind::Movs => {
                let bytes = left.saturating_mul(element as usize);
                mmu.copy_upwards(cursor.dest(), cursor.source(), bytes, element as usize) as u64 / element
            }
            Kind::Stos => {
                let value = u128::from(T::low(core.get(reg::RAX as u8)));
                let pattern = (0..16 / element).fold(0u128, |p, i| p | value << (i * element * 8));
                let bytes = left.saturating_mul(element as usize);
                mmu.fill_upwards(cursor.dest(), bytes, pattern) as u64 / element
            }
            _ => passed::<T>(core, mmu, what, cursor, left - 1),
        };
        if elements == 0 {
            break;
        }
        if uses_source {
            cursor.advance_source(elements);
        }
        cursor.advance_dest(elements);
        done += elements;
    }
    done
}

/// How many of the next elements, `most` at most and as far as pages reach, do not end a comparison.
fn passed<T: Element>(core: &Core, mmu: &Mmu, what: StringOp, cursor: &Cursor, most: usize) -> u64 {
    let size = (T::BITS / 8) as usize;
    let Some(there) = mmu.rest_of_page(cursor.dest()) else { return 0 };
    let goes_on_if_equal = what.repeat == Repeat::WhileEqual;
    let there = there.chunks_exact(size).take(most);
    let passes = |equal: bool| equal == goes_on_if_equal;
    let count = match what.kind {
        Kind::Scas => {
            let bytes = core.get(reg::RAX as u8).to_le_bytes();
            let wanted = &bytes[..size];
            there.take_while(|chunk| passes(*chunk == wanted)).count()
        }
        _ => {
            let Some(here) = mmu.rest_of_page(cursor.source()) else { return 0 };
            there.zip(here.chunks_exact(size)).take_while(|(a, b)| passes(a == b)).count()
        }
    };
    count as u64
}
