//! A small software TLB for address spaces too large for a flat table.

use crate::Vpn;

const ENTRIES: usize = 256;

#[derive(Clone, Copy)]
struct Entry {
    page: Vpn,
    word: u32,
}

const EMPTY: Entry = Entry { page: Vpn(0), word: 0 };

/// Direct-mapped translations of the active address space, in the format of flat-table words.
pub(crate) struct Tlb {
    entries: Box<[Entry; ENTRIES]>,
    used: bool,
}

impl Tlb {
    pub(crate) fn new() -> Self {
        Self { entries: Box::new([EMPTY; ENTRIES]), used: false }
    }

    /// The word of a page, zero when it is not known.
    #[inline]
    pub(crate) fn get(&self, page: Vpn) -> u32 {
        let entry = &self.entries[page.0 as usize % ENTRIES];
        if entry.page == page { entry.word } else { 0 }
    }

    pub(crate) fn set(&mut self, page: Vpn, word: u32) {
        self.entries[page.0 as usize % ENTRIES] = Entry { page, word };
        self.used = true;
    }

    /// Changes the word of a page if it is cached.
    pub(crate) fn update(&mut self, page: Vpn, word: u32) {
        let entry = &mut self.entries[page.0 as usize % ENTRIES];
        if entry.page == page {
            entry.word = word;
        }
    }

    pub(crate) fn flush(&mut self) {
        if std::mem::take(&mut self.used) {
            self.entries.fill(EMPTY);
        }
    }
}
