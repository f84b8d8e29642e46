//! The engine: runs compiled regions where there are some, interprets the rest, compiles what gets hot.

use std::collections::HashMap;
use std::ops::Range;

use vm_cpu::assist::{self, Effects, X87};
use vm_cpu::decode::{self, Context, Truncated};
use vm_cpu::flags::bit;
use vm_cpu::interp::{Done, Pause};
use vm_cpu::ir::{Code, Op};
use vm_cpu::{Cpu, Engine, Exit, F80, Interpreter, Mode, Trap};
use vm_mem::{Access, FrameId, Mmu, PAGE_SIZE, VirtAddr};

use crate::cache::{Compiled, RegionId, Regions, spans};
use crate::emit::{self, Config, GO_ON, Numbers, Why};
use crate::host::{CodeHost, InstallError, Request, Runtime};
use crate::lazy::Kind;
use crate::links::Links;
use crate::module;
use crate::plan::{CodeSource, Found, Limits, plan};
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
        Self { threshold: 4000, limits: Limits { blocks: 100, ops: 2000 }, code_budget: 48 << 20, x87_fast: false }
    }
}

/// Slots of the table that are reserved at a time.
const SLOTS: u32 = 2048;
/// Slots reserved at most: hosts may copy the table for each module.
const MOST_SLOTS: u32 = 8192;

