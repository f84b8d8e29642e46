//! Polling tasks in turns.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// What a turn ended with, so that the host knows when to call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something can run: call again as soon as the host has had its own turn.
    Again,
    /// Nothing can run before the deadline (monotonic time) or an outside event.
    Idle {
        /// The earliest timer, if there is one.
        until: Option<Duration>,
    },
}

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Wakers must be `Send`, futures here are not, so the ready list is the only thing behind a lock.
#[derive(Default)]
struct ReadyList {
    ids: Mutex<VecDeque<u64>>,
    notify: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct TaskWaker {
    id: u64,
    ready: Arc<ReadyList>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ids = self.ready.ids.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if ids.contains(&self.id) {
            return;
        }
        ids.push_back(self.id);
        drop(ids);
        if let Some(notify) = self.ready.notify.get() {
            notify();
        }
    }
}

struct Slot {
    future: Option<LocalFuture>,
    waker: Waker,
}

/// Runs futures on the calling thread.
///
/// Two queues: tasks woken by an event run first, tasks that gave up their turn with [`yield_now`] run when no event is
/// waiting, so a key press is handled before the next slice of a busy loop.
#[derive(Default)]
pub struct Executor {
    slots: RefCell<std::collections::HashMap<u64, Slot>>,
    next_id: Cell<u64>,
    ready: Arc<ReadyList>,
    yielded: Rc<RefCell<VecDeque<Waker>>>,
}

thread_local! {
    /// The yield queue of the executor that is polling now.
    static YIELDED: RefCell<Option<Rc<RefCell<VecDeque<Waker>>>>> = const { RefCell::new(None) };
}

impl Executor {
    /// Creates an executor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is called, on any thread, whenever a task becomes able to run: a host that sleeps between turns comes back
    /// then. It can be set once; later calls change nothing.
    pub fn on_wake(&self, notify: impl Fn() + Send + Sync + 'static) {
        let _ = self.ready.notify.set(Box::new(notify));
    }

    /// Adds a task; it is polled for the first time in the next turn.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
        waker.wake_by_ref();
        self.slots.borrow_mut().insert(id, Slot { future: Some(Box::pin(future)), waker });
    }

    /// Polls one task that can run; tells whether there was one.
    pub fn poll_one(&self) -> bool {
        let Some(id) = self.next_ready() else { return false };
        let (mut future, waker) = {
            let mut slots = self.slots.borrow_mut();
            let Some(slot) = slots.get_mut(&id) else { return true };
            let Some(future) = slot.future.take() else { return true };
            (future, slot.waker.clone())
        };
        let outer = YIELDED.with(|y| y.borrow_mut().replace(Rc::clone(&self.yielded)));
        let finished = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        YIELDED.with(|y| *y.borrow_mut() = outer);
        if finished {
            // Dropped outside the borrow: a drop may spawn or wake.
            let slot = self.slots.borrow_mut().remove(&id);
            drop(slot);
        } else if let Some(slot) = self.slots.borrow_mut().get_mut(&id) {
            slot.future = Some(future);
        }
        true
    }

    /// Drops every task, wherever it waits. Tasks that are spawned by the drops go too.
    pub fn clear(&self) {
        while !self.is_empty() {
            // Dropped outside the borrow: a drop may spawn or wake.
            let slots = std::mem::take(&mut *self.slots.borrow_mut());
            drop(slots);
        }
        self.ready.ids.lock().unwrap_or_else(|p| p.into_inner()).clear();
        self.yielded.borrow_mut().clear();
    }

    /// Tells whether any task can run now.
    pub fn has_ready(&self) -> bool {
        !self.ready.ids.lock().unwrap_or_else(|p| p.into_inner()).is_empty() || !self.yielded.borrow().is_empty()
    }

    /// The number of tasks that have not finished.
    pub fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Tells whether every task has finished.
    pub fn is_empty(&self) -> bool {
        self.slots.borrow().is_empty()
    }

    fn next_ready(&self) -> Option<u64> {
        let pop = || self.ready.ids.lock().unwrap_or_else(|p| p.into_inner()).pop_front();
        if let Some(id) = pop() {
            return Some(id);
        }
        let waker = self.yielded.borrow_mut().pop_front()?;
        waker.wake();
        pop()
    }
}

/// Gives every other task that can run its turn first.
pub async fn yield_now() {
    let mut first = true;
    std::future::poll_fn(move |cx| {
        if !std::mem::take(&mut first) {
            return Poll::Ready(());
        }
        YIELDED.with(|yielded| match &*yielded.borrow() {
            Some(queue) => queue.borrow_mut().push_back(cx.waker().clone()),
            None => cx.waker().wake_by_ref(),
        });
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WaitQueue;

    #[test]
    fn events_go_before_yields() {
        let executor = Executor::new();
        let log = Rc::new(RefCell::new(Vec::new()));
        let queue = Rc::new(WaitQueue::new());
        {
            let (log, queue) = (Rc::clone(&log), Rc::clone(&queue));
            executor.spawn(async move {
                queue.wait().await;
                log.borrow_mut().push("event");
            });
        }
        {
            let (log, queue) = (Rc::clone(&log), Rc::clone(&queue));
            executor.spawn(async move {
                queue.wake_all();
                yield_now().await;
                log.borrow_mut().push("yielded");
            });
        }
        while executor.poll_one() {}
        assert_eq!(*log.borrow(), ["event", "yielded"]);
        assert!(executor.is_empty());
    }
}
