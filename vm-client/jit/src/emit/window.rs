//! Loads and stores that share one check: those of a block whose addresses have constant distances.
//!
//! On the stack they are checked against a *window*: a run of writable guest pages with neighbouring frames, around the
//! stack pointer; the [`State`] says where the current one is. Behind the check, accesses are plain loads and stores. Where
//! the window does not fit the runtime moves it; where it cannot, the interpreter runs the instruction. Generated code runs
//! only while there is some window, which stays right until it returns: nothing it asks for unmaps or protects a page.
//!
//! Elsewhere a group of two and more looks into the flat table once (`memory`).

use std::collections::HashMap;
use std::mem::offset_of;

use vm_cpu::assist::{self, Effects};
use vm_cpu::ir::{Block, Code, Form, Op, Slot, each_read, written_slot};
use vm_cpu::reg;
use wasm_encoder::{MemArg, ValType};

use super::{Emitter, Why};
use crate::counts::Way;
use crate::host::Request;
use crate::plan::Region;
use crate::state::State;

const RSP: u8 = reg::RSP as u8;
const RBP: u8 = reg::RBP as u8;

/// Bytes a group on the stack spans at most.
pub(crate) const MOST_BYTES: u32 = 512;
/// The same of groups elsewhere: the more, the likelier the end of a page is in them.
const MOST_BYTES_ELSEWHERE: u32 = 256;

/// Where an access is in its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    group: usize,
    /// Bytes behind the lowest address of the group.
    pub(super) offset: u32,
    /// Whether the group is on the stack.
    pub(super) on_stack: bool,
}

/// Accesses that are checked together.
#[derive(Clone, Copy, Debug)]
struct Group {
    low: i32,
    high: i32,
    /// The register and its distance from the origin at the first access.
    base: u8,
    delta: i32,
    /// The local with the place of the lowest address, once it is checked.
    place: Option<u32>,
    on_stack: bool,
    /// Whether any of them is a store, and how many there are.
    stores: bool,
    count: u32,
}

/// The accesses of a block that are in groups, by the number of their operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Accesses {
    of: HashMap<usize, Access>,
    groups: Vec<Group>,
}

/// A register as a distance from a value some register had.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Distance {
    origin: u32,
    delta: i32,
    on_stack: bool,
}

impl Accesses {
    /// Finds the groups of a block. `framed` says that RBP points into the stack from the start; without `window` nothing
    /// does.
    pub(super) fn of(block: &Block, framed: bool, window: bool) -> Accesses {
        let mut accesses = Accesses::default();
        let mut origins = 0;
        let mut fresh = |register: u8| {
            origins += 1;
            Distance { origin: origins, delta: 0, on_stack: register == RSP && window }
        };
        let mut registers: [Distance; 8] = std::array::from_fn(|register| fresh(register as u8));
        if framed && window {
            registers[usize::from(RBP)].on_stack = true;
        }
        let mut open: HashMap<u32, usize> = HashMap::new();
        for (number, op) in block.ops.iter().enumerate() {
            if let Some((base, disp, bytes)) = simple(op) {
                let stores = matches!(op.code.info().form, Form::Store | Form::StoreImm | Form::VStore);
                accesses.add(number, (base, registers[usize::from(base)]), (disp, bytes, stores), &mut open);
            }
            let assist = op.code == Code::Assist;
            if assist && assist::row(op.assist_number()).effects.contains(Effects::REGISTERS) {
                registers = std::array::from_fn(|register| fresh(register as u8));
            }
            let Some(slot) = written_slot(op).filter(|slot| slot.0 < 8) else { continue };
            let from = moved(op).map(|(from, by)| {
                let from = registers[usize::from(from)];
                Distance { delta: from.delta.wrapping_add(by), ..from }
            });
            registers[usize::from(slot.0)] = from.unwrap_or_else(|| fresh(slot.0));
        }
        let groups = &accesses.groups;
        accesses.of.retain(|_, access| access.on_stack || groups[access.group].count > 1);
        accesses
    }

