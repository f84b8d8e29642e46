//! What is known of hot code, and its form as bytes.
//!
//! All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SKIFFHC1` |
//! | 8 | fingerprint of everything behind it |
//! | 4 | number of files, of each: |
//! | 2, n | length of the path, and the path |
//! | 4 | number of pages, of each: |
//! | 4, 8, 1 | index in the file, fingerprint of the bytes, how many lists it was in without being compiled |
//! | 2, 2, 2 | number of starts, of blocks, of jumps |
//! | 2 each | offsets in the page of starts, then of blocks |
//! | 2, 4 each | offset behind a jump, and the distance from there to its target |
//!
//! A list of another version or with another fingerprint is not read at all.

use std::collections::BTreeMap;
use std::fmt;

use vm_cpu::HotPage;

use super::fingerprint;

const MAGIC: &[u8; 8] = b"SKIFFHC1";
/// Bytes of a list at most.
const LARGEST: usize = 8 << 20;
/// Starts, blocks and jumps that are kept at most.
const MOST_PLACES: usize = 200_000;
/// A page that was not compiled in so many runs is forgotten.
const OLDEST: u8 = 20;
/// Longest path (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

/// Why bytes are no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListError {
    /// They begin otherwise: something else, or another version's.
    Unknown,
    /// They are too many.
    TooLarge(usize),
    /// They are not what was written.
    Damaged,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "the list of hot code is of another version"),
            Self::TooLarge(bytes) => write!(f, "the list of hot code has {bytes} bytes, more than {LARGEST}"),
            Self::Damaged => write!(f, "the list of hot code is damaged"),
        }
    }
}

impl std::error::Error for ListError {}

/// A page of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) fingerprint: u64,
    /// Lists it was in without being compiled.
    age: u8,
    pub(super) code: HotPage,
}

impl Page {
    pub(super) fn add_start(&mut self, offset: u16) {
        add(&mut self.code.starts, offset);
    }

    pub(super) fn add_block(&mut self, offset: u16) {
        add(&mut self.code.blocks, offset);
    }

    pub(super) fn add_jump(&mut self, behind: u16, distance: i32) {
        add(&mut self.code.jumps, (behind, distance));
    }

    fn places(&self) -> usize {
        self.code.starts.len() + self.code.blocks.len() + self.code.jumps.len()
    }
}

/// Adds to what is in order and without repetition.
fn add<T: Ord>(all: &mut Vec<T>, new: T) {
    if let Err(at) = all.binary_search(&new)
        && all.len() < usize::from(u16::MAX)
    {
        all.insert(at, new);
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    files: BTreeMap<Vec<u8>, BTreeMap<u32, Page>>,
}

impl List {
    /// How many files and pages it knows.
    pub fn size(&self) -> (usize, usize) {
        (self.files.len(), self.files.values().map(BTreeMap::len).sum())
    }

    pub(super) fn page(&self, path: &[u8], index: u32) -> Option<&Page> {
        self.files.get(path)?.get(&index)
    }

    pub(super) fn remove(&mut self, path: &[u8], index: u32) {
        if let Some(pages) = self.files.get_mut(path) {
            pages.remove(&index);
        }
    }

    /// A page that was just compiled, with these bytes; nothing when the path is too long for a list.
    pub(super) fn page_mut(&mut self, path: &[u8], index: u32, print: impl FnOnce() -> u64) -> Option<&mut Page> {
        if path.len() > LONGEST_PATH {
            return None;
        }
        if !self.files.contains_key(path) {
            self.files.insert(path.to_vec(), BTreeMap::new());
        }
        let page = self.files.get_mut(path)?.entry(index);
        let page = page.or_insert_with(|| Page { fingerprint: print(), age: 0, code: HotPage::default() });
        page.age = 0;
        Some(page)
    }

    /// The list as bytes; when it has too much, without what was compiled longest ago.
    pub fn emit(&self) -> Vec<u8> {
        let mut by_age = [0usize; u8::MAX as usize + 1];
        for page in self.files.values().flat_map(BTreeMap::values) {
            by_age[usize::from(page.age)] += page.places();
        }
        let mut total = 0;
        let young = by_age.iter().take(usize::from(OLDEST)).take_while(|places| {
            total += **places;
            total <= MOST_PLACES
        });
        // What is being compiled now is always kept.
        let oldest = young.count().max(1);
        let mut out = Vec::new();
        let kept = |page: &Page| usize::from(page.age) < oldest && page.places() > 0;
        let files: Vec<_> = self.files.iter().filter(|(_, pages)| pages.values().any(kept)).collect();
        out.extend((files.len() as u32).to_le_bytes());
        for (path, pages) in files {
            out.extend((path.len() as u16).to_le_bytes());
            out.extend(path);
            out.extend((pages.values().filter(|page| kept(page)).count() as u32).to_le_bytes());
            for (index, page) in pages.iter().filter(|(_, page)| kept(page)) {
                let HotPage { starts, blocks, jumps } = &page.code;
                out.extend(index.to_le_bytes());
                out.extend(page.fingerprint.to_le_bytes());
                out.push(page.age);
                for count in [starts.len(), blocks.len(), jumps.len()] {
                    out.extend((count as u16).to_le_bytes());
                }
                starts.iter().chain(blocks).for_each(|offset| out.extend(offset.to_le_bytes()));
                for (behind, distance) in jumps {
                    out.extend(behind.to_le_bytes());
                    out.extend(distance.to_le_bytes());
                }
            }
        }
        [&MAGIC[..], &fingerprint(&out).to_le_bytes(), &out].concat()
    }

    /// Reads a list; everything in it is a run older than when it was written.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        if bytes.len() > LARGEST {
            return Err(ListError::TooLarge(bytes.len()));
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(ListError::Unknown)?;
        let (print, rest) = rest.split_first_chunk().ok_or(ListError::Damaged)?;
        if u64::from_le_bytes(*print) != fingerprint(rest) {
            return Err(ListError::Damaged);
        }
        let mut reader = Reader(rest);
        let list = reader.list().filter(|_| reader.0.is_empty());
        list.ok_or(ListError::Damaged)
    }
}

