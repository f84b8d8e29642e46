//! Removing what nothing needs any more.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use block_proto::{Hash, TagRecord};
use block_store::{Entry, Store, StoreError};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::origin::TAG_LIMIT;
use super::{Area, Kind, Lease, Origin, Reach};
use crate::progress::Progress;

/// Objects deleted between two looks at the lease.
const BATCH: usize = 512;
/// Objects deleted at once.
const AT_ONCE: usize = 16;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What to keep.
#[derive(Clone, Debug)]
pub struct GcOptions {
    /// Versions published within this time are kept, tagged or not: overlays pin the version they were made on.
    pub keep: Duration,
    /// Objects written within this time are kept whatever reaches them.
    pub grace: Duration,
    /// The part of the store.
    pub area: Area,
    /// Deletes; otherwise only tells what would go.
    pub delete: bool,
    /// How long to wait for pushes to end.
    pub patience: Duration,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { keep: 180 * DAY, grace: DAY, area: Area::public(), delete: false, patience: Duration::from_secs(900) }
    }
}

/// What was found, and removed if that was wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images that are kept.
    pub images: u64,
    /// Objects that are kept.
    pub kept: u64,
    /// Objects that nothing reaches, but which are too young to go.
    pub young: u64,
    /// Objects that went, or would.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Records of versions, and recorded boots of images, that went or would.
    pub records: u64,
}

/// Removes every object that neither a tag nor a version published within `keep` reaches. Does nothing at all if any of
/// those images cannot be read to its end: what it needs would be unknown.
pub async fn gc(store: &Store, options: &GcOptions, progress: &dyn Progress) -> Result<Collected> {
    let start = Instant::now();
    loop {
        let mut lease = Lease::take(store, &options.area, Kind::Gc).await?;
        let done = match lease.others(Kind::Push).await {
            Ok(pushes) if pushes.is_empty() => collect(store, options, progress, &mut lease).await.map(Some),
            Ok(pushes) if start.elapsed() >= options.patience => Err(anyhow::anyhow!(
                "a push is under way in {} ({}); a lease that was left behind counts for ten minutes",
                store.location(),
                pushes.join(", ")
            )),
            // Ours goes first, or the two would wait for each other.
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        let released = lease.release().await;
        if let Some(collected) = done? {
            released?;
            return Ok(collected);
        }
        released?;
        tokio::time::sleep(Duration::from_secs(2).min(options.patience / 10)).await;
    }
}

async fn collect(store: &Store, options: &GcOptions, progress: &dyn Progress, lease: &mut Lease) -> Result<Collected> {
    let now = lease.store_time();
    let older = |modified: SystemTime, than: Duration| now.duration_since(modified).is_ok_and(|age| age > than);
    let step = progress.step("reading images", None);
    let mut reach = Reach::default();
    let origin = Origin::Store { store: store.clone(), area: options.area.clone() };
    for record in tags(store, &options.area).await? {
        let shown = format!("{}@{}", record.name, record.tag);
        reach
            .add(&origin, record.manifest)
            .await
            .with_context(|| format!("{shown} cannot be read; nothing was removed"))?;
        step.advance(1);
    }
    let mut old_records = Vec::new();
    for entry in list(store, &options.area.key("v")).await? {
        let Some(manifest) = entry.key.rsplit('/').next().and_then(|hex| hex.parse::<Hash>().ok()) else { continue };
        if older(entry.modified, options.keep) {
            // The record stays as long as its objects may.
            if older(entry.modified, options.grace) {
                old_records.push((entry.key, manifest));
            }
        } else {
            let shown = format!("version {manifest}, published lately,");
            reach
                .add(&origin, manifest)
                .await
                .with_context(|| format!("{shown} cannot be read; nothing was removed"))?;
            step.advance(1);
        }
    }
    drop(step);

    let mut collected = Collected { images: reach.images() as u64, ..Collected::default() };
    let mut doomed = Vec::new();
    let step = progress.step("listing objects", None);
    let mut listed = store.list(&options.area.key("o"));
    while let Some(entry) = listed.try_next().await? {
        step.advance(1);
        // What is no object was put there by somebody else, and is theirs.
        let Some(hash) = entry.key.rsplit('/').next().and_then(|hex| hex.parse::<Hash>().ok()) else { continue };
        if reach.has(&hash) {
            collected.kept += 1;
        } else if !older(entry.modified, options.grace) {
            collected.young += 1;
        } else {
            collected.removed += 1;
            collected.removed_bytes += entry.size;
            doomed.push(entry.key);
        }
    }
    drop(step);
    // A version whose objects all stay for another reason keeps its record only while it is young.
    let mut records: Vec<String> =
        old_records.into_iter().filter(|(_, manifest)| !reach.has_image(manifest)).map(|(key, _)| key).collect();
    for entry in list(store, &options.area.key("b")).await? {
        let manifest = entry.key.rsplit('/').next().and_then(|hex| hex.parse::<Hash>().ok());
        if manifest.is_some_and(|manifest| !reach.has_image(&manifest)) && older(entry.modified, options.grace) {
            records.push(entry.key);
        }
    }
    collected.records = records.len() as u64;
    if options.delete {
        let step = progress.step("removing", Some(doomed.len() as u64));
        // Roots before what they name would be better for readers, but nobody can name them any more.
        for batch in doomed.chunks(BATCH).chain(records.chunks(BATCH)) {
            ensure!(lease.keep().await?, "this took too long between two steps; run it again");
            let delete = |key: String| async move { store.delete(&key).await };
            stream::iter(batch.to_vec()).map(delete).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
            step.advance(batch.len() as u64);
        }
    }
    Ok(collected)
}

/// Every tag of a part of a store.
pub(crate) async fn tags(store: &Store, area: &Area) -> Result<Vec<TagRecord>> {
    let mut records = Vec::new();
    for entry in list(store, &area.key("t")).await? {
        let mut parts = entry.key.rsplit('/');
        let (Some(file), Some(name)) = (parts.next(), parts.next()) else { continue };
        let Some(tag) = file.strip_suffix(".json") else { continue };
        let json = match store.get(&entry.key, TAG_LIMIT).await {
            // Removed by somebody since it was listed.
            Err(StoreError::NotFound(_)) => continue,
            read => read?,
        };
        let record = TagRecord::parse(&json, name, tag);
        records.push(record.with_context(|| format!("{} cannot be read; nothing was removed", entry.key))?);
    }
    Ok(records)
}

async fn list(store: &Store, folder: &str) -> Result<Vec<Entry>> {
    Ok(store.list(folder).try_collect().await?)
}
