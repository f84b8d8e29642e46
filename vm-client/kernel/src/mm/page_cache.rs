//! The pages of one file in memory: the single truth for read(2), write(2) and mappings.
//!
//! A cache either repeats a [`PageSource`] (a file on a disk; clean pages can be dropped and read again) or is the file
//! itself (tmpfs, memfd, shared anonymous memory; pages stay). write(2) changes the source first, so that its errors and
//! its transactions are exact, and then calls [`PageCache::update`]; only stores through shared mappings are written to the
//! source later, by [`PageCache::flush`] and the kernel's periodic write-back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::{Rc, Weak};

use linux_abi::Errno;
use vm_mem::{FrameId, PAGE_SIZE};
use vm_rt::{Io, Mutex, WaitQueue};

use super::memory::{Evicted, Memory};

const PAGE: u64 = PAGE_SIZE as u64;
/// Pages read together when the source has them at hand: one chunk of a disk image.
const WINDOW: u64 = 32;

/// Where the pages of a file come from and go to; implemented by the file systems.
pub trait PageSource {
    /// Length of the file in bytes.
    fn size(&self) -> u64;
    /// Reads a page; bytes beyond the end are zero. What is at hand is given as [`Io::Ready`]: neighbours of a wanted page
    /// are asked for too, and those that would have to wait are left alone.
    fn read_page<'a>(&'a self, index: u64, page: &'a mut [u8; PAGE_SIZE]) -> Io<'a, Result<(), Errno>>;
    /// Writes a page back that was stored to through a shared mapping; bytes beyond the end are ignored.
    fn write_page<'a>(&'a self, index: u64, page: &'a [u8; PAGE_SIZE]) -> Io<'a, Result<(), Errno>>;
}

/// The cache of one file.
pub struct PageCache {
    this: Weak<PageCache>,
    memory: Rc<Memory>,
    content: Content,
    pages: RefCell<BTreeMap<u64, Page>>,
    loading: RefCell<BTreeMap<u64, Rc<Loading>>>,
    /// Pages that are or were mapped shared and writable, or are known to be dirty.
    maybe_dirty: RefCell<BTreeSet<u64>>,
    /// Held while dirty pages are written, so that who flushes second waits for what the first is writing.
    flushing: Mutex<()>,
    /// The first error of writing back that nobody was told of yet.
    error: Cell<Option<Errno>>,
    /// Whether private mappings have copied pages of it.
    copied: Cell<bool>,
}

enum Content {
    Source(Rc<dyn PageSource>),
    Memory { size: Cell<u64> },
}

struct Page {
    frame: FrameId,
    /// Used since the last look of the reclaimer.
    referenced: bool,
    /// Stored to through a mapping that is gone.
    dirty: bool,
    /// On its way to the source; must not be dropped and read again meanwhile.
    writing: bool,
}

/// A page that is being read.
struct Loading {
    finished: WaitQueue,
    /// The file changed under the read: what it gives is not to be used.
    stale: Cell<bool>,
}

impl PageCache {
    /// Makes the cache of a file that a source holds.
    pub fn new(memory: &Rc<Memory>, source: Rc<dyn PageSource>) -> Rc<Self> {
        Self::with(memory, Content::Source(source))
    }

    /// Makes a file that lives in guest memory alone; its holes read as zero.
    pub fn in_memory(memory: &Rc<Memory>, size: u64) -> Rc<Self> {
        Self::with(memory, Content::Memory { size: Cell::new(size) })
    }