/// An [`Engine`] that compiles.
pub struct Jit<H> {
    host: H,
    inner: Inner,
    options: Options,
    config: Config,
    free_slots: Vec<u32>,
    reserved: u32,
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
    profile: Profile,
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
        let first = host.reserve(SLOTS)?;
        host.install(&module::unlinked(first))?;
        let mut interpreter = Interpreter::new();
        interpreter.set_threshold(options.threshold);
        let state = Box::new(State::default());
        let config = Config {
            core: address_of(interpreter.core()),
            state: address_of(&*state),
            first_frame: 0,
            tail_calls: host.tail_calls(),
            x87_fast: options.x87_fast,
            x87: emit::Functions::of_program(),
        };
        Ok(Jit {
            host,
            inner: Inner {
                interpreter,
                state,
                regions: Regions::default(),
                links: Links::new(first),
                operations: Operations::default(),
                refusal: None,
                bounce: None,
                profile: Profile::default(),
            },
            options,
            config,
            free_slots: (first + 1..first + SLOTS).rev().collect(),
            reserved: SLOTS,
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
            let compilable = usable && !self.inner.interpreter.core().flags.tf();
            if compilable && !std::mem::take(&mut interpret) {
                let flavour = self.inner.interpreter.flavour();
                self.inner.links.select(mmu.code_epoch(), flavour, &mut self.inner.state);
                if let Some(slot) = self.entry(mmu, flavour) {
                    self.inner.profile.entries += 1;
                    let mut call = Call { inner: &mut self.inner, mmu };
                    let result = self.host.enter(slot, DEPTH, &mut call);
                    if result != GO_ON {
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
            let pause = self.inner.interpreter.resume(mmu);
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
        if let Some(slot) = self.inner.fitting(mmu, rip, flavour) {
            self.inner.links.link(rip, slot);
            return Some(slot);
        }
        let frame = mmu.code_frame(VirtAddr(u64::from(rip))).ok()?;
        let hot = self.options.threshold == 0 || self.inner.interpreter.is_hot(frame, u64::from(rip));
        if !hot || self.inner.profile.refused.contains(&(frame, rip)) {
            return None;
        }
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

    fn compile(&mut self, mmu: &mut Mmu, rip: u32, flavour: u16) -> Option<u32> {
        let began = self.host.now_ms();
        let slot = self.take_slot(mmu)?;
        self.config.first_frame = u32::try_from(mmu.first_frame()).ok()?;
        let forced = self.options.threshold == 0;
        let mut source = GuestCode { interpreter: &mut self.inner.interpreter, mmu, forced };
        let Some(mut region) = plan(&mut source, rip, self.options.limits) else {
            self.free_slots.push(slot);
            return None;
        };
        let shape = Shape::of(&mut region);
        let id = self.inner.regions.next_id();
        let mut naming = Naming { operations: &mut self.inner.operations, links: &mut self.inner.links };
        let function = emit::function(&region, &shape, id, &self.config, &mut naming);
        let exits = function.exits.clone();
        let bytes = module::module(&[(slot, function)]);
        let module = match self.host.install(&bytes) {
            Ok(module) => module,
            Err(error) => {
                self.inner.profile.install_errors += 1;
                self.inner.profile.last_error = error.0;
                self.free_slots.push(slot);
                return None;
            }
        };
        let compiled = Compiled {
            start: rip,
            flavour,
            pages: region.pages(),
            spans: spans(&region),
            slot,
            module,
            exits,
            size: bytes.len(),
            blocks: region.nodes.len(),
            used: self.inner.profile.entries,
        };
        self.inner.profile.compiled(region.bytes(), bytes.len(), self.host.now_ms() - began);
        for frame in self.inner.regions.add(compiled) {
            self.inner.interpreter.keep(mmu, frame, true);
        }
        // The interpreter stops there from now on.
        let first = region.nodes.first().map(|node| node.found.frame);
        if let Some(frame) = first {
            self.inner.interpreter.set_heat(frame, u64::from(rip), Some(0));
        }
        Some(slot)
    }

    fn take_slot(&mut self, mmu: &mut Mmu) -> Option<u32> {
        if self.inner.regions.size > self.options.code_budget {
            self.evict(mmu);
        }
        if self.free_slots.is_empty()
            && self.reserved < MOST_SLOTS
            && let Ok(first) = self.host.reserve(SLOTS)
        {
            self.reserved += SLOTS;
            self.free_slots.extend((first..first + SLOTS).rev());
        }
        if self.free_slots.is_empty() {
            self.evict(mmu);
        }
        self.free_slots.pop()
    }

    /// Drops the third of the regions that was entered longest ago.
    fn evict(&mut self, mmu: &mut Mmu) {
        let mut all: Vec<(u64, RegionId)> = self.inner.regions.iter().map(|(id, r)| (r.used, id)).collect();
        all.sort_unstable();
        let third = all.len().div_ceil(3);
        for &(_, id) in &all[..third] {
            self.drop_region(mmu, id);
        }
        self.inner.profile.evicted += third as u64;
    }

    fn drop_changed(&mut self, mmu: &mut Mmu) {
        for (frame, bytes) in self.inner.interpreter.take_changed(mmu) {
            for id in self.inner.regions.touching(frame, &bytes) {
                self.drop_region(mmu, id);
                self.inner.profile.invalidated += 1;
            }
            self.inner.profile.refused.retain(|&(f, _)| f != frame);
        }
    }

    fn drop_region(&mut self, mmu: &mut Mmu, id: RegionId) {
        let Some((region, emptied)) = self.inner.regions.remove(id) else { return };
        self.inner.links.unlink(region.start, region.slot);
        let first = region.pages.iter().find(|(page, _)| *page == region.start >> 12);
        if let Some(&(_, frame)) = first {
            let times = self.options.threshold.max(1);
            self.inner.interpreter.set_heat(frame, u64::from(region.start), Some(times));
        }
        for frame in emptied {
            self.inner.interpreter.keep(mmu, frame, false);
        }
        self.host.discard(region.module, &[region.slot]);
        self.free_slots.push(region.slot);
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
    mmu: &'a mut Mmu,
    forced: bool,
}

impl CodeSource for GuestCode<'_> {
    fn block(&mut self, start: u32, limit: usize) -> Option<Found> {
        let address = VirtAddr(u64::from(start));
        let frame = self.mmu.code_frame(address).ok()?;
        let core = self.interpreter.core();
        let mut context = Context { mode: core.mode, segments: core.segments(), limit };
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
        self.forced || self.interpreter.knows(frame, address.0)
    }
}

/// The address of something in this program's memory. Where addresses are longer, no generated code ever runs.
fn address_of<T>(thing: &T) -> u32 {
    std::ptr::from_ref(thing) as usize as u32
}
