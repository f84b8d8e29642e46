//! Ranges of addresses that are free again.

use std::collections::BTreeMap;

/// Free ranges, neighbours joined.
#[derive(Debug, Default)]
pub(crate) struct FreeRanges {
    /// Lengths by start.
    ranges: BTreeMap<usize, usize>,
}

impl FreeRanges {
    /// Nothing is free.
    pub(crate) const fn new() -> Self {
        Self { ranges: BTreeMap::new() }
    }

    /// Takes so many bytes out of the smallest range that has them.
    pub(crate) fn take(&mut self, len: usize) -> Option<usize> {
        let fits = self.ranges.iter().filter(|(_, have)| **have >= len);
        let (start, have) = fits.min_by_key(|(_, have)| **have).map(|(start, have)| (*start, *have))?;
        self.ranges.remove(&start);
        if have > len {
            self.ranges.insert(start + len, have - len);
        }
        Some(start)
    }

    /// Gives a range back that was taken, or a new one.
    pub(crate) fn give(&mut self, mut start: usize, mut len: usize) {
        if let Some(behind) = self.ranges.remove(&(start + len)) {
            len += behind;
        }
        if let Some((before, have)) = self.ranges.range(..start).next_back().map(|(before, have)| (*before, *have))
            && before + have == start
        {
            start = before;
            len += have;
        }
        self.ranges.insert(start, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join_and_the_smallest_fit_is_taken() {
        let mut free = FreeRanges::new();
        assert_eq!(free.take(1), None);
        for start in [100, 300, 200] {
            free.give(start, 100);
        }
        free.give(1000, 150);
        assert_eq!(free.take(301), None);
        assert_eq!(free.take(120), Some(1000));
        assert_eq!(free.take(20), Some(1120));
        assert_eq!(free.take(300), Some(100));
        assert_eq!(free.take(11), None);
        free.give(1120, 20);
        assert_eq!(free.take(30), Some(1120));
    }
}
