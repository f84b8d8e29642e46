//! The engine: runs compiled regions where there are some, interprets the rest, compiles what gets hot.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use vm_cpu::assist::direct::Direct;
use vm_cpu::assist::{self, Effects, X87};
use vm_cpu::decode::{self, Context, Truncated};
use vm_cpu::flags::bit;
use vm_cpu::interp::{Done, Pause};
use vm_cpu::ir::{Code, Op};
use vm_cpu::{Cpu, Engine, Exit, F80, Interpreter, Mode, Trap, reg};
use vm_mem::{Access, FrameId, Mmu, PAGE_SIZE, Run, VirtAddr};

use crate::cache::{Compiled, RegionId, Regions, spans};
use crate::cold::Cold;
use crate::emit::{self, Config, Function, Functions, GO_ON, MOST_BYTES, Numbers, StackRegisters, Why};
use crate::host::{CodeHost, InstallError, ModuleId, Request, Runtime};
use crate::lazy::Kind;
use crate::links::Links;
use crate::module;
use crate::plan::{CodeSource, Found, Limits, Region, plan};
use crate::profile::Profile;
use crate::shape::Shape;
use crate::state::{DEPTH, State};

/// How the engine decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A block that was interpreted so many times is compiled; 0 compiles everything before it is run.
    pub threshold: u32,
    /// How large regions get.
    pub limits: Limits,
    /// Bytes of WebAssembly kept at most.
    pub code_budget: usize,
    /// Whether x87 arithmetic is done in double precision and without exceptions.
    pub x87_fast: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { threshold: 3000, limits: Limits { blocks: 100, ops: 2000 }, code_budget: 16 << 20, x87_fast: false }
    }
}

/// One of so many runs of the interpreter is timed.
const CLOCKED: u64 = 16;

/// Windows a region may miss before it is compiled without.
const WINDOWS_MISSED: u32 = 300;

/// Pages of a window to each side of where it is wanted.
const WINDOW_PAGES: u32 = 16;

/// The slot of the function that only returns, behind those for x87 arithmetic.
const UNLINKED: u32 = Direct::ALL.len() as u32;
/// Slots of the table: hosts may copy it for each module.
const SLOTS: u32 = 4096;

/// Bytes by which the heap is extended at a time, and modules installed before that is done again.
const HEAP_BYTES: usize = 16 << 20;
const HEAP_MODULES: u32 = 128;

/// Regions compiled at a time at most.
const BATCH: usize = 16;
/// Operations that are numbered before everything is dropped.
const MOST_OPERATIONS: usize = 1 << 16;
/// Operations after which a batch is large enough.
const BATCH_OPS: usize = 3000;

/// An [`Engine`] that compiles.
pub struct Jit<H> {
    host: H,
    inner: Inner,
    options: Options,
    config: Config,
    free_slots: Vec<u32>,
    /// Modules until the heap is extended again.
    until_heap: u32,
    cold: Cold,
}

/// What generated code may reach while it runs.
struct Inner {
    interpreter: Interpreter,
    state: Box<State>,
    regions: Regions,
    links: Links,
    operations: Operations,
    /// Why the last request was refused; nothing when the instruction is to be interpreted.
    refusal: Option<Trap>,
    /// A frame for loads over the end of a page.
    bounce: Option<FrameId>,
    /// The last request was for a window, which could not be.
    windowless: bool,
    /// A region that is to be dropped for that.
    unfit_region: Option<RegionId>,
    /// What is compiled without windows, because they could not be had too often.
    unfit: HashSet<(FrameId, u32)>,
    profile: Profile,
}

/// A region that is about to be installed.
struct Draft {
    slot: u32,
    id: RegionId,
    region: Region,
    function: Function,
}

/// Operations that generated code names by number.
#[derive(Default)]
struct Operations {
    all: Vec<Op>,
    numbers: HashMap<Op, u32>,
}

