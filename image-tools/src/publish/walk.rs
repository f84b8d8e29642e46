//! What an image consists of.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use block_proto::section::BundleList;
use block_proto::{Hash, Manifest, Page, SectionKind};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Origin;

/// Pages read at once.
const AT_ONCE: usize = 16;

/// The objects of one image.
#[derive(Clone, Debug)]
pub struct ImageObjects {
    /// The root.
    pub manifest: Hash,
    /// Bytes of the disk.
    pub size: u64,
    /// Pages that are stored, in order.
    pub pages: Vec<Hash>,
    /// The chunks of the disk in order; `None` for zeros.
    pub chunks: Vec<Option<Hash>>,
    /// Sections, and what they name.
    pub others: Vec<Hash>,
}

impl ImageObjects {
    /// Reads root, pages and sections.
    pub async fn read(origin: &Origin, manifest: Hash) -> Result<Self> {
        let root = Manifest::parse(&origin.object(manifest).await?).with_context(|| format!("manifest {manifest}"))?;
        let mut others = Vec::new();
        for section in &root.sections {
            others.push(section.hash);
            if section.kind == SectionKind::BundleList {
                let list = BundleList::parse(&origin.object(section.hash).await?);
                let list = list.with_context(|| format!("section {} is no list of bundles", section.hash))?;
                others.extend(list.entries.iter().map(|entry| entry.hash));
            }
        }
        let read = |hash: Hash| async move {
            let page = if hash == Page::empty_hash() {
                Page::empty()
            } else {
                let object = origin.object(hash).await?;
                Page::parse(object).with_context(|| format!("{hash} is no page of a manifest"))?
            };
            anyhow::Ok((hash, page))
        };
        let read: Vec<(Hash, Page)> =
            stream::iter(root.pages.clone()).map(read).buffered(AT_ONCE).try_collect().await?;
        let count = root.chunk_count() as usize;
        let mut chunks: Vec<Option<Hash>> = Vec::with_capacity(count);
        for (_, page) in &read {
            chunks.extend((0..block_proto::PAGE_CHUNKS).map(|index| page.chunk(index)));
        }
        chunks.truncate(count);
        let pages = read.into_iter().map(|(hash, _)| hash).filter(|hash| *hash != Page::empty_hash()).collect();
        Ok(Self { manifest, size: root.image_size, pages, chunks, others })
    }

    /// Everything but pages and root, each once.
    pub fn content(&self) -> BTreeSet<Hash> {
        self.chunks.iter().flatten().chain(&self.others).copied().collect()
    }
}

/// All objects that some images reach.
#[derive(Debug, Default)]
pub struct Reach {
    objects: BTreeSet<Hash>,
    manifests: BTreeSet<Hash>,
}

impl Reach {
    /// Adds an image.
    pub async fn add(&mut self, origin: &Origin, manifest: Hash) -> Result<()> {
        if self.manifests.insert(manifest) {
            let image = ImageObjects::read(origin, manifest).await?;
            self.objects.insert(manifest);
            self.objects.extend(image.content());
            self.objects.extend(image.pages);
        }
        Ok(())
    }

    /// Whether an object is needed.
    pub fn has(&self, hash: &Hash) -> bool {
        self.objects.contains(hash)
    }

    /// Whether an image is needed.
    pub fn has_image(&self, manifest: &Hash) -> bool {
        self.manifests.contains(manifest)
    }

    /// Images.
    pub fn images(&self) -> usize {
        self.manifests.len()
    }
}
