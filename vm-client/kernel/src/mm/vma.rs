//! Virtual memory areas: what an address space promises, page by page, before anything is present.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use vm_mem::{FrameId, PAGE_SIZE, Prot};

use super::page_cache::PageCache;

const PAGE: u64 = PAGE_SIZE as u64;
/// What is kept free below an area that grows down (Linux's `stack_guard_gap`).
pub(super) const STACK_GUARD_GAP: u64 = 256 * PAGE;

/// The open file behind a mapping, as /proc/PID/maps shows it. Mappings keep it open.
pub trait MappedObject {
    /// Device number.
    fn dev(&self) -> u64;
    /// Inode number.
    fn ino(&self) -> u64;
    /// Path, with ` (deleted)` if it has none any more.
    fn path(&self) -> Vec<u8>;
}

/// A file's pages together with what keeps the file open.
pub struct MappedFile {
    /// The pages.
    pub cache: Rc<PageCache>,
    /// The file.
    pub object: Rc<dyn MappedObject>,
}

/// Who sees the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Only this mapping (`MAP_PRIVATE`).
    Private,
    /// Everybody who maps the same (`MAP_SHARED`).
    Shared,
}

/// Where pages come from.
#[derive(Clone)]
pub enum Backing {
    /// Zero pages.
    Anonymous,
    /// A file, from this page of it on.
    File {
        /// The file.
        file: Rc<MappedFile>,
        /// Index in the file of the area's first page.
        first: u64,
    },
    /// Frames of the kernel or of a device, from this one on.
    Frames {
        /// The name in /proc/PID/maps, such as `[vdso]`.
        name: &'static str,
        /// The frames; the mapping's owner keeps them alive.
        frames: Rc<[FrameId]>,
        /// Index of the area's first page.
        first: u64,
    },
}

/// Properties that are simply on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmaFlags {
    /// Grows down on a fault below (`MAP_GROWSDOWN`, the stack).
    pub grows_down: bool,
    /// `mlock(2)`.
    pub locked: bool,
    /// Not counted as promised memory (`MAP_NORESERVE`).
    pub no_reserve: bool,
    /// `MADV_DONTFORK`.
    pub dont_fork: bool,
    /// `MADV_WIPEONFORK`.
    pub wipe_on_fork: bool,
    /// `MADV_DONTDUMP`.
    pub dont_dump: bool,
}

/// A virtual memory area.
#[derive(Clone)]
pub struct Vma {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// Permissions as set by mmap(2) and mprotect(2).
    pub prot: Prot,
    /// Permissions that mprotect(2) may give.
    pub max_prot: Prot,
    /// Who sees the stores.
    pub visibility: Visibility,
    /// Where pages come from.
    pub backing: Backing,
    /// The rest.
    pub flags: VmaFlags,
    /// Pages that faults have made present so far; sets how many the next one makes present.
    pub(super) faulted: u32,
}

impl Vma {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it covers nothing; no area in an address space does.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// The file behind it.
    pub fn file(&self) -> Option<&Rc<MappedFile>> {
        match &self.backing {
            Backing::File { file, .. } => Some(file),
            _ => None,
        }
    }

    /// Whether it is shared and stores may be possible some day.
    pub(super) fn is_shared_writable(&self) -> bool {
        self.visibility == Visibility::Shared && self.max_prot.write
    }

    /// Whether its pages are promised to it (Linux's `VM_ACCOUNT`).
    pub(super) fn is_committed(&self) -> bool {
        self.visibility == Visibility::Private && self.prot.write && !self.flags.no_reserve
    }

    /// Index of a page in the file or the frames behind the area.
    pub(super) fn index_of(&self, addr: u64) -> u64 {
        let first = match &self.backing {
            Backing::Anonymous => 0,
            Backing::File { first, .. } | Backing::Frames { first, .. } => *first,
        };
        first.saturating_add((addr - self.start) / PAGE)
    }

    /// Moves the start, keeping each page on its place in the file.
    fn set_start(&mut self, start: u64) {
        let index = if start >= self.start {
            self.index_of(start)
        } else {
            self.index_of(self.start).saturating_sub((self.start - start) / PAGE)
        };
        if let Backing::File { first, .. } | Backing::Frames { first, .. } = &mut self.backing {
            *first = index;
        }
        self.start = start;
    }

    /// Whether `next` simply continues this area.
    fn continues_with(&self, next: &Vma) -> bool {
        let same_backing = match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File { file: a, .. }, Backing::File { file: b, .. }) => {
                (Rc::ptr_eq(a, b) || Rc::ptr_eq(&a.cache, &b.cache) && a.object.path() == b.object.path())
                    && self.index_of(next.start) == next.index_of(next.start)
            }
            _ => false,
        };
        same_backing
            && self.end == next.start
            && self.prot == next.prot
            && self.max_prot == next.max_prot
            && self.visibility == next.visibility
            && self.flags == next.flags
            && !self.flags.grows_down
    }
}

