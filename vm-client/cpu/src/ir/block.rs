//! A block: operations, and which instruction each belongs to.

use super::{Code, Form, Op};
use crate::Mode;

/// A guest instruction within a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Its address, relative to the start of the block.
    pub offset: u16,
    /// The index of its first operation; it ends where the next instruction begins.
    pub first_op: u16,
}

/// A straight run of guest instructions, lowered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Address of the first instruction.
    pub start: u64,
    /// Bytes of guest code; the instruction behind the block is at `start + len`.
    pub len: u16,
    /// Instruction set.
    pub mode: Mode,
    /// The instructions in order; never empty.
    pub insns: Vec<Insn>,
    /// The operations in order; the last one is the only one that leaves the block.
    pub ops: Vec<Op>,
}

impl Block {
    /// The address behind the block.
    pub fn end(&self) -> u64 {
        wrap(self.mode, self.start.wrapping_add(u64::from(self.len)))
    }

    /// The index of the instruction that an operation belongs to.
    pub fn insn_of(&self, op: usize) -> usize {
        insn_of(&self.insns, op)
    }

    /// The operations of an instruction.
    pub fn ops_of(&self, insn: usize) -> std::ops::Range<usize> {
        let first = self.insns.get(insn).map_or(self.ops.len(), |i| usize::from(i.first_op));
        let last = self.insns.get(insn + 1).map_or(self.ops.len(), |i| usize::from(i.first_op));
        first..last
    }
}

/// The index of the instruction that an operation belongs to. Instructions without operations share the `first_op` of
/// their successor, to which the operation belongs.
pub(crate) fn insn_of(insns: &[Insn], op: usize) -> usize {
    insns.partition_point(|i| usize::from(i.first_op) <= op).saturating_sub(1)
}

/// Cuts an address to the width of the instruction pointer.
pub(crate) fn wrap(mode: Mode, addr: u64) -> u64 {
    match mode {
        Mode::I386 => addr & 0xffff_ffff,
        Mode::X86_64 => addr,
    }
}

impl Code {
    /// Whether the operation ends a block.
    pub fn is_exit(self) -> bool {
        match self.info().form {
            Form::Jump | Form::JumpReg | Form::Branch | Form::BranchReg | Form::Exit => true,
            Form::Fused => !matches!(self, Code::Push | Code::Pop),
            _ => false,
        }
    }
}
