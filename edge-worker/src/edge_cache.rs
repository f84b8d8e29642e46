//! The Cache API of the data centre. What comes out of it is never believed: [`crate::tiers`] verifies it.

use block_proto::http::{OBJECT_TYPE, etag};
use bytes::Bytes;
use worker::{Cache, Error, Response};

use crate::memory::ObjectId;

/// The cache, seen from one host name. Entries are under this host, as the platform wants it, but under a path of their own
/// that no request is answered from.
pub struct EdgeCache {
    host: String,
}

/// The path that no route has.
const PLACE: &str = ".edge-cache";
/// Entries may stay for a year; the data centre throws out what it wants to.
const KEEP: &str = "public, max-age=31536000, immutable";

impl EdgeCache {
    /// The cache for requests to this host.
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned() }
    }

    fn key(&self, id: &ObjectId) -> String {
        format!("https://{}/{PLACE}/{}", self.host, id.prefix.object(&id.hash))
    }

    /// Looks an object up.
    pub async fn get(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        let Some(mut found) = Cache::default().get(self.key(id), false).await? else { return Ok(None) };
        Ok(Some(found.bytes().await?.into()))
    }

    /// Keeps an object.
    pub async fn put(&self, id: &ObjectId, stored: &Bytes) -> Result<(), Error> {
        let response = Response::builder()
            .with_header("content-type", OBJECT_TYPE)?
            .with_header("cache-control", KEEP)?
            .with_header("etag", &etag(stored))?
            .fixed(stored.to_vec());
        Cache::default().put(self.key(id), response).await
    }

    /// Drops an object.
    pub async fn delete(&self, id: &ObjectId) -> Result<(), Error> {
        Cache::default().delete(self.key(id), false).await.map(drop)
    }
}
