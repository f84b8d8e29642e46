//! Who is at work in a store.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use block_store::Store;
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::Area;

/// A lease counts for so long after it was written.
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);
/// It is written again when it is so old.
const RENEWAL: Duration = Duration::from_secs(120);

/// What somebody is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Adding an image.
    Push,
    /// Removing objects.
    Gc,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Gc => "gc",
        }
    }
}

/// A sign in a store that somebody is at work. Times are the store's own, so that clocks need not agree.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    area: Area,
    key: String,
    kind: Kind,
    /// When it was written, by the store's clock.
    written: SystemTime,
    /// The same moment at the latest, by ours.
    since: Instant,
}

impl Lease {
    /// Announces work.
    pub async fn take(store: &Store, area: &Area, kind: Kind) -> Result<Self> {
        let random = u64::from_ne_bytes(super::random()?);
        let key = area.key(&format!("l/{}-{random:016x}", kind.word()));
        let since = Instant::now();
        let written = write(store, &key, kind).await?;
        Ok(Self { store: store.clone(), area: area.clone(), key, kind, written, since })
    }

    /// Writes it again.
    pub async fn renew(&mut self) -> Result<()> {
        let since = Instant::now();
        self.written = write(&self.store, &self.key, self.kind).await?;
        self.since = since;
        Ok(())
    }

    /// Writes it again if that is due. False if it may have run out meanwhile, so that others could not know of it.
    pub async fn keep(&mut self) -> Result<bool> {
        let age = self.since.elapsed();
        if age > RENEWAL {
            self.renew().await?;
        }
        Ok(age < LIFETIME / 2)
    }

    /// The present time by the store's clock, a little late at most.
    pub fn store_time(&self) -> SystemTime {
        self.written + self.since.elapsed()
    }

    /// The others who are at something of this kind. What was left behind by programs that were killed is cleared away.
    pub async fn others(&self, kind: Kind) -> Result<Vec<String>> {
        let mut listed = self.store.list(&self.area.key("l"));
        let mut others = Vec::new();
        while let Some(entry) = listed.try_next().await.context("cannot list the leases")? {
            let name = entry.key.rsplit('/').next().unwrap_or_default();
            if entry.key == self.key || !name.starts_with(kind.word()) {
                continue;
            }
            if self.store_time().duration_since(entry.modified).is_ok_and(|age| age > LIFETIME) {
                self.store.delete(&entry.key).await?;
            } else {
                others.push(entry.key);
            }
        }
        Ok(others)
    }

    /// Takes it back.
    pub async fn release(self) -> Result<()> {
        Ok(self.store.delete(&self.key).await?)
    }
}

async fn write(store: &Store, key: &str, kind: Kind) -> Result<SystemTime> {
    store.put(key, Bytes::from_static(kind.word().as_bytes())).await.context("cannot write a lease")?;
    Ok(store.head(key).await.context("cannot read the lease back")?.modified)
}
