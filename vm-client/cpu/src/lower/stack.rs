//! Pushes and pops, stack frames, the flags on the stack.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::operand::{self, Place, place, segment_base, segment_number, value, write};
use super::system;
use crate::assist::AssistId;
use crate::flags::bit;
use crate::ir::{Addr, Builder, Code, ExitReason, Size, Slot, Val};
use crate::{Mode, Segment, reg};

pub(super) const RSP: Slot = Slot(reg::RSP as u8);
const RBP: Slot = Slot(reg::RBP as u8);

/// The flags a user program may change with `popf`.
const USER_FLAGS: u32 = bit::ARITHMETIC | bit::TF | bit::DF | bit::NT | bit::AC | bit::ID;

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Push => push_operand(b, insn),
        Mnemonic::Pop => pop_operand(b, insn),
        Mnemonic::Pusha => pusha(b, Size::B16),
        Mnemonic::Pushad => pusha(b, Size::B32),
        Mnemonic::Popa => popa(b, Size::B16),
        Mnemonic::Popad => popa(b, Size::B32),
        Mnemonic::Pushf => pushf(b, Size::B16),
        Mnemonic::Pushfd => pushf(b, Size::B32),
        Mnemonic::Pushfq => pushf(b, Size::B64),
        Mnemonic::Popf => popf(b, Size::B16),
        Mnemonic::Popfd => popf(b, Size::B32),
        Mnemonic::Popfq => popf(b, Size::B64),
        Mnemonic::Enter => enter(b, insn),
        Mnemonic::Leave => {
            let s = frame_size(insn);
            let a = at_stack(b, RBP, 0);
            let old = b.load(s, a);
            let width = b.address_size();
            b.mov(width, RSP, Val { slot: RBP, imm: i64::from(s.bytes()) });
            b.mov(s, RBP, old);
            Some(())
        }
        _ => None,
    }
}

/// An address on the stack.
pub(super) fn at_stack(b: &mut Builder, base: Slot, disp: i64) -> Addr {
    Addr { segment: segment_base(b, Register::SS), ..Addr::at(base, disp) }
}

/// Pushes a value.
pub(super) fn push(b: &mut Builder, size: Size, value: impl Into<Val>) {
    let bytes = i64::from(size.bytes());
    let a = at_stack(b, RSP, -bytes);
    b.store(size, a, value);
    move_stack(b, -bytes);
}

/// Loads what the stack pointer points at, without moving it.
pub(super) fn peek(b: &mut Builder, size: Size, disp: i64) -> Slot {
    let a = at_stack(b, RSP, disp);
    b.load(size, a)
}

/// Adds to the stack pointer.
pub(super) fn move_stack(b: &mut Builder, by: i64) {
    let width = b.address_size();
    b.mov(width, RSP, Val { slot: RSP, imm: by });
}

/// The operand size of instructions without a visible operand.
fn frame_size(insn: &Instruction) -> Size {
    let bytes = insn.stack_pointer_increment().unsigned_abs();
    // `leave` and `enter` move the stack by a frame whose size is not theirs to tell; their code says the width.
    match insn.code() {
        iced_x86::Code::Leavew | iced_x86::Code::Enterw_imm16_imm8 => Size::B16,
        iced_x86::Code::Leaved | iced_x86::Code::Enterd_imm16_imm8 => Size::B32,
        iced_x86::Code::Leaveq | iced_x86::Code::Enterq_imm16_imm8 => Size::B64,
        _ => Size::from_bytes(bytes as usize).unwrap_or(Size::B32),
    }
}

fn push_operand(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = frame_size(insn);
    if insn.op0_kind() == OpKind::Register
        && let Some(segment) = segment_number(insn.op0_register())
    {
        let t = b.temp();
        b.assist(AssistId::ReadSelector, [t.0, 0, segment as u8, 0], 0);
        push(b, s, t);
        return Some(());
    }
    let v = value(b, insn, 0, s)?;
    push(b, s, v);
    Some(())
}

