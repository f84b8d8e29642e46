//! The engine: runs compiled regions where there are some, interprets the rest, compiles what gets hot.
//!
//! `batch` says what is compiled when, `compile` makes code, `coming` has the host take it, `life` drops it, `answers` does
//! what running code requests, `near` knows the stack.

mod answers;
mod batch;
mod coming;
mod compile;
mod figures;
mod life;
mod near;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Range;

use vm_cpu::assist::direct::Direct;
use vm_cpu::interp::Pause;
use vm_cpu::{Cpu, Engine, Exit, Hot, HotPage, Interpreter, Mode, Trap, Work};
use vm_mem::{Access, FrameId, Mmu, PAGE_SIZE, VirtAddr};

use self::answers::Call;
use self::batch::Wanted;
use self::coming::Handed;
use self::compile::{HEAP_MODULES, Operations, extend_heap};
use self::life::MOST_MODULES;
use crate::cache::{RegionId, Regions};
use crate::cold::Cold;
use crate::counts::Counts;
use crate::emit::{Config, Functions, GO_ON, StackRegisters, Why};
use crate::expected::{EARLY, Expected};
use crate::host::{CodeHost, InstallError};
use crate::links::Links;
use crate::module;
use crate::plan::Limits;
use crate::profile::{Left, Profile};
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
    /// Whether compiled code counts how it finds the bytes of its accesses, which takes time.
    pub count_accesses: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold: 3000,
            limits: Limits { blocks: 100, ops: 2000 },
            code_budget: 16 << 20,
            x87_fast: false,
            count_accesses: false,
        }
    }
}

/// One of so many runs of the interpreter is timed.
const CLOCKED: u64 = 16;
/// The slot of the function that only returns, behind those for x87 arithmetic.
const UNLINKED: u32 = Direct::ALL.len() as u32;
/// Slots of the table: hosts may copy it for each module.
const SLOTS: u32 = 8192;

/// What there is of a region.
enum Fitting {
    /// Its code, in a slot.
    Ready(u32),
    /// It is being compiled.
    Coming,
}

/// An [`Engine`] that compiles.
pub struct Jit<H> {
    host: H,
    inner: Inner,
    options: Options,
    config: Config,
    free_slots: Vec<u32>,
    wanted: Wanted,
    handed: Handed,
    /// How many modules there are before they are put together.
    most_modules: usize,
    /// Whether links were cut since there was room, so that it shows which regions are used.
    watched: bool,
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
    /// When the state's window was right.
    window_stamp: (u32, u64),
    /// The last request was for a window, which could not be.
    windowless: bool,
    /// A region that is to be dropped for that.
    unfit_region: Option<RegionId>,
    /// What is compiled without windows, because they could not be had too often.
    unfit: HashSet<(FrameId, u32)>,
    expected: Expected,
    profile: Profile,
    /// Where accesses are counted.
    counts: Option<Counts>,
}

