//! String instructions. A repeated one ends its block, branching to itself until the count or the condition is met.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::operand::segment_base;
use crate::assist::{AssistId, Kind, Repeat, StringOp};
use crate::ir::{Builder, Code, ExitReason, Slot};

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let (kind, element) = match insn.mnemonic() {
        Mnemonic::Movsb => (Kind::Movs, 1),
        Mnemonic::Movsw => (Kind::Movs, 2),
        // Also names of SSE2 instructions, which have register operands.
        Mnemonic::Movsd if insn.is_string_instruction() => (Kind::Movs, 4),
        Mnemonic::Movsq => (Kind::Movs, 8),
        Mnemonic::Stosb => (Kind::Stos, 1),
        Mnemonic::Stosw => (Kind::Stos, 2),
        Mnemonic::Stosd => (Kind::Stos, 4),
        Mnemonic::Stosq => (Kind::Stos, 8),
        Mnemonic::Lodsb => (Kind::Lods, 1),
        Mnemonic::Lodsw => (Kind::Lods, 2),
        Mnemonic::Lodsd => (Kind::Lods, 4),
        Mnemonic::Lodsq => (Kind::Lods, 8),
        Mnemonic::Cmpsb => (Kind::Cmps, 1),
        Mnemonic::Cmpsw => (Kind::Cmps, 2),
        Mnemonic::Cmpsd if insn.is_string_instruction() => (Kind::Cmps, 4),
        Mnemonic::Cmpsq => (Kind::Cmps, 8),
        Mnemonic::Scasb => (Kind::Scas, 1),
        Mnemonic::Scasw => (Kind::Scas, 2),
        Mnemonic::Scasd => (Kind::Scas, 4),
        Mnemonic::Scasq => (Kind::Scas, 8),
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd | Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => {
            b.leave(ExitReason::Protection);
            return Some(());
        }
        _ => return None,
    };
    let repeat = if insn.has_repne_prefix() {
        Repeat::WhileNotEqual
    } else if insn.has_rep_prefix() {
        Repeat::WhileEqual
    } else {
        Repeat::Once
    };
    let string = StringOp { kind, repeat, element, address: address_bytes(insn)? };
    let source = match kind {
        Kind::Stos | Kind::Scas => Slot::ZERO,
        Kind::Movs | Kind::Lods | Kind::Cmps => segment_base(b, insn.memory_segment()),
    };
    if kind != Kind::Lods {
        segment_base(b, Register::ES);
    }
    let more = b.temp();
    b.assist(AssistId::StringOp, [more.0, source.0, 0, 0], string.encode());
    if repeat != Repeat::Once {
        b.branch_slot(Code::BrNz, more, b.ip());
    }
    Some(())
}

/// The width of the address registers.
fn address_bytes(insn: &Instruction) -> Option<u8> {
    (0..insn.op_count()).find_map(|n| match insn.op_kind(n) {
        OpKind::MemorySegSI | OpKind::MemoryESDI => Some(2),
        OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(4),
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(8),
        _ => None,
    })
}
