//! Copying an image into a store.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use block_proto::sign::{PublicKey, SecretKey};
use block_proto::{Hash, TagRecord, envelope, valid_name, valid_tag};
use block_store::{Store, StoreError};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Area, ImageObjects, Kind, Lease, Origin, OriginRef};
use crate::progress::{NoProgress, Progress, Step};

/// From so many objects on the store is listed instead of asked for each.
const LIST_FROM: usize = 256;

/// How to push.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Another name than the image has.
    pub name: Option<String>,
    /// The tags to move; by default the one it was named by.
    pub tags: Vec<String>,
    /// The part of the store.
    pub area: Area,
    /// Signs the tags.
    pub secret: Option<SecretKey>,
    /// The source's tag must be signed by this key.
    pub pinned: Option<PublicKey>,
    /// Objects copied at a time.
    pub parallel: usize,
    /// How long to wait for a gc to end.
    pub patience: Duration,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            name: None,
            tags: Vec::new(),
            area: Area::public(),
            secret: None,
            pinned: None,
            parallel: 16,
            patience: Duration::from_secs(900),
        }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image, for ever.
    pub manifest: Hash,
    /// Its objects.
    pub objects: u64,
    /// Those of them that were copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that were there, vanished under way and were copied after all.
    pub restored: u64,
    /// The tags that point at it now.
    pub tags: Vec<String>,
}

/// Copies what the store lacks of an image: chunks, then pages, then the root; then makes sure that all of it is there, and
/// moves the tags. A push that was interrupted goes on where it was when it is repeated.
pub async fn push(
    image: &OriginRef,
    origin: &Origin,
    to: &Store,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let record = origin.record(image).await?;
    if let Some(key) = &options.pinned
        && !record.tag.is_empty()
    {
        key.verify(&record).with_context(|| format!("{image} is not to be trusted"))?;
    }
    let name = options.name.clone().unwrap_or_else(|| record.name.clone());
    ensure!(valid_name(&name), "`{name}` cannot be a name");
    let mut tags = options.tags.clone();
    if tags.is_empty() && !record.tag.is_empty() {
        tags.push(record.tag.clone());
    }
    for tag in &tags {
        ensure!(valid_tag(tag), "`{tag}` cannot be a tag: letters, digits, `.`, `_` and `-`");
    }
    ensure!(!tags.is_empty(), "{image} is named by its manifest: say by which --tag it shall be found");

    // From here on a gc leaves everything alone.
    let mut lease = Lease::take(to, &options.area, Kind::Push).await?;
    let done = copy_and_tag(origin, to, options, progress, &mut lease, record, &name, &tags).await;
    let released = lease.release().await;
    let pushed = done?;
    released?;
    Ok(pushed)
}

#[expect(clippy::too_many_arguments, reason = "the part of `push` for which the lease is held")]
async fn copy_and_tag(
    origin: &Origin,
    to: &Store,
    options: &PushOptions,
    progress: &dyn Progress,
    lease: &mut Lease,
    record: TagRecord,
    name: &str,
    tags: &[String],
) -> Result<Pushed> {
    let image = ImageObjects::read(origin, record.manifest).await?;
    let content = image.content();
    let pages: BTreeSet<Hash> = image.pages.iter().copied().collect();
    let root = BTreeSet::from([image.manifest]);
    let mut copier = Copier { origin, to, area: &options.area, parallel: options.parallel.max(1), copied: 0, bytes: 0 };
    let present = copier.present(&content).await?;
    let missing: Vec<Hash> = content.difference(&present).copied().collect();
    let step = progress.step("copying chunks", Some(missing.len() as u64));
    copier.copy(&missing, &*step, lease).await?;
    drop(step);
    // Whoever finds a page finds its chunks, and whoever finds the root finds its pages.
    for stage in [&pages, &root] {
        let present = copier.present(stage).await?;
        let missing: Vec<Hash> = stage.difference(&present).copied().collect();
        copier.copy(&missing, &*progress.step("copying the manifest", None), lease).await?;
    }

    let everything: BTreeSet<Hash> = content.iter().chain(&pages).chain(&root).copied().collect();
    let restored = settle(&mut copier, &everything, options.patience, progress, lease).await?;
    to_disk(to)?;
    to.put(&options.area.version(name, &image.manifest), bytes::Bytes::from_static(b"{}\n")).await?;
    for tag in tags {
        // A signature is of one name and one tag.
        let sig = record.sig.clone().filter(|_| record.name == name && record.tag == *tag);
        let mut moved = TagRecord { name: name.to_owned(), tag: tag.clone(), sig, ..record.clone() };
        if let Some(secret) = &options.secret {
            secret.sign(&mut moved);
        }
        to.put(&options.area.tag(name, tag), moved.emit().into()).await?;
    }
    Ok(Pushed {
        manifest: image.manifest,
        objects: everything.len() as u64,
        copied: copier.copied,
        copied_bytes: copier.bytes,
        restored,
        tags: tags.to_vec(),
    })
}

