//! The tiers over a store that counts, fails, dawdles and lies on demand; each tier poisoned in turn.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use block_proto::envelope::seal_raw;
use block_store::Location;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;

/// What the next read does.
enum Whim {
    Fail,
    Dawdle(Duration),
    Lie(Bytes),
}

#[derive(Default)]
struct Moody {
    inner: InMemory,
    whims: Mutex<VecDeque<Whim>>,
    reads: AtomicU64,
}

impl fmt::Debug for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moody")
    }
}

impl fmt::Display for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moody")
    }
}

type Result<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for Moody {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let whim = self.whims.lock().expect("not poisoned").pop_front();
        match whim {
            None => {}
            Some(Whim::Fail) => {
                return Err(object_store::Error::Generic { store: "moody", source: "not today".into() });
            }
            Some(Whim::Dawdle(time)) => tokio::time::sleep(time).await,
            Some(Whim::Lie(bytes)) => {
                let lies = InMemory::new();
                lies.put(location, bytes.into()).await?;
                return lies.get_opts(location, options).await;
            }
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

struct World {
    moody: Arc<Moody>,
    tiers: Arc<Tiers>,
    metrics: Arc<Metrics>,
    cache: tempfile::TempDir,
}

fn world(hedge: Hedge) -> World {
    let (moody, metrics) = (Arc::new(Moody::default()), Arc::new(Metrics::new()));
    let cache = tempfile::tempdir().expect("makes a directory");
    let tiers = Arc::new(open(&moody, &metrics, cache.path(), hedge));
    World { moody, tiers, metrics, cache }
}

fn open(moody: &Arc<Moody>, metrics: &Arc<Metrics>, cache: &std::path::Path, hedge: Hedge) -> Tiers {
    let location = Location::Bucket { bucket: "b".into(), prefix: String::new() };
    let store = Store::wrap(Arc::clone(moody) as Arc<dyn ObjectStore>, location);
    let disk = DiskCache::open(&DiskCacheConfig { directory: cache.to_owned(), bytes: 1 << 30 }).expect("opens");
    Tiers::new(store, 1 << 30, Some(disk), hedge, Arc::clone(metrics))
}

impl World {
    async fn put(&self, prefix: &Prefix, object: &[u8]) -> Hash {
        let hash = Hash::of(object);
        self.moody.inner.put(&Path::from(prefix.object(&hash)), seal_raw(object).into()).await.expect("is kept");
        hash
    }

    fn whims(&self, whims: impl IntoIterator<Item = Whim>) {
        self.moody.whims.lock().expect("not poisoned").extend(whims);
    }

    fn reads(&self) -> u64 {
        self.moody.reads.load(Ordering::SeqCst)
    }

    async fn get(&self, hash: &Hash) -> std::result::Result<(Bytes, Tier), ReadError> {
        let found = self.tiers.object(&[Prefix::public()], hash, true).await;
        found.map(|(stored, tier)| (stored.envelope.clone(), tier))
    }

    /// Waits until the disk cache has an object.
    async fn on_disk(&self, hash: &Hash) -> std::path::PathBuf {
        let key = ObjectKey { prefix: Prefix::public(), hash: *hash };
        let path = disk::file_of(self.cache.path(), &key);
        while !(path.exists() && self.tiers.disk.as_ref().expect("has one").get(&key).await.is_some()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        path
    }
}

#[tokio::test]
async fn one_read_of_the_store_serves_everybody() {
    let world = world(Hedge::Off);
    let hash = world.put(&Prefix::public(), b"object").await;
    world.whims([Whim::Dawdle(Duration::from_millis(50))]);
    let asking = (0..100).map(|n| {
        let tiers = Arc::clone(&world.tiers);
        tokio::spawn(async move { tiers.object(&[Prefix::public()], &hash, n % 2 == 0).await.map(drop) })
    });
    for done in asking.collect::<Vec<_>>() {
        assert_eq!(done.await.expect("does not panic"), Ok(()));
    }
    assert_eq!(world.reads(), 1);
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"object"), Tier::Memory)));
}

#[tokio::test]
async fn errors_are_answered_and_forgotten() {
    let world = world(Hedge::Off);
    let hash = Hash::of(b"object");
    assert_eq!(world.get(&hash).await, Err(ReadError::NotFound));
    world.put(&Prefix::public(), b"object").await;
    world.whims([Whim::Fail, Whim::Fail, Whim::Fail, Whim::Fail]);
    assert!(matches!(world.get(&hash).await, Err(ReadError::Upstream(_))));
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"object"), Tier::Origin)));
}

#[tokio::test]
async fn a_store_that_fails_now_and_then_is_read_again() {
    let world = world(Hedge::Off);
    let hash = world.put(&Prefix::public(), b"object").await;
    world.whims([Whim::Fail, Whim::Fail]);
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"object"), Tier::Origin)));
    assert_eq!(world.metrics.origin_counts(), (3, 2, 0));
}

#[tokio::test]
async fn a_slow_read_is_made_a_second_time() {
    let world = world(Hedge::After(Duration::from_millis(10)));
    let hash = world.put(&Prefix::public(), b"object").await;
    world.whims([Whim::Dawdle(Duration::from_secs(3600))]);
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"object"), Tier::Origin)));
    assert_eq!(world.metrics.origin_counts().2, 1);
    // A second read that fails does not spoil the first.
    let other = world.put(&Prefix::public(), b"other").await;
    world.whims([Whim::Dawdle(Duration::from_millis(60)), Whim::Fail]);
    assert_eq!(world.get(&other).await, Ok((seal_raw(b"other"), Tier::Origin)));
}

