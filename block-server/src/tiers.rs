//! Where objects come from: memory, then a disk cache, then the store.
//!
//! - Every object is opened and verified once when it enters a tier, and again when it comes back from a disk. What fails is
//!   a miss there and is counted; an object that is wrong in the store itself is [`ReadError::Corrupt`].
//! - One read however many wait ([`moka`]'s single flight), per object and prefix: a tenant's objects share nothing with
//!   anybody's, not even the memory of what is absent.
//! - Only objects are kept. Errors are answered and forgotten.
//! - [`Tiers::fresh`] throws away what the caches have, reads the store, verifies, and puts that back.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use block_proto::frame::Tier;
use block_proto::key::{Key, Prefix};
use block_proto::{Hash, MAX_OBJECT, ReadError, envelope, http};
use block_store::{Store, StoreError};
use bytes::Bytes;
use moka::future::Cache;
use tracing::{error, warn};

use crate::metrics::Metrics;
use origin::Origin;

mod disk;
mod origin;
#[cfg(test)]
mod tests;

pub(crate) use disk::DiskCache;
pub use disk::DiskCacheConfig;
pub use origin::Hedge;

/// How long a tag of a remote store is believed: long enough that a class booting at once is one read of it.
const TAG_AGE: Duration = Duration::from_secs(2);
/// A tag record is a few hundred bytes.
const TAG_LIMIT: u64 = 64 * 1024;
/// What an entry costs in memory besides its bytes.
const ENTRY_OVERHEAD: usize = 256;

/// An object by the prefix it lives under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ObjectKey {
    pub(crate) prefix: Prefix,
    pub(crate) hash: Hash,
}

/// An object as it is stored, verified.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) envelope: Bytes,
    /// Computed once; see [`http::etag`].
    pub(crate) etag: HeaderValue,
}

/// The tiers of a server.
pub(crate) struct Tiers {
    origin: Origin,
    memory: Cache<ObjectKey, Arc<Stored>>,
    disk: Option<DiskCache>,
    tags: Option<Cache<String, Bytes>>,
    metrics: Arc<Metrics>,
}

