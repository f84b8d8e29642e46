//! Which pages an overlay holds.
//!
//! Asking IndexedDB for 262,144 keys takes two thirds of a second in Chromium, so the store keeps the answer beside the
//! pages: one 256-byte row of bits for every 2,048 pages (8 MiB of disk). Opening a 1 GB overlay then reads 128 records in
//! a few milliseconds. Measured by `cargo xtask bench`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use vm_block::PageKey;

/// Bytes in a row.
pub const ROW_BYTES: usize = 256;
const PAGES_PER_ROW: u64 = ROW_BYTES as u64 * 8;

/// A row of bits, lowest page first.
pub type Row = [u8; ROW_BYTES];

/// The set of pages, in rows.
#[derive(Default)]
pub struct Presence {
    rows: BTreeMap<u64, Row>,
    pages: u64,
}

impl Presence {
    /// Puts rows read from the store together.
    pub fn from_rows(rows: impl IntoIterator<Item = (u64, Row)>) -> Self {
        let rows: BTreeMap<u64, Row> = rows.into_iter().collect();
        let pages = rows.values().map(count).sum();
        Self { rows, pages }
    }

    /// The number of pages.
    pub fn len(&self) -> u64 {
        self.pages
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// The pages in a range, in order.
    pub fn keys_in(&self, range: Range<u64>) -> Vec<PageKey> {
        let held = |page: &u64| {
            let byte = usize::try_from(page % PAGES_PER_ROW / 8).ok();
            let row = self.rows.get(&(page / PAGES_PER_ROW));
            row.zip(byte).and_then(|(row, byte)| row.get(byte)).is_some_and(|bits| bits >> (page % 8) & 1 != 0)
        };
        range.filter(held).map(PageKey).collect()
    }

    /// Every page, in order.
    pub fn keys(&self) -> Vec<PageKey> {
        let mut keys = Vec::with_capacity(usize::try_from(self.pages).unwrap_or(0));
        for (number, row) in &self.rows {
            for (byte, bits) in (0..).zip(row) {
                let set = (0..8).filter(|bit| bits >> bit & 1 != 0);
                keys.extend(set.map(|bit| PageKey(number * PAGES_PER_ROW + byte * 8 + bit)));
            }
        }
        keys
    }

    /// The rows that change when pages are put and others deleted, as they will be.
    pub fn rows_after(&self, put: impl Iterator<Item = PageKey>, delete: &[PageKey]) -> Vec<(u64, Row)> {
        let put: Vec<PageKey> = put.collect();
        let touched: BTreeSet<u64> = put.iter().chain(delete).map(|key| key.0 / PAGES_PER_ROW).collect();
        let old = |number: &u64| self.rows.get(number).copied().unwrap_or([0; ROW_BYTES]);
        let mut rows: BTreeMap<u64, Row> = touched.iter().map(|number| (*number, old(number))).collect();
        for key in delete {
            if let Some((byte, bit)) = slot(&mut rows, *key) {
                *byte &= !bit;
            }
        }
        for key in put {
            if let Some((byte, bit)) = slot(&mut rows, key) {
                *byte |= bit;
            }
        }
        rows.into_iter().filter(|(number, row)| old(number) != *row).collect()
    }

    /// Takes changed rows over, once the store has them.
    pub fn apply(&mut self, rows: Vec<(u64, Row)>) {
        for (number, row) in rows {
            let before = self.rows.get(&number).map_or(0, count);
            self.pages = self.pages + count(&row) - before;
            if is_blank(&row) {
                self.rows.remove(&number);
            } else {
                self.rows.insert(number, row);
            }
        }
    }
}

/// Tells whether a row holds no page, so that the store need not keep it.
pub fn is_blank(row: &Row) -> bool {
    row.iter().all(|bits| *bits == 0)
}

fn count(row: &Row) -> u64 {
    row.iter().map(|bits| u64::from(bits.count_ones())).sum()
}

fn slot(rows: &mut BTreeMap<u64, Row>, key: PageKey) -> Option<(&mut u8, u8)> {
    let row = rows.get_mut(&(key.0 / PAGES_PER_ROW))?;
    let within = key.0 % PAGES_PER_ROW;
    let byte = row.get_mut(usize::try_from(within / 8).ok()?)?;
    Some((byte, 1 << (within % 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: &[u64]) -> Vec<PageKey> {
        numbers.iter().copied().map(PageKey).collect()
    }

    #[test]
    fn pages_put_are_listed_in_order_until_deleted() {
        let mut presence = Presence::default();
        let rows = presence.rows_after(keys(&[5000, 3, 2047, 2048]).into_iter(), &[]);
        assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
        presence.apply(rows);
        assert_eq!(presence.keys(), keys(&[3, 2047, 2048, 5000]));
        assert_eq!(presence.len(), 4);
        assert_eq!(presence.keys_in(3..2048), keys(&[3, 2047]));
        assert_eq!(presence.keys_in(4..2047), keys(&[]));
        assert_eq!(presence.keys_in(2048..9000), keys(&[2048, 5000]));

        let rows = presence.rows_after(std::iter::empty(), &keys(&[2048, 3, 77]));
        assert!(rows.iter().any(|(number, row)| *number == 1 && is_blank(row)));
        presence.apply(rows);
        assert_eq!(presence.keys(), keys(&[2047, 5000]));
        assert_eq!(presence.len(), 2);
    }

    #[test]
    fn a_page_that_is_there_already_changes_no_row() {
        let mut presence = Presence::default();
        presence.apply(presence.rows_after(keys(&[9]).into_iter(), &[]));
        assert!(presence.rows_after(keys(&[9]).into_iter(), &keys(&[10])).is_empty());
    }

    #[test]
    fn a_page_deleted_and_put_in_one_batch_is_there() {
        let presence = Presence::default();
        let rows = presence.rows_after(keys(&[1]).into_iter(), &keys(&[1]));
        assert_eq!(Presence::from_rows(rows).keys(), keys(&[1]));
    }
}
