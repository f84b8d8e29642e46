//! Loads and stores of a group: off the stack they share one look into the flat table.

use vm_cpu::ir::Op;
use vm_mem::GOES_ON;
use wasm_encoder::MemArg;

use super::window::Access;
use super::{Emitter, Label, Why, local};
use crate::host::Request;

/// What is added to the places of groups, so that the place of the lowest address, counted back from any other, is not
/// below zero; first frames are further up in memory.
const BIAS: i32 = 4096;

impl Emitter<'_> {
    /// With the lowest address of a group on the stack: pushes its place, or zero where not all of it can be reached.
    pub(super) fn look_up_group(&mut self, bytes: u32, stores: bool) {
        self.look_into_table(stores);
        self.open_slow_path(bytes);
        self.w().i32_const(-BIAS).local_get(local::ADDRESS).i32_sub().local_set(local::WORD);
        self.close();
        self.place_of_data();
        self.w().i32_const(BIAS).i32_add();
    }

    /// Pushes what a load of a group is relative to, and tells where it is from there.
    pub(super) fn loadable_in_group(&mut self, op: &Op, access: Access, bytes: u32, why: Why) -> MemArg {
        if access.on_stack {
            return self.in_window(access);
        }
        let place = self.place_of(access);
        self.w().local_get(place).local_set(local::WORD);
        self.open_block(Label::Plain);
        self.w().local_get(place);
        self.br_if(0, true);
        self.w().i32_const(Request::Load as i32);
        self.address(op);
        self.w().i32_const(bytes as i32);
        self.request();
        self.w().local_tee(local::WORD).i32_const(-1).i32_eq();
        self.stop_if(why);
        self.w().local_get(local::WORD).i32_const(BIAS + GOES_ON as i32 - access.offset as i32).i32_add();
        self.w().local_set(local::WORD);
        self.close();
        self.w().local_get(local::WORD);
        self.in_group(access)
    }

    /// Where an access of a group is from the place of its lowest address.
    pub(super) fn in_group(&self, access: Access) -> MemArg {
        let data = self.data(0);
        MemArg { offset: data.offset + u64::from(access.offset) - BIAS as u64, ..data }
    }

    /// A store of a group, see [`Emitter::store_with`].
    pub(super) fn store_in_group(
        &mut self,
        op: &Op,
        access: Access,
        bytes: u32,
        value: impl Fn(&mut Self),
        put: impl Fn(&mut Self, MemArg),
    ) {
        if access.on_stack {
            let at = self.in_window(access);
            value(self);
            return put(self, at);
        }
        let place = self.place_of(access);
        self.open_block(Label::Plain);
        self.w().local_get(place).i32_eqz();
        self.open_unlikely_if();
        self.address(op);
        self.w().local_set(local::ADDRESS);
        self.store_by_request(bytes, &value, &put);
        self.w().br(1);
        self.close();
        self.w().local_get(place);
        value(self);
        let at = self.in_group(access);
        put(self, at);
        self.close();
    }
}
