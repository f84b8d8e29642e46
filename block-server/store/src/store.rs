//! Reading, writing, listing and deleting by key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, RetryConfig, UpdateVersion};

use crate::{Location, StoreError};

/// How a store is reached over the network. Of no effect on directories.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a failed request is tried again.
    pub retries: usize,
    /// Time for one request, body included.
    pub timeout: Duration,
    /// Where a bucket is and what opens it; what the environment says if absent.
    pub access: Option<Access>,
}

/// An endpoint of the S3 API and the keys to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// The URL, without the bucket.
    pub endpoint: String,
    /// The region; most endpoints but AWS take any.
    pub region: String,
    /// The name of the key.
    pub key_id: String,
    /// The key.
    pub secret: String,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({})", self.endpoint)
    }
}

impl Default for Options {
    /// For tools: patient.
    fn default() -> Self {
        Self { retries: 8, timeout: Duration::from_secs(60), access: None }
    }
}

/// Which bytes lie under a key, so that nobody else's are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(UpdateVersion);

/// What became of a write that was to create something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there now.
    New,
    /// It was there before, and was left alone.
    Present,
}

/// Something in a store, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// Which bytes it has.
    pub version: Version,
}

/// An open store. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    location: Location,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.location)
    }
}

impl Store {
    /// Opens a store. A directory must exist; a bucket is not asked yet.
    pub fn open(location: &Location, options: &Options) -> Result<Self, StoreError> {
        let objects: Arc<dyn ObjectStore> = match location {
            Location::Directory(path) => {
                let opened = LocalFileSystem::new_with_prefix(path);
                Arc::new(opened.map_err(|_| StoreError::Open(format!("{} is not a directory", path.display())))?)
            }
            Location::Bucket { bucket, prefix } => {
                let s3 = open_bucket(bucket, options)?;
                if prefix.is_empty() { Arc::new(s3) } else { Arc::new(PrefixStore::new(s3, prefix.as_str())) }
            }
        };
        Ok(Self { objects, location: location.clone() })
    }

    /// Wraps another `object_store`, for tests that make one fail.
    pub fn wrap(objects: Arc<dyn ObjectStore>, location: Location) -> Self {
        Self { objects, location }
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The directory, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        match &self.location {
            Location::Directory(path) => Some(path),
            Location::Bucket { .. } => None,
        }
    }

    /// Whether a network lies between.
    pub fn is_remote(&self) -> bool {
        self.directory().is_none()
    }

    /// Reads at most `limit` bytes; what is larger is an error and is not read.
    pub async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        Ok(self.get_versioned(key, limit).await?.0)
    }

    /// Reads, and says what was read, for [`Store::replace`].
    pub async fn get_versioned(&self, key: &str, limit: u64) -> Result<(Bytes, Version), StoreError> {
        let path = parse(key)?;
        let trouble = |error| StoreError::from_object_store(key, error);
        let found = self.objects.get(&path).await.map_err(trouble)?;
        let (size, version) = (found.meta.size, version(&found.meta));
        if size > limit {
            return Err(StoreError::TooLarge { key: key.to_owned(), size, limit });
        }
        Ok((found.bytes().await.map_err(trouble)?, version))
    }

    /// Tells what lies under a key.
    pub async fn head(&self, key: &str) -> Result<Entry, StoreError> {
        let found = self.objects.head(&parse(key)?).await.map_err(|error| StoreError::from_object_store(key, error))?;
        Ok(entry(found))
    }

    /// Writes, whatever lay there before. Readers see the old bytes or the new ones.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write(key, bytes, PutMode::Overwrite).await
    }

    /// Writes unless something lies there.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Written, StoreError> {
        match self.write(key, bytes, PutMode::Create).await {
            Ok(()) => Ok(Written::New),
            Err(StoreError::Changed(_)) => Ok(Written::Present),
            Err(error) => Err(error),
        }
    }

    /// Writes if what lies there is still `old` (or still nothing, for `None`); [`StoreError::Changed`] otherwise. In a
    /// directory the comparison and the write are two steps: whoever needs more takes a lock.
    pub async fn replace(&self, key: &str, bytes: Bytes, old: Option<&Version>) -> Result<(), StoreError> {
        let Some(old) = old else {
            return match self.create(key, bytes).await? {
                Written::New => Ok(()),
                Written::Present => Err(StoreError::Changed(key.to_owned())),
            };
        };
        if self.is_remote() {
            return self.write(key, bytes, PutMode::Update(old.0.clone())).await;
        }
        if self.head(key).await?.version != *old {
            return Err(StoreError::Changed(key.to_owned()));
        }
        self.put(key, bytes).await
    }

    /// Deletes; nothing there is fine.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.objects.delete(&parse(key)?).await.map_err(|error| StoreError::from_object_store(key, error)) {
            Err(StoreError::NotFound(_)) => Ok(()),
            done => done,
        }
    }

    /// Lists what lies below a folder (`"o"`, `"t/debian"`; `""` for everything), in no order.
    pub fn list(&self, folder: &str) -> BoxStream<'static, Result<Entry, StoreError>> {
        let folder = folder.trim_end_matches('/').to_owned();
        let path = match parse(&folder) {
            _ if folder.is_empty() => None,
            Ok(path) => Some(path),
            Err(error) => return futures_util::stream::iter([Err(error)]).boxed(),
        };
        let listed = self.objects.list(path.as_ref());
        listed.map_ok(entry).map_err(move |error| StoreError::from_object_store(&folder, error)).boxed()
    }

    async fn write(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        let written = self.objects.put_opts(&parse(key)?, bytes.into(), mode.into()).await;
        written.map(drop).map_err(|error| StoreError::from_object_store(key, error))
    }
}

