//! Recorded boots: clients say which chunks a boot touched, the server keeps what many say.
//!
//! What a client says is only believed as far as it can do no harm: chunks beyond the image are dropped, lists are short,
//! and the outcome is a hint for prefetch that everybody verifies anyway. It lies in the store under [`Prefix::boots`], in
//! the form of a manifest's boot profile section; clients use it when the manifest has none, tools bake it in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use block_proto::frame::Touch;
use block_proto::key::{Key, Prefix};
use block_proto::section::{BootProfile, ProfileEntry};
use block_proto::{CHUNK_SIZE, Hash, MAX_OBJECT, Manifest, envelope};
use tracing::{debug, warn};

use crate::access::Grant;
use crate::server::Shared;

/// PROFILE messages a session may send: a long boot does not fit into one.
pub(crate) const FRAMES_PER_SESSION: u16 = 8;
/// Images whose boots are kept in mind at once.
const IMAGES: usize = 256;
/// Chunks of a profile: 64 MiB of disk, more than any boot to a prompt reads.
const CHUNKS: usize = 512;
/// How often what changed is written.
const WRITE_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Image {
    prefix: Prefix,
    manifest: Hash,
}

#[derive(Debug)]
struct Record {
    touches: HashMap<u32, Touched>,
    changed: bool,
    written: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Touched {
    /// A running mean.
    ms: f64,
    runs: u32,
}

/// What was recorded of each image.
#[derive(Default)]
pub(crate) struct Boots {
    images: Mutex<HashMap<Image, Record>>,
}

impl Boots {
    /// Takes one client's word.
    pub(crate) async fn take(&self, shared: &Shared, grant: &Grant, manifest: Hash, touches: Vec<Touch>) {
        let Some((prefix, size)) = image_size(shared, grant, &manifest).await else { return };
        let image = Image { prefix, manifest };
        let known = self.lock().contains_key(&image);
        let stored = if known { None } else { read(shared, &image).await };
        let due = {
            let mut images = self.lock();
            if images.len() >= IMAGES && !images.contains_key(&image) {
                return;
            }
            let record = images.entry(image.clone()).or_insert_with(|| Record::from(stored.unwrap_or_default()));
            record.add(&touches, size);
            record.changed && record.written.elapsed() >= WRITE_EVERY
        };
        shared.metrics.profile_taken();
        if due {
            self.write(shared, &image).await;
        }
    }

    /// Writes what has changed.
    pub(crate) async fn flush(&self, shared: &Shared) {
        let changed: Vec<Image> =
            self.lock().iter().filter(|(_, record)| record.changed).map(|(image, _)| image.clone()).collect();
        for image in changed {
            self.write(shared, &image).await;
        }
    }