impl<H: CodeHost> Jit<H> {
    /// An engine without code. Fails when the host cannot hold generated code.
    pub fn new(mut host: H, options: Options) -> Result<Jit<H>, InstallError> {
        host.reserve(SLOTS, &Functions::of_program())?;
        extend_heap();
        host.install(&module::unlinked(UNLINKED))?;
        let mut interpreter = Interpreter::new();
        interpreter.set_threshold(options.threshold);
        let state = Box::new(State::default());
        let config = Config {
            core: address_of(interpreter.core()),
            state: address_of(&*state),
            first_frame: 0,
            tail_calls: host.tail_calls(),
            x87_fast: options.x87_fast,
            x87: Functions::from(0),
            stack: StackRegisters::Pointer,
        };
        Ok(Jit {
            host,
            inner: Inner {
                interpreter,
                state,
                regions: Regions::default(),
                links: Links::new(UNLINKED),
                operations: Operations::default(),
                refusal: None,
                bounce: None,
                windowless: false,
                unfit_region: None,
                unfit: HashSet::new(),
                profile: Profile::default(),
            },
            options,
            config,
            free_slots: (UNLINKED + 1..SLOTS).rev().collect(),
            until_heap: HEAP_MODULES,
            cold: Cold::default(),
        })
    }

    fn drive(&mut self, mmu: &mut Mmu, usable: bool) -> Exit {
        let mut interpret = false;
        loop {
            if self.inner.interpreter.core().fuel <= 0 {
                return Exit::OutOfFuel;
            }
            if self.inner.interpreter.has_changed(mmu) {
                self.drop_changed(mmu);
            }
            if let Some(id) = self.inner.unfit_region.take() {
                self.drop_region(mmu, id);
            }
            let core = self.inner.interpreter.core();
            let compilable = usable && !core.flags.tf() && core.local_code().is_none();
            if compilable && !std::mem::take(&mut interpret) {
                let flavour = self.inner.interpreter.flavour();
                self.inner.links.select(mmu.code_epoch(), flavour, &mut self.inner.state);
                if let Some(slot) = self.entry(mmu, flavour)
                    && self.inner.place_window(mmu)
                {
                    self.inner.profile.entries += 1;
                    let mut call = Call { inner: &mut self.inner, mmu };
                    let result = self.host.enter(slot, DEPTH, &mut call);
                    if result != GO_ON {
                        if std::mem::take(&mut self.inner.windowless) {
                            self.missed_window();
                        }
                        match self.stopped() {
                            Some(exit) => return exit,
                            None => interpret = true,
                        }
                    }
                    continue;
                }
            }
            self.inner.settle_flags();
            self.inner.profile.interpreted += 1;
            let before = self.inner.interpreter.core().fuel;
            // The clock costs as much as a short run.
            let began = self.inner.profile.interpreted.is_multiple_of(CLOCKED).then(|| self.host.now_ms());
            let pause = self.inner.interpreter.resume(mmu);
            if let Some(began) = began {
                self.inner.profile.interpreter_ms += CLOCKED as f64 * (self.host.now_ms() - began);
            }
            let spent = before - self.inner.interpreter.core().fuel;
            self.inner.profile.interpreted_insns += u64::try_from(spent).unwrap_or(0);
            match pause {
                Pause::Left(exit) => return exit,
                Pause::Hot => interpret = !compilable,
            }
        }
    }

    /// The slot of the code at the instruction pointer, which is compiled if it is hot and can be.
    fn entry(&mut self, mmu: &mut Mmu, flavour: u16) -> Option<u32> {
        let rip = self.inner.interpreter.core().rip as u32;
        if let Some(slot) = self.inner.links.find(rip) {
            self.inner.links.refresh_cell(rip, slot);
            return Some(slot);
        }
        if self.cold.is_cold(rip, mmu.code_epoch()) {
            return None;
        }
        if let Some(slot) = self.inner.fitting(mmu, rip, flavour) {
            self.inner.links.link(rip, slot);
            return Some(slot);
        }
        let frame = mmu.code_frame(VirtAddr(u64::from(rip))).ok()?;
        let hot = self.options.threshold == 0 || self.inner.interpreter.is_hot(frame, u64::from(rip));
        if !hot {
            self.cold.note(rip, mmu.code_epoch());
            return None;
        }
        if self.inner.profile.refused.contains(&(frame, rip)) {
            return None;
        }
        self.cold.forget();
        match self.compile(mmu, rip, flavour) {
            Some(slot) => {
                self.inner.links.link(rip, slot);
                Some(slot)
            }
            None => {
                self.inner.profile.refused.insert((frame, rip));
                self.inner.interpreter.set_heat(frame, u64::from(rip), None);
                None
            }
        }
    }

