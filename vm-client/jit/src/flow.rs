//! What is known of the flags at the start of each block, before anything is emitted.
//!
//! Where all ways into a block bring flags of one [`Kind`], its code can use it; elsewhere the kind is in a local. `inc` and
//! `dec` keep the carry flag, which they would have to compute; at merges before them it is computed on the edges.

use vm_cpu::assist::{self, AssistId, Effects};
use vm_cpu::flags::bit;
use vm_cpu::ir::{Code, Form, Op, Size, Slot};

use crate::lazy::{Base, Carry, Kind};
use crate::plan::{End, Otherwise, Region, Target};
use crate::shape::Shape;

/// What is known of the flags at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagState {
    /// Their kind.
    Static(Kind),
    /// Their kind is in a local.
    Dynamic,
    /// The same, and the lowest bit of word `d` is CF.
    DynamicCarry,
}

/// The states at the start of each node; nodes that are not reached have [`FlagState::Dynamic`].
pub fn flag_states(region: &Region, shape: &Shape) -> Vec<FlagState> {
    let wants_carry = carry_wanted(region, shape);
    let mut states: Vec<Option<FlagState>> = vec![None; region.nodes.len()];
    let mut changed = true;
    while changed {
        changed = false;
        let mut next: Vec<Option<FlagState>> = vec![None; region.nodes.len()];
        if let Some(&entry) = shape.order.first() {
            next[entry] = Some(FlagState::Static(Kind::MEMORY));
        }
        for &node in &shape.order {
            let Some(start) = states[node].or(next[node]) else { continue };
            let end = block_end(region, node, start);
            for (number, target) in region.targets(node).enumerate() {
                let Target::Node(to) = target else { continue };
                let called = number == 1 && matches!(region.nodes[node].end, End::Expect(_, _, Otherwise::Call(_)));
                let end = if called { FlagState::Static(Kind::MEMORY) } else { end };
                next[to] = Some(match next[to] {
                    Some(other) if other != end => merged(wants_carry[to]),
                    _ => end,
                });
            }
        }
        for &node in &shape.order {
            // States only get less known, so this ends.
            let new = match (states[node], next[node]) {
                (Some(old), Some(new)) if old != new => Some(merged(wants_carry[node])),
                (old, new) => new.or(old),
            };
            changed |= new != states[node];
            states[node] = new;
        }
    }
    states.into_iter().map(|state| state.unwrap_or(FlagState::Dynamic)).collect()
}

fn merged(wants_carry: bool) -> FlagState {
    if wants_carry { FlagState::DynamicCarry } else { FlagState::Dynamic }
}

fn block_end(region: &Region, node: usize, start: FlagState) -> FlagState {
    let node = &region.nodes[node];
    match node.end {
        End::Call(..) | End::CallIndirect(_) => FlagState::Static(Kind::MEMORY),
        _ => node.found.block.ops.iter().fold(start, |state, op| after(op, state)),
    }
}

/// Whether code emits an operation by calling the interpreter's.
pub fn is_foreign(op: &Op) -> bool {
    use Code::*;
    matches!(
        op.code,
        RclF8
            | RclF16
            | RclF32
            | RcrF8
            | RcrF16
            | RcrF32
            | Rcl8
            | Rcl16
            | Rcl32
            | Rcr8
            | Rcr16
            | Rcr32
            | ShldF16
            | ShrdF16
            | Shld16
            | Shrd16
            | ReadFlags
            | SetZf
    ) || op.code == WriteFlags && !writes_other_flags(op)
        || is_odd_64(op.code)
}

/// Whether an operation writes flags of which none is arithmetic, as `cld` does.
pub fn writes_other_flags(op: &Op) -> bool {
    op.code == Code::WriteFlags && op.imm as u32 & bit::ARITHMETIC == 0
}