/// Takes numbers from bytes; nothing when there are not enough.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn half(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn word(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Offsets in a page, made orderly.
    fn offsets(&mut self, count: u16) -> Option<Vec<u16>> {
        let mut all = (0..count).map(|_| self.half().filter(|at| *at < 4096)).collect::<Option<Vec<u16>>>()?;
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    fn list(&mut self) -> Option<List> {
        let mut list = List::default();
        for _ in 0..self.word()? {
            let length = usize::from(self.half()?);
            let path = self.bytes(length).filter(|path| path.len() <= LONGEST_PATH)?.to_vec();
            let mut pages = BTreeMap::new();
            for _ in 0..self.word()? {
                let (index, page) = self.page()?;
                pages.insert(index, page);
            }
            list.files.insert(path, pages);
        }
        Some(list)
    }

    fn page(&mut self) -> Option<(u32, Page)> {
        let index = self.word()?;
        let print = u64::from_le_bytes(self.array()?);
        let [age] = self.array()?;
        let (starts, blocks, jumps) = (self.half()?, self.half()?, self.half()?);
        let (starts, blocks) = (self.offsets(starts)?, self.offsets(blocks)?);
        let jump = |reader: &mut Self| {
            let behind = reader.half().filter(|at| *at <= 4096)?;
            Some((behind, reader.word()? as i32))
        };
        let mut jumps = (0..jumps).map(|_| jump(self)).collect::<Option<Vec<_>>>()?;
        jumps.sort_unstable();
        jumps.dedup();
        let code = HotPage { starts, blocks, jumps };
        Some((index, Page { fingerprint: print, age: age.saturating_add(1), code }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        let mut list = List::default();
        for (path, index) in [(&b"/bin/a"[..], 3), (b"/bin/a", 9), (b"/lib/b", 3)] {
            let page = list.page_mut(path, index, || 77).expect("the path is short");
            page.add_start(12);
            page.add_start(4);
            page.add_start(12);
            page.add_block(4095);
            page.add_jump(4096, -70_000);
        }
        list
    }

    #[test]
    fn a_list_comes_back_a_run_older() {
        let mut list = list();
        let back = List::parse(&list.emit()).expect("it was just written");
        assert_eq!(back.size(), (2, 3));
        let page = back.page(b"/bin/a", 9).expect("it was in it");
        assert_eq!((page.age, page.fingerprint, &page.code.starts[..]), (1, 77, &[4, 12][..]));
        list.files.values_mut().flat_map(BTreeMap::values_mut).for_each(|page| page.age += 1);
        assert_eq!(back, list);
    }

    #[test]
    fn every_damage_is_told_and_none_is_followed() {
        let whole = list().emit();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let expected = if at < 8 { ListError::Unknown } else { ListError::Damaged };
            assert_eq!(List::parse(&bytes), Err(expected), "byte {at}");
            assert!(List::parse(&whole[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(List::parse(&vec![0; LARGEST + 1]), Err(ListError::TooLarge(LARGEST + 1)));
    }

    /// Somebody who makes fingerprints that fit reaches the reader itself.
    #[test]
    fn contents_that_make_no_sense_are_damage_too() {
        let sealed = |body: &[u8]| [&MAGIC[..], &fingerprint(body).to_le_bytes(), body].concat();
        let whole = list().emit();
        let body = &whole[16..];
        for at in 0..body.len() {
            // Must not panic; whether it is still a list does not matter.
            let mut other = body.to_vec();
            other[at] = 0xff;
            let _ = List::parse(&sealed(&other));
            assert_eq!(List::parse(&sealed(&body[..at])), Err(ListError::Damaged), "cut at {at}");
        }
        assert_eq!(List::parse(&sealed(&[body, &[0]].concat())), Err(ListError::Damaged));
    }

    #[test]
    fn what_is_not_compiled_any_more_is_forgotten() {
        let mut bytes = list().emit();
        let mut left = Vec::new();
        for _ in 0..=OLDEST {
            let mut list = List::parse(&bytes).expect("it was just written");
            list.page_mut(b"/lib/b", 3, || 0).expect("the path is short");
            left.push(list.size().1);
            bytes = list.emit();
        }
        assert_eq!((left[0], left[usize::from(OLDEST) - 1], left[usize::from(OLDEST)]), (3, 3, 1));
    }
}
