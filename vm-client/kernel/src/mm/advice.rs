//! madvise(2), msync(2), mincore(2), mlock(2) and mlockall(2).

use std::ops::Range;

use linux_abi::Errno;
use linux_abi::mman::{
    MADV_COLD, MADV_DODUMP, MADV_DOFORK, MADV_DONTDUMP, MADV_DONTFORK, MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE,
    MADV_KEEPONFORK, MADV_MERGEABLE, MADV_NOHUGEPAGE, MADV_NORMAL, MADV_PAGEOUT, MADV_POPULATE_READ,
    MADV_POPULATE_WRITE, MADV_RANDOM, MADV_REMOVE, MADV_SEQUENTIAL, MADV_UNMERGEABLE, MADV_WILLNEED, MADV_WIPEONFORK,
    MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MS_ASYNC, MS_INVALIDATE, MS_SYNC,
};
use vm_mem::{Access, VirtAddr, Vpn};

use super::vma::{Backing, Visibility, Vma};
use super::{Mm, PAGE};

impl Mm {
    /// madvise(2).
    pub async fn madvise(&self, start: u64, len: u64, advice: u32) -> Result<(), Errno> {
        let range = self.user_range(start, len, Errno::EINVAL)?;
        match advice {
            MADV_NORMAL | MADV_RANDOM | MADV_SEQUENTIAL | MADV_WILLNEED | MADV_COLD | MADV_PAGEOUT | MADV_HUGEPAGE
            | MADV_NOHUGEPAGE | MADV_MERGEABLE | MADV_UNMERGEABLE => self.covered(&range),
            MADV_DONTNEED => self.discard(&range, |area| !area.flags.locked),
            MADV_FREE => self.discard(&range, |area| matches!(area.backing, Backing::Anonymous) && !area.flags.locked),
            MADV_REMOVE => self.punch(&range),
            MADV_DONTFORK => self.set_flags(range, |area| area.flags.dont_fork = true),
            MADV_DOFORK => self.set_flags(range, |area| area.flags.dont_fork = false),
            MADV_DONTDUMP => self.set_flags(range, |area| area.flags.dont_dump = true),
            MADV_DODUMP => self.set_flags(range, |area| area.flags.dont_dump = false),
            MADV_WIPEONFORK => {
                let anonymous = |area: &Vma| matches!(area.backing, Backing::Anonymous);
                if !self.areas.borrow().overlapping(range.clone()).all(anonymous) {
                    return Err(Errno::EINVAL);
                }
                self.set_flags(range, |area| area.flags.wipe_on_fork = true)
            }
            MADV_KEEPONFORK => self.set_flags(range, |area| area.flags.wipe_on_fork = false),
            MADV_POPULATE_READ => self.populate_all(range, Access::Read).await,
            MADV_POPULATE_WRITE => self.populate_all(range, Access::Write).await,
            _ => Err(Errno::EINVAL),
        }
    }

    /// Drops what is present; private anonymous pages are zero when touched again.
    fn discard(&self, range: &Range<u64>, allowed: impl Fn(&Vma) -> bool) -> Result<(), Errno> {
        let areas: Vec<Vma> = self.areas.borrow().overlapping(range.clone()).cloned().collect();
        for area in &areas {
            if !allowed(area) {
                return Err(Errno::EINVAL);
            }
            self.unmap_present(area, range.clone());
        }
        self.covered(range)
    }

    /// MADV_REMOVE: makes a hole in shared memory.
    fn punch(&self, range: &Range<u64>) -> Result<(), Errno> {
        let areas: Vec<Vma> = self.areas.borrow().overlapping(range.clone()).cloned().collect();
        for area in &areas {
            let Backing::File { file, .. } = &area.backing else { return Err(Errno::EINVAL) };
            if !area.is_shared_writable() || !file.cache.is_in_memory() {
                return Err(Errno::EINVAL);
            }
            let part = range.start.max(area.start)..range.end.min(area.end);
            file.cache.zero_range(area.index_of(part.start) * PAGE, part.end - part.start);
        }
        self.covered(range)
    }

    fn set_flags(&self, range: Range<u64>, change: impl FnMut(&mut Vma)) -> Result<(), Errno> {
        self.areas.borrow_mut().change(range.clone(), change);
        self.covered(&range)
    }

