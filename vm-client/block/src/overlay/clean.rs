//! Stored pages kept in memory.

use std::collections::HashMap;

use bytes::Bytes;

/// A bounded number of pages, in two generations: when the young one is full it becomes the old one.
pub(super) struct CleanPages {
    half: usize,
    young: HashMap<u64, Bytes>,
    old: HashMap<u64, Bytes>,
}

impl CleanPages {
    pub(super) fn new(pages: usize) -> Self {
        Self { half: (pages / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// Pages that fit without pushing out others.
    pub(super) fn free(&self) -> usize {
        self.half.saturating_sub(self.young.len())
    }

    pub(super) fn get(&mut self, page: u64) -> Option<Bytes> {
        if let Some(found) = self.young.get(&page) {
            return Some(found.clone());
        }
        let found = self.old.remove(&page)?;
        self.insert(page, found.clone());
        Some(found)
    }

    pub(super) fn insert(&mut self, page: u64, content: Bytes) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&page);
        self.young.insert(page, content);
    }

    pub(super) fn remove(&mut self, page: u64) {
        self.young.remove(&page);
        self.old.remove(&page);
    }
}
