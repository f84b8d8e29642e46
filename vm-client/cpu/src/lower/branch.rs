//! Jumps, calls, returns, loops.

use iced_x86::{Code as Encoding, Instruction, Mnemonic, OpKind};

use super::int::condition;
use super::operand::{addr, place, read, size};
use super::stack::{RSP, at_stack, default_size, move_stack, peek, push};
use crate::assist::AssistId;
use crate::flags::bit;
use crate::ir::{Builder, Code, Cond, ExitReason, Size, Slot, Val, sized};
use crate::reg;

const RCX: Slot = Slot(reg::RCX as u8);

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Jo
        | Mnemonic::Jno
        | Mnemonic::Jb
        | Mnemonic::Jae
        | Mnemonic::Je
        | Mnemonic::Jne
        | Mnemonic::Jbe
        | Mnemonic::Ja
        | Mnemonic::Js
        | Mnemonic::Jns
        | Mnemonic::Jp
        | Mnemonic::Jnp
        | Mnemonic::Jl
        | Mnemonic::Jge
        | Mnemonic::Jle
        | Mnemonic::Jg => {
            b.branch(condition(insn)?, insn.near_branch_target());
            Some(())
        }
        Mnemonic::Jmp => jmp(b, insn),
        Mnemonic::Call => call(b, insn),
        Mnemonic::Ret => ret(b, insn),
        Mnemonic::Retf => ret_far(b, insn),
        Mnemonic::Iret | Mnemonic::Iretd => iret(b, insn),
        Mnemonic::Loop => looping(b, insn, None),
        Mnemonic::Loope => looping(b, insn, Some(Cond::E)),
        Mnemonic::Loopne => looping(b, insn, Some(Cond::Ne)),
        Mnemonic::Jcxz => {
            let t = b.unary_temp(Code::Zx16, RCX);
            b.branch_slot(Code::BrZ, t, insn.near_branch_target());
            Some(())
        }
        Mnemonic::Jecxz => {
            let t = b.temp();
            b.mov(Size::B32, t, RCX);
            b.branch_slot(Code::BrZ, t, insn.near_branch_target());
            Some(())
        }
        Mnemonic::Jrcxz => {
            b.branch_slot(Code::BrZ, RCX, insn.near_branch_target());
            Some(())
        }
        _ => None,
    }
}

