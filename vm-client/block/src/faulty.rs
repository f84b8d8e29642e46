//! A device that is slow or broken on purpose, for tests.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Range;
use std::task::Poll;

use crate::{BlockDevice, BlockError, OpGuard};

/// Wraps a device and delays or fails its calls.
pub struct Faulty<D> {
    inner: D,
    delay: Cell<u32>,
    seed: Cell<u64>,
    bad: RefCell<Option<(Range<u64>, BlockError)>>,
    no_room: RefCell<Option<BlockError>>,
    reads: Cell<u64>,
}

impl<D: BlockDevice> Faulty<D> {
    /// Wraps a device; nothing is wrong yet.
    pub fn new(inner: D) -> Self {
        Self {
            inner,
            delay: Cell::new(0),
            seed: Cell::new(1),
            bad: RefCell::default(),
            no_room: RefCell::default(),
            reads: Cell::new(0),
        }
    }

    /// Lets each waiting call be polled up to `polls` times more before it goes on; how often is pseudo-random and the same
    /// in every run. Non-waiting reads then find nothing.
    pub fn delay(&self, polls: u32) {
        self.delay.set(polls);
    }

    /// Fails reads that touch a range, or no longer does.
    pub fn fail_reads(&self, range: Range<u64>, error: Option<BlockError>) {
        *self.bad.borrow_mut() = error.map(|error| (range, error));
    }

    /// Fails `reserve`, or no longer does.
    pub fn fail_reserve(&self, error: Option<BlockError>) {
        *self.no_room.borrow_mut() = error;
    }

    /// Waiting reads so far.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// The device below.
    pub fn inner(&self) -> &D {
        &self.inner
    }

    async fn pause(&self) {
        if self.delay.get() == 0 {
            return;
        }
        let next = self.seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.seed.set(next);
        let mut left = (next >> 33) % u64::from(self.delay.get() + 1);
        poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn fault(&self, offset: u64, len: usize) -> Result<(), BlockError> {
        match &*self.bad.borrow() {
            Some((range, error)) if offset < range.end && offset + len as u64 > range.start => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl<D: BlockDevice> BlockDevice for Faulty<D> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_only(&self) -> bool {
        self.inner.read_only()
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.reads.set(self.reads.get() + 1);
        self.pause().await;
        self.fault(offset, buf.len())?;
        self.inner.read_at(offset, buf).await?;
        self.pause().await;
        Ok(())
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), BlockError>> {
        if self.delay.get() > 0 {
            return None;
        }
        match self.fault(offset, buf.len()) {
            Ok(()) => self.inner.read_now(offset, buf),
            Err(error) => Some(Err(error)),
        }
    }

    async fn reserve(&self, bytes: u64) -> Result<(), BlockError> {
        self.pause().await;
        if let Some(error) = &*self.no_room.borrow() {
            return Err(error.clone());
        }
        self.inner.reserve(bytes).await
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        self.inner.write_now(offset, data)
    }

    async fn flush(&self) -> Result<(), BlockError> {
        self.pause().await;
        self.inner.flush().await
    }

    fn begin(&self) -> OpGuard {
        self.inner.begin()
    }

    fn discard(&self, freed: Range<u64>) {
        self.inner.discard(freed);
    }

    fn advise(&self, soon: Range<u64>) {
        self.inner.advise(soon);
    }
}
