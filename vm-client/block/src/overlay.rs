//! Copy-on-write: what the guest wrote, in pages over a base that never changes.
//!
//! ```text
//!  write_now -> dirty --cut--> committing --commit--> stored (OverlayStore)
//!                 \_______________\___________________\____ read: the first that has the page, else the base
//! ```
//!
//! - *Cut*: all dirty pages and discards at once, only while no operation ([`OpGuard`]) is open. So a commit is always a
//!   state between two operations, commits are in order, and data comes with the metadata that points to it.
//! - *Commit*: one atomic [`Batch`]. [`Overlay::run_writeback`] makes one within half a second of the first change, at once
//!   when asked ([`Overlay::request_commit`], [`BlockDevice::flush`]) or when half of the allowed dirty memory is used. A
//!   batch that failed goes back to the dirty pages and is tried again together with what came since.
//! - *Failure*: a store that keeps failing, or one taken over by another session, makes the device read-only. Everything
//!   written stays readable, and `flush` reports the reason. A full store refuses new data but not the changes that free
//!   some.
//!
//! Writes of less than a page (small ext2 blocks) keep a mask of which quarters are theirs; the rest of the page is read
//! from below when it is committed.

mod clean;
mod commit;
mod page;
mod set;
mod status;
mod unstored;
mod warm;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use vm_rt::{Mutex, WaitQueue};

use crate::pages::{Span, check_range, spans};
use crate::{BlockDevice, BlockError, OpGuard, OverlayStore, PAGE_SIZE, PageKey};
use clean::CleanPages;
use page::DirtyPage;
use set::PageSet;

pub use status::{OverlayState, OverlayStatus};
pub use unstored::Unstored;

/// Limits of an overlay's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverlayOptions {
    /// Bytes of written pages that are not stored yet; beyond it writers wait.
    pub dirty_bytes: usize,
    /// Bytes of stored pages kept in memory.
    pub clean_bytes: usize,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self { dirty_bytes: 32 << 20, clean_bytes: 32 << 20 }
    }
}

/// A writable device over a base; see the module's head.
pub struct Overlay<B, S> {
    base: B,
    store: S,
    options: OverlayOptions,
    dirty: RefCell<BTreeMap<u64, DirtyPage>>,
    /// Pages the store should forget with the next commit; never also dirty.
    deleted: RefCell<BTreeSet<u64>>,
    /// What the commit under way holds.
    committing: RefCell<Option<Cut>>,
    stored: RefCell<PageSet>,
    clean: RefCell<CleanPages>,
    /// Whether something was discarded since the last cut: a store that was full may have room for the next.
    freed: Cell<bool>,
    /// Counts changes of `stored`, so that a load that overlapped one is not believed.
    settled: Cell<u64>,
    /// Counts writes and discards.
    changes: Cell<u64>,
    done: Cell<Done>,
    operations: Rc<Operations>,
    end_operation: Rc<dyn Fn()>,
    committer: Mutex<()>,
    asked: Cell<Asked>,
    driven: Cell<bool>,
    kick: WaitQueue,
    progress: WaitQueue,
    health: RefCell<status::Health>,
}

/// A snapshot on its way to the store.
#[derive(Clone, Default)]
struct Cut {
    put: BTreeMap<u64, DirtyPage>,
    delete: BTreeSet<u64>,
    /// Value of `changes` it includes.
    up_to: u64,
}

/// Up to which change commits have succeeded.
#[derive(Clone, Copy, Default)]
struct Done {
    relaxed: u64,
    strict: u64,
}

/// What somebody waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Asked {
    commit: bool,
    strict: bool,
}

#[derive(Default)]
struct Operations {
    open: Cell<u32>,
    ended: WaitQueue,
}

