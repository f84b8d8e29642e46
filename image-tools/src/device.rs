//! An image of a store as a read-only disk, for the file system on it.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use vm_block::remote::Remote;
use vm_block::{BlockDevice, BlockError, CHUNK_SIZE, ChunkId, Transport, Urgency};

/// Chunks kept in memory.
const KEPT: usize = 512;

/// See the module.
pub(crate) struct ImageDevice {
    remote: Remote,
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    chunks: HashMap<u32, Bytes>,
    order: VecDeque<u32>,
}

impl ImageDevice {
    pub(crate) fn new(remote: Remote) -> Self {
        Self { remote, kept: RefCell::default() }
    }

    async fn chunk(&self, number: u32) -> Result<Bytes, BlockError> {
        if let Some(chunk) = self.kept.borrow().chunks.get(&number) {
            return Ok(chunk.clone());
        }
        let chunk = self.remote.fetch(ChunkId(number), Urgency::Demand).await?;
        let mut kept = self.kept.borrow_mut();
        if kept.chunks.insert(number, chunk.clone()).is_none() {
            kept.order.push_back(number);
        }
        if kept.order.len() > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.chunks.remove(&oldest);
        }
        Ok(chunk)
    }
}

impl BlockDevice for ImageDevice {
    fn size(&self) -> u64 {
        self.remote.image_size()
    }

    fn read_only(&self) -> bool {
        true
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let (size, len) = (self.size(), buf.len() as u64);
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(BlockError::OutOfRange { offset, len, size });
        }
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let number = u32::try_from(at / CHUNK_SIZE as u64).unwrap_or(u32::MAX);
            let start = (at % CHUNK_SIZE as u64) as usize;
            let chunk = self.chunk(number).await?;
            let from = chunk.get(start..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (part, later) = rest.split_at_mut(len);
            part.copy_from_slice(from.get(..len).unwrap_or_default());
            rest = later;
            at += len as u64;
        }
        Ok(())
    }

    fn write_now(&self, _offset: u64, _data: &[u8]) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }

    async fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

/// Runs a future over devices that never wait, such as files.
pub(crate) fn run_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        // A future that gave up its turn; nothing else can be awaited here.
        std::thread::yield_now();
    }
}
