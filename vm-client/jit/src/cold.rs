//! Addresses the dispatcher found nothing to run at: neither code nor, yet, reason to make some.
//!
//! Finding that out takes several look-ups, and cold code is met again and again before it is hot. What is noted here holds
//! for so many visits, and as long as nothing is compiled or dropped and the space stays as it is.

/// Entries of the table; what falls on the same one replaces what was there.
const ENTRIES: usize = 1 << 12;
/// Visits after which it is found out anew.
const VISITS: u32 = 50;

#[derive(Clone, Copy, Default)]
struct Entry {
    address: u32,
    /// Visits it still holds for.
    left: u32,
    stamp: (u64, u64),
}

/// See the module.
pub struct Cold {
    entries: Box<[Entry]>,
    /// Regions came or went so many times.
    changes: u64,
}

impl Default for Cold {
    fn default() -> Self {
        Self { entries: vec![Entry::default(); ENTRIES].into_boxed_slice(), changes: 0 }
    }
}

impl Cold {
    fn place(address: u32) -> usize {
        (address ^ (address >> 12)) as usize & (ENTRIES - 1)
    }

    /// Whether an address is known to be cold in the space with this code epoch; counts the visit.
    pub fn is_cold(&mut self, address: u32, epoch: u64) -> bool {
        let stamp = (epoch, self.changes);
        let entry = &mut self.entries[Self::place(address)];
        let known = entry.address == address && entry.stamp == stamp && entry.left > 0;
        if known {
            entry.left -= 1;
        }
        known
    }

    /// Notes that an address is cold.
    pub fn note(&mut self, address: u32, epoch: u64) {
        self.entries[Self::place(address)] = Entry { address, left: VISITS, stamp: (epoch, self.changes) };
    }

    /// Forgets everything: there are more regions, or fewer.
    pub fn forget(&mut self) {
        self.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_cold_for_some_visits_in_one_space_until_something_is_compiled() {
        let mut cold = Cold::default();
        assert!(!cold.is_cold(0, 0) && !cold.is_cold(0x1000, 7));
        cold.note(0x1000, 7);
        assert!(cold.is_cold(0x1000, 7) && !cold.is_cold(0x1000, 8) && !cold.is_cold(0x1001, 7));
        let more = (0..1000).take_while(|_| cold.is_cold(0x1000, 7)).count();
        assert_eq!(more as u32, VISITS - 1);
        cold.note(0x1000, 7);
        cold.forget();
        assert!(!cold.is_cold(0x1000, 7));
    }
}
