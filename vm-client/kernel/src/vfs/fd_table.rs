//! Descriptors of a process (Linux's `files_struct`).

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::rc::Rc;

use super::{OpenFile, Vfs};
use crate::{Errno, Result};

/// What happens to a descriptor at execve(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExec {
    /// It stays open.
    Keep,
    /// It is closed (FD_CLOEXEC).
    Close,
}

impl OnExec {
    /// From a flag word and its close-on-exec bit.
    pub fn from_flag(flags: u32, cloexec: u32) -> Self {
        if flags & cloexec != 0 { Self::Close } else { Self::Keep }
    }
}

#[derive(Clone)]
struct Slot {
    file: Rc<OpenFile>,
    on_exec: OnExec,
}

/// The open files of a process by number. Shared with CLONE_FILES, else copied.
pub struct FdTable {
    slots: RefCell<Vec<Option<Slot>>>,
    vfs: Rc<Vfs>,
}

/// Numbers beyond this are refused whatever the limit says (Linux's `fs.nr_open`).
const NR_OPEN: usize = 1 << 20;

impl FdTable {
    /// An empty table.
    pub fn new(vfs: &Rc<Vfs>) -> Rc<Self> {
        Rc::new(Self { slots: RefCell::default(), vfs: Rc::clone(vfs) })
    }

    /// A copy for fork(2): the same open files.
    pub fn fork(&self) -> Rc<Self> {
        Rc::new(Self { slots: RefCell::new(self.slots.borrow().clone()), vfs: Rc::clone(&self.vfs) })
    }

    /// The open file, for everything but names: O_PATH descriptors are EBADF.
    pub fn get(&self, fd: i32) -> Result<Rc<OpenFile>> {
        self.get_any(fd).and_then(|file| if file.is_path_only() { Err(Errno::EBADF) } else { Ok(file) })
    }

    /// The open file, O_PATH descriptors included.
    pub fn get_any(&self, fd: i32) -> Result<Rc<OpenFile>> {
        let slots = self.slots.borrow();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get(fd)).and_then(Option::as_ref);
        slot.map(|slot| Rc::clone(&slot.file)).ok_or(Errno::EBADF)
    }

    /// Gives a file the lowest free number from `min` on and below `limit` (RLIMIT_NOFILE); EMFILE if there is none.
    pub fn insert_from(&self, min: usize, file: Rc<OpenFile>, on_exec: OnExec, limit: u64) -> Result<i32> {
        let limit = usize::try_from(limit).unwrap_or(NR_OPEN).min(NR_OPEN);
        let mut slots = self.slots.borrow_mut();
        let fd = slots.iter().skip(min).position(Option::is_none).map_or(slots.len().max(min), |at| min + at);
        if fd >= limit {
            return Err(Errno::EMFILE);
        }
        if fd >= slots.len() {
            slots.resize(fd + 1, None);
        }
        slots[fd] = Some(Slot { file, on_exec });
        Ok(fd as i32)
    }

    /// EMFILE unless there is a free descriptor below the limit.
    pub fn check_room(&self, limit: u64) -> Result<()> {
        let limit = usize::try_from(limit).unwrap_or(NR_OPEN).min(NR_OPEN);
        let slots = self.slots.borrow();
        if slots.len() < limit || slots.iter().take(limit).any(Option::is_none) { Ok(()) } else { Err(Errno::EMFILE) }
    }

    /// Gives a file this number, closing what had it (dup2(2)); returns what was closed.
    pub fn replace(&self, fd: i32, file: Rc<OpenFile>, on_exec: OnExec, limit: u64) -> Result<Option<Rc<OpenFile>>> {
        let limit = usize::try_from(limit).unwrap_or(NR_OPEN).min(NR_OPEN);
        let fd = usize::try_from(fd).ok().filter(|fd| *fd < limit).ok_or(Errno::EBADF)?;
        let mut slots = self.slots.borrow_mut();
        if fd >= slots.len() {
            slots.resize(fd + 1, None);
        }
        let old = slots[fd].replace(Slot { file, on_exec });
        drop(slots);
        Ok(old.map(|old| self.closing(old)))
    }

    /// Takes a descriptor out; the file closes when the caller drops it and nobody else holds it.
    pub fn remove(&self, fd: i32) -> Result<Rc<OpenFile>> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.slots.borrow_mut().get_mut(fd).and_then(Option::take));
        slot.map(|slot| self.closing(slot)).ok_or(Errno::EBADF)
    }

    /// POSIX locks go with any descriptor of the file.
    fn closing(&self, slot: Slot) -> Rc<OpenFile> {
        self.vfs.locks.release_posix(slot.file.inode(), self.id());
        slot.file
    }

    /// Whether the descriptor closes at execve(2).
    pub fn on_exec(&self, fd: i32) -> Result<OnExec> {
        let slots = self.slots.borrow();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get(fd)).and_then(Option::as_ref);
        slot.map(|slot| slot.on_exec).ok_or(Errno::EBADF)
    }

    /// Changes that.
    pub fn set_on_exec(&self, fd: i32, on_exec: OnExec) -> Result<()> {
        let mut slots = self.slots.borrow_mut();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get_mut(fd)).and_then(Option::as_mut);
        slot.map(|slot| slot.on_exec = on_exec).ok_or(Errno::EBADF)
    }

    /// Closes what execve(2) closes. The table must not be shared any more.
    pub fn close_on_exec(&self) {
        let closing: Vec<Slot> = {
            let mut slots = self.slots.borrow_mut();
            slots.iter_mut().filter_map(|slot| slot.take_if(|slot| slot.on_exec == OnExec::Close)).collect()
        };
        for slot in closing {
            drop(self.closing(slot));
        }
    }

    /// The open numbers of a range.
    pub fn numbers_in(&self, range: RangeInclusive<u32>) -> Vec<i32> {
        let slots = self.slots.borrow();
        let end = (*range.end() as usize).saturating_add(1).min(slots.len());
        (*range.start() as usize..end).filter(|fd| slots[*fd].is_some()).map(|fd| fd as i32).collect()
    }

    /// All open numbers, ascending.
    pub fn numbers(&self) -> Vec<i32> {
        self.numbers_in(0..=u32::MAX)
    }

    /// How many slots there are (FDSize in /proc/PID/status).
    pub fn capacity(&self) -> usize {
        self.slots.borrow().len().next_power_of_two().max(64)
    }

    /// What POSIX record locks belong to.
    pub fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        let slots = std::mem::take(self.slots.get_mut());
        for slot in slots.into_iter().flatten() {
            drop(self.closing(slot));
        }
    }
}