    fn add(
        &mut self,
        number: usize,
        (base, at): (u8, Distance),
        (disp, bytes, stores): (i32, u32, bool),
        open: &mut HashMap<u32, usize>,
    ) {
        let low = at.delta.wrapping_add(disp);
        let Some(high) = low.checked_add(bytes as i32) else { return };
        let joined = open.get(&at.origin).copied().filter(|&group| {
            let known = &self.groups[group];
            let most = if at.on_stack { MOST_BYTES } else { MOST_BYTES_ELSEWHERE };
            i64::from(known.high.max(high)) - i64::from(known.low.min(low)) <= i64::from(most)
        });
        let group = joined.unwrap_or_else(|| {
            let (delta, on_stack) = (at.delta, at.on_stack);
            self.groups.push(Group { low, high, base, delta, place: None, on_stack, stores: false, count: 0 });
            open.insert(at.origin, self.groups.len() - 1);
            self.groups.len() - 1
        });
        let known = &mut self.groups[group];
        (known.low, known.high) = (known.low.min(low), known.high.max(high));
        known.stores |= stores;
        known.count += 1;
        // Relative to the origin for now.
        self.of.insert(number, Access { group, offset: low as u32, on_stack: at.on_stack });
    }

    pub(super) fn get(&self, number: usize) -> Option<Access> {
        let access = *self.of.get(&number)?;
        let low = self.groups[access.group].low;
        Some(Access { offset: access.offset.wrapping_sub(low as u32), ..access })
    }

    /// Whether an operation, by its number, may look into the flat table.
    pub(super) fn wants_table(&self, number: usize, op: &Op) -> bool {
        use Form::*;
        match op.code.info().form {
            Load | LoadIndexed | Store | StoreIndexed | StoreImm | VLoad | VStore => {
                !self.of.get(&number).is_some_and(|access| access.on_stack)
            }
            Assist => true,
            _ => false,
        }
    }

    pub(super) fn wants_window(&self) -> bool {
        self.of.values().any(|access| access.on_stack)
    }
}

/// The base register, displacement and bytes of an access whose address is a register and a constant.
fn simple(op: &Op) -> Option<(u8, i32, u32)> {
    let info = op.code.info();
    let zero = Slot::ZERO.0;
    let plain = op.d == zero && op.b == zero;
    let bytes = u32::from(info.size.bytes());
    let (disp, bytes) = match info.form {
        Form::Load | Form::Store => (op.imm, bytes),
        Form::StoreImm if plain => (op.store_disp(), bytes),
        Form::VLoad | Form::VStore if plain => (op.imm, vector_bytes(op)?),
        _ => return None,
    };
    (op.a < 8).then_some((op.a, disp as i32, bytes))
}

fn vector_bytes(op: &Op) -> Option<u32> {
    use Code::*;
    Some(match op.code {
        VLoad8 => 1,
        VLoad16 => 2,
        VLoad32 | VStore32 => 4,
        VLoad64 | VStore64 => 8,
        VLoad128 | VLoadA128 | VStore128 | VStoreA128 => 16,
        _ => return None,
    })
}

/// The register that an operation copies with a constant added.
pub(super) fn moved(op: &Op) -> Option<(u8, i32)> {
    use Code::*;
    let constant = op.b == Slot::ZERO.0;
    let (from, by) = match op.code {
        Mov32 => (op.b, op.imm as i32),
        Add32 | AddF32 if constant => (op.a, op.imm as i32),
        Sub32 | SubF32 if constant => (op.a, (op.imm as i32).wrapping_neg()),
        _ => return None,
    };
    (from < 8).then_some((from, by))
}

/// What a region does with RBP, as far as it is a frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frames {
    /// Makes it one.
    Made,
    /// Leaves it alone or gives it back.
    Kept,
    /// Uses it for something else.
    None,
}

/// See [`Frames`].
pub(super) fn frames(region: &Region) -> Frames {
    let mut made = false;
    for block in region.nodes.iter().map(|node| &node.found.block) {
        for (number, op) in block.ops.iter().enumerate() {
            if written_slot(op) != Some(Slot(RBP)) {
                continue;
            }
            // `pop` and `leave` load it from the stack.
            let popped = number.checked_sub(1).and_then(|_| {
                let mut source = None;
                each_read(op, |slot| source = Some(slot));
                block.ops[number.saturating_sub(3)..number].iter().find(|load| {
                    load.code == Code::Load32
                        && Some(load.dst) == source
                        && (load.a == RSP || load.a == RBP)
                        && load.imm == 0
                })
            });
            match moved(op) {
                Some((RSP, _)) => made = true,
                Some((RBP, _)) => {}
                _ if popped.is_some() && op.code == Code::Mov32 => {}
                _ => return Frames::None,
            }
        }
    }
    if made { Frames::Made } else { Frames::Kept }
}

