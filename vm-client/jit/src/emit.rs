//! Emits one function for a region.
//!
//! Guest registers are locals for the whole function. They are loaded at the start, stored before anything that looks at
//! [`vm_cpu::Core`] and at every exit; all exits share one piece of code at the end of the function. A function takes how
//! deep calls may still nest and returns [`GO_ON`] (`Core::rip` says where) or [`STOPPED`] (the state says at which
//! [`Exit`]).
//!
//! `slots` has registers and temporaries, `dirty` which of them memory has to get, `ops` and `shift` the operations, `flags` and
//! `condition` the conditions, `memory`, `group`, `window` and `near` loads and stores, `control` and `dispatch` edges and exits,
//! `calls` calls, `foreign` assists and what the interpreter does for us, `vector`, `shuffle`, `composed`, `float`, `checks`
//! and `conversion` SSE, `string` what moves blocks, `mxcsr` what the host's floating point is good for, `stack`, `x87`,
//! `x87_move` and `x87_fast` the x87.

mod calls;
mod checks;
mod composed;
mod condition;
mod control;
mod conversion;
mod dirty;
mod dispatch;
mod flags;
mod float;
mod foreign;
mod group;
mod memory;
mod mxcsr;
mod near;
mod ops;
mod shift;
mod shuffle;
mod slots;
mod stack;
mod string;
mod vector;
mod wide;
mod window;
mod x87;
mod x87_fast;
mod x87_move;

use std::collections::HashMap;
use std::mem::offset_of;

use vm_cpu::Exception;
use vm_cpu::assist::direct::{self, Direct};
use vm_cpu::assist::{self, Effects};
use vm_cpu::ir::Op;
use wasm_encoder::ValType;

use crate::counts::Way;
use crate::flow::{FlagState, flag_states};
use crate::plan::Region;
use crate::shape::Shape;
use crate::state::State;
use dirty::Dirty;
use mxcsr::HostFloat;
use stack::Stack;

pub(crate) use self::calls::INDEX_BYTES;
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
    /// Other registers that point into the stack when the region is entered, a bit for each.
    pub near: u8,
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
    /// Where the counter of an instruction is that finds its bytes in some way, see [`crate::counts::Counts::place`]; nothing unless accesses
    /// are counted.
    fn counter(&mut self, _rip: u32, _way: Way, _failures: bool) -> Option<u32> {
        None
    }
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
    /// Branches of which one way is unlikely: where they are in the code, and whether they are usually taken.
    pub hints: Vec<(usize, bool)>,
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
        hints: e.hints,
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
    hints: Vec<(usize, bool)>,
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
    floats: mxcsr::Floats,
    stack: Stack,
    flags: FlagState,
    /// What may differ from memory at the end of each node.
    dirty: Vec<Dirty>,
    /// The locals of the window: its first address, bytes, distance.
    window: Option<[u32; 3]>,
    /// Registers with which accesses are likely to be in the window, and whether the access under way is.
    near: u8,
    is_near: bool,
    /// The same registers at the start of each node, and those that always are.
    near_at: Vec<u8>,
    stack_registers: u8,
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
            hints: Vec::new(),
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
            floats: mxcsr::Floats::default(),
            stack: Stack::default(),
            flags: FlagState::Dynamic,
            dirty: Vec::new(),
            window: None,
            near: 0,
            near_at: vec![0; region.nodes.len()],
            stack_registers: 0,
            is_near: false,
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
        if config.stack != StackRegisters::Unknown {
            e.stack_registers = near::stack_registers(e.framed);
            e.near_at = near::at_starts(region, shape, config.near, e.stack_registers);
        }
        let near = shape.order.iter().any(|&node| e.has_near(node));
        if near || accesses.iter().any(|(_, accesses)| accesses.wants_window()) {
            e.use_window();
        }
        e
    }

    fn accesses_of(&self, node: usize) -> window::Accesses {
        let window = self.config.stack != StackRegisters::Unknown;
        window::Accesses::of(&self.region.nodes[node].found.block, self.framed, window)
    }

    /// Calls the runtime with a constant first argument; the others are on the stack already.
    fn request(&mut self) {
        self.w().call(crate::module::REQUEST);
    }

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
