//! Fetches under way, each shared by all who want the chunk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{FutureExt, Shared};
use vm_rt::{Wait, WaitQueue};

use crate::{BlockError, ChunkId, Urgency};

type Outcome = (ChunkId, Result<Bytes, BlockError>);

/// A fetch. Clones share it, and whoever is polled drives it.
pub(super) type Flight = Shared<Pin<Box<dyn Future<Output = Outcome>>>>;

#[derive(Default)]
struct Inner {
    flying: HashMap<ChunkId, (Urgency, u64, Flight)>,
    landed: Vec<(ChunkId, Urgency, Bytes)>,
    next: u64,
    waiters: WaitQueue,
}

/// All fetches under way.
#[derive(Default)]
pub(super) struct Flights {
    inner: Rc<RefCell<Inner>>,
}

impl Flights {
    /// The fetch of a chunk, if there is one.
    pub(super) fn get(&self, chunk: ChunkId) -> Option<(Urgency, Flight)> {
        self.inner.borrow().flying.get(&chunk).map(|(urgency, _, flight)| (*urgency, flight.clone()))
    }

    /// Adds a fetch, in the place of a less urgent one of the same chunk.
    pub(super) fn start(
        &self,
        chunk: ChunkId,
        urgency: Urgency,
        fetch: impl Future<Output = Result<Bytes, BlockError>> + 'static,
    ) -> Flight {
        let weak = Rc::downgrade(&self.inner);
        let number = {
            let mut inner = self.inner.borrow_mut();
            inner.next += 1;
            inner.next
        };
        let future = async move {
            let result = fetch.await;
            if let Some(inner) = weak.upgrade() {
                let mut inner = inner.borrow_mut();
                // A failed fetch is forgotten, so that the next reader tries again. A replaced one has landed all the same.
                if inner.flying.get(&chunk).is_some_and(|(_, n, _)| *n == number) {
                    inner.flying.remove(&chunk);
                }
                if let Ok(bytes) = &result {
                    inner.landed.push((chunk, urgency, bytes.clone()));
                }
                inner.waiters.wake_all();
            }
            (chunk, result)
        };
        let boxed: Pin<Box<dyn Future<Output = Outcome>>> = Box::pin(future);
        let flight = boxed.shared();
        self.inner.borrow_mut().flying.insert(chunk, (urgency, number, flight.clone()));
        flight
    }

    /// Takes the chunks that arrived since the last call.
    pub(super) fn take_landed(&self) -> Vec<(ChunkId, Urgency, Bytes)> {
        std::mem::take(&mut self.inner.borrow_mut().landed)
    }

    /// Fetches that nobody waits for.
    pub(super) fn ahead(&self) -> usize {
        self.inner.borrow().flying.values().filter(|(urgency, _, _)| *urgency == Urgency::Prefetch).count()
    }

    /// Waits for the next fetch to end.
    pub(super) fn landed(&self) -> Wait {
        self.inner.borrow().waiters.wait()
    }
}
