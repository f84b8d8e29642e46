//! Semaphore sets (semget(2), semop(2)).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vm_rt::{Either, WaitQueue, first_of};

use super::{IPC_NOWAIT, Object, Perm};
use crate::task::Pid;
use crate::{Errno, Kernel, Result, SyscallCx};

/// Most sets.
pub(crate) const SEMMNI: usize = 32_000;
/// Most semaphores in a set.
pub(crate) const SEMMSL: u32 = 32_000;
/// Most semaphores.
pub(crate) const SEMMNS: u32 = 1_024_000_000;
/// Most operations in one call.
pub(crate) const SEMOPM: usize = 500;
/// Largest value.
pub(crate) const SEMVMX: i32 = 32_767;
/// Undone when the process ends.
const SEM_UNDO: u32 = 0x1000;

/// One operation of semop(2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) number: u16,
    pub(crate) change: i16,
    pub(crate) flags: u32,
}

/// One semaphore.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Semaphore {
    pub(crate) value: i32,
    pub(crate) last_pid: Pid,
}

/// Who waits for a semaphore to become what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// To grow.
    More,
    /// To be zero.
    Zero,
}

/// A set.
pub(crate) struct Set {
    perm: Cell<Perm>,
    index: Cell<u32>,
    pub(crate) semaphores: RefCell<Vec<Semaphore>>,
    /// What the end of a process adds, by process.
    undo: RefCell<BTreeMap<Pid, Vec<i32>>>,
    /// Those who wait: for which semaphore, and what of it.
    waiters: RefCell<Vec<(u16, WaitsFor)>>,
    changes: WaitQueue,
    removed: Cell<bool>,
    /// Seconds.
    pub(crate) operated: Cell<i64>,
    pub(crate) changed: Cell<i64>,
}

impl Object for Set {
    fn perm(&self) -> &Cell<Perm> {
        &self.perm
    }

    fn index(&self) -> &Cell<u32> {
        &self.index
    }
}

/// Why a list of operations cannot be done now.
enum Blocked {
    Error(Errno),
    Wait(u16, WaitsFor, bool),
}

impl Set {
    /// A new set of zeros.
    pub(crate) fn new(kernel: &Kernel, perm: Perm, count: usize) -> Rc<Self> {
        Rc::new(Self {
            perm: Cell::new(perm),
            index: Cell::default(),
            semaphores: RefCell::new(vec![Semaphore::default(); count]),
            undo: RefCell::default(),
            waiters: RefCell::default(),
            changes: WaitQueue::new(),
            removed: Cell::new(false),
            operated: Cell::default(),
            changed: Cell::new(kernel.now_realtime().sec),
        })
    }

    /// How many semaphores it has.
    pub(crate) fn len(&self) -> usize {
        self.semaphores.borrow().len()
    }

    /// How many wait for a semaphore in this way.
    pub(crate) fn waiting(&self, number: u16, what: WaitsFor) -> usize {
        self.waiters.borrow().iter().filter(|waiter| **waiter == (number, what)).count()
    }

    /// Sets one value (SETVAL) or, without a number, all (SETALL); EINVAL for a number that is not there.
    pub(crate) fn set_values(&self, kernel: &Kernel, pid: Pid, number: Option<usize>, values: &[i32]) -> Result<()> {
        if values.iter().any(|value| !(0..=SEMVMX).contains(value)) {
            return Err(Errno::ERANGE);
        }
        {
            let mut semaphores = self.semaphores.borrow_mut();
            let targets = match number {
                Some(number) => semaphores.get_mut(number..number + 1).ok_or(Errno::EINVAL)?,
                None => semaphores.as_mut_slice(),
            };
            for (semaphore, value) in targets.iter_mut().zip(values) {
                *semaphore = Semaphore { value: *value, last_pid: pid };
            }
        }
        // What was to be undone is forgotten.
        for adjustments in self.undo.borrow_mut().values_mut() {
            match number.and_then(|number| adjustments.get_mut(number)) {
                Some(adjustment) => *adjustment = 0,
                None => adjustments.fill(0),
            }
        }
        self.changed.set(kernel.now_realtime().sec);
        self.changes.wake_all();
        Ok(())
    }

    /// Makes everybody who waits give up.
    pub(crate) fn remove(&self) {
        self.removed.set(true);
        self.changes.wake_all();
    }

