//! Block devices: what the file systems stand on.
//!
//! A stack of [`BlockDevice`]s: ext2 -> overlay ([`OverlayStore`], what the guest wrote) -> chunk cache -> remote
//! ([`Transport`], verified chunks from a server or a static host). Nothing here knows file systems or the kernel.

mod chunk_cache;
mod device;
mod faulty;
#[cfg(feature = "file")]
mod file;
mod overlay;
mod overlay_store;
mod pages;
mod ram;
pub mod remote;
mod transport;

pub use chunk_cache::{BootRecord, BootTouch, ChunkCache, ChunkCacheStatus, DEFAULT_CACHE_BYTES};
pub use device::{BlockDevice, BlockError, OpGuard};
pub use faulty::Faulty;
#[cfg(feature = "file")]
pub use file::FileDevice;
pub use overlay::{Overlay, OverlayOptions, OverlayState, OverlayStatus, Unstored};
pub use overlay_store::{Batch, Durability, MemoryStore, OverlayStore, PageKey, Shelf};
pub use pages::PAGE_SIZE;
pub use ram::RamDevice;
pub use transport::{CHUNK_SIZE, ChunkId, Transport, Urgency};
