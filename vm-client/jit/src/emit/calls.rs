//! Calls and returns: nested calls of WebAssembly, whose caller compares where its callee came back to.

use super::{Emitter, GO_ON, local, state_offset};
use crate::flow::FlagState;
use crate::plan::Target;
use crate::state::{DEPTH, LOOKUP_ENTRIES};

/// The code of `call`.
const CALL: u8 = 0x10;
/// Bytes for the index of a function that is not known yet.
pub(crate) const INDEX_BYTES: usize = 5;

impl Emitter<'_> {
    /// Brings everything into memory, and the address to call, which is pushed, into the instruction pointer.
    pub(super) fn before_call(&mut self, number: usize, target: impl Fn(&mut Self)) {
        self.spill_at_end(number);
        self.stack_to_memory();
        self.sync_flags();
        self.spill_fuel();
        let rip = self.rip_at();
        self.w().i32_const(0);
        target(self);
        self.w().i32_store(rip);
        // Too deep: everybody returns, and the call goes on from the start of the stack.
        self.w().local_get(local::DEPTH).i32_eqz();
        self.open_unlikely_if();
        self.w().i32_const(GO_ON as i32).return_();
        self.close();
    }

    fn pushes_depth(&mut self) {
        self.w().local_get(local::DEPTH).i32_const(1).i32_sub();
    }

    pub(super) fn call_direct(&mut self, address: u32) {
        self.pushes_depth();
        if address == self.region.start() {
            // Mapped as it is now for as long as this runs.
            self.code.push(CALL);
            self.calls_itself.push(self.code.len());
            self.code.extend([0; INDEX_BYTES]);
            return;
        }
        match self.numbers.cell(address) {
            Some(cell) => {
                self.push_cell(|e| {
                    e.w().i32_const(4 * cell as i32);
                });
                self.w().call_indirect(0, crate::module::REGION_TYPE);
            }
            None => {
                self.w().drop().i32_const(GO_ON as i32);
            }
        }
    }

    /// Pushes the content of the cell whose offset is pushed.
    pub(super) fn push_cell(&mut self, offset: impl Fn(&mut Self)) {
        self.load_state(state_offset::CELLS);
        offset(self);
        let at = self.at(0, 2);
        self.w().i32_add().i32_load(at);
    }

    /// Puts the place in the table for the address in `WHERE` into the scratch local, and pushes whether it is its entry.
    fn look_up(&mut self) {
        let (first, second) = (self.at(0, 2), LOOKUP_ENTRIES as i32 - 1);
        self.load_state(state_offset::LOOKUP);
        self.w()
            .local_get(local::WHERE)
            .local_get(local::WHERE)
            .i32_const(13)
            .i32_shr_u()
            .i32_xor()
            .i32_const(second)
            .i32_and()
            .i32_const(3)
            .i32_shl()
            .i32_add()
            .local_tee(local::SCRATCH)
            .i32_load(first)
            .local_get(local::WHERE)
            .i32_eq();
    }

    fn call_looked_up(&mut self) {
        self.look_up();
        self.w().i32_eqz();
        self.open_unlikely_if();
        self.w().i32_const(GO_ON as i32).return_();
        self.close();
        self.pushes_depth();
        let slot = self.at(4, 2);
        self.w().local_get(local::SCRATCH).i32_load(slot).call_indirect(0, crate::module::REGION_TYPE);
    }

    /// With what a call returned on the stack: goes on behind it if that is where the callee returned to.
    pub(super) fn after_call(&mut self, number: usize, target: Target) {
        let behind = match target {
            Target::Out(address) => address,
            Target::Node(to) => self.region.nodes[to].start(),
        };
        let rip = self.rip_at();
        self.w().local_tee(local::SCRATCH);
        self.open_unlikely_if();
        self.w().local_get(local::SCRATCH).return_();
        self.close();
        self.w().i32_const(0).i32_load(rip).i32_const(behind as i32).i32_ne();
        self.open_unlikely_if();
        self.w().i32_const(GO_ON as i32).return_();
        self.close();
        self.flags = FlagState::Static(crate::lazy::Kind::MEMORY);
        self.reload_fuel();
        self.reload();
        self.edge(number, target);
    }

    /// Returns to whoever called, who compares; where nobody did, the table may know.
    pub(super) fn return_from(&mut self, number: usize) {
        self.spill_at_end(number);
        self.stack_to_memory();
        self.sync_flags();
        self.spill_fuel();
        let rip = self.rip_at();
        self.w().i32_const(0).local_get(local::WHERE).i32_store(rip);
        if self.config.tail_calls {
            self.w().local_get(local::DEPTH).i32_const(DEPTH as i32).i32_eq();
            self.open_if(None);
            self.w().local_get(local::FUEL).i64_const(0).i64_gt_s();
            self.open_if(None);
            self.tail_call_looked_up();
            self.close();
            self.close();
        }
        self.w().i32_const(GO_ON as i32).return_();
    }

    /// Goes on in the function that the table knows for `WHERE`, if any.
    pub(super) fn tail_call_looked_up(&mut self) {
        self.look_up();
        self.open_if(None);
        let slot = self.at(4, 2);
        self.w().local_get(local::DEPTH).local_get(local::SCRATCH).i32_load(slot);
        self.w().return_call_indirect(0, crate::module::REGION_TYPE);
        self.close();
    }

    /// Calls the address in `WHERE`, which returns to a target.
    pub(super) fn call_where(&mut self, number: usize, behind: Target) {
        self.before_call(number, |e| {
            e.w().local_get(local::WHERE);
        });
        self.call_looked_up();
        self.after_call(number, behind);
    }
}
