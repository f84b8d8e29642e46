//! Joins operations that often follow each other into one, for the interpreter only: what costs most here is getting from
//! one operation to the next.
//!
//! A fused operation does exactly what its parts do, in their order. Code generators start from blocks before this step.

use crate::Mode;
use crate::ir::{Block, Code, Op, Slot};
use crate::reg;

const RSP: u8 = reg::RSP as u8;
const ZERO: u8 = Slot::ZERO.0;

/// Rewrites a block in place.
pub(super) fn fuse(block: &mut Block) {
    if block.mode != Mode::I386 {
        return;
    }
    let mut ops = Vec::with_capacity(block.ops.len());
    // Where each old operation went.
    let mut moved = Vec::with_capacity(block.ops.len() + 1);
    let mut rest = block.ops.as_slice();
    while let [first, ..] = rest {
        let (op, taken) = three(rest).map(|op| (op, 3)).or_else(|| two(rest).map(|op| (op, 2))).unwrap_or((*first, 1));
        moved.extend((0..taken).map(|_| ops.len() as u16));
        ops.push(op);
        rest = &rest[taken..];
    }
    moved.push(ops.len() as u16);
    for insn in &mut block.insns {
        insn.first_op = moved[usize::from(insn.first_op)];
    }
    block.ops = ops;
}

fn moves_stack(op: &Op, by: i64) -> bool {
    op.code == Code::Mov32 && op.dst == RSP && op.b == RSP && op.imm == by
}

fn is_push(op: &Op) -> bool {
    op.code == Code::Store32 && op.a == RSP && op.imm == -4
}

fn is_push_of_constant(op: &Op) -> bool {
    op.code == Code::StoreI32 && op.a == RSP && op.b == ZERO && op.d == ZERO && op.store_disp() == -4
}

/// Both halves of an immediate.
fn halves(low: i64, high: i64) -> i64 {
    (low & 0xffff_ffff) | (high << 32)
}

fn three(ops: &[Op]) -> Option<Op> {
    let [first, second, third, ..] = ops else { return None };
    if is_push_of_constant(first) && moves_stack(second, -4) && third.code == Code::Jump {
        return Some(Op { imm: halves(first.store_value(), third.imm), ..Op::new(Code::Call) });
    }
    if first.code == Code::Load32 && first.a == RSP && first.imm == 0 && Slot(first.dst).is_temp() {
        let moved = second.code == Code::Mov32 && second.dst == RSP && second.b == RSP;
        if moved && third.code == Code::JumpReg && third.a == first.dst {
            return Some(Op { imm: second.imm, ..Op::new(Code::Return) });
        }
        if moves_stack(second, 4) && third.code == Code::Mov32 && third.b == first.dst && third.imm == 0 {
            return Some(Op { dst: third.dst, ..Op::new(Code::Pop) });
        }
    }
    None
}

fn two(ops: &[Op]) -> Option<Op> {
    let [first, second, ..] = ops else { return None };
    if moves_stack(second, -4) {
        if is_push(first) {
            return Some(Op { a: first.dst, ..Op::new(Code::Push) });
        }
        if is_push_of_constant(first) {
            return Some(Op { a: ZERO, imm: first.store_value(), ..Op::new(Code::Push) });
        }
    }
    let constant = i64::from(first.imm as i32) == first.imm || first.b == ZERO;
    let code = match first.code {
        Code::CmpF32 if constant => compare_and_branch(second.code)?,
        Code::TestF32 if constant => test_and_branch(second.code)?,
        _ => return None,
    };
    Some(Op { code, imm: halves(first.imm, second.imm), ..*first })
}

fn compare_and_branch(branch: Code) -> Option<Code> {
    Some(match branch {
        Code::BrE => Code::CmpBrE,
        Code::BrNe => Code::CmpBrNe,
        Code::BrB => Code::CmpBrB,
        Code::BrAe => Code::CmpBrAe,
        Code::BrBe => Code::CmpBrBe,
        Code::BrA => Code::CmpBrA,
        Code::BrL => Code::CmpBrL,
        Code::BrGe => Code::CmpBrGe,
        Code::BrLe => Code::CmpBrLe,
        Code::BrG => Code::CmpBrG,
        _ => return None,
    })
}

fn test_and_branch(branch: Code) -> Option<Code> {
    Some(match branch {
        Code::BrE => Code::TestBrE,
        Code::BrNe => Code::TestBrNe,
        Code::BrS => Code::TestBrS,
        Code::BrNs => Code::TestBrNs,
        Code::BrLe => Code::TestBrLe,
        Code::BrG => Code::TestBrG,
        _ => return None,
    })
}
