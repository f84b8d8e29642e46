//! Chunks kept, least recently used first out.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::{ChunkId, Urgency};

struct Entry {
    bytes: Bytes,
    used: u64,
    /// Fetched ahead and not read yet.
    ahead: bool,
}

/// A bounded number of chunks.
pub(super) struct Lru {
    most: usize,
    clock: u64,
    entries: HashMap<ChunkId, Entry>,
    by_use: BTreeMap<u64, ChunkId>,
    ahead_used: u64,
}

impl Lru {
    pub(super) fn new(most: usize) -> Self {
        Self { most, clock: 0, entries: HashMap::new(), by_use: BTreeMap::new(), ahead_used: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn ahead_used(&self) -> u64 {
        self.ahead_used
    }

    pub(super) fn contains(&self, chunk: ChunkId) -> bool {
        self.entries.contains_key(&chunk)
    }

    pub(super) fn get(&mut self, chunk: ChunkId) -> Option<Bytes> {
        let entry = self.entries.get_mut(&chunk)?;
        // The newest need not move: reads of one chunk come in rows.
        if entry.used != self.clock {
            self.clock += 1;
            self.by_use.remove(&entry.used);
            entry.used = self.clock;
            self.by_use.insert(self.clock, chunk);
        }
        self.ahead_used += u64::from(std::mem::take(&mut entry.ahead));
        Some(entry.bytes.clone())
    }

    pub(super) fn insert(&mut self, chunk: ChunkId, bytes: Bytes, urgency: Urgency) {
        self.clock += 1;
        let entry = Entry { bytes, used: self.clock, ahead: urgency == Urgency::Prefetch };
        if let Some(old) = self.entries.insert(chunk, entry) {
            self.by_use.remove(&old.used);
        }
        self.by_use.insert(self.clock, chunk);
        while self.entries.len() > self.most {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut lru = Lru::new(3);
        for n in 0..3 {
            lru.insert(ChunkId(n), Bytes::new(), Urgency::Demand);
        }
        assert!(lru.get(ChunkId(0)).is_some());
        lru.insert(ChunkId(3), Bytes::new(), Urgency::Prefetch);
        assert!(!lru.contains(ChunkId(1)));
        assert!(lru.contains(ChunkId(0)) && lru.contains(ChunkId(2)));
        assert!(lru.get(ChunkId(3)).is_some() && lru.get(ChunkId(3)).is_some());
        assert_eq!((lru.len(), lru.ahead_used()), (3, 1));
    }
}
