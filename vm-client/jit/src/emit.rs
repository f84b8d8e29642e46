//! Emits one function for a region.
//!
//! Guest registers are locals for the whole function. They are loaded at the start, stored before anything that looks at
//! [`vm_cpu::Core`] and at every exit; all exits share one piece of code at the end of the function. A function takes how
//! deep calls may still nest and returns [`GO_ON`] (`Core::rip` says where) or [`STOPPED`] (the state says at which
//! [`Exit`]).
//!
//! `ops` has the operations, `flags` the conditions, `memory` loads and stores, `control` edges, calls and exits, `foreign`
//! assists and what the interpreter does for us, `vector`, `composed`,
//! `float`, `checks` and `conversion` SSE, `string` what moves blocks, `stack`, `x87` and `x87_fast` the x87.

mod checks;
mod composed;
mod control;
mod conversion;
mod flags;
mod float;
mod foreign;
mod memory;
mod ops;
mod stack;
mod string;
mod vector;
mod wide;
mod window;
mod x87;
mod x87_fast;

use std::collections::HashMap;
use std::mem::offset_of;

use vm_cpu::assist::direct::{self, Direct};
use vm_cpu::assist::{self, AssistId, Effects};
use vm_cpu::flags::Flags;
use vm_cpu::ir::{Code, Form, Op, Size, Slot, VSlot, each_read, written_slot, written_vector};
use vm_cpu::{Core, Exception, reg};
use wasm_encoder::{InstructionSink, MemArg, ValType};

use crate::flow::{FlagState, flag_states, is_division, is_wide_multiplication};
use crate::plan::{End, Region, Target};
use crate::shape::Shape;
use crate::state::State;
use checks::HostFloat;
use stack::Stack;

pub(crate) use self::control::INDEX_BYTES;
pub(crate) use self::window::MOST_BYTES;

/// What a function returns when the way on is in `Core::rip`.
pub const GO_ON: u32 = 0;
/// What a function returns when the state says at which exit it stopped.
pub const STOPPED: u32 = 1;

/// Where generated code finds things, and what it may use.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The address of the [`Core`].
    pub core: u32,
    /// The address of the [`State`].
    pub state: u32,
    /// The address of the first frame.
    pub first_frame: u32,
    /// Whether tail calls may be used.
    pub tail_calls: bool,
    /// Whether x87 arithmetic is done in double precision.
    pub x87_fast: bool,
    /// The functions for x87 arithmetic.
    pub x87: Functions,
    /// Which registers point into the stack, as far as is known.
    pub stack: StackRegisters,
}

/// Where the functions of [`direct`] are.
#[derive(Clone, Copy, Debug)]
pub struct Functions {
    /// Their places in the table, in the order of [`Direct::ALL`].
    pub slots: [u32; Direct::ALL.len()],
    /// The address of the word beside results.
    pub side: u32,
}

impl Functions {
    /// Those of this program, whose slots of the table begin at `first`.
    pub fn from(first: u32) -> Functions {
        Functions { slots: std::array::from_fn(|i| first + i as u32), side: direct::side_address() as u32 }
    }

    /// Their numbers in this program's own table.
    pub fn of_program() -> [u32; Direct::ALL.len()] {
        Direct::ALL.map(|function| function.number() as u32)
    }
}

/// Which registers point into the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackRegisters {
    /// None, for what that is worth: the accesses of the region do not fit a window.
    Unknown,
    /// RSP.
    Pointer,
    /// RSP and RBP.
    Frame,
}

/// What a stop at some place of a region means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// The address of the instruction.
    pub rip: u32,
    /// The address behind it.
    pub next: u32,
    /// Instructions counted that were not finished.
    pub refund: u32,
    /// Why.
    pub why: Why,
}

/// Why a function stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The runtime refused a request; it knows why. If `stores_back`, a failed load counts as a store.
    Refused {
        /// See above.
        stores_back: bool,
    },
    /// An exception that the code found itself.
    Raise(Exception),
    /// An exit operation, by the number of its reason.
    Leave(u8),
}

