//! The interpreter: an [`Engine`] that runs cached blocks of IR.
//!
//! [`exec`] runs operations until something has to be decided, [`cache`] keeps blocks and the ways between them; here is
//! what is decided. Nothing is allocated while cached blocks run.

mod cache;
mod exec;
mod fuse;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use vm_mem::{Access, FrameId, Mmu, PAGE_SIZE, PageFault, VirtAddr};

use self::cache::{BlockId, Cache, Key, Stamps};
use self::exec::Stop;
use crate::core::{Core, Trap};
use crate::decode::{self, Context, Truncated, Unknown};
use crate::ir::{Block, Code, ExitReason, Form, Op, Segments, Slot};
use crate::{Cpu, DebugCause, Engine, Exception, Exit, Gate, Mode, Segment};

/// Runs guest code by interpreting cached blocks of IR.
pub struct Interpreter {
    core: Box<Core>,
    cache: Cache,
    unknown: Unknown,
    /// Frames that lost their last block while no MMU was at hand.
    emptied: Vec<FrameId>,
    /// What a code generator beside it has to know.
    beside: Option<Beside>,
}

/// What the interpreter keeps for a code generator that runs beside it.
#[derive(Default)]
struct Beside {
    /// Frames the generator has code from, which therefore stay marked.
    kept: HashSet<FrameId>,
    /// Code that changed, for the generator to take.
    changed: Vec<(FrameId, Range<u16>)>,
    /// Offsets in frames of blocks that are hot after few times.
    early: HashMap<FrameId, Vec<u16>>,
    /// How often they are reached before that.
    early_heat: u32,
}

/// Why [`Interpreter::resume`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The engine is to be left.
    Left(Exit),
    /// `Core::rip` is at a block that was reached often enough to be compiled.
    Hot,
}

/// What [`Interpreter::one`] made of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Well,
    /// It failed.
    Trap(Trap),
    /// It is done and changed bytes of a frame that holds code.
    CodeWritten,
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Interpreter {
    fn run(&mut self, cpu: &mut Cpu, mmu: &mut Mmu, fuel: u32) -> Exit {
        self.enter(cpu, fuel);
        let exit = loop {
            // Without a code generator nothing gets hot.
            if let Pause::Left(exit) = self.resume(mmu) {
                break exit;
            }
        };
        self.leave(cpu, fuel);
        exit
    }

    fn forget(&mut self, frame: FrameId, bytes: Range<u16>) {
        if let Some(beside) = &mut self.beside {
            beside.changed.push((frame, bytes.clone()));
        }
        if self.cache.forget(frame, bytes) && self.cache.is_emptied(frame) {
            self.emptied.push(frame);
        }
    }

    fn unknown_instructions(&self) -> Vec<(String, u64)> {
        self.unknown.iter().map(|(name, count)| (name.clone(), *count)).collect()
    }
}

/// What a block was made for, besides its address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Flavour {
    long: bool,
    segments: Segments,
    /// Blocks of one instruction, not linked, for the trap flag, the debug registers and local code segments.
    stepping: bool,
    /// Code runs in a local segment, and whether that is one of 32 bits.
    local: Option<bool>,
}

impl Flavour {
    fn of(core: &Core) -> Flavour {
        let local = core.local_code().map(|own| own.is_big());
        Flavour {
            long: core.mode == Mode::X86_64,
            segments: core.segments(),
            stepping: core.flags.tf() || core.debug.armed() || local.is_some(),
            local,
        }
    }

    fn number(self) -> u16 {
        u16::from(self.long)
            | (u16::from(self.segments.flat) << 1)
            | (u16::from(self.stepping) << 2)
            | (u16::from(self.segments.null) << 3)
            | self.local.map_or(0, |big| 1 << 9 | u16::from(big) << 10)
    }
}

/// Where to go on inside a block.
enum Resume {
    /// In the operations of all blocks.
    Block(BlockId, usize),
    /// In a copy of the rest of one instruction, whose first operation is at the second number in the block.
    Tail(BlockId, usize, Vec<Op>, usize),
}

impl Interpreter {
    /// An interpreter with an empty cache.
    pub fn new() -> Interpreter {
        Interpreter {
            core: Box::new(Core::new()),
            cache: Cache::new(),
            unknown: Unknown::new(),
            emptied: Vec::new(),
            beside: None,
        }
    }

    /// How many blocks and operations are cached.
    pub fn cached(&self) -> (usize, usize) {
        (self.cache.blocks.len(), self.cache.ops.len())
    }

