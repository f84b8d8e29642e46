//! SSE to SSE4.2 on XMM registers. What the same mnemonics mean on MMX registers is in [`super::mmx`].

mod conversion;
mod moves;
mod tables;

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::operand::{addr, gpr, place, read, write, xmm};
use crate::assist::{AssistId, Vector};
use crate::ir::{Builder, Size, Slot, VSlot};
use crate::reg;

pub(super) use tables::vector_operation;

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    // SSE instructions have XMM operands or are one of a few that work on control state.
    let has_xmm = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_xmm());
    let has_mmx = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_mm());
    if has_mmx {
        return conversion::with_mmx(b, insn);
    }
    if !has_xmm {
        return conversion::lower(b, insn).unwrap_or_else(|| control(b, insn));
    }
    if let Some(done) = moves::lower(b, insn) {
        return done;
    }
    if let Some((operation, bytes)) = vector_operation(insn.mnemonic()) {
        return vector(b, insn, operation, bytes);
    }
    if let Some((number, bytes)) = tables::float_operation(insn.mnemonic()) {
        let dst = xmm(insn, 0)?;
        let src = source(b, insn, 1, bytes)?;
        b.assist(AssistId::Float, [dst.0, dst.0, src.0, number], immediate(insn));
        return Some(());
    }
    if let Some(done) = conversion::lower(b, insn) {
        return done;
    }
    odd_ones(b, insn)
}

/// The immediate byte, which is always the last operand.
fn immediate(insn: &Instruction) -> i64 {
    let last = insn.op_count().wrapping_sub(1);
    match insn.op_kind(last) {
        OpKind::Immediate8 => i64::from(insn.immediate8()),
        _ => 0,
    }
}

/// A vector operand that is read: a register, or so many bytes of memory; 16 must be aligned.
fn source(b: &mut Builder, insn: &Instruction, n: u32, bytes: u8) -> Option<VSlot> {
    match insn.op_kind(n) {
        OpKind::Register => xmm(insn, n),
        OpKind::Memory => {
            let a = addr(b, insn);
            Some(if bytes == 16 { b.vload_aligned(a) } else { b.vload(bytes, a) })
        }
        _ => None,
    }
}

fn vector(b: &mut Builder, insn: &Instruction, operation: Vector, bytes: u8) -> Option<()> {
    let dst = xmm(insn, 0)?;
    if insn.op_kind(1) == OpKind::Immediate8 {
        // A shift by a constant count.
        b.assist(AssistId::Vector, [dst.0, dst.0, dst.0, operation as u8], 0x100 | i64::from(insn.immediate8()));
        return Some(());
    }
    let src = source(b, insn, 1, bytes)?;
    let mut imm = immediate(insn);
    if operation == Vector::Insertps && insn.op1_kind() == OpKind::Memory {
        // Memory has one lane only.
        imm &= 0x3f;
    }
    b.assist(AssistId::Vector, [dst.0, dst.0, src.0, operation as u8], imm);
    Some(())
}

/// Instructions that fit no table.
fn odd_ones(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Comiss => compare(b, insn, 4, 0),
        Mnemonic::Comisd => compare(b, insn, 8, 1),
        Mnemonic::Ucomiss => compare(b, insn, 4, 2),
        Mnemonic::Ucomisd => compare(b, insn, 8, 3),
        Mnemonic::Movmskps => sign_mask(b, insn, 4),
        Mnemonic::Movmskpd => sign_mask(b, insn, 8),
        Mnemonic::Pmovmskb => sign_mask(b, insn, 1),
        Mnemonic::Pextrb => extract(b, insn, Size::B8),
        Mnemonic::Pextrw => extract(b, insn, Size::B16),
        Mnemonic::Pextrd | Mnemonic::Extractps => extract(b, insn, Size::B32),
        Mnemonic::Pextrq => extract(b, insn, Size::B64),
        Mnemonic::Pinsrb => insert(b, insn, Size::B8),
        Mnemonic::Pinsrw => insert(b, insn, Size::B16),
        Mnemonic::Pinsrd => insert(b, insn, Size::B32),
        Mnemonic::Pinsrq => insert(b, insn, Size::B64),
        Mnemonic::Pblendvb => blend(b, insn, 1),
        Mnemonic::Blendvps => blend(b, insn, 4),
        Mnemonic::Blendvpd => blend(b, insn, 8),
        Mnemonic::Ptest => {
            let dst = xmm(insn, 0)?;
            let src = source(b, insn, 1, 16)?;
            b.assist(AssistId::VectorTest, [Slot::ZERO.0, dst.0, src.0, 0], 0);
            Some(())
        }
        Mnemonic::Pcmpistri
        | Mnemonic::Pcmpistrm
        | Mnemonic::Pcmpestri
        | Mnemonic::Pcmpestrm
        | Mnemonic::Pcmpestri64
        | Mnemonic::Pcmpestrm64 => string_compare(b, insn),
        Mnemonic::Maskmovdqu => {
            let (value, mask) = (xmm(insn, 1)?, xmm(insn, 2)?);
            let address = implicit_destination(b, insn);
            b.assist(AssistId::MaskedStore, [Slot::ZERO.0, address.0, value.0, mask.0], 16);
            Some(())
        }
        _ => None,
    }
}

