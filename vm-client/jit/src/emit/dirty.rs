//! Which registers a region uses, and which may differ from what memory has of them.

use vm_cpu::assist::{self, AssistId, Effects, Other};
use vm_cpu::ir::{Code, Form, Op, Slot, each_read, written_slot, written_vector};
use vm_cpu::reg;
use wasm_encoder::ValType;

use super::checks::Shape;
use super::{Emitter, stack};
use crate::flow::{is_division, is_wide_multiplication};
use crate::plan::{End, Target};

impl Emitter<'_> {
    /// Finds what may differ from memory where.
    pub(super) fn find_dirty(&mut self) {
        let nodes = &self.region.nodes;
        let written: Vec<Dirty> = nodes.iter().map(|node| Dirty::by(&node.found.block.ops)).collect();
        let mut dirty = vec![Dirty::default(); nodes.len()];
        let mut changed = true;
        while changed {
            changed = false;
            for &node in &self.shape.order {
                if matches!(nodes[node].end, End::Call(..) | End::CallIndirect(_)) {
                    continue;
                }
                let end = dirty[node].or(written[node]);
                for target in self.region.targets(node) {
                    let Target::Node(to) = target else { continue };
                    let new = dirty[to].or(end);
                    changed |= new != dirty[to];
                    dirty[to] = new;
                }
            }
        }
        // What matters is the end of each node.
        self.dirty = dirty.into_iter().zip(written).map(|(before, written)| before.or(written)).collect();
    }

    /// Gives a local to each register that is used.
    pub(super) fn find_registers(&mut self) {
        let mut used = 0u32;
        let (mut floats, mut lanes, mut x87) = (false, false, false);
        for &node in &self.shape.order {
            for op in &self.region.nodes[node].found.block.ops {
                each_read(op, |slot| {
                    if slot < 32 {
                        used |= 1 << slot;
                    }
                });
                let Dirty { general, .. } = Dirty::by(std::slice::from_ref(op));
                used |= general;
                self.written |= general;
                if assist::block_move(op).is_some() {
                    used |= 1 << reg::RAX;
                }
                each_vector(op, |slot| self.vectors_used |= 1 << (slot & 31));
                if let Some(slot) = written_vector(op) {
                    self.vectors_used |= 1 << (slot.0 & 31);
                    self.vectors_written |= 1 << (slot.0 & 31);
                }
                floats |= is_float(op);
                lanes |= is_float(op) && works_on_lanes(op);
                x87 |= stack::is_x87(op);
            }
        }
        for slot in 0..32u8 {
            if used >> slot & 1 != 0 && slot != Slot::ZERO.0 {
                let local = self.new_local(ValType::I32);
                self.registers[usize::from(slot)] = Some(local);
            }
        }
        if x87 {
            self.use_stack();
        }
        if floats {
            self.use_host_float(lanes);
        }
    }
}

/// Registers that may differ from what memory has of them, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Dirty {
    pub(super) general: u32,
    pub(super) vectors: u32,
}

impl Dirty {
    pub(super) fn or(self, other: Dirty) -> Dirty {
        Dirty { general: self.general | other.general, vectors: self.vectors | other.vectors }
    }

    /// What operations write.
    pub(super) fn by(ops: &[Op]) -> Dirty {
        let mut dirty = Dirty::default();
        for op in ops {
            if let Some(slot) = written_slot(op).filter(|slot| slot.is_gpr()) {
                dirty.general |= 1 << slot.0;
            }
            if is_wide_multiplication(op) || is_division(op) {
                dirty.general |= 1 << reg::RAX | 1 << reg::RDX;
            }
            if assist::block_move(op).is_some() {
                dirty.general |= 1 << reg::RCX | 1 << reg::RSI | 1 << reg::RDI;
            }
            if stack::is_x87(op) && op.assist_number() == AssistId::X87Register as u16 {
                // `fnstsw ax`.
                dirty.general |= 1 << reg::RAX;
            }
            if let Some(slot) = written_vector(op) {
                dirty.vectors |= 1 << (slot.0 & 31);
            }
        }
        dirty
    }
}

/// Calls `f` with each vector slot an operation reads.
pub(super) fn each_vector(op: &Op, mut f: impl FnMut(u8)) {
    match op.code.info().form {
        Form::VMove | Form::VGet => f(op.a),
        Form::VStore => f(op.dst),
        Form::Assist => {
            let operands = assist::row(op.assist_number()).operands.bytes();
            for (kind, slot) in operands.zip([op.dst, op.a, op.b, op.c]).skip(1) {
                if kind == b'v' {
                    f(slot);
                }
            }
        }
        _ => {}
    }
}

/// Whether results of arithmetic are vectors.
fn works_on_lanes(op: &Op) -> bool {
    let scalar = [Other::Cvtss2sd, Other::Cvtsd2ss].iter().any(|&other| op.c == other as u8);
    op.assist_number() == AssistId::Float as u16 && if op.c < 36 { Shape::of(op.c).is_packed() } else { !scalar }
}

/// Whether an operation is floating-point arithmetic of SSE.
pub(super) fn is_float(op: &Op) -> bool {
    if op.code != Code::Assist {
        return false;
    }
    let row = assist::row(op.assist_number());
    row.effects.contains(Effects::TRAPS) && row.operands.contains('v')
}
