//! In how much two images differ.

use std::collections::BTreeSet;

use anyhow::Result;
use block_proto::{CHUNK_SIZE, Hash};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use super::{ImageObjects, Origin, OriginRef};
use crate::progress::Progress;

/// Chunks compared at once.
const AT_ONCE: usize = 16;

/// The difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Bytes of the first disk.
    pub size_before: u64,
    /// Bytes of the second.
    pub size_after: u64,
    /// Chunks of the second disk that are not zeros.
    pub chunks: u64,
    /// Chunks that differ from what lies at the same place of the first disk.
    pub changed_chunks: u64,
    /// Bytes that do.
    pub changed_bytes: u64,
    /// Different chunks of the second disk that the first has nowhere: what somebody who has the first must fetch.
    pub new_chunks: u64,
    /// Bytes that they take in the store.
    pub new_stored_bytes: u64,
}

impl Difference {
    /// Share of the second disk's chunks that are new.
    pub fn new_share(&self) -> f64 {
        self.new_chunks as f64 / self.chunks.max(1) as f64
    }
}

/// Compares two images, each read from its own store.
pub async fn diff(
    before: (&OriginRef, &Origin),
    after: (&OriginRef, &Origin),
    progress: &dyn Progress,
) -> Result<Difference> {
    let read = async |(image, origin): (&OriginRef, &Origin)| {
        let record = origin.record(image).await?;
        ImageObjects::read(origin, record.manifest).await
    };
    let (one, two) = (read(before).await?, read(after).await?);
    let had: BTreeSet<Hash> = one.chunks.iter().flatten().copied().collect();
    let has: BTreeSet<Hash> = two.chunks.iter().flatten().copied().collect();
    let places = one.chunks.len().max(two.chunks.len());
    let at = |chunks: &[Option<Hash>], place: usize| chunks.get(place).copied().flatten();
    let changed: Vec<(Option<Hash>, Option<Hash>)> = (0..places)
        .map(|place| (at(&one.chunks, place), at(&two.chunks, place)))
        .filter(|(one, two)| one != two)
        .collect();
    let mut difference = Difference {
        size_before: one.size,
        size_after: two.size,
        chunks: two.chunks.iter().flatten().count() as u64,
        changed_chunks: changed.len() as u64,
        new_chunks: has.difference(&had).count() as u64,
        ..Difference::default()
    };

    let step = progress.step("comparing chunks", Some(changed.len() as u64));
    let compare = |(one, two): (Option<Hash>, Option<Hash>)| async move {
        let (one, two) = (content(before.1, one).await?, content(after.1, two).await?);
        anyhow::Ok(one.iter().zip(&two).filter(|(one, two)| one != two).count() as u64)
    };
    let mut compared = stream::iter(changed).map(compare).buffer_unordered(AT_ONCE);
    while let Some(bytes) = compared.try_next().await? {
        difference.changed_bytes += bytes;
        step.advance(1);
    }
    let new: Vec<Hash> = has.difference(&had).copied().collect();
    let weigh = |hash: Hash| async move {
        let stored = after.1.get(&after.1.object_key(&hash), block_proto::MAX_OBJECT as u64).await?;
        anyhow::Ok(stored.map_or(0, |stored| stored.len() as u64))
    };
    let weights: Vec<u64> = stream::iter(new).map(weigh).buffer_unordered(AT_ONCE).try_collect().await?;
    difference.new_stored_bytes = weights.iter().sum();
    Ok(difference)
}

async fn content(origin: &Origin, hash: Option<Hash>) -> Result<Vec<u8>> {
    Ok(match hash {
        Some(hash) => origin.object(hash).await?.to_vec(),
        None => vec![0; CHUNK_SIZE],
    })
}