/// Operations of 64 bits with flags, and some others: 32-bit code never has them, but nothing may depend on that.
fn is_odd_64(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        AddF64
            | SubF64
            | AndF64
            | OrF64
            | XorF64
            | CmpF64
            | TestF64
            | AdcF64
            | SbbF64
            | IncF64
            | DecF64
            | ShlF64
            | ShrF64
            | SarF64
            | RolF64
            | RorF64
            | RclF64
            | RcrF64
            | Rcl64
            | Rcr64
            | MulF64
            | ShldF64
            | ShrdF64
            | Shld64
            | Shrd64
            | BsfF64
            | BsrF64
            | PopcntF64
            | Adc64
            | Sbb64
            | Cmov64
            | Lea64
            | Bswap64
            | Bswap16
    )
}

/// The number of a constant shift or rotation count, modulo 32; nothing when it is not constant.
pub fn constant_count(op: &Op) -> Option<u32> {
    let slot = if op.code.info().form == Form::Double { op.c } else { op.b };
    (slot == Slot::ZERO.0).then_some(op.imm as u32 & 31)
}

/// The state behind an operation. The emitter goes by this as well.
pub fn after(op: &Op, state: FlagState) -> FlagState {
    use Code::*;
    let size = op.code.info().size;
    let of = |base: Base| FlagState::Static(Kind::of(base, size));
    let shift = |base: Base| match constant_count(op) {
        Some(0) => state,
        Some(_) => of(base),
        None => FlagState::Dynamic,
    };
    let rotation = |carry: Carry| match (constant_count(op), state) {
        (Some(0), _) => state,
        (Some(_), FlagState::Static(kind)) => FlagState::Static(kind.with(carry, size)),
        _ => FlagState::Dynamic,
    };
    if is_foreign(op) {
        // The call needs exact flags where it deals with flags at all, and leaves them in memory.
        let info = op.code.info();
        return if info.flags == vm_cpu::ir::FlagUse::None { state } else { FlagState::Static(Kind::MEMORY) };
    }
    match op.code {
        AddF8 | AddF16 | AddF32 => of(Base::Add),
        SubF8 | SubF16 | SubF32 | CmpF8 | CmpF16 | CmpF32 => of(Base::Sub),
        AndF8 | AndF16 | AndF32 | OrF8 | OrF16 | OrF32 | XorF8 | XorF16 | XorF32 | TestF8 | TestF16 | TestF32
        | BsfF16 | BsfF32 | BsrF16 | BsrF32 => of(Base::Logic),
        AdcF8 | AdcF16 | AdcF32 => of(Base::Adc),
        SbbF8 | SbbF16 | SbbF32 => of(Base::Sbb),
        IncF8 | IncF16 | IncF32 => FlagState::Static(Kind::of(Base::Inc, size).with(kept_carry(state), Size::B8)),
        DecF8 | DecF16 | DecF32 => FlagState::Static(Kind::of(Base::Dec, size).with(kept_carry(state), Size::B8)),
        ShlF8 | ShlF16 | ShlF32 => shift(Base::Shl),
        ShrF8 | ShrF16 | ShrF32 => shift(Base::Shr),
        SarF8 | SarF16 | SarF32 => shift(Base::Sar),
        ShldF32 => shift(Base::Shld),
        ShrdF32 => shift(Base::Shrd),
        RolF8 | RolF16 | RolF32 => rotation(Carry::Rol),
        RorF8 | RorF16 | RorF32 => rotation(Carry::Ror),
        MulF16 | MulF32 => of(Base::Mul),
        PopcntF16 | PopcntF32 => FlagState::Static(Kind::EFLAGS),
        SetCf => match state {
            FlagState::Static(kind) if keeps_overflow(kind) => FlagState::Static(kind.with(Carry::Only, Size::B8)),
            _ => FlagState::Static(Kind::EFLAGS.with(Carry::Only, Size::B8)),
        },
        Assist if op.assist_number() == AssistId::FloatCompare as u16 => FlagState::Static(Kind::EFLAGS),
        Assist if op.assist_number() == AssistId::X87Flags as u16 => FlagState::Static(Kind::EFLAGS),
        Assist if op.assist_number() == AssistId::X87Condition as u16 => state,
        Assist if assist::block_move(op).is_some() => state,
        Assist if is_wide_multiplication(op) => {
            FlagState::Static(Kind::of(Base::Logic, Size::B32).with(Carry::Both, Size::B8))
        }
        Assist => {
            let effects = assist::row(op.assist_number()).effects;
            if effects.contains(Effects::READS_FLAGS) || effects.contains(Effects::WRITES_FLAGS) {
                FlagState::Static(Kind::MEMORY)
            } else {
                state
            }
        }
        _ => state,
    }
}

