//! The sparse page table of one address space: the truth that flat tables and the TLB only repeat.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::{FrameId, Mapping, Prot, Vpn};

/// Pages a leaf holds: 512 KiB of addresses, so a small program needs half a dozen leaves of half a KiB.
const LEAF_PAGES: u64 = 128;

/// Bits of a page table entry and of a flat-table word below the frame's offset.
pub(crate) mod bits {
    /// The entry maps a page (page table only).
    pub(crate) const PRESENT: u32 = 1 << 0;
    /// Loads are permitted; in a flat table: need no slow path.
    pub(crate) const READ: u32 = 1 << 1;
    /// Stores are permitted; in a flat table: need no slow path.
    pub(crate) const WRITE: u32 = 1 << 2;
    /// Fetches are permitted.
    pub(crate) const EXEC: u32 = 1 << 3;
    /// Stored to since the bit was cleared (page table only).
    pub(crate) const DIRTY: u32 = 1 << 4;
    /// The frame number times the page size.
    pub(crate) const FRAME: u32 = !0xfff;
}

/// A page table entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pte(pub(crate) u32);

impl Pte {
    const NONE: Pte = Pte(0);

    pub(crate) fn new(frame: FrameId, prot: Prot) -> Self {
        Pte(frame.0 << 12 | bits::PRESENT).with_prot(prot)
    }

    pub(crate) fn is_present(self) -> bool {
        self.has(bits::PRESENT)
    }

    pub(crate) fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    pub(crate) fn frame(self) -> FrameId {
        FrameId(self.0 >> 12)
    }

    pub(crate) fn with_prot(self, prot: Prot) -> Self {
        let mut word = self.0 & !(bits::READ | bits::WRITE | bits::EXEC);
        for (on, bit) in [(prot.read, bits::READ), (prot.write, bits::WRITE), (prot.execute, bits::EXEC)] {
            if on {
                word |= bit;
            }
        }
        Pte(word)
    }

    pub(crate) fn mapping(self) -> Mapping {
        Mapping {
            frame: self.frame(),
            prot: Prot { read: self.has(bits::READ), write: self.has(bits::WRITE), execute: self.has(bits::EXEC) },
            dirty: self.has(bits::DIRTY),
        }
    }

    /// The word that lets accesses through without the slow path. A store to a clean page has to set the dirty bit
    /// first, and one to a page that holds code has to be recorded.
    pub(crate) fn fast_word(self, holds_code: bool) -> u32 {
        if !self.is_present() {
            return 0;
        }
        let mut word = self.0 & (bits::FRAME | bits::READ | bits::WRITE | bits::EXEC);
        if holds_code || !self.has(bits::DIRTY) {
            word &= !bits::WRITE;
        }
        word
    }
}

struct Leaf {
    entries: [Pte; LEAF_PAGES as usize],
    present: u32,
}

/// A page table.
#[derive(Default)]
pub(crate) struct PageTable {
    leaves: BTreeMap<u64, Box<Leaf>>,
    present: u32,
}

impl PageTable {
    /// The number of mapped pages.
    pub(crate) fn present(&self) -> u32 {
        self.present
    }

    pub(crate) fn get(&self, page: Vpn) -> Option<Pte> {
        let leaf = self.leaves.get(&(page.0 / LEAF_PAGES))?;
        Some(leaf.entries[(page.0 % LEAF_PAGES) as usize]).filter(|pte| pte.is_present())
    }

    /// Sets an entry and returns the one before.
    pub(crate) fn set(&mut self, page: Vpn, pte: Pte) -> Option<Pte> {
        let leaf = self
            .leaves
            .entry(page.0 / LEAF_PAGES)
            .or_insert_with(|| Box::new(Leaf { entries: [Pte::NONE; LEAF_PAGES as usize], present: 0 }));
        let before = std::mem::replace(&mut leaf.entries[(page.0 % LEAF_PAGES) as usize], pte);
        if before.is_present() {
            return Some(before);
        }
        leaf.present += 1;
        self.present += 1;
        None
    }

    pub(crate) fn clear(&mut self, page: Vpn) -> Option<Pte> {
        let key = page.0 / LEAF_PAGES;
        let leaf = self.leaves.get_mut(&key)?;
        let before = std::mem::replace(&mut leaf.entries[(page.0 % LEAF_PAGES) as usize], Pte::NONE);
        if !before.is_present() {
            return None;
        }
        leaf.present -= 1;
        self.present -= 1;
        if leaf.present == 0 {
            self.leaves.remove(&key);
        }
        Some(before)
    }

    /// The present entries of a range in order.
    pub(crate) fn range(&self, pages: Range<Vpn>) -> impl Iterator<Item = (Vpn, Pte)> {
        let keys = pages.start.0 / LEAF_PAGES..pages.end.0.div_ceil(LEAF_PAGES).max(pages.start.0 / LEAF_PAGES);
        self.leaves.range(keys).flat_map(move |(key, leaf)| {
            let first = key * LEAF_PAGES;
            let from = pages.start.0.saturating_sub(first).min(LEAF_PAGES) as usize;
            let to = (pages.end.0.saturating_sub(first).min(LEAF_PAGES) as usize).max(from);
            let entries = leaf.entries[from..to].iter().enumerate();
            entries
                .filter(|(_, pte)| pte.is_present())
                .map(move |(index, pte)| (Vpn(first + (from + index) as u64), *pte))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_see_exactly_the_pages_inside() {
        let mut table = PageTable::default();
        for page in [0, 126, 127, 128, 300, 1 << 35] {
            assert!(table.set(Vpn(page), Pte::new(FrameId(3), Prot::default())).is_none());
        }
        let inside = |from, to| table.range(Vpn(from)..Vpn(to)).map(|(page, _)| page.0).collect::<Vec<_>>();
        assert_eq!(inside(0, 1 << 36), [0, 126, 127, 128, 300, 1 << 35]);
        assert_eq!(inside(127, 300), [127, 128]);
        assert_eq!(inside(1, 126), [] as [u64; 0]);
        assert_eq!(inside(300, 300), [] as [u64; 0]);
        assert_eq!(table.present(), 6);
    }

    #[test]
    fn empty_leaves_are_dropped() {
        let mut table = PageTable::default();
        table.set(Vpn(5), Pte::new(FrameId(0), Prot::default()));
        assert!(table.clear(Vpn(6)).is_none());
        assert!(table.clear(Vpn(5)).is_some());
        assert!(table.leaves.is_empty());
    }
}
