//! A fair async mutex.

use std::cell::{Cell, RefCell, RefMut};
use std::ops::{Deref, DerefMut};

use crate::WaitQueue;

/// A mutex whose guard may be held across an await. Waiters get it in the order they asked.
#[derive(Default)]
pub struct Mutex<T> {
    locked: Cell<bool>,
    queue: WaitQueue,
    waiting: Cell<usize>,
    value: RefCell<T>,
}

impl<T> Mutex<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self { locked: Cell::new(false), queue: WaitQueue::new(), waiting: Cell::new(0), value: RefCell::new(value) }
    }

    /// Waits for the lock.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let mut queued = false;
        loop {
            if !self.locked.get() && (queued || self.waiting.get() == 0) {
                self.locked.set(true);
                return MutexGuard { value: Some(self.value.borrow_mut()), mutex: self };
            }
            let wait = self.queue.wait();
            let _count = Waiting::new(&self.waiting);
            wait.await;
            queued = true;
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.locked.get() {
            return None;
        }
        self.locked.set(true);
        Some(MutexGuard { value: Some(self.value.borrow_mut()), mutex: self })
    }
}

struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Access to the value of a locked [`Mutex`].
pub struct MutexGuard<'a, T> {
    value: Option<RefMut<'a, T>>,
    mutex: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("the guard holds the value until it is dropped")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the guard holds the value until it is dropped")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.mutex.locked.set(false);
        self.mutex.queue.wake_one();
    }
}
