//! Watched addresses, for debug registers.
//!
//! While anything is watched no access takes the fast path, so the normal state costs nothing.

use crate::flat;
use crate::{Access, Mmu, PAGE_SIZE, VirtAddr};

/// An address range to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The bit it sets in the answer of [`Mmu::take_watch_hits`].
    pub bit: u8,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Whether loads count, not only stores.
    pub loads: bool,
}

impl Mmu {
    /// Watches these ranges of the active space, until [`Mmu::unwatch`] or another space becomes active.
    pub fn watch(&mut self, watches: Vec<Watch>) {
        if !watches.is_empty() {
            self.fast_limit = 0;
        }
        self.watches = watches;
        self.watch_hits = 0;
    }

    /// Watches nothing any more.
    pub fn unwatch(&mut self) {
        if !self.watches.is_empty() {
            self.watches.clear();
            if !self.fast_words.is_null() {
                self.fast_limit = flat::WORDS * PAGE_SIZE as u64;
            }
        }
    }

    /// Which watches were hit since this was asked last.
    pub fn take_watch_hits(&mut self) -> u8 {
        std::mem::take(&mut self.watch_hits)
    }

    /// Notes an access that was made.
    #[inline]
    pub(crate) fn note_access(&mut self, addr: VirtAddr, len: usize, access: Access) {
        for watch in &self.watches {
            let near = addr.0 < watch.start + watch.len && watch.start < addr.0.saturating_add(len as u64);
            if near && (access == Access::Write || watch.loads) {
                self.watch_hits |= watch.bit;
            }
        }
    }
}