    /// Compiles the region at an address and, in the same module, those it leads to that are nearly as hot.
    fn compile(&mut self, mmu: &mut Mmu, rip: u32, flavour: u16) -> Option<u32> {
        let began = self.host.now_ms();
        self.config.first_frame = u32::try_from(mmu.first_frame()).ok()?;
        self.make_room(mmu);
        let mut drafts: Vec<Draft> = Vec::new();
        let mut next = VecDeque::from([rip]);
        let (mut seen, mut ops) = (HashSet::from([rip]), 0);
        let mut others: Option<VecDeque<u32>> = None;
        while drafts.len() < BATCH && ops < BATCH_OPS {
            let start = match next.pop_front() {
                Some(start) => start,
                None => {
                    let others = others.get_or_insert_with(|| self.nearly_hot(mmu).into());
                    let Some(start) = others.pop_front() else { break };
                    if drafts.iter().any(|draft| draft.region.blocks().iter().any(|&(_, at)| at == start)) {
                        continue;
                    }
                    start
                }
            };
            if drafts.iter().any(|draft| draft.region.entries().iter().any(|&(at, _)| at == start)) {
                continue;
            }
            let Some(draft) = self.draft(mmu, start) else { continue };
            ops += draft.region.ops();
            for target in draft.region.leads_to() {
                if seen.insert(target) && self.is_worth(mmu, target) {
                    next.push_back(target);
                }
            }
            drafts.push(draft);
        }
        let functions: Vec<(u32, Function)> =
            drafts.iter_mut().map(|draft| (draft.slot, std::mem::take(&mut draft.function))).collect();
        let bytes = module::module(&functions);
        let module = match self.host.install(&bytes) {
            _ if drafts.is_empty() => None,
            Ok(module) => Some(module),
            Err(error) => {
                self.inner.profile.install_errors += 1;
                self.inner.profile.last_error = error.0;
                None
            }
        };
        let Some(module) = module else {
            for draft in drafts {
                self.free_slots.push(draft.slot);
                self.inner.regions.give_back(draft.id);
            }
            return None;
        };
        self.until_heap = self.until_heap.checked_sub(1).unwrap_or_else(|| {
            extend_heap();
            HEAP_MODULES
        });
        let guest_bytes = drafts.iter().map(|draft| draft.region.bytes()).sum();
        self.inner.profile.compiled(drafts.len(), guest_bytes, bytes.len(), self.host.now_ms() - began);
        let slot = drafts.iter().find(|draft| draft.region.start() == rip).map(|draft| draft.slot);
        for (draft, (_, function)) in drafts.into_iter().zip(functions) {
            self.add(mmu, draft, function, module, flavour);
        }
        slot
    }

    /// Plans and emits the region at an address.
    fn draft(&mut self, mmu: &mut Mmu, start: u32) -> Option<Draft> {
        let Inner { interpreter, regions, .. } = &mut self.inner;
        let forced = self.options.threshold == 0;
        let mut source = GuestCode { interpreter, regions, mmu, forced, warm: self.options.threshold / 256 };
        let mut region = plan(&mut source, start, self.options.limits)?;
        let slot = self.free_slots.pop()?;
        let shape = Shape::of(&mut region);
        self.config.stack = self.inner.stack(&region);
        let id = self.inner.regions.take_id();
        let mut naming = Naming { operations: &mut self.inner.operations, links: &mut self.inner.links };
        let function = emit::function(&region, &shape, id, &self.config, &mut naming);
        Some(Draft { slot, id, region, function })
    }

