//! Where written pages are kept.
//!
//! [`OverlayStore`] is what an [`Overlay`](crate::Overlay) asks of it; the browser's is in IndexedDB. [`MemoryStore`] is the
//! double for tests: its [`Shelf`] outlives sessions, fences, fails when told to, and records every commit.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use vm_rt::WaitQueue;

use crate::{BlockError, PAGE_SIZE};

/// The number of a 4 KiB page of the device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageKey(pub u64);

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the store has accepted it.
    Relaxed,
    /// When it survives a power failure.
    Strict,
}

/// One atomic change of the store.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Pages to write.
    pub put: Vec<(PageKey, Bytes)>,
    /// Pages to forget; the base shows through again.
    pub delete: Vec<PageKey>,
    /// The epoch this session opened the store with; another epoch refuses the batch.
    pub expect_epoch: u64,
    /// When the call may return.
    pub durability: Durability,
}

/// Holds the written pages of a device. A batch lands whole or not at all, and only in the expected epoch.
///
/// A store belongs to one base for ever. Its implementation's way to open one takes the base's identity (the manifest hash)
/// and refuses another, or tells what it was made on by [`OverlayStore::base`].
#[expect(async_fn_in_trait, reason = "single-threaded VM: futures are never Send")]
pub trait OverlayStore {
    /// The epoch this session holds, taken when the store was opened.
    fn epoch(&self) -> u64;
    /// The identity of the base the pages belong to; `None` if opening has compared it already.
    fn base(&self) -> Option<[u8; 32]> {
        None
    }
    /// Every page the store has.
    async fn keys(&self) -> Result<Vec<PageKey>, BlockError>;
    /// Reads pages; in the order asked, `None` for one that is absent.
    async fn load(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, BlockError>;
    /// Applies a batch atomically. May be dropped and then have landed or not.
    async fn commit(&self, batch: Batch) -> Result<(), BlockError>;
    /// Bytes that can still be stored, if known.
    fn room(&self) -> Option<u64> {
        None
    }
}

/// What survives when a session of a [`MemoryStore`] ends.
#[derive(Default)]
pub struct Shelf {
    pages: RefCell<BTreeMap<PageKey, Bytes>>,
    base: Cell<Option<[u8; 32]>>,
    epoch: Cell<u64>,
    log: RefCell<Vec<Batch>>,
    unlogged: bool,
    capacity: Cell<Option<u64>>,
    failing: RefCell<Option<BlockError>>,
    held: Cell<bool>,
    released: WaitQueue,
}

impl Shelf {
    /// An empty shelf.
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// An empty shelf that keeps no log, for a session whose changes are thrown away.
    pub fn unlogged() -> Rc<Self> {
        Rc::new(Self { unlogged: true, ..Self::default() })
    }

    /// Every commit so far, in order.
    pub fn log(&self) -> Vec<Batch> {
        self.log.borrow().clone()
    }

    /// A shelf as it was after the first `commits`, as after a crash.
    pub fn replay(&self, commits: usize) -> Rc<Self> {
        let shelf = Self::default();
        shelf.base.set(self.base.get());
        for batch in self.log.borrow().iter().take(commits) {
            shelf.apply(batch.clone());
        }
        Rc::new(shelf)
    }

    /// Lets every commit fail with this, or succeed again.
    pub fn fail_with(&self, error: Option<BlockError>) {
        *self.failing.borrow_mut() = error;
    }

    /// Limits the bytes of pages.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.capacity.set(bytes);
    }

    /// Lets commits wait until released.
    pub fn hold(&self, held: bool) {
        self.held.set(held);
        self.released.wake_all();
    }

    /// Pages stored.
    pub fn pages(&self) -> usize {
        self.pages.borrow().len()
    }

    fn apply(&self, batch: Batch) {
        let mut pages = self.pages.borrow_mut();
        for key in &batch.delete {
            pages.remove(key);
        }
        for (key, page) in &batch.put {
            pages.insert(*key, page.clone());
        }
        drop(pages);
        if !self.unlogged {
            self.log.borrow_mut().push(batch);
        }
    }
}

/// A store in memory, for tests and for changes that are thrown away; a session on a [`Shelf`].
pub struct MemoryStore {
    shelf: Rc<Shelf>,
    epoch: u64,
}

impl MemoryStore {
    /// Opens a shelf for a base, taking it over from the session before. An empty shelf takes any base.
    pub fn open(shelf: &Rc<Shelf>, identity: [u8; 32]) -> Self {
        if shelf.base.get().is_none() {
            shelf.base.set(Some(identity));
        }
        shelf.epoch.set(shelf.epoch.get() + 1);
        Self { shelf: Rc::clone(shelf), epoch: shelf.epoch.get() }
    }
}

impl OverlayStore for MemoryStore {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn base(&self) -> Option<[u8; 32]> {
        self.shelf.base.get()
    }

    async fn keys(&self) -> Result<Vec<PageKey>, BlockError> {
        Ok(self.shelf.pages.borrow().keys().copied().collect())
    }

    async fn load(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, BlockError> {
        let pages = self.shelf.pages.borrow();
        Ok(keys.iter().map(|key| pages.get(key).cloned()).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), BlockError> {
        loop {
            let released = self.shelf.released.wait();
            if !self.shelf.held.get() {
                break;
            }
            released.await;
        }
        if batch.expect_epoch != self.shelf.epoch.get() {
            return Err(BlockError::Fenced);
        }
        if let Some(error) = &*self.shelf.failing.borrow() {
            return Err(error.clone());
        }
        if let Some(capacity) = self.shelf.capacity.get() {
            let pages = self.shelf.pages.borrow();
            let new = batch.put.iter().filter(|(key, _)| !pages.contains_key(key)).count();
            let gone = batch.delete.iter().filter(|key| pages.contains_key(key)).count();
            if ((pages.len() + new - gone) * PAGE_SIZE) as u64 > capacity {
                return Err(BlockError::StoreFull);
            }
        }
        self.shelf.apply(batch);
        Ok(())
    }
}
