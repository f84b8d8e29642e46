//! File locks: flock(2), and the record locks of fcntl(2), by process and by open file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use vm_rt::{Wait, WaitQueue};

use super::Inode;

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// A descriptor table: POSIX record locks. The process number is what F_GETLK reports.
    Posix {
        /// [`super::FdTable::id`]
        table: usize,
        /// Process that took it.
        pid: i32,
    },
    /// An open file, by address: F_OFD_SETLK.
    Ofd(usize),
    /// An open file, by address: flock(2), which does not see record locks.
    Flock(usize),
}

impl LockOwner {
    fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Posix { table: a, .. }, Self::Posix { table: b, .. }) => a == b,
            _ => self == other,
        }
    }

    fn same_family(self, other: Self) -> bool {
        matches!(self, Self::Flock(_)) == matches!(other, Self::Flock(_))
    }
}

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LockKind {
    Read,
    Write,
}

/// A lock on bytes `start..=end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLock {
    /// Who holds it.
    pub owner: LockOwner,
    /// How.
    pub kind: LockKind,
    /// First byte.
    pub start: u64,
    /// Last byte; `u64::MAX` is "to the end, however far that is".
    pub end: u64,
}

impl FileLock {
    fn overlaps(&self, other: &FileLock) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn conflicts(&self, other: &FileLock) -> bool {
        self.owner.same_family(other.owner)
            && !self.owner.is_same(other.owner)
            && self.overlaps(other)
            && (self.kind == LockKind::Write || other.kind == LockKind::Write)
    }
}

/// A file, by device and inode number.
type Key = (u64, u64);

/// All file locks of a machine.
#[derive(Default)]
pub struct LockTable {
    files: RefCell<HashMap<Key, Vec<FileLock>>>,
    waiting: RefCell<Vec<(LockOwner, LockOwner)>>,
    changed: WaitQueue,
}

fn key(inode: &Rc<dyn Inode>) -> Key {
    let meta = inode.metadata();
    (meta.dev, meta.ino)
}

impl LockTable {
    /// A lock that stands in the way of this one.
    pub fn conflict(&self, inode: &Rc<dyn Inode>, wanted: &FileLock) -> Option<FileLock> {
        self.files.borrow().get(&key(inode))?.iter().find(|held| held.conflicts(wanted)).copied()
    }

    /// Takes a lock, or tells what stands in its way. The owner's own locks on the range are replaced.
    pub fn try_lock(&self, inode: &Rc<dyn Inode>, wanted: FileLock) -> Result<(), FileLock> {
        if let Some(held) = self.conflict(inode, &wanted) {
            return Err(held);
        }
        self.carve(inode, wanted.owner, wanted.start, wanted.end);
        let mut files = self.files.borrow_mut();
        let locks = files.entry(key(inode)).or_default();
        let mut merged = wanted;
        locks.retain(|held| {
            let touches = held.owner.is_same(merged.owner)
                && held.owner.same_family(merged.owner)
                && held.kind == merged.kind
                && held.start <= merged.end.saturating_add(1)
                && merged.start <= held.end.saturating_add(1);
            if touches {
                merged.start = merged.start.min(held.start);
                merged.end = merged.end.max(held.end);
            }
            !touches
        });
        let at = locks.iter().position(|held| held.start > merged.start).unwrap_or(locks.len());
        locks.insert(at, merged);
        drop(files);
        // A write lock that became a read lock may let others in.
        self.changed.wake_all();
        Ok(())
    }

    /// Gives up an owner's locks on a range.
    pub fn unlock(&self, inode: &Rc<dyn Inode>, owner: LockOwner, start: u64, end: u64) {
        if self.carve(inode, owner, start, end) {
            self.changed.wake_all();
        }
    }

    fn carve(&self, inode: &Rc<dyn Inode>, owner: LockOwner, start: u64, end: u64) -> bool {
        let mut files = self.files.borrow_mut();
        if files.is_empty() {
            return false;
        }
        let key = key(inode);
        let Some(locks) = files.get_mut(&key) else { return false };
        let mut kept = Vec::with_capacity(locks.len());
        let mut changed = false;
        for held in locks.drain(..) {
            if !held.owner.is_same(owner) || held.end < start || end < held.start {
                kept.push(held);
                continue;
            }
            changed = true;
            if held.start < start {
                kept.push(FileLock { end: start - 1, ..held });
            }
            if held.end > end {
                kept.push(FileLock { start: end + 1, ..held });
            }
        }
        if kept.is_empty() {
            files.remove(&key);
        } else {
            *locks = kept;
        }
        changed
    }

    /// Gives up a process's record locks on a file, as close(2) of any descriptor does.
    pub(super) fn release_posix(&self, inode: &Rc<dyn Inode>, table: usize) {
        if !self.files.borrow().is_empty() {
            self.unlock(inode, LockOwner::Posix { table, pid: 0 }, 0, u64::MAX);
        }
    }

    /// Gives up the locks of an open file.
    pub(super) fn release_open_file(&self, inode: &Rc<dyn Inode>, open_file: usize) {
        if !self.files.borrow().is_empty() {
            self.unlock(inode, LockOwner::Flock(open_file), 0, u64::MAX);
            self.unlock(inode, LockOwner::Ofd(open_file), 0, u64::MAX);
        }
    }

    /// Waits for any change.
    pub fn wait(&self) -> Wait {
        self.changed.wait()
    }

    /// Notes that one owner waits for another until the result is dropped; `None` if that closes a circle (EDEADLK).
    pub fn waits_for(&self, waiter: LockOwner, holder: LockOwner) -> Option<WaitsFor<'_>> {
        let mut waiting = self.waiting.borrow_mut();
        let mut at = holder;
        for _ in 0..=waiting.len() {
            if at.is_same(waiter) {
                return None;
            }
            let Some((_, next)) = waiting.iter().find(|(who, _)| who.is_same(at)) else { break };
            at = *next;
        }
        waiting.push((waiter, holder));
        Some(WaitsFor { table: self, waiter })
    }

    /// All locks, with device and inode number, for /proc/locks.
    pub fn list(&self) -> Vec<(Key, FileLock)> {
        self.files.borrow().iter().flat_map(|(key, locks)| locks.iter().map(|lock| (*key, *lock))).collect()
    }
}

/// Held while a lock is waited for.
pub struct WaitsFor<'a> {
    table: &'a LockTable,
    waiter: LockOwner,
}

impl Drop for WaitsFor<'_> {
    fn drop(&mut self) {
        let mut waiting = self.table.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|(who, _)| who.is_same(self.waiter)) {
            waiting.swap_remove(at);
        }
    }
}