fn is_near_branch(insn: &Instruction) -> bool {
    matches!(insn.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

/// The target of an indirect near jump or call.
fn indirect_target(b: &mut Builder, insn: &Instruction) -> Option<Slot> {
    let s = size(insn, 0)?;
    let p = place(b, insn, 0)?;
    let t = read(b, p, s);
    if s == Size::B16 {
        return Some(b.unary_temp(Code::Zx16, t));
    }
    if t != RSP {
        return Some(t);
    }
    // A call moves the stack pointer before it jumps.
    let copy = b.temp();
    b.mov(s, copy, t);
    Some(copy)
}

/// Selector and offset of a far pointer, from the instruction or from memory.
fn far_target(b: &mut Builder, insn: &Instruction) -> Option<(Slot, Slot)> {
    match insn.op0_kind() {
        OpKind::FarBranch16 | OpKind::FarBranch32 => {
            let offset = if insn.op0_kind() == OpKind::FarBranch16 {
                i64::from(insn.far_branch16())
            } else {
                i64::from(insn.far_branch32())
            };
            let selector = b.temp();
            b.mov(Size::B64, selector, Val::constant(i64::from(insn.far_branch_selector())));
            let target = b.temp();
            b.mov(Size::B64, target, Val::constant(offset));
            Some((selector, target))
        }
        OpKind::Memory => {
            let s = match insn.code() {
                Encoding::Jmp_m1616 | Encoding::Call_m1616 => Size::B16,
                Encoding::Jmp_m1632 | Encoding::Call_m1632 => Size::B32,
                _ => return None,
            };
            let a = addr(b, insn);
            let target = b.load(s, a);
            let selector = b.load(Size::B16, a.plus(i64::from(s.bytes())));
            Some((selector, target))
        }
        _ => None,
    }
}

fn is_far(insn: &Instruction) -> bool {
    insn.is_jmp_far() || insn.is_jmp_far_indirect() || insn.is_call_far() || insn.is_call_far_indirect()
}

/// Goes on at an offset of a code segment that was checked.
fn transfer(b: &mut Builder, selector: Slot, target: Slot) {
    b.assist(AssistId::Transfer, [0, selector.0, target.0, 0], 0);
    b.jump_slot(target);
}

fn jmp(b: &mut Builder, insn: &Instruction) -> Option<()> {
    if is_near_branch(insn) {
        b.jump(insn.near_branch_target());
        return Some(());
    }
    if is_far(insn) {
        let (selector, target) = far_target(b, insn)?;
        b.assist(AssistId::CheckCode, [0, selector.0, 0, 0], 0);
        transfer(b, selector, target);
        return Some(());
    }
    let target = indirect_target(b, insn)?;
    b.jump_slot(target);
    Some(())
}

/// The width of the return address of a near call.
fn call_size(b: &Builder, insn: &Instruction) -> Size {
    match insn.code() {
        Encoding::Call_rel16 | Encoding::Call_rm16 | Encoding::Retnw | Encoding::Retnw_imm16 => Size::B16,
        _ => default_size(b),
    }
}

fn call(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let return_address = b.next_ip() as i64;
    if is_far(insn) {
        let (selector, target) = far_target(b, insn)?;
        b.assist(AssistId::CheckCode, [0, selector.0, 0, 0], 0);
        let s = match insn.code() {
            Encoding::Call_ptr1616 | Encoding::Call_m1616 => Size::B16,
            _ => Size::B32,
        };
        let bytes = i64::from(s.bytes());
        let old = b.temp();
        b.assist(AssistId::ReadSelector, [old.0, 0, 1, 0], 0);
        let both = at_stack(b, RSP, -2 * bytes);
        b.check_store(2 * s.bytes(), both);
        let a = at_stack(b, RSP, -bytes);
        b.store(s, a, old);
        let a = at_stack(b, RSP, -2 * bytes);
        b.store(s, a, Val::constant(return_address));
        move_stack(b, -2 * bytes);
        transfer(b, selector, target);
        return Some(());
    }
    let s = call_size(b, insn);
    if is_near_branch(insn) {
        push(b, s, Val::constant(return_address));
        b.jump(insn.near_branch_target());
        return Some(());
    }
    let target = indirect_target(b, insn)?;
    push(b, s, Val::constant(return_address));
    b.jump_slot(target);
    Some(())
}

fn ret(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = call_size(b, insn);
    let target = peek(b, s, 0);
    let extra = if insn.op_count() > 0 { i64::from(insn.immediate16()) } else { 0 };
    move_stack(b, i64::from(s.bytes()) + extra);
    b.jump_slot(target);
    Some(())
}

fn ret_far(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = match insn.code() {
        Encoding::Retfw | Encoding::Retfw_imm16 => Size::B16,
        Encoding::Retfd | Encoding::Retfd_imm16 => Size::B32,
        _ => Size::B64,
    };
    let bytes = i64::from(s.bytes());
    let target = peek(b, s, 0);
    let selector = peek(b, Size::B16, bytes);
    b.assist(AssistId::CheckCode, [0, selector.0, 0, 0], 0);
    let extra = if insn.op_count() > 0 { i64::from(insn.immediate16()) } else { 0 };
    move_stack(b, 2 * bytes + extra);
    transfer(b, selector, target);
    Some(())
}

/// Returns at the same privilege: pops the instruction pointer, the selector and the flags.
fn iret(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let s = match insn.code() {
        Encoding::Iretw => Size::B16,
        Encoding::Iretd => Size::B32,
        _ => return None,
    };
    let bytes = i64::from(s.bytes());
    let target = peek(b, s, 0);
    let selector = peek(b, Size::B16, bytes);
    let flags = peek(b, s, 2 * bytes);
    b.assist(AssistId::CheckCode, [0, selector.0, 0, 0], 0);
    move_stack(b, 3 * bytes);
    let mask = bit::ARITHMETIC | bit::DF | bit::TF | bit::NT | if s == Size::B16 { 0 } else { bit::AC | bit::ID };
    b.write_flags(mask, flags);
    transfer(b, selector, target);
    Some(())
}

fn looping(b: &mut Builder, insn: &Instruction, cond: Option<Cond>) -> Option<()> {
    // The counter's width is the address size, which iced tells by its code names.
    let code = format_counter(insn);
    let counter = b.binary_temp(sized!(code, Sub8 Sub16 Sub32 Sub64), RCX, Val::constant(1));
    b.mov(code, RCX, counter);
    let left = match code {
        Size::B16 => b.unary_temp(Code::Zx16, counter),
        _ => counter,
    };
    let go = match cond {
        None => left,
        Some(cond) => {
            let holds = b.temp();
            b.set(holds, cond as u8);
            let holds = b.unary_temp(Code::Zx8, holds);
            let go = b.temp();
            b.select(go, holds, left, Slot::ZERO);
            go
        }
    };
    b.branch_slot(Code::BrNz, go, insn.near_branch_target());
    Some(())
}

/// The width of a loop's counter.
fn format_counter(insn: &Instruction) -> Size {
    match insn.code() {
        Encoding::Loop_rel8_16_CX
        | Encoding::Loop_rel8_32_CX
        | Encoding::Loope_rel8_16_CX
        | Encoding::Loope_rel8_32_CX
        | Encoding::Loopne_rel8_16_CX
        | Encoding::Loopne_rel8_32_CX => Size::B16,
        Encoding::Loop_rel8_16_RCX
        | Encoding::Loop_rel8_64_RCX
        | Encoding::Loope_rel8_16_RCX
        | Encoding::Loope_rel8_64_RCX
        | Encoding::Loopne_rel8_16_RCX
        | Encoding::Loopne_rel8_64_RCX => Size::B64,
        _ => Size::B32,
    }
}

/// What a far transfer or an interrupt that user code may not use comes to.
pub(super) fn refuse(b: &mut Builder) -> Option<()> {
    b.leave(ExitReason::Protection);
    Some(())
}