/// Hands out the numbers that generated code names things by.
pub trait Numbers {
    /// The number of an assist or operation to be called with.
    fn operation(&mut self, op: Op) -> u32;
    /// The number of the cell with the function at an address, or nothing when there are no more.
    fn cell(&mut self, address: u32) -> Option<u32>;
}

/// A function and what it needs.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// The address of the guest's code it begins with.
    pub start: u32,
    /// Types of its locals behind the parameter.
    pub locals: Vec<ValType>,
    /// Its instructions, with the final `end`.
    pub code: Vec<u8>,
    /// Where its own index is to be put, in [`INDEX_BYTES`] bytes.
    pub calls_itself: Vec<usize>,
    /// Its exits, by number.
    pub exits: Vec<Exit>,
    /// If it wants those of [`crate::x87`] in its module, the functions behind them.
    pub x87: Option<Functions>,
}

/// Emits the function of a region, which gets the number `id`.
pub fn function(region: &Region, shape: &Shape, id: u32, config: &Config, numbers: &mut dyn Numbers) -> Function {
    let states = flag_states(region, shape);
    let mut e = Emitter::new(region, shape, id, config, numbers, states);
    e.region();
    let x87 = e.stack.used.then_some(config.x87);
    Function {
        start: region.start(),
        locals: e.locals,
        code: e.code,
        calls_itself: e.calls_itself,
        exits: e.exits,
        x87,
    }
}

/// Locals every function has, behind the parameter.
mod local {
    pub(super) const DEPTH: u32 = 0;
    pub(super) const FUEL: u32 = 1;
    pub(super) const FLAT: u32 = 2;
    /// The address of an access.
    pub(super) const ADDRESS: u32 = 3;
    /// The word of the flat table, or where the data is.
    pub(super) const WORD: u32 = 4;
    pub(super) const FLAG_KIND: u32 = 5;
    pub(super) const FLAG_A: u32 = 6;
    pub(super) const FLAG_B: u32 = 7;
    pub(super) const FLAG_C: u32 = 8;
    pub(super) const FLAG_D: u32 = 9;
    /// Where an exit leads, or its number.
    pub(super) const WHERE: u32 = 10;
    /// How: see `control`.
    pub(super) const HOW: u32 = 11;
    pub(super) const SCRATCH: u32 = 12;
    pub(super) const SCRATCH2: u32 = 13;
    pub(super) const FIRST_FREE: u32 = 14;
}

/// What a construct that is open in the emitted code is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    /// The block whose end is the exit code.
    Exit,
    /// The loop headed by a node.
    Loop(usize),
    /// The block whose end is where a node begins.
    Before(usize),
    /// Anything nobody branches to.
    Plain,
}

/// The instruction under way.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    rip: u32,
    next: u32,
    /// Instructions of the block that were counted and not finished, this one included.
    left: u32,
}

struct Emitter<'a> {
    region: &'a Region,
    shape: &'a Shape,
    id: u32,
    config: &'a Config,
    numbers: &'a mut dyn Numbers,
    states: Vec<FlagState>,
    locals: Vec<ValType>,
    code: Vec<u8>,
    calls_itself: Vec<usize>,
    exits: Vec<Exit>,
    labels: Vec<Label>,
    /// The local of each general register and segment base that the region uses.
    registers: [Option<u32>; 32],
    /// Which general registers the region writes.
    written: u32,
    /// Temporaries: their local by slot and type, and the type each has now.
    temp_locals: HashMap<(u8, ValType), u32>,
    temps: HashMap<u8, ValType>,
    /// The local of each vector, the SSE registers the region uses and those it writes.
    vectors: [Option<u32>; 32],
    vectors_used: u32,
    vectors_written: u32,
    /// What is known of the lanes of vectors, see `float`.
    plain: [u8; 32],
    /// What says whether the host's floating point will do, where there is any.
    host_float: Option<HostFloat>,
    stack: Stack,
    flags: FlagState,
    /// What may differ from memory at the end of each node.
    dirty: Vec<Dirty>,
    /// The locals of the window: its first address, bytes, distance.
    window: Option<[u32; 3]>,
    /// Whether anything looks into the flat table.
    wants_table: bool,
    /// Whether RBP points into the stack.
    framed: bool,
    /// The accesses of the stack of the block under way, and the locals with the places of their groups.
    accesses: window::Accesses,
    places: Vec<u32>,
    /// The access of the stack that the operation under way is, until it is emitted.
    access: Option<window::Access>,
    place: Place,
    /// The operations of the instruction under way that follow the current one.
    rest: &'a [Op],
    /// An assist of this instruction may have told to leave after it.
    may_leave: bool,
}

