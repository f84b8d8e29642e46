//! Getting changes into the store.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use vm_rt::{Clock, Timers};

use crate::{Batch, BlockDevice, BlockError, Durability, OverlayStore, PAGE_SIZE, PageKey};

use super::{Asked, Cut, Done, Overlay};

/// From the first change to the commit that includes it.
const DELAY: Duration = Duration::from_millis(500);
/// Between tries of a failing commit, doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// While it lives there is a driver, and others leave committing to it.
struct Driven<'a>(&'a Cell<bool>);

impl<'a> Driven<'a> {
    fn new(driven: &'a Cell<bool>) -> Self {
        driven.set(true);
        Self(driven)
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<B: BlockDevice, S: OverlayStore> Overlay<B, S> {
    /// Loads what was stored before, and commits changes as they come; never ends. The host spawns it once.
    pub async fn run_writeback(&self, timers: Timers, clock: Rc<dyn Clock>) {
        join(self.warm_up(), self.commit_changes(timers, clock)).await;
    }

    async fn commit_changes(&self, timers: Timers, clock: Rc<dyn Clock>) {
        let _driven = Driven::new(&self.driven);
        loop {
            let kicked = self.kick.wait();
            if self.is_settled() || self.refusal().is_some() {
                if self.refusal().is_some() {
                    self.progress.wake_all();
                }
                kicked.await;
                continue;
            }
            let delay = match self.health.borrow().failures {
                0 => DELAY,
                failures => (FIRST_RETRY * (1 << failures.min(8))).min(LAST_RETRY),
            };
            self.pause(&timers, clock.monotonic() + delay).await;
            let durability = if self.asked.get().strict { Durability::Strict } else { Durability::Relaxed };
            self.asked.set(Asked::default());
            // The outcome is in `health`; whoever waits is woken either way.
            let _ = self.commit_once(durability).await;
        }
    }

    /// Waits for the deadline, or until somebody asks for a commit.
    async fn pause(&self, timers: &Timers, deadline: Duration) {
        let mut until = timers.sleep_until(deadline);
        loop {
            let kicked = self.kick.wait();
            if self.asked.get().commit && (self.health.borrow().failures == 0 || self.freed.get()) {
                return;
            }
            match select(until, kicked).await {
                Either::Left(_) => return,
                Either::Right((_, rest)) => until = rest,
            }
        }
    }

    /// Asks [`Overlay::run_writeback`] for a commit without delay, as when the page is hidden or closed.
    pub fn request_commit(&self) {
        self.asked.set(Asked { commit: true, ..self.asked.get() });
        self.kick.wake_all();
    }

    /// Commits everything written before and waits for it.
    pub async fn commit_now(&self) -> Result<(), BlockError> {
        self.commit_all(Durability::Relaxed).await
    }

    /// Whether the store has everything, as durably as was asked.
    fn is_settled(&self) -> bool {
        let done = self.done.get();
        done.relaxed == self.changes.get() && !(self.asked.get().strict && done.strict < self.changes.get())
    }

    pub(super) async fn commit_all(&self, durability: Durability) -> Result<(), BlockError> {
        let target = self.changes.get();
        let reached = |done: Done| match durability {
            Durability::Relaxed => done.relaxed >= target,
            Durability::Strict => done.strict >= target,
        };
        // One that is under way does not hold what the caller asks for: its failure says nothing of it.
        let under_way = u32::from(self.committing.borrow().is_some());
        let failures = self.health.borrow().failures + under_way;
        loop {
            if reached(self.done.get()) {
                return Ok(());
            }
            if let Some(error) = self.refusal() {
                return Err(error);
            }
            // A failure since the call is reported, as fsync does; the commit is tried again all the same.
            let (now, last) = {
                let health = self.health.borrow();
                (health.failures, health.last.clone())
            };
            if let Some(error) = last.filter(|_| now > failures.max(1)) {
                return Err(error);
            }
            if durability == Durability::Strict {
                self.asked.set(Asked { strict: true, ..self.asked.get() });
            }
            self.wait_for_commit().await?;
        }
    }

    /// Waits for the next commit to end, well or not; makes it if there is no driver.
    pub(super) async fn wait_for_commit(&self) -> Result<(), BlockError> {
        if self.driven.get() {
            let ended = self.progress.wait();
            self.request_commit();
            ended.await;
            return Ok(());
        }
        let strict = self.asked.replace(Asked::default()).strict;
        self.commit_once(if strict { Durability::Strict } else { Durability::Relaxed }).await
    }

    async fn commit_once(&self, durability: Durability) -> Result<(), BlockError> {
        let _one = self.committer.lock().await;
        let result = self.try_commit(durability).await;
        let mut health = self.health.borrow_mut();
        match &result {
            Ok(bytes) => {
                health.failures = 0;
                health.last = None;
                health.commits += 1;
                health.committed_bytes += bytes;
            }
            Err(error) => {
                health.failures += 1;
                health.last = Some(error.clone());
            }
        }
        drop(health);
        if result.is_err() {
            self.take_back();
        }
        self.progress.wake_all();
        result.map(|_| ())
    }

    async fn try_commit(&self, durability: Durability) -> Result<u64, BlockError> {
        // Left over when the future of the last commit was dropped: it may have landed or not.
        self.take_back();
        loop {
            let ended = self.operations.ended.wait();
            if self.operations.open.get() == 0 {
                break;
            }
            ended.await;
        }
        self.cut();
        self.complete().await?;
        let (put, delete, up_to) = {
            let mut committing = self.committing.borrow_mut();
            let cut = committing.get_or_insert_default();
            let put: Vec<_> = cut.put.iter_mut().map(|(page, content)| (PageKey(*page), content.share())).collect();
            let delete: Vec<_> = cut.delete.iter().copied().map(PageKey).collect();
            (put, delete, cut.up_to)
        };
        let put = if put.is_empty() && delete.is_empty() { self.something_stored().await? } else { put };
        let bytes = (put.len() * PAGE_SIZE) as u64;
        let expect_epoch = self.store.epoch();
        self.store.commit(Batch { put, delete, expect_epoch, durability }).await?;
        self.settle();
        let mut done = self.done.get();
        done.relaxed = up_to;
        if durability == Durability::Strict {
            done.strict = up_to;
        }
        self.done.set(done);
        Ok(bytes)
    }

    /// Takes the snapshot. Runs while no operation is open and does not await.
    fn cut(&self) {
        self.freed.set(false);
        let put = std::mem::take(&mut *self.dirty.borrow_mut());
        let delete = std::mem::take(&mut *self.deleted.borrow_mut());
        *self.committing.borrow_mut() = Some(Cut { put, delete, up_to: self.changes.get() });
    }

    /// Reads what partly written pages miss from below. Nothing below changes meanwhile: this is the only commit.
    async fn complete(&self) -> Result<(), BlockError> {
        let partial: Vec<u64> = {
            let committing = self.committing.borrow();
            let pages = committing.iter().flat_map(|cut| &cut.put);
            pages.filter(|(_, page)| !page.is_whole()).map(|(number, _)| *number).collect()
        };
        for number in partial {
            let clean = self.clean.borrow_mut().get(number);
            let below = match clean {
                Some(clean) => clean,
                None => self.read_below(number).await?,
            };
            if let Some(page) = self.committing.borrow_mut().as_mut().and_then(|cut| cut.put.get_mut(&number)) {
                page.fill_from(&below);
            }
        }
        Ok(())
    }

    /// A stored page to write again, for a strict commit when all changes are already committed: an empty transaction
    /// would promise nothing.
    async fn something_stored(&self) -> Result<Vec<(PageKey, bytes::Bytes)>, BlockError> {
        let first = self.stored.borrow().range(0..u64::MAX).next();
        match first {
            Some(page) => Ok(vec![(PageKey(page), self.read_below(page).await?)]),
            None => Ok(Vec::new()),
        }
    }

    /// The commit landed.
    fn settle(&self) {
        let Some(cut) = self.committing.borrow_mut().take() else { return };
        let mut stored = self.stored.borrow_mut();
        let mut clean = self.clean.borrow_mut();
        for page in cut.delete {
            stored.remove(page);
            clean.remove(page);
        }
        for (page, mut content) in cut.put {
            stored.insert(page);
            clean.insert(page, content.share());
        }
        self.settled.set(self.settled.get() + 1);
    }

    /// The commit did not land, or nobody knows: its pages are dirty again, below what was written since.
    pub(super) fn take_back(&self) {
        let Some(cut) = self.committing.borrow_mut().take() else { return };
        let mut dirty = self.dirty.borrow_mut();
        let mut deleted = self.deleted.borrow_mut();
        let mut stored = self.stored.borrow_mut();
        for (page, content) in cut.put {
            // If it did land it is there, and must be deleted again if it was discarded since.
            stored.insert(page);
            if deleted.contains(&page) {
                continue;
            }
            match dirty.get_mut(&page) {
                Some(newer) => newer.fill_from_page(&content),
                None => drop(dirty.insert(page, content)),
            }
        }
        for page in cut.delete {
            if !dirty.contains_key(&page) {
                deleted.insert(page);
            }
        }
        self.settled.set(self.settled.get() + 1);
    }
}
