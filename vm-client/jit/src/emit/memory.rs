//! Loads and stores of the guest.
//!
//! The stack has a way of its own (`window`). The fast way elsewhere: the flat table's word of the page permits the
//! access, which does not go over the end of the page. Else the runtime does it, and code goes on behind; it stops if the
//! runtime refuses. Where an index is added to the stack pointer, or a register pointed into the stack when the region was
//! compiled, the window is tried before the table.

use std::mem::offset_of;

use vm_cpu::Exception;
use vm_cpu::ir::{Form, Op, Size, Slot, VSlot};
use vm_mem::{GOES_ON, STORE_WORDS};
use wasm_encoder::{BlockType, MemArg, ValType};

use super::near::after;
use super::{Emitter, Label, Why, local, state_offset};
use crate::counts::Way;
use crate::host::Request;
use crate::state::State;

/// What is so far from a register that points into the stack is not in it.
const FAR: i32 = 1 << 16;

impl Emitter<'_> {
    /// Pushes the address that an operation accesses.
    pub(super) fn address(&mut self, op: &Op) {
        self.is_near = self.window.is_some() && Self::may_be_near(op, self.near);
        let (simple, disp) = match op.code.info().form {
            Form::Load | Form::Store => (true, op.imm),
            Form::StoreImm => (false, op.store_disp()),
            _ => (false, op.imm),
        };
        let mut terms = 0;
        let zero = Slot::ZERO.0;
        if !simple && op.d != zero {
            self.get32(op.d);
            terms += 1;
        }
        if op.a != zero {
            self.get32(op.a);
            terms += 1;
        }
        if !simple && op.b != zero {
            self.get32(op.b);
            if op.c & 3 != 0 {
                self.w().i32_const(i32::from(op.c & 3)).i32_shl();
            }
            terms += 1;
        }
        for _ in 1..terms {
            self.w().i32_add();
        }
        match (terms, disp as i32) {
            (0, disp) => {
                self.w().i32_const(disp);
            }
            (_, 0) => {}
            (_, disp) => {
                self.w().i32_const(disp).i32_add();
            }
        }
    }

    /// Pops an address into its local, and puts the flat table's word for loads or stores into another.
    pub(super) fn look_into_table(&mut self, stores: bool) {
        let words = if stores { STORE_WORDS } else { 0 };
        let word = MemArg { offset: u64::from(words), align: 2, memory_index: 0 };
        self.w()
            .local_tee(local::ADDRESS)
            .i32_const(12)
            .i32_shr_u()
            .i32_const(2)
            .i32_shl()
            .local_get(local::FLAT)
            .i32_add()
            .i32_load(word)
            .local_set(local::WORD);
    }

    /// Counts that the instruction under way looks for bytes, or fails to find them.
    pub(super) fn count(&mut self, way: Way, failures: bool) {
        if let Some(place) = self.numbers.counter(self.place.rip, way, failures) {
            let at = self.at(place, 3);
            self.w().i32_const(0).i32_const(0).i64_load(at).i64_const(1).i64_add().i64_store(at);
        }
    }

    /// Opens the block of the slow path, behind a look into the table. In front of it and behind it the word has its bit
    /// [`GOES_ON`] where it can be followed.
    pub(super) fn open_slow_path(&mut self, bytes: u32) {
        self.count(Way::Table, false);
        self.open_block(Label::Plain);
        self.open_block(Label::Plain);
        self.w().local_get(local::WORD).i32_const(GOES_ON as i32).i32_and();
        self.br_if(1, true);
        self.w().local_get(local::WORD).i32_eqz();
        self.br_if(0, false);
        self.w().local_get(local::WORD).i32_const(GOES_ON as i32).i32_or().local_set(local::WORD);
        if bytes == 1 {
            self.w().br(1);
        } else {
            self.w().local_get(local::ADDRESS).i32_const(0xfff).i32_and().i32_const(4096 - bytes as i32).i32_le_u();
            self.br_if(1, true);
        }
        self.close();
        self.count(Way::Table, true);
    }

    /// Pushes where the data is, from the word and the address; too far by [`GOES_ON`], as [`Self::data`] takes into account.
    pub(super) fn place_of_data(&mut self) {
        self.w().local_get(local::WORD).local_get(local::ADDRESS).i32_add();
    }

    pub(super) fn data(&self, align: u32) -> MemArg {
        MemArg { offset: u64::from(self.config.first_frame - GOES_ON), align, memory_index: 0 }
    }

    /// Whether a node has accesses that are likely to be in the window.
    pub(super) fn has_near(&self, node: usize) -> bool {
        let mut near = self.near_at[node];
        self.region.nodes[node].found.block.ops.iter().any(|op| {
            let before = near;
            near = after(op, before, self.stack_registers);
            Self::may_be_near(op, before)
        })
    }

    /// Whether an access that is in no group is likely to be in the window, with such registers in it.
    fn may_be_near(op: &Op, near: u8) -> bool {
        let disp = if op.code.info().form == Form::StoreImm { op.store_disp() } else { op.imm };
        if !(-FAR..FAR).contains(&(disp as i32)) {
            return false;
        }
        let bases = match op.code.info().form {
            Form::Load | Form::Store => [op.a, Slot::ZERO.0],
            // What is scaled is an index.
            Form::LoadIndexed | Form::StoreIndexed | Form::StoreImm | Form::VLoad | Form::VStore => {
                [op.a, if op.c & 3 == 0 { op.b } else { Slot::ZERO.0 }]
            }
            _ => return false,
        };
        bases.iter().any(|&base| base < 8 && near >> base & 1 != 0)
    }

    /// With an address in its local: takes the window's distance for the word, and opens what is done if that is wrong.
    fn open_miss(&mut self, bytes: u32, [low, len, distance]: [u32; 3]) {
        self.count(Way::Window, false);
        self.w().local_get(distance).i32_const(GOES_ON as i32).i32_or().local_set(local::WORD);
        self.w().local_get(local::ADDRESS).local_get(low).i32_sub().local_get(len).i32_const(bytes as i32).i32_sub();
        self.w().i32_gt_u();
        self.open_unlikely_if();
        self.count(Way::Window, true);
        self.w().local_get(local::ADDRESS);
    }

    /// The window, if the access under way is likely to be in it.
    fn near_window(&mut self) -> Option<[u32; 3]> {
        let near = std::mem::take(&mut self.is_near);
        self.window.filter(|_| near)
    }

    /// Pops an address and pushes where its bytes can be loaded from.
    pub(super) fn loadable(&mut self, bytes: u32, why: Why) {
        let near = self.near_window();
        if let Some(window) = near {
            self.w().local_set(local::ADDRESS);
            self.open_miss(bytes, window);
        }
        self.look_into_table(false);
        self.open_slow_path(bytes);
        self.w().i32_const(Request::Load as i32).local_get(local::ADDRESS).i32_const(bytes as i32);
        self.request();
        self.w().local_tee(local::WORD).i32_const(-1).i32_eq();
        self.stop_if(why);
        self.w().local_get(local::WORD).local_get(local::ADDRESS).i32_sub();
        self.w().i32_const(GOES_ON as i32).i32_add().local_set(local::WORD);
        self.close();
        if near.is_some() {
            self.close();
        }
        self.place_of_data();
    }

    /// An integer load.
    pub(super) fn load(&mut self, op: &Op) {
        let size = op.code.info().size;
        let why = Why::Refused { stores_back: self.stores_back(op) };
        let bytes = u32::from(size.bytes());
        let at = match self.access.take() {
            Some(access) => self.loadable_in_group(op, access, bytes, why),
            None => {
                self.address(op);
                self.loadable(bytes, why);
                self.data(0)
            }
        };
        match size {
            Size::B8 => self.w().i32_load8_u(at),
            Size::B16 => self.w().i32_load16_u(at),
            Size::B32 => self.w().i32_load(at),
            Size::B64 => self.w().i64_load(at),
        };
        if size == Size::B64 { self.set64(op.dst) } else { self.set32(op.dst) }
    }

    /// Whether a load belongs to a read-modify-write, whose faults are those of a store.
    fn stores_back(&self, load: &Op) -> bool {
        let place = |op: &Op| match op.code.info().form {
            Form::Load | Form::Store => Some((op.a, op.imm, 0, 0, 0)),
            Form::LoadIndexed | Form::StoreIndexed => Some((op.a, op.imm, op.b, op.c, op.d)),
            _ => None,
        };
        let loaded = place(load);
        self.rest
            .iter()
            .any(|later| matches!(later.code.info().form, Form::Store | Form::StoreIndexed) && place(later) == loaded)
    }

    /// Stores what `value` pushes, with `put`, to the address on the stack.
    pub(super) fn store_with(&mut self, bytes: u32, value: impl Fn(&mut Self), put: impl Fn(&mut Self, MemArg)) {
        let near = self.near_window();
        if near.is_some() {
            self.w().local_set(local::ADDRESS);
        } else {
            self.look_into_table(true);
        }
        self.open_block(Label::Plain);
        let done = self.labels.len();
        if let Some(window) = near {
            self.open_miss(bytes, window);
            self.look_into_table(true);
        }
        self.open_slow_path(bytes);
        self.store_by_request(bytes, &value, &put);
        let outwards = (self.labels.len() - done) as u32;
        self.w().br(outwards);
        self.close();
        if near.is_some() {
            self.close();
        }
        self.place_of_data();
        value(self);
        let at = self.data(0);
        put(self, at);
        self.close();
    }

    /// Has the runtime store what `value` pushes to the address in its local.
    pub(super) fn store_by_request(&mut self, bytes: u32, value: impl Fn(&mut Self), put: impl Fn(&mut Self, MemArg)) {
        self.w().i32_const(0);
        value(self);
        let bounce = self.state_at(state_offset::BOUNCE);
        put(self, MemArg { align: 0, ..bounce });
        self.w().i32_const(Request::Store as i32).local_get(local::ADDRESS).i32_const(bytes as i32);
        self.request();
        self.stop_if(Why::Refused { stores_back: false });
    }

    /// An integer store.
    pub(super) fn store(&mut self, op: &Op) {
        let op = *op;
        let info = op.code.info();
        let constant = info.form == Form::StoreImm;
        let value = move |e: &mut Self| match (info.size, constant) {
            (Size::B64, true) => {
                e.w().i64_const(op.store_value());
            }
            (Size::B64, false) => e.get64(op.dst),
            (_, true) => {
                e.w().i32_const(op.store_value() as i32);
            }
            (_, false) => e.get32(op.dst),
        };
        let put = move |e: &mut Self, at: MemArg| {
            match info.size {
                Size::B8 => e.w().i32_store8(at),
                Size::B16 => e.w().i32_store16(at),
                Size::B32 => e.w().i32_store(at),
                Size::B64 => e.w().i64_store(at),
            };
        };
        let bytes = u32::from(info.size.bytes());
        match self.access.take() {
            Some(access) => self.store_in_group(&op, access, bytes, value, put),
            None => {
                self.address(&op);
                self.store_with(bytes, value, put);
            }
        }
    }

    /// A check that a store will go through.
    pub(super) fn check(&mut self, op: &Op) {
        self.w().i32_const(Request::Check as i32);
        self.address(op);
        self.w().i32_const(i32::from(op.dst));
        self.request();
        self.open_unlikely_if();
        self.stop(Why::Refused { stores_back: false });
        self.close();
    }

    /// Raises #GP unless the address on the stack, which stays, is a multiple of 16.
    fn check_aligned(&mut self) {
        self.w().local_tee(local::ADDRESS).local_get(local::ADDRESS).i32_const(15).i32_and();
        self.open_unlikely_if();
        self.stop(Why::Raise(Exception::Protection));
        self.close();
    }

    /// A vector load, zero-extended.
    pub(super) fn vector_load(&mut self, op: &Op, bytes: u32, aligned: bool) {
        self.address(op);
        if aligned {
            self.check_aligned();
        }
        let at = match self.access.take() {
            Some(access) => {
                self.w().drop();
                self.loadable_in_group(op, access, bytes, Why::Refused { stores_back: false })
            }
            None => {
                self.loadable(bytes, Why::Refused { stores_back: false });
                self.data(0)
            }
        };
        match bytes {
            1 => self.w().i32_load8_u(at).i32x4_splat().v128_const(0xff).v128_and(),
            2 => self.w().i32_load16_u(at).i32x4_splat().v128_const(0xffff).v128_and(),
            4 => self.w().v128_load32_zero(at),
            8 => self.w().v128_load64_zero(at),
            _ => self.w().v128_load(at),
        };
        self.set_vector(VSlot(op.dst));
    }

    /// A vector store of its low bytes.
    pub(super) fn vector_store(&mut self, op: &Op, bytes: u32, aligned: bool) {
        let vector = VSlot(op.dst);
        self.address(op);
        if aligned {
            self.check_aligned();
        }
        let value = move |e: &mut Self| e.get_vector(vector);
        let put = move |e: &mut Self, at: MemArg| {
            match bytes {
                4 => e.w().v128_store32_lane(at, 0),
                8 => e.w().v128_store64_lane(at, 0),
                _ => e.w().v128_store(at),
            };
        };
        match self.access.take() {
            Some(access) => {
                self.w().drop();
                self.store_in_group(op, access, bytes, value, put);
            }
            None => self.store_with(bytes, value, put),
        }
    }

    /// Loads the flat table's address, which stays as long as the function runs.
    pub(super) fn load_flat(&mut self) {
        self.load_state(offset_of!(State, flat));
        self.w().local_set(local::FLAT);
    }

    /// Notes which way the branch or `if` usually goes that is emitted next.
    pub(super) fn hint(&mut self, taken: bool) {
        self.hints.push((self.code.len(), taken));
    }

    /// A conditional branch that is usually taken, or usually is not.
    pub(super) fn br_if(&mut self, depth: u32, taken: bool) {
        self.hint(taken);
        self.w().br_if(depth);
    }

    /// Opens what is hardly ever run.
    pub(super) fn open_unlikely_if(&mut self) {
        self.hint(false);
        self.open_if(None);
    }

    pub(super) fn open_if(&mut self, result: Option<ValType>) {
        let block = result.map_or(BlockType::Empty, BlockType::Result);
        self.w().if_(block);
        self.labels.push(Label::Plain);
    }

    pub(super) fn close(&mut self) {
        self.w().end();
        self.labels.pop();
    }
}