/// Whether OF comes from the base.
pub fn keeps_overflow(kind: Kind) -> bool {
    matches!(kind.carry(), Carry::Base | Carry::Only | Carry::Memory)
}

/// What `inc` and `dec` make of the carry: nothing, where it is in memory.
pub fn kept_carry(state: FlagState) -> Carry {
    match state {
        FlagState::Static(kind) if kind.carry() == Carry::Memory => Carry::Memory,
        FlagState::Static(kind) if kind.is_memory() && kind.carry() == Carry::Base => Carry::Memory,
        _ => Carry::Only,
    }
}

/// Whether an assist is `mul` or one-operand `imul` of 32 bits, which are emitted.
pub fn is_wide_multiplication(op: &Op) -> bool {
    let number = op.assist_number();
    op.code == Code::Assist && op.b == 4 && (number == AssistId::MulWide as u16 || number == AssistId::ImulWide as u16)
}

/// Whether an assist is `div` or `idiv` of 32 bits, which are emitted.
pub fn is_division(op: &Op) -> bool {
    let number = op.assist_number();
    op.code == Code::Assist && op.b == 4 && (number == AssistId::Div as u16 || number == AssistId::Idiv as u16)
}

/// What an operation does with the carry flag that was there before.
enum CarryUse {
    Wants,
    Replaces,
    Ignores,
}

fn carry_use(op: &Op) -> CarryUse {
    use Code::*;
    match op.code {
        IncF8 | IncF16 | IncF32 | DecF8 | DecF16 | DecF32 | AdcF8 | AdcF16 | AdcF32 | SbbF8 | SbbF16 | SbbF32
        | Adc8 | Adc16 | Adc32 | Sbb8 | Sbb16 | Sbb32 | BrB | BrAe => CarryUse::Wants,
        SetCc | Cmov16 | Cmov32 if op.c & 15 == 2 || op.c & 15 == 3 => CarryUse::Wants,
        Assist if op.assist_number() == AssistId::X87Condition as u16 && op.c >> 3 & 14 == 2 => CarryUse::Wants,
        _ => {
            let there = FlagState::DynamicCarry;
            if after(op, there) == there { CarryUse::Ignores } else { CarryUse::Replaces }
        }
    }
}

/// The nodes at whose start somebody may want CF alone.
fn carry_wanted(region: &Region, shape: &Shape) -> Vec<bool> {
    let uses: Vec<Option<bool>> = region
        .nodes
        .iter()
        .map(|node| {
            node.found.block.ops.iter().find_map(|op| match carry_use(op) {
                CarryUse::Wants => Some(true),
                CarryUse::Replaces => Some(false),
                CarryUse::Ignores => None,
            })
        })
        .collect();
    let mut wanted: Vec<bool> = uses.iter().map(|u| *u == Some(true)).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for &node in shape.order.iter().rev() {
            if uses[node].is_some() || wanted[node] {
                continue;
            }
            if matches!(region.nodes[node].end, End::Call(..) | End::CallIndirect(_)) {
                continue;
            }
            let any = region.targets(node).any(|t| matches!(t, Target::Node(to) if wanted[to]));
            changed |= any;
            wanted[node] = any;
        }
    }
    wanted
}
