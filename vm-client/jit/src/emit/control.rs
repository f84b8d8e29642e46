//! The shape of the function: blocks, edges, calls, exits.
//!
//! Every exit goes through one piece of code at the end of the function, with two locals set: `HOW` is one of the constants
//! below, or [`LINK`] plus the number of a cell; `WHERE` is the address to go on at, or the number of the exit.

use vm_cpu::ir::{ExitReason, Insn, Op};
use wasm_encoder::BlockType;

use super::{Emitter, GO_ON, Label, Place, STOPPED, Why, local, state_offset};
use crate::flow::FlagState;
use crate::plan::{End, Target};
use crate::state::{DEPTH, LOOKUP_ENTRIES};

/// The code of `call`.
const CALL: u8 = 0x10;
/// Bytes for the index of a function that is not known yet.
pub(crate) const INDEX_BYTES: usize = 5;

/// Stops with [`STOPPED`]; `WHERE` is the number of the exit. What the local is at the start.
const STOP: i32 = 0;
/// Goes on at `WHERE` by way of whoever called.
const LEAVE: i32 = 1;
/// Goes on at `WHERE`, in another function if the table knows one.
const LOOK_UP: i32 = -1;
/// Goes on at `WHERE`, in the function of a cell.
const LINK: i32 = 2;