impl<'a> Emitter<'a> {
    fn new(
        region: &'a Region,
        shape: &'a Shape,
        id: u32,
        config: &'a Config,
        numbers: &'a mut dyn Numbers,
        states: Vec<FlagState>,
    ) -> Self {
        use ValType::{I32, I64};
        let mut locals = vec![I64];
        locals.extend([I32; (local::FIRST_FREE - 2) as usize]);
        let mut e = Emitter {
            region,
            shape,
            id,
            config,
            numbers,
            states,
            locals,
            code: Vec::new(),
            calls_itself: Vec::new(),
            exits: Vec::new(),
            labels: Vec::new(),
            registers: [None; 32],
            written: 0,
            temp_locals: HashMap::new(),
            temps: HashMap::new(),
            vectors: [None; 32],
            vectors_used: 0,
            vectors_written: 0,
            plain: [0; 32],
            host_float: None,
            stack: Stack::default(),
            flags: FlagState::Dynamic,
            dirty: Vec::new(),
            window: None,
            wants_table: true,
            framed: match window::frames(region) {
                window::Frames::Made => true,
                window::Frames::Kept => config.stack == StackRegisters::Frame,
                window::Frames::None => false,
            },
            accesses: window::Accesses::default(),
            places: Vec::new(),
            access: None,
            place: Place::default(),
            rest: &[],
            may_leave: false,
        };
        e.find_registers();
        e.find_dirty();
        let accesses = shape.order.iter().map(|&node| (node, e.accesses_of(node))).collect::<Vec<_>>();
        let ops = |node: usize| region.nodes[node].found.block.ops.iter().enumerate();
        e.wants_table = accesses.iter().any(|(node, accesses)| ops(*node).any(|(at, op)| accesses.wants_table(at, op)));
        if accesses.iter().any(|(_, accesses)| accesses.wants_window()) {
            e.use_window();
        }
        e
    }

    fn accesses_of(&self, node: usize) -> window::Accesses {
        let window = self.config.stack != StackRegisters::Unknown;
        window::Accesses::of(&self.region.nodes[node].found.block, self.framed, window)
    }

    /// Finds what may differ from memory where.
    fn find_dirty(&mut self) {
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
    fn find_registers(&mut self) {
        let mut used = 0u32;
        let (mut floats, mut x87) = (false, false);
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
            self.host_float = Some(HostFloat {
                rounds: self.new_local(ValType::I32),
                single_limit: self.new_local(ValType::I32),
                double_limit: self.new_local(ValType::I32),
            });
        }
    }

