//! What the platform lets one invocation do, counted before it counts itself.
//!
//! An invocation (a request, or a whole WebSocket session) may start so many subrequests, have so few of them open at once
//! (a seventh cancels an older one), and use so much CPU time. Over either limit it is ended without a word, so a session
//! says goaway at four fifths, and a read that would go over is refused.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Subrequests open at once; the platform's limit is six, and the sixth is left to it.
const AT_ONCE: u32 = 5;

/// Limits of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Subrequests in all.
    pub subrequests: u32,
    /// CPU time in all, microseconds.
    pub cpu_us: u64,
}

/// Work whose CPU time is estimated: no clock advances while a Worker computes. The figures are of workerd on a slow core,
/// rounded up.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// An envelope of this many bytes was opened and hashed.
    Verify(usize),
    /// An object was framed and sent.
    Send,
    /// A message was taken.
    Message,
}

impl Work {
    fn micros(self) -> u64 {
        match self {
            Self::Verify(len) => 100 + len as u64 / 150,
            Self::Send => 60,
            Self::Message => 20,
        }
    }
}

/// One invocation's account.
pub struct Budget {
    limits: Limits,
    spent: Cell<u32>,
    cpu_us: Cell<u64>,
    open: Cell<u32>,
    most_open: Cell<u32>,
    waiting: RefCell<VecDeque<Waker>>,
}

/// A subrequest that may be made; it is over when this is dropped.
pub struct Permit(Rc<Budget>);

impl Budget {
    /// A fresh account.
    pub fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            spent: Cell::new(0),
            cpu_us: Cell::new(0),
            open: Cell::new(0),
            most_open: Cell::new(0),
            waiting: RefCell::new(VecDeque::new()),
        })
    }

    /// Waits until another subrequest may be open and counts it; `None` when there are no more to be had.
    pub async fn subrequest(self: &Rc<Self>) -> Option<Permit> {
        poll_fn(|cx| {
            if self.spent.get() >= self.limits.subrequests {
                return Poll::Ready(None);
            }
            if self.open.get() >= AT_ONCE {
                self.waiting.borrow_mut().push_back(cx.waker().clone());
                return Poll::Pending;
            }
            self.spent.set(self.spent.get() + 1);
            self.open.set(self.open.get() + 1);
            self.most_open.set(self.most_open.get().max(self.open.get()));
            Poll::Ready(Some(Permit(Rc::clone(self))))
        })
        .await
    }

    /// Counts work done.
    pub fn worked(&self, work: Work) {
        self.cpu_us.set(self.cpu_us.get() + work.micros());
    }

    /// Whether it is time to ask the client to go on elsewhere: four fifths of something are used.
    pub fn nearly_used_up(&self) -> bool {
        let limits = self.limits;
        u64::from(self.spent.get()) * 5 >= u64::from(limits.subrequests) * 4
            || self.cpu_us.get() * 5 >= limits.cpu_us * 4
    }

    /// Subrequests counted.
    pub fn spent(&self) -> u32 {
        self.spent.get()
    }

    /// The most that were open at once.
    pub fn most_open(&self) -> u32 {
        self.most_open.get()
    }

    /// Starts anew: each message wakes a Durable Object with fresh limits.
    pub fn renew(&self) {
        self.spent.set(0);
        self.cpu_us.set(0);
    }

    /// About how many objects the account is good for, none of them in memory; for WELCOME.
    pub fn chunks(&self) -> u32 {
        // Each may be a miss of the cache: looked up, read, and put back.
        let by_subrequests = self.limits.subrequests / 3;
        let each = Work::Verify(40_000).micros() + Work::Send.micros();
        u32::try_from(self.limits.cpu_us / each).unwrap_or(u32::MAX).min(by_subrequests)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        // All of them: whoever was dropped while waiting must not take the place of another.
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const PAID: Limits = Limits { subrequests: 10, cpu_us: 1_000_000 };

    #[test]
    fn no_more_than_five_are_open_and_no_more_than_allowed_are_had() {
        let budget = Budget::new(PAID);
        let mut open: Vec<Permit> = (0..5).filter_map(|_| budget.subrequest().now_or_never().flatten()).collect();
        assert_eq!(open.len(), 5);
        assert!(budget.subrequest().now_or_never().is_none(), "the sixth waits");
        open.clear();
        for _ in 0..5 {
            assert!(budget.subrequest().now_or_never().flatten().is_some());
        }
        assert_eq!((budget.spent(), budget.most_open()), (10, 5));
        assert!(budget.subrequest().now_or_never().expect("does not wait").is_none(), "there are no more");
    }

    #[test]
    fn a_waiting_one_is_woken_even_when_another_gave_up() {
        let budget = Budget::new(PAID);
        let mut open: Vec<Permit> = (0..5).filter_map(|_| budget.subrequest().now_or_never().flatten()).collect();
        let mut gives_up = Box::pin(budget.subrequest());
        let mut waits = Box::pin(budget.subrequest());
        assert!(gives_up.as_mut().now_or_never().is_none() && waits.as_mut().now_or_never().is_none());
        drop(gives_up);
        open.pop();
        assert!(waits.as_mut().now_or_never().flatten().is_some());
    }

    #[test]
    fn four_fifths_of_either_limit_are_enough() {
        let budget = Budget::new(PAID);
        for _ in 0..8 {
            assert!(!budget.nearly_used_up());
            drop(budget.subrequest().now_or_never());
        }
        assert!(budget.nearly_used_up());
        budget.renew();
        assert!(!budget.nearly_used_up());
        let busy = Budget::new(Limits { subrequests: 1000, cpu_us: 10_000 });
        let chunks = busy.chunks();
        for _ in 0..chunks {
            busy.worked(Work::Verify(40_000));
            busy.worked(Work::Send);
        }
        assert!(busy.nearly_used_up() && chunks > 10, "{chunks}");
    }
}
