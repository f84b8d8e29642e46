//! Where written pages are kept.

use bytes::Bytes;

use crate::BlockError;

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
#[expect(async_fn_in_trait, reason = "single-threaded VM: futures are never Send")]
pub trait OverlayStore {
    /// The epoch this session holds, taken when the store was opened.
    fn epoch(&self) -> u64;
    /// Every page the store has.
    async fn keys(&self) -> Result<Vec<PageKey>, BlockError>;
    /// Reads pages; in the order asked, `None` for one that is absent.
    async fn load(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, BlockError>;
    /// Applies a batch atomically.
    async fn commit(&self, batch: Batch) -> Result<(), BlockError>;
    /// Bytes that can still be stored, if known.
    fn room(&self) -> Option<u64> {
        None
    }
}