/// The areas of an address space, ordered and disjoint.
#[derive(Default)]
pub(super) struct VmaSet {
    by_start: BTreeMap<u64, Vma>,
    bytes: u64,
}

impl VmaSet {
    pub(super) fn count(&self) -> usize {
        self.by_start.len()
    }

    /// Bytes covered.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.by_start.values()
    }

    pub(super) fn find(&self, addr: u64) -> Option<&Vma> {
        self.by_start.range(..=addr).next_back().map(|(_, vma)| vma).filter(|vma| addr < vma.end)
    }

    pub(super) fn find_mut(&mut self, addr: u64) -> Option<&mut Vma> {
        self.by_start.range_mut(..=addr).next_back().map(|(_, vma)| vma).filter(|vma| addr < vma.end)
    }

    /// The first area that starts at or after an address.
    pub(super) fn next_after(&self, addr: u64) -> Option<&Vma> {
        self.by_start.range(addr..).next().map(|(_, vma)| vma)
    }

    /// The last area that ends at or before an address.
    fn last_before(&self, addr: u64) -> Option<&Vma> {
        self.by_start.range(..addr).next_back().map(|(_, vma)| vma)
    }

    /// The areas that overlap a range.
    pub(super) fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = &Vma> {
        let from = self.find(range.start).map_or(range.start, |vma| vma.start);
        self.by_start.range(from..range.end.max(from)).map(|(_, vma)| vma)
    }

    /// Whether areas cover a range without a gap.
    pub(super) fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for vma in self.overlapping(range.clone()) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= range.end
    }

    /// Makes sure that no area crosses an address.
    pub(super) fn split_at(&mut self, addr: u64) {
        let Some(vma) = self.find_mut(addr).filter(|vma| vma.start < addr) else { return };
        let mut upper = vma.clone();
        vma.end = addr;
        upper.set_start(addr);
        self.by_start.insert(addr, upper);
    }

    /// Takes out all that lies in a range.
    pub(super) fn remove(&mut self, range: Range<u64>) -> Vec<Vma> {
        self.split_at(range.start);
        self.split_at(range.end);
        let starts: Vec<u64> = self.by_start.range(range.start..range.end.max(range.start)).map(|(s, _)| *s).collect();
        let removed: Vec<Vma> = starts.iter().filter_map(|start| self.by_start.remove(start)).collect();
        self.bytes -= removed.iter().map(Vma::len).sum::<u64>();
        removed
    }

    /// Adds an area where nothing is, as part of its neighbours if it continues them.
    pub(super) fn insert(&mut self, mut vma: Vma) {
        debug_assert!(self.overlapping(vma.start..vma.end).next().is_none(), "areas do not overlap");
        self.bytes += vma.len();
        let before = self.last_before(vma.start).filter(|before| before.continues_with(&vma)).map(|v| v.start);
        if let Some(before) = before.and_then(|start| self.by_start.remove(&start)) {
            vma.set_start(before.start);
            vma.faulted += before.faulted;
        }
        let after = self.by_start.get(&vma.end).filter(|after| vma.continues_with(after)).map(|v| v.start);
        if let Some(after) = after.and_then(|start| self.by_start.remove(&start)) {
            vma.end = after.end;
            vma.faulted += after.faulted;
        }
        self.by_start.insert(vma.start, vma);
    }

    /// Changes the areas in a range, which must not cross its borders, and merges what became equal.
    pub(super) fn change(&mut self, range: Range<u64>, mut change: impl FnMut(&mut Vma)) {
        for mut vma in self.remove(range) {
            change(&mut vma);
            self.insert(vma);
        }
    }

    /// Lets the area that starts at `start` begin lower.
    pub(super) fn grow_down(&mut self, start: u64, to: u64) {
        if let Some(mut vma) = self.by_start.remove(&start) {
            self.bytes += start - to;
            vma.set_start(to);
            self.by_start.insert(to, vma);
        }
    }

    /// Whether nothing, guard gaps included, is in a range.
    pub(super) fn is_free(&self, range: Range<u64>) -> bool {
        self.overlapping(range.clone()).next().is_none()
            && self.next_after(range.end).is_none_or(|next| low_end(next) >= range.end)
    }

    /// The highest free place for `len` bytes within the limits.
    pub(super) fn gap_from_top(&self, len: u64, limits: Range<u64>) -> Option<u64> {
        let mut top = limits.end;
        if let Some(next) = self.next_after(limits.end) {
            top = top.min(low_end(next));
        }
        for vma in self.by_start.range(..limits.end).rev().map(|(_, vma)| vma) {
            if vma.end <= top && top - vma.end >= len && top - len >= limits.start {
                return Some(top - len);
            }
            top = top.min(low_end(vma));
            if top < limits.start {
                return None;
            }
        }
        (top >= limits.start && top - limits.start >= len).then(|| top - len)
    }

    /// The lowest free place likewise.
    pub(super) fn gap_from_bottom(&self, len: u64, limits: Range<u64>) -> Option<u64> {
        let mut bottom = limits.start;
        for vma in self.overlapping(limits.clone()) {
            if low_end(vma).checked_sub(bottom).is_some_and(|gap| gap >= len) {
                return Some(bottom);
            }
            bottom = bottom.max(vma.end);
        }
        let top = self.next_after(limits.end).map_or(limits.end, |next| limits.end.min(low_end(next)));
        top.checked_sub(bottom).is_some_and(|gap| gap >= len).then_some(bottom)
    }
}

