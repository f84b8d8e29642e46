//! The trait every disk implements.

use std::ops::Range;
use std::rc::Rc;

use crate::ChunkId;

/// Why a disk operation failed. Loss of the network is not among them: such a read waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The range is not on the device.
    #[error("range {offset}+{len} is beyond the device's {size} bytes")]
    OutOfRange {
        /// First byte wanted.
        offset: u64,
        /// Bytes wanted.
        len: u64,
        /// Bytes the device has.
        size: u64,
    },
    /// The device cannot be written.
    #[error("device is read-only")]
    ReadOnly,
    /// A chunk did not match its hash, from every source and after retries.
    #[error("chunk {} of the image is corrupt: {reason}", chunk.0)]
    Corrupt {
        /// The chunk.
        chunk: ChunkId,
        /// What was tried and seen.
        reason: String,
    },
    /// A chunk is verifiably absent from every source.
    #[error("chunk {} of the image is missing: {reason}", chunk.0)]
    Missing {
        /// The chunk.
        chunk: ChunkId,
        /// What was tried and seen.
        reason: String,
    },
    /// The overlay store has no room.
    #[error("no room for written data")]
    StoreFull,
    /// The overlay holds changes to another image.
    #[error("the changes were made on image {made_on}, not on {opened_on}")]
    WrongBase {
        /// Manifest hash of the image they were made on.
        made_on: String,
        /// Manifest hash of the image they were opened on.
        opened_on: String,
    },
    /// Another session took over the overlay.
    #[error("the overlay was taken over by another session")]
    Fenced,
    /// The store under the device failed.
    #[error("{0}")]
    Store(String),
}

/// Held while a file-system operation changes pages. A commit to the overlay is cut only when none is held, so it always
/// is a snapshot between operations.
#[must_use]
pub struct OpGuard {
    on_drop: Option<Rc<dyn Fn()>>,
}

impl OpGuard {
    /// A guard for devices that need none.
    pub fn none() -> Self {
        Self { on_drop: None }
    }

    /// A guard that tells the device when it is dropped.
    pub fn new(on_drop: Rc<dyn Fn()>) -> Self {
        Self { on_drop: Some(on_drop) }
    }
}

impl Drop for OpGuard {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

/// A disk.
///
/// The transaction rule of the file systems above: first read everything an operation needs (these calls may await and may
/// be dropped), then take [`begin`](BlockDevice::begin) and change pages with [`write_now`](BlockDevice::write_now), which
/// never waits, without an await in between, then drop the guard.
#[expect(async_fn_in_trait, reason = "single-threaded VM: futures are never Send")]
pub trait BlockDevice {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Whether writes are refused.
    fn read_only(&self) -> bool {
        false
    }

    /// Reads exactly `buf.len()` bytes, waiting for the network if need be.
    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError>;

    /// Reads without waiting; `None` when it would have to wait.
    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), BlockError>> {
        let _ = (offset, buf);
        None
    }

    /// Waits until the device can take `bytes` more of written data (dirty memory is capped) and whether the store has
    /// room for it. Called before `begin`, never inside an operation.
    async fn reserve(&self, bytes: u64) -> Result<(), BlockError> {
        let _ = bytes;
        Ok(())
    }

    /// The same for an operation that writes no file's data: such as frees room are among these, and go through when a store
    /// is full, while memory lasts.
    async fn reserve_metadata(&self, bytes: u64) -> Result<(), BlockError> {
        self.reserve(bytes).await
    }

    /// Changes bytes in memory at once; they reach the store with a later commit. `offset` and length must be multiples
    /// of 1024 (the smallest ext2 block).
    fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), BlockError>;

    /// Waits until everything written before is durable (a `strict` commit).
    async fn flush(&self) -> Result<(), BlockError>;

    /// Opens an operation; see the trait's rule.
    fn begin(&self) -> OpGuard {
        OpGuard::none()
    }

    /// Tells that these bytes are no longer used; they read as anything afterwards.
    fn discard(&self, freed: Range<u64>) {
        let _ = freed;
    }

    /// Tells that these bytes will be read soon.
    fn advise(&self, soon: Range<u64>) {
        let _ = soon;
    }
}

impl<D: BlockDevice + ?Sized> BlockDevice for Rc<D> {
    fn size(&self) -> u64 {
        (**self).size()
    }
    fn read_only(&self) -> bool {
        (**self).read_only()
    }
    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        (**self).read_at(offset, buf).await
    }
    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), BlockError>> {
        (**self).read_now(offset, buf)
    }
    async fn reserve(&self, bytes: u64) -> Result<(), BlockError> {
        (**self).reserve(bytes).await
    }

    async fn reserve_metadata(&self, bytes: u64) -> Result<(), BlockError> {
        (**self).reserve_metadata(bytes).await
    }
    fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        (**self).write_now(offset, data)
    }
    async fn flush(&self) -> Result<(), BlockError> {
        (**self).flush().await
    }
    fn begin(&self) -> OpGuard {
        (**self).begin()
    }
    fn discard(&self, freed: Range<u64>) {
        (**self).discard(freed);
    }
    fn advise(&self, soon: Range<u64>) {
        (**self).advise(soon);
    }
}
