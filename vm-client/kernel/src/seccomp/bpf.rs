//! The classic BPF machine, as far as seccomp(2) allows it (Documentation/userspace-api/seccomp_filter.rst).

use linux_abi::layout::Reader;

use crate::{Errno, Result};

/// Longest program.
const BPF_MAXINSNS: usize = 4096;
const MEMORY_WORDS: u32 = 16;
/// Bytes of `struct seccomp_data`.
const DATA_SIZE: u32 = 64;

/// One instruction, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    LoadData(u32),
    LoadImmediate(u32),
    LoadMemory(u32),
    LoadX(u32),
    LoadXMemory(u32),
    Store(u32),
    StoreX(u32),
    Alu(Alu, Operand),
    Negate,
    Jump(u32),
    Branch(Test, Operand, u8, u8),
    Return(Operand),
    ReturnA,
    ToX,
    ToA,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    K(u32),
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alu {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    Left,
    Right,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Greater,
    NotLess,
    Bits,
}

/// A program that cannot loop, leave its data or divide by a constant zero.
#[derive(Debug)]
pub(crate) struct Program(Vec<Op>);

impl Program {
    /// Checks the bytes of an array of `struct sock_filter`; EINVAL for what seccomp(2) does not allow.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self> {
        let count = raw.len() / 8;
        if count == 0 || count > BPF_MAXINSNS || !raw.len().is_multiple_of(8) {
            return Err(Errno::EINVAL);
        }
        let mut ops = Vec::with_capacity(count);
        for (index, bytes) in raw.chunks_exact(8).enumerate() {
            let fields = Reader::new(bytes);
            let (code, k) = (fields.u16(0), fields.u32(4));
            let (yes, no) = (fields.u16(2) as u8, (fields.u16(2) >> 8) as u8);
            let op = decode(code, yes, no, k).ok_or(Errno::EINVAL)?;
            let left = (count - index - 1) as u32;
            let inside = match op {
                Op::Jump(distance) => distance < left,
                Op::Branch(_, _, yes, no) => u32::from(yes.max(no)) < left,
                _ => true,
            };
            if !inside {
                return Err(Errno::EINVAL);
            }
            ops.push(op);
        }
        match ops.last() {
            Some(Op::Return(_) | Op::ReturnA) => Ok(Self(ops)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Runs over the data; what the program returns. A division by zero returns 0, as in Linux.
    pub(crate) fn run(&self, data: &[u8; DATA_SIZE as usize]) -> u32 {
        let (mut a, mut x) = (0u32, 0u32);
        let mut memory = [0u32; MEMORY_WORDS as usize];
        let data = Reader::new(data);
        let slot = |k: u32| (k % MEMORY_WORDS) as usize;
        let mut at = 0;
        while let Some(op) = self.0.get(at) {
            at += 1;
            let value = |operand: Operand| match operand {
                Operand::K(k) => k,
                Operand::X => x,
            };
            match *op {
                Op::LoadData(offset) => a = data.u32(offset as usize),
                Op::LoadImmediate(k) => a = k,
                Op::LoadMemory(k) => a = memory[slot(k)],
                Op::LoadX(k) => x = k,
                Op::LoadXMemory(k) => x = memory[slot(k)],
                Op::Store(k) => memory[slot(k)] = a,
                Op::StoreX(k) => memory[slot(k)] = x,
                Op::Alu(alu, operand) => match calculate(alu, a, value(operand)) {
                    Some(result) => a = result,
                    None => return 0,
                },
                Op::Negate => a = a.wrapping_neg(),
                Op::Jump(distance) => at += distance as usize,
                Op::Branch(test, operand, yes, no) => {
                    let other = value(operand);
                    let holds = match test {
                        Test::Equal => a == other,
                        Test::Greater => a > other,
                        Test::NotLess => a >= other,
                        Test::Bits => a & other != 0,
                    };
                    at += usize::from(if holds { yes } else { no });
                }
                Op::Return(operand) => return value(operand),
                Op::ReturnA => return a,
                Op::ToX => x = a,
                Op::ToA => a = x,
            }
        }
        0
    }
}

fn calculate(alu: Alu, a: u32, b: u32) -> Option<u32> {
    Some(match alu {
        Alu::Add => a.wrapping_add(b),
        Alu::Subtract => a.wrapping_sub(b),
        Alu::Multiply => a.wrapping_mul(b),
        Alu::Divide => a.checked_div(b)?,
        Alu::Or => a | b,
        Alu::And => a & b,
        Alu::Left => a.wrapping_shl(b),
        Alu::Right => a.wrapping_shr(b),
        Alu::Xor => a ^ b,
    })
}

/// Codes as `class | size or operation | mode or source` of `<linux/bpf_common.h>`.
fn decode(code: u16, yes: u8, no: u8, k: u32) -> Option<Op> {
    let operand = if code & 8 != 0 { Operand::X } else { Operand::K(k) };
    let memory = (k < MEMORY_WORDS).then_some(k);
    Some(match code {
        0x20 if k.is_multiple_of(4) && k < DATA_SIZE => Op::LoadData(k),
        // The length of the data.
        0x80 => Op::LoadImmediate(DATA_SIZE),
        0x81 => Op::LoadX(DATA_SIZE),
        0x00 => Op::LoadImmediate(k),
        0x01 => Op::LoadX(k),
        0x60 => Op::LoadMemory(memory?),
        0x61 => Op::LoadXMemory(memory?),
        0x02 => Op::Store(memory?),
        0x03 => Op::StoreX(memory?),
        0x04 | 0x0c => Op::Alu(Alu::Add, operand),
        0x14 | 0x1c => Op::Alu(Alu::Subtract, operand),
        0x24 | 0x2c => Op::Alu(Alu::Multiply, operand),
        0x34 if k == 0 => return None,
        0x34 | 0x3c => Op::Alu(Alu::Divide, operand),
        0x44 | 0x4c => Op::Alu(Alu::Or, operand),
        0x54 | 0x5c => Op::Alu(Alu::And, operand),
        0x64 | 0x74 if k >= 32 => return None,
        0x64 | 0x6c => Op::Alu(Alu::Left, operand),
        0x74 | 0x7c => Op::Alu(Alu::Right, operand),
        0x84 => Op::Negate,
        0xa4 | 0xac => Op::Alu(Alu::Xor, operand),
        0x05 => Op::Jump(k),
        0x15 | 0x1d => Op::Branch(Test::Equal, operand, yes, no),
        0x25 | 0x2d => Op::Branch(Test::Greater, operand, yes, no),
        0x35 | 0x3d => Op::Branch(Test::NotLess, operand, yes, no),
        0x45 | 0x4d => Op::Branch(Test::Bits, operand, yes, no),
        0x06 => Op::Return(Operand::K(k)),
        0x16 => Op::ReturnA,
        0x07 => Op::ToX,
        0x87 => Op::ToA,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insn(code: u16, yes: u8, no: u8, k: u32) -> Vec<u8> {
        [&code.to_le_bytes()[..], &[yes, no], &k.to_le_bytes()].concat()
    }

    #[test]
    fn a_filter_that_compares_the_number_answers_for_it() {
        let raw = [insn(0x20, 0, 0, 0), insn(0x15, 0, 1, 20), insn(0x06, 0, 0, 0x50001), insn(0x06, 0, 0, 0x7fff_0000)];
        let program = Program::parse(&raw.concat()).expect("it is allowed");
        let mut data = [0; 64];
        assert_eq!(program.run(&data), 0x7fff_0000);
        data[0] = 20;
        assert_eq!(program.run(&data), 0x50001);
    }

    #[test]
    fn what_leaves_the_program_or_the_data_is_refused() {
        let parse = |raw: &[Vec<u8>]| Program::parse(&raw.concat()).is_ok();
        assert!(!parse(&[insn(0x20, 0, 0, 0)]), "no return at the end");
        assert!(!parse(&[insn(0x20, 0, 0, 64), insn(0x16, 0, 0, 0)]), "behind the data");
        assert!(!parse(&[insn(0x20, 0, 0, 2), insn(0x16, 0, 0, 0)]), "not aligned");
        assert!(!parse(&[insn(0x05, 0, 0, 1), insn(0x16, 0, 0, 0)]), "jump behind the end");
        assert!(!parse(&[insn(0x34, 0, 0, 0), insn(0x16, 0, 0, 0)]), "division by zero");
        assert!(!parse(&[insn(0x60, 0, 0, 16), insn(0x16, 0, 0, 0)]), "no such memory word");
        assert!(parse(&[insn(0x80, 0, 0, 0), insn(0x16, 0, 0, 0)]), "the length");
        assert!(!parse(&[]));
    }
}