    fn new_local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        self.locals.len() as u32
    }

    fn w(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    fn const32(&mut self, value: u32) {
        self.w().i32_const(value as i32);
    }

    // ---- memory of our own ----

    fn at(&self, address: u32, align: u32) -> MemArg {
        MemArg { offset: u64::from(address), align, memory_index: 0 }
    }

    fn state_at(&self, offset: usize) -> MemArg {
        self.at(self.config.state + offset as u32, 2)
    }

    fn rip_at(&self) -> MemArg {
        self.at(self.config.core + offset_of!(Core, rip) as u32, 2)
    }

    fn fuel_at(&self) -> MemArg {
        self.at(self.config.core + offset_of!(Core, fuel) as u32, 3)
    }

    fn slot_at(&self, slot: u8) -> MemArg {
        self.at(self.config.core + offset_of!(Core, regs) as u32 + 8 * u32::from(slot), 2)
    }

    /// The flags that arithmetic does not write.
    fn other_flags_at(&self) -> MemArg {
        self.at(self.config.core + (offset_of!(Core, flags) + offset_of!(Flags, rest)) as u32, 2)
    }

    fn mxcsr_at(&self) -> MemArg {
        self.at(self.config.core + offset_of!(Core, mxcsr) as u32, 2)
    }

    fn vector_at(&self, slot: u8) -> MemArg {
        self.at(self.config.core + offset_of!(Core, vec) as u32 + 16 * u32::from(slot & 31), 3)
    }

    /// Loads a word of the state.
    fn load_state(&mut self, offset: usize) {
        let at = self.state_at(offset);
        self.w().i32_const(0).i32_load(at);
    }

    // ---- slots ----

    /// Pushes the low 32 bits of a slot.
    fn get32(&mut self, slot: u8) {
        if slot == Slot::ZERO.0 {
            self.w().i32_const(0);
        } else if let Some(local) = self.register(slot) {
            self.w().local_get(local);
        } else {
            match self.temps.get(&slot).copied() {
                Some(ValType::I64) => {
                    let local = self.temp_local(slot, ValType::I64);
                    self.w().local_get(local).i32_wrap_i64();
                }
                _ => {
                    let local = self.temp_local(slot, ValType::I32);
                    self.w().local_get(local);
                }
            }
        }
    }

    /// Pushes all 64 bits of a slot.
    fn get64(&mut self, slot: u8) {
        if slot == Slot::ZERO.0 {
            self.w().i64_const(0);
        } else if self.temps.get(&slot) == Some(&ValType::I64) {
            let local = self.temp_local(slot, ValType::I64);
            self.w().local_get(local);
        } else {
            self.get32(slot);
            self.w().i64_extend_i32_u();
        }
    }

    fn register(&self, slot: u8) -> Option<u32> {
        self.registers.get(usize::from(slot)).copied().flatten()
    }

    fn temp_local(&mut self, slot: u8, ty: ValType) -> u32 {
        if let Some(&local) = self.temp_locals.get(&(slot, ty)) {
            return local;
        }
        let local = self.new_local(ty);
        self.temp_locals.insert((slot, ty), local);
        local
    }

    /// Pops a 32-bit value into a slot, all of it.
    fn set32(&mut self, slot: u8) {
        let local = match self.register(slot) {
            Some(local) => local,
            None => {
                self.temps.insert(slot, ValType::I32);
                self.temp_local(slot, ValType::I32)
            }
        };
        self.w().local_set(local);
    }

    /// Pops a 64-bit value into a slot.
    fn set64(&mut self, slot: u8) {
        if let Some(local) = self.register(slot) {
            self.w().i32_wrap_i64().local_set(local);
        } else {
            self.temps.insert(slot, ValType::I64);
            let local = self.temp_local(slot, ValType::I64);
            self.w().local_set(local);
        }
    }

    /// Pops a 32-bit value into the low bits of a slot, as many as the size says.
    fn put(&mut self, slot: u8, size: Size) {
        let mask = match size {
            Size::B8 => 0xff,
            Size::B16 => 0xffff,
            Size::B32 | Size::B64 => return self.set32(slot),
        };
        match self.register(slot) {
            Some(local) => {
                self.w()
                    .i32_const(mask)
                    .i32_and()
                    .local_get(local)
                    .i32_const(!mask)
                    .i32_and()
                    .i32_or()
                    .local_set(local);
            }
            // Nobody looks above the size of a temporary.
            None => {
                self.w().i32_const(mask).i32_and();
                self.set32(slot);
            }
        }
    }

    /// Pushes the second operand of an operation, 32 bits.
    fn second32(&mut self, op: &Op) {
        if op.b == Slot::ZERO.0 {
            self.w().i32_const(op.imm as i32);
            return;
        }
        self.get32(op.b);
        if op.imm as i32 != 0 {
            self.w().i32_const(op.imm as i32).i32_add();
        }
    }

    /// Pushes the second operand, 64 bits.
    fn second64(&mut self, op: &Op) {
        if op.b == Slot::ZERO.0 {
            self.w().i64_const(op.imm);
            return;
        }
        self.get64(op.b);
        if op.imm != 0 {
            self.w().i64_const(op.imm).i64_add();
        }
    }

    // ---- what memory has of the registers ----

    /// Stores one register.
    fn spill_one(&mut self, slot: u8) {
        if let Some(local) = self.register(slot) {
            let at = self.slot_at(slot);
            self.w().i32_const(0).local_get(local).i32_store(at);
        }
    }

    /// Stores the registers that may have changed.
    fn spill(&mut self) {
        self.spill_vectors();
        self.spill_general();
    }

    /// Stores the registers that may have changed when a node ends.
    fn spill_at_end(&mut self, node: usize) {
        let Dirty { general, vectors } = self.dirty[node];
        for slot in (0..8).filter(|slot| vectors >> slot & 1 != 0) {
            self.vector_to_memory(VSlot(slot));
        }
        for slot in (0..8).filter(|slot| general >> slot & 1 != 0) {
            self.spill_one(slot);
        }
    }

    /// Stores the general registers that may have changed.
    fn spill_general(&mut self) {
        for slot in 0..8 {
            if self.written >> slot & 1 != 0 {
                self.spill_one(slot);
            }
        }
    }

    /// Loads all registers.
    fn reload(&mut self) {
        self.reload_vectors();
        self.reload_general();
    }

    /// Loads the general registers.
    fn reload_general(&mut self) {
        for slot in 0..32 {
            if let Some(local) = self.register(slot) {
                let at = self.slot_at(slot);
                self.w().i32_const(0).i32_load(at).local_set(local);
            }
        }
    }

    fn spill_fuel(&mut self) {
        let at = self.fuel_at();
        self.w().i32_const(0).local_get(local::FUEL).i64_store(at);
    }

    fn reload_fuel(&mut self) {
        let at = self.fuel_at();
        self.w().i32_const(0).i64_load(at).local_set(local::FUEL);
    }

    // ---- requests ----

    /// Calls the runtime with a constant first argument; the others are on the stack already.
    fn request(&mut self) {
        self.w().call(crate::module::REQUEST);
    }

    // ---- exits ----

    /// The number of an exit here.
    fn exit_here(&mut self, why: Why) -> u32 {
        let exit = Exit { rip: self.place.rip, next: self.place.next, refund: self.place.left, why };
        if let Some(known) = self.exits.iter().position(|e| *e == exit) {
            return known as u32;
        }
        self.exits.push(exit);
        self.exits.len() as u32 - 1
    }

    /// Whether the effects of an assist include these.
    fn assist_does(op: &Op, effects: Effects) -> bool {
        assist::row(op.assist_number()).effects.contains(effects)
    }
}

