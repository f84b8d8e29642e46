//! Where chunks come from.

use bytes::Bytes;

use crate::BlockError;

/// Bytes in a chunk.
pub const CHUNK_SIZE: usize = 128 * 1024;

/// The number of a chunk within an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkId(pub u32);

/// How much somebody waits for a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A guest task stands still until it arrives.
    Demand,
    /// It will probably be wanted soon.
    Prefetch,
}

/// Fetches verified, uncompressed chunks of one image.
#[expect(async_fn_in_trait, reason = "single-threaded VM: futures are never Send")]
pub trait Transport {
    /// Size of the image in bytes.
    fn image_size(&self) -> u64;
    /// Fetches a chunk, always [`CHUNK_SIZE`] bytes. Loss of the network is waited out.
    async fn fetch(&self, chunk: ChunkId, urgency: Urgency) -> Result<Bytes, BlockError>;
}
