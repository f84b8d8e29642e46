//! Batches: which regions are compiled together, and when.
//!
//! A batch is made in steps, each of which plans or emits one region. Steps are taken until they have used up the time of
//! one go; then the guest goes on, in the interpreter where it has to, and so on. What changed meanwhile is dropped from the
//! batch.

use std::collections::{HashSet, VecDeque};

use vm_mem::{FrameId, Mmu};

use super::Jit;
use super::coming::{Coming, For};
use crate::cache::RegionId;
use crate::emit::{Function, StackRegisters};
use crate::host::CodeHost;
use crate::module;
use crate::plan::Region;
use crate::shape::Shape;

/// Regions compiled at a time at most.
pub(super) const BATCH: usize = 16;
/// Operations after which a batch is large enough.
const BATCH_OPS: usize = 1500;
/// Milliseconds of one go, to which comes what the last step takes.
const GO_MS: f64 = 2.0;
/// The part of them that is the guest's before the next.
const REST: f64 = 0.5;
/// Hot code that waits for a batch at most; what is not noted gets hot again.
const MOST_WISHES: usize = 64;

/// An address whose code is to be compiled.
pub(super) struct Wish {
    pub(super) start: u32,
    /// The frame of code that is hot; nothing for what is compiled on the occasion.
    hot: Option<FrameId>,
    /// Whether RBP pointed into the stack, and which other registers did, when it was about to be run.
    pub(super) framed: bool,
    pub(super) near: u8,
}

/// A region of the batch under way.
pub(super) struct Draft {
    pub(super) id: RegionId,
    pub(super) slot: u32,
    pub(super) stack: StackRegisters,
    pub(super) near: u8,
    /// Bytes of the guest's code.
    pub(super) bytes: usize,
    /// What is to be emitted yet.
    pub(super) plan: Option<(Region, Shape)>,
}

/// The batch under way.
pub(super) struct Batch {
    /// The space it is made from and the flavour of the code.
    space: (u64, u16),
    /// The hot code it is made for.
    hot: (FrameId, u32),
    drafts: Vec<Draft>,
    next: VecDeque<Wish>,
    /// Blocks that will be hot soon, when everything else is done.
    others: Option<VecDeque<u32>>,
    seen: HashSet<u32>,
    ops: usize,
}

/// What is wanted: the hot code of each space, and the batch under way.
#[derive(Default)]
pub(super) struct Wanted {
    wishes: VecDeque<((u64, u16), Wish)>,
    batch: Option<Batch>,
    /// When the guest has had its time.
    rested: f64,
}

impl Wanted {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_none() && self.wishes.is_empty()
    }

    /// Drops a region from the batch.
    pub(super) fn drop_slot(&mut self, slot: u32) {
        if let Some(batch) = &mut self.batch {
            batch.drafts.retain(|draft| draft.slot != slot);
        }
    }

    fn take_wish(&mut self, space: (u64, u16)) -> Option<Wish> {
        let at = self.wishes.iter().position(|(of, _)| *of == space)?;
        self.wishes.remove(at).map(|(_, wish)| wish)
    }
}

impl<H: CodeHost> Jit<H> {
    /// Notes that the code at the instruction pointer is hot.
    pub(super) fn wish(&mut self, space: (u64, u16), start: u32, frame: FrameId) {
        // The interpreter need not tell it again and again.
        let times = self.options.threshold.max(1);
        self.inner.interpreter.set_heat(frame, u64::from(start), Some(times));
        let wish = Wish { start, hot: Some(frame), framed: self.inner.is_framed(), near: self.inner.near() };
        if self.wanted.wishes.len() == MOST_WISHES {
            self.wanted.wishes.pop_front();
        }
        self.wanted.wishes.push_back((space, wish));
    }

    /// Installs what the host has compiled, and compiles for a few milliseconds if there is anything to compile and the guest
    /// has had its time.
    pub(super) fn go_on(&mut self, mmu: &mut Mmu) {
        let began = self.host.now_ms();
        self.take_compiled(mmu);
        let forced = self.options.threshold == 0;
        if forced || began >= self.wanted.rested {
            while self.step(mmu) && (forced || self.host.now_ms() - began < GO_MS) {}
        }
        let ended = self.host.now_ms();
        let spent = ended - began;
        self.wanted.rested = self.wanted.rested.max(ended + REST * spent);
        self.inner.profile.compile_ms += spent;
        self.inner.profile.longest_compile_ms = self.inner.profile.longest_compile_ms.max(spent);
    }

