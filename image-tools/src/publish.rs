//! Getting images from one store to another, and rid of what nothing needs any more.
//!
//! - [`push`](push::push): copies what the other store lacks, the manifest last, then moves tags. `pull` is the same the
//!   other way round.
//! - [`gc`](gc::gc): removes what no tag and no version of the last months reaches.
//! - [`diff`](diff::diff): in how much two images differ.
//!
//! # Why they can run at the same time
//!
//! A push relies on chunks that are there already, which to a gc may look like rubbish. So each announces itself with a
//! small object in the store before it looks for the other ([`Lease`]): a push writes its lease, then waits until
//! it sees no gc, then checks that all it needs is still there, then moves the tag. A gc writes its own, and deletes
//! only while it sees no push; if there is one, it takes its lease back and tries later. As stores answer with what was
//! last written (S3, R2 and directories all do), at least one of two that start at once sees the other.
//!
//! # Keys beside those of `block_proto::key`
//!
//! | key | what |
//! |---|---|
//! | `v/<name>/<manifest>` | a version that was published; the date of the object is the date of publishing |
//! | `l/<kind>-<random>` | a lease; it counts for ten minutes after it was last written |

pub mod diff;
pub mod gc;
pub mod keys;
mod lease;
mod local;
mod origin;
pub mod push;
mod walk;

pub use lease::{Kind, Lease};
pub(crate) use local::LocalPush;
pub use origin::{Origin, OriginRef};
pub use walk::{ImageObjects, Reach};

use std::future::Future;

use anyhow::{Context, Result};
use block_proto::{Hash, valid_name};

/// The part of a store that something happens in: the public one, or a tenant's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    prefix: String,
}

impl Area {
    /// What everybody may read.
    pub fn public() -> Self {
        Self::default()
    }

    /// What only a tenant's tokens open; nothing is shared with other parts.
    pub fn tenant(name: &str) -> Result<Self> {
        anyhow::ensure!(valid_name(name), "`{name}` cannot be a tenant: lower-case letters, digits, `.`, `_` and `-`");
        Ok(Self { prefix: format!("p/{name}/") })
    }

    /// The public part, or a tenant's if one is named.
    pub fn of(tenant: Option<&str>) -> Result<Self> {
        tenant.map_or_else(|| Ok(Self::public()), Self::tenant)
    }

    /// Whether it is the public one.
    pub fn is_public(&self) -> bool {
        self.prefix.is_empty()
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn object(&self, hash: &Hash) -> String {
        self.key(&block_proto::key::object(hash))
    }

    fn tag(&self, name: &str, tag: &str) -> String {
        self.key(&block_proto::key::tag(name, tag))
    }

    fn version(&self, name: &str, manifest: &Hash) -> String {
        self.key(&format!("v/{name}/{manifest}"))
    }
}

/// Runs work on a network runtime of its own.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot start the network")?.block_on(work)
}

/// Random bytes, for names that nobody else has and for keys.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(bytes)
}