    /// The addresses of blocks that will be hot soon, in order: functions come before what is in them.
    fn nearly_hot(&mut self, mmu: &mut Mmu) -> Vec<u32> {
        let Inner { interpreter, regions, .. } = &mut self.inner;
        if self.options.threshold == 0 {
            return Vec::new();
        }
        let blocks = interpreter.reached_often(self.options.threshold / 2);
        let mut starts: Vec<u32> = blocks
            .into_iter()
            .filter(|&(frame, start)| {
                !regions.has_block((frame, start as u32)) && mmu.code_frame(VirtAddr(start)).is_ok_and(|f| f == frame)
            })
            .map(|(_, start)| start as u32)
            .collect();
        starts.sort_unstable();
        starts
    }

    /// Whether a region at an address is to be compiled because one that leads there is.
    fn is_worth(&mut self, mmu: &mut Mmu, start: u32) -> bool {
        if !self.inner.regions.at(start).is_empty() {
            return false;
        }
        let Ok(frame) = mmu.code_frame(VirtAddr(u64::from(start))) else { return false };
        let threshold = self.options.threshold;
        let reached = self.inner.interpreter.reached(frame, u64::from(start));
        threshold == 0 || reached.is_some_and(|times| times >= threshold / 4)
    }

    fn add(&mut self, mmu: &mut Mmu, draft: Draft, function: Function, module: ModuleId, flavour: u16) {
        let Draft { slot, id, region, .. } = draft;
        let entries = region.entries();
        let compiled = Compiled {
            entries: entries.clone(),
            flavour,
            pages: region.pages(),
            spans: spans(&region),
            slot,
            module,
            exits: function.exits,
            size: function.code.len(),
            blocks: region.blocks(),
            used: self.inner.profile.entries,
            missed_windows: 0,
        };
        for frame in self.inner.regions.add(id, compiled) {
            self.inner.interpreter.keep(mmu, frame, true);
        }
        for &(start, frame) in &entries {
            // The interpreter stops there from now on.
            self.inner.interpreter.set_heat(frame, u64::from(start), Some(0));
        }
        if let Some(&(start, _)) = entries.first() {
            self.inner.links.link(start, slot);
        }
    }

    /// Makes room for another batch.
    fn make_room(&mut self, mmu: &mut Mmu) {
        if self.inner.links.is_full() || self.inner.operations.all.len() > MOST_OPERATIONS {
            // Addresses and operations are numbered for good as long as there is code.
            self.evict(mmu, 1);
            self.inner.links.reset();
            self.inner.operations = Operations::default();
            self.inner.profile.requested.clear();
            self.inner.profile.refused.clear();
            self.inner.unfit.clear();
        }
        if self.inner.regions.size > self.options.code_budget || self.free_slots.len() < BATCH {
            self.evict(mmu, 3);
        }
    }

    /// Drops a part of the regions, those that were looked for longest ago: all, a half, a third.
    fn evict(&mut self, mmu: &mut Mmu, part: usize) {
        let mut all: Vec<(u64, RegionId)> = self.inner.regions.iter().map(|(id, r)| (r.used, id)).collect();
        all.sort_unstable();
        let dropped = all.len().div_ceil(part);
        for &(_, id) in &all[..dropped] {
            self.drop_region(mmu, id);
        }
        self.inner.profile.evicted += dropped as u64;
        // Regions that are linked are not looked for: from here on it shows again which are used.
        self.inner.links.forget_all();
    }

    fn drop_changed(&mut self, mmu: &mut Mmu) {
        for (frame, bytes) in self.inner.interpreter.take_changed(mmu) {
            for id in self.inner.regions.touching(frame, &bytes) {
                self.drop_region(mmu, id);
                self.inner.profile.invalidated += 1;
            }
            self.inner.profile.refused.retain(|&(f, _)| f != frame);
            self.inner.unfit.retain(|&(f, _)| f != frame);
        }
    }

    fn drop_region(&mut self, mmu: &mut Mmu, id: RegionId) {
        let Some((region, emptied)) = self.inner.regions.remove(id) else { return };
        self.cold.forget();
        for &(start, frame) in &region.entries {
            self.inner.links.unlink(start, region.slot);
            let times = self.options.threshold.max(1);
            self.inner.interpreter.set_heat(frame, u64::from(start), Some(times));
        }
        for frame in emptied {
            self.inner.interpreter.keep(mmu, frame, false);
        }
        self.host.clear(region.slot);
        if self.inner.regions.leave_module(region.module) {
            self.host.discard(region.module);
        }
        self.free_slots.push(region.slot);
    }