/// A bucket by what the environment says: `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
/// the rest that `object_store` knows.
fn open_bucket(bucket: &str, options: &Options) -> Result<impl ObjectStore + use<>, StoreError> {
    // Taken already if another part of the process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let retry =
        RetryConfig { max_retries: options.retries, retry_timeout: options.timeout * 3, ..RetryConfig::default() };
    let endpoints = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = match &options.access {
        Some(access) => Some(access.endpoint.clone()),
        None => endpoints.iter().find_map(|name| set(name)),
    };
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let client = ClientOptions::new()
        .with_timeout(options.timeout)
        .with_connect_timeout(Duration::from_secs(5))
        .with_allow_http(plain);
    let builder = match &options.access {
        Some(access) => AmazonS3Builder::new()
            .with_endpoint(&access.endpoint)
            .with_region(&access.region)
            .with_access_key_id(&access.key_id)
            .with_secret_access_key(&access.secret),
        None if set("AWS_REGION").or(set("AWS_DEFAULT_REGION")).is_some() => AmazonS3Builder::from_env(),
        // What R2 and most others expect, and all the rest ignore.
        None => AmazonS3Builder::from_env().with_region("auto"),
    };
    let builder = builder.with_bucket_name(bucket).with_retry(retry).with_client_options(client);
    builder.build().map_err(|error| StoreError::Open(format!("s3://{bucket}: {error}")))
}

fn parse(key: &str) -> Result<Key, StoreError> {
    let path = Key::parse(key).map_err(|_| StoreError::Key(key.to_owned()))?;
    // One spelling for one key.
    if path.as_ref() == key { Ok(path) } else { Err(StoreError::Key(key.to_owned())) }
}

fn version(meta: &ObjectMeta) -> Version {
    Version(UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() })
}

fn entry(meta: ObjectMeta) -> Entry {
    let version = version(&meta);
    Entry { key: meta.location.to_string(), size: meta.size, modified: meta.last_modified.into(), version }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Store {
        Store::open(&Location::Directory(dir.to_owned()), &Options::default()).expect("opens")
    }

    #[tokio::test]
    async fn a_directory_keeps_what_is_put() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let store = open(dir.path());
        assert_eq!(store.get("o/ab/x", 10).await, Err(StoreError::NotFound("o/ab/x".into())));
        assert_eq!(store.create("o/ab/x", "one".into()).await, Ok(Written::New));
        assert_eq!(store.create("o/ab/x", "two".into()).await, Ok(Written::Present));
        assert_eq!(store.get("o/ab/x", 3).await, Ok("one".into()));
        assert!(matches!(store.get("o/ab/x", 2).await, Err(StoreError::TooLarge { size: 3, limit: 2, .. })));
        store.put("t/a/latest.json", "tag".into()).await.expect("writes");
        assert_eq!(store.head("t/a/latest.json").await.expect("finds").size, 3);
        let mut keys: Vec<String> = store.list("").map_ok(|entry| entry.key).try_collect().await.expect("lists");
        keys.sort();
        assert_eq!(keys, ["o/ab/x", "t/a/latest.json"]);
        let below: Vec<Entry> = store.list("o/").try_collect().await.expect("lists");
        assert_eq!(below.len(), 1);
        store.delete("o/ab/x").await.expect("deletes");
        store.delete("o/ab/x").await.expect("is gone already");
        assert_eq!(std::fs::read(dir.path().join("t/a/latest.json")).expect("is a plain file"), b"tag");
    }

    #[tokio::test]
    async fn only_the_version_that_was_read_is_replaced() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let store = open(dir.path());
        store.replace("t/a", "1".into(), None).await.expect("is new");
        assert!(matches!(store.replace("t/a", "2".into(), None).await, Err(StoreError::Changed(_))));
        let (_, version) = store.get_versioned("t/a", 10).await.expect("reads");
        store.put("t/a", "someone else's".into()).await.expect("writes");
        assert!(matches!(store.replace("t/a", "3".into(), Some(&version)).await, Err(StoreError::Changed(_))));
        let (_, version) = store.get_versioned("t/a", 20).await.expect("reads");
        store.replace("t/a", "4".into(), Some(&version)).await.expect("is the same");
    }

    #[tokio::test]
    async fn only_keys_are_keys() {
        let dir = tempfile::tempdir().expect("makes a directory");
        std::fs::write(dir.path().join("secret"), "x").expect("writes");
        std::fs::create_dir(dir.path().join("store")).expect("makes it");
        let store = open(&dir.path().join("store"));
        for key in ["../secret", "/secret", "a/../../secret", "./x", "a//b", "a/"] {
            assert!(matches!(store.get(key, 10).await, Err(StoreError::Key(_))), "{key}");
        }
        assert!(matches!(
            Store::open(&Location::Directory(dir.path().join("absent")), &Options::default()),
            Err(StoreError::Open(_))
        ));
    }
}