impl Tiers {
    pub(crate) fn new(
        store: Store,
        memory_bytes: u64,
        disk: Option<DiskCache>,
        hedge: Hedge,
        metrics: Arc<Metrics>,
    ) -> Self {
        let weigh = |_: &ObjectKey, stored: &Arc<Stored>| {
            u32::try_from(stored.envelope.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
        };
        // TinyLFU: reading one image from end to end does not push out what every boot needs.
        let memory = Cache::builder()
            .max_capacity(memory_bytes)
            .weigher(weigh)
            .eviction_policy(moka::policy::EvictionPolicy::tiny_lfu())
            .build();
        let tags = store.is_remote().then(|| Cache::builder().max_capacity(10_000).time_to_live(TAG_AGE).build());
        Self { origin: Origin::new(store, hedge, Arc::clone(&metrics)), memory, disk, tags, metrics }
    }

    /// Reads an object of the first prefix that has it.
    pub(crate) async fn object(
        &self,
        prefixes: &[Prefix],
        hash: &Hash,
        demand: bool,
    ) -> Result<(Arc<Stored>, Tier), ReadError> {
        let mut found = Err(ReadError::NotFound);
        for prefix in prefixes {
            found = self.object_of(&ObjectKey { prefix: prefix.clone(), hash: *hash }, demand).await;
            if !matches!(found, Err(ReadError::NotFound)) {
                break;
            }
        }
        found
    }

    async fn object_of(&self, key: &ObjectKey, demand: bool) -> Result<(Arc<Stored>, Tier), ReadError> {
        if let Some(stored) = self.memory.get(key).await {
            self.metrics.found("memory");
            return Ok((stored, Tier::Memory));
        }
        // Waited for outside of the flight, so that demand for the same object does not stand behind prefetch.
        let _turn = if demand { None } else { self.origin.prefetch_turn().await };
        let mut tier = Tier::Memory;
        let load = async {
            let (stored, from) = self.load(key).await?;
            tier = from;
            Ok(stored)
        };
        let loaded = self.memory.try_get_with_by_ref(key, load).await;
        let stored = loaded.map_err(|error: Arc<ReadError>| ReadError::clone(&error))?;
        if tier == Tier::Memory {
            self.metrics.found("memory");
        }
        Ok((stored, tier))
    }

    /// Reads past the caches and puts right what they had.
    pub(crate) async fn fresh(&self, prefixes: &[Prefix], hash: &Hash) -> Result<(Arc<Stored>, Tier), ReadError> {
        let mut found = Err(ReadError::NotFound);
        for prefix in prefixes {
            found = self.fresh_of(&ObjectKey { prefix: prefix.clone(), hash: *hash }).await;
            if !matches!(found, Err(ReadError::NotFound)) {
                break;
            }
        }
        found
    }

    async fn fresh_of(&self, key: &ObjectKey) -> Result<(Arc<Stored>, Tier), ReadError> {
        // Taken out first: whoever asks meanwhile waits for the store, too.
        let in_memory = self.memory.remove(key).await.map(|stored| stored.envelope.clone());
        let on_disk = match &self.disk {
            Some(disk) => disk.take(key).await,
            None => None,
        };
        let mut good = None;
        for (tier, envelope) in [("memory", in_memory), ("disk", on_disk)] {
            match envelope.map(|envelope| verify(envelope, &key.hash)) {
                Some(Ok(stored)) => good = good.or(Some((stored, tier))),
                Some(Err(reason)) => self.wrong(tier, key, &reason),
                None => {}
            }
        }
        let read = self.read_origin(key).await;
        let (stored, tier) = match (read, good) {
            (Ok(stored), _) => (stored, Tier::Origin),
            // The store fails, but what we had has just been verified anew: better than nothing, and true.
            (Err(_), Some((stored, tier))) => (stored, if tier == "memory" { Tier::Memory } else { Tier::Cache }),
            (Err(error), None) => return Err(error),
        };
        self.keep_on_disk(key, &stored);
        self.memory.insert(key.clone(), Arc::clone(&stored)).await;
        Ok((stored, tier))
    }

    async fn load(&self, key: &ObjectKey) -> Result<(Arc<Stored>, Tier), ReadError> {
        if let Some(disk) = &self.disk
            && let Some(envelope) = disk.get(key).await
        {
            match verify(envelope, &key.hash) {
                Ok(stored) => {
                    self.metrics.found("disk");
                    return Ok((stored, Tier::Cache));
                }
                Err(reason) => {
                    self.wrong("disk", key, &reason);
                    disk.take(key).await;
                }
            }
        }
        let stored = self.read_origin(key).await?;
        self.keep_on_disk(key, &stored);
        Ok((stored, Tier::Origin))
    }

    async fn read_origin(&self, key: &ObjectKey) -> Result<Arc<Stored>, ReadError> {
        let path = key.prefix.object(&key.hash);
        let mut wrong = String::new();
        // Bytes can go wrong on the way from a store that has them right.
        for _ in 0..2 {
            let envelope = self.origin.read(&path, MAX_OBJECT as u64).await.map_err(|error| self.read_error(error))?;
            match verify(envelope, &key.hash) {
                Ok(stored) => {
                    self.metrics.found("origin");
                    return Ok(stored);
                }
                Err(reason) => wrong = reason,
            }
        }
        self.wrong("origin", key, &wrong);
        Err(ReadError::Corrupt)
    }

    /// Reads something else of the store: a tag record, recorded boots.
    pub(crate) async fn record(&self, prefix: &Prefix, key: &Key, fresh: bool) -> Result<Bytes, ReadError> {
        let path = match key {
            Key::Object(_) => return Err(ReadError::NotFound),
            Key::Tag { name, tag } => prefix.tag(name, tag),
            Key::Boots(manifest) => prefix.boots(manifest),
        };
        let read = async { self.origin.read(&path, TAG_LIMIT).await.map_err(|error| self.read_error(error)) };
        match &self.tags {
            Some(tags) if !fresh => {
                let record = tags.try_get_with_by_ref(&path, read).await;
                record.map_err(|error: Arc<ReadError>| ReadError::clone(&error))
            }
            _ => read.await,
        }
    }

    /// The store itself, for what is written.
    pub(crate) fn store(&self) -> &Store {
        self.origin.store()
    }

    fn keep_on_disk(&self, key: &ObjectKey, stored: &Stored) {
        if let Some(disk) = &self.disk {
            disk.put(key, stored.envelope.clone());
        }
    }

    fn wrong(&self, tier: &'static str, key: &ObjectKey, reason: &str) {
        self.metrics.wrong(tier);
        warn!(tier, hash = %key.hash, reason, "an object is not what it should be");
    }

    fn read_error(&self, error: StoreError) -> ReadError {
        match error {
            StoreError::NotFound(_) => ReadError::NotFound,
            StoreError::TooLarge { .. } => ReadError::Corrupt,
            other => {
                error!(error = %other, "the store failed");
                // Where and how is of no use to a client and none of its business.
                ReadError::Upstream("the store cannot be read".to_owned())
            }
        }
    }

    /// Puts bytes into memory unverified, as broken memory would: for tests.
    pub(crate) async fn spoil(&self, prefix: &Prefix, hash: &Hash, envelope: Bytes) {
        let key = ObjectKey { prefix: prefix.clone(), hash: *hash };
        let etag = HeaderValue::from_static("\"spoilt\"");
        self.memory.insert(key, Arc::new(Stored { envelope, etag })).await;
    }
}

fn verify(envelope: Bytes, hash: &Hash) -> Result<Arc<Stored>, String> {
    envelope::open(&envelope, hash, MAX_OBJECT).map_err(|error| error.to_string())?;
    let etag = HeaderValue::from_str(&http::etag(&envelope)).map_err(|error| error.to_string())?;
    Ok(Arc::new(Stored { envelope, etag }))
}