    /// Prepares for a code generator: new blocks get hot after so many times.
    pub fn set_threshold(&mut self, times: u32) {
        self.beside.get_or_insert_default();
        self.cache.heat = times.min(cache::COLD - 1);
    }

    /// Has the blocks at these offsets of a frame, in order, get hot after so many times at most; no others of it.
    pub fn expect_hot(&mut self, frame: FrameId, offsets: Vec<u16>, times: u32) {
        let Some(beside) = &mut self.beside else { return };
        beside.early_heat = times.min(self.cache.heat);
        if offsets.is_empty() {
            beside.early.remove(&frame);
        } else {
            beside.early.insert(frame, offsets);
        }
    }

    /// Takes over a guest thread.
    pub fn enter(&mut self, cpu: &Cpu, fuel: u32) {
        self.core.enter(cpu);
        self.core.fuel = i64::from(fuel);
        self.core.string_fuel = 0;
    }

    /// Gives the thread back, of which `fuel` was the fuel it came with.
    pub fn leave(&mut self, cpu: &mut Cpu, fuel: u32) {
        self.core.leave(cpu);
        let finished = i64::from(fuel) - self.core.fuel - self.core.string_fuel;
        cpu.retired += u64::try_from(finished).unwrap_or(0);
    }

    /// The working state.
    pub fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Instructions met that are not known.
    pub fn unknown(&mut self) -> &mut Unknown {
        &mut self.unknown
    }

    /// Takes what code changed or lost its frame since this was asked last.
    pub fn take_changed(&mut self, mmu: &mut Mmu) -> Vec<(FrameId, Range<u16>)> {
        self.take_code_writes(mmu);
        self.beside.as_mut().map(|beside| std::mem::take(&mut beside.changed)).unwrap_or_default()
    }

    /// Whether [`Interpreter::take_changed`] has something to tell.
    pub fn has_changed(&self, mmu: &Mmu) -> bool {
        mmu.has_code_writes() || self.beside.as_ref().is_some_and(|beside| !beside.changed.is_empty())
    }

    /// Notes that the code generator has code from a frame, or no longer.
    pub fn keep(&mut self, mmu: &mut Mmu, frame: FrameId, kept: bool) {
        let Some(beside) = &mut self.beside else { return };
        if kept {
            beside.kept.insert(frame);
        } else if beside.kept.remove(&frame) && !self.cache.has_code(frame) {
            mmu.clear_code(frame);
        }
    }

    /// The number of what blocks take for granted at present.
    pub fn flavour(&self) -> u16 {
        Flavour::of(&self.core).number()
    }

    /// Whether the block at this address of this frame is cached and was reached often enough.
    pub fn is_hot(&self, frame: FrameId, start: u64) -> bool {
        let id = self.cache.find(Key { frame, start, flavour: self.flavour() });
        id.is_some_and(|id| self.cache.blocks[id as usize].is_used_up())
    }

    /// How often the block at this address of this frame was reached, as far as that is known; nothing if it never was.
    pub fn reached(&self, frame: FrameId, start: u64) -> Option<u32> {
        let id = self.cache.find(Key { frame, start, flavour: self.flavour() })?;
        Some(self.cache.heat.saturating_sub(self.cache.blocks[id as usize].heat()))
    }

    /// The blocks that were reached so often and may get hot yet, with their frames.
    pub fn reached_often(&self, times: u32) -> Vec<(FrameId, u64)> {
        self.cache.warm(self.flavour(), self.cache.heat.saturating_sub(times))
    }

