//! Going to one of many nodes by its address: a hash of the address and a table of branches.

use super::control::LOOK_UP;
use super::{Emitter, Label, local};
use crate::plan::Target;

impl Emitter<'_> {
    /// Goes to the node of a table whose address `WHERE` is, or leaves.
    pub(super) fn dispatch(&mut self, number: usize, table: &[usize]) {
        let starts: Vec<u32> = table.iter().map(|&node| self.region.nodes[node].start()).collect();
        let hash = Hash::of(&starts);
        self.open_block(Label::Plain);
        let unknown = self.labels.len();
        // The start first: it is what calls want.
        if let Some(&first) = table.iter().find(|&&node| node == 0) {
            let (flags, start) = (self.flags, self.region.start());
            self.w().local_get(local::WHERE).i32_const(start as i32).i32_eq();
            self.open_if(None);
            self.edge(number, Target::Node(first));
            self.flags = flags;
            self.close();
        }
        let used: Vec<&Vec<usize>> = hash.places.iter().filter(|place| !place.is_empty()).collect();
        for _ in &used {
            self.open_block(Label::Plain);
        }
        // The innermost block is that of the last place.
        let mut left = used.len() as u32;
        let depths: Vec<u32> = hash
            .places
            .iter()
            .map(|place| match place.is_empty() {
                true => used.len() as u32,
                false => {
                    left -= 1;
                    left
                }
            })
            .collect();
        self.w().local_get(local::WHERE).i32_const(hash.factor as i32).i32_mul();
        self.w().i32_const(hash.shift as i32).i32_shr_u().br_table(depths, used.len() as u32);
        let flags = self.flags;
        for place in used.iter().rev() {
            self.close();
            let Some((&last, others)) = place.split_last() else { continue };
            for &index in others {
                self.w().local_get(local::WHERE).i32_const(starts[index] as i32).i32_eq();
                self.open_if(None);
                self.edge(number, Target::Node(table[index]));
                self.flags = flags;
                self.close();
            }
            let outwards = (self.labels.len() - unknown) as u32;
            self.w().local_get(local::WHERE).i32_const(starts[last] as i32).i32_ne();
            self.br_if(outwards, false);
            self.edge(number, Target::Node(table[last]));
            self.flags = flags;
        }
        self.close();
        self.w().i32_const(LOOK_UP).local_set(local::HOW);
        self.leave_by_exit();
    }
}

/// A hash of addresses that few of a set share.
struct Hash {
    factor: u32,
    shift: u32,
    /// For each value, the indices of the addresses that have it.
    places: Vec<Vec<usize>>,
}

impl Hash {
    fn of(addresses: &[u32]) -> Hash {
        let shift = 32 - (2 * addresses.len()).next_power_of_two().ilog2().clamp(1, 12);
        let mut factor = 0x9e37_79b1_u32;
        let mut best: Option<(usize, Hash)> = None;
        for _ in 0..60 {
            let mut places = vec![Vec::new(); 1 << (32 - shift)];
            for (index, address) in addresses.iter().enumerate() {
                places[(address.wrapping_mul(factor) >> shift) as usize].push(index);
            }
            let shared = places.iter().map(|place| place.len().saturating_sub(1)).sum();
            if best.as_ref().is_none_or(|(fewest, _)| shared < *fewest) {
                best = Some((shared, Hash { factor, shift, places }));
            }
            if shared == 0 {
                break;
            }
            factor = factor.wrapping_mul(0x915f_77f5).wrapping_add(2);
        }
        best.map(|(_, hash)| hash).expect("a factor was tried")
    }
}