    fn with(memory: &Rc<Memory>, content: Content) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            memory: Rc::clone(memory),
            content,
            pages: RefCell::default(),
            loading: RefCell::default(),
            maybe_dirty: RefCell::default(),
            flushing: Mutex::default(),
            error: Cell::new(None),
            copied: Cell::new(false),
        })
    }

    /// Length of the file in bytes.
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Source(source) => source.size(),
            Content::Memory { size } => size.get(),
        }
    }

    /// Whether it is a file that lives in guest memory alone.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.content, Content::Memory { .. })
    }

    /// How many pages are in memory.
    pub fn resident(&self) -> u64 {
        self.pages.borrow().len() as u64
    }

    /// How many pages of a byte range are not in memory: for a file in memory, what writing there would take.
    pub fn missing(&self, offset: u64, len: u64) -> u64 {
        let span = page_span(offset, len);
        span.end - span.start - self.pages.borrow().range(span).count() as u64
    }

    // ---- read and write ----

    /// Reads from an offset; short at the end of the file.
    pub fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> Io<'a, Result<usize, Errno>> {
        match self.read_present(offset, buf) {
            (done, None) => Io::ready(Ok(done)),
            (done, Some(missing)) => Io::later(self.read_rest(offset, buf, done, missing)),
        }
    }

    async fn read_rest(&self, offset: u64, buf: &mut [u8], mut done: usize, first: u64) -> Result<usize, Errno> {
        let mut missing = first;
        loop {
            match self.load(missing).await {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(errno) => return Err(errno),
            }
            let (more, next) = self.read_present(offset + done as u64, &mut buf[done..]);
            done += more;
            match next {
                None => return Ok(done),
                Some(index) => missing = index,
            }
        }
    }

    /// Copies up to the first page that is not in memory, and tells which that is.
    fn read_present(&self, offset: u64, buf: &mut [u8]) -> (usize, Option<u64>) {
        let left = self.size().saturating_sub(offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let mut pages = self.pages.borrow_mut();
        let mmu = self.memory.mmu().borrow();
        for (index, in_page, part) in page_parts(offset, want) {
            match (pages.get_mut(&index), &self.content) {
                (Some(page), _) => {
                    page.referenced = true;
                    buf[part].copy_from_slice(&mmu.frame(page.frame)[in_page]);
                }
                (None, Content::Memory { .. }) => buf[part].fill(0),
                (None, Content::Source(_)) => return (part.start, Some(index)),
            }
        }
        (want, None)
    }

    /// Repeats in memory what was just written to the source.
    pub fn update(&self, offset: u64, data: &[u8]) {
        let pages = self.pages.borrow();
        let mut mmu = self.memory.mmu().borrow_mut();
        for (index, in_page, part) in page_parts(offset, data.len()) {
            if let Some(page) = pages.get(&index) {
                mmu.frame_mut(page.frame)[in_page].copy_from_slice(&data[part]);
            }
        }
        self.mark_loading_stale(page_span(offset, data.len() as u64));
    }

    /// Writes to a file in memory, making it longer if necessary; ENOSPC when memory runs out before the first byte.
    pub fn store(&self, offset: u64, data: &[u8]) -> Result<usize, Errno> {
        let Content::Memory { size } = &self.content else { return Err(Errno::EINVAL) };
        let mut done = 0;
        for (index, in_page, part) in page_parts(offset, data.len()) {
            let Some(frame) = self.memory_page(index) else { break };
            done = part.end;
            self.memory.mmu().borrow_mut().frame_mut(frame)[in_page].copy_from_slice(&data[part]);
        }
        if done == 0 && !data.is_empty() {
            return Err(Errno::ENOSPC);
        }
        size.set(size.get().max(offset + done as u64));
        Ok(done)
    }

    /// Follows a change of the file's length (a file in memory gets its length from here): pages behind the end go away,
    /// also from mappings and with the private copies of them, and the rest of the last page becomes zero.
    pub fn truncate(&self, to: u64) {
        if let Content::Memory { size } = &self.content {
            size.set(to);
        }
        self.zero_range(to, u64::MAX - to);
        if self.copied.get() {
            self.memory.drop_copies(self, to.div_ceil(PAGE));
        }
    }

    /// Makes a byte range zero in memory: whole pages go away (and are read again from the source or are holes), parts
    /// of pages are cleared.
    pub fn zero_range(&self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let whole = offset.div_ceil(PAGE)..end / PAGE;
        if whole.start < whole.end {
            self.drop_pages(whole.clone());
        }
        self.mark_loading_stale(page_span(offset, len));
        let pages = self.pages.borrow();
        let mut mmu = self.memory.mmu().borrow_mut();
        let edges = [offset / PAGE, end / PAGE];
        for index in &edges[..if edges[0] == edges[1] { 1 } else { 2 }] {
            let Some(page) = pages.get(index) else { continue };
            let from = offset.saturating_sub(index * PAGE).min(PAGE) as usize;
            let to = (end - index * PAGE).min(PAGE) as usize;
            if from < to {
                mmu.frame_mut(page.frame)[from..to].fill(0);
            }
        }
    }

    fn drop_pages(&self, range: Range<u64>) {
        let mut pages = self.pages.borrow_mut();
        let mut mmu = self.memory.mmu().borrow_mut();
        let mut dropped = 0;
        while let Some((&index, _)) = pages.range(range.clone()).next() {
            let Some(page) = pages.remove(&index) else { break };
            mmu.unmap_everywhere(page.frame);
            mmu.release(page.frame);
            self.maybe_dirty.borrow_mut().remove(&index);
            dropped += 1;
        }
        drop((pages, mmu));
        self.count_removed(dropped);
    }

    fn count_removed(&self, count: u32) {
        match &self.content {
            Content::Source(_) => self.memory.pages_removed(count),
            Content::Memory { .. } => self.memory.count_shmem(-i64::from(count)),
        }
    }

    // ---- frames for mappings ----

    /// The frame of a page that is in memory.
    pub(super) fn frame(&self, index: u64) -> Option<FrameId> {
        let mut pages = self.pages.borrow_mut();
        let page = pages.get_mut(&index)?;
        page.referenced = true;
        Some(page.frame)
    }

    /// The frame of a page that is in memory, without counting as a use.
    pub(super) fn peek(&self, index: u64) -> Option<FrameId> {
        self.pages.borrow().get(&index).map(|page| page.frame)
    }

    /// Brings a page into memory, and its neighbours when the source gives them without waiting.
    pub(super) async fn load(&self, index: u64) -> Result<(), Errno> {
        let source = match &self.content {
            Content::Source(source) => Rc::clone(source),
            Content::Memory { .. } => {
                while self.memory_page(index).is_none() {
                    self.memory.make_room().await?;
                }
                return Ok(());
            }
        };
        loop {
            if self.pages.borrow().contains_key(&index) {
                return Ok(());
            }
            let other = self.loading.borrow().get(&index).cloned();
            if let Some(loading) = other {
                loading.finished.wait().await;
                continue;
            }
            let ticket = Ticket::new(self, index);
            let mut content = Box::new([0; PAGE_SIZE]);
            source.read_page(index, &mut content).await?;
            if ticket.loading.stale.get() {
                continue;
            }
            let mut read = vec![(index, content)];
            if !self.memory.is_low() {
                self.read_neighbours(&*source, &mut read);
            }
            if self.insert(index, &read) {
                return Ok(());
            }
            drop(ticket);
            self.memory.make_room().await?;
        }
    }

    /// Adds the pages around the first of `read` that the source has at hand.
    fn read_neighbours(&self, source: &dyn PageSource, read: &mut Vec<(u64, Box<[u8; PAGE_SIZE]>)>) {
        let Some((wanted, _)) = read.first() else { return };
        let wanted = *wanted;
        // The window must not push itself out of a small machine's cache.
        let share = u64::from(self.memory.cache_share() / 2).max(1);
        let window = WINDOW.min(1 << share.ilog2());
        let start = wanted / window * window;
        let end = (start + window).min(source.size().div_ceil(PAGE));
        let after = wanted + 1..end;
        let before = (start..wanted).rev();
        for side in [&mut after.into_iter() as &mut dyn Iterator<Item = u64>, &mut before.into_iter()] {
            for index in side {
                if self.pages.borrow().contains_key(&index) || self.loading.borrow().contains_key(&index) {
                    continue;
                }
                let mut content = Box::new([0; PAGE_SIZE]);
                // A read that would have to wait is not even begun: it would ask for a chunk that nobody wants yet.
                let ready = matches!(source.read_page(index, &mut content), Io::Ready(Some(Ok(()))));
                if !ready {
                    break;
                }
                read.push((index, content));
            }
        }
        read.sort_by_key(|(index, _)| *index);
    }

    /// Puts pages that were read into frames next to each other, at least the wanted one; tells whether there was memory.
    fn insert(&self, wanted: u64, read: &[(u64, Box<[u8; PAGE_SIZE]>)]) -> bool {
        // Others make room before these come, so that what was just read is not the first to go.
        self.memory.make_room_in_share(read.len() as u32);
        let Some(run) = self.memory.take_run(read.len() as u32) else { return false };
        let skip = if run.len() < read.len() { read.iter().position(|(index, _)| *index == wanted) } else { None };
        let mut frames = run.map(FrameId);
        for ((index, content), frame) in read[skip.unwrap_or(0)..].iter().zip(frames.by_ref()) {
            *self.memory.mmu().borrow_mut().frame_mut(frame) = **content;
            let page = Page { frame, referenced: *index == wanted, dirty: false, writing: false };
            let before = self.pages.borrow_mut().insert(*index, page);
            debug_assert!(before.is_none(), "a page is read once");
            self.memory.page_added(Weak::clone(&self.this), *index);
        }
        frames.for_each(|unused| self.memory.mmu().borrow_mut().release(unused));
        true
    }

    /// The frame of a page of a file in memory, taken if it was a hole.
    fn memory_page(&self, index: u64) -> Option<FrameId> {
        if let Some(frame) = self.frame(index) {
            return Some(frame);
        }
        let frame = self.memory.take_zeroed()?;
        self.pages.borrow_mut().insert(index, Page { frame, referenced: true, dirty: false, writing: false });
        self.memory.count_shmem(1);
        Some(frame)
    }

    fn mark_loading_stale(&self, span: Range<u64>) {
        for (_, loading) in self.loading.borrow().range(span) {
            loading.stale.set(true);
        }
    }

    /// Drops a page to have its frame back, if it can be read again and was not used since the last time of asking.
    pub(super) fn evict(&self, index: u64) -> Evicted {
        let mut pages = self.pages.borrow_mut();
        let Some(page) = pages.get_mut(&index) else { return Evicted::Gone };
        let mut mmu = self.memory.mmu().borrow_mut();
        if page.dirty || page.writing || std::mem::take(&mut page.referenced) {
            return Evicted::Kept;
        }
        if self.maybe_dirty.borrow().contains(&index) {
            // Asks the page tables; a dirty page stays for write-back.
            if mmu.clean(page.frame) {
                page.dirty = true;
                return Evicted::Kept;
            }
            self.maybe_dirty.borrow_mut().remove(&index);
        }
        let frame = page.frame;
        pages.remove(&index);
        mmu.unmap_everywhere(frame);
        mmu.release(frame);
        drop((pages, mmu));
        self.memory.pages_removed(1);
        Evicted::Freed
    }

    /// Notes that a private mapping has a copy of a page.
    pub(super) fn page_copied(&self) {
        self.copied.set(true);
    }

    // ---- stores through shared mappings ----

    /// Notes that a page is mapped so that it can be stored to.
    pub(super) fn mapped_writable(&self, index: u64) {
        if matches!(self.content, Content::Source(_)) {
            self.maybe_dirty.borrow_mut().insert(index);
        }
    }

    /// Notes that a page was stored to through a mapping that goes away.
    pub(super) fn mark_dirty(&self, index: u64) {
        if matches!(self.content, Content::Source(_))
            && let Some(page) = self.pages.borrow_mut().get_mut(&index)
        {
            page.dirty = true;
            self.maybe_dirty.borrow_mut().insert(index);
        }
    }

    pub(super) fn may_be_dirty(&self) -> bool {
        !self.maybe_dirty.borrow().is_empty()
    }

    /// Writes back what shared mappings have changed, for msync(2) and fsync(2); reports errors of earlier attempts too.
    pub async fn flush(&self) -> Result<(), Errno> {
        self.write_dirty().await;
        self.error.take().map_or(Ok(()), Err)
    }

    pub(super) async fn write_dirty(&self) {
        let Content::Source(source) = &self.content else { return };
        if !self.may_be_dirty() {
            return;
        }
        let _flushing = self.flushing.lock().await;
        let candidates: Vec<u64> = self.maybe_dirty.borrow().iter().copied().collect();
        for index in candidates {
            let Some(write) = self.begin_write(index) else { continue };
            if let Err(errno) = source.write_page(index, &write.content).await {
                self.error.set(self.error.get().or(Some(errno)));
            }
            write.finish();
        }
    }

    /// Takes the content of a dirty page to be written; the page is clean from here on.
    fn begin_write(&self, index: u64) -> Option<PageWrite<'_>> {
        let mut pages = self.pages.borrow_mut();
        let mut mmu = self.memory.mmu().borrow_mut();
        let Some(page) = pages.get_mut(&index) else {
            self.maybe_dirty.borrow_mut().remove(&index);
            return None;
        };
        let dirty = mmu.clean(page.frame) | std::mem::take(&mut page.dirty);
        if mmu.refs(page.frame) == 1 {
            // Mapped nowhere, so nobody can make it dirty unnoticed.
            self.maybe_dirty.borrow_mut().remove(&index);
        }
        if !dirty {
            return None;
        }
        page.writing = true;
        Some(PageWrite { cache: self, index, content: Box::new(*mmu.frame(page.frame)), finished: false })
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        let pages = self.pages.take();
        let mut mmu = self.memory.mmu().borrow_mut();
        for page in pages.values() {
            mmu.release(page.frame);
        }
        drop(mmu);
        self.count_removed(pages.len() as u32);
    }
}

