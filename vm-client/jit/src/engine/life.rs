//! The life of code: room for more of it, what is dropped because its bytes changed or nobody used it, and what survives
//! in fewer modules.

use vm_mem::Mmu;

use super::Jit;
use super::batch::BATCH;
use super::coming::{Coming, For};
use super::compile::Operations;
use crate::cache::{Compiled, RegionId};
use crate::emit::Function;
use crate::host::CodeHost;
use crate::module;

/// Operations that are numbered before everything is dropped.
const MOST_OPERATIONS: usize = 1 << 16;
/// Modules beyond which old ones are put together: each costs the host some 100 KB beside the machine code.
pub(super) const MOST_MODULES: usize = 128;
/// How many more there are before that is tried again after the host did not take one.
const MORE_MODULES: usize = 32;
/// Bytes of code in a module put together.
const MERGED_BYTES: usize = 256 << 10;
/// The part of the regions that is dropped when there is no room: the less, the more of what is used stays.
const EVICTED: usize = 8;
/// Windows a region may miss before it is compiled without.
const WINDOWS_MISSED: u32 = 300;

impl<H: CodeHost> Jit<H> {
    /// Makes room for another batch.
    pub(super) fn make_room(&mut self, mmu: &mut Mmu) {
        if self.inner.links.is_full() || self.inner.operations.all.len() > MOST_OPERATIONS {
            // Addresses and operations are numbered for good as long as there is code.
            self.evict(mmu, 1);
            self.inner.links.reset();
            self.inner.operations = Operations::default();
            self.inner.profile.requested.clear();
            self.inner.profile.refused.clear();
            self.inner.unfit.clear();
        }
        let (size, budget) = (self.inner.regions.size, self.options.code_budget);
        let part = budget / EVICTED;
        if size > budget || self.free_slots.len() < BATCH {
            self.evict(mmu, EVICTED);
        } else if size + part < budget - part {
            self.watched = false;
        } else if size + part > budget && !std::mem::replace(&mut self.watched, true) {
            self.inner.links.forget_all();
        }
    }

    /// Puts old modules together to one if there are too many; tells whether it does. Their functions stay in their slots,
    /// and run until the new ones are there.
    pub(super) fn merge_modules(&mut self, mmu: &mut Mmu) -> bool {
        if self.inner.regions.modules() <= self.most_modules || self.handed.is_merging() {
            return false;
        }
        let old = self.inner.regions.old_modules(MERGED_BYTES);
        if old.len() < 2 {
            return false;
        }
        let regions = &self.inner.regions;
        let old = old.iter().flat_map(|(_, regions)| regions);
        let old: Vec<(RegionId, &Compiled)> = old.filter_map(|&id| Some((id, regions.get(id)?))).collect();
        let functions: Vec<(u32, &Function)> = old.iter().map(|(_, region)| (region.slot, &region.function)).collect();
        let module = module::module(&functions);
        let places = old.iter().map(|(id, region)| (*id, region.slot)).collect();
        self.hand_over(mmu, &module, Coming { places, dropped: Vec::new(), what: For::Merged });
        true
    }

    /// Waits for more modules before they are put together again.
    pub(super) fn merging_failed(&mut self) {
        self.most_modules = self.inner.regions.modules() + MORE_MODULES;
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
        self.watched = true;
    }

    pub(super) fn drop_changed(&mut self, mmu: &mut Mmu) {
        for (frame, bytes) in self.inner.interpreter.take_changed(mmu) {
            for id in self.inner.regions.touching(frame, &bytes) {
                self.drop_region(mmu, id);
                self.inner.profile.invalidated += 1;
            }
            self.inner.profile.refused.retain(|&(f, _)| f != frame);
            self.inner.unfit.retain(|&(f, _)| f != frame);
        }
    }

    pub(super) fn drop_region(&mut self, mmu: &mut Mmu, id: RegionId) {
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
        if let Some(module) = region.module
            && self.inner.regions.leave_module(module)
        {
            self.host.discard(module);
        }
        self.wanted.drop_slot(region.slot);
        if !self.handed.drop_slot(region.slot) {
            self.free_slots.push(region.slot);
        }
    }

    /// Notes that the region that stopped got no window; it is compiled anew when that happens often.
    pub(super) fn missed_window(&mut self) {
        let id = self.inner.state.region;
        let Some(region) = self.inner.regions.get_mut(id) else { return };
        region.missed_windows += 1;
        if region.missed_windows < WINDOWS_MISSED {
            return;
        }
        self.inner.unfit.extend(region.entries.first().map(|&(start, frame)| (frame, start)));
        self.inner.unfit_region = Some(id);
    }
}
