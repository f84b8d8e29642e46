//! Locks with priority inheritance (futex(2) FUTEX_LOCK_PI): the word holds the owner's thread number, and the kernel hands it
//! on. With one processor and no real-time classes there is no priority to inherit; owning and handing on is all there is.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use vm_mem::{Access, VirtAddr};
use vm_rt::{Either, first_of};

use super::{FutexTable, Waiter, key, robust, try_load, update};
use crate::mm::FutexKey;
use crate::{Errno, Result, SyscallCx};

/// Whether to wait for a lock that somebody has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all (FUTEX_TRYLOCK_PI).
    None,
    /// Until then, on monotonic time, or for ever.
    Until(Option<Duration>),
}

impl FutexTable {
    /// The first who waits for a lock, and whether others do.
    fn next_owner(&self, key: FutexKey) -> Option<(Rc<Waiter>, bool)> {
        let queues = self.queues.borrow();
        let mut waiting = queues.get(&key)?.iter().filter(|waiter| waiter.lock_for.is_some());
        let first = Rc::clone(waiting.next()?);
        Some((first, waiting.next().is_some()))
    }

    fn hand_over(&self, waiter: &Rc<Waiter>) {
        self.remove(waiter);
        waiter.woken.set(true);
        let waker = waiter.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// FUTEX_LOCK_PI, FUTEX_LOCK_PI2 and FUTEX_TRYLOCK_PI.
pub(super) async fn lock(cx: &SyscallCx, addr: u64, private: u32, patience: Patience) -> Result<i64> {
    let tid = cx.task.tid();
    let place = key(cx, addr, private).await?;
    let table = &cx.kernel.futexes;
    let claim = |word: u32| match word & robust::TID_MASK {
        0 => Some(tid as u32 | word & (robust::OWNER_DIED | robust::WAITERS)),
        owner if owner == tid as u32 || patience == Patience::None => None,
        _ => Some(word | robust::WAITERS),
    };
    let owner = (update(cx, addr, claim).await? & robust::TID_MASK) as i32;
    if owner == 0 {
        return Ok(0);
    }
    if owner == tid {
        return Err(Errno::EDEADLK);
    }
    let Patience::Until(deadline) = patience else { return Err(Errno::EAGAIN) };
    if cx.kernel.processes.task(owner).is_none() {
        return Err(Errno::ESRCH);
    }
    // Nothing was awaited since the word was marked, so the owner cannot have let go without seeing us.
    let queued = table.enqueue_for(place, super::op::ALL_BITS, Some(tid));
    let waiter = Rc::clone(&queued.waiter);
    let owned = poll_fn(|context| {
        if waiter.woken.get() {
            return Poll::Ready(());
        }
        *waiter.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    });
    let outcome = match deadline {
        None => cx.interruptible(owned).await.map(Either::First),
        Some(deadline) => cx.interruptible(first_of(owned, cx.kernel.timers.sleep_until(deadline))).await,
    };
    match outcome {
        _ if queued.waiter.woken.get() => Ok(0),
        Ok(Either::First(())) => Ok(0),
        Ok(Either::Second(_)) => Err(Errno::ETIMEDOUT),
        Err(_) => Err(Errno::ERESTARTNOINTR),
    }
}

/// FUTEX_UNLOCK_PI: EPERM unless the caller owns the lock.
pub(super) async fn unlock(cx: &SyscallCx, addr: u64, private: u32) -> Result<i64> {
    let tid = cx.task.tid() as u32;
    let place = key(cx, addr, private).await?;
    pass_on(cx, addr, place, |word| if word & robust::TID_MASK == tid { Ok(0) } else { Err(Errno::EPERM) }).await?;
    Ok(0)
}

/// Gives a lock to the first who waits for it, or to nobody; `keep` checks the word and says which bits stay.
async fn pass_on(cx: &SyscallCx, addr: u64, place: FutexKey, keep: impl Fn(u32) -> Result<u32>) -> Result<bool> {
    let (mm, table) = (cx.mm(), &cx.kernel.futexes);
    loop {
        if let Some(word) = try_load(cx, addr)? {
            let kept = keep(word)?;
            let next = table.next_owner(place);
            let new = match &next {
                Some((waiter, more)) => {
                    waiter.lock_for.unwrap_or(0) as u32 | kept | if *more { robust::WAITERS } else { 0 }
                }
                None => kept,
            };
            if mm.write_present(VirtAddr(addr), &new.to_le_bytes()).is_ok() {
                if let Some((waiter, _)) = &next {
                    table.hand_over(waiter);
                }
                return Ok(next.is_some());
            }
        }
        mm.populate(VirtAddr(addr), 4, Access::Write).await?;
    }
}

/// Hands on a lock whose owner died; tells whether somebody waited for it.
pub(super) async fn owner_died(cx: &SyscallCx, addr: u64) -> bool {
    let Ok(place) = key(cx, addr, 0).await else { return false };
    let mut places = vec![place];
    // Whether the waiters said FUTEX_PRIVATE_FLAG is not known here.
    if let FutexKey::Shared { .. } = place {
        places.push(FutexKey::Private { mm: cx.mm().id().0, addr });
    }
    for place in places {
        if cx.kernel.futexes.next_owner(place).is_some() {
            let passed = pass_on(cx, addr, place, |_| Ok(robust::OWNER_DIED)).await;
            return passed.unwrap_or(false);
        }
    }
    false
}
