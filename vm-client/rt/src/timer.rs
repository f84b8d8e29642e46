//! Deadlines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Futures waiting for a point on the monotonic clock. The owner calls [`Timers::fire`] with the time.
#[derive(Clone, Default)]
pub struct Timers {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    now: Duration,
    next_id: u64,
    sleeping: BTreeMap<(Duration, u64), Option<Waker>>,
}

impl Timers {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a future that finishes once [`Timers::fire`] was called with `deadline` or later.
    pub fn sleep_until(&self, deadline: Duration) -> Sleep {
        let mut inner = self.inner.borrow_mut();
        let key = (deadline, inner.next_id);
        inner.next_id += 1;
        inner.sleeping.insert(key, None);
        Sleep { inner: Rc::clone(&self.inner), key }
    }

    /// Wakes everything whose deadline is at or before `now`.
    pub fn fire(&self, now: Duration) {
        let due = {
            let mut inner = self.inner.borrow_mut();
            inner.now = inner.now.max(now);
            let later = inner.sleeping.split_off(&(now + Duration::from_nanos(1), 0));
            std::mem::replace(&mut inner.sleeping, later)
        };
        for waker in due.into_values().flatten() {
            waker.wake();
        }
    }

    /// The earliest deadline anyone waits for.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.inner.borrow().sleeping.keys().next().map(|(deadline, _)| *deadline)
    }
}

/// The future returned by [`Timers::sleep_until`].
pub struct Sleep {
    inner: Rc<RefCell<Inner>>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        match inner.sleeping.get_mut(&self.key) {
            None => Poll::Ready(()),
            Some(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.inner.borrow_mut().sleeping.remove(&self.key);
    }
}
