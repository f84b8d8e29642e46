//! Block devices: what the file systems stand on.
//!
//! A stack of [`BlockDevice`]s: ext2 -> overlay ([`OverlayStore`], what the guest wrote) -> chunk cache -> remote
//! ([`Transport`], verified chunks from a server or a static host). Nothing here knows file systems or the kernel.

mod device;
mod overlay_store;
pub mod remote;
mod transport;

pub use device::{BlockDevice, BlockError, OpGuard};
pub use overlay_store::{Batch, Durability, OverlayStore, PageKey};
pub use transport::{CHUNK_SIZE, ChunkId, Transport, Urgency};