    /// Notes that the region that stopped got no window; it is compiled anew when that happens often.
    fn missed_window(&mut self) {
        let id = self.inner.state.region;
        let Some(region) = self.inner.regions.get_mut(id) else { return };
        region.missed_windows += 1;
        if region.missed_windows < WINDOWS_MISSED {
            return;
        }
        self.inner.unfit.extend(region.entries.first().map(|&(start, frame)| (frame, start)));
        self.inner.unfit_region = Some(id);
    }

    /// What a stop means; nothing when the instruction is to be interpreted.
    fn stopped(&mut self) -> Option<Exit> {
        let inner = &mut self.inner;
        let (id, number) = (inner.state.region, inner.state.exit as usize);
        let exit = *inner.regions.get(id)?.exits.get(number)?;
        let refusal = inner.refusal.take();
        let core = inner.interpreter.core();
        core.rip = u64::from(exit.rip);
        core.fuel += i64::from(exit.refund);
        match exit.why {
            Why::Refused { stores_back } => match refusal? {
                Trap::Fault(mut fault) => {
                    if stores_back {
                        fault.access = Access::Write;
                    }
                    Some(Exit::Fault(fault))
                }
                Trap::Exception(exception) => Some(Exit::Exception(exception)),
                Trap::After(exception) => {
                    core.fuel -= 1;
                    core.rip = u64::from(exit.next);
                    Some(Exit::Exception(exception))
                }
                Trap::Transferred(target) => {
                    core.fuel -= 1;
                    core.rip = target;
                    None
                }
            },
            Why::Raise(exception) => Some(Exit::Exception(exception)),
            Why::Leave(reason) => vm_cpu::interp::exit_for(reason),
        }
    }
}

impl<H: CodeHost> Engine for Jit<H> {
    fn run(&mut self, cpu: &mut Cpu, mmu: &mut Mmu, fuel: u32) -> Exit {
        self.inner.interpreter.enter(cpu, fuel);
        let flat = mmu.flat_table().and_then(|at| u32::try_from(at).ok());
        self.inner.state.flat = flat.unwrap_or(0);
        if self.inner.bounce.is_none() {
            self.inner.bounce = mmu.alloc_zeroed().ok();
        }
        let usable = cpu.mode == Mode::I386 && flat.is_some() && self.inner.bounce.is_some();
        self.inner.profile.runs += 1;
        let exit = self.drive(mmu, usable);
        self.inner.settle_flags();
        self.inner.interpreter.leave(cpu, fuel);
        exit
    }

    fn forget(&mut self, frame: FrameId, bytes: Range<u16>) {
        self.inner.interpreter.forget(frame, bytes);
    }

    fn unknown_instructions(&self) -> Vec<(String, u64)> {
        self.inner.interpreter.unknown_instructions()
    }

    fn figures(&self) -> Vec<(String, f64)> {
        let mut figures = self.inner.profile.figures();
        figures.extend(self.inner.most_requested());
        figures.push(("regions".to_owned(), self.inner.regions.iter().count() as f64));
        figures.push(("modules".to_owned(), self.inner.regions.modules() as f64));
        figures.push(("code bytes".to_owned(), self.inner.regions.size as f64));
        figures
    }
}

impl Inner {
    /// The slot of a region at an address that fits what is mapped.
    fn fitting(&mut self, mmu: &mut Mmu, rip: u32, flavour: u16) -> Option<u32> {
        let now = self.profile.entries;
        for &id in self.regions.at(rip) {
            let Some(region) = self.regions.get(id) else { continue };
            let mut mapped = region.pages.iter().map(|&(page, frame)| {
                mmu.code_frame(VirtAddr(u64::from(page) << 12)).is_ok_and(|found| found == frame)
            });
            if region.flavour == flavour && mapped.all(|same| same) {
                let slot = region.slot;
                if let Some(region) = self.regions.get_mut(id) {
                    region.used = now;
                }
                return Some(slot);
            }
        }
        None
    }