impl<B: BlockDevice, S: OverlayStore> Overlay<B, S> {
    /// Puts a store over a base. `identity` is the base's manifest hash: a store that holds changes to another image is
    /// refused.
    pub async fn open(base: B, identity: [u8; 32], store: S, options: OverlayOptions) -> Result<Self, BlockError> {
        if let Some(made_on) = store.base().filter(|made_on| *made_on != identity) {
            return Err(BlockError::WrongBase { made_on: hex(&made_on), opened_on: hex(&identity) });
        }
        let pages = base.size().div_ceil(PAGE_SIZE as u64);
        let stored = store.keys().await?.into_iter().map(|key| key.0).filter(|page| *page < pages).collect();
        let operations = Rc::new(Operations::default());
        let ending = Rc::clone(&operations);
        Ok(Self {
            base,
            store,
            options,
            dirty: RefCell::default(),
            deleted: RefCell::default(),
            committing: RefCell::default(),
            stored: RefCell::new(stored),
            clean: RefCell::new(CleanPages::new(options.clean_bytes / PAGE_SIZE)),
            freed: Cell::new(false),
            settled: Cell::new(0),
            changes: Cell::new(0),
            done: Cell::default(),
            operations,
            end_operation: Rc::new(move || {
                ending.open.set(ending.open.get() - 1);
                if ending.open.get() == 0 {
                    ending.ended.wake_all();
                }
            }),
            committer: Mutex::new(()),
            asked: Cell::default(),
            driven: Cell::new(false),
            kick: WaitQueue::new(),
            progress: WaitQueue::new(),
            health: RefCell::default(),
        })
    }

    /// The device below.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Bytes that are written but not stored.
    fn unstored_bytes(&self) -> u64 {
        let committing = self.committing.borrow().as_ref().map_or(0, |cut| cut.put.len());
        ((self.dirty.borrow().len() + committing) * PAGE_SIZE) as u64
    }

    fn note_change(&self) {
        let was_clean = self.changes.get() == self.done.get().relaxed;
        self.changes.set(self.changes.get() + 1);
        let full = self.unstored_bytes() >= self.options.dirty_bytes as u64 / 2;
        if was_clean || full {
            if full {
                self.asked.set(Asked { commit: true, ..self.asked.get() });
            }
            self.kick.wake_all();
        }
    }

    /// Copies the parts of a page that are in memory over `page`; tells whether nothing below shows through.
    fn peek(&self, number: u64, page: &mut [u8]) -> bool {
        let dirty = self.dirty.borrow();
        let newest = dirty.get(&number);
        if let Some(newest) = newest.filter(|newest| newest.is_whole()) {
            newest.copy_to(page);
            return true;
        }
        let committing = self.committing.borrow();
        let older = committing.as_ref().and_then(|cut| cut.put.get(&number));
        let mut whole = older.is_some_and(DirtyPage::is_whole);
        if !whole && let Some(clean) = self.clean.borrow_mut().get(number) {
            page.copy_from_slice(&clean);
            whole = true;
        }
        for layer in [older, newest].into_iter().flatten() {
            layer.copy_to(page);
        }
        whole
    }

    fn in_memory(&self, number: u64) -> bool {
        self.dirty.borrow().contains_key(&number)
            || self.committing.borrow().as_ref().is_some_and(|cut| cut.put.contains_key(&number))
            || self.clean.borrow_mut().get(number).is_some()
    }

    /// Whether only the base has this page.
    fn only_in_base(&self, number: u64) -> bool {
        !self.stored.borrow().contains(number) && !self.in_memory(number)
    }

    /// Reads a page that is not wholly in memory: what lies below, then what is in memory over it.
    async fn read_page(&self, number: u64) -> Result<Vec<u8>, BlockError> {
        let mut page = vec![0; PAGE_SIZE];
        loop {
            if self.peek(number, &mut page) {
                return Ok(page);
            }
            let settled = self.settled.get();
            let below = self.read_below(number).await?;
            // Was it committed or forgotten meanwhile? Then what came from below may be older than what is there now.
            if self.settled.get() == settled {
                page.copy_from_slice(&below);
                self.peek(number, &mut page);
                return Ok(page);
            }
        }
    }

