//! futex(2): waiting on a word of user memory.
//!
//! A waiter is keyed by [`FutexKey`], so processes that share a page meet. The word is compared and the waiter queued without
//! an await between, which is all the atomicity there is to keep.

mod pi;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use vm_mem::{Access, VirtAddr};
use vm_rt::{Either, first_of};

use super::table::{Args, Row, wait};
use super::time::{read_timespec32, read_timespec64};
use crate::mm::FutexKey;
use crate::task::Pid;
use crate::time::RestartBlock;
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(240, "futex", futex, "no FUTEX_WAIT_REQUEUE_PI; nothing inherits priorities"),
    wait!(422, "futex_time64", futex_time64, "no FUTEX_WAIT_REQUEUE_PI; nothing inherits priorities"),
];

mod op {
    pub(super) const WAIT: u32 = 0;
    pub(super) const WAKE: u32 = 1;
    pub(super) const REQUEUE: u32 = 3;
    pub(super) const CMP_REQUEUE: u32 = 4;
    pub(super) const WAKE_OP: u32 = 5;
    pub(super) const LOCK_PI: u32 = 6;
    pub(super) const UNLOCK_PI: u32 = 7;
    pub(super) const TRYLOCK_PI: u32 = 8;
    pub(super) const WAIT_BITSET: u32 = 9;
    pub(super) const WAKE_BITSET: u32 = 10;
    pub(super) const LOCK_PI2: u32 = 13;
    pub(super) const PRIVATE: u32 = 128;
    pub(super) const CLOCK_REALTIME: u32 = 256;
    pub(super) const ALL_BITS: u32 = u32::MAX;
}

/// Bits of a word on a robust list.
mod robust {
    pub(super) const WAITERS: u32 = 0x8000_0000;
    pub(super) const OWNER_DIED: u32 = 0x4000_0000;
    pub(super) const TID_MASK: u32 = 0x3fff_ffff;
    /// A list longer than this is a loop.
    pub(super) const LIMIT: usize = 2048;
}

struct Waiter {
    bits: u32,
    /// Who waits to own a lock with priority inheritance.
    lock_for: Option<Pid>,
    /// Where it is queued now; a requeue changes it.
    key: Cell<FutexKey>,
    woken: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Everybody who waits on a futex.
#[derive(Default)]
pub struct FutexTable {
    queues: RefCell<BTreeMap<FutexKey, VecDeque<Rc<Waiter>>>>,
}

/// A place in a queue, given up on drop.
struct Queued<'a> {
    table: &'a FutexTable,
    waiter: Rc<Waiter>,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.table.remove(&self.waiter);
    }
}

impl FutexTable {
    fn enqueue(&self, key: FutexKey, bits: u32) -> Queued<'_> {
        self.enqueue_for(key, bits, None)
    }

    fn enqueue_for(&self, key: FutexKey, bits: u32, lock_for: Option<Pid>) -> Queued<'_> {
        let waiter =
            Rc::new(Waiter { bits, lock_for, key: Cell::new(key), woken: Cell::new(false), waker: RefCell::new(None) });
        self.queues.borrow_mut().entry(key).or_default().push_back(Rc::clone(&waiter));
        Queued { table: self, waiter }
    }

    fn remove(&self, waiter: &Rc<Waiter>) {
        let mut queues = self.queues.borrow_mut();
        if let Some(queue) = queues.get_mut(&waiter.key.get()) {
            queue.retain(|other| !Rc::ptr_eq(other, waiter));
            if queue.is_empty() {
                queues.remove(&waiter.key.get());
            }
        }
    }

    /// Wakes at most `count` waiters that share a bit; tells how many.
    fn wake(&self, key: FutexKey, count: u32, bits: u32) -> u32 {
        let mut chosen = Vec::new();
        {
            let mut queues = self.queues.borrow_mut();
            let Some(queue) = queues.get_mut(&key) else { return 0 };
            queue.retain(|waiter| {
                let take = waiter.bits & bits != 0 && (chosen.len() as u64) < u64::from(count);
                if take {
                    chosen.push(Rc::clone(waiter));
                }
                !take
            });
            if queue.is_empty() {
                queues.remove(&key);
            }
        }
        for waiter in &chosen {
            waiter.woken.set(true);
            let waker = waiter.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        chosen.len() as u32
    }

    /// Moves at most `count` waiters to another word; tells how many.
    fn requeue(&self, from: FutexKey, to: FutexKey, count: u32) -> u32 {
        if from == to {
            let waiting = self.queues.borrow().get(&from).map_or(0, VecDeque::len);
            return waiting.min(count as usize) as u32;
        }
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(&from) else { return 0 };
        let moved: Vec<_> = queue.drain(..queue.len().min(count as usize)).collect();
        if queue.is_empty() {
            queues.remove(&from);
        }
        for waiter in &moved {
            waiter.key.set(to);
        }
        let number = moved.len() as u32;
        if number > 0 {
            queues.entry(to).or_default().extend(moved);
        }
        number
    }
}