    /// Puts the window around the stack pointer; tells whether that was possible.
    fn place_window(&mut self, mmu: &mut Mmu) -> bool {
        let stack = self.interpreter.core().regs[reg::RSP] as u32;
        if let Some(run) = window(mmu, stack, 1) {
            self.state.take_window(run);
            return true;
        }
        // Just below, the next push goes to another page.
        let below = window(mmu, stack.wrapping_sub(4), 1);
        below.map(|run| self.state.take_window(run)).is_some()
    }

    /// What points into the stack in a region that is about to be run.
    fn stack(&mut self, region: &Region) -> StackRegisters {
        let first = region.nodes.first().map(|node| (node.found.frame, node.start()));
        if first.is_some_and(|first| self.unfit.contains(&first)) {
            return StackRegisters::Unknown;
        }
        let core = self.interpreter.core();
        let (stack, frame) = (core.regs[reg::RSP] as u32, core.regs[reg::RBP] as u32);
        if frame.wrapping_sub(stack) < FRAME_BYTES { StackRegisters::Frame } else { StackRegisters::Pointer }
    }

    /// What was requested most.
    fn most_requested(&self) -> Vec<(String, f64)> {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for (op, &count) in self.operations.all.iter().zip(&self.profile.requested) {
            let name = match op.code {
                Code::Assist => {
                    let row = assist::row(op.assist_number());
                    let x87 = row.name.starts_with("X87").then(|| X87::ALL.get(usize::from(op.b))).flatten();
                    match x87 {
                        Some(what) => format!("{what:?} {}", op.c),
                        None => format!("{} {} {} {}", row.name, op.b, op.c, op.imm & 0xffff_ffff),
                    }
                }
                code => format!("{code:?}"),
            };
            *counts.entry(name).or_default() += count;
        }
        for (kind, &count) in &self.profile.flag_kinds {
            let kind = Kind(*kind);
            let name = format!("flags {:?} {:?} {:?}", kind.base(), kind.size(), kind.carry());
            *counts.entry(name).or_default() += count;
        }
        let mut counts: Vec<(String, u64)> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(24);
        counts.into_iter().map(|(name, count)| (format!("requested {name}"), count as f64)).collect()
    }

    /// Brings `Core::flags` up to date.
    fn settle_flags(&mut self) {
        let record = self.state.record;
        if record.kind != 0 {
            self.state.record.kind = 0;
            let core = self.interpreter.core();
            core.flags = record.flags(core.flags);
        }
    }

    /// Whether anything was made from code in these places.
    fn is_code(&self, places: &[(FrameId, Range<u16>)]) -> bool {
        places.iter().any(|(frame, bytes)| {
            self.interpreter.overlaps(*frame, bytes) || !self.regions.touching(*frame, bytes).is_empty()
        })
    }
}

/// A running call of generated code.
struct Call<'a> {
    inner: &'a mut Inner,
    mmu: &'a mut Mmu,
}

/// Answers of requests other than loads and flags.
mod answer {
    pub(super) const DONE: u32 = 0;
    pub(super) const REFUSED: u32 = 1;
    /// Done, but what is run next may have changed.
    pub(super) const CODE_CHANGED: u32 = 2;
}

impl Runtime for Call<'_> {
    fn request(&mut self, what: u32, a: u32, b: u32) -> u32 {
        let address = VirtAddr(u64::from(a));
        let len = (b as usize).min(256);
        match Request::ALL.get(what as usize) {
            Some(Request::Load) => self.load(address, len.min(16)),
            Some(Request::Store) => self.store(address, len.min(16), true),
            Some(Request::Check) => self.store(address, len, false),
            Some(Request::Assist) => self.assist(a),
            Some(Request::Operation) => self.operation(a),
            Some(Request::Flags) => self.flags(),
            Some(Request::ToDoubles) => {
                let fpu = &self.inner.interpreter.core().fpu;
                for i in (0..8).filter(|i| fpu.valid >> i & 1 != 0) {
                    self.inner.state.x87[i][0] = fpu.regs[i].to_f64();
                }
                answer::DONE
            }
            Some(Request::FromDoubles) => {
                let fpu = &mut self.inner.interpreter.core().fpu;
                for i in (0..8).filter(|i| fpu.valid >> i & 1 != 0) {
                    fpu.regs[i] = F80::from_f64(self.inner.state.x87[i][0]);
                }
                answer::DONE
            }
            Some(Request::Window) => self.window(a, b.min(MOST_BYTES)),
            None => answer::REFUSED,
        }
    }
}

