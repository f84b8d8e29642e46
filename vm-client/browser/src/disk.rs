//! A disk: an image, a cache of its chunks, and what the guest writes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use vm_block::remote::Touch;
use vm_block::{
    Batch, BlockError, BootRecord, BootTouch, ChunkId, MemoryStore, OverlayOptions, OverlayState, OverlayStore,
    PageKey, Shelf, Transport, Unstored, Urgency,
};
use vm_machine::{DiskOptions, ImageDisk, Machine, MountError};
use vm_rt::{Clock, Timers};

use crate::host::{Host, PageStore};
use crate::image::Image;
use crate::overlay::IndexedDbStore;

/// A login touches 9 MiB of chunks; a tab should stay small.
const MEMORY: DiskOptions =
    DiskOptions { cache_bytes: 16 << 20, overlay: OverlayOptions { dirty_bytes: 16 << 20, clean_bytes: 8 << 20 } };

/// How often it is looked whether a boot is over.
const BOOT_LOOK: Duration = Duration::from_secs(1);

/// An opened disk.
pub struct Disk {
    image: Image,
    overlay: ImageDisk<Watched, Pages>,
    time: (Timers, Rc<dyn Clock>),
    told: RefCell<OverlayState>,
}

impl Disk {
    /// Puts changes over an image: those of `pages`, or new ones that are kept in memory. The work behind it runs in the
    /// machine's turns.
    pub async fn open(
        machine: &Machine,
        image: Image,
        pages: Option<PageStore>,
        meter: &Rc<Meter>,
        time: (Timers, Rc<dyn Clock>),
    ) -> Result<Self, BlockError> {
        let watched = Watched { image: image.clone(), meter: Rc::clone(meter) };
        let identity = image.identity();
        let store = match pages {
            Some(pages) => Pages::IndexedDb(IndexedDbStore::new(pages)?),
            None => Pages::Memory(MemoryStore::open(&Shelf::unlogged(), identity)),
        };
        let overlay = machine.put_overlay(watched, identity, store, MEMORY, time.clone()).await?;
        Ok(Self { image, overlay, time, told: RefCell::new(OverlayState::Healthy) })
    }

    /// Mounts it; as a machine's root it also fetches what a boot needs, and what this one reads is told to a store that collects it.
    pub async fn mount_on(&self, machine: &Rc<Machine>, point: &str) -> Result<(), MountError> {
        if point != "/" {
            return machine.mount_disk(point, Rc::clone(&self.overlay)).await;
        }
        let (image, overlay) = (self.image.clone(), Rc::clone(&self.overlay));
        machine.spawn(async move {
            // An image without a profile, or with a damaged one, starts all the same.
            if let Ok(profile) = image.boot_profile().await {
                overlay.base().prefetch(profile.entries.iter().map(|entry| ChunkId(entry.chunk))).await;
            }
        });
        let (image, overlay, (timers, clock)) = (self.image.clone(), Rc::clone(&self.overlay), self.time.clone());
        overlay.base().record(BootRecord::new(Rc::clone(&clock)));
        machine.spawn(async move {
            while !overlay.base().boot_is_over() {
                timers.sleep_until(clock.monotonic() + BOOT_LOOK).await;
            }
            let touches = overlay.base().take_record().into_iter().map(touch).collect();
            image.report_boot(touches);
        });
        machine.mount_root(Rc::clone(&self.overlay)).await
    }

    /// Bytes of pages that differ from the image.
    pub fn written_bytes(&self) -> u64 {
        let status = self.overlay.status();
        status.stored_bytes + status.unstored_bytes
    }

    /// What is not stored, and must be carried along with what is: everything, where changes are kept in memory only.
    pub fn unsaved(&self) -> impl Future<Output = Result<Unstored, BlockError>> + use<> {
        let overlay = Rc::clone(&self.overlay);
        async move {
            let Pages::Memory(store) = overlay.store() else { return overlay.unstored().await };
            overlay.commit_now().await?;
            let keys = store.keys().await?;
            let pages = store.load(&keys).await?;
            let put = keys.into_iter().zip(pages).filter_map(|(key, page)| Some((key, page?))).collect();
            Ok(Unstored { put, delete: Vec::new() })
        }
    }

    /// The number of the session that owns the stored changes; `None` where they are kept in memory.
    pub fn epoch(&self) -> Option<u64> {
        match self.overlay.store() {
            Pages::IndexedDb(store) => Some(store.epoch()),
            Pages::Memory(_) => None,
        }
    }

    /// Asks for a commit without delay.
    pub fn commit_soon(&self) {
        self.overlay.request_commit();
    }