async fn futex(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout =
        if takes_timeout(args[1] as u32) && args[3] != 0 { Some(read_timespec32(cx, args[3]).await?) } else { None };
    run(cx, args, timeout).await
}

async fn futex_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout =
        if takes_timeout(args[1] as u32) && args[3] != 0 { Some(read_timespec64(cx, args[3]).await?) } else { None };
    run(cx, args, timeout).await
}

fn takes_timeout(operation: u32) -> bool {
    matches!(operation & !(op::PRIVATE | op::CLOCK_REALTIME), op::WAIT | op::WAIT_BITSET | op::LOCK_PI | op::LOCK_PI2)
}

async fn run(cx: &SyscallCx, args: Args, timeout: Option<linux_abi::time::Timespec>) -> Result<i64> {
    let [addr, operation, value, fourth, addr2, value3] = args;
    let (operation, value, value3) = (operation as u32, value as u32, value3 as u32);
    let private = operation & op::PRIVATE;
    let realtime = operation & op::CLOCK_REALTIME != 0;
    let command = operation & !(op::PRIVATE | op::CLOCK_REALTIME);
    if realtime && !matches!(command, op::WAIT_BITSET | op::WAIT | op::LOCK_PI2) {
        return Err(Errno::ENOSYS);
    }
    match command {
        op::WAIT => {
            let deadline = timeout.map(|timeout| cx.kernel.now_monotonic() + timeout.to_duration());
            wait_on(cx, addr, value, op::ALL_BITS, private, deadline, Timeout::Relative).await
        }
        op::WAIT_BITSET => {
            if value3 == 0 {
                return Err(Errno::EINVAL);
            }
            let deadline =
                timeout.map(|until| if realtime { cx.kernel.realtime_deadline(until) } else { until.to_duration() });
            wait_on(cx, addr, value, value3, private, deadline, Timeout::Absolute).await
        }
        op::WAKE => Ok(i64::from(wake_key(cx, addr, private, value, op::ALL_BITS).await?)),
        op::WAKE_BITSET if value3 == 0 => Err(Errno::EINVAL),
        op::WAKE_BITSET => Ok(i64::from(wake_key(cx, addr, private, value, value3).await?)),
        op::REQUEUE | op::CMP_REQUEUE => {
            let (from, to) = (key(cx, addr, private).await?, key(cx, addr2, private).await?);
            if (value as i32) < 0 || (fourth as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            if command == op::CMP_REQUEUE && load(cx, addr).await? != value3 {
                return Err(Errno::EAGAIN);
            }
            let table = &cx.kernel.futexes;
            let woken = table.wake(from, value, op::ALL_BITS);
            Ok(i64::from(woken) + i64::from(table.requeue(from, to, fourth as u32)))
        }
        op::WAKE_OP => wake_op(cx, addr, addr2, value, fourth as u32, value3, private).await,
        op::LOCK_PI | op::LOCK_PI2 => {
            // The older one is always on real time.
            let on_realtime = realtime || command == op::LOCK_PI;
            let deadline =
                timeout.map(|until| if on_realtime { cx.kernel.realtime_deadline(until) } else { until.to_duration() });
            pi::lock(cx, addr, private, pi::Patience::Until(deadline)).await
        }
        op::TRYLOCK_PI => pi::lock(cx, addr, private, pi::Patience::None).await,
        op::UNLOCK_PI => pi::unlock(cx, addr, private).await,
        other => {
            cx.kernel.count_missing("futex operation", other, cx.task.comm_text());
            Err(Errno::ENOSYS)
        }
    }
}

/// How a timed wait goes on when it was interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timeout {
    Relative,
    Absolute,
}