    async fn populate_all(&self, range: Range<u64>, access: Access) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            match self.ensure(VirtAddr(at), access).await {
                Ok(()) => at += PAGE,
                Err(super::FaultError::NotMapped) => return Err(Errno::ENOMEM),
                Err(super::FaultError::Forbidden) => return Err(Errno::EINVAL),
                Err(fault) => return Err(fault.errno()),
            }
        }
        Ok(())
    }

    /// msync(2).
    pub async fn msync(&self, start: u64, len: u64, flags: u32) -> Result<(), Errno> {
        if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0 || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC {
            return Err(Errno::EINVAL);
        }
        let range = self.user_range(start, len, Errno::ENOMEM)?;
        let mut files = Vec::new();
        for area in self.areas.borrow().overlapping(range.clone()) {
            if flags & MS_INVALIDATE != 0 && area.flags.locked {
                return Err(Errno::EBUSY);
            }
            if let (Backing::File { file, .. }, Visibility::Shared) = (&area.backing, area.visibility) {
                files.push(std::rc::Rc::clone(file));
            }
        }
        if flags & MS_SYNC != 0 {
            for file in files {
                file.cache.flush().await?;
            }
        }
        self.covered(&range)
    }

    /// mincore(2): one byte a page, 1 if it is in memory.
    pub fn mincore(&self, start: u64, len: u64) -> Result<Vec<u8>, Errno> {
        let range = self.user_range(start, len, Errno::ENOMEM)?;
        self.covered(&range)?;
        let areas = self.areas.borrow();
        let mmu = self.memory.mmu().borrow();
        let mut out = Vec::with_capacity(((range.end - range.start) / PAGE) as usize);
        for area in areas.overlapping(range.clone()) {
            for page in range.start.max(area.start) / PAGE..range.end.min(area.end) / PAGE {
                let cached = match &area.backing {
                    Backing::File { file, .. } => file.cache.peek(area.index_of(page * PAGE)).is_some(),
                    Backing::Frames { .. } => true,
                    Backing::Anonymous => false,
                };
                out.push(u8::from(cached || mmu.mapping(self.id, Vpn(page)).is_some()));
            }
        }
        Ok(out)
    }

    /// mlock(2): nothing is ever swapped out, so it only makes pages present.
    pub async fn mlock(&self, start: u64, len: u64) -> Result<(), Errno> {
        self.mlock_on_fault(start, len)?;
        let end = start.saturating_add(len).next_multiple_of(PAGE);
        self.populate_locked_areas(start & !(PAGE - 1)..end).await
    }

    /// mlock2(2) with MLOCK_ONFAULT.
    pub fn mlock_on_fault(&self, start: u64, len: u64) -> Result<(), Errno> {
        let first = start & !(PAGE - 1);
        let range = self.user_range(first, len.saturating_add(start - first), Errno::EINVAL)?;
        let total = {
            let areas = self.areas.borrow();
            let already: u64 = areas.iter().filter(|area| area.flags.locked).map(Vma::len).sum();
            let here: u64 = areas
                .overlapping(range.clone())
                .filter(|area| area.flags.locked)
                .map(|area| area.end.min(range.end) - area.start.max(range.start))
                .sum();
            already - here + (range.end - range.start)
        };
        if total > self.limits().memlock {
            return Err(Errno::ENOMEM);
        }
        self.set_flags(range, |area| area.flags.locked = true)
    }

    /// munlock(2).
    pub fn munlock(&self, start: u64, len: u64) -> Result<(), Errno> {
        let first = start & !(PAGE - 1);
        let range = self.user_range(first, len.saturating_add(start - first), Errno::EINVAL)?;
        self.set_flags(range, |area| area.flags.locked = false)
    }

    /// mlockall(2).
    pub async fn mlockall(&self, flags: u32) -> Result<(), Errno> {
        if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags == MCL_ONFAULT {
            return Err(Errno::EINVAL);
        }
        if flags & MCL_CURRENT != 0 && self.virtual_size() > self.limits().memlock {
            return Err(Errno::ENOMEM);
        }
        self.lock_future.set(flags & MCL_FUTURE != 0);
        if flags & MCL_CURRENT != 0 {
            let all = 0..self.task_size;
            self.areas.borrow_mut().change(all.clone(), |area| area.flags.locked = true);
            if flags & MCL_ONFAULT == 0 {
                // Failing to read some page is no failure of mlockall.
                let _ = self.populate_locked_areas(all).await;
            }
        }
        Ok(())
    }

    /// munlockall(2).
    pub fn munlockall(&self) {
        self.lock_future.set(false);
        self.areas.borrow_mut().change(0..self.task_size, |area| area.flags.locked = false);
    }

    async fn populate_locked_areas(&self, range: Range<u64>) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let (next, access) = {
                let areas = self.areas.borrow();
                let Some(area) = areas.find(at).or_else(|| areas.next_after(at)) else { return Ok(()) };
                at = at.max(area.start);
                let access = match () {
                    () if area.prot.write && area.visibility == Visibility::Private => Some(Access::Write),
                    () if area.prot.read => Some(Access::Read),
                    () if area.prot.execute => Some(Access::Execute),
                    () => None,
                };
                (area.end.min(range.end), access)
            };
            if let Some(access) = access {
                while at < next {
                    self.ensure(VirtAddr(at), access).await.map_err(|_| Errno::EAGAIN)?;
                    at += PAGE;
                }
            }
            at = at.max(next);
        }
        Ok(())
    }

    /// ENOMEM unless areas cover a range without a gap.
    fn covered(&self, range: &Range<u64>) -> Result<(), Errno> {
        if self.areas.borrow().covers(range.clone()) { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}
