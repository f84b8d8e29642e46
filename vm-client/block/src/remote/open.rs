//! From the name of an image to its manifest.

use std::pin::pin;
use std::time::Duration;

use block_proto::{Hash, ImageRef, MAX_OBJECT, Manifest, Store, TagRecord, Version, key};
use bytes::Bytes;
use futures_util::future::{Either, select};

use super::access::{self, Bases};
use super::host::{CacheMode, HttpReply, NetError, Network};
use super::{OpenOptions, RemoteHost, policy, verify};

/// A tag record is a few hundred bytes.
const TAG_LIMIT: usize = 64 * 1024;

/// Why an image could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store answers, but has no such image.
    #[error("{image}: the store has no such image ({reason})")]
    Unknown {
        /// The name asked for.
        image: String,
        /// What was asked and answered.
        reason: String,
    },
    /// What the store has is damaged, or of a version this client does not know.
    #[error("{image}: {reason}")]
    Bad {
        /// The name asked for.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// The tag is not signed by the key that was asked for.
    #[error("{image}: {reason}")]
    Untrusted {
        /// The name asked for.
        image: String,
        /// What is wrong with the signature.
        reason: String,
    },
    /// The image is private, and no token or not the right one was given.
    #[error("{image}: {reason}")]
    Denied {
        /// The name asked for.
        image: String,
        /// What is wrong with the token.
        reason: String,
    },
    /// The store did not answer in time.
    #[error("{image}: the store cannot be reached: {reason}")]
    Unreachable {
        /// The name asked for.
        image: String,
        /// The last thing that went wrong.
        reason: String,
    },
}

pub(super) struct Found {
    pub(super) hash: Hash,
    pub(super) manifest: Manifest,
    /// Where its objects are.
    pub(super) bases: Bases,
    /// Whether a WebSocket is worth trying.
    pub(super) sockets: bool,
    /// Bytes received so far.
    pub(super) bytes: u64,
}

/// How often what makes no sense is asked for again; damage done on the way differs from one answer to the next.
const TRIES: u32 = 8;
/// Time for an answer to come, the first time and at most.
const ANSWER: Duration = Duration::from_secs(4);
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The longest pause between two tries: somebody waits.
const RETRY_MAX: Duration = Duration::from_millis(1500);

pub(super) async fn find<N: Network>(
    host: &RemoteHost<N>,
    image: &ImageRef,
    options: OpenOptions,
) -> Result<Found, OpenError> {
    let store = Bases::new(&image.store.to_string(), options.token.clone());
    let sockets = options.sockets && host.network.has_sockets() && matches!(image.store, Store::Url(_));
    let mut opening = Opening { host, image, options, name: image.to_string(), bytes: 0 };
    let tag = match &image.version {
        Version::Manifest(hash) => {
            let manifest = opening.root(hash, &store).await?;
            return Ok(Found { hash: *hash, manifest, bases: store, sockets, bytes: opening.bytes });
        }
        Version::Tag(tag) => tag,
    };
    let mut before = None;
    loop {
        let record = opening.record(tag, &store).await?;
        let hash = record.manifest;
        let mut bases = store.clone();
        bases.add(&record.endpoints);
        match opening.root(&hash, &bases).await {
            Ok(manifest) => {
                let sockets = sockets && record.may_use_socket();
                return Ok(Found { hash, manifest, bases, sockets, bytes: opening.bytes });
            }
            // Nothing vouches for an unsigned record: a damaged one names an image that nobody has.
            Err(OpenError::Unknown { .. }) if before != Some(hash) => before = Some(hash),
            Err(error) => return Err(error),
        }
    }
}

struct Opening<'a, N> {
    host: &'a RemoteHost<N>,
    image: &'a ImageRef,
    options: OpenOptions,
    name: String,
    /// Received so far.
    bytes: u64,
}

