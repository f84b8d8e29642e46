//! What compiling a region involves: its plan, its code, and what the guest's code is to planning.

use std::collections::HashMap;

use vm_cpu::Interpreter;
use vm_cpu::decode::{self, Context, Truncated};
use vm_cpu::ir::Op;
use vm_mem::{FrameId, Mmu, PAGE_SIZE, VirtAddr};

use super::batch::{Draft, Wish};
use super::{Inner, Jit};
use crate::cache::{Compiled, Regions, spans};
use crate::counts::{Counts, Way};
use crate::emit::{self, Function, Numbers};
use crate::expected::Expected;
use crate::host::CodeHost;
use crate::links::Links;
use crate::plan::{CodeSource, Found, plan};
use crate::shape::Shape;

/// Bytes by which the heap is extended at a time, and modules installed before that is done again.
const HEAP_BYTES: usize = 16 << 20;
pub(super) const HEAP_MODULES: u32 = 128;

/// Operations that generated code names by number.
#[derive(Default)]
pub(super) struct Operations {
    pub(super) all: Vec<Op>,
    numbers: HashMap<Op, u32>,
}

impl<H: CodeHost> Jit<H> {
    /// Plans the region at an address. It is dropped from now on when the code it is made from changes.
    pub(super) fn plan(&mut self, mmu: &mut Mmu, wish: &Wish, flavour: u16) -> Option<Draft> {
        let Inner { interpreter, regions, expected, .. } = &mut self.inner;
        let forced = self.options.threshold == 0;
        let mut source = GuestCode { interpreter, regions, expected, mmu, forced, warm: self.options.threshold / 256 };
        let mut region = plan(&mut source, wish.start, self.options.limits)?;
        let slot = self.free_slots.pop()?;
        let shape = Shape::of(&mut region);
        let stack = self.inner.stack(&region, wish.framed);
        let id = self.inner.regions.take_id();
        if !forced {
            self.inner.expected.note(&region);
        }
        let entries = region.entries();
        if entries.first().is_some_and(|&(start, frame)| self.inner.expected.is_start(frame, start)) {
            self.inner.profile.expected += 1;
        }
        let compiled = Compiled {
            entries,
            flavour,
            pages: region.pages(),
            spans: spans(&region),
            slot,
            module: None,
            function: Function::default(),
            blocks: region.blocks(),
            used: self.inner.profile.entries,
            missed_windows: 0,
        };
        for frame in self.inner.regions.add(id, compiled) {
            self.inner.interpreter.keep(mmu, frame, true);
        }
        Some(Draft { id, slot, stack, near: wish.near, bytes: region.bytes(), plan: Some((region, shape)) })
    }

    /// Emits the code of a region that was planned.
    pub(super) fn emit(&mut self, draft: &mut Draft) {
        let Some((region, shape)) = draft.plan.take() else { return };
        (self.config.stack, self.config.near) = (draft.stack, draft.near);
        let Inner { operations, links, counts, .. } = &mut self.inner;
        let mut naming = Naming { operations, links, counts: counts.as_mut() };
        let mut function = emit::function(&region, &shape, draft.id, &self.config, &mut naming);
        function.code.shrink_to_fit();
        self.inner.regions.set_function(draft.id, function);
    }

    /// The addresses of blocks that will be hot soon, in order: functions come before what is in them.
    pub(super) fn nearly_hot(&mut self, mmu: &mut Mmu) -> Vec<u32> {
        if self.options.threshold == 0 {
            return Vec::new();
        }
        let blocks = self.inner.interpreter.reached_often(self.options.threshold / 2);
        let mut starts: Vec<u32> = blocks
            .into_iter()
            .filter(|&(frame, start)| self.is_free(mmu, start as u32, Some(frame)))
            .map(|(_, start)| start as u32)
            .collect();
        starts.sort_unstable();
        starts
    }

    /// Whether the block at an address, which is in this frame if one is given, is in no region.
    pub(super) fn is_free(&self, mmu: &mut Mmu, start: u32, frame: Option<FrameId>) -> bool {
        let found = mmu.code_frame(VirtAddr(u64::from(start)));
        found.is_ok_and(|found| {
            frame.is_none_or(|frame| frame == found) && !self.inner.regions.has_block((found, start))
        })
    }

    /// Whether a region at an address is to be compiled because one that leads there is.
    pub(super) fn is_worth(&mut self, mmu: &mut Mmu, start: u32) -> bool {
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
}

/// Names for generated code.
struct Naming<'a> {
    operations: &'a mut Operations,
    links: &'a mut Links,
    counts: Option<&'a mut Counts>,
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

    fn counter(&mut self, rip: u32, way: Way, failures: bool) -> Option<u32> {
        Some(self.counts.as_mut()?.place(rip, way, failures))
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
