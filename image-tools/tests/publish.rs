//! Images from store to store: what is copied, what is kept, and what happens when it all runs at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use block_proto::sign::SecretKey;
use block_proto::{Hash, key};
use block_store::{Location, Options, Store};
use futures_util::TryStreamExt;
use image_tools::build::{BuildOptions, Size, build};
use image_tools::publish::diff::diff;
use image_tools::publish::gc::{Collected, GcOptions, gc};
use image_tools::publish::push::{PushOptions, Pushed, push};
use image_tools::publish::{Area, ImageObjects, Kind, Lease, Origin, OriginRef, keys};
use image_tools::{Network, NoProgress, Reader, Source, verify};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use vm_block::remote::native::NativeOptions;
use vm_block::{ChunkCache, MemoryStore, Overlay, OverlayOptions, Shelf};

struct World {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

fn world() -> World {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    World { dir: tempfile::tempdir().expect("makes a directory"), runtime: runtime.expect("starts") }
}

/// Bytes that do not repeat and do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Puts a file into the tree that images are made of.
    fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.path("root").join(name);
        fs::create_dir_all(path.parent().expect("has a folder")).expect("makes folders");
        fs::write(path, bytes).expect("writes");
    }

    /// Builds the next version of `demo` in the store `local` and tags it.
    fn version(&self, tag: &str, after: Option<&str>) -> Hash {
        let local = image_tools::Store::create(&self.path("local")).expect("makes a store");
        let after = after.map(|tag| format!("{}/demo@{tag}", self.path("local").display()).parse().expect("a name"));
        let options = BuildOptions {
            tags: vec![tag.to_owned()],
            size: Size::Free(4 << 20),
            level: 1,
            after,
            ..BuildOptions::new("demo")
        };
        build(&Source::Dir(self.path("root")), &local, &options, &NoProgress).expect("builds").manifest
    }

    /// Three versions: each has one file more.
    fn three_versions(&self) -> [Hash; 3] {
        for n in 0..24 {
            self.file(&format!("usr/lib/file{n}"), &noise(n, 90_000));
        }
        let one = self.version("v1", None);
        self.file("etc/two", b"two");
        let two = self.version("v2", Some("v1"));
        self.file("etc/three", &noise(99, 70_000));
        [one, two, self.version("v3", Some("v2"))]
    }

    fn image(&self, version: &str) -> (OriginRef, Origin) {
        let image: OriginRef = format!("{}/demo@{version}", self.path("local").display()).parse().expect("a name");
        let origin = Origin::open(&image, &Area::public(), &NativeOptions::default()).expect("opens");
        (image, origin)
    }

    fn push(&self, version: &str, to: &Store, options: &PushOptions) -> anyhow::Result<Pushed> {
        let (image, origin) = self.image(version);
        self.run(push(&image, &origin, to, options, &NoProgress))
    }

    fn directory(&self, name: &str) -> Store {
        fs::create_dir_all(self.path(name)).expect("makes it");
        Store::open(&Location::Directory(self.path(name)), &Options::default()).expect("opens")
    }
}

fn tagged(tag: &str) -> PushOptions {
    PushOptions { tags: vec![tag.to_owned()], patience: Duration::from_secs(60), ..PushOptions::default() }
}

fn at_once(delete: bool) -> GcOptions {
    GcOptions {
        keep: Duration::ZERO,
        grace: Duration::ZERO,
        delete,
        patience: Duration::from_secs(60),
        ..GcOptions::default()
    }
}

/// Stores that answer slowly, so that what runs at the same time really is interleaved.
fn slow_memory(step: Duration) -> Store {
    let config = ThrottleConfig {
        wait_delete_per_call: step,
        wait_get_per_call: step,
        wait_list_per_call: step,
        wait_put_per_call: step,
        ..ThrottleConfig::default()
    };
    let objects = Arc::new(ThrottledStore::new(InMemory::new(), config));
    Store::wrap(objects, Location::Bucket { bucket: "memory".into(), prefix: String::new() })
}

async fn keys_of(store: &Store) -> BTreeSet<String> {
    store.list("").map_ok(|entry| entry.key).try_collect().await.expect("lists")
}

/// Whether every object of an image is there and good.
async fn complete(store: &Store, manifest: Hash) -> anyhow::Result<()> {
    let origin = Origin::Store { store: store.clone(), area: Area::public() };
    let image = ImageObjects::read(&origin, manifest).await?;
    for hash in image.content() {
        anyhow::ensure!(origin.stored(hash).await?.is_some(), "{hash} is missing");
    }
    Ok(())
}

