//! Memory of processes: areas, demand paging, copy-on-write, the mmap(2) family and the page cache.
//!
//! [`Mm`] is one address space (Linux's `mm_struct`): its areas ([`vma`]) are the truth, the page tables in [`vm_mem::Mmu`]
//! only repeat what faults have made present. [`PageCache`] holds the pages of one file, [`Memory`] everything that address
//! spaces and caches share. Faults are async, because a page of a file may have to come from far away. The kernel touches
//! user memory only through [`Mm::read`], [`Mm::write`] and [`Mm::populate`], never under a lock.

mod advice;
mod brk;
mod fault;
mod foreign;
mod map;
pub mod memory;
pub mod page_cache;
mod remap;
pub mod vma;

pub use fault::FaultError;
pub use map::{Mapping, Placement, Request};
pub use memory::{Memory, MemoryStats, OomOutcome};
pub use page_cache::PageCache;
pub use vma::{MappedFile, MappedObject};

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use linux_abi::Errno;
use vm_mem::{Access, MmId, PAGE_SIZE, Sharing, VirtAddr, Vpn};

use vma::{Backing, Visibility, Vma, VmaSet};

const PAGE: u64 = PAGE_SIZE as u64;
/// Addresses below this one are never mapped (Linux's `vm.mmap_min_addr`).
const MMAP_MIN_ADDR: u64 = 0x1_0000;

/// The border of user addresses of a 32-bit program on a 64-bit Linux kernel.
pub const TASK_SIZE_I386: u64 = 0xffff_e000;

