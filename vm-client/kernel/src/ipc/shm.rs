//! Shared memory segments (shmget(2)).
//!
//! A segment is a page cache without a file; attaching maps it. How many are attached is counted in the address spaces, as
//! that many areas show it. A removed segment is held by its attachments alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};

use vm_mem::Prot;

use super::{Object, Perm, READ, WRITE};
use crate::mm::vma::{Backing, Visibility, VmaFlags};
use crate::mm::{MappedFile, MappedObject, Mm, PageCache, Placement, Request};
use crate::task::{Credentials, Pid};
use crate::{Errno, Kernel, Result};

/// Most segments.
pub(crate) const SHMMNI: usize = 4096;
/// Largest segment: Linux's `ULONG_MAX - (1 << 24)`.
pub(crate) const SHMMAX: u64 = 0xfeff_ffff;
/// The mode bit of a removed segment.
pub(crate) const SHM_DEST: u32 = 0o1000;
/// The mode bit of a locked segment.
pub(crate) const SHM_LOCKED: u32 = 0o2000;

const PAGE: u64 = 4096;

/// Flags of shmat(2).
pub(crate) mod at {
    pub(crate) const RDONLY: u32 = 0o10000;
    pub(crate) const RND: u32 = 0o20000;
    pub(crate) const REMAP: u32 = 0o40000;
    pub(crate) const EXEC: u32 = 0o100_000;
}

/// A segment.
pub(crate) struct Segment {
    perm: Cell<Perm>,
    index: Cell<u32>,
    /// Bytes, as asked for.
    pub(crate) size: u64,
    /// The pages; none once it is removed.
    held: RefCell<Option<Rc<PageCache>>>,
    cache: Weak<PageCache>,
    /// Seconds.
    pub(crate) attached: Cell<i64>,
    pub(crate) detached: Cell<i64>,
    pub(crate) changed: Cell<i64>,
    pub(crate) creator: Pid,
    pub(crate) last_pid: Cell<Pid>,
}

impl Object for Segment {
    fn perm(&self) -> &Cell<Perm> {
        &self.perm
    }

    fn index(&self) -> &Cell<u32> {
        &self.index
    }
}

/// What /proc/PID/maps shows of an attached segment.
struct Shown {
    key: u32,
    id: u32,
}

impl MappedObject for Shown {
    fn dev(&self) -> u64 {
        1
    }

    fn ino(&self) -> u64 {
        u64::from(self.id)
    }

    fn path(&self) -> Vec<u8> {
        format!("/SYSV{:08x} (deleted)", self.key).into_bytes()
    }
}

impl Segment {
    /// A new segment.
    pub(crate) fn new(kernel: &Kernel, perm: Perm, size: u64, creator: Pid) -> Rc<Self> {
        let cache = PageCache::in_memory(&kernel.memory, size.next_multiple_of(PAGE));
        Rc::new(Self {
            perm: Cell::new(perm),
            index: Cell::default(),
            size,
            cache: Rc::downgrade(&cache),
            held: RefCell::new(Some(cache)),
            attached: Cell::default(),
            detached: Cell::default(),
            changed: Cell::new(kernel.now_realtime().sec),
            creator,
            last_pid: Cell::default(),
        })
    }

    /// Pages it may have.
    pub(crate) fn pages(&self) -> u64 {
        self.size.div_ceil(PAGE)
    }

    /// Pages it has.
    pub(crate) fn resident(&self) -> u64 {
        self.cache.upgrade().map_or(0, |cache| cache.resident())
    }

    fn is_shown_by(&self, file: &MappedFile) -> bool {
        std::ptr::eq(Rc::as_ptr(&file.cache), self.cache.as_ptr())
    }

    /// How many areas of all address spaces show it.
    pub(crate) fn attachments(&self, kernel: &Kernel) -> u32 {
        if self.cache.strong_count() == 0 {
            return 0;
        }
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for task in kernel.processes.tasks() {
            let Some(mm) = task.mm().filter(|mm| seen.insert(mm.id().0)) else { continue };
            let shows = |area: &&crate::mm::vma::Vma| area.file().is_some_and(|file| self.is_shown_by(file));
            count += mm.areas().iter().filter(shows).count() as u32;
        }
        count
    }

    /// Maps it (shmat(2)).
    pub(crate) fn attach(&self, mm: &Mm, creds: &Credentials, addr: u64, flags: u32) -> Result<u64> {
        let writes = flags & at::RDONLY == 0;
        let executes = flags & at::EXEC != 0;
        let placement = if addr == 0 {
            if flags & at::REMAP != 0 {
                return Err(Errno::EINVAL);
            }
            Placement::Hint(0)
        } else {
            let at = if flags & at::RND != 0 { addr / PAGE * PAGE } else { addr };
            if !at.is_multiple_of(PAGE) || (at == 0 && flags & at::REMAP != 0) {
                return Err(Errno::EINVAL);
            }
            if flags & at::REMAP != 0 { Placement::Fixed(at) } else { Placement::FixedNoReplace(at) }
        };
        let wanted = READ | if writes { WRITE } else { 0 } | if executes { 0o111 } else { 0 };
        self.perm.get().check(creds, wanted)?;
        let cache = self.cache.upgrade().ok_or(Errno::EIDRM)?;
        let shown = Shown { key: self.perm.get().key, id: self.id() };
        let backing = Backing::File { file: Rc::new(MappedFile { cache, object: Rc::new(shown) }), first: 0 };
        let request = Request {
            placement,
            len: self.pages() * PAGE,
            prot: Prot { read: true, write: writes, execute: executes },
            max_prot: Prot { read: true, write: writes, execute: true },
            visibility: Visibility::Shared,
            backing,
            flags: VmaFlags::default(),
        };
        // A place that is taken is EINVAL here, not EEXIST.
        mm.map(request).map_err(|error| if error == Errno::EEXIST { Errno::EINVAL } else { error })
    }

    /// Removes it from the table once nothing is attached; from now on nobody finds it by its key.
    pub(crate) fn remove(&self) {
        self.held.borrow_mut().take();
        let perm = self.perm.get();
        self.perm.set(Perm { key: super::IPC_PRIVATE, mode: perm.mode | SHM_DEST, ..perm });
    }

    /// Whether it was removed and its last attachment is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.cache.strong_count() == 0
    }
}

/// Unmaps the segment whose first page is mapped at this address (shmdt(2)); EINVAL if there is none.
pub(crate) fn detach(kernel: &Kernel, mm: &Mm, addr: u64) -> Result<Rc<Segment>> {
    let segments = kernel.ipc.shm.list();
    let areas = mm.areas();
    let starts_here = |area: &crate::mm::vma::Vma| match &area.backing {
        Backing::File { first, .. } => area.start.checked_sub(first * PAGE) == Some(addr),
        _ => false,
    };
    let of = |area: &crate::mm::vma::Vma| {
        let file = area.file()?;
        segments.iter().find(|segment| segment.is_shown_by(file)).cloned()
    };
    let areas: Vec<_> = areas.into_iter().filter(|area| area.start >= addr && starts_here(area)).collect();
    let segment = areas.iter().find_map(of).ok_or(Errno::EINVAL)?;
    for area in &areas {
        if area.file().is_some_and(|file| segment.is_shown_by(file)) {
            mm.munmap(area.start, area.len())?;
        }
    }
    Ok(segment)
}

/// Drops the removed segments whose last attachment is gone.
pub(crate) fn purge(kernel: &Kernel) {
    for segment in kernel.ipc.shm.list() {
        if segment.is_gone() {
            kernel.ipc.shm.remove(&segment);
        }
    }
}