    /// Does all operations or none.
    fn attempt(&self, kernel: &Kernel, pid: Pid, operations: &[Operation]) -> std::result::Result<(), Blocked> {
        let mut semaphores = self.semaphores.borrow_mut();
        let mut undo = self.undo.borrow_mut();
        let mut values: Vec<i32> = semaphores.iter().map(|semaphore| semaphore.value).collect();
        let mut adjustments = undo.get(&pid).cloned();
        for operation in operations {
            let number = operation.number;
            let nowait = operation.flags & IPC_NOWAIT != 0;
            let value = values.get_mut(usize::from(number)).ok_or(Blocked::Error(Errno::EFBIG))?;
            let change = i32::from(operation.change);
            if change == 0 {
                if *value != 0 {
                    return Err(Blocked::Wait(number, WaitsFor::Zero, nowait));
                }
                continue;
            }
            let new = *value + change;
            if new < 0 {
                return Err(Blocked::Wait(number, WaitsFor::More, nowait));
            }
            if new > SEMVMX {
                return Err(Blocked::Error(Errno::ERANGE));
            }
            *value = new;
            if operation.flags & SEM_UNDO != 0 {
                let all = adjustments.get_or_insert_with(|| vec![0; semaphores.len()]);
                if let Some(adjustment) = all.get_mut(usize::from(number)) {
                    *adjustment -= change;
                    if !(-SEMVMX - 1..=SEMVMX).contains(adjustment) {
                        return Err(Blocked::Error(Errno::ERANGE));
                    }
                }
            }
        }
        for (semaphore, value) in semaphores.iter_mut().zip(values) {
            semaphore.value = value;
        }
        for operation in operations {
            if let Some(semaphore) = semaphores.get_mut(usize::from(operation.number)) {
                semaphore.last_pid = pid;
            }
        }
        if let Some(adjustments) = adjustments {
            undo.insert(pid, adjustments);
        }
        self.operated.set(kernel.now_realtime().sec);
        Ok(())
    }

    /// semop(2): waits until all operations can be done at once.
    pub(crate) async fn operate(
        &self,
        cx: &SyscallCx,
        operations: &[Operation],
        timeout: Option<Duration>,
    ) -> Result<()> {
        let kernel = &cx.kernel;
        let deadline = timeout.map(|timeout| kernel.now_monotonic().saturating_add(timeout));
        loop {
            if self.removed.get() {
                return Err(Errno::EIDRM);
            }
            let changed = self.changes.wait();
            let (number, what) = match self.attempt(kernel, cx.task.pid(), operations) {
                Ok(()) => {
                    if operations.iter().any(|operation| operation.change != 0) {
                        drop(changed);
                        self.changes.wake_all();
                    }
                    return Ok(());
                }
                Err(Blocked::Error(error)) => return Err(error),
                Err(Blocked::Wait(_, _, true)) => return Err(Errno::EAGAIN),
                Err(Blocked::Wait(number, what, false)) => (number, what),
            };
            let _counted = Waiting::new(self, number, what);
            // semop(2) is never restarted, whatever SA_RESTART says.
            let never = |error| if error == Errno::ERESTARTSYS { Errno::EINTR } else { error };
            match deadline {
                None => cx.interruptible(changed).await.map_err(never)?,
                Some(deadline) => {
                    let wait = first_of(changed, kernel.timers.sleep_until(deadline));
                    if let Either::Second(_) = cx.interruptible(wait).await.map_err(never)? {
                        return Err(Errno::EAGAIN);
                    }
                }
            }
        }
    }

    /// Applies what a process that ended wants undone.
    fn undo_for(&self, kernel: &Kernel, pid: Pid) {
        let Some(adjustments) = self.undo.borrow_mut().remove(&pid) else { return };
        for (semaphore, adjustment) in self.semaphores.borrow_mut().iter_mut().zip(&adjustments) {
            if *adjustment != 0 {
                // Linux does what can be done and says nothing.
                semaphore.value = (semaphore.value + adjustment).clamp(0, SEMVMX);
                semaphore.last_pid = pid;
            }
        }
        self.operated.set(kernel.now_realtime().sec);
        self.changes.wake_all();
    }
}

/// A place among the waiters of a set, given up on drop.
struct Waiting<'a> {
    set: &'a Set,
    what: (u16, WaitsFor),
}

impl<'a> Waiting<'a> {
    fn new(set: &'a Set, number: u16, what: WaitsFor) -> Self {
        set.waiters.borrow_mut().push((number, what));
        Self { set, what: (number, what) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiters = self.set.waiters.borrow_mut();
        if let Some(at) = waiters.iter().position(|waiter| *waiter == self.what) {
            waiters.swap_remove(at);
        }
    }
}

/// Undoes what a process that ended wants undone (SEM_UNDO).
pub(crate) fn process_ended(kernel: &Kernel, pid: Pid) {
    for set in kernel.ipc.sem.list() {
        set.undo_for(kernel, pid);
    }
}