impl<N: Network> Opening<'_, N> {
    fn bad(&self, reason: String) -> OpenError {
        OpenError::Bad { image: self.name.clone(), reason }
    }

    /// Reads the record of a tag.
    async fn record(&mut self, tag: &str, store: &Bases) -> Result<TagRecord, OpenError> {
        let key = key::tag(&self.image.name, tag);
        let mut before = None;
        for _ in 0..TRIES {
            // A stale tag would bring back an old version of the image; the record is small.
            let json = self.get(store, &key, CacheMode::Reload, TAG_LIMIT).await?;
            let error = match TagRecord::parse(&json, &self.image.name, tag) {
                Err(error) => self.bad(error.to_string()),
                Ok(record) => match self.options.key.as_ref().map(|key| (key, key.verify(&record))) {
                    Some((key, Err(error))) => {
                        OpenError::Untrusted { image: self.name.clone(), reason: format!("{error} ({key})") }
                    }
                    _ => return Ok(record),
                },
            };
            if before.as_ref() == Some(&json) {
                return Err(error);
            }
            before = Some(json);
        }
        Err(self.bad("its record is damaged on the way, each time in another manner".to_owned()))
    }

    /// Reads the root of a manifest.
    async fn root(&mut self, hash: &Hash, bases: &Bases) -> Result<Manifest, OpenError> {
        let mut cache = CacheMode::Default;
        let mut before = None;
        let mut reason = String::new();
        for _ in 0..TRIES {
            let stored = self.get(bases, &key::object(hash), cache, MAX_OBJECT).await?;
            match verify(&stored, hash) {
                Ok(root) => {
                    return Manifest::parse(&root).map_err(|error| self.bad(format!("manifest {hash}: {error}")));
                }
                Err(error) => reason = error,
            }
            if cache == CacheMode::Reload && before.as_ref() == Some(&stored) {
                break;
            }
            (before, cache) = (Some(stored), CacheMode::Reload);
        }
        Err(self.bad(format!("manifest {hash}: {reason}")))
    }

    /// Gets one file from the first base that has it, trying again while nothing answers, within the caller's patience.
    async fn get(&mut self, bases: &Bases, key: &str, cache: CacheMode, limit: usize) -> Result<Bytes, OpenError> {
        let (host, image) = (self.host, self.name.clone());
        let start = host.clock.monotonic();
        let mut absent = 0;
        for attempt in 0.. {
            let base = attempt % bases.len();
            let place = format!("{}{key}", bases.name(base));
            let round = u32::try_from(attempt / bases.len()).unwrap_or(u32::MAX);
            let reason = match self.answer(&bases.url(base, key), cache, limit, round).await {
                Ok(reply) if reply.status == 200 && access::is_web_page(&reply.body) => {
                    format!("{place}: {}", access::WEB_PAGE)
                }
                Ok(reply) if matches!(reply.status, 401 | 403) && bases.len() == 1 => {
                    let reason =
                        format!("{} ({place}: status {})", access::refusal(bases.token.as_ref()), reply.status);
                    return Err(OpenError::Denied { image, reason });
                }
                Ok(reply) if reply.status == 200 => {
                    self.bytes += reply.body.len() as u64;
                    return Ok(reply.body);
                }
                Ok(reply) if matches!(reply.status, 400 | 404 | 410) => {
                    absent += 1;
                    let reason = format!("{place}: status {}", reply.status);
                    if absent >= bases.len() {
                        return Err(OpenError::Unknown { image, reason });
                    }
                    reason
                }
                Ok(reply) => format!("{place}: status {}", reply.status),
                Err(error) => format!("{place}: {}", bases.hide(&error)),
            };
            let retry_at = host.clock.monotonic() + policy::backoff(round + 1, host.network.random()).min(RETRY_MAX);
            if self.options.patience.is_some_and(|patience| retry_at > start + patience) {
                return Err(OpenError::Unreachable { image, reason });
            }
            if (attempt + 1) % bases.len() == 0 {
                host.timers.sleep_until(retry_at.max(Duration::from_nanos(1))).await;
            }
        }
        unreachable!("the loop only returns")
    }

    /// One try: a connection whose other end is gone must not hold everything up.
    async fn answer(&self, url: &str, cache: CacheMode, limit: usize, round: u32) -> Result<HttpReply, NetError> {
        let wait = (ANSWER * (1 << round.min(4))).min(ANSWER_MAX);
        let late = self.host.timers.sleep_until(self.host.clock.monotonic() + wait);
        match select(pin!(self.host.network.get(url, cache, limit)), late).await {
            Either::Left((reply, _)) => reply,
            Either::Right(_) => Err(NetError(format!("no answer within {} s", wait.as_secs()))),
        }
    }
}