async fn wait_on(
    cx: &SyscallCx,
    addr: u64,
    value: u32,
    bits: u32,
    private: u32,
    deadline: Option<Duration>,
    timeout: Timeout,
) -> Result<i64> {
    let place = key(cx, addr, private).await?;
    let queued = loop {
        // Compared and queued in one go; the page is brought in first if it has to be.
        match try_load(cx, addr)? {
            Some(found) if found != value => return Err(Errno::EAGAIN),
            Some(_) => break cx.kernel.futexes.enqueue(place, bits),
            None => drop(cx.mm().populate(VirtAddr(addr), 4, Access::Read).await?),
        }
    };
    let waiter = Rc::clone(&queued.waiter);
    let woken = poll_fn(|context| {
        if waiter.woken.get() {
            return Poll::Ready(());
        }
        *waiter.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    });
    let outcome = match deadline {
        None => cx.interruptible(woken).await.map(Either::First),
        Some(deadline) => cx.interruptible(first_of(woken, cx.kernel.timers.sleep_until(deadline))).await,
    };
    match outcome {
        Ok(Either::First(())) => Ok(0),
        Ok(Either::Second(())) => Err(Errno::ETIMEDOUT),
        Err(_) => match (deadline, timeout) {
            (Some(deadline), Timeout::Relative) => {
                *cx.task.restart.borrow_mut() = Some(RestartBlock::FutexWait { addr, value, bits, private, deadline });
                Err(Errno::ERESTARTBLOCK)
            }
            _ => Err(Errno::ERESTARTSYS),
        },
    }
}

/// restart_syscall(2) of an interrupted wait.
pub(super) async fn restart(
    cx: &SyscallCx,
    addr: u64,
    value: u32,
    bits: u32,
    private: u32,
    deadline: Duration,
) -> Result<i64> {
    wait_on(cx, addr, value, bits, private, Some(deadline), Timeout::Relative).await
}

async fn wake_key(cx: &SyscallCx, addr: u64, private: u32, count: u32, bits: u32) -> Result<u32> {
    let key = key(cx, addr, private).await?;
    // Linux wakes one even when asked for none.
    Ok(cx.kernel.futexes.wake(key, count.max(1), bits))
}

/// Wakes waiters on a word whichever way they wait; for the kernel's own wakes.
pub(crate) async fn wake_at(cx: &SyscallCx, addr: u64, count: u32) {
    if let Ok(key) = key(cx, addr, 0).await {
        cx.kernel.futexes.wake(key, count, op::ALL_BITS);
    }
}

async fn key(cx: &SyscallCx, addr: u64, private: u32) -> Result<FutexKey> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let mm = cx.mm();
    if private != 0 {
        if addr >= mm.task_size() {
            return Err(Errno::EFAULT);
        }
        return Ok(FutexKey::Private { mm: mm.id().0, addr });
    }
    mm.futex_key(addr)
}

fn try_load(cx: &SyscallCx, addr: u64) -> Result<Option<u32>> {
    let mut word = [0; 4];
    match cx.mm().read_present(VirtAddr(addr), &mut word) {
        Ok(()) => Ok(Some(u32::from_le_bytes(word))),
        Err(_) => Ok(None),
    }
}