impl Emitter<'_> {
    /// Takes the window over from the state.
    pub(super) fn load_window(&mut self) {
        let Some([low, len, distance]) = self.window else { return };
        for (local, offset) in [
            (low, offset_of!(State, window)),
            (len, offset_of!(State, window_len)),
            (distance, offset_of!(State, distance)),
        ] {
            self.load_state(offset);
            self.w().local_set(local);
        }
    }

    /// Gives the window its locals.
    pub(super) fn use_window(&mut self) {
        self.window = Some([(); 3].map(|()| self.new_local(ValType::I32)));
    }

    /// Pushes what an access of a group is relative to, and tells where it is from there.
    pub(super) fn in_window(&mut self, access: Access) -> MemArg {
        let place = self.place_of(access);
        self.w().local_get(place);
        MemArg { offset: u64::from(self.config.first_frame) + u64::from(access.offset), align: 0, memory_index: 0 }
    }

    /// The local with the place of a group's lowest address, which is checked before if need be: zero where a group that is
    /// not on the stack needs the slow path.
    pub(super) fn place_of(&mut self, access: Access) -> u32 {
        let group = self.accesses.groups[access.group];
        if let Some(place) = group.place {
            return place;
        }
        let place = match self.places.get(access.group) {
            Some(&place) => place,
            None => {
                while self.places.len() <= access.group {
                    let place = self.new_local(ValType::I32);
                    self.places.push(place);
                }
                self.places[access.group]
            }
        };
        self.accesses.groups[access.group].place = Some(place);
        match self.window {
            Some(window) if group.on_stack => self.check_window(group, place, window),
            _ => {
                self.lowest(group);
                self.look_up_group(group.high.wrapping_sub(group.low) as u32, group.stores);
                self.w().local_set(place);
            }
        }
        place
    }

    /// Pushes the lowest address of a group.
    fn lowest(&mut self, group: Group) {
        self.get32(group.base);
        let by = group.low.wrapping_sub(group.delta);
        if by != 0 {
            self.w().i32_const(by).i32_add();
        }
    }

    fn check_window(&mut self, group: Group, place: u32, [low, len, distance]: [u32; 3]) {
        let bytes = group.high.wrapping_sub(group.low);
        self.count(Way::Window, false);
        self.lowest(group);
        self.w().local_tee(place).local_get(low).i32_sub().local_get(len).i32_const(bytes).i32_sub().i32_gt_u();
        self.open_unlikely_if();
        self.count(Way::Window, true);
        self.w().i32_const(Request::Window as i32).local_get(place).i32_const(bytes);
        self.request();
        self.stop_if(Why::Refused { stores_back: false });
        self.load_window();
        self.close();
        self.w().local_get(place).local_get(distance).i32_add().local_set(place);
    }
}

#[cfg(test)]
mod tests {
    use vm_cpu::Mode;
    use vm_cpu::decode::{self, Context, Unknown};
    use vm_cpu::ir::Segments;

    use super::*;

    fn accesses(code: &[u8]) -> usize {
        let segments = Segments { flat: true, null: 0 };
        let context = Context { mode: Mode::I386, segments, limit: usize::MAX, narrow: false };
        let mut code = code.to_vec();
        code.push(0xf4);
        let block = decode::block(0x1000, &code, context, &mut Unknown::new()).expect("whole instructions");
        Accesses::of(&block, false, true).of.len()
    }

    #[test]
    fn accesses_by_one_register_are_a_group_when_there_are_two() {
        // mov eax, [esi+4]; mov ecx, [esi+8]; mov edx, [edi]
        assert_eq!(accesses(&[0x8b, 0x46, 4, 0x8b, 0x4e, 8, 0x8b, 0x17]), 2);
        // mov eax, [esi]; add esi, ecx; mov ecx, [esi]
        assert_eq!(accesses(&[0x8b, 0x06, 0x01, 0xce, 0x8b, 0x0e]), 0);
        // mov eax, [esi]; add esi, 4; mov ecx, [esi]; mov edx, [esi+2000]
        assert_eq!(accesses(&[0x8b, 0x06, 0x83, 0xc6, 4, 0x8b, 0x0e, 0x8b, 0x96, 0xd0, 7, 0, 0]), 2);
    }

    #[test]
    fn what_an_index_reaches_is_not_on_the_stack() {
        // mov dword [esp], 5
        assert_eq!(accesses(&[0xc7, 0x04, 0x24, 5, 0, 0, 0]), 1);
        // mov dword [esp+eax*4], 5
        assert_eq!(accesses(&[0xc7, 0x04, 0x84, 5, 0, 0, 0]), 0);
        // mov ecx, [esp+eax*4]; mov [esp+eax*4], ecx
        assert_eq!(accesses(&[0x8b, 0x0c, 0x84, 0x89, 0x0c, 0x84]), 0);
    }
}