/// Where an area begins for others: below one that grows down a gap stays free.
fn low_end(vma: &Vma) -> u64 {
    if vma.flags.grows_down { vma.start.saturating_sub(STACK_GUARD_GAP) } else { vma.start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(pages: Range<u64>, write: bool) -> Vma {
        let prot = Prot { read: true, write, execute: false };
        Vma {
            start: pages.start * PAGE,
            end: pages.end * PAGE,
            prot,
            max_prot: Prot { read: true, write: true, execute: true },
            visibility: Visibility::Private,
            backing: Backing::Frames { name: "x", frames: Rc::new([]), first: pages.start },
            flags: VmaFlags::default(),
            faulted: 0,
        }
    }

    fn anonymous(pages: Range<u64>, write: bool) -> Vma {
        Vma { backing: Backing::Anonymous, ..area(pages, write) }
    }

    fn layout(set: &VmaSet) -> Vec<(u64, u64)> {
        set.iter().map(|vma| (vma.start / PAGE, vma.end / PAGE)).collect()
    }

    #[test]
    fn equal_neighbours_merge_and_changed_ones_split() {
        let mut set = VmaSet::default();
        set.insert(anonymous(10..20, true));
        set.insert(anonymous(30..40, true));
        set.insert(anonymous(20..30, true));
        assert_eq!(layout(&set), [(10, 40)]);
        set.change(15 * PAGE..25 * PAGE, |vma| vma.prot.write = false);
        assert_eq!(layout(&set), [(10, 15), (15, 25), (25, 40)]);
        set.change(15 * PAGE..25 * PAGE, |vma| vma.prot.write = true);
        assert_eq!(layout(&set), [(10, 40)]);
        assert_eq!(set.bytes(), 30 * PAGE);
    }

    #[test]
    fn cutting_a_hole_keeps_file_positions() {
        let mut set = VmaSet::default();
        set.insert(area(10..20, true));
        let removed = set.remove(12 * PAGE..14 * PAGE);
        assert_eq!(removed.len(), 1);
        assert_eq!(removed[0].index_of(13 * PAGE), 13);
        assert_eq!(layout(&set), [(10, 12), (14, 20)]);
        assert_eq!(set.find(15 * PAGE).unwrap().index_of(15 * PAGE), 15);
        assert!(set.find(13 * PAGE).is_none());
        assert!(!set.covers(10 * PAGE..20 * PAGE));
        assert!(set.covers(14 * PAGE..20 * PAGE));
    }

    #[test]
    fn gaps_are_found_from_both_ends_and_respect_the_stack_guard() {
        let mut set = VmaSet::default();
        set.insert(anonymous(10..20, true));
        set.insert(anonymous(30..40, true));
        let limits = PAGE..50 * PAGE;
        assert_eq!(set.gap_from_top(5 * PAGE, limits.clone()), Some(45 * PAGE));
        assert_eq!(set.gap_from_top(10 * PAGE, limits.clone()), Some(40 * PAGE));
        assert_eq!(set.gap_from_top(11 * PAGE, limits.clone()), None);
        assert_eq!(set.gap_from_bottom(5 * PAGE, limits.clone()), Some(PAGE));
        assert_eq!(set.gap_from_bottom(10 * PAGE, limits.clone()), Some(20 * PAGE));
        assert_eq!(set.gap_from_bottom(11 * PAGE, limits), None);
        let mut stack = anonymous(1000..1001, true);
        stack.flags.grows_down = true;
        set.insert(stack);
        assert_eq!(set.gap_from_top(PAGE, PAGE..1000 * PAGE), Some((1000 - 256 - 1) * PAGE));
        assert!(!set.is_free(900 * PAGE..901 * PAGE));
        assert!(set.is_free(743 * PAGE..744 * PAGE));
    }
}
