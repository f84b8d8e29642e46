//! Guest memory as a whole: who gets frames, who has to give some back, what is written back when.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use linux_abi::Errno;
use vm_mem::{FrameId, MmId, Mmu};
use vm_rt::WaitQueue;

use super::Mm;
use super::page_cache::PageCache;
use super::vma::MappedFile;
use crate::Kernel;

/// How many frames are freed at a time.
const RECLAIM_BATCH: u32 = 64;
/// The part of all frames that pages of files keep when memory runs out.
const CACHE_FLOOR: u32 = 32;
/// How often a task that waits for a victim of the OOM killer to go away gives up its turn before it gives up.
const OOM_PATIENCE: u32 = 10_000;

/// How long a store through a shared mapping may stay in memory alone.
const WRITE_BACK_AFTER: Duration = Duration::from_millis(900);

/// What the OOM killer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomOutcome {
    /// It killed somebody else, or somebody is dying already: memory will come free.
    KilledOther,
    /// It killed the task that asked.
    KilledCaller,
    /// There is nobody to kill.
    NoVictim,
}

/// What /proc/meminfo reports, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// All frames.
    pub total: u32,
    /// Frames nobody uses.
    pub free: u32,
    /// Pages of files in memory.
    pub cached: u32,
    /// Pages of tmpfs and shared anonymous memory.
    pub shmem: u32,
    /// What was promised to private writable mappings.
    pub committed: u64,
}

/// The memory of one machine, shared by all its address spaces and page caches.
pub struct Memory {
    mmu: Rc<RefCell<Mmu>>,
    /// All address spaces.
    spaces: RefCell<BTreeMap<MmId, Weak<Mm>>>,
    /// Pages that can be read again from their source, oldest first.
    lru: RefCell<VecDeque<(Weak<PageCache>, u64)>>,
    cached: Cell<u32>,
    shmem: Cell<u32>,
    committed: Cell<u64>,
    /// Files with a shared writable mapping or with pages still to be written back.
    watched: RefCell<Vec<Rc<MappedFile>>>,
    /// Woken when a file is added to an empty `watched`.
    work: WaitQueue,
    oom: RefCell<Option<Rc<dyn Fn() -> OomOutcome>>>,
}

impl Memory {
    /// Takes charge of a frame pool.
    pub fn new(mmu: Rc<RefCell<Mmu>>) -> Rc<Self> {
        Rc::new(Self {
            mmu,
            spaces: RefCell::default(),
            lru: RefCell::default(),
            cached: Cell::new(0),
            shmem: Cell::new(0),
            committed: Cell::new(0),
            watched: RefCell::default(),
            work: WaitQueue::new(),
            oom: RefCell::new(None),
        })
    }

    /// The MMU.
    pub fn mmu(&self) -> &RefCell<Mmu> {
        &self.mmu
    }

    pub(super) fn space_added(&self, space: &Rc<Mm>) {
        self.spaces.borrow_mut().insert(space.id(), Rc::downgrade(space));
    }

    pub(super) fn space_removed(&self, id: MmId) {
        self.spaces.borrow_mut().remove(&id);
    }

