//! Flat tables: two words a page for the whole 32-bit space, lent to recently run address spaces.
//!
//! One word is for loads, one for stores: what to add to an address of the page for the offset from the first frame, or
//! zero when the access needs the slow path. As that is a multiple of the page size there is room for a bit: [`GOES_ON`]
//! says that the next page has the same word, so that an access may go over the end of this one. A table is 8 MiB of which
//! the host commits only touched pieces. It is filled on the slow path; the list of touched pieces makes taking it back
//! cost what was touched.

use crate::reserve::{Region, ReserveError};
use crate::table::bits;
use crate::{MmId, Vpn};

/// How many tables exist at most.
const TABLES: usize = 16;
/// Words in a table.
pub(crate) const WORDS: u64 = 1 << 20;
/// Where the words for stores begin, behind those for loads.
pub(crate) const STORES: usize = WORDS as usize;
/// The bit of a word that is not zero for pages whose accesses may go over their end.
pub(crate) const GOES_ON: u32 = 1;
/// Words in a piece: one host page.
const PIECE_WORDS: usize = 1024;
const PIECES: usize = WORDS as usize / PIECE_WORDS;

/// A table's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableId(u8);

struct FlatTable {
    region: Region,
    /// One bit for each piece that may hold words other than zero.
    touched: [u64; PIECES / 64],
    owner: Option<MmId>,
    last_used: u64,
}

impl Drop for FlatTable {
    fn drop(&mut self) {
        // The region may be used again, and has to be zero then.
        self.clear();
    }
}

impl FlatTable {
    fn new() -> Result<Self, ReserveError> {
        Ok(Self { region: Region::reserve(WORDS * 8)?, touched: [0; PIECES / 64], owner: None, last_used: 0 })
    }

    fn words(&self) -> *mut u32 {
        self.region.base().cast()
    }

    fn clear(&mut self) {
        for (group, bits) in self.touched.iter_mut().enumerate() {
            while *bits != 0 {
                let piece = group * 64 + bits.trailing_zeros() as usize;
                *bits &= *bits - 1;
                for half in [0, STORES] {
                    let first = half + piece * PIECE_WORDS;
                    // SAFETY: the piece is inside the table, which only this struct writes.
                    unsafe { self.region.base().cast::<u32>().add(first).write_bytes(0, PIECE_WORDS) };
                }
            }
        }
    }
}

/// All flat tables.
pub(crate) struct FlatTables {
    tables: Vec<FlatTable>,
    now: u64,
    /// How often a word for stores was changed that was not zero.
    pub(crate) lost: u64,
}

impl FlatTables {
    /// Makes the first table, so that there is always one to lend.
    pub(crate) fn new() -> Result<Self, ReserveError> {
        Ok(Self { tables: vec![FlatTable::new()?], now: 0, lost: 0 })
    }

    /// Lends a table to an address space; when it was taken from another one, tells which.
    pub(crate) fn lend(&mut self, to: MmId) -> (TableId, Option<MmId>) {
        let unused = self.tables.iter().position(|table| table.owner.is_none());
        let added = || {
            if self.tables.len() >= TABLES {
                return None;
            }
            // When the host has no memory for another one the spaces share what there is.
            self.tables.push(FlatTable::new().ok()?);
            Some(self.tables.len() - 1)
        };
        let index = unused.or_else(added).unwrap_or_else(|| {
            let oldest = self.tables.iter().enumerate().min_by_key(|(_, table)| table.last_used);
            oldest.map_or(0, |(index, _)| index)
        });
        let table = &mut self.tables[index];
        table.clear();
        self.lost += 1;
        let loser = table.owner.replace(to);
        let id = TableId(index as u8);
        self.touch(id);
        (id, loser)
    }

    /// Takes a table back.
    pub(crate) fn take_back(&mut self, id: TableId) {
        let table = &mut self.tables[id.0 as usize];
        table.clear();
        self.lost += 1;
        table.owner = None;
    }

    /// Notes that a table is in use, so that others are taken first.
    pub(crate) fn touch(&mut self, id: TableId) {
        self.now += 1;
        self.tables[id.0 as usize].last_used = self.now;
    }

    /// The first word of a table.
    pub(crate) fn words(&self, id: TableId) -> *const u32 {
        self.tables[id.0 as usize].words()
    }

