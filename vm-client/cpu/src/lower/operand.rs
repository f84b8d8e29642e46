//! Operands of decoded instructions as places and values of the IR.

use iced_x86::{Instruction, OpKind, Register};

use crate::ir::{Addr, Builder, Code, Size, Slot, VSlot, Val};
use crate::{Mode, Segment};

/// Something an instruction reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The low bits of a general register.
    Reg(Slot),
    /// Bits 8 to 15 of a general register: AH, CH, DH, BH.
    High(Slot),
    /// Memory.
    Mem(Addr),
}

/// The number of a general register, whatever part of it is named.
pub(crate) fn gpr(register: Register) -> Slot {
    Slot::gpr(register.full_register().number())
}

fn is_high(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}

/// The number of a segment register.
pub(crate) fn segment_number(register: Register) -> Option<Segment> {
    Some(match register {
        Register::ES => Segment::Es,
        Register::CS => Segment::Cs,
        Register::SS => Segment::Ss,
        Register::DS => Segment::Ds,
        Register::FS => Segment::Fs,
        Register::GS => Segment::Gs,
        _ => return None,
    })
}

/// The slot to add for a segment, [`Slot::ZERO`] where its base is known to be zero.
pub(crate) fn segment_base(b: &mut Builder, register: Register) -> Slot {
    let Some(segment) = segment_number(register) else { return Slot::ZERO };
    let thread = matches!(segment, Segment::Fs | Segment::Gs);
    if b.mode() == Mode::I386 && b.segments().null >> segment as u8 & 1 != 0 {
        b.refuse();
    }
    if thread || (b.mode() == Mode::I386 && !b.segments().flat) {
        return Slot::segment_base(segment as usize);
    }
    Slot::ZERO
}

/// The address of the memory operand.
pub(crate) fn addr(b: &mut Builder, insn: &Instruction) -> Addr {
    let a = offset(b, insn);
    let segment = segment_base(b, insn.memory_segment());
    Addr { segment, ..a }
}

/// The address of the memory operand without its segment.
pub(crate) fn offset(b: &mut Builder, insn: &Instruction) -> Addr {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    let slot = |r: Register| if r == Register::None || r.is_ip() { Slot::ZERO } else { gpr(r) };
    let displacement = insn.memory_displacement64();
    let width = [base, index].into_iter().find(|r| *r != Register::None && !r.is_ip()).map_or(0, |r| r.size());
    let disp = match width {
        2 => i64::from(displacement as i16),
        4 => i64::from(displacement as i32),
        _ => displacement as i64,
    };
    let mut a = Addr::at(slot(base), disp);
    a.index = slot(index);
    if a.index != Slot::ZERO {
        a.scale = insn.memory_index_scale().trailing_zeros() as u8;
    }
    if a.base == Slot::ZERO && a.scale == 0 {
        // An index alone is a base, which makes a shorter operation.
        std::mem::swap(&mut a.base, &mut a.index);
    }
    let mode_width = usize::from(b.address_size().bytes());
    if width != 0
        && width != mode_width
        && let Some(size) = Size::from_bytes(width)
    {
        let t = b.effective(size, a);
        return Addr::at(t, 0);
    }
    a
}

/// The size of an operand.
pub(crate) fn size(insn: &Instruction, n: u32) -> Option<Size> {
    match insn.op_kind(n) {
        OpKind::Register => Size::from_bytes(insn.op_register(n).size()),
        OpKind::Memory => Size::from_bytes(insn.memory_size().size()),
        _ => None,
    }
}

/// A register or memory operand.
pub(crate) fn place(b: &mut Builder, insn: &Instruction, n: u32) -> Option<Place> {
    match insn.op_kind(n) {
        OpKind::Register => {
            let r = insn.op_register(n);
            if !r.is_gpr() {
                return None;
            }
            Some(if is_high(r) { Place::High(gpr(r)) } else { Place::Reg(gpr(r)) })
        }
        OpKind::Memory => Some(Place::Mem(addr(b, insn))),
        _ => None,
    }
}

/// Reads a place into a slot whose low bits are the value.
pub(crate) fn read(b: &mut Builder, place: Place, size: Size) -> Slot {
    match place {
        Place::Reg(r) => r,
        Place::High(r) => b.unary_temp(Code::GetH, r),
        Place::Mem(a) => b.load(size, a),
    }
}

/// Writes the low bits of a value to a place.
pub(crate) fn write(b: &mut Builder, place: Place, size: Size, value: impl Into<Val>) {
    match place {
        Place::Reg(r) => b.mov(size, r, value),
        Place::High(r) => {
            let t = b.slot(value);
            b.unary(Code::SetH, r, t);
        }
        Place::Mem(a) => b.store(size, a, value),
    }
}

/// An operand that is only read: register, memory or immediate.
pub(crate) fn value(b: &mut Builder, insn: &Instruction, n: u32, size: Size) -> Option<Val> {
    match insn.op_kind(n) {
        OpKind::Register | OpKind::Memory => {
            let p = place(b, insn, n)?;
            Some(read(b, p, size).into())
        }
        OpKind::Immediate8
        | OpKind::Immediate8_2nd
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => Some(Val::constant(sign_extend(insn.immediate(n), size))),
        _ => None,
    }
}

/// Makes constants of the same meaning equal: sign-extended from the operand size.
fn sign_extend(value: u64, size: Size) -> i64 {
    let spare = 64 - size.bits();
    ((value << spare) as i64) >> spare
}

/// The slot of an SSE register operand.
pub(crate) fn xmm(insn: &Instruction, n: u32) -> Option<VSlot> {
    let r = insn.op_register(n);
    (insn.op_kind(n) == OpKind::Register && r.is_xmm() && r.number() < 16).then(|| VSlot(r.number() as u8))
}
