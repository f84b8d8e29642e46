//! Queues of waiting futures.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Futures waiting for something to change.
///
/// A waiter checks its condition, creates [`WaitQueue::wait`] and checks again after it: because everything runs on one
/// thread and the waiter is registered when `wait` is called (not when it is first polled), no wake between the check
/// and the await is lost.
#[derive(Default)]
pub struct WaitQueue {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    next_id: u64,
    waiters: VecDeque<Waiter>,
}

struct Waiter {
    id: u64,
    woken: bool,
    waker: Option<Waker>,
}

impl WaitQueue {
    /// Creates an empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a waiter now and returns the future of its wake. Dropping it deregisters; a wake-one that had already
    /// chosen it is passed on to the next waiter.
    pub fn wait(&self) -> Wait {
        let mut inner = self.inner.borrow_mut();
        let id = inner.next_id;
        inner.next_id += 1;
        inner.waiters.push_back(Waiter { id, woken: false, waker: None });
        Wait { queue: Rc::clone(&self.inner), id, done: false, exclusive_wake: false }
    }

    /// Wakes every waiter.
    pub fn wake_all(&self) {
        let woken = std::mem::take(&mut self.inner.borrow_mut().waiters);
        for waker in woken.into_iter().filter_map(|w| w.waker) {
            waker.wake();
        }
    }

    /// Wakes the waiter that has waited longest, if any; tells whether there was one.
    pub fn wake_one(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        let Some(waiter) = inner.waiters.iter_mut().find(|w| !w.woken) else { return false };
        waiter.woken = true;
        let waker = waiter.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Tells whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.inner.borrow().waiters.is_empty()
    }
}

/// The future returned by [`WaitQueue::wait`].
pub struct Wait {
    queue: Rc<RefCell<Inner>>,
    id: u64,
    done: bool,
    exclusive_wake: bool,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        let queue = Rc::clone(&self.queue);
        let mut inner = queue.borrow_mut();
        match inner.waiters.iter().position(|w| w.id == self.id) {
            // Taken off the queue by `wake_all`.
            None => {
                self.done = true;
                Poll::Ready(())
            }
            Some(index) if inner.waiters[index].woken => {
                inner.waiters.remove(index);
                self.done = true;
                self.exclusive_wake = true;
                Poll::Ready(())
            }
            Some(index) => {
                inner.waiters[index].waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut inner = self.queue.borrow_mut();
        let Some(index) = inner.waiters.iter().position(|w| w.id == self.id) else { return };
        let waiter = inner.waiters.remove(index);
        // A wake meant for one waiter must not be lost with it.
        if waiter.is_some_and(|w| w.woken)
            && let Some(next) = inner.waiters.iter_mut().find(|w| !w.woken)
        {
            next.woken = true;
            let waker = next.waker.take();
            drop(inner);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(wait: &mut Wait) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(wait).poll(&mut cx).is_ready()
    }

    #[test]
    fn a_wake_between_registration_and_first_poll_counts() {
        let queue = WaitQueue::new();
        let mut wait = queue.wait();
        queue.wake_all();
        assert!(poll(&mut wait));
    }

    #[test]
    fn wake_one_wakes_in_order_and_passes_on_when_dropped() {
        let queue = WaitQueue::new();
        let mut first = queue.wait();
        let mut second = queue.wait();
        assert!(!poll(&mut first));
        assert!(queue.wake_one());
        drop(first);
        assert!(poll(&mut second));
        assert!(!queue.wake_one());
    }

    #[test]
    fn dropping_deregisters() {
        let queue = WaitQueue::new();
        drop(queue.wait());
        assert!(queue.is_empty());
    }
}