fn pop_operand(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = frame_size(insn);
    let bytes = i64::from(s.bytes());
    if insn.op0_kind() == OpKind::Register
        && let Some(segment) = segment_number(insn.op0_register())
    {
        let t = peek(b, Size::B16, 0);
        b.assist(AssistId::LoadSegment, [0, t.0, segment as u8, 0], 0);
        move_stack(b, bytes);
        system::after_segment_load(b);
        return Some(());
    }
    let t = peek(b, s, 0);
    let mut dst = place(b, insn, 0)?;
    if let Place::Mem(a) = &mut dst {
        // The address is computed with the stack pointer already moved.
        if insn.memory_base().full_register() == Register::RSP {
            *a = a.plus(bytes);
        }
        write(b, dst, s, t);
        move_stack(b, bytes);
    } else {
        move_stack(b, bytes);
        write(b, dst, s, t);
    }
    Some(())
}

fn pusha(b: &mut Builder, s: Size) -> Option<()> {
    let bytes = s.bytes();
    // One by one from above, so that a fault tells the address of the first push that fails.
    for n in 1..=8 {
        let a = at_stack(b, RSP, -n * i64::from(bytes));
        b.check_store(bytes, a);
    }
    for n in 0..8 {
        let a = at_stack(b, RSP, -(i64::from(n) + 1) * i64::from(bytes));
        b.store(s, a, Slot(n));
    }
    move_stack(b, -8 * i64::from(bytes));
    Some(())
}

fn popa(b: &mut Builder, s: Size) -> Option<()> {
    let bytes = i64::from(s.bytes());
    let loaded: Vec<Slot> = (0..8).map(|n| peek(b, s, n * bytes)).collect();
    for (n, t) in loaded.into_iter().rev().enumerate() {
        if n != reg::RSP {
            b.mov(s, Slot::gpr(n), t);
        }
    }
    move_stack(b, 8 * bytes);
    Some(())
}

fn pushf(b: &mut Builder, s: Size) -> Option<()> {
    let t = b.read_flags();
    // VM and RF read as zero.
    let t = b.binary_temp(Code::And64, t, Val::constant(0x00fc_ffff));
    push(b, s, t);
    Some(())
}

fn popf(b: &mut Builder, s: Size) -> Option<()> {
    let t = peek(b, s, 0);
    move_stack(b, i64::from(s.bytes()));
    let mask = if s == Size::B16 { USER_FLAGS & 0xffff } else { USER_FLAGS };
    b.write_flags(mask, t);
    b.leave(ExitReason::Resync);
    Some(())
}

fn enter(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = frame_size(insn);
    let bytes = i64::from(s.bytes());
    let room = i64::from(insn.immediate16());
    let level = i64::from(insn.immediate8_2nd() & 31);
    let width = b.address_size();
    // Reads of outer frames come first, then one check for everything that is pushed.
    let outer: Vec<Slot> = (1..level)
        .map(|i| {
            let a = at_stack(b, RBP, -i * bytes);
            b.load(s, a)
        })
        .collect();
    let pushes = level + 1;
    if level > 0 {
        let all = at_stack(b, RSP, -pushes * bytes);
        b.check_store((pushes * bytes) as u8, all);
    }
    if room > 0 {
        // The new top of the stack must be writable, though nothing is written there.
        let top = at_stack(b, RSP, -pushes * bytes - room);
        b.check_store(s.bytes(), top);
    }
    let a = at_stack(b, RSP, -bytes);
    b.store(s, a, RBP);
    let frame = b.temp();
    b.mov(width, frame, Val { slot: RSP, imm: -bytes });
    for (i, t) in (2..).zip(outer) {
        let a = at_stack(b, RSP, -i * bytes);
        b.store(s, a, t);
    }
    if level > 0 {
        let a = at_stack(b, RSP, -pushes * bytes);
        b.store(s, a, frame);
    }
    b.mov(s, RBP, frame);
    move_stack(b, -pushes.min(level + 1) * bytes - room);
    Some(())
}

/// Whether the mode pushes 64-bit values by default.
pub(super) fn default_size(b: &Builder) -> Size {
    match b.mode() {
        Mode::I386 => Size::B32,
        Mode::X86_64 => Size::B64,
    }
}

/// Loads a far pointer's selector into a segment register and its offset into a general one (`lds` and its like).
pub(super) fn load_far_pointer(b: &mut Builder, insn: &Instruction, segment: Segment) -> Option<()> {
    let s = operand::size(insn, 0)?;
    let a = operand::addr(b, insn);
    let offset = b.load(s, a);
    let selector = b.load(Size::B16, a.plus(i64::from(s.bytes())));
    b.assist(AssistId::LoadSegment, [0, selector.0, segment as u8, 1], 0);
    b.mov(s, operand::gpr(insn.op0_register()), offset);
    system::after_segment_load(b);
    Some(())
}