    /// Takes one step; tells whether there was any to take.
    fn step(&mut self, mmu: &mut Mmu) -> bool {
        let Some(mut batch) = self.wanted.batch.take() else { return self.begin(mmu) };
        if let Some(draft) = batch.drafts.iter_mut().find(|draft| draft.plan.is_some()) {
            self.emit(draft);
        } else if !self.plan_next(mmu, &mut batch) {
            self.finish(mmu, batch);
            return true;
        }
        self.wanted.batch = Some(batch);
        true
    }

    fn begin(&mut self, mmu: &mut Mmu) -> bool {
        if self.is_host_busy() {
            return false;
        }
        if self.merge_modules(mmu) {
            return true;
        }
        let space = (mmu.code_epoch(), self.inner.interpreter.flavour());
        let Some(wish) = self.wanted.take_wish(space) else { return false };
        let Some(frame) = wish.hot else { return false };
        // Where addresses are longer, no generated code ever runs.
        self.config.first_frame = mmu.first_frame() as u32;
        self.make_room(mmu);
        self.wanted.batch = Some(Batch {
            space,
            hot: (frame, wish.start),
            drafts: Vec::new(),
            seen: HashSet::from([wish.start]),
            next: VecDeque::from([wish]),
            others: None,
            ops: 0,
        });
        true
    }

    /// Plans one more region; tells whether the batch is to go on.
    fn plan_next(&mut self, mmu: &mut Mmu, batch: &mut Batch) -> bool {
        let full = batch.drafts.len() >= BATCH || batch.ops >= BATCH_OPS || self.free_slots.is_empty();
        if full || batch.space != (mmu.code_epoch(), self.inner.interpreter.flavour()) {
            return false;
        }
        let wish = batch.next.pop_front().or_else(|| self.wanted.take_wish(batch.space));
        let wish = match wish {
            Some(wish) => wish,
            None => {
                let others = batch.others.get_or_insert_with(|| self.nearly_hot(mmu).into());
                let Some(start) = others.pop_front() else { return false };
                if !self.is_free(mmu, start, None) {
                    return true;
                }
                Wish { start, hot: None, framed: self.inner.is_framed(), near: 0 }
            }
        };
        if self.inner.fitting(mmu, wish.start, batch.space.1).is_some() {
            return true;
        }
        let Some(draft) = self.plan(mmu, &wish, batch.space.1) else {
            if let Some(frame) = wish.hot {
                self.refuse(frame, wish.start);
            }
            return true;
        };
        if let Some((region, _)) = &draft.plan {
            batch.ops += region.ops();
            for target in region.leads_to() {
                if batch.seen.insert(target) && self.is_worth(mmu, target) {
                    let wish = Wish { start: target, hot: None, framed: self.inner.is_framed(), near: 0 };
                    batch.next.push_back(wish);
                }
            }
        }
        batch.drafts.push(draft);
        true
    }

    /// Hands a batch over to the host.
    fn finish(&mut self, mmu: &mut Mmu, batch: Batch) {
        if batch.drafts.is_empty() {
            return;
        }
        let regions = &self.inner.regions;
        let functions: Vec<(u32, &Function)> =
            batch.drafts.iter().filter_map(|draft| Some((draft.slot, &regions.get(draft.id)?.function))).collect();
        let module = module::module(&functions);
        let bytes = batch.drafts.iter().map(|draft| draft.bytes).sum();
        let places = batch.drafts.iter().map(|draft| (draft.id, draft.slot)).collect();
        let what = For::Batch { space: batch.space, hot: batch.hot, bytes };
        self.hand_over(mmu, &module, Coming { places, dropped: Vec::new(), what });
    }

    /// Notes that hot code cannot be compiled; it is not tried again.
    pub(super) fn refuse(&mut self, frame: FrameId, start: u32) {
        self.inner.profile.refused.insert((frame, start));
        self.inner.interpreter.set_heat(frame, u64::from(start), None);
    }
}