    /// Reads a page from the store or the base, without what is in memory.
    async fn read_below(&self, number: u64) -> Result<Bytes, BlockError> {
        if self.stored.borrow().contains(number) {
            let settled = self.settled.get();
            // Whoever has the page before this one reads on, most likely.
            let reads_on = number.checked_sub(1).is_some_and(|before| self.in_memory(before));
            let ahead = if reads_on { READ_ON } else { LOAD_AHEAD };
            let keys: Vec<PageKey> = self.stored.borrow().run_from(number, ahead).map(PageKey).collect();
            let loaded = self.store.load(&keys).await?;
            let unchanged = self.settled.get() == settled;
            let mut wanted = None;
            for (key, page) in keys.iter().zip(loaded) {
                let Some(page) = page else { continue };
                if page.len() != PAGE_SIZE {
                    return Err(BlockError::Store(format!("page {} has {} bytes", key.0, page.len())));
                }
                if unchanged {
                    self.clean.borrow_mut().insert(key.0, page.clone());
                }
                if key.0 == number {
                    wanted = Some(page);
                }
            }
            if let Some(page) = wanted {
                return Ok(page);
            }
        }
        let mut page = vec![0; PAGE_SIZE];
        let range = self.page_range(number);
        let len = (range.end - range.start) as usize;
        self.base.read_at(range.start, page.get_mut(..len).unwrap_or(&mut [])).await?;
        Ok(page.into())
    }

    /// The bytes of a page on the device, which may end within it.
    fn page_range(&self, number: u64) -> Range<u64> {
        let start = number * PAGE_SIZE as u64;
        start..(start + PAGE_SIZE as u64).min(self.base.size())
    }

    fn refusal(&self) -> Option<BlockError> {
        self.health.borrow().refusal()
    }

    /// Waits for memory, and for room in the store.
    async fn reserve_for(&self, bytes: u64, need: Need) -> Result<(), BlockError> {
        loop {
            if let Some(error) = self.refusal() {
                return Err(error);
            }
            let wanted = self.unstored_bytes().saturating_add(bytes);
            let no_room = self.health.borrow().is_full() || self.store.room().is_some_and(|room| room < wanted);
            let most = self.options.dirty_bytes as u64;
            if no_room {
                // Nothing that is dirty may ever be stored: what is let through now stays in memory.
                return match need {
                    Need::Metadata if wanted <= most.saturating_add(status::SPARE) => Ok(()),
                    // Files were removed since the store was found full: whether that helps, the next commit tells.
                    _ if self.freed.get() => {
                        self.wait_for_commit().await?;
                        continue;
                    }
                    _ => Err(BlockError::StoreFull),
                };
            }
            // A single operation larger than the cap must still go through.
            if wanted == bytes || wanted <= most {
                return Ok(());
            }
            self.wait_for_commit().await?;
        }
    }
}

/// What memory is reserved for.
#[derive(Clone, Copy)]
enum Need {
    Data,
    Metadata,
}