impl Emitter<'_> {
    /// Emits the whole function.
    pub(super) fn region(&mut self) {
        let Some(&entry) = self.shape.order.first() else { return };
        if self.wants_table {
            self.load_flat();
        }
        self.load_window();
        self.reload_fuel();
        self.reload();
        if !self.region.nodes[entry].is_code() {
            let rip = self.rip_at();
            self.w().i32_const(0).i32_load(rip).local_set(local::WHERE);
        }
        self.open_block(Label::Exit);
        self.flags = FlagState::Static(crate::lazy::Kind::MEMORY);
        let wanted = self.states[entry];
        self.adapt(wanted);
        self.tree(entry);
        self.w().unreachable();
        self.close();
        self.exit_code();
        self.w().end();
    }

    /// A node and all it dominates.
    fn tree(&mut self, node: usize) {
        let shape = self.shape;
        let merges: Vec<usize> = shape.children[node].iter().copied().filter(|&c| shape.is_merge[c]).collect();
        if shape.is_loop[node] {
            self.w().loop_(BlockType::Empty);
            self.labels.push(Label::Loop(node));
            self.within(node, &merges);
            self.close();
            // Every way out of the loop is a branch.
            self.w().unreachable();
        } else {
            self.within(node, &merges);
        }
    }

    /// A node inside blocks at whose ends the merges begin that it dominates, the last of them outermost.
    fn within(&mut self, node: usize, merges: &[usize]) {
        match merges.split_last() {
            None => self.node(node),
            Some((&last, others)) => {
                self.open_block(Label::Before(last));
                self.within(node, others);
                self.close();
                self.tree(last);
            }
        }
    }

    /// How many constructs outwards a label is.
    fn depth_of(&self, label: Label) -> u32 {
        let found = self.labels.iter().rev().position(|&l| l == label);
        found.expect("branches lead to open constructs only") as u32
    }

    fn branch_to(&mut self, label: Label) {
        let depth = self.depth_of(label);
        self.w().br(depth);
    }

    fn node(&mut self, number: usize) {
        let region = self.region;
        let node = &region.nodes[number];
        let block = &node.found.block;
        self.flags = self.states[number];
        self.forget_stack();
        if let End::Dispatch(table) = node.end {
            return self.dispatch(number, &region.tables[table]);
        }
        if block.ops.iter().any(super::is_float) {
            self.reload_mxcsr();
        }
        self.accesses = self.accesses_of(number);
        let count = block.insns.len();
        self.w().local_get(local::FUEL).i64_const(count as i64).i64_sub().local_set(local::FUEL);
        for (i, insn) in block.insns.iter().enumerate() {
            self.begin(number, i, insn);
            let range = block.ops_of(i);
            for at in range.clone() {
                let op = &block.ops[at];
                self.rest = &block.ops[at + 1..range.end];
                if op.code.is_exit() {
                    self.end_stack_block();
                    return self.end_of_block(number, op);
                }
                self.access = self.accesses.get(at);
                self.operation(op);
                debug_assert!(self.access.is_none(), "accesses of the stack are emitted as such");
            }
            self.end_of_insn();
        }
    }

    fn begin(&mut self, number: usize, index: usize, insn: &Insn) {
        let block = &self.region.nodes[number].found.block;
        let at = |offset: u64| block.start.wrapping_add(offset) as u32;
        let next = block.insns.get(index + 1).map_or(u64::from(block.len), |i| u64::from(i.offset));
        self.place =
            Place { rip: at(u64::from(insn.offset)), next: at(next), left: (block.insns.len() - index) as u32 };
        self.temps.clear();
        self.may_leave = false;
    }

    /// Leaves behind an instruction that changed code, if it may have.
    fn end_of_insn(&mut self) {
        if self.may_leave {
            self.load_leave();
            self.open_if(None);
            let (next, undone) = (self.place.next, i64::from(self.place.left) - 1);
            self.w().local_get(local::FUEL).i64_const(undone).i64_add().local_set(local::FUEL);
            self.const32(next);
            self.w().local_set(local::WHERE).i32_const(LEAVE).local_set(local::HOW);
            self.leave_by_exit();
            self.close();
        }
    }

    fn load_leave(&mut self) {
        // The request has left its answer there; `HOW` is not used otherwise before an exit.
        self.w().local_get(local::HOW);
    }

    fn end_of_block(&mut self, number: usize, op: &Op) {
        let end = self.region.nodes[number].end;
        match end {
            End::Jump(target) => {
                self.leave_or_go_on(|e| e.const32(op.imm as u32));
                self.edge(number, target);
            }
            End::Branch(taken, behind) => {
                let (to, next) = (op.imm as u32, self.place.next);
                if self.may_leave {
                    self.branch_taken(op);
                    self.w().local_set(local::SCRATCH);
                    self.leave_or_go_on(|e| {
                        e.const32(to);
                        e.const32(next);
                        e.w().local_get(local::SCRATCH).select();
                    });
                    self.w().local_get(local::SCRATCH);
                } else {
                    self.branch_taken(op);
                }
                self.open_if(None);
                let flags = self.flags;
                self.edge(number, taken);
                self.close();
                self.flags = flags;
                self.edge(number, behind);
            }
            End::Call(to, target) => {
                self.before_call(number, |e| e.const32(to));
                self.call_direct(to);
                self.after_call(number, target);
            }
            End::CallIndirect(target) => {
                self.get32(op.a);
                self.w().local_set(local::WHERE);
                self.before_call(number, |e| {
                    e.w().local_get(local::WHERE);
                });
                self.call_looked_up();
                self.after_call(number, target);
            }
            End::Return => {
                self.get32(op.a);
                self.w().local_set(local::WHERE);
                self.return_from(number);
            }
            End::JumpIndirect(way) => {
                self.get32(op.a);
                self.w().local_set(local::WHERE);
                match way {
                    Some(dispatcher) => self.edge(number, Target::Node(dispatcher)),
                    None => {
                        self.w().i32_const(LOOK_UP).local_set(local::HOW);
                        self.leave_by_exit();
                    }
                }
            }
            // It has no operations.
            End::Dispatch(_) => {}
            End::Exit => {
                let fault = ExitReason::ALL.get(usize::from(op.c)).is_some_and(|reason| reason.is_fault());
                self.place = Place { rip: op.imm as u32, next: op.imm as u32, left: u32::from(fault) };
                self.stop(Why::Leave(op.c));
            }
        }
    }

    /// Leaves to the address that is pushed, if an assist of the last instruction told so.
    fn leave_or_go_on(&mut self, address: impl Fn(&mut Self)) {
        if !self.may_leave {
            return;
        }
        self.load_leave();
        self.open_if(None);
        address(self);
        self.w().local_set(local::WHERE).i32_const(LEAVE).local_set(local::HOW);
        self.leave_by_exit();
        self.close();
    }

    /// Goes along an edge.
    fn edge(&mut self, from: usize, target: Target) {
        let to = match target {
            Target::Out(address) => return self.link(address),
            Target::Node(to) if self.region.detours.contains(&(from, to)) => {
                let address = self.region.nodes[to].start();
                self.const32(address);
                self.w().local_set(local::WHERE);
                self.region.entry
            }
            Target::Node(to) => to,
        };
        let wanted = self.states[to];
        self.adapt(wanted);
        if self.shape.is_back(from, to) {
            let depth = self.depth_of(Label::Loop(to));
            self.w().local_get(local::FUEL).i64_const(0).i64_gt_s().br_if(depth);
            self.flags = wanted;
            let there = &self.region.nodes[to];
            if there.is_code() {
                let address = there.start();
                self.const32(address);
                self.w().local_set(local::WHERE);
            }
            self.w().i32_const(LEAVE).local_set(local::HOW);
            self.leave_by_exit();
        } else if self.shape.is_merge[to] {
            self.branch_to(Label::Before(to));
        } else {
            self.tree(to);
        }
    }

    /// Goes to the node of a table whose address `WHERE` is, or leaves.
    fn dispatch(&mut self, number: usize, table: &[usize]) {
        let starts: Vec<u32> = table.iter().map(|&node| self.region.nodes[node].start()).collect();
        let hash = Hash::of(&starts);
        self.open_block(Label::Plain);
        let unknown = self.labels.len();
        // The start first: it is what calls want.
        if let Some(&first) = table.iter().find(|&&node| node == 0) {
            let (flags, start) = (self.flags, self.region.start());
            self.w().local_get(local::WHERE).i32_const(start as i32).i32_eq();
            self.open_if(None);
            self.edge(number, Target::Node(first));
            self.flags = flags;
            self.close();
        }
        let used: Vec<&Vec<usize>> = hash.places.iter().filter(|place| !place.is_empty()).collect();
        for _ in &used {
            self.open_block(Label::Plain);
        }
        // The innermost block is that of the last place.
        let mut left = used.len() as u32;
        let depths: Vec<u32> = hash
            .places
            .iter()
            .map(|place| match place.is_empty() {
                true => used.len() as u32,
                false => {
                    left -= 1;
                    left
                }
            })
            .collect();
        self.w().local_get(local::WHERE).i32_const(hash.factor as i32).i32_mul();
        self.w().i32_const(hash.shift as i32).i32_shr_u().br_table(depths, used.len() as u32);
        let flags = self.flags;
        for place in used.iter().rev() {
            self.close();
            let Some((&last, others)) = place.split_last() else { continue };
            for &index in others {
                self.w().local_get(local::WHERE).i32_const(starts[index] as i32).i32_eq();
                self.open_if(None);
                self.edge(number, Target::Node(table[index]));
                self.flags = flags;
                self.close();
            }
            let outwards = (self.labels.len() - unknown) as u32;
            self.w().local_get(local::WHERE).i32_const(starts[last] as i32).i32_ne().br_if(outwards);
            self.edge(number, Target::Node(table[last]));
            self.flags = flags;
        }
        self.close();
        self.w().i32_const(LOOK_UP).local_set(local::HOW);
        self.leave_by_exit();
    }

    /// Goes on at an address outside.
    fn link(&mut self, address: u32) {
        let cell = self.numbers.cell(address);
        let how = cell.map_or(LEAVE, |cell| LINK + cell as i32);
        self.const32(address);
        self.w().local_set(local::WHERE).i32_const(how).local_set(local::HOW);
        self.leave_by_exit();
    }

    /// Goes to the exit code.
    fn leave_by_exit(&mut self) {
        self.kind_to_local();
        self.branch_to(Label::Exit);
    }

    /// Stops here.
    pub(super) fn stop(&mut self, why: Why) {
        let exit = self.exit_here(why);
        self.w().i32_const(exit as i32).local_set(local::WHERE);
        if self.may_leave {
            self.w().i32_const(STOP).local_set(local::HOW);
        }
        self.leave_by_exit();
    }

    /// Pops a condition and stops here if it holds.
    pub(super) fn stop_if(&mut self, why: Why) {
        let exit = self.exit_here(why);
        if self.may_leave {
            self.open_if(None);
            self.stop(why);
            return self.close();
        }
        // Setting these does no harm where the function goes on.
        self.w().i32_const(exit as i32).local_set(local::WHERE);
        self.kind_to_local();
        let depth = self.depth_of(Label::Exit);
        self.w().br_if(depth);
    }

    // ---- calls ----

    /// Brings everything into memory, and the address to call, which is pushed, into the instruction pointer.
    fn before_call(&mut self, number: usize, target: impl Fn(&mut Self)) {
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
        self.open_if(None);
        self.w().i32_const(GO_ON as i32).return_();
        self.close();
    }

    fn pushes_depth(&mut self) {
        self.w().local_get(local::DEPTH).i32_const(1).i32_sub();
    }

    fn call_direct(&mut self, address: u32) {
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
    fn push_cell(&mut self, offset: impl Fn(&mut Self)) {
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
        self.open_if(None);
        self.w().i32_const(GO_ON as i32).return_();
        self.close();
        self.pushes_depth();
        let slot = self.at(4, 2);
        self.w().local_get(local::SCRATCH).i32_load(slot).call_indirect(0, crate::module::REGION_TYPE);
    }

    /// With what a call returned on the stack: goes on behind it if that is where the callee returned to.
    fn after_call(&mut self, number: usize, target: Target) {
        let block = &self.region.nodes[number].found.block;
        let behind = block.end() as u32;
        let rip = self.rip_at();
        self.w().local_tee(local::SCRATCH);
        self.open_if(None);
        self.w().local_get(local::SCRATCH).return_();
        self.close();
        self.w().i32_const(0).i32_load(rip).i32_const(behind as i32).i32_ne();
        self.open_if(None);
        self.w().i32_const(GO_ON as i32).return_();
        self.close();
        self.flags = FlagState::Static(crate::lazy::Kind::MEMORY);
        self.reload_fuel();
        self.reload();
        self.edge(number, target);
    }

    /// Returns to whoever called, who compares; where nobody did, the table may know.
    fn return_from(&mut self, number: usize) {
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
    fn tail_call_looked_up(&mut self) {
        self.look_up();
        self.open_if(None);
        let slot = self.at(4, 2);
        self.w().local_get(local::DEPTH).local_get(local::SCRATCH).i32_load(slot);
        self.w().return_call_indirect(0, crate::module::REGION_TYPE);
        self.close();
    }

    // ---- exits ----

    fn exit_code(&mut self) {
        self.spill();
        self.store_stack();
        self.sync_dynamic_flags();
        self.spill_fuel();
        self.w().local_get(local::HOW).i32_eqz();
        self.open_if(None);
        let (exit, region) = (self.state_at(state_offset::EXIT), self.state_at(state_offset::REGION));
        let id = self.id as i32;
        self.w().i32_const(0).local_get(local::WHERE).i32_store(exit);
        self.w().i32_const(0).i32_const(id).i32_store(region);
        self.w().i32_const(STOPPED as i32).return_();
        self.close();
        let rip = self.rip_at();
        self.w().i32_const(0).local_get(local::WHERE).i32_store(rip);
        if self.config.tail_calls {
            self.w().local_get(local::FUEL).i64_const(0).i64_gt_s();
            self.open_if(None);
            self.w().local_get(local::HOW).i32_const(LINK).i32_ge_s();
            self.open_if(None);
            self.w().local_get(local::DEPTH);
            self.push_cell(|e| {
                e.w().local_get(local::HOW).i32_const(LINK).i32_sub().i32_const(2).i32_shl();
            });
            self.w().return_call_indirect(0, crate::module::REGION_TYPE);
            self.close();
            self.w().local_get(local::HOW).i32_const(LOOK_UP).i32_eq();
            self.open_if(None);
            self.tail_call_looked_up();
            self.close();
            self.close();
        }
        self.w().i32_const(GO_ON as i32);
    }
}

/// A hash of addresses that few of a set share.
struct Hash {
    factor: u32,
    shift: u32,
    /// For each value, the indices of the addresses that have it.
    places: Vec<Vec<usize>>,
}

impl Hash {
    fn of(addresses: &[u32]) -> Hash {
        let shift = 32 - (2 * addresses.len()).next_power_of_two().ilog2().clamp(1, 12);
        let mut factor = 0x9e37_79b1_u32;
        let mut best: Option<(usize, Hash)> = None;
        for _ in 0..60 {
            let mut places = vec![Vec::new(); 1 << (32 - shift)];
            for (index, address) in addresses.iter().enumerate() {
                places[(address.wrapping_mul(factor) >> shift) as usize].push(index);
            }
            let shared = places.iter().map(|place| place.len().saturating_sub(1)).sum();
            if best.as_ref().is_none_or(|(fewest, _)| shared < *fewest) {
                best = Some((shared, Hash { factor, shift, places }));
            }
            if shared == 0 {
                break;
            }
            factor = factor.wrapping_mul(0x915f_77f5).wrapping_add(2);
        }
        best.map(|(_, hash)| hash).expect("a factor was tried")
    }
}
