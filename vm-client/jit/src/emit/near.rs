//! Which registers may point into the stack where: those that did when the region was about to be run, or are computed from
//! the stack pointer, until they get something else.

use vm_cpu::assist::{self, Effects};
use vm_cpu::ir::{Code, Form, Op, written_slot};
use vm_cpu::reg;

use super::dirty::Dirty;
use super::window::moved;
use crate::flow::{is_division, is_wide_multiplication};
use crate::plan::{End, Region, Target};
use crate::shape::Shape;

const RSP: u8 = reg::RSP as u8;
const RBP: u8 = reg::RBP as u8;
/// What functions need not give back.
const LOST: u8 = 1 << reg::RAX | 1 << reg::RCX | 1 << reg::RDX;

/// The registers of the stack itself, a bit for each; RBP is one if it is `framed`.
pub(super) fn stack_registers(framed: bool) -> u8 {
    1 << RSP | u8::from(framed) << RBP
}

/// The registers that may point into the stack at the start of each node; those of `entry` do where the region begins, those of
/// `stack` everywhere.
pub(super) fn at_starts(region: &Region, shape: &Shape, entry: u8, stack: u8) -> Vec<u8> {
    let mut near = vec![stack; region.nodes.len()];
    if let Some(start) = near.get_mut(region.entry) {
        *start |= entry;
    }
    let mut changed = true;
    while changed {
        changed = false;
        for &number in &shape.order {
            let node = &region.nodes[number];
            let mut end = node.found.block.ops.iter().fold(near[number], |near, op| after(op, near, stack));
            if matches!(node.end, End::Call(..) | End::CallIndirect(_)) {
                end &= !LOST | stack;
            }
            for target in region.targets(number) {
                let Target::Node(to) = target else { continue };
                changed |= end & !near[to] != 0;
                near[to] |= end;
            }
        }
    }
    near
}

/// The registers that may point into the stack behind an operation.
pub(super) fn after(op: &Op, near: u8, stack: u8) -> u8 {
    let mut after = near & !unknown(op);
    if let Some(slot) = written_slot(op).filter(|slot| slot.0 < 8) {
        let points = |register: u8| register < 8 && near >> register & 1 != 0;
        let from = match moved(op) {
            Some((from, _)) => points(from),
            // An index is added to it.
            None if op.code.info().form == Form::Address => points(op.a) || (op.c & 3 == 0 && points(op.b)),
            None => matches!(op.code, Code::Add32 | Code::AddF32) && (points(op.a) || points(op.b)),
        };
        after = after & !(1 << slot.0) | u8::from(from) << slot.0;
    }
    after | stack
}

/// The registers that get a value nobody knows, beside the one an operation names.
fn unknown(op: &Op) -> u8 {
    let told = is_wide_multiplication(op) || is_division(op) || assist::block_move(op).is_some();
    if op.code == Code::Assist && !told && assist::row(op.assist_number()).effects.contains(Effects::REGISTERS) {
        return u8::MAX;
    }
    let named = written_slot(op).map_or(0, |slot| 1_u32.checked_shl(u32::from(slot.0)).unwrap_or(0));
    (Dirty::by(std::slice::from_ref(op)).general & !named) as u8
}

#[cfg(test)]
mod tests {
    use vm_cpu::Mode;
    use vm_cpu::decode::{self, Context, Unknown};
    use vm_cpu::ir::Segments;
    use vm_mem::FrameId;

    use super::*;
    use crate::plan::{CodeSource, Found, Limits, plan};

    struct Bytes(Vec<u8>);

    impl CodeSource for Bytes {
        fn block(&mut self, start: u32, limit: usize) -> Option<Found> {
            let context =
                Context { mode: Mode::I386, segments: Segments { flat: true, null: 0 }, limit, narrow: false };
            let code = self.0.get(start.checked_sub(0x1000)? as usize..)?;
            let block = decode::block(u64::from(start), code, context, &mut Unknown::new()).ok()?;
            Some(Found { block, frame: FrameId(1), second: None })
        }
        fn is_warm(&mut self, _start: u32) -> bool {
            true
        }
        fn is_entry(&mut self, _start: u32) -> bool {
            false
        }
        fn jumps_from(&mut self, _behind: u32) -> Vec<u32> {
            Vec::new()
        }
    }

    /// What points into the stack behind code that begins with some registers that do.
    fn behind(code: &[u8], entry: u8) -> u8 {
        let planned = plan(&mut Bytes([code, &[0xc3]].concat()), 0x1000, Limits { blocks: 10, ops: 100 });
        let mut region = planned.expect("there is code");
        let shape = Shape::of(&mut region);
        let stack = stack_registers(false);
        let starts = at_starts(&region, &shape, entry, stack);
        let last = *shape.order.last().expect("there is a block");
        let ops = &region.nodes[last].found.block.ops;
        ops.iter().fold(starts[last], |near, op| after(op, near, stack)) & !stack
    }

    #[test]
    fn what_points_into_the_stack_does_so_until_it_gets_something_else() {
        let (eax, ebx, esi) = (1 << reg::RAX, 1 << reg::RBX, 1 << reg::RSI);
        // mov [ebx], eax
        assert_eq!(behind(&[0x89, 0x03], ebx), ebx);
        // add ebx, 4; mov [ebx], eax
        assert_eq!(behind(&[0x83, 0xc3, 4, 0x89, 0x03], ebx), ebx);
        // mov ebx, [esi]
        assert_eq!(behind(&[0x8b, 0x1e], ebx | esi), esi);
        // lea ebx, [esp+8]; mov esi, ebx
        assert_eq!(behind(&[0x8d, 0x5c, 0x24, 8, 0x89, 0xde], 0), ebx | esi);
        // lea ebx, [eax+eax*4]
        assert_eq!(behind(&[0x8d, 0x1c, 0x80], eax | ebx), eax);
        // mul ebx
        assert_eq!(behind(&[0xf7, 0xe3], eax | ebx), ebx);
        // mov esi, ebx
        assert_eq!(behind(&[0x89, 0xde], esi), 0);
        // 1: dec ecx; jnz 1b; ebx stays what it was
        assert_eq!(behind(&[0x49, 0x75, 0xfd], ebx), ebx);
        // test eax, eax; jz 1f; mov ebx, eax; 1: in one of two ways
        assert_eq!(behind(&[0x85, 0xc0, 0x74, 2, 0x89, 0xc3], ebx), ebx);
    }
}