impl Call<'_> {
    fn refuse(&mut self, why: Option<Trap>) -> u32 {
        self.inner.refusal = why;
        answer::REFUSED
    }

    fn load(&mut self, address: VirtAddr, len: usize) -> u32 {
        self.inner.profile.slow_loads += 1;
        match self.mmu.direct(address, len, Access::Read) {
            Ok(Some(offset)) => return offset,
            Ok(None) => {}
            Err(fault) => {
                self.refuse(Some(Trap::Fault(fault)));
                return u32::MAX;
            }
        }
        let mut bytes = [0; 16];
        if let Err(fault) = self.mmu.load_bytes(address, &mut bytes[..len]) {
            self.refuse(Some(Trap::Fault(fault)));
            return u32::MAX;
        }
        let Some(bounce) = self.inner.bounce else { return u32::MAX };
        self.mmu.frame_mut(bounce)[..16].copy_from_slice(&bytes);
        bounce.0 << 12
    }

    fn store(&mut self, address: VirtAddr, len: usize, for_real: bool) -> u32 {
        self.inner.profile.slow_stores += 1;
        if let Err(fault) = self.mmu.check_store(address, len) {
            return self.refuse(Some(Trap::Fault(fault)));
        }
        let code = match self.mmu.code_under(address, len) {
            Ok(code) => code,
            Err(fault) => return self.refuse(Some(Trap::Fault(fault))),
        };
        if !code.is_empty() && self.inner.is_code(&code) {
            self.inner.profile.code_stores += 1;
            return self.refuse(None);
        }
        if for_real {
            let bytes = self.inner.state.bounce;
            if let Err(fault) = self.mmu.store_bytes(address, &bytes[..len.min(16)]) {
                return self.refuse(Some(Trap::Fault(fault)));
            }
            if !code.is_empty() {
                // Data beside code: nothing was made from it.
                self.mmu.take_code_writes();
            }
        }
        answer::DONE
    }

    fn window(&mut self, address: u32, len: u32) -> u32 {
        self.inner.profile.windows += 1;
        if let Some(run) = window(self.mmu, address, len) {
            self.inner.state.take_window(run);
            return answer::DONE;
        }
        self.inner.profile.windows_missed += 1;
        self.inner.windowless = true;
        self.refuse(None)
    }

    fn assist(&mut self, number: u32) -> u32 {
        let Some(&op) = self.inner.operations.all.get(number as usize) else { return answer::REFUSED };
        let row = assist::row(op.assist_number());
        let does = |effects| row.effects.contains(effects);
        if does(Effects::READS_FLAGS) || does(Effects::WRITES_FLAGS) {
            self.inner.settle_flags();
        }
        self.inner.profile.assists += 1;
        self.inner.profile.request(number as usize);
        if let Err(trap) = (row.run)(self.inner.interpreter.core(), self.mmu, op) {
            return self.refuse(Some(trap));
        }
        self.after_stores()
    }

    fn operation(&mut self, number: u32) -> u32 {
        let Some(&op) = self.inner.operations.all.get(number as usize) else { return answer::REFUSED };
        self.inner.settle_flags();
        self.inner.profile.operations += 1;
        self.inner.profile.request(number as usize);
        match self.inner.interpreter.one(self.mmu, op) {
            Done::Well | Done::CodeWritten => answer::DONE,
            Done::Trap(trap) => self.refuse(Some(trap)),
        }
    }

    fn after_stores(&mut self) -> u32 {
        if !self.mmu.has_code_writes() {
            return answer::DONE;
        }
        if self.inner.is_code(self.mmu.code_writes()) {
            return answer::CODE_CHANGED;
        }
        self.mmu.take_code_writes();
        answer::DONE
    }

    fn flags(&mut self) -> u32 {
        self.inner.profile.flag_requests += 1;
        let args = self.inner.state.args;
        *self.inner.profile.flag_kinds.entry(args.kind).or_default() += 1;
        if Kind(args.kind).needs_memory() {
            self.inner.settle_flags();
        }
        let before = self.inner.interpreter.core().flags;
        args.flags(before).to_eflags() & bit::ARITHMETIC
    }
}