#[test]
fn only_what_is_missing_is_copied_and_the_copy_verifies() {
    let world = world();
    let [one, two, _] = world.three_versions();
    let to = world.directory("there");
    let first = world.push("v1", &to, &tagged("latest")).expect("pushes");
    assert_eq!((first.manifest, first.copied), (one, first.objects));
    let second = world.push("v2", &to, &tagged("latest")).expect("pushes");
    assert_eq!(second.manifest, two);
    assert!(second.copied < 12 && second.copied < second.objects / 2, "{second:?}");
    let again = world.push("v2", &to, &tagged("latest")).expect("pushes");
    assert_eq!((again.copied, again.copied_bytes, again.restored), (0, 0, 0));
    let image = format!("{}/demo", world.path("there").display()).parse().expect("a name");
    let reader = Reader::open(&image, &Network::default()).expect("opens");
    assert_eq!(reader.hash(), two);
    assert!(verify::verify(&reader, &NoProgress).expect("reads").is_good());
    // Byte by byte what was built, and nothing of the pushes stays behind.
    for key in world.run(keys_of(&to)) {
        if key.starts_with("o/") {
            let (ours, theirs) = (world.path("local").join(&key), world.path("there").join(&key));
            assert!(fs::read(ours).expect("reads") == fs::read(theirs).expect("reads"), "{key}");
        }
        assert!(!key.starts_with("l/"), "{key}");
    }
}

#[test]
fn a_push_that_broke_off_goes_on_where_it_was() {
    let world = world();
    world.three_versions();
    let to = world.directory("there");
    let all = world.push("v1", &to, &tagged("whole")).expect("pushes").objects;
    // As if it had ended after a third of the chunks: no manifest, no tag, and one file torn by a power failure.
    let keys: Vec<String> = world.run(keys_of(&to)).into_iter().collect();
    let objects: Vec<&String> = keys.iter().filter(|key| key.starts_with("o/")).collect();
    for key in keys.iter().filter(|key| !key.starts_with("o/")) {
        fs::remove_file(world.path("there").join(key)).expect("removes");
    }
    for key in objects.iter().skip(objects.len() / 3) {
        fs::remove_file(world.path("there").join(key)).expect("removes");
    }
    fs::write(world.path("there").join(objects[0]), b"").expect("writes");
    let pushed = world.push("v1", &to, &tagged("latest")).expect("pushes");
    assert_eq!(pushed.copied, all - objects.len() as u64 / 3 + 1);
    world.run(complete(&to, pushed.manifest)).expect("is complete");
}

#[test]
fn a_corrupt_object_is_not_copied() {
    let world = world();
    let [one, ..] = world.three_versions();
    let (_, origin) = world.image("v1");
    let image = world.run(ImageObjects::read(&origin, one)).expect("reads");
    let path =
        world.path("local").join(key::object(&image.chunks.iter().flatten().next().expect("has chunks").clone()));
    let mut stored = fs::read(&path).expect("reads");
    *stored.last_mut().expect("is not empty") ^= 1;
    fs::write(path, stored).expect("writes");
    let to = world.directory("there");
    let error = world.push("v1", &to, &tagged("latest")).expect_err("is refused");
    assert!(format!("{error:#}").contains("corrupt"), "{error:#}");
    let keys = world.run(keys_of(&to));
    assert!(keys.iter().all(|key| key.starts_with("o/")), "neither tag nor lease: {keys:?}");
}

#[test]
fn the_difference_is_counted_in_bytes_and_chunks() {
    let world = world();
    world.three_versions();
    let (v1, origin) = world.image("v1");
    let (v2, _) = world.image("v2");
    let same = world.run(diff((&v1, &origin), (&v1, &origin), &NoProgress)).expect("compares");
    assert_eq!((same.changed_bytes, same.changed_chunks, same.new_chunks, same.new_stored_bytes), (0, 0, 0, 0));
    let small = world.run(diff((&v1, &origin), (&v2, &origin), &NoProgress)).expect("compares");
    assert!((1..10).contains(&small.new_chunks) && small.new_chunks <= small.changed_chunks, "{small:?}");
    // The exported disks, compared by another program.
    for version in ["v1", "v2"] {
        let image = format!("{}/demo@{version}", world.path("local").display()).parse().expect("a name");
        let reader = Reader::open(&image, &Network::default()).expect("opens");
        let layout = image_tools::export::Layout::File;
        image_tools::export::export(&reader, &world.path(version), layout, &NoProgress).expect("exports");
    }
    let compared =
        Command::new("cmp").arg("-l").args([world.path("v1"), world.path("v2")]).output().expect("runs").stdout;
    assert_eq!(small.changed_bytes, compared.iter().filter(|byte| **byte == b'\n').count() as u64);
}

