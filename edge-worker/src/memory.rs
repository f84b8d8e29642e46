//! Verified objects in the isolate's memory, bounded by bytes, least recently used first out.

use std::collections::{BTreeMap, HashMap};

use block_proto::Hash;
use block_proto::key::Prefix;
use bytes::Bytes;

/// An object in its part of the store; two tenants never share an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// The part of the store.
    pub prefix: Prefix,
    /// The object.
    pub hash: Hash,
}

struct Slot {
    stored: Bytes,
    used: u64,
}

/// A byte-bounded cache of stored objects.
pub struct Memory {
    most: usize,
    held: usize,
    clock: u64,
    slots: HashMap<ObjectId, Slot>,
    by_use: BTreeMap<u64, ObjectId>,
}

/// What a slot costs beyond the stored bytes: the key twice, the maps' own.
const OVERHEAD: usize = 256;

impl Memory {
    /// A cache of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, held: 0, clock: 0, slots: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// Changes the bound.
    pub fn resize(&mut self, most: usize) {
        self.most = most;
        self.shrink();
    }

    /// Bytes held, overhead included.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Finds an object and marks it as used.
    pub fn get(&mut self, id: &ObjectId) -> Option<Bytes> {
        let slot = self.slots.get_mut(id)?;
        if slot.used != self.clock {
            self.clock += 1;
            self.by_use.remove(&slot.used);
            slot.used = self.clock;
            self.by_use.insert(self.clock, id.clone());
        }
        Some(slot.stored.clone())
    }

    /// Keeps an object; others go. One too large for the whole cache is not kept.
    pub fn put(&mut self, id: ObjectId, stored: Bytes) {
        self.remove(&id);
        let cost = stored.len() + OVERHEAD;
        if cost > self.most {
            return;
        }
        self.clock += 1;
        self.held += cost;
        self.by_use.insert(self.clock, id.clone());
        self.slots.insert(id, Slot { stored, used: self.clock });
        self.shrink();
    }

    /// Forgets an object and returns it.
    pub fn remove(&mut self, id: &ObjectId) -> Option<Bytes> {
        let slot = self.slots.remove(id)?;
        self.by_use.remove(&slot.used);
        self.held -= slot.stored.len() + OVERHEAD;
        Some(slot.stored)
    }

    fn shrink(&mut self) {
        while self.held > self.most {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some(slot) = self.slots.remove(&oldest) {
                self.held -= slot.stored.len() + OVERHEAD;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(prefix: &str, n: u32) -> ObjectId {
        ObjectId { prefix: prefix.parse().expect("a name"), hash: Hash::of(&n.to_le_bytes()) }
    }

    #[test]
    fn the_least_recently_used_go_first_and_the_bound_holds() {
        let mut memory = Memory::new(10 * (1000 + OVERHEAD));
        for n in 0..10 {
            memory.put(id("", n), vec![n as u8; 1000].into());
        }
        assert!(memory.get(&id("", 0)).is_some());
        for n in 10..19 {
            memory.put(id("", n), vec![n as u8; 1000].into());
            assert!(memory.held() <= 10 * (1000 + OVERHEAD));
        }
        assert_eq!(memory.get(&id("", 0)), Some(vec![0; 1000].into()), "it was used, so it stayed");
        assert!((1..10).all(|n| memory.get(&id("", n)).is_none()));
        memory.resize(0);
        assert_eq!((memory.held(), memory.slots.len(), memory.by_use.len()), (0, 0, 0));
    }

    #[test]
    fn tenants_do_not_see_each_other_and_replacing_counts_once() {
        let mut memory = Memory::new(1 << 20);
        memory.put(id("a", 1), Bytes::from_static(b"one"));
        assert!(memory.get(&id("b", 1)).is_none() && memory.get(&id("", 1)).is_none());
        memory.put(id("a", 1), Bytes::from_static(b"three"));
        assert_eq!(memory.held(), 5 + OVERHEAD);
        assert_eq!(memory.remove(&id("a", 1)), Some(Bytes::from_static(b"three")));
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_drives_nothing_out() {
        let mut memory = Memory::new(10_000);
        memory.put(id("", 1), vec![0; 5000].into());
        memory.put(id("", 2), vec![0; 50_000].into());
        assert!(memory.get(&id("", 1)).is_some() && memory.get(&id("", 2)).is_none());
    }
}