/// Stored pages in a row that are loaded along with one.
const LOAD_AHEAD: usize = 16;
/// The same, where a file is being read from one end to the other.
const READ_ON: usize = 64;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<B: BlockDevice, S: OverlayStore> BlockDevice for Overlay<B, S> {
    fn size(&self) -> u64 {
        self.base.size()
    }

    fn read_only(&self) -> bool {
        self.refusal().is_some()
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_range(self.size(), offset, buf.len())?;
        let mut at = 0;
        while at < buf.len() {
            // As many pages as only the base has are read there in one go.
            let here = offset + at as u64;
            let left = buf.len() - at;
            let plain =
                spans(here, left).take_while(|span| self.only_in_base(span.page)).last().map_or(0, |s| s.in_buf.end);
            if plain > 0 {
                let settled = self.settled.get();
                let changes = self.changes.get();
                let piece = buf.get_mut(at..at + plain).unwrap_or(&mut []);
                self.base.read_at(here, piece).await?;
                // Nothing written meanwhile is missed: without a change this is exact, else the pages are looked at again.
                if self.settled.get() == settled && self.changes.get() == changes {
                    at += plain;
                    continue;
                }
                if spans(here, plain).all(|span| self.only_in_base(span.page)) {
                    at += plain;
                    continue;
                }
            }
            let Some(Span { page, in_page, in_buf }) = spans(here, left).next() else { break };
            let content = self.read_page(page).await?;
            let target = buf.get_mut(at + in_buf.start..at + in_buf.end).unwrap_or(&mut []);
            target.copy_from_slice(content.get(in_page).unwrap_or(&[]));
            at += in_buf.end;
        }
        Ok(())
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), BlockError>> {
        if let Err(error) = check_range(self.size(), offset, buf.len()) {
            return Some(Err(error));
        }
        let mut page = vec![0; PAGE_SIZE];
        for span in spans(offset, buf.len()) {
            let target = buf.get_mut(span.in_buf.clone()).unwrap_or(&mut []);
            if self.only_in_base(span.page) {
                let start = span.page * PAGE_SIZE as u64 + span.in_page.start as u64;
                if let Err(error) = self.base.read_now(start, target)? {
                    return Some(Err(error));
                }
                continue;
            }
            if !self.peek(span.page, &mut page) {
                return None;
            }
            target.copy_from_slice(page.get(span.in_page).unwrap_or(&[]));
        }
        Some(Ok(()))
    }

    async fn reserve(&self, bytes: u64) -> Result<(), BlockError> {
        self.reserve_for(bytes, Need::Data).await
    }

    async fn reserve_metadata(&self, bytes: u64) -> Result<(), BlockError> {
        self.reserve_for(bytes, Need::Metadata).await
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        check_range(self.size(), offset, data.len())?;
        if !offset.is_multiple_of(page::UNIT as u64) || !data.len().is_multiple_of(page::UNIT) {
            return Err(BlockError::Store(format!("write of {} bytes at {offset} is not aligned", data.len())));
        }
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        for span in spans(offset, data.len()) {
            let piece = data.get(span.in_buf).unwrap_or(&[]);
            let mut dirty = self.dirty.borrow_mut();
            let page = dirty.entry(span.page).or_default();
            page.write(span.in_page.start, piece);
            drop(dirty);
            self.deleted.borrow_mut().remove(&span.page);
            self.note_change();
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), BlockError> {
        self.commit_all(crate::Durability::Strict).await
    }

    fn begin(&self) -> OpGuard {
        self.operations.open.set(self.operations.open.get() + 1);
        OpGuard::new(Rc::clone(&self.end_operation))
    }

    fn discard(&self, freed: Range<u64>) {
        if self.refusal().is_some() {
            return;
        }
        let page_size = PAGE_SIZE as u64;
        let whole = freed.start.div_ceil(page_size)..freed.end.min(self.size()) / page_size;
        if whole.start >= whole.end {
            return;
        }
        let mut dirty = self.dirty.borrow_mut();
        let gone: Vec<u64> = dirty.range(whole.clone()).map(|(page, _)| *page).collect();
        gone.iter().for_each(|page| drop(dirty.remove(page)));
        drop(dirty);
        let mut stored: BTreeSet<u64> = self.stored.borrow().range(whole.clone()).collect();
        if let Some(cut) = &*self.committing.borrow() {
            stored.extend(cut.put.range(whole).map(|(page, _)| *page));
        }
        if gone.is_empty() && stored.is_empty() {
            return;
        }
        self.deleted.borrow_mut().extend(stored);
        self.freed.set(true);
        self.note_change();
    }

    fn advise(&self, soon: Range<u64>) {
        self.base.advise(soon);
    }
}

#[cfg(test)]
mod tests;
