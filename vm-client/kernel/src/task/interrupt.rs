//! Waiting in a system call, and what ends a wait early.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use super::{Task, TaskState};
use crate::{Errno, Result};

impl Task {
    /// Waits, unless a signal that is not blocked arrives first: then the wait is dropped and the result is ERESTARTSYS.
    pub async fn interruptible<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        self.wait_as(TaskState::Sleeping, wait, Task::signal_pending).await
    }

    /// Waits, unless the task is killed first: then the wait is dropped and the result is EINTR, which nobody sees.
    pub async fn killable<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        match self.wait_as(TaskState::DiskSleep, wait, Task::fatal_signal_pending).await {
            Err(_) => Err(Errno::EINTR),
            done => done,
        }
    }

    async fn wait_as<T>(
        &self,
        state: TaskState,
        wait: impl Future<Output = T>,
        ended: impl Fn(&Task) -> bool,
    ) -> Result<T> {
        let mut wait = pin!(wait);
        let mut waited = false;
        let result = poll_fn(|context| {
            self.remember_waker(context);
            // The condition goes before the signal, as in Linux: data that is there is not lost to an EINTR.
            if let Poll::Ready(value) = wait.as_mut().poll(context) {
                return Poll::Ready(Ok(value));
            }
            if ended(self) {
                return Poll::Ready(Err(Errno::ERESTARTSYS));
            }
            self.state.set(state);
            waited = true;
            Poll::Pending
        })
        .await;
        self.state.set(TaskState::Running);
        if waited {
            let mut usage = self.usage.get();
            usage.voluntary_switches += 1;
            self.usage.set(usage);
        }
        result
    }

    /// Whether a signal (or a stop, or the end of the process) wants the task out of its wait.
    pub fn signal_pending(&self) -> bool {
        if self.fatal_signal_pending()
            || self.trace.interrupt.get()
            || (self.group.stop.get().is_some() && !self.stopped.get())
        {
            return true;
        }
        let waiting = self.pending.borrow().set().0 | self.group.shared_pending.borrow().set().0;
        waiting & !self.blocked.get().0 != 0
    }

    /// Whether the task is about to be ended.
    pub fn fatal_signal_pending(&self) -> bool {
        self.dying.get()
            || self.group.exiting.get().is_some()
            || self.pending.borrow().set().contains(linux_abi::signal::Signal::KILL)
            || self.group.shared_pending.borrow().set().contains(linux_abi::signal::Signal::KILL)
    }

    /// Lets the task look at its signals if it waits.
    pub(crate) fn kick(&self) {
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn remember_waker(&self, context: &Context<'_>) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *slot = Some(context.waker().clone());
        }
    }
}
