//! What compiling involves: which regions go into a batch, their code, and where it is found from then on.

use std::collections::{HashMap, HashSet, VecDeque};

use vm_cpu::Interpreter;
use vm_cpu::decode::{self, Context, Truncated};
use vm_cpu::ir::Op;
use vm_mem::{Mmu, PAGE_SIZE, VirtAddr};

use super::{Inner, Jit};
use crate::cache::{Compiled, RegionId, Regions, spans};
use crate::emit::{self, Function, Numbers};
use crate::expected::Expected;
use crate::host::{CodeHost, ModuleId};
use crate::links::Links;
use crate::module;
use crate::plan::{CodeSource, Found, Region, plan};
use crate::shape::Shape;

/// Regions compiled at a time at most.
pub(super) const BATCH: usize = 16;
/// Operations after which a batch is large enough: what takes the host and us some milliseconds.
const BATCH_OPS: usize = 1500;
/// Bytes by which the heap is extended at a time, and modules installed before that is done again.
const HEAP_BYTES: usize = 16 << 20;
pub(super) const HEAP_MODULES: u32 = 128;

/// A region that is about to be installed.
struct Draft {
    slot: u32,
    id: RegionId,
    region: Region,
    function: Function,
}

/// Operations that generated code names by number.
#[derive(Default)]
pub(super) struct Operations {
    pub(super) all: Vec<Op>,
    numbers: HashMap<Op, u32>,
}

impl<H: CodeHost> Jit<H> {
    /// Compiles the region at an address and, in the same module, those it leads to that are nearly as hot.
    pub(super) fn compile(&mut self, mmu: &mut Mmu, rip: u32, flavour: u16) -> Option<u32> {
        self.merge_modules();
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
            let Some(draft) = self.draft(mmu, start, start == rip) else { continue };
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
        let handed_over = self.host.now_ms();
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
        self.inner.profile.install_ms += self.host.now_ms() - handed_over;
        let guest_bytes = drafts.iter().map(|draft| draft.region.bytes()).sum();
        self.inner.profile.compiled(drafts.len(), guest_bytes, bytes.len(), self.host.now_ms() - began);
        let slot = drafts.iter().find(|draft| draft.region.start() == rip).map(|draft| draft.slot);
        for (draft, (_, function)) in drafts.into_iter().zip(functions) {
            self.add(mmu, draft, function, module, flavour);
        }
        slot
    }

    /// Plans and emits the region at an address, which is about to be run if it is `at_hand`.
    fn draft(&mut self, mmu: &mut Mmu, start: u32, at_hand: bool) -> Option<Draft> {
        let Inner { interpreter, regions, expected, .. } = &mut self.inner;
        let forced = self.options.threshold == 0;
        let mut source = GuestCode { interpreter, regions, expected, mmu, forced, warm: self.options.threshold / 256 };
        let mut region = plan(&mut source, start, self.options.limits)?;
        let slot = self.free_slots.pop()?;
        let shape = Shape::of(&mut region);
        self.config.stack = self.inner.stack(&region);
        self.config.near = if at_hand { self.inner.near() } else { 0 };
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
        threshold == 0
            || self.inner.expected.is_start(frame, start)
            || reached.is_some_and(|times| times >= threshold / 4)
    }

    fn add(&mut self, mmu: &mut Mmu, draft: Draft, mut function: Function, module: ModuleId, flavour: u16) {
        function.code.shrink_to_fit();
        let Draft { slot, id, region, .. } = draft;
        let entries = region.entries();
        if self.options.threshold > 0 {
            self.inner.expected.note(&region);
        }
        if entries.first().is_some_and(|&(start, frame)| self.inner.expected.is_start(frame, start)) {
            self.inner.profile.expected += 1;
        }
        let compiled = Compiled {
            entries: entries.clone(),
            flavour,
            pages: region.pages(),
            spans: spans(&region),
            slot,
            module,
            function,
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
    expected: &'a Expected,
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
        self.forced
            || self.expected.is_block(frame, start)
            || self.interpreter.reached(frame, address.0).is_some_and(|times| times >= self.warm)
    }

    fn is_entry(&mut self, start: u32) -> bool {
        !self.regions.at(start).is_empty()
    }

    fn jumps_from(&mut self, behind: u32) -> Vec<u32> {
        let mut targets = self.interpreter.jumps_from(behind);
        if let Ok(frame) = self.mmu.code_frame(VirtAddr(u64::from(behind.wrapping_sub(1)))) {
            targets.extend(self.expected.jumps_from(frame, behind));
            targets.sort_unstable();
            targets.dedup();
        }
        targets
    }
}

/// Has the heap grow by one large step, if it has to grow at all: the host tells every module of each step, and the
/// allocator's own are of 64 KiB.
pub(super) fn extend_heap() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_BYTES)));
}