    /// Where the jump through a register that ends at an address led lately, in order and without repetition.
    pub fn jumps_from(&self, behind: u32) -> Vec<u32> {
        let mut targets: Vec<u32> = self.cache.jumps_from(behind).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// Whether blocks were made from any of these bytes.
    pub fn overlaps(&self, frame: FrameId, bytes: &Range<u16>) -> bool {
        self.cache.overlaps(frame, bytes)
    }

    /// Sets how often the block at this address of this frame may be reached before it is hot (again); nothing for never.
    pub fn set_heat(&mut self, frame: FrameId, start: u64, times: Option<u32>) {
        let flavour = Flavour::of(&self.core).number();
        if let Some(id) = self.cache.find(Key { frame, start, flavour }) {
            self.cache.blocks[id as usize].set_heat(times.unwrap_or(cache::COLD));
        }
    }

    /// Runs one operation that is no exit on the working state.
    pub fn one(&mut self, mmu: &mut Mmu, op: Op) -> Done {
        let ops = [op, Op::new(Code::Exit)];
        if self.cache.blocks.is_empty() {
            // The loop wants some block to be in; operations that are no exit do not look at it.
            let key = Key { frame: FrameId(u32::MAX), start: 0, flavour: 0 };
            self.cache.insert(key, None, &decode::refused(0, self.core.mode));
        }
        match exec::run(&mut self.core, mmu, &self.cache, &ops, (0, 0), Stamps::UNLINKED) {
            Stop::Trap { trap, .. } => Done::Trap(trap),
            Stop::CodeWritten { .. } => Done::CodeWritten,
            Stop::Next { .. } | Stop::Exit { .. } => Done::Well,
        }
    }

    /// Runs from `Core::rip` on, one block at least.
    pub fn resume(&mut self, mmu: &mut Mmu) -> Pause {
        match self.drive(mmu) {
            Some(exit) => Pause::Left(exit),
            None => Pause::Hot,
        }
    }

    /// Nothing means that a hot block is reached.
    fn drive(&mut self, mmu: &mut Mmu) -> Option<Exit> {
        for frame in std::mem::take(&mut self.emptied) {
            if !self.cache.has_code(frame) && !self.is_kept(frame) {
                mmu.clear_code(frame);
            }
        }
        let mut link = None;
        let mut first_block = true;
        loop {
            if self.core.fuel <= 0 {
                return Some(Exit::OutOfFuel);
            }
            if mmu.has_code_writes() {
                self.take_code_writes(mmu);
            }
            let flavour = Flavour::of(&self.core);
            if flavour.stepping {
                let hit = self.breakpoints();
                if hit != 0 {
                    return Some(Exit::Exception(Exception::Debug(DebugCause::Breakpoints(hit))));
                }
                // What an instruction that failed has accessed does not count.
                mmu.take_watch_hits();
            }
            let stamps = self.stamps(mmu, flavour);
            let id = match self.find(mmu, flavour, stamps) {
                Ok(id) => id,
                Err(fault) => return Some(Exit::Fault(fault)),
            };
            if self.cache.blocks[id as usize].is_hot() && !first_block && !flavour.stepping {
                return None;
            }
            first_block = false;
            // The flag as it was when the instruction began.
            let stepping = self.core.flags.tf();
            // Making the block may have emptied the cache, so the stamp of the link is compared again.
            let stamps = self.stamps(mmu, flavour);
            if let Some((from, side, then)) = link.take()
                && then == stamps
                && stamps != Stamps::UNLINKED
            {
                self.cache.link(from, side, id, stamps);
            }
            let first = self.cache.blocks[id as usize].first as usize;
            self.core.stack_loaded = false;
            match self.run_from(mmu, Resume::Block(id, first), stamps) {
                Ok(from) => link = from.map(|(id, side)| (id, side, stamps)),
                Err(exit) => return Some(exit),
            }
            if flavour.stepping {
                let hit = mmu.take_watch_hits();
                if hit != 0 {
                    return Some(Exit::Exception(Exception::Debug(DebugCause::Breakpoints(hit))));
                }
                if stepping && !self.core.stack_loaded {
                    return Some(Exit::Exception(Exception::Debug(DebugCause::SingleStep)));
                }
            }
        }
    }

    /// The breakpoints on the next instruction, a bit for each.
    fn breakpoints(&mut self) -> u8 {
        if std::mem::take(&mut self.core.resume) || !self.core.debug.armed() {
            return 0;
        }
        let rip = self.core.rip;
        let here = self.core.debug.enabled().filter(|(_, address, _, kind)| *kind == 0 && *address == rip);
        here.fold(0, |hit, (index, ..)| hit | 1 << index)
    }

    /// Runs blocks until another has to be looked up (`core.rip`; and which block should be linked to it) or the engine
    /// is to be left.
    fn run_from(
        &mut self,
        mmu: &mut Mmu,
        mut resume: Resume,
        mut stamps: Stamps,
    ) -> Result<Option<(BlockId, usize)>, Exit> {
        loop {
            let (ops, at, tail) = match &resume {
                Resume::Block(id, at) => (self.cache.ops.as_slice(), (*id, *at), None),
                Resume::Tail(id, first, ops, at) => (ops.as_slice(), (*id, *at), Some(*first)),
            };
            match exec::run(&mut self.core, mmu, &self.cache, ops, at, stamps) {
                Stop::Next { from } => {
                    if let Some(first) = tail {
                        // Only the instructions up to this one were run, not the whole block.
                        let (index, ..) = self.cache.insn_at(at.0, first - 1);
                        self.core.fuel += i64::from(self.cache.blocks[at.0 as usize].insns) - (index as i64 + 1);
                        return Ok(None);
                    }
                    return Ok(from);
                }
                Stop::Trap { block, op, trap } => {
                    let exit = self.trapped(block, tail.map_or(op, |first| first + op), trap);
                    return exit.map_or(Ok(None), Err);
                }
                Stop::Exit { block, op } => return self.exited(block, ops[op]).map(|()| None),
                Stop::CodeWritten { block, op } => {
                    let dropped = self.take_code_writes(mmu);
                    resume = match resume {
                        Resume::Tail(id, first, ops, _) => Resume::Tail(id, first, ops, op + 1),
                        Resume::Block(..) if !dropped => Resume::Block(block, op + 1),
                        Resume::Block(..) => {
                            // What was linked may be gone, and what follows in this block may be stale: the rest of
                            // the instruction is still done, then everything is looked up anew.
                            stamps = Stamps::UNLINKED;
                            self.rest_of_insn(block, op)
                        }
                    };
                }
            }
        }
    }

    /// Where to go on so that nothing after the instruction of an operation is run.
    fn rest_of_insn(&self, block: BlockId, op: usize) -> Resume {
        let (index, _, rest) = self.cache.insn_at(block, op);
        let mut ops = self.cache.ops[rest.clone()].to_vec();
        if ops.last().is_some_and(|op| op.code.is_exit()) {
            return Resume::Block(block, rest.start);
        }
        let next = self.cache.insn_address(block, index + 1);
        ops.push(Op { imm: next as i64, ..Op::new(Code::Jump) });
        Resume::Tail(block, op + 1, ops, 0)
    }

    /// The exit that a trap comes to, if it does.
    fn trapped(&mut self, block: BlockId, op: usize, trap: Trap) -> Option<Exit> {
        let (index, address, rest) = self.cache.insn_at(block, op);
        self.core.fuel -= index as i64;
        self.core.rip = address;
        Some(match trap {
            Trap::Fault(mut fault) => {
                if self.stores_back(op, rest) {
                    fault.access = Access::Write;
                }
                Exit::Fault(fault)
            }
            Trap::Exception(exception) => Exit::Exception(exception),
            Trap::After(exception) => {
                self.core.fuel -= 1;
                self.core.rip = self.cache.insn_address(block, index + 1);
                Exit::Exception(exception)
            }
            Trap::Transferred(target) => {
                self.core.fuel -= 1;
                self.core.rip = target;
                return None;
            }
        })
    }

    /// Whether an operation is the load of a read-modify-write, whose faults are those of a store.
    fn stores_back(&self, op: usize, rest: Range<usize>) -> bool {
        let place = |op: &Op| match op.code.info().form {
            Form::Load | Form::Store => Some((op.a, op.imm, 0, 0, 0)),
            Form::LoadIndexed | Form::StoreIndexed => Some((op.a, op.imm, op.b, op.c, op.d)),
            _ => None,
        };
        let load = &self.cache.ops[op];
        let Some(loaded) = place(load) else { return false };
        matches!(load.code.info().form, Form::Load | Form::LoadIndexed)
            && self.cache.ops[rest].iter().any(|later| {
                matches!(later.code.info().form, Form::Store | Form::StoreIndexed) && place(later) == Some(loaded)
            })
    }

    fn exited(&mut self, block: BlockId, op: Op) -> Result<(), Exit> {
        let reason = ExitReason::ALL.get(usize::from(op.c)).copied().unwrap_or(ExitReason::InvalidOpcode);
        self.core.fuel -= i64::from(self.cache.blocks[block as usize].insns) - i64::from(reason.is_fault());
        self.core.rip = op.imm as u64;
        exit_for(op.c).map_or(Ok(()), Err)
    }

    /// Drops what was made from bytes that changed; tells whether anything was.
    fn take_code_writes(&mut self, mmu: &mut Mmu) -> bool {
        let mut dropped = false;
        if mmu.has_code_writes() {
            for (frame, bytes) in mmu.take_code_writes() {
                if let Some(beside) = &mut self.beside {
                    beside.changed.push((frame, bytes.clone()));
                }
                dropped |= self.cache.forget(frame, bytes);
                if self.cache.is_emptied(frame) && !self.is_kept(frame) {
                    mmu.clear_code(frame);
                }
            }
        }
        dropped
    }

    fn is_kept(&self, frame: FrameId) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.kept.contains(&frame))
    }

    fn stamps(&self, mmu: &Mmu, flavour: Flavour) -> Stamps {
        if flavour.stepping {
            return Stamps::UNLINKED;
        }
        self.cache.stamps(mmu.code_epoch(), flavour.number())
    }

    /// The block at `core.rip`, made if need be.
    fn find(&mut self, mmu: &mut Mmu, flavour: Flavour, stamps: Stamps) -> Result<BlockId, PageFault> {
        let mut start = self.core.rip;
        if flavour.local.is_some() {
            let base = self.core.get(Slot::segment_base(Segment::Cs as usize).0);
            start = start.wrapping_add(base) & self.core.address_mask | base << 32;
        } else if let Some(id) = self.cache.quick(start, stamps.far) {
            return Ok(id);
        }
        let address = start & self.core.address_mask;
        let key = Key { frame: mmu.code_frame(VirtAddr(address))?, start, flavour: flavour.number() };
        if let Some(id) = self.cache.find(key) {
            let still = match self.cache.blocks[id as usize].second {
                None => true,
                Some(second) => mmu.code_frame(next_page(address))? == second,
            };
            if still {
                if !flavour.stepping {
                    self.cache.remember(start, id, stamps.far);
                }
                return Ok(id);
            }
        }
        if self.cache.is_full() {
            for frame in self.cache.clear() {
                if !self.is_kept(frame) {
                    mmu.clear_code(frame);
                }
            }
            mmu.code_frame(VirtAddr(address))?;
        }
        let id = self.make(mmu, key, flavour)?;
        if !flavour.stepping {
            let stamps = self.stamps(mmu, flavour);
            self.cache.remember(start, id, stamps.far);
        }
        Ok(id)
    }

    fn make(&mut self, mmu: &mut Mmu, key: Key, flavour: Flavour) -> Result<BlockId, PageFault> {
        let mut context = Context {
            mode: self.core.mode,
            segments: flavour.segments,
            limit: if flavour.stepping { 1 } else { usize::MAX },
            narrow: flavour.local == Some(false),
        };
        let start = self.core.rip;
        let address = VirtAddr(key.start & self.core.address_mask);
        let page = mmu.frame(key.frame);
        if let Ok(mut block) = decode::block(start, &page[address.offset()..], context, &mut self.unknown) {
            fuse::fuse(&mut block);
            return Ok(self.insert(key, None, &block));
        }
        // The first instruction goes over the end of the page.
        let second = mmu.code_frame(next_page(address.0))?;
        let mut bytes = [0; 15];
        let len = mmu.fetch(address, &mut bytes)?;
        context.limit = 1;
        let block = match decode::block(start, &bytes[..len], context, &mut self.unknown) {
            Ok(block) => block,
            // Longer than any instruction may be.
            Err(Truncated) => decode::refused(start, context.mode),
        };
        Ok(self.insert(key, Some(second), &block))
    }

    fn insert(&mut self, key: Key, second: Option<FrameId>, block: &Block) -> BlockId {
        let id = self.cache.insert(key, second, block);
        if let Some(beside) = &self.beside
            && let Some(offsets) = beside.early.get(&key.frame)
            && offsets.binary_search(&(key.start as u16 & 0xfff)).is_ok()
        {
            self.cache.blocks[id as usize].set_heat(beside.early_heat);
        }
        id
    }
}

/// What an exit operation, by the number of its reason, tells the caller of the engine, if anything.
pub fn exit_for(reason: u8) -> Option<Exit> {
    Some(match ExitReason::ALL.get(usize::from(reason)).copied().unwrap_or(ExitReason::InvalidOpcode) {
        ExitReason::Int80 => Exit::Syscall(Gate::Int80),
        ExitReason::Sysenter => Exit::Syscall(Gate::Sysenter),
        ExitReason::Syscall => Exit::Syscall(Gate::Syscall),
        ExitReason::ReadTsc => Exit::ReadTsc { aux: false },
        ExitReason::ReadTscp => Exit::ReadTsc { aux: true },
        ExitReason::InvalidOpcode => Exit::Exception(Exception::InvalidOpcode),
        ExitReason::Protection => Exit::Exception(Exception::Protection),
        ExitReason::Breakpoint => Exit::Exception(Exception::Breakpoint),
        ExitReason::Int1 => Exit::Exception(Exception::Debug(DebugCause::Int1)),
        ExitReason::Resync => return None,
    })
}

fn next_page(address: u64) -> VirtAddr {
    VirtAddr((address | (PAGE_SIZE as u64 - 1)).wrapping_add(1))
}
