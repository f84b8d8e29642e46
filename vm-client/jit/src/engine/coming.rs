//! Modules on their way: compiled by the host, at once or beside the guest, and then installed as far as their regions are
//! still wanted.
//!
//! A module puts its functions into their slots when it is installed. So the slot of a region that is dropped before that
//! stays taken until then.

use vm_mem::{FrameId, Mmu};

use super::Jit;
use super::compile::{HEAP_MODULES, extend_heap};
use crate::cache::RegionId;
use crate::host::{CodeHost, InstallError, ModuleId, Ticket};

/// Milliseconds that the host may take for new regions at once; what takes longer is compiled beside the guest.
const AT_ONCE_MS: f64 = 4.0;
/// Modules compiled beside the guest at a time.
const MOST: usize = 4;
/// What the host takes for a KiB before that is known, and at most: a host that was slow once is asked again.
const FIRST_RATE: f64 = 0.01;
const MOST_RATE: f64 = 0.25;
/// How much of the rate is that of the last module, and how much of it is left when a module was not compiled at once.
const LAST: f64 = 0.25;
const AGED: f64 = 0.9;

/// A module that is to be installed.
pub(super) struct Coming {
    /// Its regions and their slots.
    pub(super) places: Vec<(RegionId, u32)>,
    /// Slots of those that were dropped meanwhile.
    pub(super) dropped: Vec<u32>,
    pub(super) what: For,
}

/// What a module is for.
pub(super) enum For {
    /// New regions, made from a space for hot code in a frame, from so many bytes.
    Batch { space: (u64, u16), hot: (FrameId, u32), bytes: usize },
    /// Regions that are in several modules now.
    Merged,
}

/// What the host has been given.
pub(super) struct Handed {
    coming: Vec<(Ticket, f64, Coming)>,
    next: u32,
    /// Milliseconds that the host takes for a KiB.
    rate: f64,
}

impl Default for Handed {
    fn default() -> Self {
        Self { coming: Vec::new(), next: 0, rate: FIRST_RATE }
    }
}

impl Handed {
    /// Of a host that takes as long as can be.
    #[cfg(test)]
    pub(super) fn slow() -> Handed {
        Handed { rate: f64::MAX, ..Handed::default() }
    }

    /// Whether the host is compiling nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.coming.is_empty()
    }

    /// Whether modules are being put together.
    pub(super) fn is_merging(&self) -> bool {
        self.coming.iter().any(|(.., coming)| matches!(coming.what, For::Merged))
    }

    /// Notes that the region in a slot was dropped; tells whether the slot stays taken for now.
    pub(super) fn drop_slot(&mut self, slot: u32) -> bool {
        let place = |&(_, at): &(RegionId, u32)| at == slot;
        let Some((.., coming)) = self.coming.iter_mut().find(|(.., coming)| coming.places.iter().any(place)) else {
            return false;
        };
        coming.places.retain(|it| !place(it));
        coming.dropped.push(slot);
        true
    }
}

impl<H: CodeHost> Jit<H> {
    /// Whether the host is to finish something first.
    pub(super) fn is_host_busy(&self) -> bool {
        self.handed.coming.len() >= MOST
    }

    /// Has the host compile a module: at once if that is quick, or if everything is compiled before it is run.
    pub(super) fn hand_over(&mut self, mmu: &mut Mmu, module: &[u8], coming: Coming) {
        let kib = (module.len() as f64 / 1024.0).max(1.0);
        let began = self.host.now_ms();
        // Nobody waits for what is put together.
        let waited_for = matches!(coming.what, For::Batch { .. });
        if self.options.threshold > 0 && (!waited_for || kib * self.handed.rate > AT_ONCE_MS) {
            if waited_for {
                self.handed.rate *= AGED;
            }
            let ticket = Ticket(self.handed.next);
            self.handed.next = self.handed.next.wrapping_add(1);
            self.host.start(module, ticket);
            self.inner.profile.beside += 1;
            self.handed.coming.push((ticket, began, coming));
        } else {
            let installed = self.host.compile(module).and_then(|module| self.host.install(module));
            let rate = ((self.host.now_ms() - began) / kib).min(MOST_RATE);
            self.handed.rate += LAST * (rate - self.handed.rate);
            self.arrived(mmu, coming, installed);
        }
        self.inner.profile.wasm_bytes += module.len() as u64;
        self.inner.profile.install_ms += self.host.now_ms() - began;
    }

    /// Installs what the host has compiled meanwhile.
    pub(super) fn take_compiled(&mut self, mmu: &mut Mmu) {
        while !self.handed.is_empty()
            && let Some((ticket, compiled)) = self.host.compiled()
        {
            let Some(at) = self.handed.coming.iter().position(|(other, ..)| *other == ticket) else { continue };
            let (_, began, coming) = self.handed.coming.swap_remove(at);
            let now = self.host.now_ms();
            self.inner.profile.beside_ms += now - began;
            if coming.places.is_empty() {
                self.free_slots.extend(coming.dropped);
                continue;
            }
            let installed = compiled.and_then(|module| self.host.install(module));
            self.arrived(mmu, coming, installed);
            self.inner.profile.install_ms += self.host.now_ms() - now;
        }
    }

    fn arrived(&mut self, mmu: &mut Mmu, coming: Coming, installed: Result<ModuleId, InstallError>) {
        for &slot in &coming.dropped {
            self.host.clear(slot);
        }
        self.free_slots.extend(coming.dropped);
        let module = match installed {
            Ok(module) => module,
            Err(error) => {
                self.inner.profile.install_errors += 1;
                self.inner.profile.last_error = error.0;
                match coming.what {
                    For::Batch { hot: (frame, start), .. } => {
                        for (id, _) in coming.places {
                            self.drop_region(mmu, id);
                        }
                        self.refuse(frame, start);
                    }
                    For::Merged => self.merging_failed(),
                }
                return;
            }
        };
        self.until_heap = self.until_heap.checked_sub(1).unwrap_or_else(|| {
            extend_heap();
            HEAP_MODULES
        });
        for &(id, _) in &coming.places {
            if let Some(emptied) = self.inner.regions.join_module(id, module) {
                self.host.discard(emptied);
            }
        }
        let For::Batch { space, bytes, .. } = coming.what else {
            self.inner.profile.merged += 1;
            return;
        };
        self.inner.profile.compiled += coming.places.len() as u64;
        self.inner.profile.guest_bytes += bytes as u64;
        self.cold.forget();
        for &(id, slot) in &coming.places {
            let Some(region) = self.inner.regions.get(id) else { continue };
            for &(start, frame) in &region.entries {
                // The interpreter stops there from now on.
                self.inner.interpreter.set_heat(frame, u64::from(start), Some(0));
            }
            if let Some(&(start, _)) = region.entries.first() {
                self.inner.links.link_in(space, start, slot);
            }
        }
    }
}