    /// Tells a person when changes can no longer be stored, once for each reason.
    pub fn tell_trouble(&self, host: &Host) {
        let state = self.overlay.status().state;
        if *self.told.borrow() == state {
            return;
        }
        match &state {
            OverlayState::Healthy => host.notice("overlay-well", "changes are stored again"),
            OverlayState::Retrying(BlockError::StoreFull) => host.notice(
                "overlay-full",
                "The browser has no room for more changes. Remove files in the guest or free disk space, then it goes on.",
            ),
            OverlayState::ReadOnly(BlockError::Fenced) => host.notice(
                "overlay-lost",
                "Another tab took over this disk, or its data was cleared. Nothing more is stored here: reload this tab.",
            ),
            OverlayState::Retrying(error) => host.notice("overlay-trouble", &format!("Storing changes failed and is tried again: {error}")),
            OverlayState::ReadOnly(error) => host.notice(
                "overlay-lost",
                &format!("Changes can no longer be stored ({error}). The disk is read-only now: reload this tab."),
            ),
        }
        *self.told.borrow_mut() = state;
    }
}

/// As the protocol writes it: up to a minute in milliseconds.
fn touch(BootTouch { chunk, after }: BootTouch) -> Touch {
    Touch { chunk: chunk.0, ms: u16::try_from(after.as_millis()).unwrap_or(u16::MAX) }
}

/// Where changes are kept.
enum Pages {
    IndexedDb(IndexedDbStore),
    Memory(MemoryStore),
}

impl OverlayStore for Pages {
    fn epoch(&self) -> u64 {
        match self {
            Self::IndexedDb(store) => store.epoch(),
            Self::Memory(store) => store.epoch(),
        }
    }

    async fn keys(&self) -> Result<Vec<PageKey>, BlockError> {
        match self {
            Self::IndexedDb(store) => store.keys().await,
            Self::Memory(store) => store.keys().await,
        }
    }

    async fn load(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, BlockError> {
        match self {
            Self::IndexedDb(store) => store.load(keys).await,
            Self::Memory(store) => store.load(keys).await,
        }
    }

    async fn commit(&self, batch: Batch) -> Result<(), BlockError> {
        match self {
            Self::IndexedDb(store) => store.commit(batch).await,
            Self::Memory(store) => store.commit(batch).await,
        }
    }

    fn room(&self) -> Option<u64> {
        match self {
            Self::IndexedDb(store) => store.room(),
            Self::Memory(store) => store.room(),
        }
    }
}

/// The image, measured, its failures told to a person.
struct Watched {
    image: Image,
    meter: Rc<Meter>,
}

impl Transport for Watched {
    fn image_size(&self) -> u64 {
        self.image.image_size()
    }

    async fn fetch(&self, chunk: ChunkId, urgency: Urgency) -> Result<Bytes, BlockError> {
        let reading = (urgency == Urgency::Demand).then(|| Reading::begin(&self.meter));
        let fetched = self.image.fetch(chunk, urgency).await;
        match &fetched {
            Ok(_) => {
                self.meter.chunks.set(self.meter.chunks.get() + 1);
                if let Some(reading) = reading {
                    reading.finished();
                }
            }
            Err(error) => {
                let text =
                    format!("{error}. Programs that need it get an error; the rest of the disk is not affected.");
                self.meter.host.notice("image-corrupt", &text);
            }
        }
        fetched
    }
}

/// What reads from the server cost.
pub struct Meter {
    host: Host,
    waiting: Cell<u64>,
    chunks: Cell<u64>,
    latency_ms: Cell<f64>,
}

impl Meter {
    /// Nothing read yet.
    pub fn new(host: &Host) -> Self {
        Self { host: host.clone(), waiting: Cell::default(), chunks: Cell::default(), latency_ms: Cell::default() }
    }

    /// Reads that somebody waits for now.
    pub fn waiting(&self) -> u64 {
        self.waiting.get()
    }

    /// Chunks that arrived.
    pub fn chunks(&self) -> u64 {
        self.chunks.get()
    }

    /// Mean time of the last reads in milliseconds, the newest counting most; 0 before the first.
    pub fn latency_ms(&self) -> f64 {
        self.latency_ms.get()
    }
}

/// A read under way, counted until it is dropped.
struct Reading<'a> {
    meter: &'a Meter,
    since_ms: f64,
}

impl<'a> Reading<'a> {
    fn begin(meter: &'a Meter) -> Self {
        meter.waiting.set(meter.waiting.get() + 1);
        if meter.waiting.get() == 1 {
            meter.host.event("diskActivity", &"wait".into());
        }
        Self { meter, since_ms: meter.host.now() }
    }

    fn finished(&self) {
        let took = Duration::try_from_secs_f64((self.meter.host.now() - self.since_ms) / 1000.0).unwrap_or_default();
        let took = took.as_secs_f64() * 1000.0;
        let mean = self.meter.latency_ms.get();
        self.meter.latency_ms.set(if mean == 0.0 { took } else { mean + (took - mean) / 16.0 });
        self.meter.host.event("diskLatency", &took.into());
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.meter.waiting.set(self.meter.waiting.get() - 1);
        if self.meter.waiting.get() == 0 {
            self.meter.host.event("diskActivity", &"ready".into());
        }
    }
}
