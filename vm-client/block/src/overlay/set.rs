//! A set of page numbers that stays small: bits in groups.

use std::collections::BTreeMap;
use std::ops::Range;

const WORDS: usize = 8;
const GROUP: u64 = WORDS as u64 * 64;

/// Page numbers. A GiB of stored pages takes under 64 KiB when they lie together, and at worst, one page in each 2 MiB of
/// disk, some 100 bytes a page.
#[derive(Default)]
pub(super) struct PageSet {
    groups: BTreeMap<u64, [u64; WORDS]>,
    len: u64,
}

fn place(page: u64) -> (u64, usize, u64) {
    let within = page % GROUP;
    (page / GROUP, (within / 64) as usize, 1 << (within % 64))
}

impl PageSet {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn contains(&self, page: u64) -> bool {
        let (group, word, bit) = place(page);
        self.groups.get(&group).and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn insert(&mut self, page: u64) {
        let (group, word, bit) = place(page);
        if let Some(word) = self.groups.entry(group).or_default().get_mut(word) {
            self.len += u64::from(*word & bit == 0);
            *word |= bit;
        }
    }

    pub(super) fn remove(&mut self, page: u64) {
        let (group, word, bit) = place(page);
        let Some(words) = self.groups.get_mut(&group) else { return };
        if let Some(word) = words.get_mut(word) {
            self.len -= u64::from(*word & bit != 0);
            *word &= !bit;
        }
        if words.iter().all(|word| *word == 0) {
            self.groups.remove(&group);
        }
    }

    /// The pages in a range, in order.
    pub(super) fn range(&self, pages: Range<u64>) -> impl Iterator<Item = u64> {
        let groups = pages.start / GROUP..pages.end.div_ceil(GROUP);
        self.groups.range(groups).flat_map(move |(group, words)| {
            let first = group * GROUP;
            let inside = pages.clone();
            (0..GROUP)
                .filter(move |bit| words.get((bit / 64) as usize).is_some_and(|word| word >> (bit % 64) & 1 == 1))
                .map(move |bit| first + bit)
                .filter(move |page| inside.contains(page))
        })
    }

    /// `page` and those that follow it without a gap, at most `most`.
    pub(super) fn run_from(&self, page: u64, most: usize) -> impl Iterator<Item = u64> {
        (page..page.saturating_add(most as u64)).take_while(|page| self.contains(*page))
    }
}

impl FromIterator<u64> for PageSet {
    fn from_iter<I: IntoIterator<Item = u64>>(pages: I) -> Self {
        let mut set = Self::default();
        pages.into_iter().for_each(|page| set.insert(page));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_behaves_like_a_set() {
        let pages = [0, 1, 2, 63, 64, 511, 512, 5000, 1 << 40];
        let mut set: PageSet = pages.into_iter().collect();
        set.insert(5000);
        assert_eq!(set.len(), 9);
        assert_eq!(set.range(1..513).collect::<Vec<_>>(), [1, 2, 63, 64, 511, 512]);
        assert_eq!(set.run_from(63, 10).collect::<Vec<_>>(), [63, 64]);
        set.remove(5000);
        set.remove(5001);
        assert!(!set.contains(5000) && set.contains(1 << 40));
        assert_eq!((set.len(), set.groups.len()), (8, 3));
    }
}