impl<H: CodeHost> Jit<H> {
    /// An engine without code. Fails when the host cannot hold generated code.
    pub fn new(mut host: H, options: Options) -> Result<Jit<H>, InstallError> {
        host.reserve(SLOTS, &Functions::of_program())?;
        extend_heap();
        let unlinked = host.compile(&module::unlinked(UNLINKED))?;
        host.install(unlinked)?;
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
            near: 0,
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
                window_stamp: (u32::MAX, 0),
                windowless: false,
                unfit_region: None,
                unfit: HashSet::new(),
                expected: Expected::default(),
                profile: Profile::default(),
                counts: options.count_accesses.then(Counts::default),
            },
            options,
            config,
            free_slots: (UNLINKED + 1..SLOTS).rev().collect(),
            wanted: Wanted::default(),
            handed: Handed::default(),
            most_modules: MOST_MODULES,
            watched: false,
            until_heap: HEAP_MODULES,
            cold: Cold::default(),
        })
    }

    fn drive(&mut self, mmu: &mut Mmu, usable: bool) -> Exit {
        let mut interpret = false;
        let mut begun = false;
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
            if !std::mem::replace(&mut begun, true) && usable && !(self.wanted.is_empty() && self.handed.is_empty()) {
                self.go_on(mmu);
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
                    if result == GO_ON {
                        let left = if self.inner.interpreter.core().fuel > 0 { Left::Elsewhere } else { Left::Fuel };
                        self.inner.profile.leave(left);
                    } else {
                        if std::mem::take(&mut self.inner.windowless) {
                            self.missed_window();
                        }
                        let stopped = self.stopped();
                        self.inner.profile.leave(Left::of(stopped));
                        match stopped {
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
        match self.inner.fitting(mmu, rip, flavour) {
            Some(Fitting::Ready(slot)) => {
                self.inner.links.link(rip, slot);
                return Some(slot);
            }
            Some(Fitting::Coming) => {
                self.cold.note(rip, mmu.code_epoch());
                return None;
            }
            None => {}
        }
        let frame = mmu.code_frame(VirtAddr(u64::from(rip))).ok()?;
        let hot = self.options.threshold == 0 || self.inner.interpreter.is_hot(frame, u64::from(rip));
        if hot && self.inner.profile.refused.contains(&(frame, rip)) {
            return None;
        }
        if hot {
            self.wish((mmu.code_epoch(), flavour), rip, frame);
            self.go_on(mmu);
        }
        if let Some(Fitting::Ready(slot)) = self.inner.fitting(mmu, rip, flavour) {
            self.inner.links.link(rip, slot);
            return Some(slot);
        }
        self.cold.note(rip, mmu.code_epoch());
        None
    }

    /// What a stop means; nothing when the instruction is to be interpreted.
    fn stopped(&mut self) -> Option<Exit> {
        let inner = &mut self.inner;
        let (id, number) = (inner.state.region, inner.state.exit as usize);
        let exit = *inner.regions.get(id)?.function.exits.get(number)?;
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

    fn work(&self) -> Option<Work> {
        Some(self.inner.profile.work())
    }

    fn compiled_at(&self, mmu: &Mmu, address: u64) -> Option<u64> {
        let page = VirtAddr(address).page();
        let frame = mmu.mapping(mmu.active()?, page)?.frame;
        let at = (address % PAGE_SIZE as u64) as u16;
        let regions = self.inner.regions.touching(frame, &(at..at + 1));
        let here = regions.into_iter().filter_map(|id| self.inner.regions.get(id));
        let here = here.filter(|region| region.module.is_some() && region.pages.contains(&(page.0 as u32, frame)));
        here.max_by_key(|region| region.used).and_then(|region| Some(u64::from(region.entries.first()?.0)))
    }

    fn take_hot(&mut self) -> Vec<Hot> {
        self.inner.expected.take_hot()
    }

    fn expect(&mut self, frame: FrameId, page: HotPage) {
        self.inner.interpreter.expect_hot(frame, page.starts.clone(), EARLY);
        self.inner.expected.set(frame, page);
    }

    fn figures(&self) -> Vec<(String, f64)> {
        self.inner.figures()
    }
}

impl Inner {
    /// What there is of a region at an address that fits what is mapped.
    fn fitting(&mut self, mmu: &mut Mmu, rip: u32, flavour: u16) -> Option<Fitting> {
        let now = self.profile.entries;
        let mut coming = None;
        for &id in self.regions.at(rip) {
            let Some(region) = self.regions.get(id) else { continue };
            let mut mapped = region.pages.iter().map(|&(page, frame)| {
                mmu.code_frame(VirtAddr(u64::from(page) << 12)).is_ok_and(|found| found == frame)
            });
            if region.flavour == flavour && mapped.all(|same| same) {
                if region.module.is_none() {
                    coming = Some(Fitting::Coming);
                    continue;
                }
                let slot = region.slot;
                if let Some(region) = self.regions.get_mut(id) {
                    region.used = now;
                }
                return Some(Fitting::Ready(slot));
            }
        }
        coming
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

/// The address of something in this program's memory. Where addresses are longer, no generated code ever runs.
fn address_of<T>(thing: &T) -> u32 {
    std::ptr::from_ref(thing) as usize as u32
}
