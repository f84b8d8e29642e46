//! The store itself: an R2 bucket, or the Worker's static assets. Both have the keys of a store in a directory.

use block_proto::MAX_OBJECT;
use bytes::Bytes;
use worker::{Bucket, Env, Error, Fetcher};

use crate::settings::StoreKind;

/// The binding of the R2 bucket.
const BUCKET: &str = "STORE";
/// The binding of the static assets.
const ASSETS: &str = "ASSETS";

/// An opened store. Belongs to one invocation.
pub enum Source {
    /// Objects of a bucket.
    R2(Bucket),
    /// Files deployed with the Worker.
    Assets(Fetcher),
}

/// Why nothing was read.
#[derive(Debug)]
pub enum SourceError {
    /// There is nothing under the key.
    Absent,
    /// There is something, but no object is so large.
    TooLarge,
    /// The store failed.
    Failed(String),
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Source {
    /// Opens the store that the settings name; an error says which binding is missing.
    pub fn open(kind: StoreKind, env: &Env) -> Result<Self, String> {
        let missing = |binding: &str, kind: &str, error: Error| {
            format!("the {kind} binding {binding} is missing: see wrangler.toml ({error})")
        };
        match kind {
            StoreKind::R2 => env.bucket(BUCKET).map(Self::R2).map_err(|error| missing(BUCKET, "r2_buckets", error)),
            StoreKind::Assets => env.assets(ASSETS).map(Self::Assets).map_err(|error| missing(ASSETS, "assets", error)),
        }
    }

    /// Reads what is under a key.
    pub async fn read(&self, key: &str) -> Result<Bytes, SourceError> {
        match self {
            Self::R2(bucket) => {
                let object = bucket.get(key).execute().await?.ok_or(SourceError::Absent)?;
                if object.size() > MAX_OBJECT as u64 {
                    return Err(SourceError::TooLarge);
                }
                let body = object.body().ok_or_else(|| SourceError::Failed("R2 sent no body".to_owned()))?;
                Ok(body.bytes().await?.into())
            }
            Self::Assets(assets) => {
                // The host is not looked at; the path is.
                let mut response = assets.fetch(format!("https://assets.local/{key}"), None).await?;
                match response.status_code() {
                    200 => {}
                    // A key is never a page: what assets redirect or answer with a page of their own is not there.
                    301..=308 | 404 => return Err(SourceError::Absent),
                    status => return Err(SourceError::Failed(format!("static assets answered {status}"))),
                }
                let stored = response.bytes().await?;
                if stored.len() > MAX_OBJECT { Err(SourceError::TooLarge) } else { Ok(stored.into()) }
            }
        }
    }
}

/// The page beside the store, if one is deployed.
pub fn page(env: &Env) -> Option<Fetcher> {
    env.assets(ASSETS).ok()
}