/// The limits of setrlimit(2) that concern an address space, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `RLIMIT_AS`
    pub address_space: u64,
    /// `RLIMIT_DATA`
    pub data: u64,
    /// `RLIMIT_STACK`
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`
    pub memlock: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, memlock: u64::MAX }
    }
}

/// Where the parts of a program are, as /proc/PID/stat and prctl(2) name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of mm_struct")]
pub struct Layout {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    /// Address of the vDSO, 0 if there is none.
    pub vdso: u64,
}

/// An address space.
pub struct Mm {
    memory: Rc<Memory>,
    id: MmId,
    /// First address behind user space.
    task_size: u64,
    /// mmap(2) places from here down.
    mmap_base: Cell<u64>,
    areas: RefCell<VmaSet>,
    /// Pages promised to it.
    committed: Cell<u64>,
    /// mlockall(2) with MCL_FUTURE.
    lock_future: Cell<bool>,
    /// Readable mappings are executable too (a program without PT_GNU_STACK).
    read_implies_exec: Cell<bool>,
    limits: Cell<Limits>,
    layout: Cell<Layout>,
    /// What /proc/PID/auxv shows.
    auxv: RefCell<Vec<u8>>,
    /// The program.
    exe: RefCell<Option<Rc<dyn MappedObject>>>,
    faults: Cell<FaultCounts>,
    peak_pages: Cell<u32>,
}

/// How often pages were made present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Without waiting.
    pub minor: u64,
    /// After waiting for a file.
    pub major: u64,
}

impl Mm {
    /// Makes an empty address space for an i386 program.
    pub fn new_i386(memory: &Rc<Memory>, limits: Limits) -> Rc<Self> {
        let id = memory.mmu().borrow_mut().create_space(32);
        // As Linux's mmap_base(): room for the stack and its gap, at least 128 MiB, at most five sixths of all.
        let gap = limits.stack.saturating_add(vma::STACK_GUARD_GAP).clamp(128 << 20, TASK_SIZE_I386 / 6 * 5);
        let space = Rc::new(Self {
            memory: Rc::clone(memory),
            id,
            task_size: TASK_SIZE_I386,
            mmap_base: Cell::new((TASK_SIZE_I386 - gap) & !(PAGE - 1)),
            areas: RefCell::default(),
            committed: Cell::new(0),
            lock_future: Cell::new(false),
            read_implies_exec: Cell::new(false),
            limits: Cell::new(limits),
            layout: Cell::default(),
            auxv: RefCell::default(),
            exe: RefCell::default(),
            faults: Cell::default(),
            peak_pages: Cell::new(0),
        });
        memory.space_added(&space);
        space
    }

    /// Makes a copy for a child: private pages are shared until either side stores to them.
    pub fn fork(&self) -> Result<Rc<Self>, Errno> {
        self.memory.commit(self.committed.get())?;
        let id = self.memory.mmu().borrow_mut().create_space(32);
        let child = Rc::new(Self {
            memory: Rc::clone(&self.memory),
            id,
            task_size: self.task_size,
            mmap_base: self.mmap_base.clone(),
            areas: RefCell::default(),
            committed: self.committed.clone(),
            lock_future: Cell::new(false),
            read_implies_exec: self.read_implies_exec.clone(),
            limits: self.limits.clone(),
            layout: self.layout.clone(),
            auxv: self.auxv.clone(),
            exe: self.exe.clone(),
            faults: Cell::default(),
            peak_pages: Cell::new(0),
        });
        let (mut uncommitted, mut same_code) = (0, true);
        {
            let mut areas = child.areas.borrow_mut();
            let mut mmu = self.memory.mmu().borrow_mut();
            for area in self.areas.borrow().iter() {
                if area.flags.dont_fork {
                    uncommitted += if area.is_committed() { area.len() / PAGE } else { 0 };
                    same_code &= !area.prot.execute;
                    continue;
                }
                let mut copy = area.clone();
                copy.flags.locked = false;
                // Shared pages are found again by the child's own faults.
                if area.visibility == Visibility::Private && !area.flags.wipe_on_fork {
                    mmu.clone_range(self.id, id, pages(area.start..area.end), Sharing::CopyOnWrite);
                } else {
                    same_code &= !area.prot.execute;
                }
                areas.insert(copy);
            }
            if same_code {
                mmu.inherit_code(self.id, id);
            }
        }
        child.uncommit(uncommitted);
        self.memory.space_added(&child);
        Ok(child)
    }

    /// The handle of the page tables, for [`vm_mem::Mmu::activate`].
    pub fn id(&self) -> MmId {
        self.id
    }

    /// The machine's memory.
    pub fn memory(&self) -> &Rc<Memory> {
        &self.memory
    }

    /// First address behind user space.
    pub fn task_size(&self) -> u64 {
        self.task_size
    }

    /// Follows setrlimit(2).
    pub fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Where the parts of the program are.
    pub fn layout(&self) -> Layout {
        self.layout.get()
    }

    /// Changes where the parts of the program are (exec, prctl(2) PR_SET_MM).
    pub fn set_layout(&self, layout: Layout) {
        self.layout.set(layout);
    }

    /// Makes readable mappings executable from now on (personality(2) READ_IMPLIES_EXEC).
    pub fn set_read_implies_exec(&self, on: bool) {
        self.read_implies_exec.set(on);
    }

    /// Where a signal handler returns to when it brings no restorer: the vDSO's trampoline for that kind of frame.
    pub fn sigreturn_address(&self, rt: bool) -> Option<u64> {
        let vdso = Some(self.layout().vdso).filter(|at| *at != 0)?;
        let symbols = crate::loader::vdso::symbols();
        Some(vdso + if rt { symbols.rt_sigreturn } else { symbols.sigreturn })
    }

    /// What /proc/PID/auxv shows.
    pub fn auxv(&self) -> Vec<u8> {
        self.auxv.borrow().clone()
    }

    pub(crate) fn set_auxv(&self, auxv: Vec<u8>) {
        *self.auxv.borrow_mut() = auxv;
    }

    /// The program, for /proc/PID/exe.
    pub fn exe(&self) -> Option<Rc<dyn MappedObject>> {
        self.exe.borrow().clone()
    }

    pub(crate) fn set_exe(&self, exe: Rc<dyn MappedObject>) {
        *self.exe.borrow_mut() = Some(exe);
    }

    /// The areas in order, for /proc/PID/maps.
    pub fn areas(&self) -> Vec<Vma> {
        self.areas.borrow().iter().cloned().collect()
    }

    /// The area an address is in.
    pub fn area_at(&self, addr: u64) -> Option<Vma> {
        self.areas.borrow().find(addr).cloned()
    }

    /// What /proc/PID/maps calls an area.
    pub fn area_name(&self, area: &Vma) -> Vec<u8> {
        let layout = self.layout.get();
        match &area.backing {
            Backing::File { file, .. } => file.object.path(),
            Backing::Frames { name, .. } => name.as_bytes().to_vec(),
            Backing::Anonymous if area.start <= layout.brk && area.end >= layout.start_brk && layout.brk != 0 => {
                b"[heap]".to_vec()
            }
            Backing::Anonymous if (area.start..=area.end).contains(&layout.start_stack) => b"[stack]".to_vec(),
            Backing::Anonymous => Vec::new(),
        }
    }

    /// Bytes of addresses in use (`VmSize`).
    pub fn virtual_size(&self) -> u64 {
        self.areas.borrow().bytes()
    }

    /// Pages present (`VmRSS`), and the most there were (`VmHWM`).
    pub fn resident_pages(&self) -> (u32, u32) {
        let now = self.memory.mmu().borrow().resident(self.id);
        self.peak_pages.set(self.peak_pages.get().max(now));
        (now, self.peak_pages.get())
    }

    /// How many pages of an area are present, and how many of those are not the file's own.
    pub fn resident_in(&self, area: &Vma) -> (u64, u64) {
        let present = self.memory.mmu().borrow().mapped_pages(self.id, pages(area.start..area.end));
        let own = present.iter().filter(|(page, mapping)| match &area.backing {
            Backing::Anonymous => true,
            Backing::File { file, .. } => file.cache.peek(area.index_of(page.start().0)) != Some(mapping.frame),
            Backing::Frames { .. } => false,
        });
        (present.len() as u64, own.count() as u64)
    }

    /// How often pages were made present.
    pub fn fault_counts(&self) -> FaultCounts {
        self.faults.get()
    }

    // ---- the kernel's door to user memory ----

    /// Reads user memory, faulting pages in; EFAULT if any byte cannot be read. Never call it under a lock.
    pub async fn read(&self, from: VirtAddr, to: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while let Err((more, fault)) = self.read_present(at(from, done)?, &mut to[done..]) {
            done += more;
            self.fault(fault.addr, Access::Read).await.map_err(FaultError::errno)?;
        }
        Ok(())
    }

    /// Writes user memory likewise.
    pub async fn write(&self, to: VirtAddr, from: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while let Err((more, fault)) = self.write_present(at(to, done)?, &from[done..]) {
            done += more;
            self.fault(fault.addr, Access::Write).await.map_err(FaultError::errno)?;
        }
        Ok(())
    }

    /// Reads what is present, without waiting; on a fault, tells how many bytes were read.
    pub fn read_present(&self, from: VirtAddr, to: &mut [u8]) -> Result<(), (usize, vm_mem::PageFault)> {
        self.memory.mmu().borrow_mut().copy_in(self.id, from, to)
    }

    /// Writes to what is present likewise.
    pub fn write_present(&self, to: VirtAddr, from: &[u8]) -> Result<(), (usize, vm_mem::PageFault)> {
        self.memory.mmu().borrow_mut().copy_out(self.id, to, from)
    }

    /// Makes a range present for an access; returns how many bytes from the start are, EFAULT if not even the first is.
    pub async fn populate(&self, from: VirtAddr, len: usize, access: Access) -> Result<usize, Errno> {
        let mut done = 0;
        while done < len {
            let addr = at(from, done)?;
            match self.ensure(addr, access).await {
                Ok(()) => done = (done + PAGE_SIZE - addr.offset()).min(len),
                Err(_) if done > 0 => break,
                Err(fault) => return Err(fault.errno()),
            }
        }
        Ok(done)
    }

    /// Identifies the word at an address across address spaces, for futex(2): shared mappings of the same page agree,
    /// everything else belongs to this address space.
    pub fn futex_key(&self, addr: u64) -> Result<FutexKey, Errno> {
        let areas = self.areas.borrow();
        let area = areas.find(addr).ok_or(Errno::EFAULT)?;
        Ok(match (&area.backing, area.visibility) {
            (Backing::File { file, .. }, Visibility::Shared) => FutexKey::Shared {
                cache: Rc::as_ptr(&file.cache) as usize,
                offset: area.index_of(addr) * PAGE + addr % PAGE,
            },
            _ => FutexKey::Private { mm: self.id.0, addr },
        })
    }

    fn maps_writable(&self, cache: &Rc<PageCache>) -> bool {
        let areas = self.areas.borrow();
        areas
            .iter()
            .any(|area| area.is_shared_writable() && area.file().is_some_and(|file| Rc::ptr_eq(&file.cache, cache)))
    }

    fn drop_copies(&self, cache: &PageCache, from: u64) {
        let areas = self.areas.borrow();
        let mut mmu = self.memory.mmu().borrow_mut();
        for area in areas.iter().filter(|area| area.visibility == Visibility::Private) {
            let Backing::File { file, first } = &area.backing else { continue };
            if !std::ptr::eq(&*file.cache, cache) {
                continue;
            }
            let before = from.saturating_sub(*first).min(area.len() / PAGE);
            mmu.unmap_range(self.id, pages(area.start + before * PAGE..area.end));
        }
    }

    fn uncommit(&self, pages: u64) {
        self.committed.set(self.committed.get().saturating_sub(pages));
        self.memory.uncommit(pages);
    }

    /// Unmaps what is present of an area, remembering what was stored to.
    fn unmap_present(&self, area: &Vma, range: Range<u64>) {
        let range = range.start.max(area.start)..range.end.min(area.end);
        if range.is_empty() {
            return;
        }
        if let (Backing::File { file, .. }, true) = (&area.backing, area.is_shared_writable()) {
            let present = self.memory.mmu().borrow().mapped_pages(self.id, pages(range.clone()));
            for (page, _) in present.iter().filter(|(_, mapping)| mapping.dirty) {
                file.cache.mark_dirty(area.index_of(page.start().0));
            }
        }
        self.memory.mmu().borrow_mut().unmap_range(self.id, pages(range));
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        self.memory.space_removed(self.id);
        let areas = self.areas.take();
        for area in areas.iter().filter(|area| area.is_shared_writable()) {
            self.unmap_present(area, area.start..area.end);
        }
        self.memory.mmu().borrow_mut().destroy_space(self.id);
        self.memory.uncommit(self.committed.get());
    }
}

/// A futex word, wherever it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FutexKey {
    /// In memory that no other address space shares.
    Private {
        /// Number of the address space.
        mm: u32,
        /// Address.
        addr: u64,
    },
    /// In a shared mapping.
    Shared {
        /// Identity of the file's pages.
        cache: usize,
        /// Offset in the file.
        offset: u64,
    },
}

/// The address some bytes further on; EFAULT past the end of all addresses.
fn at(base: VirtAddr, offset: usize) -> Result<VirtAddr, Errno> {
    base.0.checked_add(offset as u64).map(VirtAddr).ok_or(Errno::EFAULT)
}

/// The pages of a page-aligned range.
fn pages(range: Range<u64>) -> Range<Vpn> {
    Vpn(range.start / PAGE)..Vpn(range.end / PAGE)
}

#[cfg(test)]
mod tests;
