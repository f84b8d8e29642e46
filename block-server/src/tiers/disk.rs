//! A cache on a disk of this machine, for stores that are far away.
//!
//! One file an object, written beside its place and renamed. Nothing is made durable: whatever a crash tears fails its
//! verification and is a miss. What is there is found again at start. A directory belongs to one server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use block_proto::{Hash, MAX_OBJECT};
use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::ObjectKey;

/// Writes under way at once; what comes beyond is not cached.
const WRITES_AT_ONCE: usize = 16;
/// What a file costs besides its bytes: half a block and an inode.
const FILE_OVERHEAD: u64 = 2304;
const TEMPORARY: &str = ".new-";

/// Where a disk cache is and how large it may become.
#[derive(Clone, Debug)]
pub struct DiskCacheConfig {
    /// Its directory; made if it is not there.
    pub directory: PathBuf,
    /// Bytes of files it may have.
    pub bytes: u64,
}

/// The cache. The index is in memory and knows sizes; the files are the truth.
#[derive(Clone)]
pub(crate) struct DiskCache {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    index: Cache<Hash, u32>,
    writes: Semaphore,
    next: AtomicU64,
}

impl DiskCache {
    /// Opens a cache and takes stock of what is there.
    pub(crate) fn open(config: &DiskCacheConfig) -> io::Result<Self> {
        let root = config.directory.clone();
        fs::create_dir_all(&root)?;
        let evicted_from = root.clone();
        let evict = move |name: Arc<Hash>, _, cause| {
            if cause != RemovalCause::Replaced {
                let _ = fs::remove_file(path(&evicted_from, &name));
            }
        };
        let weigh = |_: &Hash, size: &u32| u32::try_from(u64::from(*size) + FILE_OVERHEAD).unwrap_or(u32::MAX);
        let index = Cache::builder().max_capacity(config.bytes).weigher(weigh).eviction_listener(evict).build();
        let (writes, next) = (Semaphore::new(WRITES_AT_ONCE), AtomicU64::new(0));
        let inner = Arc::new(Inner { root, index, writes, next });
        inner.take_stock()?;
        Ok(Self { inner })
    }

    /// The bytes of an object, unverified.
    pub(crate) async fn get(&self, key: &ObjectKey) -> Option<Bytes> {
        let name = name(key);
        self.inner.index.get(&name)?;
        match tokio::fs::read(path(&self.inner.root, &name)).await {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                debug!(%error, "a cached file is gone");
                self.inner.index.invalidate(&name);
                None
            }
        }
    }

    /// Takes an object out; its bytes, unverified.
    pub(crate) async fn take(&self, key: &ObjectKey) -> Option<Bytes> {
        let bytes = self.get(key).await;
        let name = name(key);
        // The index may not know the file, or may forget it before its listener runs.
        let _ = tokio::fs::remove_file(path(&self.inner.root, &name)).await;
        self.inner.index.invalidate(&name);
        bytes
    }

    /// Keeps an object, in the background and if there is time.
    pub(crate) fn put(&self, key: &ObjectKey, envelope: Bytes) {
        let name = name(key);
        if self.inner.index.contains_key(&name) {
            return;
        }
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            let Ok(_turn) = inner.writes.try_acquire() else { return };
            match inner.write(&name, &envelope) {
                Ok(()) => inner.index.insert(name, u32::try_from(envelope.len()).unwrap_or(u32::MAX)),
                Err(error) => warn!(%error, "cannot write to the disk cache"),
            }
        });
    }
}

impl Inner {
    fn write(&self, name: &Hash, envelope: &[u8]) -> io::Result<()> {
        let path = path(&self.root, name);
        let temporary = self.root.join(format!("{TEMPORARY}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let written = fs::write(&temporary, envelope).and_then(|()| match fs::rename(&temporary, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                fs::rename(&temporary, &path)
            }
            done => done,
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn take_stock(&self) -> io::Result<()> {
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?;
            if folder.file_name().to_string_lossy().starts_with(TEMPORARY) {
                let _ = fs::remove_file(folder.path());
            }
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let name = file.file_name().to_str().and_then(|name| name.parse::<Hash>().ok());
                let size = file.metadata()?.len();
                match name {
                    Some(name) if size > 0 && size <= MAX_OBJECT as u64 => {
                        self.index.insert(name, u32::try_from(size).unwrap_or(u32::MAX));
                    }
                    Some(_) => fs::remove_file(file.path())?,
                    None => {}
                }
            }
        }
        self.index.run_pending_tasks();
        Ok(())
    }
}

/// The name of a file: the object's own hash, or, for a tenant's, one that only who knows the tenant can make.
fn name(key: &ObjectKey) -> Hash {
    match key.prefix.tenant_name() {
        None => key.hash,
        Some(tenant) => Hash::of(&[tenant.as_bytes(), b"/", key.hash.as_bytes()].concat()),
    }
}

fn path(root: &Path, name: &Hash) -> PathBuf {
    let hex = name.to_string();
    root.join(&hex[..2]).join(hex)
}

#[cfg(test)]
pub(super) fn file_of(root: &Path, key: &ObjectKey) -> PathBuf {
    path(root, &name(key))
}