#[test]
fn gc_tells_first_and_then_removes_what_nothing_reaches() {
    let world = world();
    let [one, two, three] = world.three_versions();
    let to = world.directory("there");
    for (version, tag) in [("v1", "latest"), ("v2", "latest"), ("v3", "latest"), ("v2", "stable")] {
        world.push(version, &to, &tagged(tag)).expect("pushes");
    }
    let before = world.run(keys_of(&to));
    let run = |options: &GcOptions| -> Collected { world.run(gc(&to, options, &NoProgress)).expect("collects") };
    // All were published a moment ago.
    let kept = run(&GcOptions { keep: Duration::from_secs(3600), ..at_once(true) });
    assert_eq!((kept.images, kept.removed, kept.records), (3, 0, 0));
    let young = run(&GcOptions { grace: Duration::from_secs(3600), ..at_once(true) });
    assert!(young.removed == 0 && young.young > 0, "{young:?}");
    let told = run(&at_once(false));
    assert_eq!(world.run(keys_of(&to)), before, "only told");
    let done = run(&at_once(true));
    assert_eq!((told.removed, told.removed_bytes, told.records), (done.removed, done.removed_bytes, 1));
    assert!(done.removed > 0 && done.images == 2, "{done:?}");
    world.run(complete(&to, two)).expect("a tag points at it");
    world.run(complete(&to, three)).expect("a tag points at it");
    world.run(complete(&to, one)).expect_err("is gone");
    assert_eq!(run(&at_once(true)).removed, 0, "nothing is left to do");
}

#[test]
fn gc_touches_nothing_if_an_image_cannot_be_read() {
    let world = world();
    let [one, two, _] = world.three_versions();
    let to = world.directory("there");
    world.push("v1", &to, &tagged("old")).expect("pushes");
    world.push("v2", &to, &tagged("latest")).expect("pushes");
    fs::remove_file(world.path("there/t/demo/old.json")).expect("removes the tag");
    fs::remove_file(world.path("there").join(key::object(&two))).expect("removes a manifest");
    let before = world.run(keys_of(&to));
    let error = world.run(gc(&to, &at_once(true), &NoProgress)).expect_err("is refused");
    assert!(format!("{error:#}").contains("nothing was removed"), "{error:#}");
    assert_eq!(world.run(keys_of(&to)), before);
    world.run(complete(&to, one)).expect("is still there");
}

