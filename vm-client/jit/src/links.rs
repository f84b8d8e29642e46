//! How generated code gets from region to region: cells for addresses known when code is emitted, a table for others.
//!
//! Both hold slots of the function table, and hold for one state of one address space: that is what the MMU's code epoch
//! names. A few spaces are kept, so that processes that take turns keep their links. What is not linked leads to a
//! function that only returns, and the dispatcher makes the link.

use crate::cache::AddressMap;
use crate::state::{CELLS, LOOKUP_ENTRIES, State, lookup_entry};

/// Spaces kept at most.
const SPACES: usize = 12;

/// An address no entry is looked up for.
const NOWHERE: u32 = u32::MAX;

/// Addresses noted before it is looked which of them are the same.
const FEW: usize = 1024;

struct Space {
    epoch: u64,
    flavour: u16,
    used: u64,
    cells: Box<[u32]>,
    lookup: Box<[[u32; 2]]>,
    /// What is not at its initial value, so that clearing costs what was linked.
    touched: Vec<u32>,
}

impl Space {
    /// Notes that something of an address may not be at its initial value. Addresses that share an entry of the table take
    /// each other's place again and again.
    fn touch(&mut self, address: u32) {
        if self.touched.len() == self.touched.capacity() {
            self.touched.sort_unstable();
            self.touched.dedup();
            self.touched.reserve(self.touched.len().max(FEW));
        }
        self.touched.push(address);
    }
}

/// See the module.
pub struct Links {
    unlinked: u32,
    spaces: Vec<Space>,
    current: usize,
    now: u64,
    cell_of: AddressMap<u32, u32>,
}

impl Links {
    /// No links; `unlinked` is the slot of the function that only returns.
    pub fn new(unlinked: u32) -> Links {
        Links { unlinked, spaces: Vec::new(), current: usize::MAX, now: 0, cell_of: AddressMap::default() }
    }

    /// Makes the links of a space the ones that code uses.
    pub fn select(&mut self, epoch: u64, flavour: u16, state: &mut State) {
        if let Some(space) = self.spaces.get(self.current)
            && (space.epoch, space.flavour) == (epoch, flavour)
        {
            return;
        }
        let known = self.spaces.iter().position(|s| (s.epoch, s.flavour) == (epoch, flavour));
        let index = known.unwrap_or_else(|| self.make(epoch, flavour));
        self.now += 1;
        self.current = index;
        if let Some(space) = self.spaces.get_mut(index) {
            space.used = self.now;
            state.cells = space.cells.as_ptr() as usize as u32;
            state.lookup = space.lookup.as_ptr() as usize as u32;
        }
    }

    fn make(&mut self, epoch: u64, flavour: u16) -> usize {
        if self.spaces.len() < SPACES {
            self.spaces.push(Space {
                epoch,
                flavour,
                used: 0,
                cells: vec![self.unlinked; CELLS].into_boxed_slice(),
                lookup: vec![[NOWHERE, self.unlinked]; LOOKUP_ENTRIES].into_boxed_slice(),
                touched: Vec::new(),
            });
            return self.spaces.len() - 1;
        }
        let oldest = self.spaces.iter().enumerate().min_by_key(|(_, space)| space.used);
        let index = oldest.map_or(0, |(index, _)| index);
        self.clear(index);
        let space = &mut self.spaces[index];
        (space.epoch, space.flavour) = (epoch, flavour);
        index
    }

    fn clear(&mut self, index: usize) {
        let (unlinked, cell_of) = (self.unlinked, &self.cell_of);
        let space = &mut self.spaces[index];
        for address in std::mem::take(&mut space.touched) {
            space.lookup[lookup_entry(address)] = [NOWHERE, unlinked];
            if let Some(&cell) = cell_of.get(&address) {
                space.cells[cell as usize] = unlinked;
            }
        }
    }

    /// The slot of the code at an address, if the current space has it linked.
    pub fn find(&self, address: u32) -> Option<u32> {
        let [there, slot] = self.spaces.get(self.current)?.lookup[lookup_entry(address)];
        (there == address && slot != self.unlinked).then_some(slot)
    }

    /// Links an address in the current space.
    pub fn link(&mut self, address: u32, slot: u32) {
        self.link_at(self.current, address, slot);
    }