async fn load(cx: &SyscallCx, addr: u64) -> Result<u32> {
    cx.read_u32(addr).await
}

/// Changes a word without anybody getting between: gives the old value. `change` returns `None` to leave it.
async fn update(cx: &SyscallCx, addr: u64, change: impl Fn(u32) -> Option<u32>) -> Result<u32> {
    let mm = cx.mm();
    loop {
        if let Some(old) = try_load(cx, addr)? {
            match change(old) {
                None => return Ok(old),
                Some(new) if mm.write_present(VirtAddr(addr), &new.to_le_bytes()).is_ok() => return Ok(old),
                Some(_) => {}
            }
        }
        mm.populate(VirtAddr(addr), 4, Access::Write).await?;
    }
}

async fn wake_op(
    cx: &SyscallCx,
    addr: u64,
    addr2: u64,
    count: u32,
    count2: u32,
    code: u32,
    private: u32,
) -> Result<i64> {
    let (first, second) = (key(cx, addr, private).await?, key(cx, addr2, private).await?);
    let (operation, compare) = (code >> 28 & 7, code >> 24 & 15);
    let sign = |value: u32| ((value << 20) as i32) >> 20;
    let mut operand = sign(code >> 12 & 0xfff);
    let against = sign(code & 0xfff);
    if code >> 31 != 0 {
        operand = 1i32.wrapping_shl(operand as u32 & 31);
    }
    if operation > 4 || compare > 5 {
        return Err(Errno::ENOSYS);
    }
    let old = update(cx, addr2, |old| {
        Some(match operation {
            0 => operand as u32,
            1 => old.wrapping_add(operand as u32),
            2 => old | operand as u32,
            3 => old & !(operand as u32),
            _ => old ^ operand as u32,
        })
    })
    .await? as i32;
    let holds = match compare {
        0 => old == against,
        1 => old != against,
        2 => old < against,
        3 => old <= against,
        4 => old > against,
        _ => old >= against,
    };
    let mut woken = cx.kernel.futexes.wake(first, count, op::ALL_BITS);
    if holds {
        woken += cx.kernel.futexes.wake(second, count2, op::ALL_BITS);
    }
    Ok(i64::from(woken))
}

/// Marks the robust futexes that the ending task still holds and wakes who waits for them (get_robust_list(2)).
pub(crate) async fn release_robust_list(cx: &SyscallCx) {
    let (head, _) = cx.task.robust_list.take();
    if head == 0 {
        return;
    }
    let Ok(mut entry) = cx.read_u32(head).await else { return };
    let Ok(offset) = cx.read_u32(head + 4).await else { return };
    let Ok(pending) = cx.read_u32(head + 8).await else { return };
    for _ in 0..robust::LIMIT {
        // Bit 0 says priority inheritance.
        let at = entry & !1;
        if u64::from(at) == head {
            break;
        }
        let Ok(next) = cx.read_u32(u64::from(at)).await else { return };
        if at != pending & !1 {
            owner_died(cx, at.wrapping_add(offset), false).await;
        }
        entry = next;
    }
    if pending & !1 != 0 {
        owner_died(cx, (pending & !1).wrapping_add(offset), true).await;
    }
}

async fn owner_died(cx: &SyscallCx, addr: u32, pending: bool) {
    if !addr.is_multiple_of(4) {
        return;
    }
    let (addr, tid) = (u64::from(addr), cx.task.tid() as u32);
    let changed =
        update(cx, addr, |old| (old & robust::TID_MASK == tid).then_some(old & robust::WAITERS | robust::OWNER_DIED));
    let Ok(old) = changed.await else { return };
    let mine = old & robust::TID_MASK == tid;
    if mine && pi::owner_died(cx, addr).await {
        return;
    }
    // A thread killed between the unlocking store and its wake owes the wake.
    if mine && old & robust::WAITERS != 0 || pending && old == 0 {
        wake_at(cx, addr, 1).await;
    }
}
