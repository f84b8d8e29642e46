//! Page faults: demand paging, copy-on-write, growth of the stack.

use std::rc::Rc;

use linux_abi::Errno;
use vm_mem::{Access, FrameId, Prot, VirtAddr, Vpn};

use super::vma::{self, Backing, Visibility, Vma};
use super::{Mm, PAGE, PageCache};

/// Pages of a file that one fault maps when they are in memory anyway (Linux's `fault_around_bytes`).
const FAULT_AROUND: u64 = 16;
/// Anonymous pages that one fault makes present at most.
const ANONYMOUS_AROUND: u32 = 16;

/// How often one fault may find that there is no memory.
const MEMORY_ATTEMPTS: u32 = 16;

/// Why an access cannot be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// No area is there: SIGSEGV with `SEGV_MAPERR`.
    NotMapped,
    /// The area forbids it: SIGSEGV with `SEGV_ACCERR`.
    Forbidden,
    /// Behind the end of the file, or the file cannot be read: SIGBUS with `BUS_ADRERR`.
    Bus,
    /// No memory is left and nobody else could be killed: the task is killed.
    OutOfMemory,
}

impl FaultError {
    /// What a system call returns that was given such an address.
    pub fn errno(self) -> Errno {
        match self {
            Self::OutOfMemory => Errno::ENOMEM,
            Self::NotMapped | Self::Forbidden | Self::Bus => Errno::EFAULT,
        }
    }
}

/// Whether the protection of an area counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    No,
    /// A debugger reads everything and writes to private pages.
    Yes,
}

/// What an attempt to repair a fault came to.
enum Step {
    Done,
    /// The page of the file has to be read first.
    Load(Rc<PageCache>, u64),
    NoMemory,
}

impl Mm {
    /// Repairs a page fault, so that the access can be made again, or tells the signal. The areas may change while a page
    /// of a file is read, so everything is looked at anew after each wait.
    pub async fn fault(&self, addr: VirtAddr, access: Access) -> Result<(), FaultError> {
        self.repair(addr, access, Force::No).await
    }

    pub(super) async fn repair(&self, addr: VirtAddr, access: Access, force: Force) -> Result<(), FaultError> {
        let mut waited = false;
        let mut attempts = 0;
        loop {
            match self.try_fault(addr, access, force)? {
                Step::Done => break,
                Step::Load(cache, index) => {
                    waited = true;
                    cache.load(index).await.map_err(|errno| match errno {
                        Errno::ENOMEM => FaultError::OutOfMemory,
                        _ => FaultError::Bus,
                    })?;
                }
                // What one step frees the next one may need for itself: with nothing else left this would go on for ever.
                Step::NoMemory if attempts >= MEMORY_ATTEMPTS => return Err(FaultError::OutOfMemory),
                Step::NoMemory => {
                    attempts += 1;
                    self.memory.make_room().await.map_err(|_| FaultError::OutOfMemory)?;
                }
            }
        }
        let mut counts = self.faults.get();
        if waited {
            counts.major += 1;
        } else {
            counts.minor += 1;
        }
        self.faults.set(counts);
        Ok(())
    }

    /// Makes one page present for an access if it is not.
    pub(super) async fn ensure(&self, addr: VirtAddr, access: Access) -> Result<(), FaultError> {
        let present = self.memory.mmu().borrow().mapping(self.id, addr.page());
        match present {
            Some(mapping) if permits(mapping.prot, access) => Ok(()),
            _ => self.fault(addr, access).await,
        }
    }