/// Names for generated code.
struct Naming<'a> {
    operations: &'a mut Operations,
    links: &'a mut Links,
}

impl Numbers for Naming<'_> {
    fn operation(&mut self, op: Op) -> u32 {
        let Operations { all, numbers } = &mut *self.operations;
        *numbers.entry(op).or_insert_with(|| {
            all.push(op);
            all.len() as u32 - 1
        })
    }

    fn cell(&mut self, address: u32) -> Option<u32> {
        self.links.cell(address)
    }
}

/// The active address space as planning sees it.
struct GuestCode<'a> {
    interpreter: &'a mut Interpreter,
    regions: &'a Regions,
    mmu: &'a mut Mmu,
    forced: bool,
    /// How often a block was reached that is compiled with a hot one.
    warm: u32,
}

impl CodeSource for GuestCode<'_> {
    fn block(&mut self, start: u32, limit: usize) -> Option<Found> {
        let address = VirtAddr(u64::from(start));
        let frame = self.mmu.code_frame(address).ok()?;
        let core = self.interpreter.core();
        let mut context = Context { mode: core.mode, segments: core.segments(), limit, narrow: false };
        let page = self.mmu.frame(frame);
        let unknown = self.interpreter.unknown();
        if let Ok(block) = decode::block(address.0, &page[address.offset()..], context, unknown) {
            return Some(Found { block, frame, second: None });
        }
        let next = (address.0 | (PAGE_SIZE as u64 - 1)) + 1;
        let second = self.mmu.code_frame(VirtAddr(next)).ok()?;
        let mut bytes = [0; 15];
        let len = self.mmu.fetch(address, &mut bytes).ok()?;
        context.limit = 1;
        let block = match decode::block(address.0, &bytes[..len], context, self.interpreter.unknown()) {
            Ok(block) => block,
            Err(Truncated) => decode::refused(address.0, context.mode),
        };
        Some(Found { block, frame, second: Some(second) })
    }

    fn is_warm(&mut self, start: u32) -> bool {
        let address = VirtAddr(u64::from(start));
        let Ok(frame) = self.mmu.code_frame(address) else { return false };
        self.forced || self.interpreter.reached(frame, address.0).is_some_and(|times| times >= self.warm)
    }

    fn is_entry(&mut self, start: u32) -> bool {
        !self.regions.at(start).is_empty()
    }

    fn jumps_from(&mut self, behind: u32) -> Vec<u32> {
        self.interpreter.jumps_from(behind)
    }
}

/// How far above the stack pointer a frame pointer is.
const FRAME_BYTES: u32 = 1 << 16;

/// The run of pages that has so many bytes at an address, if they can be stored to without more ado.
fn window(mmu: &mut Mmu, address: u32, len: u32) -> Option<Run> {
    let last = address.checked_add(len.saturating_sub(1))?;
    for at in [address, last] {
        let at = VirtAddr(u64::from(at));
        if mmu.writable_run(at, 0).is_none() {
            mmu.direct(at, 1, Access::Write).ok()??;
        }
    }
    let run = mmu.writable_run(VirtAddr(u64::from(address)), WINDOW_PAGES)?;
    (last - run.start < run.len).then_some(run)
}

/// Has the heap grow by one large step, if it has to grow at all: the host tells every module of each step, and the
/// allocator's own are of 64 KiB.
fn extend_heap() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_BYTES)));
}

/// The address of something in this program's memory. Where addresses are longer, no generated code ever runs.
fn address_of<T>(thing: &T) -> u32 {
    std::ptr::from_ref(thing) as usize as u32
}
