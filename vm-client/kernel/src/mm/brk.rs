//! brk(2).

use vm_mem::{Access, Prot, VirtAddr};

use super::vma::{Backing, Visibility, Vma, VmaFlags};
use super::{Mm, PAGE};

impl Mm {
    /// Moves the end of the heap; returns where it is afterwards, which on failure is where it was.
    pub async fn brk(&self, to: u64) -> u64 {
        let layout = self.layout();
        if to < layout.start_brk || to > self.task_size || self.limits().data < to - layout.start_brk {
            return layout.brk;
        }
        let (old_end, new_end) = (layout.brk.next_multiple_of(PAGE), to.next_multiple_of(PAGE));
        if new_end < old_end {
            self.unmap_areas(new_end..old_end);
        } else if new_end > old_end && !self.extend_heap(old_end, new_end) {
            return layout.brk;
        }
        self.set_layout(super::Layout { brk: to, ..self.layout() });
        if new_end > old_end && self.lock_future.get() {
            let _ = self.populate(VirtAddr(old_end), (new_end - old_end) as usize, Access::Write).await;
        }
        to
    }

    fn extend_heap(&self, from: u64, to: u64) -> bool {
        let vma = Vma {
            start: from,
            end: to,
            prot: Prot { read: true, write: true, execute: self.read_implies_exec.get() },
            max_prot: super::map::ALL,
            visibility: Visibility::Private,
            backing: Backing::Anonymous,
            flags: VmaFlags { locked: self.lock_future.get(), ..VmaFlags::default() },
            faulted: 0,
        };
        // One page stays free above, as on Linux, for whatever is mapped there.
        let free = self.areas.borrow().is_free(from..to + PAGE);
        let pages = (to - from) / PAGE;
        if !free || self.check_room(to - from, &vma).is_err() || self.memory.commit(pages).is_err() {
            return false;
        }
        self.committed.set(self.committed.get() + pages);
        self.areas.borrow_mut().insert(vma);
        true
    }
}