    async fn write(&self, shared: &Shared, image: &Image) {
        let profile = {
            let mut images = self.lock();
            let Some(record) = images.get_mut(image) else { return };
            (record.changed, record.written) = (false, Instant::now());
            record.profile()
        };
        // Several servers write over each other: each has a fair sample.
        let written = shared.tiers.store().put(&image.prefix.boots(&image.manifest), profile.emit().into()).await;
        match written {
            Ok(()) => debug!(manifest = %image.manifest, chunks = profile.entries.len(), "recorded boots written"),
            Err(error) => warn!(%error, "recorded boots cannot be written"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Image, Record>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn image_size(shared: &Shared, grant: &Grant, manifest: &Hash) -> Option<(Prefix, u64)> {
    for prefix in &grant.prefixes {
        if let Ok((stored, _)) = shared.tiers.object(std::slice::from_ref(prefix), manifest, true).await {
            let root = envelope::open(&stored.envelope, manifest, MAX_OBJECT).ok()?;
            return Some((prefix.clone(), Manifest::parse(&root).ok()?.image_size));
        }
    }
    None
}

async fn read(shared: &Shared, image: &Image) -> Option<BootProfile> {
    let stored = shared.tiers.record(&image.prefix, &Key::Boots(image.manifest), true).await.ok()?;
    BootProfile::parse(&stored)
}

impl Record {
    fn from(profile: BootProfile) -> Self {
        let touched = |entry: &ProfileEntry| {
            (entry.chunk, Touched { ms: entry.first_touch_ms.into(), runs: u32::from(entry.runs_seen).max(1) })
        };
        let touches = profile.entries.iter().take(CHUNKS).map(touched).collect();
        // The first report is written at once: it is the one that helps most.
        let written = Instant::now().checked_sub(WRITE_EVERY).unwrap_or_else(Instant::now);
        Self { touches, changed: false, written }
    }

    fn add(&mut self, touches: &[Touch], image_size: u64) {
        let chunks = image_size.div_ceil(CHUNK_SIZE as u64);
        for touch in touches.iter().take(CHUNKS).filter(|touch| u64::from(touch.chunk) < chunks) {
            let room = self.touches.len() < 4 * CHUNKS;
            match self.touches.get_mut(&touch.chunk) {
                Some(touched) => {
                    touched.runs = touched.runs.saturating_add(1);
                    touched.ms += (f64::from(touch.ms) - touched.ms) / f64::from(touched.runs.min(64));
                }
                None if room => {
                    self.touches.insert(touch.chunk, Touched { ms: touch.ms.into(), runs: 1 });
                }
                None => {}
            }
            self.changed = true;
        }
    }

    /// The chunks that many boots touch, in the order in which they do. One that only few touch is left to demand.
    fn profile(&self) -> BootProfile {
        let most = self.touches.values().map(|touched| touched.runs).max().unwrap_or(0);
        let mut common: Vec<(u32, Touched)> = self
            .touches
            .iter()
            .filter(|(_, touched)| touched.runs.saturating_mul(3) >= most)
            .map(|(chunk, touched)| (*chunk, *touched))
            .collect();
        common.sort_by(|(a_chunk, a), (b_chunk, b)| a.ms.total_cmp(&b.ms).then(a_chunk.cmp(b_chunk)));
        common.truncate(CHUNKS);
        let entry = |(chunk, touched): (u32, Touched)| ProfileEntry {
            chunk,
            first_touch_ms: touched.ms.clamp(0.0, f64::from(u16::MAX)) as u16,
            runs_seen: u8::try_from(touched.runs).unwrap_or(u8::MAX),
        };
        BootProfile { entries: common.into_iter().map(entry).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touches(list: &[(u32, u16)]) -> Vec<Touch> {
        list.iter().map(|(chunk, ms)| Touch { chunk: *chunk, ms: *ms }).collect()
    }

    #[test]
    fn what_most_boots_touch_is_kept_in_their_order() {
        let mut record = Record::from(BootProfile::default());
        for run in 0..10 {
            record.add(&touches(&[(5, 10 + run), (2, 100), (9, 50)]), 1 << 30);
        }
        record.add(&touches(&[(7, 1)]), 1 << 30);
        let chunks: Vec<u32> = record.profile().entries.iter().map(|entry| entry.chunk).collect();
        assert_eq!(chunks, [5, 9, 2]);
        let again = Record::from(record.profile()).profile();
        assert_eq!(again, record.profile());
    }

    #[test]
    fn liars_cannot_name_what_is_not_there_or_make_it_grow() {
        let mut record = Record::from(BootProfile::default());
        record.add(&touches(&[(8, 1), (u32::MAX, 1)]), 8 * CHUNK_SIZE as u64);
        assert!(record.profile().entries.is_empty() && !record.changed);
        for first in 0..100 {
            let many: Vec<Touch> = (0..600).map(|n| Touch { chunk: first * 600 + n, ms: 0 }).collect();
            record.add(&many, u64::MAX / 2);
        }
        assert!(record.touches.len() <= 4 * CHUNKS);
        assert_eq!(record.profile().entries.len(), CHUNKS);
    }
}