    fn try_fault(&self, addr: VirtAddr, access: Access, force: Force) -> Result<Step, FaultError> {
        if addr.0 >= self.task_size {
            return Err(FaultError::NotMapped);
        }
        if self.areas.borrow().find(addr.0).is_none() {
            self.grow_stack(addr.0)?;
        }
        let areas = self.areas.borrow();
        let area = areas.find(addr.0).ok_or(FaultError::NotMapped)?;
        let forced = force == Force::Yes
            && match access {
                Access::Write => area.visibility == Visibility::Private && area.max_prot.write,
                _ => true,
            };
        if !permits(hardware(area.prot), access) && !forced {
            return Err(FaultError::Forbidden);
        }
        let page = addr.page();
        let present = self.memory.mmu().borrow().mapping(self.id, page);
        let step = match present {
            Some(mapping) if permits(mapping.prot, access) => Step::Done,
            Some(mapping) if access == Access::Write => self.make_writable(area, page, mapping.frame),
            Some(mapping) => {
                let prot = Prot { write: mapping.prot.write, ..hardware(area.prot) };
                self.memory.mmu().borrow_mut().protect(self.id, page, prot);
                Step::Done
            }
            None => self.make_present(area, page, access)?,
        };
        let around = matches!((&step, &area.backing), (Step::Done, Backing::Anonymous)) && present.is_none();
        let start = area.start;
        drop(areas);
        if around && let Some(area) = self.areas.borrow_mut().find_mut(start) {
            area.faulted = area.faulted.saturating_add(1);
        }
        Ok(step)
    }

    /// Repairs a store to a page that is present and read-only in the page tables.
    fn make_writable(&self, area: &Vma, page: Vpn, frame: FrameId) -> Step {
        let prot = hardware(area.prot);
        if area.visibility == Visibility::Shared {
            if let Backing::File { file, .. } = &area.backing {
                file.cache.mapped_writable(area.index_of(page.start().0));
            }
            self.memory.mmu().borrow_mut().protect(self.id, page, prot);
            return Step::Done;
        }
        // With one reference it is nobody else's: no other process, no page cache.
        if self.memory.mmu().borrow().refs(frame) == 1 {
            self.memory.mmu().borrow_mut().protect(self.id, page, prot);
            return Step::Done;
        }
        let Some(copy) = self.memory.take_copy(frame) else { return Step::NoMemory };
        if let Backing::File { file, .. } = &area.backing {
            file.cache.page_copied();
        }
        self.memory.mmu().borrow_mut().map(self.id, page, copy, prot);
        Step::Done
    }

    fn make_present(&self, area: &Vma, page: Vpn, access: Access) -> Result<Step, FaultError> {
        let index = area.index_of(page.start().0);
        match &area.backing {
            Backing::Anonymous => Ok(self.map_zeroed(area, page)),
            Backing::File { file, .. } => {
                if index >= file.cache.size().div_ceil(PAGE) {
                    return Err(FaultError::Bus);
                }
                let Some(frame) = file.cache.frame(index) else {
                    return Ok(Step::Load(Rc::clone(&file.cache), index));
                };
                if access == Access::Write && area.visibility == Visibility::Private {
                    let Some(copy) = self.memory.take_copy(frame) else { return Ok(Step::NoMemory) };
                    file.cache.page_copied();
                    self.memory.mmu().borrow_mut().map(self.id, page, copy, hardware(area.prot));
                    return Ok(Step::Done);
                }
                self.map_cached(area, page, &file.cache, access);
                Ok(Step::Done)
            }
            Backing::Frames { frames, .. } => {
                let frame = usize::try_from(index).ok().and_then(|index| frames.get(index)).ok_or(FaultError::Bus)?;
                let write = area.prot.write && area.visibility == Visibility::Shared;
                let mut mmu = self.memory.mmu().borrow_mut();
                mmu.retain(*frame);
                mmu.map(self.id, page, *frame, Prot { write, ..hardware(area.prot) });
                drop(mmu);
                // A store to a private one goes on to copy it.
                match access {
                    Access::Write if !write => Ok(self.make_writable(area, page, *frame)),
                    _ => Ok(Step::Done),
                }
            }
        }
    }