    /// Links an address in a space that need not be the current one, if it is kept.
    pub fn link_in(&mut self, (epoch, flavour): (u64, u16), address: u32, slot: u32) {
        if let Some(index) = self.spaces.iter().position(|s| (s.epoch, s.flavour) == (epoch, flavour)) {
            self.link_at(index, address, slot);
        }
    }

    fn link_at(&mut self, index: usize, address: u32, slot: u32) {
        let Some(space) = self.spaces.get_mut(index) else { return };
        space.lookup[lookup_entry(address)] = [address, slot];
        if let Some(&cell) = self.cell_of.get(&address) {
            space.cells[cell as usize] = slot;
        }
        space.touch(address);
    }

    /// Makes sure that the cell of an address that was found leads there too.
    pub fn refresh_cell(&mut self, address: u32, slot: u32) {
        if let Some(&cell) = self.cell_of.get(&address)
            && let Some(space) = self.spaces.get_mut(self.current)
            && space.cells[cell as usize] != slot
        {
            space.cells[cell as usize] = slot;
            space.touch(address);
        }
    }

    /// Unlinks an address in all spaces from a slot.
    pub fn unlink(&mut self, address: u32, slot: u32) {
        let cell = self.cell_of.get(&address).copied();
        for space in &mut self.spaces {
            let entry = &mut space.lookup[lookup_entry(address)];
            if *entry == [address, slot] {
                *entry = [NOWHERE, self.unlinked];
            }
            if let Some(cell) = cell
                && space.cells[cell as usize] == slot
            {
                space.cells[cell as usize] = self.unlinked;
            }
        }
    }

    /// Unlinks everything: what is used after that is asked for again.
    pub fn forget_all(&mut self) {
        for index in 0..self.spaces.len() {
            self.clear(index);
        }
    }

    /// Whether there are no cells left for addresses that have none.
    pub fn is_full(&self) -> bool {
        self.cell_of.len() >= CELLS
    }

    /// Takes all cells back, which no code may use any more.
    pub fn reset(&mut self) {
        self.forget_all();
        self.cell_of.clear();
    }

    /// The cell for an address; nothing when there are no more.
    pub fn cell(&mut self, address: u32) -> Option<u32> {
        if let Some(&cell) = self.cell_of.get(&address) {
            return Some(cell);
        }
        if self.cell_of.len() >= CELLS {
            return None;
        }
        let cell = self.cell_of.len() as u32;
        self.cell_of.insert(address, cell);
        if let Some(slot) = self.find(address) {
            self.refresh_cell(address, slot);
        }
        Some(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_hold_for_one_space_and_come_back_with_it() {
        let mut links = Links::new(1);
        let mut state = State::default();
        links.select(10, 0, &mut state);
        links.link(0x1000, 7);
        assert_eq!(links.find(0x1000), Some(7));
        links.select(11, 0, &mut state);
        assert_eq!(links.find(0x1000), None);
        links.select(10, 0, &mut state);
        assert_eq!(links.find(0x1000), Some(7));
        links.unlink(0x1000, 7);
        assert_eq!(links.find(0x1000), None);
    }

    #[test]
    fn cells_that_were_taken_back_are_handed_out_again() {
        let mut links = Links::new(1);
        let mut state = State::default();
        links.select(10, 0, &mut state);
        for address in 0..CELLS as u32 {
            assert!(links.cell(address).is_some());
        }
        assert!(links.is_full() && links.cell(u32::MAX).is_none());
        links.link(5, 7);
        links.reset();
        assert_eq!((links.find(5), links.cell(5)), (None, Some(0)));
        assert!(links.spaces[0].cells.iter().all(|&slot| slot == 1));
    }

    #[test]
    fn addresses_that_are_linked_again_and_again_are_noted_once() {
        let mut links = Links::new(1);
        links.select(10, 0, &mut State::default());
        for turn in 0..100_000 {
            links.link(0x1000 + turn % 2, 7);
        }
        assert!(links.spaces[0].touched.capacity() <= 8 * FEW);
    }

    #[test]
    fn a_recycled_space_has_no_links() {
        let mut links = Links::new(1);
        let mut state = State::default();
        let cell = links.cell(0x1000).expect("there are cells") as usize;
        for epoch in 0..=SPACES as u64 {
            links.select(epoch, 0, &mut state);
            assert_eq!(links.find(0x1000), None);
            assert_eq!(links.spaces[links.current].cells[cell], 1);
            links.link(0x1000, 7);
            assert_eq!(links.spaces[links.current].cells[cell], 7);
        }
    }
}
