//! From the name of an image to its manifest.

use std::time::Duration;

use block_proto::{Hash, ImageRef, MAX_OBJECT, Manifest, Store, TagRecord, Version, key};
use bytes::Bytes;

use super::host::{CacheMode, Network};
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
    /// Base URLs with the image's objects, with a slash at the end.
    pub(super) bases: Vec<String>,
    /// Whether a WebSocket is worth trying.
    pub(super) sockets: bool,
    /// Bytes received so far.
    pub(super) bytes: u64,
}

pub(super) async fn find<N: Network>(
    host: &RemoteHost<N>,
    image: &ImageRef,
    options: OpenOptions,
) -> Result<Found, OpenError> {
    let text = image.to_string();
    let bad = |reason: String| OpenError::Bad { image: text.clone(), reason };
    let base = format!("{}/", image.store.to_string().trim_end_matches('/'));
    let mut bases = vec![base];
    let mut sockets = options.sockets && host.network.has_sockets() && matches!(image.store, Store::Url(_));
    let mut bytes = 0;
    let hash = match &image.version {
        Version::Manifest(hash) => *hash,
        Version::Tag(tag) => {
            let key = key::tag(&image.name, tag);
            // A stale tag would bring back an old version of the image; the record is small.
            let json = get(host, &bases, &key, CacheMode::Reload, TAG_LIMIT, &text, options).await?;
            bytes += json.len() as u64;
            let record = TagRecord::parse(&json, &image.name, tag).map_err(|error| bad(error.to_string()))?;
            if let Some(key) = &options.key {
                let untrusted =
                    |error| OpenError::Untrusted { image: text.clone(), reason: format!("{error} ({key})") };
                key.verify(&record).map_err(untrusted)?;
            }
            sockets &= record.may_use_socket();
            let elsewhere =
                record.endpoints.iter().filter(|url| url.starts_with("https://") || url.starts_with("http://"));
            bases.extend(elsewhere.map(|url| format!("{}/", url.trim_end_matches('/'))));
            record.manifest
        }
    };
    let mut root = Err(String::new());
    for cache in [CacheMode::Default, CacheMode::Reload] {
        let stored = get(host, &bases, &key::object(&hash), cache, MAX_OBJECT, &text, options).await?;
        bytes += stored.len() as u64;
        root = verify(&stored, &hash);
        if root.is_ok() {
            break;
        }
    }
    let root = root.map_err(|error| bad(format!("manifest {hash}: {error}")))?;
    let manifest = Manifest::parse(&root).map_err(|error| bad(format!("manifest {hash}: {error}")))?;
    Ok(Found { hash, manifest, bases, sockets, bytes })
}

/// Gets one file from the first base that has it, trying again while nothing answers, within the caller's patience.
async fn get<N: Network>(
    host: &RemoteHost<N>,
    bases: &[String],
    key: &str,
    cache: CacheMode,
    limit: usize,
    image: &str,
    options: OpenOptions,
) -> Result<Bytes, OpenError> {
    let start = host.clock.monotonic();
    let mut absent = 0;
    for attempt in 0.. {
        let base = bases.get(attempt % bases.len()).map_or("", String::as_str);
        let url = format!("{base}{key}");
        let reason = match host.network.get(&url, cache, limit).await {
            Ok(reply) if reply.status == 200 => return Ok(reply.body),
            Ok(reply) if matches!(reply.status, 400 | 404 | 410) => {
                absent += 1;
                let reason = format!("{url}: status {}", reply.status);
                if absent >= bases.len() {
                    return Err(OpenError::Unknown { image: image.to_owned(), reason });
                }
                reason
            }
            Ok(reply) => format!("{url}: status {}", reply.status),
            Err(error) => format!("{url}: {error}"),
        };
        let round = u32::try_from(attempt / bases.len()).unwrap_or(u32::MAX);
        let retry_at = host.clock.monotonic() + policy::backoff(round + 1, host.network.random());
        if options.patience.is_some_and(|patience| retry_at > start + patience) {
            return Err(OpenError::Unreachable { image: image.to_owned(), reason });
        }
        if (attempt + 1) % bases.len() == 0 {
            host.timers.sleep_until(retry_at.max(Duration::from_nanos(1))).await;
        }
    }
    unreachable!("the loop only returns")
}