    fn spaces(&self) -> Vec<Rc<Mm>> {
        self.spaces.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// Whether some address space has a shared mapping of a file that may be stored to, now or after mprotect(2).
    pub fn is_mapped_writable(&self, cache: &Rc<PageCache>) -> bool {
        self.spaces().iter().any(|space| space.maps_writable(cache))
    }

    /// Drops private copies of the pages of a file from an index on, as the file ends before them now.
    pub(super) fn drop_copies(&self, cache: &PageCache, from: u64) {
        for space in self.spaces() {
            space.drop_copies(cache, from);
        }
    }

    /// Sets what chooses and kills a process when no memory is left.
    pub fn set_oom_killer(&self, killer: impl Fn() -> OomOutcome + 'static) {
        *self.oom.borrow_mut() = Some(Rc::new(killer));
    }

    /// Figures for /proc/meminfo and sysinfo(2).
    pub fn stats(&self) -> MemoryStats {
        let (free, total) = self.mmu.borrow().free_frames();
        MemoryStats { total, free, cached: self.cached.get(), shmem: self.shmem.get(), committed: self.committed.get() }
    }

    /// Whether so little is free that nothing should be read ahead.
    pub(super) fn is_low(&self) -> bool {
        let (free, total) = self.mmu.borrow().free_frames();
        free < total / 16
    }

    /// Takes frames that are neighbours, up to `wanted`, recycling cached pages if necessary but without waiting.
    pub(super) fn take_run(&self, wanted: u32) -> Option<std::ops::Range<u32>> {
        let first = self.mmu.borrow_mut().alloc_run(wanted);
        first
            .or_else(|_| {
                self.reclaim_spare();
                self.mmu.borrow_mut().alloc_run(wanted)
            })
            .ok()
    }

    /// Takes a zeroed frame likewise.
    pub(super) fn take_zeroed(&self) -> Option<FrameId> {
        self.take_run(1).map(|run| FrameId(run.start))
    }

    /// Takes a copy of a frame likewise.
    pub(super) fn take_copy(&self, of: FrameId) -> Option<FrameId> {
        // The original must survive the recycling.
        self.mmu.borrow_mut().retain(of);
        let first = self.mmu.borrow_mut().alloc_copy(of);
        let copy = first.or_else(|_| {
            self.reclaim_spare();
            self.mmu.borrow_mut().alloc_copy(of)
        });
        self.mmu.borrow_mut().release(of);
        copy.ok()
    }

    /// Waits until a frame is free: recycles cached pages, writes dirty ones back, at last kills a process. ENOMEM if all
    /// that was in vain or the caller itself was killed.
    pub async fn make_room(&self) -> Result<(), Errno> {
        if self.has_room() {
            return Ok(());
        }
        self.write_back().await;
        if self.has_room() {
            return Ok(());
        }
        let killer = self.oom.borrow().clone();
        match killer.map_or(OomOutcome::NoVictim, |kill| kill()) {
            OomOutcome::KilledOther => {}
            OomOutcome::KilledCaller | OomOutcome::NoVictim => return Err(Errno::ENOMEM),
        }
        for _ in 0..OOM_PATIENCE {
            vm_rt::yield_now().await;
            if self.has_room() {
                return Ok(());
            }
        }
        Err(Errno::ENOMEM)
    }

    fn has_room(&self) -> bool {
        if self.mmu.borrow().free_frames().0 == 0 {
            self.reclaim_spare();
        }
        self.mmu.borrow().free_frames().0 > 0
    }

    /// Recycles a few cached pages, but not the last ones of files: those are the programs that run. Taking them too would
    /// only make everybody read them again and again instead of ending the one that has all the memory.
    fn reclaim_spare(&self) {
        let total = self.mmu.borrow().free_frames().1;
        let spare = self.cached.get().saturating_sub(total / CACHE_FLOOR);
        if spare > 0 {
            self.reclaim(RECLAIM_BATCH.min(spare));
        }
    }

    /// Drops up to `wanted` clean pages of files, those not used for longest first.
    fn reclaim(&self, wanted: u32) {
        let mut freed = 0;
        // Each page gets at most one second chance.
        let mut left = self.lru.borrow().len() * 2;
        while freed < wanted && left > 0 {
            left -= 1;
            let Some((weak, index)) = self.lru.borrow_mut().pop_front() else { return };
            let Some(cache) = weak.upgrade() else { continue };
            match cache.evict(index) {
                Evicted::Freed => freed += 1,
                Evicted::Gone => {}
                Evicted::Kept => self.lru.borrow_mut().push_back((weak, index)),
            }
        }
    }

    /// How many frames pages of files may have while nobody else asks: recycling before the pool grows keeps a machine
    /// that only reads files small.
    pub(super) fn cache_share(&self) -> u32 {
        self.mmu.borrow().free_frames().1 / 4
    }

    /// Recycles pages so that `count` more stay within the share.
    pub(super) fn make_room_in_share(&self, count: u32) {
        let over = (self.cached.get() + count).saturating_sub(self.cache_share());
        if over > 0 {
            self.reclaim(over.max(RECLAIM_BATCH.min(self.cached.get() / 4)));
        }
    }

    /// Notes a page that can be evicted.
    pub(super) fn page_added(&self, cache: Weak<PageCache>, index: u64) {
        self.lru.borrow_mut().push_back((cache, index));
        self.cached.set(self.cached.get() + 1);
    }

    pub(super) fn pages_removed(&self, count: u32) {
        self.cached.set(self.cached.get().saturating_sub(count));
        // Entries of dropped pages stay in the list until it is mostly made of them.
        let mut lru = self.lru.borrow_mut();
        if lru.len() > 4 * self.cached.get() as usize + 1024 {
            lru.retain(|(cache, index)| cache.upgrade().is_some_and(|cache| cache.peek(*index).is_some()));
        }
    }

    pub(super) fn count_shmem(&self, change: i64) {
        self.shmem.set((i64::from(self.shmem.get()) + change).clamp(0, i64::from(u32::MAX)) as u32);
    }

    // ---- commit charge ----

    /// Promises memory to a private writable mapping. As Linux's default heuristic, it refuses only what could never be
    /// kept.
    pub(super) fn commit(&self, pages: u64) -> Result<(), Errno> {
        if pages > u64::from(self.mmu.borrow().free_frames().1) {
            return Err(Errno::ENOMEM);
        }
        self.committed.set(self.committed.get() + pages);
        Ok(())
    }

    pub(super) fn uncommit(&self, pages: u64) {
        self.committed.set(self.committed.get().saturating_sub(pages));
    }

    // ---- write-back of shared mappings ----

    /// Has a file with a shared writable mapping written back from now on.
    pub(super) fn watch(&self, file: &Rc<MappedFile>) {
        if file.cache.is_in_memory() {
            return;
        }
        let mut watched = self.watched.borrow_mut();
        if !watched.iter().any(|known| Rc::ptr_eq(known, file)) {
            watched.push(Rc::clone(file));
            drop(watched);
            self.work.wake_all();
        }
    }

    /// Writes back what shared mappings have changed. Errors are kept for the file's next msync(2) or fsync(2).
    pub async fn write_back(&self) {
        let files: Vec<Rc<MappedFile>> = self.watched.borrow().clone();
        for file in &files {
            file.cache.write_dirty().await;
        }
        drop(files);
        // What is mapped nowhere any more and is clean needs no watch. Dropped outside the borrow: it may close a file.
        let (kept, done): (Vec<_>, Vec<_>) =
            self.watched.take().into_iter().partition(|file| Rc::strong_count(file) > 1 || file.cache.may_be_dirty());
        self.watched.borrow_mut().extend(kept);
        drop(done);
    }

    /// Whether [`Memory::write_back`] has files to look after.
    pub fn has_watched(&self) -> bool {
        !self.watched.borrow().is_empty()
    }

    /// Waits until it has.
    pub async fn wait_for_watched(&self) {
        while !self.has_watched() {
            self.work.wait().await;
        }
    }
}

/// Writes back what shared mappings have changed within a second, while there are any that may.
pub(crate) async fn write_back_periodically(kernel: Weak<Kernel>) {
    let Some(memory) = kernel.upgrade().map(|kernel| Rc::clone(&kernel.memory)) else { return };
    loop {
        memory.wait_for_watched().await;
        let Some(sleep) =
            kernel.upgrade().map(|kernel| kernel.timers.sleep_until(kernel.now_monotonic() + WRITE_BACK_AFTER))
        else {
            return;
        };
        sleep.await;
        memory.write_back().await;
    }
}

/// What became of a page that was asked to go.
pub(super) enum Evicted {
    Freed,
    /// It was not there.
    Gone,
    /// It is dirty, busy or was used recently.
    Kept,
}
