//! An image of a store, read through the client that the VM uses.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use block_proto::{Hash, Manifest, PAGE_CHUNKS, Page};
use futures_util::future::{Either, select};
use futures_util::stream::{self, StreamExt};
use vm_block::remote::native::{NativeHost, NativeOptions};
use vm_block::remote::{ImageRef, Link, OpenError, OpenOptions, PublicKey, Remote, Token};
use vm_block::{BlockError, ChunkId, Transport, Urgency};

/// Requests in flight at once.
const AT_ONCE: usize = 32;

/// How to reach stores on servers.
#[derive(Clone, Debug)]
pub struct Network {
    /// How long a network may be silent before a tool gives up. The VM itself never does.
    pub patience: Duration,
    /// Whom to trust.
    pub options: NativeOptions,
    /// Permission to read private images.
    pub token: Option<Token>,
}

impl Default for Network {
    fn default() -> Self {
        Self { patience: Duration::from_secs(30), options: NativeOptions::default(), token: None }
    }
}

/// A tag is not signed by the key that it should be signed by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(String);

/// An open image.
pub struct Reader {
    host: NativeHost,
    remote: Remote,
    image: ImageRef,
    patience: Duration,
}

impl Reader {
    /// Opens an image of a directory or a server.
    pub fn open(image: &ImageRef, network: &Network) -> Result<Self> {
        Self::open_signed(image, network, None)
    }

    /// Opens an image whose tag must be signed by a key, if there is one; the error is [`Untrusted`] otherwise.
    pub fn open_signed(image: &ImageRef, network: &Network, key: Option<PublicKey>) -> Result<Self> {
        Self::open_with(image, network, OpenOptions { key, ..OpenOptions::default() })
    }

    pub(crate) fn open_with(image: &ImageRef, network: &Network, options: OpenOptions) -> Result<Self> {
        let host = NativeHost::start_with(&network.options).context("cannot start the network")?;
        let options = OpenOptions { patience: Some(network.patience), token: network.token.clone(), ..options };
        let (remote, background) = match host.run(Remote::open(host.remote_host(), image, options)) {
            Err(error @ OpenError::Untrusted { .. }) => return Err(Untrusted(error.to_string()).into()),
            opened => opened?,
        };
        host.spawn(background);
        Ok(Self { host, remote, image: image.clone(), patience: network.patience })
    }

    /// The name it was opened by.
    pub fn image(&self) -> &ImageRef {
        &self.image
    }

    /// Its manifest's hash.
    pub fn hash(&self) -> Hash {
        self.remote.manifest_hash()
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        self.remote.manifest()
    }

    /// The client.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Waits for a future, but not longer than patience allows while the network is silent.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        let watch = async {
            let host = self.host.remote_host();
            loop {
                let now = host.clock.monotonic();
                host.timers.sleep_until(now + Duration::from_millis(500)).await;
                let status = self.remote.status();
                if let Link::Offline { since } = status.link
                    && host.clock.monotonic().saturating_sub(since) > self.patience
                {
                    return status.last_error.unwrap_or_else(|| "no answer".to_owned());
                }
            }
        };
        match self.host.run(select(pin!(future), pin!(watch))) {
            Either::Left((value, _)) => Ok(value),
            Either::Right((error, _)) => bail!("{}: the store cannot be reached: {error}", self.image),
        }
    }

    /// The chunks that are stored, in order. A page that cannot be read is reported and skipped.
    pub fn stored_chunks(&self, bad: &mut Vec<BlockError>) -> Result<Vec<(ChunkId, Hash)>> {
        let mut stored = Vec::new();
        for (number, page) in (0_u32..).zip(&self.manifest().pages) {
            if *page == Page::empty_hash() {
                continue;
            }
            let first = number * PAGE_CHUNKS as u32;
            for chunk in (first..first.saturating_add(PAGE_CHUNKS as u32)).map(ChunkId) {
                match self.run(self.remote.chunk_hash(chunk, Urgency::Demand))? {
                    Ok(hash) => stored.extend(hash.map(|hash| (chunk, hash))),
                    Err(error) => {
                        bad.push(error);
                        break;
                    }
                }
            }
        }
        Ok(stored)
    }

    /// Fetches chunks, many at once, each hash only once; `each` gets every chunk or what is wrong with it.
    pub fn fetch_all(
        &self,
        chunks: &[(ChunkId, Hash)],
        mut each: impl FnMut(&[ChunkId], Result<bytes::Bytes, BlockError>) -> Result<()>,
    ) -> Result<()> {
        let mut places: BTreeMap<Hash, Vec<ChunkId>> = BTreeMap::new();
        for (chunk, hash) in chunks {
            places.entry(*hash).or_default().push(*chunk);
        }
        // In the order of their first places, which is how disks read best.
        let mut places: Vec<Vec<ChunkId>> = places.into_values().collect();
        places.sort_unstable();
        let fetch = |chunks: Vec<ChunkId>| async move {
            let first = chunks.first().copied().unwrap_or(ChunkId(0));
            (self.remote.fetch(first, Urgency::Demand).await, chunks)
        };
        let work = async {
            let mut fetched = stream::iter(places).map(fetch).buffer_unordered(AT_ONCE);
            while let Some((result, chunks)) = fetched.next().await {
                each(&chunks, result)?;
            }
            Ok(())
        };
        self.run(work)?
    }
}
