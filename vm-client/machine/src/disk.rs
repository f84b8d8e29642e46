//! The disk stack of an image: remote chunks, chunk cache, overlay.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use vm_block::remote::{ImageRef, Network, OpenError, OpenOptions, Remote, RemoteHost};
use vm_block::{BlockError, ChunkCache, DEFAULT_CACHE_BYTES, Overlay, OverlayOptions, OverlayStore, Transport};
use vm_kernel::Kernel;
use vm_rt::{Clock, Timers};

use crate::Machine;

/// An image with what the guest wrote on top.
pub type ImageDisk<T, S> = Rc<Overlay<ChunkCache<T>, S>>;

/// How much of a disk is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// Bytes of chunks.
    pub cache_bytes: usize,
    /// Written pages.
    pub overlay: OverlayOptions,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { cache_bytes: DEFAULT_CACHE_BYTES, overlay: OverlayOptions::default() }
    }
}

/// Why an image could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenDiskError {
    /// The image cannot be had.
    Image(OpenError),
    /// Its overlay cannot be used.
    Overlay(BlockError),
}

impl fmt::Display for OpenDiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => write!(f, "{error}"),
            Self::Overlay(error) => write!(f, "the overlay cannot be used: {error}"),
        }
    }
}

impl std::error::Error for OpenDiskError {}

/// Guest time as a clock for the disk stack, which shares the kernel's timers.
struct KernelClock(Rc<Kernel>);

impl Clock for KernelClock {
    fn monotonic(&self) -> Duration {
        self.0.now_monotonic()
    }

    fn realtime(&self) -> Duration {
        self.0.now_realtime().to_duration()
    }
}

impl Machine {
    /// A clock that goes with [`Machine::timers`]: guest time.
    pub fn clock(&self) -> Rc<dyn Clock> {
        Rc::new(KernelClock(Rc::clone(self.kernel())))
    }

    /// Timers that the machine fires in its turns.
    pub fn timers(&self) -> Timers {
        self.kernel().timers.clone()
    }

    /// Opens an image of a store and puts an overlay over it. `open_store` gets the hash of the manifest, to which the overlay
    /// is bound. All background work runs in the machine's turns.
    pub async fn open_image<N: Network + 'static, S: OverlayStore + 'static>(
        &self,
        network: Rc<N>,
        image: &ImageRef,
        options: OpenOptions,
        open_store: impl AsyncFnOnce([u8; 32]) -> Result<S, BlockError>,
    ) -> Result<ImageDisk<Remote, S>, OpenDiskError> {
        let host = RemoteHost { network, clock: self.clock(), timers: self.timers() };
        let (remote, background) = Remote::open(&host, image, options).await.map_err(OpenDiskError::Image)?;
        self.spawn(background);
        let identity = *remote.manifest_hash().as_bytes();
        let store = open_store(identity).await.map_err(OpenDiskError::Overlay)?;
        let time = (self.timers(), self.clock());
        let disk = self.put_overlay(remote, identity, store, DiskOptions::default(), time).await;
        disk.map_err(OpenDiskError::Overlay)
    }

    /// Puts an overlay over an open image; it is bound to the image's identity. What is written is stored by the timers and
    /// the clock given: guest time stands still while the machine is not run.
    pub async fn put_overlay<T: Transport + 'static, S: OverlayStore + 'static>(
        &self,
        image: T,
        identity: [u8; 32],
        store: S,
        options: DiskOptions,
        (timers, clock): (Timers, Rc<dyn Clock>),
    ) -> Result<ImageDisk<T, S>, BlockError> {
        let cache = ChunkCache::new(image, options.cache_bytes);
        let overlay = Rc::new(Overlay::open(cache, identity, store, options.overlay).await?);
        let prefetcher = Rc::clone(&overlay);
        self.spawn(async move { prefetcher.base().run().await });
        let writer = Rc::clone(&overlay);
        self.spawn(async move { writer.run_writeback(timers, clock).await });
        Ok(overlay)
    }
}
