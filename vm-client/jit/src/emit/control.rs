//! The shape of the function: blocks, edges, calls, exits.
//!
//! Every exit goes through one piece of code at the end of the function, with two locals set: `HOW` is one of the constants
//! below, or [`LINK`] plus the number of a cell; `WHERE` is the address to go on at, or the number of the exit.

use vm_cpu::ir::{ExitReason, Insn, Op};
use wasm_encoder::BlockType;

use super::{Emitter, GO_ON, Label, Place, STOPPED, Why, local, state_offset};
use crate::flow::FlagState;
use crate::plan::{End, Otherwise, Target};

/// Stops with [`STOPPED`]; `WHERE` is the number of the exit. What the local is at the start.
const STOP: i32 = 0;
/// Goes on at `WHERE` by way of whoever called.
const LEAVE: i32 = 1;
/// Goes on at `WHERE`, in another function if the table knows one.
pub(super) const LOOK_UP: i32 = -1;
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
    pub(super) fn depth_of(&self, label: Label) -> u32 {
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
        self.begin_floats(number, block.ops.iter().any(super::dirty::is_float));
        self.accesses = self.accesses_of(number);
        self.near = self.near_at[number];
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
                    self.end_floats(number);
                    return self.end_of_block(number, op);
                }
                self.access = self.accesses.get(at);
                self.operation(op);
                self.near = super::near::after(op, self.near, self.stack_registers);
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
            self.open_unlikely_if();
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
                // What is not in the region was hardly ever run.
                match (taken, behind) {
                    (Target::Out(_), Target::Node(_)) => self.hint(false),
                    (Target::Node(_), Target::Out(_)) => self.hint(true),
                    _ => {}
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
                self.call_where(number, target);
            }
            End::Return => {
                self.get32(op.a);
                self.w().local_set(local::WHERE);
                self.return_from(number);
            }
            End::Expect(address, likely, otherwise) => {
                self.get32(op.a);
                self.w().local_tee(local::WHERE).i32_const(address as i32).i32_eq();
                self.hint(true);
                self.open_if(None);
                let flags = self.flags;
                self.edge(number, likely);
                self.close();
                self.flags = flags;
                match otherwise {
                    Otherwise::Jump => {
                        self.w().i32_const(LOOK_UP).local_set(local::HOW);
                        self.leave_by_exit();
                    }
                    Otherwise::Call(behind) => self.call_where(number, behind),
                }
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
        self.open_unlikely_if();
        address(self);
        self.w().local_set(local::WHERE).i32_const(LEAVE).local_set(local::HOW);
        self.leave_by_exit();
        self.close();
    }

    /// Goes along an edge.
    pub(super) fn edge(&mut self, from: usize, target: Target) {
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
            self.w().local_get(local::FUEL).i64_const(0).i64_gt_s();
            self.br_if(depth, true);
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

    /// Goes on at an address outside.
    fn link(&mut self, address: u32) {
        let cell = self.numbers.cell(address);
        let how = cell.map_or(LEAVE, |cell| LINK + cell as i32);
        self.const32(address);
        self.w().local_set(local::WHERE).i32_const(how).local_set(local::HOW);
        self.leave_by_exit();
    }

    /// Goes to the exit code.
    pub(super) fn leave_by_exit(&mut self) {
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
            self.open_unlikely_if();
            self.stop(why);
            return self.close();
        }
        // Setting these does no harm where the function goes on.
        self.w().i32_const(exit as i32).local_set(local::WHERE);
        self.kind_to_local();
        let depth = self.depth_of(Label::Exit);
        self.br_if(depth, false);
    }

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
