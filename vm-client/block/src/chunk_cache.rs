//! Chunks in memory: the device an image is read through.
//!
//! [`ChunkCache`] turns a [`Transport`] into a read-only [`BlockDevice`]. A chunk is fetched once however many wait for it
//! ([`Flights`]), kept while there is room (least recently used first out), and fetched ahead when chunks are read one after
//! the other ([`ReadAhead`]) or on [`BlockDevice::advise`]. What a boot reads may be recorded ([`BootRecord`]). The host polls [`ChunkCache::run`], which keeps fetches going that
//! nobody waits for.

mod boot;
mod flights;
mod lru;
mod read_ahead;

use std::cell::{Cell, RefCell};
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use vm_rt::WaitQueue;

use crate::pages::{Span, check_range, spans_of};
use crate::{BlockDevice, BlockError, CHUNK_SIZE, ChunkId, Transport, Urgency};
pub use boot::{BootRecord, BootTouch};
use flights::{Flight, Flights};
use lru::Lru;
use read_ahead::ReadAhead;

/// Bytes of chunks kept by default.
pub const DEFAULT_CACHE_BYTES: usize = 64 << 20;
/// Chunks fetched ahead of need at a time, so that they do not crowd out demand.
const MOST_AHEAD: usize = 24;

/// Counters since the cache was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChunkCacheStatus {
    /// Reads of a chunk that was there.
    pub hits: u64,
    /// Reads that had to wait for one.
    pub misses: u64,
    /// Chunks fetched ahead.
    pub ahead: u64,
    /// Of those, chunks read since.
    pub ahead_used: u64,
    /// Chunks kept now.
    pub chunks: usize,
    /// Reads waiting now.
    pub waiting: u32,
}

/// The cache; see the module's head.
pub struct ChunkCache<T> {
    transport: std::rc::Rc<T>,
    size: u64,
    chunks: RefCell<Lru>,
    flights: Flights,
    read_ahead: RefCell<ReadAhead>,
    record: RefCell<Option<BootRecord>>,
    /// Flights that the driver has not taken over yet.
    unattended: RefCell<Vec<Flight>>,
    work: WaitQueue,
    ahead: Cell<u64>,
    hits: Cell<u64>,
    misses: Cell<u64>,
    waiting: Cell<u32>,
}