#[test]
fn a_gc_waits_for_a_push_and_a_push_for_a_gc() {
    let world = world();
    let [_, two, _] = world.three_versions();
    let to = slow_memory(Duration::from_micros(100));
    world.push("v1", &to, &tagged("latest")).expect("pushes");
    // v1 is rubbish from now on, but for the chunks that the next push relies on.
    world.run(to.delete("t/demo/latest.json")).expect("deletes");
    world.run(async {
        let lease = Lease::take(&to, &Area::public(), Kind::Push).await.expect("takes it");
        let hasty = GcOptions { patience: Duration::ZERO, ..at_once(true) };
        let before = keys_of(&to).await;
        let error = gc(&to, &hasty, &NoProgress).await.expect_err("somebody pushes");
        assert!(error.to_string().contains("push is under way"), "{error}");
        assert_eq!(keys_of(&to).await, before, "nothing went, and its own lease did");
        lease.release().await.expect("releases");
    });

    // A gc that is at work takes a chunk away that the push had counted on.
    let (image, origin) = world.image("v2");
    let chunk = world.run(ImageObjects::read(&origin, two)).expect("reads").chunks.iter().flatten().next().copied();
    let chunk = key::object(&chunk.expect("has chunks"));
    let pushed = world.run(async {
        let lease = Lease::take(&to, &Area::public(), Kind::Gc).await.expect("takes it");
        let (other, options) = (to.clone(), tagged("latest"));
        let pushing = tokio::spawn(async move { push(&image, &origin, &other, &options, &NoProgress).await });
        // It has copied what was missing once its manifest is there.
        while to.head(&key::object(&two)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        to.delete(&chunk).await.expect("deletes");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(to.head("t/demo/latest.json").await.is_err(), "the tag waits for the gc");
        lease.release().await.expect("releases");
        pushing.await.expect("ends").expect("pushes")
    });
    assert_eq!(pushed.restored, 1);
    world.run(complete(&to, two)).expect("is complete");
}

#[test]
fn a_lease_that_was_left_behind_does_not_stop_a_gc_for_ever() {
    let world = world();
    world.three_versions();
    let to = world.directory("there");
    world.push("v1", &to, &tagged("latest")).expect("pushes");
    let lease = world.run(Lease::take(&to, &Area::public(), Kind::Push)).expect("takes it");
    drop(lease);
    let left: Vec<String> = world.run(keys_of(&to)).into_iter().filter(|key| key.starts_with("l/")).collect();
    let hasty = GcOptions { patience: Duration::ZERO, ..at_once(true) };
    world.run(gc(&to, &hasty, &NoProgress)).expect_err("it counts");
    let old = Command::new("touch").args(["-d", "11 minutes ago"]).arg(world.path("there").join(&left[0])).status();
    assert!(old.expect("runs").success());
    world.run(gc(&to, &hasty, &NoProgress)).expect("it counts no more");
    assert!(world.run(keys_of(&to)).iter().all(|key| !key.starts_with("l/")));
}

#[test]
fn pushes_and_gcs_at_the_same_time_lose_nothing() {
    let world = world();
    let [_, two, three] = world.three_versions();
    let mut restored = 0;
    let mut removed = 0;
    for round in 0..12_u64 {
        let to = slow_memory(Duration::from_micros(200));
        world.push("v1", &to, &tagged("old")).expect("pushes");
        world.run(to.delete("t/demo/old.json")).expect("deletes");
        let start = |version: &str, tag: &str| {
            let ((image, origin), to, options) = (world.image(version), to.clone(), tagged(tag));
            async move { push(&image, &origin, &to, &options, &NoProgress).await }
        };
        let (one, other) = (start("v2", "a"), start("v3", "b"));
        let collect = |delay: u64| {
            let to = to.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                gc(&to, &at_once(true), &NoProgress).await
            }
        };
        let (first, second) = (collect(round * 3), collect(round * 5));
        world.run(async {
            let (one, other) = (tokio::spawn(one), tokio::spawn(other));
            let (first, second) = (tokio::spawn(first), tokio::spawn(second));
            for pushed in [one.await, other.await] {
                restored += pushed.expect("ends").expect("pushes").restored;
            }
            for collected in [first.await, second.await] {
                removed += collected.expect("ends").expect("collects").removed;
            }
            for manifest in [two, three] {
                complete(&to, manifest).await.unwrap_or_else(|error| panic!("round {round}: {error:#}"));
            }
            assert!(keys_of(&to).await.iter().all(|key| !key.starts_with("l/")));
        });
    }
    assert!(removed > 0, "no gc ever had anything to do");
    eprintln!("{removed} objects removed, {restored} restored");
}

#[test]
fn an_overlay_two_versions_old_still_opens() {
    let world = world();
    let [one, ..] = world.three_versions();
    let to = world.directory("there");
    world.push("v1", &to, &tagged("latest")).expect("pushes");
    let shelf = Shelf::unlogged();
    let open = |work: &dyn Fn(&Reader) -> anyhow::Result<()>| -> anyhow::Result<()> {
        let image = format!("{}/demo@b3:{one}", world.path("there").display()).parse().expect("a name");
        work(&Reader::open(&image, &Network::default())?)
    };
    open(&|reader| {
        reader.run(async {
            let fs = mount(reader, &shelf).await;
            let new = ext2::NewInode { mode: 0x81a4, uid: 0, gid: 0, rdev: ext2::DeviceNumber::default() };
            let ino = fs.create(ext2::Ino::ROOT, b"mine", new, ext2::Time::default()).await.expect("creates");
            fs.write(ino, 0, &noise(5, 300_000), ext2::Time::default()).await.expect("writes");
            fs.sync().await.expect("is durable");
        })
    })
    .expect("opens");

    for version in ["v2", "v3"] {
        world.push(version, &to, &tagged("latest")).expect("pushes");
        let collected =
            world.run(gc(&to, &GcOptions { grace: Duration::ZERO, delete: true, ..GcOptions::default() }, &NoProgress));
        assert_eq!(collected.expect("collects").removed, 0, "every version was published lately");
    }
    open(&|reader| {
        reader.run(async {
            let fs = mount(reader, &shelf).await;
            let mine = fs.lookup(ext2::Ino::ROOT, b"mine").await.expect("is there");
            let mut bytes = vec![0; 300_000];
            assert_eq!(fs.read(mine, 0, &mut bytes).await, Ok(300_000));
            assert!(bytes == noise(5, 300_000));
            let lib = fs.lookup(fs.lookup(ext2::Ino::ROOT, b"usr").await.expect("finds"), b"lib").await.expect("finds");
            let old = fs.lookup(lib, b"file7").await.expect("is there");
            let mut bytes = vec![0; 90_000];
            fs.read(old, 0, &mut bytes).await.expect("reads");
            assert!(bytes == noise(7, 90_000));
        })
    })
    .expect("still opens");

    // Half a year later.
    world.run(gc(&to, &at_once(true), &NoProgress)).expect("collects");
    open(&|_| Ok(())).expect_err("is gone now");
}

