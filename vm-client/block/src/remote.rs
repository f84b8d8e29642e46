//! The client of a store: images over WebSocket or plain HTTP, every byte verified.
//!
//! - [`Remote::open`]: from a name (tag, then manifest) to a [`Transport`] of verified chunks.
//! - [`plain`]: images without a manifest, by HTTP range or in pieces.
//! - [`Network`] and [`Socket`]: what the host provides. The `native` module has those of a process; the browser's are in
//!   `vm-browser`.
//! - `access`: the token of a private image, and where it is shown.
//! - `driver`: the one future that owns the connection; `wants`: what is asked for, and who waits; `policy`: when to
//!   connect, when to use HTTP; `trial`: what was tried for one object; `probe`: whether the network is there at all.
//!
//! Loss of the network is never an error here: requests wait and [`Remote::status`] says so. Only what is verifiably
//! absent, or corrupt from every source, fails.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use block_proto::{ClientConfig, MAX_OBJECT, Manifest, PAGE_CHUNKS, Page, SectionKind};
use bytes::Bytes;
use vm_rt::{Clock, Timers};

use crate::{BlockError, CHUNK_SIZE, ChunkId, Transport, Urgency};

mod access;
mod driver;
mod host;
#[cfg(feature = "native")]
pub mod native;
mod open;
pub mod plain;
mod policy;
mod probe;
mod status;
mod trial;
mod wants;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use driver::Driver;
use wants::{Command, Failure, Shared};

pub use access::{Token, TokenTextError};
pub use block_proto::frame::Touch;
pub use block_proto::section::{BootProfile, BuildInfo, ImageConfig};
pub use block_proto::sign::PublicKey;
pub use block_proto::{Hash, ImageRef, Store, Version};
pub use host::{CacheMode, HttpReply, NetError, Network, ReplyHeaders, Socket};
pub use open::OpenError;
pub use policy::backoff;
pub use status::{Link, RemoteStatus};

/// The host around a remote image.
pub struct RemoteHost<N> {
    /// Its network.
    pub network: Rc<N>,
    /// Its time.
    pub clock: Rc<dyn Clock>,
    /// Its timers; the host fires them.
    pub timers: Timers,
}

impl<N> Clone for RemoteHost<N> {
    fn clone(&self) -> Self {
        Self { network: Rc::clone(&self.network), clock: Rc::clone(&self.clock), timers: self.timers.clone() }
    }
}

/// How to open an image.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How long opening may wait for a network that does not answer; `None` waits for ever.
    pub patience: Option<Duration>,
    /// Whether a WebSocket may be used; HTTP does, too.
    pub sockets: bool,
    /// The publisher's key: a tag that it did not sign is refused. A name with a manifest's hash needs none.
    pub key: Option<PublicKey>,
    /// Permission, if the image is private. It is shown to the store alone.
    pub token: Option<Token>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { patience: Some(Duration::from_secs(20)), sockets: true, key: None, token: None }
    }
}

/// The background work of an open image; to be spawned by the host. Ends once every [`Remote`] is dropped.
pub type Background = Pin<Box<dyn Future<Output = ()>>>;

/// An open image in a store. Clones share the connection.
#[derive(Clone)]
pub struct Remote {
    inner: Rc<Inner>,
}

struct Inner {
    image: ImageRef,
    hash: Hash,
    manifest: Manifest,
    shared: Rc<Shared>,
    pages: RefCell<HashMap<u32, Page>>,
    zeros: Bytes,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Remote {
    /// Opens an image: reads the tag's record (unless the name pins a manifest) and the manifest's root, nothing else.
    /// The returned future must be spawned.
    pub async fn open<N: Network + 'static>(
        host: &RemoteHost<N>,
        image: &ImageRef,
        options: OpenOptions,
    ) -> Result<(Self, Background), OpenError> {
        let found = open::find(host, image, options.clone()).await?;
        let shared = Rc::new(Shared::new(found.bytes));
        let mut config = ClientConfig::new(found.hash);
        config.token = options.token.as_ref().map_or_else(Bytes::new, |token| token.text().to_owned().into());
        let driver = Driver::new(host.clone(), Rc::clone(&shared), config, found.bases, found.sockets);
        let inner = Inner {
            image: image.clone(),
            hash: found.hash,
            manifest: found.manifest,
            shared,
            pages: RefCell::default(),
            zeros: Bytes::from_static(&[0; CHUNK_SIZE]),
        };
        Ok((Self { inner: Rc::new(inner) }, Box::pin(driver)))
    }