#[tokio::test]
async fn prefixes_share_nothing() {
    let world = world(Hedge::Off);
    let (acme, other) = (Prefix::tenant("acme").expect("a name"), Prefix::tenant("other").expect("a name"));
    let hash = world.put(&acme, b"secret").await;
    assert!(world.tiers.object(std::slice::from_ref(&acme), &hash, true).await.is_ok());
    for prefixes in [vec![Prefix::public()], vec![other.clone()], vec![other.clone(), Prefix::public()]] {
        let reads = world.reads();
        let found = world.tiers.object(&prefixes, &hash, true).await;
        assert!(matches!(found, Err(ReadError::NotFound)), "{prefixes:?}");
        // As many reads as for what is nowhere: time does not tell either.
        assert_eq!(world.reads() - reads, prefixes.len() as u64);
    }
    let found = world.tiers.object(&[other, acme], &hash, true).await;
    assert_eq!(found.map(|(_, tier)| tier), Ok(Tier::Memory));
}

#[tokio::test]
async fn wrong_bytes_in_memory_are_put_right_by_a_fresh_read() {
    let world = world(Hedge::Off);
    let hash = world.put(&Prefix::public(), b"object").await;
    world.tiers.spoil(&Prefix::public(), &hash, seal_raw(b"wrong")).await;
    // Memory is believed: this is what the client finds out.
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"wrong"), Tier::Memory)));
    let fresh = world.tiers.fresh(&[Prefix::public()], &hash).await;
    assert_eq!(fresh.map(|(stored, tier)| (stored.envelope.clone(), tier)), Ok((seal_raw(b"object"), Tier::Origin)));
    assert_eq!(world.metrics.wrong_in("memory"), 1);
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"object"), Tier::Memory)));
}

#[tokio::test]
async fn a_torn_or_rotten_file_on_disk_is_a_miss() {
    let world = world(Hedge::Off);
    let hash = world.put(&Prefix::public(), b"object").await;
    let whole = seal_raw(b"object");
    for damage in [&whole[..5], &[][..], &seal_raw(b"wrong"), b"junk"] {
        world.get(&hash).await.expect("is in the store");
        let path = world.on_disk(&hash).await;
        std::fs::write(&path, damage).expect("writes");
        world.tiers.memory.invalidate_all();
        assert_eq!(world.get(&hash).await, Ok((whole.clone(), Tier::Origin)));
        // Put back as it should be.
        let path = world.on_disk(&hash).await;
        assert_eq!(std::fs::read(&path).expect("is there"), whole);
    }
    assert_eq!(world.metrics.wrong_in("disk"), 4);
    world.tiers.memory.invalidate_all();
    assert_eq!(world.get(&hash).await, Ok((whole, Tier::Cache)));
}

#[tokio::test]
async fn the_disk_cache_is_found_again_after_a_restart() {
    let world = world(Hedge::Off);
    let hash = world.put(&Prefix::public(), b"object").await;
    world.get(&hash).await.expect("is in the store");
    world.on_disk(&hash).await;
    std::fs::write(world.cache.path().join(".new-77"), b"half of someth").expect("writes");
    let again = open(&world.moody, &world.metrics, world.cache.path(), Hedge::Off);
    let found = again.object(&[Prefix::public()], &hash, true).await;
    assert_eq!(found.map(|(_, tier)| tier), Ok(Tier::Cache));
    assert!(!world.cache.path().join(".new-77").exists());
}

#[tokio::test]
async fn a_lie_on_the_way_is_noticed_and_a_wrong_store_is_named() {
    let world = world(Hedge::Off);
    let hash = world.put(&Prefix::public(), b"object").await;
    world.whims([Whim::Lie(seal_raw(b"wrong"))]);
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"object"), Tier::Origin)));
    assert_eq!(world.metrics.wrong_in("origin"), 0);
    let bad = Hash::of(b"never stored");
    world.moody.inner.put(&Path::from(Prefix::public().object(&bad)), seal_raw(b"x").into()).await.expect("is kept");
    assert_eq!(world.get(&bad).await, Err(ReadError::Corrupt));
    assert_eq!(world.metrics.wrong_in("origin"), 1);
}

#[tokio::test]
async fn a_good_copy_outlives_a_store_that_went_bad() {
    let world = world(Hedge::Off);
    let hash = world.put(&Prefix::public(), b"object").await;
    world.get(&hash).await.expect("is in the store");
    world.moody.inner.put(&Path::from(Prefix::public().object(&hash)), seal_raw(b"x").into()).await.expect("is kept");
    let fresh = world.tiers.fresh(&[Prefix::public()], &hash).await;
    assert_eq!(fresh.map(|(stored, tier)| (stored.envelope.clone(), tier)), Ok((seal_raw(b"object"), Tier::Memory)));
    assert_eq!(world.get(&hash).await, Ok((seal_raw(b"object"), Tier::Memory)));
}

#[tokio::test]
async fn a_small_disk_cache_stays_small() {
    let cache = tempfile::tempdir().expect("makes a directory");
    let config = DiskCacheConfig { directory: cache.path().to_owned(), bytes: 200_000 };
    let disk = DiskCache::open(&config).expect("opens");
    for n in 0..100_u32 {
        let key = ObjectKey { prefix: Prefix::public(), hash: Hash::of(&n.to_le_bytes()) };
        disk.put(&key, Bytes::from(vec![1; 10_000]));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let again = DiskCache::open(&config).expect("opens");
    drop(again);
    let files =
        |path: &std::path::Path| std::fs::read_dir(path).expect("lists").map(|file| file.expect("is there").path());
    let bytes: u64 = files(cache.path())
        .filter(|path| path.is_dir())
        .flat_map(|folder| files(&folder).collect::<Vec<_>>())
        .map(|file| file.metadata().map_or(0, |found| found.len()))
        .sum();
    assert!(bytes > 50_000 && bytes <= 200_000, "{bytes}");
}
