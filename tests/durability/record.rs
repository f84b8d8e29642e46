//! An overlay store that remembers every commit with its durability.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use vm_block::{Batch, BlockError, Durability, OverlayStore, PAGE_SIZE, PageKey};

/// What was committed.
#[derive(Default)]
pub struct Recording {
    commits: RefCell<Vec<Batch>>,
    pages: RefCell<BTreeMap<PageKey, Bytes>>,
}

impl Recording {
    /// Every commit in order.
    pub fn commits(&self) -> Vec<Batch> {
        self.commits.borrow().clone()
    }

    /// How many commits there are.
    pub fn count(&self) -> usize {
        self.commits.borrow().len()
    }

    /// How many commits there are up to the last strict one.
    pub fn strict_count(&self) -> usize {
        let commits = self.commits.borrow();
        commits.iter().rposition(|batch| batch.durability == Durability::Strict).map_or(0, |last| last + 1)
    }

    /// How many commits are strict.
    pub fn strict_commits(&self) -> usize {
        self.commits.borrow().iter().filter(|batch| batch.durability == Durability::Strict).count()
    }

    /// Bytes of pages the store holds.
    pub fn stored_bytes(&self) -> usize {
        self.pages.borrow().len() * PAGE_SIZE
    }
}

/// A session on a recording.
pub struct RecordingStore(pub Rc<Recording>);

impl OverlayStore for RecordingStore {
    fn epoch(&self) -> u64 {
        1
    }

    async fn keys(&self) -> Result<Vec<PageKey>, BlockError> {
        Ok(self.0.pages.borrow().keys().copied().collect())
    }

    async fn load(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, BlockError> {
        // As a real store does, it answers later: others run in between.
        vm_rt::yield_now().await;
        let pages = self.0.pages.borrow();
        Ok(keys.iter().map(|key| pages.get(key).cloned()).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), BlockError> {
        for _ in 0..3 {
            vm_rt::yield_now().await;
        }
        {
            let mut pages = self.0.pages.borrow_mut();
            for key in &batch.delete {
                pages.remove(key);
            }
            pages.extend(batch.put.iter().cloned());
        }
        self.0.commits.borrow_mut().push(batch);
        vm_rt::yield_now().await;
        Ok(())
    }
}