/// One reader of a page; the others wait for it. If it is dropped the next one reads.
struct Ticket<'a> {
    cache: &'a PageCache,
    index: u64,
    loading: Rc<Loading>,
}

impl<'a> Ticket<'a> {
    fn new(cache: &'a PageCache, index: u64) -> Self {
        let loading = Rc::new(Loading { finished: WaitQueue::new(), stale: Cell::new(false) });
        cache.loading.borrow_mut().insert(index, Rc::clone(&loading));
        Self { cache, index, loading }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.cache.loading.borrow_mut().remove(&self.index);
        self.loading.finished.wake_all();
    }
}

/// A page on its way to the source. If it is dropped on the way the page is dirty again.
struct PageWrite<'a> {
    cache: &'a PageCache,
    index: u64,
    content: Box<[u8; PAGE_SIZE]>,
    finished: bool,
}

impl PageWrite<'_> {
    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for PageWrite<'_> {
    fn drop(&mut self) {
        if let Some(page) = self.cache.pages.borrow_mut().get_mut(&self.index) {
            page.writing = false;
        }
        if !self.finished {
            self.cache.mark_dirty(self.index);
        }
    }
}

/// The pages that a byte range touches.
fn page_span(offset: u64, len: u64) -> Range<u64> {
    if len == 0 {
        return offset / PAGE..offset / PAGE;
    }
    offset / PAGE..(offset.saturating_add(len - 1)) / PAGE + 1
}

/// Splits a byte range at page borders: page index, range in the page, range in the buffer.
fn page_parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = offset.checked_add(done as u64)?;
        let from = (at % PAGE) as usize;
        let count = (PAGE_SIZE - from).min(len - done);
        let part = done..done + count;
        done += count;
        Some((at / PAGE, from..from + count, part))
    })
}
