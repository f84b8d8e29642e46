//! mremap(2).

use std::ops::Range;

use linux_abi::Errno;
use linux_abi::mman::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE};
use vm_mem::{Access, VirtAddr, Vpn};

use super::vma::{Backing, Visibility, Vma};
use super::{Mm, PAGE, Placement};

impl Mm {
    /// Resizes or moves a mapping; returns its address.
    pub async fn mremap(&self, old: u64, old_len: u64, new_len: u64, flags: u32, new: u64) -> Result<u64, Errno> {
        let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
        let needs_move = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0;
        if flags & !known != 0 || needs_move && flags & MREMAP_MAYMOVE == 0 {
            return Err(Errno::EINVAL);
        }
        if !old.is_multiple_of(PAGE) || flags & MREMAP_DONTUNMAP != 0 && old_len != new_len {
            return Err(Errno::EINVAL);
        }
        let round = |len: u64| len.checked_next_multiple_of(PAGE).filter(|len| *len <= self.task_size);
        let (old_len, new_len) = (round(old_len).ok_or(Errno::EINVAL)?, round(new_len).ok_or(Errno::ENOMEM)?);
        if new_len == 0 {
            return Err(Errno::EINVAL);
        }
        let area = self.areas.borrow().find(old).cloned().ok_or(Errno::EFAULT)?;
        let mut old_range = old..old.checked_add(old_len).ok_or(Errno::EINVAL)?;
        if needs_move {
            self.check_target(&old_range, new, new_len)?;
            if flags & MREMAP_FIXED != 0 {
                self.unmap_areas(new..new + new_len);
            }
        }
        if new_len <= old_len {
            // What is cut off may be several areas, or none.
            let kept = old + new_len;
            self.unmap_areas(kept..old_range.end.min(self.task_size).max(kept));
            if !needs_move {
                return Ok(old);
            }
            old_range.end = kept;
        }
        if old_range.is_empty() && area.visibility != Visibility::Shared {
            return Err(Errno::EINVAL);
        }
        if old_range.end > area.end {
            return Err(Errno::EFAULT);
        }
        if needs_move {
            let placement = if flags & MREMAP_FIXED != 0 { Placement::Fixed(new) } else { Placement::Hint(new) };
            return self.move_to(&area, old_range, new_len, placement, flags).await;
        }
        if old_len > 0 && old_range.end == area.end && self.extend(&area, old + new_len).is_ok() {
            self.populate_locked(&area, old_range.end..old + new_len).await;
            return Ok(old);
        }
        if flags & MREMAP_MAYMOVE == 0 {
            return Err(Errno::ENOMEM);
        }
        self.move_to(&area, old_range, new_len, Placement::Hint(0), flags).await
    }

    /// EINVAL unless a mapping can be moved to an address that the caller named, be it as a hint: it is the start of a page
    /// in user space, and the old and the new place do not overlap.
    fn check_target(&self, old: &Range<u64>, new: u64, new_len: u64) -> Result<(), Errno> {
        let target = self.user_range(new, new_len, Errno::EINVAL)?;
        if target.start < old.end && old.start < target.end {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Lets an area end higher.
    fn extend(&self, area: &Vma, end: u64) -> Result<(), Errno> {
        let more = area.end..end;
        if end > self.task_size || !self.areas.borrow().is_free(more.clone()) {
            return Err(Errno::ENOMEM);
        }
        let mut added = area.clone();
        move_start(&mut added, more.start);
        added.end = end;
        added.faulted = 0;
        self.check_room(added.len(), &added)?;
        self.charge(&added)?;
        self.areas.borrow_mut().insert(added);
        Ok(())
    }

    async fn move_to(
        &self,
        area: &Vma,
        old: Range<u64>,
        new_len: u64,
        placement: Placement,
        flags: u32,
    ) -> Result<u64, Errno> {
        let start = self.place(placement, new_len)?;
        let mut moved = area.clone();
        move_start(&mut moved, old.start);
        (moved.start, moved.end) = (start, start + new_len);
        moved.flags.grows_down = false;
        let leaves_old = flags & MREMAP_DONTUNMAP != 0 || old.is_empty();
        let kept = if leaves_old { 0 } else { old.end - old.start };
        self.check_room(new_len.saturating_sub(kept), &moved)?;
        self.charge(&moved)?;
        self.areas.borrow_mut().insert(moved);
        let moving = (old.end - old.start).min(new_len);
        {
            let mut mmu = self.memory.mmu().borrow_mut();
            let from = Vpn(old.start / PAGE)..Vpn((old.start + moving) / PAGE);
            for (page, _) in mmu.mapped_pages(self.id, from.clone()) {
                let to = Vpn(start / PAGE + (page.0 - from.start.0));
                mmu.move_page(self.id, page, to);
            }
        }
        if !leaves_old {
            self.unmap_areas(old.clone());
        }
        self.populate_locked(area, start + moving..start + new_len).await;
        Ok(start)
    }

    fn charge(&self, area: &Vma) -> Result<(), Errno> {
        if area.is_committed() {
            self.memory.commit(area.len() / PAGE)?;
            self.committed.set(self.committed.get() + area.len() / PAGE);
        }
        Ok(())
    }

    async fn populate_locked(&self, area: &Vma, range: Range<u64>) {
        if area.flags.locked && !range.is_empty() {
            let access = if area.prot.write { Access::Write } else { Access::Read };
            let _ = self.populate(VirtAddr(range.start), (range.end - range.start) as usize, access).await;
        }
    }
}

/// Makes an area begin at another address, keeping each address on its place in the file.
fn move_start(area: &mut Vma, start: u64) {
    let index = area.index_of(start);
    if let Backing::File { first, .. } | Backing::Frames { first, .. } = &mut area.backing {
        *first = index;
    }
    area.start = start;
}
