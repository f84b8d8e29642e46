//! Turns guest bytes into blocks of IR.
//!
//! A block ends with a branch, a system call, anything else that leaves, the end of its page, or when it has got long.
//! An instruction that goes over the end of the page is a block of its own.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

use crate::Mode;
use crate::ir::{Block, Builder, ExitReason, Segments, optimise};
use crate::lower;

/// How often instructions were met that the engine does not know, by mnemonic.
pub type Unknown = BTreeMap<String, u64>;

/// Bytes of the longest instruction there may be.
const LONGEST: usize = 15;

/// What a block is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// Instruction set.
    pub mode: Mode,
    /// What is known of the segment registers.
    pub segments: Segments,
    /// The most instructions to take.
    pub limit: usize,
    /// Whether the code is 16-bit code, which only local segments have.
    pub narrow: bool,
}

/// The bytes end within the first instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated;

/// Decodes and lowers the block at `start`, whose bytes are `code` (at most up to the end of the page).
pub fn block(start: u64, code: &[u8], context: Context, unknown: &mut Unknown) -> Result<Block, Truncated> {
    let bits = match context.mode {
        Mode::I386 if context.narrow => 16,
        Mode::I386 => 32,
        Mode::X86_64 => 64,
    };
    let mut decoder = Decoder::with_ip(bits, code, start, DecoderOptions::NONE);
    let mut b = Builder::new(start, context.mode, context.segments);
    let mut insn = Instruction::default();
    let mut taken = 0;
    while taken < context.limit && decoder.can_decode() && !b.is_finished() && !b.is_full() {
        decoder.decode_out(&mut insn);
        if insn.is_invalid() {
            if decoder.last_error() == DecoderError::NoMoreBytes {
                break;
            }
            b.begin_insn(insn.len().max(1));
            // What does not end within 15 bytes is refused for its length.
            let too_long = insn.len() >= LONGEST;
            b.leave(if too_long { ExitReason::Protection } else { ExitReason::InvalidOpcode });
            taken += 1;
            break;
        }
        b.begin_insn(insn.len());
        taken += 1;
        if lower::lower(&mut b, &insn).is_none() {
            *unknown.entry(format!("{:?}", insn.mnemonic())).or_default() += 1;
            b.leave(ExitReason::InvalidOpcode);
        }
    }
    if taken == 0 {
        return Err(Truncated);
    }
    let mut block = b.finish();
    debug_assert_eq!(crate::ir::verify(&block), Ok(()), "{block}");
    optimise(&mut block);
    debug_assert_eq!(crate::ir::verify(&block), Ok(()), "{block}");
    Ok(block)
}

/// The block for code that is longer than an instruction may be.
pub fn refused(start: u64, mode: Mode) -> Block {
    let mut b = Builder::new(start, mode, Segments { flat: true, null: 0 });
    b.begin_insn(LONGEST);
    b.leave(ExitReason::Protection);
    b.finish()
}