impl<T: Transport + 'static> ChunkCache<T> {
    /// Wraps an image, keeping at most `bytes` of chunks in memory.
    pub fn new(transport: T, bytes: usize) -> Self {
        let size = transport.image_size();
        Self {
            transport: std::rc::Rc::new(transport),
            size,
            chunks: RefCell::new(Lru::new((bytes / CHUNK_SIZE).max(4))),
            flights: Flights::default(),
            read_ahead: RefCell::default(),
            record: RefCell::default(),
            unattended: RefCell::default(),
            work: WaitQueue::new(),
            ahead: Cell::new(0),
            hits: Cell::new(0),
            misses: Cell::new(0),
            waiting: Cell::new(0),
        }
    }

    /// The image below.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// How it went so far.
    pub fn status(&self) -> ChunkCacheStatus {
        let chunks = self.chunks.borrow();
        ChunkCacheStatus {
            hits: self.hits.get(),
            misses: self.misses.get(),
            ahead: self.ahead.get(),
            ahead_used: chunks.ahead_used(),
            chunks: chunks.len(),
            waiting: self.waiting.get(),
        }
    }

    /// Records which chunks are read from now on.
    pub fn record(&self, record: BootRecord) {
        *self.record.borrow_mut() = Some(record);
    }

    /// Whether nothing new was read for a while, or for too long: the boot is over. So is one that is not recorded.
    pub fn boot_is_over(&self) -> bool {
        self.record.borrow().as_ref().is_none_or(BootRecord::is_over)
    }

    /// Ends the recording and returns what was read.
    pub fn take_record(&self) -> Vec<BootTouch> {
        self.record.borrow_mut().take().map(BootRecord::into_touches).unwrap_or_default()
    }

    /// Keeps fetches going that nobody waits for (any longer). Never ends; the host spawns it once.
    pub async fn run(&self) {
        let mut flying = FuturesUnordered::new();
        loop {
            self.settle();
            flying.extend(self.unattended.take());
            let work = self.work.wait();
            if !self.unattended.borrow().is_empty() {
                continue;
            }
            if flying.is_empty() {
                work.await;
            } else {
                futures_util::future::select(flying.next(), work).await;
            }
        }
    }

    /// Fetches the chunks of a boot profile, in order and a few at a time.
    pub async fn prefetch(&self, chunks: impl IntoIterator<Item = ChunkId>) {
        for chunk in chunks {
            while self.flights.ahead() >= MOST_AHEAD {
                self.flights.landed().await;
            }
            self.fetch_ahead(chunk);
        }
    }

    /// Starts fetching a chunk nobody has asked for yet, unless it is there or on its way.
    fn fetch_ahead(&self, chunk: ChunkId) {
        let beyond = u64::from(chunk.0) * CHUNK_SIZE as u64 >= self.size;
        if beyond || self.chunks.borrow().contains(chunk) || self.flights.get(chunk).is_some() {
            return;
        }
        self.ahead.set(self.ahead.get() + 1);
        drop(self.start(chunk, Urgency::Prefetch));
    }

    fn start(&self, chunk: ChunkId, urgency: Urgency) -> Flight {
        let transport = std::rc::Rc::clone(&self.transport);
        let flight = self.flights.start(chunk, urgency, async move { transport.fetch(chunk, urgency).await });
        self.unattended.borrow_mut().push(flight.clone());
        self.work.wake_all();
        flight
    }

    /// Notes that a chunk is read and fetches ahead if this is one of a row.
    fn note(&self, chunk: ChunkId) {
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.touch(chunk);
        }
        let ahead = self.read_ahead.borrow_mut().touch(chunk.0);
        for next in ahead {
            if self.flights.ahead() >= MOST_AHEAD {
                break;
            }
            self.fetch_ahead(ChunkId(next));
        }
    }

    fn cached(&self, chunk: ChunkId) -> Option<Bytes> {
        self.settle();
        self.chunks.borrow_mut().get(chunk)
    }

    /// Moves chunks that have arrived into the cache.
    fn settle(&self) {
        for (chunk, urgency, bytes) in self.flights.take_landed() {
            self.chunks.borrow_mut().insert(chunk, bytes, urgency);
        }
    }

    async fn chunk(&self, chunk: ChunkId) -> Result<Bytes, BlockError> {
        if let Some(bytes) = self.cached(chunk) {
            self.hits.set(self.hits.get() + 1);
            self.note(chunk);
            return Ok(bytes);
        }
        self.misses.set(self.misses.get() + 1);
        let flight = match self.flights.get(chunk) {
            Some((Urgency::Demand, flight)) => flight,
            // Asking again with more urgency moves it up in the transport.
            _ => self.start(chunk, Urgency::Demand),
        };
        self.note(chunk);
        let _waiting = Waiting::new(&self.waiting);
        let bytes = flight.await.1?;
        self.settle();
        Ok(bytes)
    }
}

struct Waiting<'a>(&'a Cell<u32>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The number of a chunk that lies on the device, whose size was checked.
fn chunk_id(number: u64) -> ChunkId {
    ChunkId(u32::try_from(number).unwrap_or(u32::MAX))
}

fn copy(chunk: &Bytes, from: Range<usize>, to: &mut [u8]) -> Result<(), BlockError> {
    let data = chunk.get(from).ok_or_else(|| BlockError::Store(format!("a chunk has only {} bytes", chunk.len())))?;
    to.copy_from_slice(data);
    Ok(())
}

impl<T: Transport + 'static> BlockDevice for ChunkCache<T> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        true
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_range(self.size, offset, buf.len())?;
        let spans: Vec<Span> = spans_of(CHUNK_SIZE, offset, buf.len()).collect();
        // Asks for all at once before it waits for any.
        let chunks = join_all(spans.iter().map(|span| self.chunk(chunk_id(span.page)))).await;
        for (span, chunk) in spans.into_iter().zip(chunks) {
            copy(&chunk?, span.in_page, buf.get_mut(span.in_buf).unwrap_or(&mut []))?;
        }
        Ok(())
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), BlockError>> {
        if let Err(error) = check_range(self.size, offset, buf.len()) {
            return Some(Err(error));
        }
        for span in spans_of(CHUNK_SIZE, offset, buf.len()) {
            let chunk = self.cached(chunk_id(span.page))?;
            self.hits.set(self.hits.get() + 1);
            self.note(chunk_id(span.page));
            if let Err(error) = copy(&chunk, span.in_page, buf.get_mut(span.in_buf).unwrap_or(&mut [])) {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    fn write_now(&self, _offset: u64, _data: &[u8]) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }

    async fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    fn advise(&self, soon: Range<u64>) {
        let end = soon.end.min(self.size).div_ceil(CHUNK_SIZE as u64);
        for number in soon.start / CHUNK_SIZE as u64..end {
            if self.flights.ahead() >= MOST_AHEAD {
                break;
            }
            self.fetch_ahead(chunk_id(number));
        }
    }
}

#[cfg(test)]
mod tests;
