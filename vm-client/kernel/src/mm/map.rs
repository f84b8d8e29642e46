//! mmap(2), munmap(2) and mprotect(2).

use std::ops::Range;
use std::rc::Rc;

use linux_abi::Errno;
use linux_abi::mman::{
    MAP_ANONYMOUS, MAP_DENYWRITE, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_GROWSDOWN, MAP_HUGETLB, MAP_LOCKED, MAP_NONBLOCK,
    MAP_NORESERVE, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_SYNC, MAP_TYPE, PROT_EXEC,
    PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_SEM, PROT_WRITE,
};
use vm_mem::{Access, FrameId, Prot, VirtAddr};

use super::fault::hardware;
use super::vma::{Backing, MappedFile, MappedObject, Visibility, Vma, VmaFlags};
use super::{MMAP_MIN_ADDR, Mm, PAGE, PageCache, pages};

/// Linux's `vm.max_map_count`.
const MAX_AREAS: usize = 65_530;
/// Where mappings of program files are put by the hash of their inode: below the usual libraries, far from the heap.
const STABLE: Range<u64> = 0xd000_0000..0xf000_0000;
/// Distance between such places.
const STABLE_STEP: u64 = 0x1_0000;

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Here if it is free, else anywhere; 0 is no wish.
    Hint(u64),
    /// Exactly here; what was there goes away.
    Fixed(u64),
    /// Exactly here; EEXIST if anything is there.
    FixedNoReplace(u64),
}

/// A mapping to be made.
pub struct Request {
    /// Where.
    pub placement: Placement,
    /// Bytes, a multiple of the page size.
    pub len: u64,
    /// Permissions.
    pub prot: Prot,
    /// Permissions it may be given later.
    pub max_prot: Prot,
    /// Who sees the stores.
    pub visibility: Visibility,
    /// Where pages come from.
    pub backing: Backing,
    /// Properties.
    pub flags: VmaFlags,
}

/// The file of an mmap(2) call.
pub enum Mapping {
    /// Pages of a file, and whether it is open for writing.
    File {
        /// The file.
        file: Rc<MappedFile>,
        /// Whether stores through a shared mapping are allowed.
        writable: bool,
    },
    /// `/dev/zero`.
    Zero {
        /// The device's open file.
        object: Rc<dyn MappedObject>,
    },
    /// Frames of a device.
    Frames {
        /// Name in /proc/PID/maps.
        name: &'static str,
        /// The frames.
        frames: Rc<[FrameId]>,
    },
}

/// All permissions.
pub(crate) const ALL: Prot = Prot { read: true, write: true, execute: true };

