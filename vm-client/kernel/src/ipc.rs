//! System V IPC (sysvipc(7)) and POSIX message queues (mq_overview(7)).
//!
//! [`Ids`] is a table of objects with numbers, keys and permissions, one for each of [`shm`], [`sem`] and [`msg`]; [`mqueue`] has
//! the queues that go by name. Their system calls are in `syscall::ipc` and `syscall::mqueue`.

pub(crate) mod mqueue;
pub(crate) mod msg;
pub(crate) mod sem;
pub(crate) mod shm;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::task::{Credentials, cap};
use crate::{Errno, Result, SyscallCx};

/// Key of an object that nobody finds by key.
pub(crate) const IPC_PRIVATE: u32 = 0;
/// Make it if it is not there.
pub(crate) const IPC_CREAT: u32 = 0o1000;
/// Fail if it is there.
pub(crate) const IPC_EXCL: u32 = 0o2000;
/// Do not wait.
pub(crate) const IPC_NOWAIT: u32 = 0o4000;
/// Numbers are this far apart for each reuse of an index.
const SEQUENCE: u32 = 1 << 15;

/// Permission to read, in all three classes.
pub(crate) const READ: u32 = 0o444;
/// Permission to write, in all three classes.
pub(crate) const WRITE: u32 = 0o222;

/// Owner and permissions (`struct ipc_perm`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Perm {
    pub(crate) key: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) cuid: u32,
    pub(crate) cgid: u32,
    pub(crate) mode: u32,
    pub(crate) seq: u32,
}

impl Perm {
    /// EACCES unless the caller has these of [`READ`] and [`WRITE`], or of the bits of a get call.
    pub(crate) fn check(&self, creds: &Credentials, wanted: u32) -> Result<()> {
        const IPC_OWNER: u32 = 15;
        let wanted = (wanted >> 6 | wanted >> 3 | wanted) & 7;
        let granted = if creds.euid == self.cuid || creds.euid == self.uid {
            self.mode >> 6
        } else if creds.in_group(self.cgid) || creds.in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted != 0 && !creds.capable(IPC_OWNER) { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// EPERM unless the caller may change or remove the object.
    pub(crate) fn check_owner(&self, creds: &Credentials) -> Result<()> {
        let own = creds.euid == self.cuid || creds.euid == self.uid;
        if own || creds.capable(cap::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }
}

/// An object of a table.
pub(crate) trait Object {
    /// Its owner and permissions.
    fn perm(&self) -> &Cell<Perm>;
    /// Its index in the table together with its sequence number.
    fn id(&self) -> u32 {
        self.perm().get().seq * SEQUENCE + self.index().get()
    }
    /// Its index in the table.
    fn index(&self) -> &Cell<u32>;
}

/// The objects of one kind.
pub(crate) struct Ids<T> {
    by_index: RefCell<BTreeMap<u32, Rc<T>>>,
    most: usize,
    last: Cell<u32>,
    seq: Cell<u32>,
}

impl<T: Object> Ids<T> {
    /// A table for at most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { by_index: RefCell::default(), most, last: Cell::new(u32::MAX), seq: Cell::new(0) }
    }

    /// All of them, by index.
    pub(crate) fn list(&self) -> Vec<Rc<T>> {
        self.by_index.borrow().values().cloned().collect()
    }

    /// How many there are, and the highest index (0 if there are none).
    pub(crate) fn count(&self) -> (usize, u32) {
        let all = self.by_index.borrow();
        (all.len(), all.keys().next_back().copied().unwrap_or(0))
    }

    /// The object with this number; EINVAL if there is none.
    pub(crate) fn get(&self, id: u32) -> Result<Rc<T>> {
        let found = self.at(id % SEQUENCE)?;
        if found.id() == id { Ok(found) } else { Err(Errno::EINVAL) }
    }

    /// The object at this index; EINVAL if there is none.
    pub(crate) fn at(&self, index: u32) -> Result<Rc<T>> {
        self.by_index.borrow().get(&index).cloned().ok_or(Errno::EINVAL)
    }

    /// Puts an object in; ENOSPC if there are too many.
    fn add(&self, object: Rc<T>) -> Result<u32> {
        let mut all = self.by_index.borrow_mut();
        if all.len() >= self.most {
            return Err(Errno::ENOSPC);
        }
        let index = (0..SEQUENCE).find(|index| !all.contains_key(index)).ok_or(Errno::ENOSPC)?;
        if self.last.get() != u32::MAX && index <= self.last.get() {
            self.seq.set((self.seq.get() + 1) % (1 << 16));
        }
        self.last.set(index);
        object.index().set(index);
        object.perm().set(Perm { seq: self.seq.get(), ..object.perm().get() });
        let id = object.id();
        all.insert(index, object);
        Ok(id)
    }

    /// Takes an object out.
    pub(crate) fn remove(&self, object: &T) {
        self.by_index.borrow_mut().remove(&object.index().get());
    }

    /// What the get calls do: finds the object with a key, or makes one with the owner and the mode filled in.
    pub(crate) fn get_or_make(
        &self,
        cx: &SyscallCx,
        key: u32,
        flags: u32,
        fits: impl Fn(&T) -> Result<()>,
        make: impl FnOnce(Perm) -> Result<Rc<T>>,
    ) -> Result<u32> {
        let creds = cx.creds();
        let found = match key {
            IPC_PRIVATE => None,
            _ => self.by_index.borrow().values().find(|object| object.perm().get().key == key).cloned(),
        };
        match found {
            Some(_) if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL => Err(Errno::EEXIST),
            Some(object) => {
                fits(&object)?;
                object.perm().get().check(&creds, flags)?;
                Ok(object.id())
            }
            None if key != IPC_PRIVATE && flags & IPC_CREAT == 0 => Err(Errno::ENOENT),
            None => {
                let (uid, gid) = (creds.euid, creds.egid);
                let perm = Perm { key, uid, gid, cuid: uid, cgid: gid, mode: flags & 0o777, seq: 0 };
                self.add(make(perm)?)
            }
        }
    }
}

/// All System V objects of a machine.
pub(crate) struct Ipc {
    pub(crate) shm: Ids<shm::Segment>,
    pub(crate) sem: Ids<sem::Set>,
    pub(crate) msg: Ids<msg::Queue>,
    pub(crate) mqueues: mqueue::Queues,
}

impl Default for Ipc {
    fn default() -> Self {
        Self {
            shm: Ids::new(shm::SHMMNI),
            sem: Ids::new(sem::SEMMNI),
            msg: Ids::new(msg::MSGMNI),
            mqueues: mqueue::Queues::default(),
        }
    }
}