type Disk = ext2::Ext2<std::rc::Rc<Overlay<ChunkCache<vm_block::remote::Remote>, MemoryStore>>>;

async fn mount(reader: &Reader, shelf: &std::rc::Rc<Shelf>) -> Disk {
    let identity = *reader.hash().as_bytes();
    let cache = ChunkCache::new(reader.remote().clone(), 8 << 20);
    let store = MemoryStore::open(shelf, identity);
    let overlay = Overlay::open(cache, identity, store, OverlayOptions::default()).await.expect("opens");
    ext2::Ext2::mount(std::rc::Rc::new(overlay), ext2::MountOptions::default()).await.expect("mounts")
}

#[test]
fn a_pinned_key_refuses_everything_it_did_not_sign() {
    let world = world();
    world.three_versions();
    let to = world.directory("there");
    let (ours, other) = (SecretKey::from_random([1; 32]), SecretKey::from_random([2; 32]));
    let open = |key: &SecretKey, version: &str| {
        let image = format!("{}/demo{version}", world.path("there").display()).parse().expect("a name");
        Reader::open_signed(&image, &Network::default(), Some(key.public())).map(|reader| reader.hash())
    };
    let pushed = world.push("v1", &to, &tagged("latest")).expect("pushes");
    assert!(open(&ours, "").expect_err("nobody signed").is::<image_tools::Untrusted>());
    assert_eq!(open(&ours, &format!("@b3:{}", pushed.manifest)).expect("a hash needs no signature"), pushed.manifest);
    world.push("v1", &to, &PushOptions { secret: Some(ours.clone()), ..tagged("latest") }).expect("pushes");
    assert_eq!(open(&ours, "").expect("is signed"), pushed.manifest);
    assert!(open(&other, "").is_err());
    // Another key beside the first, and a push without a key that moves the tag to another version.
    let image: OriginRef = format!("{}/demo", world.path("there").display()).parse().expect("a name");
    let origin = Origin::open(&image, &Area::public(), &NativeOptions::default()).expect("opens");
    world.run(keys::sign(&image, &origin, &other, true)).expect("signs");
    assert!(open(&ours, "").is_ok() && open(&other, "").is_ok());
    let pinned = PushOptions { pinned: Some(SecretKey::from_random([3; 32]).public()), ..tagged("latest") };
    let copy = world.directory("copy");
    let refused = world.run(push(&image, &origin, &copy, &pinned, &NoProgress)).expect_err("is refused");
    assert!(format!("{refused:#}").contains("not to be trusted"), "{refused:#}");
    world.push("v2", &to, &tagged("latest")).expect("pushes");
    assert!(open(&ours, "").is_err(), "a moved tag is not signed any more");
}

#[test]
fn tenants_share_nothing() {
    let world = world();
    let [one, ..] = world.three_versions();
    let to = world.directory("there");
    let acme = Area::tenant("acme").expect("a name");
    let private = PushOptions { area: acme.clone(), ..tagged("latest") };
    let pushed = world.push("v1", &to, &private).expect("pushes");
    assert_eq!(pushed.copied, pushed.objects);
    assert!(world.run(keys_of(&to)).iter().all(|key| key.starts_with("p/acme/")));
    let public = world.push("v1", &to, &tagged("latest")).expect("pushes");
    assert_eq!(public.copied, public.objects, "what a tenant has is nobody else's");
    world.run(to.delete("t/demo/latest.json")).expect("deletes");
    world.run(gc(&to, &at_once(true), &NoProgress)).expect("collects");
    let left = world.run(keys_of(&to));
    assert!(left.iter().all(|key| key.starts_with("p/acme/")) && left.len() > 10);
    let origin = Origin::Store { store: to, area: acme };
    assert!(world.run(ImageObjects::read(&origin, one)).is_ok());
    assert!(Area::tenant("../x").is_err() && Area::tenant("").is_err());
}

#[test]
fn directories_of_stores_serve_as_ever() {
    // What push writes is what build writes.
    let world = world();
    world.three_versions();
    world.push("v1", &world.directory("there"), &tagged("v1")).expect("pushes");
    let mode =
        |path: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).expect("is there").permissions());
    assert_eq!(mode(&world.path("there/t/demo/v1.json")) & 0o444, 0o444, "readable by a web server");
}