/// Registers that may differ from what memory has of them, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Dirty {
    general: u32,
    vectors: u32,
}

impl Dirty {
    fn or(self, other: Dirty) -> Dirty {
        Dirty { general: self.general | other.general, vectors: self.vectors | other.vectors }
    }

    /// What operations write.
    fn by(ops: &[Op]) -> Dirty {
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
fn each_vector(op: &Op, mut f: impl FnMut(u8)) {
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

/// Whether an operation is floating-point arithmetic of SSE.
fn is_float(op: &Op) -> bool {
    if op.code != Code::Assist {
        return false;
    }
    let row = assist::row(op.assist_number());
    row.effects.contains(Effects::TRAPS) && row.operands.contains('v')
}

/// Offsets in the state.
mod state_offset {
    use super::{State, offset_of};
    use crate::lazy::Record;

    pub(super) const RECORD: usize = offset_of!(State, record);
    pub(super) const ARGS: usize = offset_of!(State, args);
    pub(super) const EXIT: usize = offset_of!(State, exit);
    pub(super) const REGION: usize = offset_of!(State, region);
    pub(super) const CELLS: usize = offset_of!(State, cells);
    pub(super) const LOOKUP: usize = offset_of!(State, lookup);
    pub(super) const BOUNCE: usize = offset_of!(State, bounce);
    pub(super) const X87: usize = offset_of!(State, x87);
    pub(super) const WORDS: [usize; 5] = [
        offset_of!(Record, kind),
        offset_of!(Record, a),
        offset_of!(Record, b),
        offset_of!(Record, c),
        offset_of!(Record, d),
    ];
}