    /// Maps fresh zero pages: as many neighbours at once as the area's history suggests, in frames next to each other.
    fn map_zeroed(&self, area: &Vma, page: Vpn) -> Step {
        let most = if self.memory.is_low() { 1 } else { ANONYMOUS_AROUND };
        let count = u64::from((area.faulted / 2 + 1).next_power_of_two().min(most));
        // An aligned block around the page, cut to the area.
        let block = page.0 / count * count;
        let first = block.max(area.start / PAGE);
        let end = (block + count).min(area.end / PAGE);
        let mmu = self.memory.mmu();
        let present = mmu.borrow().mapped_pages(self.id, Vpn(first)..Vpn(end));
        let (first, end) = if present.is_empty() { (first, end) } else { (page.0, page.0 + 1) };
        let Some(run) = self.memory.take_run((end - first) as u32) else { return Step::NoMemory };
        let (first, run_len) = if run.len() as u64 == end - first { (first, run.len() as u64) } else { (page.0, 1) };
        let mut mmu = mmu.borrow_mut();
        for (offset, frame) in run.map(FrameId).enumerate() {
            if offset as u64 >= run_len {
                mmu.release(frame);
                continue;
            }
            mmu.map(self.id, Vpn(first + offset as u64), frame, hardware(area.prot));
        }
        Step::Done
    }

    /// Maps a page of the page cache, and for loads those around it that are in memory too.
    fn map_cached(&self, area: &Vma, page: Vpn, cache: &PageCache, access: Access) {
        let prot = Prot { write: false, ..hardware(area.prot) };
        let block = page.0 / FAULT_AROUND * FAULT_AROUND;
        let (first, end) = match access {
            Access::Write => (page.0, page.0 + 1),
            _ => (block.max(area.start / PAGE), (block + FAULT_AROUND).min(area.end / PAGE)),
        };
        let last = cache.size().div_ceil(PAGE);
        let mut mmu = self.memory.mmu().borrow_mut();
        for page in (first..end).map(Vpn) {
            let index = area.index_of(page.start().0);
            if index >= last || mmu.mapping(self.id, page).is_some() {
                continue;
            }
            let Some(frame) = cache.frame(index) else { continue };
            mmu.retain(frame);
            if access == Access::Write {
                cache.mapped_writable(index);
                mmu.map(self.id, page, frame, hardware(area.prot));
            } else {
                mmu.map(self.id, page, frame, prot);
            }
        }
    }

    /// Lets the area above an address grow down to it, if it is one that does.
    fn grow_stack(&self, addr: u64) -> Result<(), FaultError> {
        let mut areas = self.areas.borrow_mut();
        let (start, end, prot, committed) = match areas.next_after(addr) {
            Some(area) if area.flags.grows_down => (area.start, area.end, area.prot, area.is_committed()),
            _ => return Err(FaultError::NotMapped),
        };
        let to = addr & !(PAGE - 1);
        let limits = self.limits.get();
        let grown = start - to;
        let too_long = end - to > limits.stack || areas.bytes() + grown > limits.address_space;
        let guard = to.saturating_sub(vma::STACK_GUARD_GAP)..to;
        // PROT_NONE areas below are guards of the program's own.
        let too_close = areas.overlapping(guard).any(|below| below.prot != Prot::default());
        if too_long || too_close || prot == Prot::default() {
            return Err(FaultError::NotMapped);
        }
        if committed {
            self.memory.commit(grown / PAGE).map_err(|_| FaultError::NotMapped)?;
            self.committed.set(self.committed.get() + grown / PAGE);
        }
        areas.grow_down(start, to);
        Ok(())
    }
}

/// The permissions an x86 page table can express: a page that can be written or executed can be read.
pub(super) fn hardware(prot: Prot) -> Prot {
    Prot { read: prot.read || prot.write || prot.execute, ..prot }
}

fn permits(prot: Prot, access: Access) -> bool {
    match access {
        Access::Read => prot.read,
        Access::Write => prot.write,
        Access::Execute => prot.execute,
    }
}