impl Mm {
    /// mmap2(2) with the caller's file, if the flags ask for one, and its offset in pages. EACCES for files that are not
    /// readable is the caller's to check.
    pub async fn mmap(
        &self,
        addr: u64,
        len: u64,
        prot: u32,
        flags: u32,
        file: Option<Mapping>,
        first: u64,
    ) -> Result<u64, Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = len.checked_next_multiple_of(PAGE).filter(|len| *len <= self.task_size).ok_or(Errno::ENOMEM)?;
        first.checked_add(len / PAGE).filter(|end| *end <= 1 << 40).ok_or(Errno::EOVERFLOW)?;
        if flags & MAP_HUGETLB != 0 {
            // There is no pool of huge pages.
            return Err(Errno::ENOMEM);
        }
        if flags & MAP_TYPE == MAP_SHARED_VALIDATE && flags & MAP_SYNC != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let shared = match flags & MAP_TYPE {
            MAP_PRIVATE => Visibility::Private,
            MAP_SHARED | MAP_SHARED_VALIDATE => Visibility::Shared,
            _ => return Err(Errno::EINVAL),
        };
        let placement = if flags & MAP_FIXED_NOREPLACE != 0 {
            Placement::FixedNoReplace(addr)
        } else if flags & MAP_FIXED != 0 {
            Placement::Fixed(addr)
        } else {
            Placement::Hint(addr.next_multiple_of(PAGE))
        };
        let mut max_prot = ALL;
        let is_program = file.is_some() && flags & MAP_DENYWRITE != 0;
        let backing = match file {
            None if flags & MAP_ANONYMOUS == 0 => return Err(Errno::EBADF),
            None | Some(Mapping::Zero { .. }) if shared == Visibility::Private => Backing::Anonymous,
            None => {
                let cache = PageCache::in_memory(&self.memory, len);
                Backing::File { file: Rc::new(MappedFile { cache, object: Rc::new(SharedZero) }), first: 0 }
            }
            Some(Mapping::Zero { object }) => {
                let cache = PageCache::in_memory(&self.memory, len);
                Backing::File { file: Rc::new(MappedFile { cache, object }), first: 0 }
            }
            Some(Mapping::File { file, writable }) => {
                max_prot.write = writable || shared == Visibility::Private;
                Backing::File { file, first }
            }
            Some(Mapping::Frames { name, frames }) => Backing::Frames { name, frames, first },
        };
        let grows_down = flags & MAP_GROWSDOWN != 0;
        if grows_down && (shared == Visibility::Shared || !matches!(backing, Backing::Anonymous)) {
            return Err(Errno::EINVAL);
        }
        let locked = flags & MAP_LOCKED != 0 || self.lock_future.get();
        let request = Request {
            placement,
            len,
            prot: self.prot_from(prot),
            max_prot,
            visibility: shared,
            backing,
            flags: VmaFlags { grows_down, locked, no_reserve: flags & MAP_NORESERVE != 0, ..VmaFlags::default() },
        };
        let start = if is_program { self.map_stable(request) } else { self.map(request) }?;
        if locked || flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE {
            // Errors show again when the pages are touched.
            let access = if prot & PROT_WRITE != 0 { Access::Write } else { Access::Read };
            let _ = self.populate(VirtAddr(start), len as usize, access).await;
        }
        Ok(start)
    }

    /// Makes a mapping.
    pub fn map(&self, request: Request) -> Result<u64, Errno> {
        let Request { placement, len, prot, max_prot, visibility, backing, flags } = request;
        if hardware(prot).write && !max_prot.write {
            return Err(Errno::EACCES);
        }
        let start = self.place(placement, len)?;
        let end = start + len;
        let vma = Vma { start, end, prot, max_prot, visibility, backing, flags, faulted: 0 };
        let replaced = match placement {
            Placement::Fixed(_) => self.areas.borrow().overlapping(start..end).map(|area| area.len()).sum(),
            _ => 0,
        };
        self.check_room(len.saturating_sub(replaced), &vma)?;
        if vma.is_committed() {
            self.memory.commit(len / PAGE)?;
            self.committed.set(self.committed.get() + len / PAGE);
        }
        self.unmap_areas(start..end);
        if let (Backing::File { file, .. }, true) = (&vma.backing, vma.is_shared_writable()) {
            self.memory.watch(file);
        }
        self.areas.borrow_mut().insert(vma);
        Ok(start)
    }

    /// Makes a mapping of a program's file, at its own address if that is free.
    fn map_stable(&self, mut request: Request) -> Result<u64, Errno> {
        if let (Placement::Hint(0), Backing::File { file, .. }) = (request.placement, &request.backing) {
            request.placement = Placement::Hint(self.stable_address(file, request.len).unwrap_or(0));
        }
        self.map(request)
    }

    /// An address that depends on the file alone, if it is free: there a library is at the same place in every process, and
    /// its code is translated once.
    pub(crate) fn stable_address(&self, file: &MappedFile, len: u64) -> Option<u64> {
        let slots = (STABLE.end - STABLE.start) / STABLE_STEP;
        let key = file.object.ino().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ file.object.dev().rotate_left(32);
        let hash = (key ^ (key >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
        let at = STABLE.start + hash % slots * STABLE_STEP;
        (at + len <= STABLE.end && self.areas.borrow().is_free(at..at + len)).then_some(at)
    }

    /// Any free address for that many bytes.
    pub(crate) fn free_address(&self, len: u64) -> Result<u64, Errno> {
        self.place(Placement::Hint(0), len)
    }

    /// munmap(2).
    pub fn munmap(&self, start: u64, len: u64) -> Result<(), Errno> {
        let range = self.user_range(start, len, Errno::EINVAL)?;
        if range.is_empty() {
            return Err(Errno::EINVAL);
        }
        if self.splits(&range) > 0 && self.areas.borrow().count() + self.splits(&range) > MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        self.unmap_areas(range);
        Ok(())
    }

    /// mprotect(2).
    pub fn mprotect(&self, start: u64, len: u64, prot: u32) -> Result<(), Errno> {
        let grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
        if prot & !(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP) != 0
            || grows == PROT_GROWSDOWN | PROT_GROWSUP
        {
            return Err(Errno::EINVAL);
        }
        let mut range = self.user_range(start, len, Errno::ENOMEM)?;
        if range.is_empty() {
            return Ok(());
        }
        let prot = self.prot_from(prot);
        if grows != 0 {
            let areas = self.areas.borrow();
            let area = areas.find(range.start).ok_or(Errno::ENOMEM)?;
            if grows != PROT_GROWSDOWN || !area.flags.grows_down {
                return Err(Errno::EINVAL);
            }
            range.start = area.start;
        }
        if self.areas.borrow().count() + 2 > MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        // What comes before a gap or a refused area is changed, as on Linux.
        let mut at = range.start;
        while at < range.end {
            let (part, newly_committed) = {
                let areas = self.areas.borrow();
                let area = areas.find(at).ok_or(Errno::ENOMEM)?;
                if hardware(prot).write && !area.max_prot.write {
                    return Err(Errno::EACCES);
                }
                let part = at..area.end.min(range.end);
                let pages = (part.end - part.start) / PAGE;
                let promise = prot.write && !area.is_committed() && !area.flags.no_reserve;
                (part, if promise && area.visibility == Visibility::Private { pages } else { 0 })
            };
            at = part.end;
            if newly_committed > 0 {
                self.memory.commit(newly_committed)?;
                self.committed.set(self.committed.get() + newly_committed);
            }
            self.reprotect(part, prot);
        }
        Ok(())
    }

    /// Changes the permissions of a part of one area, in its description and in the page tables.
    fn reprotect(&self, part: Range<u64>, prot: Prot) {
        let visibility = self.areas.borrow().find(part.start).map(|area| area.visibility);
        let released = {
            let mut areas = self.areas.borrow_mut();
            let mut released = 0;
            areas.change(part.clone(), |area| {
                let before = area.is_committed();
                area.prot = prot;
                // Linux keeps the charge of what is written already; a mapping that was only reserved gives it back.
                if before && !area.is_committed() {
                    released += area.len() / PAGE;
                }
            });
            released
        };
        self.uncommit(released);
        let mut mmu = self.memory.mmu().borrow_mut();
        for (page, mapping) in mmu.mapped_pages(self.id, pages(part)) {
            let own = match visibility {
                Some(Visibility::Shared) => mapping.prot.write,
                // A page with one reference is this process's alone; others are copied by the fault.
                _ => mmu.refs(mapping.frame) == 1,
            };
            mmu.protect(self.id, page, Prot { write: prot.write && own, ..hardware(prot) });
        }
    }

    /// Unmaps whatever is in a range.
    pub(super) fn unmap_areas(&self, range: Range<u64>) {
        let removed = self.areas.borrow_mut().remove(range);
        let mut released = 0;
        for area in &removed {
            self.unmap_present(area, area.start..area.end);
            released += if area.is_committed() { area.len() / PAGE } else { 0 };
        }
        self.uncommit(released);
    }

    /// The address for a mapping.
    pub(super) fn place(&self, placement: Placement, len: u64) -> Result<u64, Errno> {
        let areas = self.areas.borrow();
        let fits = |start: u64| start.checked_add(len).is_some_and(|end| end <= self.task_size);
        match placement {
            Placement::Fixed(start) | Placement::FixedNoReplace(start) => {
                if !start.is_multiple_of(PAGE) {
                    return Err(Errno::EINVAL);
                }
                if !fits(start) {
                    return Err(Errno::ENOMEM);
                }
                if start < MMAP_MIN_ADDR {
                    return Err(Errno::EPERM);
                }
                if matches!(placement, Placement::FixedNoReplace(_))
                    && areas.overlapping(start..start + len).next().is_some()
                {
                    return Err(Errno::EEXIST);
                }
                Ok(start)
            }
            Placement::Hint(start) => {
                if start.is_multiple_of(PAGE)
                    && start >= MMAP_MIN_ADDR
                    && fits(start)
                    && areas.is_free(start..start + len)
                {
                    return Ok(start);
                }
                areas
                    .gap_from_top(len, MMAP_MIN_ADDR..self.mmap_base.get())
                    .or_else(|| areas.gap_from_bottom(len, self.task_size / 3..self.task_size))
                    .or_else(|| areas.gap_from_bottom(len, MMAP_MIN_ADDR..self.task_size))
                    .ok_or(Errno::ENOMEM)
            }
        }
    }

    /// Whether the limits allow `more` bytes of addresses for an area like this one.
    pub(super) fn check_room(&self, more: u64, vma: &Vma) -> Result<(), Errno> {
        let limits = self.limits.get();
        let areas = self.areas.borrow();
        if areas.count() + 2 > MAX_AREAS || areas.bytes().saturating_add(more) > limits.address_space {
            return Err(Errno::ENOMEM);
        }
        if vma.visibility == Visibility::Private && vma.prot.write && !vma.flags.grows_down && limits.data != u64::MAX {
            let data: u64 = areas.iter().filter(|area| is_data(area)).map(Vma::len).sum();
            if data.saturating_add(more) > limits.data {
                return Err(Errno::ENOMEM);
            }
        }
        if vma.flags.locked {
            let locked: u64 = areas.iter().filter(|area| area.flags.locked).map(Vma::len).sum();
            if locked.saturating_add(more) > limits.memlock {
                return Err(Errno::EAGAIN);
            }
        }
        Ok(())
    }

    /// A page-aligned range of user addresses: EINVAL for a crooked start, `outside` for one that leaves user space.
    pub(super) fn user_range(&self, start: u64, len: u64, outside: Errno) -> Result<Range<u64>, Errno> {
        if !start.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let end = len.checked_next_multiple_of(PAGE).and_then(|len| start.checked_add(len)).ok_or(outside)?;
        if end > self.task_size {
            return Err(outside);
        }
        Ok(start..end)
    }

    /// How many areas more there are after cutting at the borders of a range.
    fn splits(&self, range: &Range<u64>) -> usize {
        let areas = self.areas.borrow();
        let inside = |addr: u64| areas.find(addr).is_some_and(|area| area.start < addr);
        usize::from(inside(range.start)) + usize::from(inside(range.end))
    }

    fn prot_from(&self, bits: u32) -> Prot {
        let read = bits & PROT_READ != 0;
        let execute = bits & PROT_EXEC != 0 || read && self.read_implies_exec.get();
        Prot { read, write: bits & PROT_WRITE != 0, execute }
    }
}

fn is_data(area: &Vma) -> bool {
    area.visibility == Visibility::Private && area.prot.write && !area.flags.grows_down
}

/// What /proc/PID/maps calls shared anonymous memory.
struct SharedZero;

impl MappedObject for SharedZero {
    fn dev(&self) -> u64 {
        1
    }

    fn ino(&self) -> u64 {
        0
    }

    fn path(&self) -> Vec<u8> {
        b"/dev/zero (deleted)".to_vec()
    }
}