/// Waits until no gc is at work, and makes sure that everything is still there after that. From then on a gc that starts
/// sees our lease. Returns how much had to be copied again.
async fn settle(
    copier: &mut Copier<'_>,
    everything: &BTreeSet<Hash>,
    patience: Duration,
    progress: &dyn Progress,
    lease: &mut Lease,
) -> Result<u64> {
    let start = Instant::now();
    let before = copier.copied;
    loop {
        lease.renew().await?;
        let busy = lease.others(Kind::Gc).await?;
        if !busy.is_empty() {
            ensure!(
                start.elapsed() < patience,
                "a gc is at work in {} ({}); try later",
                copier.to.location(),
                busy.join(", ")
            );
            tokio::time::sleep(Duration::from_secs(1).min(patience / 10)).await;
            continue;
        }
        let present = copier.present(everything).await?;
        let vanished: Vec<Hash> = everything.difference(&present).copied().collect();
        copier.copy(&vanished, &*progress.step("copying what vanished", Some(vanished.len() as u64)), lease).await?;
        // A lease that may have run out protected nothing.
        if vanished.is_empty() && lease.keep().await? {
            return Ok(copier.copied - before);
        }
    }
}

/// For an image that was built in the store itself: makes sure that all of it is there, and writes the version down.
pub(crate) async fn confirm(store: &Store, name: &str, manifest: Hash, lease: &mut Lease) -> Result<()> {
    let area = Area::public();
    let origin = Origin::Store { store: store.clone(), area: area.clone() };
    let image = ImageObjects::read(&origin, manifest).await?;
    let everything: BTreeSet<Hash> = image.content().into_iter().chain(image.pages).chain([manifest]).collect();
    let options = PushOptions::default();
    let mut copier =
        Copier { origin: &origin, to: store, area: &area, parallel: options.parallel, copied: 0, bytes: 0 };
    let settled = settle(&mut copier, &everything, options.patience, &NoProgress, lease).await;
    settled.context("objects were removed while the image was built; build it again")?;
    to_disk(store)?;
    Ok(store.put(&area.version(name, &manifest), bytes::Bytes::from_static(b"{}\n")).await?)
}

struct Copier<'a> {
    origin: &'a Origin,
    to: &'a Store,
    area: &'a Area,
    parallel: usize,
    copied: u64,
    bytes: u64,
}

impl Copier<'_> {
    /// Those objects that the store has.
    async fn present(&self, wanted: &BTreeSet<Hash>) -> Result<BTreeSet<Hash>> {
        // A machine that lost power may have left an empty file.
        let whole = |size: u64| size >= envelope::HEADER as u64;
        if wanted.len() < LIST_FROM {
            let ask = |hash: Hash| async move {
                match self.to.head(&self.area.object(&hash)).await {
                    Ok(entry) => Ok(Some(hash).filter(|_| whole(entry.size))),
                    Err(StoreError::NotFound(_)) => Ok(None),
                    Err(error) => Err(anyhow::Error::from(error)),
                }
            };
            let asked = stream::iter(wanted.iter().copied()).map(ask).buffer_unordered(self.parallel);
            return asked.try_filter_map(|found| async move { Ok(found) }).try_collect().await;
        }
        let folders: BTreeSet<String> =
            wanted.iter().map(|hash| self.area.key(&format!("o/{}", &hash.to_string()[..2]))).collect();
        let list = |folder: String| async move {
            let entries: Vec<_> = self.to.list(&folder).try_collect().await?;
            anyhow::Ok(entries)
        };
        let mut listed = stream::iter(folders).map(list).buffer_unordered(self.parallel);
        let mut present = BTreeSet::new();
        while let Some(entries) = listed.try_next().await? {
            let hashes =
                entries.iter().filter(|entry| whole(entry.size)).filter_map(|entry| entry.key.rsplit('/').next());
            present.extend(hashes.filter_map(|hex| hex.parse().ok()).filter(|hash| wanted.contains(hash)));
        }
        Ok(present)
    }

    async fn copy(&mut self, missing: &[Hash], step: &dyn Step, lease: &mut Lease) -> Result<()> {
        let (origin, to, area) = (self.origin, self.to, self.area);
        let copy = |hash: Hash| async move {
            let Some(stored) = origin.stored(hash).await? else { bail!("object {hash} is missing in the source") };
            let bytes = stored.len() as u64;
            to.put(&area.object(&hash), stored).await?;
            anyhow::Ok(bytes)
        };
        let mut copying = stream::iter(missing.iter().copied()).map(copy).buffer_unordered(self.parallel);
        while let Some(bytes) = copying.try_next().await? {
            self.copied += 1;
            self.bytes += bytes;
            step.advance(1);
            // Whether it ran out is seen at the end.
            lease.keep().await?;
        }
        Ok(())
    }
}

/// Makes a directory durable, so that a tag never points at what is not there.
fn to_disk(store: &Store) -> Result<()> {
    if let Some(path) = store.directory() {
        rustix::fs::syncfs(std::fs::File::open(path)?).context("cannot make the store durable")?;
    }
    Ok(())
}