    /// Sets the words of a page from an entry in the form of [`Pte::fast_word`](crate::table::Pte::fast_word).
    pub(crate) fn set(&mut self, id: TableId, page: Vpn, word: u32) {
        if page.0 >= WORDS {
            return;
        }
        let index = page.0 as usize;
        let table = &mut self.tables[id.0 as usize];
        let piece = index / PIECE_WORDS;
        let bit = 1 << (piece % 64);
        if word == 0 && table.touched[piece / 64] & bit == 0 {
            // Already zero, and not worth a host page.
            return;
        }
        table.touched[piece / 64] |= bit;
        let distance = (word & bits::FRAME).wrapping_sub((index << 12) as u32);
        for (half, bit) in [(0, bits::READ), (STORES, bits::WRITE)] {
            let distance = (word & bit != 0).then_some(distance);
            let at = |index: usize| table.words().wrapping_add(half + index);
            // SAFETY: page numbers below WORDS are inside either half, and `&mut self` excludes other accesses.
            unsafe {
                if half == STORES {
                    let old = at(index).read() & !GOES_ON;
                    self.lost += u64::from(old != 0 && Some(old) != distance);
                }
                let next = if index + 1 < WORDS as usize { at(index + 1).read() } else { 0 };
                at(index).write(distance.map_or(0, |distance| joined(distance, next)));
                let before = if index > 0 { at(index - 1).read() } else { 0 };
                if before != 0 {
                    at(index - 1).write(joined(before & !GOES_ON, distance.unwrap_or(0)));
                }
            }
        }
    }
}

/// The word of a page with this distance, where the next page has that word.
fn joined(distance: u32, next: u32) -> u32 {
    // A distance of zero cannot be told from none, and takes the slow path.
    let goes_on = distance != 0 && next != 0 && next & !GOES_ON == distance;
    if goes_on { distance | GOES_ON } else { distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(tables: &FlatTables, id: TableId, page: usize) -> u32 {
        assert!(page < 2 * WORDS as usize);
        // SAFETY: inside the table, and no write runs at the same time.
        unsafe { tables.words(id).add(page).read() }
    }

    #[test]
    fn a_word_tells_whether_the_next_page_goes_on() {
        let mut tables = FlatTables::new().unwrap();
        let (id, _) = tables.lend(MmId(0));
        let both = bits::READ | bits::WRITE;
        for page in 0..3u64 {
            tables.set(id, Vpn(0x100 + page), (0x5000 + 0x1000 * page as u32) | both);
        }
        let bit = |tables: &FlatTables, page: usize| word(tables, id, page) & GOES_ON;
        for half in [0, STORES] {
            assert_eq!([0, 1, 2].map(|page| bit(&tables, half + 0x100 + page)), [1, 1, 0]);
        }
        // Not to be stored to any more, then elsewhere, then gone.
        tables.set(id, Vpn(0x101), 0x6000 | bits::READ);
        assert_eq!((bit(&tables, 0x100), bit(&tables, STORES + 0x100)), (1, 0));
        tables.set(id, Vpn(0x101), 0x9000 | both);
        assert_eq!([0x100, 0x101, STORES + 0x100].map(|page| bit(&tables, page)), [0, 0, 0]);
        tables.set(id, Vpn(0x101), 0x6000 | both);
        tables.set(id, Vpn(0x102), 0);
        assert_eq!([0x100, 0x101, 0x102].map(|page| bit(&tables, page)), [1, 0, 0]);
    }

    #[test]
    fn the_least_recently_used_table_is_taken_and_comes_back_empty() {
        let mut tables = FlatTables::new().unwrap();
        let ids: Vec<_> = (0..TABLES as u32).map(|n| tables.lend(MmId(n))).collect();
        assert!(ids.iter().all(|(_, loser)| loser.is_none()));
        tables.set(ids[1].0, Vpn(0xbffff), 0x5000 | bits::READ);
        assert_eq!(word(&tables, ids[1].0, 0xbffff).wrapping_add(0xbfff_f123), 0x5123);
        assert_eq!(word(&tables, ids[1].0, STORES + 0xbffff), 0);
        tables.touch(ids[0].0);
        assert_eq!(tables.lend(MmId(99)), (ids[1].0, Some(MmId(1))));
        assert_eq!(word(&tables, ids[1].0, 0xbffff), 0);
        tables.take_back(ids[5].0);
        assert_eq!(tables.lend(MmId(100)), (ids[5].0, None));
    }
}