/// The linear address of the `maskmov` instructions: DS (or an override) and EDI.
pub(super) fn implicit_destination(b: &mut Builder, insn: &Instruction) -> Slot {
    let a = crate::ir::Addr {
        segment: super::operand::segment_base(b, insn.memory_segment()),
        ..crate::ir::Addr::at(Slot::gpr(reg::RDI), 0)
    };
    if insn.op0_kind() == OpKind::MemorySegDI {
        let t = b.effective(Size::B16, crate::ir::Addr { segment: Slot::ZERO, ..a });
        return b.linear(crate::ir::Addr { base: t, ..a });
    }
    b.linear(a)
}

fn compare(b: &mut Builder, insn: &Instruction, bytes: u8, kind: u8) -> Option<()> {
    let dst = xmm(insn, 0)?;
    let src = source(b, insn, 1, bytes)?;
    b.assist(AssistId::FloatCompare, [Slot::ZERO.0, dst.0, src.0, kind], 0);
    Some(())
}

fn sign_mask(b: &mut Builder, insn: &Instruction, lane: u8) -> Option<()> {
    let dst = gpr(insn.op0_register());
    let src = xmm(insn, 1)?;
    b.assist(AssistId::SignMask, [dst.0, Slot::ZERO.0, src.0, lane], 0);
    Some(())
}

fn extract(b: &mut Builder, insn: &Instruction, lane: Size) -> Option<()> {
    let src = xmm(insn, 1)?;
    let imm = immediate(insn);
    let dst = place(b, insn, 0)?;
    let t = b.temp();
    b.assist(AssistId::Extract, [t.0, Slot::ZERO.0, src.0, lane.bytes()], imm);
    // Registers take the lane zero-extended.
    let size = if insn.op0_kind() == OpKind::Register && lane < Size::B32 { Size::B32 } else { lane };
    write(b, dst, size, t);
    Some(())
}

fn insert(b: &mut Builder, insn: &Instruction, lane: Size) -> Option<()> {
    let dst = xmm(insn, 0)?;
    let imm = immediate(insn);
    let src = place(b, insn, 1)?;
    let value = read(b, src, lane);
    b.assist(AssistId::Insert, [dst.0, dst.0, value.0, lane.bytes()], imm);
    Some(())
}

fn blend(b: &mut Builder, insn: &Instruction, lane: i64) -> Option<()> {
    let dst = xmm(insn, 0)?;
    let src = source(b, insn, 1, 16)?;
    // The selector is XMM0, unwritten in the encoding.
    b.assist(AssistId::Blend, [dst.0, dst.0, src.0, VSlot(0).0], lane);
    Some(())
}

fn string_compare(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let first = xmm(insn, 0)?;
    let second = match insn.op_kind(1) {
        OpKind::Register => xmm(insn, 1)?,
        _ => {
            // These do not ask for alignment.
            let a = addr(b, insn);
            b.vload(16, a)
        }
    };
    let imm = immediate(insn);
    let explicit = match insn.mnemonic() {
        Mnemonic::Pcmpestri | Mnemonic::Pcmpestrm => 0x100,
        Mnemonic::Pcmpestri64 | Mnemonic::Pcmpestrm64 => 0x300,
        _ => 0,
    };
    match insn.mnemonic() {
        Mnemonic::Pcmpistrm | Mnemonic::Pcmpestrm | Mnemonic::Pcmpestrm64 => {
            b.assist(AssistId::StringMask, [VSlot(0).0, first.0, second.0, 0], imm | explicit);
        }
        _ => b.assist(AssistId::StringIndex, [reg::RCX as u8, first.0, second.0, 0], imm | explicit),
    }
    Some(())
}

/// Instructions without XMM operands.
fn control(b: &mut Builder, insn: &Instruction) -> Option<()> {
    match insn.mnemonic() {
        Mnemonic::Ldmxcsr => {
            let a = addr(b, insn);
            let value = b.load(Size::B32, a);
            b.assist(AssistId::LoadMxcsr, [Slot::ZERO.0, value.0, 0, 0], 0);
            Some(())
        }
        Mnemonic::Stmxcsr => {
            let a = addr(b, insn);
            let t = b.temp();
            b.assist(AssistId::StoreMxcsr, [t.0, 0, 0, 0], 0);
            b.store(Size::B32, a, t);
            Some(())
        }
        Mnemonic::Fxsave | Mnemonic::Fxsave64 => memory_image(b, insn, AssistId::Fxsave),
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => memory_image(b, insn, AssistId::Fxrstor),
        Mnemonic::Movnti => {
            let a = addr(b, insn);
            let size = super::operand::size(insn, 1)?;
            b.store(size, a, gpr(insn.op1_register()));
            Some(())
        }
        Mnemonic::Crc32 => {
            let size = super::operand::size(insn, 1)?;
            let src = place(b, insn, 1)?;
            let value = read(b, src, size);
            let dst = gpr(insn.op0_register());
            b.assist(AssistId::Crc32, [dst.0, dst.0, value.0, size.bytes()], 0);
            Some(())
        }
        _ => None,
    }
}

fn memory_image(b: &mut Builder, insn: &Instruction, id: AssistId) -> Option<()> {
    let a = addr(b, insn);
    let address = b.linear(a);
    b.assist(id, [Slot::ZERO.0, address.0, 0, 0], 0);
    Some(())
}