    /// The hash of the image's manifest, which names exactly this version for ever. Overlays are bound to it.
    pub fn manifest_hash(&self) -> Hash {
        self.inner.hash
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// How things stand.
    pub fn status(&self) -> RemoteStatus {
        self.inner.shared.status()
    }

    /// Tries again at once instead of waiting out delays; for a host that learns that the network is back.
    pub fn retry_now(&self) {
        self.inner.shared.retry_now();
    }

    /// Shows the store another token from now on, and tries again at once what the old one did not open.
    pub fn set_token(&self, token: Token) {
        self.inner.shared.command(Command::Token(token));
    }

    /// Tells the store which chunks a boot touched, in that order and when, if it collects that.
    pub fn report_boot(&self, touches: Vec<Touch>) {
        self.inner.shared.command(Command::Boot(touches));
    }

    /// The chunks that other machines' boots touched, if the store collected that; a hint, verified by nobody.
    pub async fn recorded_boots(&self) -> BootProfile {
        self.inner.shared.recorded_boots().await
    }

    /// How the image was made and wants to be run; `None` if it does not say.
    pub async fn build_info(&self) -> Result<Option<BuildInfo>, BlockError> {
        let section = self.section(SectionKind::BuildInfo).await?;
        Ok(section.and_then(|object| BuildInfo::parse(&object)))
    }

    /// The chunks a boot touches, in order; empty if the image has no profile.
    pub async fn boot_profile(&self) -> Result<BootProfile, BlockError> {
        let section = self.section(SectionKind::BootProfile).await?;
        Ok(section.and_then(|object| BootProfile::parse(&object)).unwrap_or_default())
    }

    /// The hash of a chunk; `None` for one of zeros.
    pub async fn chunk_hash(&self, chunk: ChunkId, urgency: Urgency) -> Result<Option<Hash>, BlockError> {
        let chunks_per_page = PAGE_CHUNKS as u32;
        let (number, index) = (chunk.0 / chunks_per_page, (chunk.0 % chunks_per_page) as usize);
        if let Some(page) = self.inner.pages.borrow().get(&number) {
            return Ok(page.chunk(index));
        }
        let Some(hash) = self.inner.manifest.pages.get(number as usize).copied() else {
            let size = self.inner.manifest.image_size;
            let offset = u64::from(chunk.0) * CHUNK_SIZE as u64;
            return Err(BlockError::OutOfRange { offset, len: CHUNK_SIZE as u64, size });
        };
        if hash == Page::empty_hash() {
            return Ok(None);
        }
        let object =
            self.object(hash, urgency).await.map_err(|failure| self.error(chunk, hash, "manifest page", failure))?;
        let corrupt = || Failure::Corrupt("it is not a manifest page".to_owned());
        let page = Page::parse(object).ok_or_else(corrupt);
        let page = page.map_err(|failure| self.error(chunk, hash, "manifest page", failure))?;
        let found = page.chunk(index);
        self.inner.pages.borrow_mut().insert(number, page);
        Ok(found)
    }

    async fn section(&self, kind: SectionKind) -> Result<Option<Bytes>, BlockError> {
        let Some(section) = self.inner.manifest.section(kind).copied() else { return Ok(None) };
        let object = self.object(section.hash, Urgency::Demand).await;
        let object = object.map_err(|failure| BlockError::Store(self.words("section", section.hash, &failure)))?;
        Ok(Some(object))
    }

    async fn object(&self, hash: Hash, urgency: Urgency) -> Result<Bytes, Failure> {
        self.inner.shared.fetch(hash, urgency).await
    }

    fn words(&self, what: &str, hash: Hash, failure: &Failure) -> String {
        let image = format!("{}@b3:{}", self.inner.image.name, self.inner.hash.short());
        format!("{what} {hash} of {image}: {}", failure.text())
    }

    fn error(&self, chunk: ChunkId, hash: Hash, what: &str, failure: Failure) -> BlockError {
        let reason = self.words(what, hash, &failure);
        match failure {
            Failure::Missing(_) => BlockError::Missing { chunk, reason },
            Failure::Corrupt(_) => BlockError::Corrupt { chunk, reason },
        }
    }
}

impl Transport for Remote {
    fn image_size(&self) -> u64 {
        self.inner.manifest.image_size
    }

    async fn fetch(&self, chunk: ChunkId, urgency: Urgency) -> Result<Bytes, BlockError> {
        let Some(hash) = self.chunk_hash(chunk, urgency).await? else { return Ok(self.inner.zeros.clone()) };
        let object = self.object(hash, urgency).await.map_err(|failure| self.error(chunk, hash, "object", failure))?;
        if object.len() != CHUNK_SIZE {
            let failure = Failure::Corrupt(format!("it has {} bytes", object.len()));
            return Err(self.error(chunk, hash, "object", failure));
        }
        Ok(object)
    }
}

/// Opens an envelope and verifies what is in it.
fn verify(envelope: &Bytes, hash: &Hash) -> Result<Bytes, String> {
    block_proto::envelope::open(envelope, hash, MAX_OBJECT).map_err(|error| error.to_string())
}
