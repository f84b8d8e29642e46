//! Objects that are wrong, in each place where they are kept, and how they come right again.

use std::path::{Path, PathBuf};

use block_proto::frame::{ErrorCode, Tier};
use block_proto::key::{self, Prefix};
use block_proto::{Hash, MAX_OBJECT, envelope};
use bytes::Bytes;
use stream_tests::disk::Disk;
use stream_tests::raw::{Socket, http};
use stream_tests::world::World;
use vm_block::BlockDevice;

use super::cases;

cases! { tiers:
    Usual {
        own missing_objects_are_said_to_be_and_found_once_there,
        own damaged_objects_of_the_store_are_never_sent,
        own fresh_heals_memory not on [Worker],
        own a_client_heals_memory_by_itself not on [Worker],
        own fresh_is_for_what_is_wrong_and_keeps_what_is_right,
        own a_poisoned_edge_cache_is_a_miss_and_healed not on [Directory, Bucket],
    }
    DiskCache {
        own a_poisoned_disk_cache_is_a_miss_and_healed not on [Worker],
        own every_tier_poisoned_at_once not on [Worker],
    }
    DefaultLimits {
        own fresh_is_limited_and_nothing_else_with_it,
    }
}

const WINDOW: u32 = 8 << 20;

/// All the ways in which stored bytes are wrong.
fn damages(good: &[u8], other: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut flipped = good.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let mut codec = good.to_vec();
    codec[0] = 9;
    let mut longer = good.to_vec();
    longer[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    vec![
        ("one bit", flipped),
        ("nothing", Vec::new()),
        ("torn", good[..good.len() / 3].to_vec()),
        ("torn header", good[..5].to_vec()),
        ("trailing bytes", [good, b"tail"].concat()),
        ("another object", other.to_vec()),
        ("unknown codec", codec),
        ("a size of 4 GiB", longer),
        ("zeros", vec![0; good.len()]),
        ("more than any object has", vec![7; (2 << 20) + 1]),
    ]
}

fn is_good(stored: &Bytes, hash: &Hash) -> bool {
    envelope::open(stored, hash, MAX_OBJECT).is_ok()
}

async fn fetch_one(socket: &mut Socket, hash: &Hash) -> Result<(Bytes, Tier), ErrorCode> {
    let found = socket.fetch(1, &[*hash]).await.remove(0);
    if let Ok((stored, _)) = &found {
        socket.credit(u32::try_from(stored.len()).expect("is short")).await;
    }
    found
}

async fn fetch_fresh(socket: &mut Socket, hash: &Hash) -> Result<(Bytes, Tier), ErrorCode> {
    socket.get_fresh(2, &[*hash]).await;
    let found = socket.answer().await.result;
    if let Ok((stored, _)) = &found {
        socket.credit(u32::try_from(stored.len()).expect("is short")).await;
    }
    found
}

async fn missing_objects_are_said_to_be_and_found_once_there(world: &mut World) {
    let hash = world.sample.small.chunks[&30];
    let key = key::object(&hash);
    let good = world.stored(&key);
    world.remove(&key);
    let mut socket = Socket::open(world, WINDOW).await;
    for _ in 0..3 {
        assert_eq!(fetch_one(&mut socket, &hash).await.err(), Some(ErrorCode::NotFound));
        assert_eq!(http(&world.address(), "GET", &format!("/{key}"), "", b"").await.status, 404);
        // Nobody else suffers.
        assert!(fetch_one(&mut socket, &world.sample.small.chunks[&31]).await.is_ok());
    }
    // That it was absent is kept nowhere.
    world.replace(&key, &good);
    assert!(is_good(&fetch_one(&mut socket, &hash).await.expect("is there").0, &hash));
    assert_eq!(http(&world.address(), "GET", &format!("/{key}"), "", b"").await.body, good);
    socket.close().await;
}

async fn damaged_objects_of_the_store_are_never_sent(world: &mut World) {
    let hash = world.sample.small.chunks[&40];
    let (key, other) = (key::object(&hash), world.stored(&key::object(&world.sample.small.chunks[&41])));
    let good = world.stored(&key);
    let mut socket = Socket::open(world, WINDOW).await;
    for (what, bytes) in damages(&good, &other) {
        world.replace(&key, &bytes);
        let code = fetch_one(&mut socket, &hash).await.err();
        assert_eq!(code, Some(ErrorCode::Corrupt), "{what}");
        let code = fetch_fresh(&mut socket, &hash).await.err();
        assert_eq!(code, Some(ErrorCode::Corrupt), "{what}, fresh");
        let reply = http(&world.address(), "GET", &format!("/{key}"), "", b"").await;
        assert!(reply.status >= 500, "{what}: {}", reply.status);
        let caching = reply.headers.get("cache-control").map_or("", String::as_str);
        assert!(!caching.contains("max-age"), "{what}: an error that is kept: {caching}");
    }
    world.replace(&key, &good);
    assert!(is_good(&fetch_one(&mut socket, &hash).await.expect("is right again").0, &hash));
    assert_eq!(http(&world.address(), "GET", &format!("/{key}"), "", b"").await.body, good);
    socket.close().await;
}

async fn fresh_heals_memory(world: &mut World) {
    let (hash, other) = (world.sample.small.chunks[&50], world.sample.small.chunks[&51]);
    let (good, other) = (world.stored(&key::object(&hash)), world.stored(&key::object(&other)));
    let mut socket = Socket::open(world, WINDOW).await;
    let spoiler = world.spoiler().expect("it is a block-server");
    for (n, (what, bytes)) in (0..).zip(damages(&good, &other)) {
        let wrong = async || world.metric("block_server_objects_wrong_total{tier=\"memory\"}").await.unwrap_or(0);
        assert!(is_good(&fetch_one(&mut socket, &hash).await.expect("is there").0, &hash));
        spoiler.spoil(&Prefix::public(), &hash, bytes.clone().into()).await;
        // What is in memory is not looked at again: this is what FRESH is for.
        assert_eq!(fetch_one(&mut socket, &hash).await.expect("is sent").0, bytes, "{what}");
        let (stored, tier) = fetch_fresh(&mut socket, &hash).await.expect("heals");
        assert!(is_good(&stored, &hash) && tier == Tier::Origin, "{what}");
        let (stored, tier) = fetch_one(&mut socket, &hash).await.expect("is there");
        assert!(is_good(&stored, &hash) && tier == Tier::Memory, "{what}");
        assert_eq!(wrong().await, 2 * n + 1, "{what}");
        spoiler.spoil(&Prefix::public(), &hash, bytes.into()).await;
        let path = format!("/v1/o/{hash}");
        let reply = http(&world.address(), "GET", &path, "Cache-Control: no-cache\r\n", b"").await;
        assert_eq!(reply.body, good, "{what} over HTTP");
        assert_eq!(wrong().await, 2 * n + 2, "{what} over HTTP");
    }
    socket.close().await;
}

fn compare(disk: &Disk, world: &World) {
    let image = &world.sample.small;
    let mut bytes = vec![0; usize::try_from(image.size).expect("is small")];
    disk.run(disk.device.read_at(0, &mut bytes)).expect("reads");
    assert!(bytes == image.expected(0, bytes.len()), "wrong bytes reached the reader");
}

async fn a_client_heals_memory_by_itself(world: &mut World) {
    compare(&Disk::open(&world.image("small"), 8), world);
    let spoiler = world.spoiler().expect("it is a block-server");
    let chunks: Vec<Hash> = world.sample.small.chunks.values().copied().collect();
    for hash in &chunks[..20] {
        spoiler.spoil(&Prefix::public(), hash, Bytes::from_static(b"\0\0\0\0\x05\0\0\0wrong")).await;
    }
    compare(&Disk::open(&world.image("small"), 8), world);
    // And for everybody who comes after.
    let mut socket = Socket::open(world, WINDOW).await;
    for hash in &chunks[..20] {
        assert!(is_good(&fetch_one(&mut socket, hash).await.expect("is there").0, hash));
    }
    socket.close().await;
}

async fn fresh_is_for_what_is_wrong_and_keeps_what_is_right(world: &mut World) {
    let hash = world.sample.small.chunks[&33];
    let key = key::object(&hash);
    let good = world.stored(&key);
    let mut socket = Socket::open(world, WINDOW).await;
    fetch_one(&mut socket, &hash).await.expect("is there");
    // The store goes bad later: what was verified before is still true.
    world.replace(&key, b"garbage");
    assert_eq!(fetch_one(&mut socket, &hash).await.expect("is in memory").0, good);
    assert_eq!(fetch_fresh(&mut socket, &hash).await.expect("is verified anew").0, good);
    assert_eq!(fetch_one(&mut socket, &hash).await.expect("is still there").0, good);
    // Nor does FRESH make out of nothing what is nowhere.
    let absent = Hash::of(b"nowhere");
    assert_eq!(fetch_fresh(&mut socket, &absent).await.err(), Some(ErrorCode::NotFound));
    socket.close().await;
}

async fn a_poisoned_edge_cache_is_a_miss_and_healed(world: &mut World) {
    let (hash, other) = (world.sample.small.chunks[&12], world.sample.small.chunks[&13]);
    let key = key::object(&hash);
    let (good, other) = (world.stored(&key), world.stored(&key::object(&other)));
    for (what, bytes) in damages(&good, &other) {
        world.poison_edge_cache(&key, &bytes);
        // With empty memory, so that the cache is asked.
        world.restart();
        let mut socket = Socket::open(world, WINDOW).await;
        assert_eq!(fetch_one(&mut socket, &hash).await.expect("is in the store").0, good, "{what}");
        world.poison_edge_cache(&key, &bytes);
        assert_eq!(fetch_fresh(&mut socket, &hash).await.expect("is in the store").0, good, "{what}");
        socket.close().await;
    }
}

/// The file of the disk cache that has these bytes.
fn cached_file(folder: &Path, bytes: &[u8]) -> Option<PathBuf> {
    let folders = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let files = folders.filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().filter_map(Result::ok);
    files.map(|file| file.path()).find(|file| std::fs::read(file).is_ok_and(|found| found == bytes))
}

/// The cache is written in the background.
async fn wait_for_cached(world: &World, bytes: &[u8]) -> PathBuf {
    for _ in 0..2000 {
        if let Some(file) = cached_file(&world.disk_cache(), bytes) {
            return file;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("is never cached");
}

async fn a_poisoned_disk_cache_is_a_miss_and_healed(world: &mut World) {
    let (hash, other) = (world.sample.small.chunks[&12], world.sample.small.chunks[&13]);
    let (good, other) = (world.stored(&key::object(&hash)), world.stored(&key::object(&other)));
    let mut socket = Socket::open(world, WINDOW).await;
    fetch_one(&mut socket, &hash).await.expect("is there");
    socket.close().await;
    let file = wait_for_cached(world, &good).await;
    for (what, bytes) in damages(&good, &other) {
        std::fs::write(&file, &bytes).expect("writes");
        world.restart();
        let mut socket = Socket::open(world, WINDOW).await;
        let (stored, tier) = fetch_one(&mut socket, &hash).await.expect("is in the store");
        assert!(stored == good && tier == Tier::Origin, "{what}: from {tier:?}");
        let wrong = world.metric("block_server_objects_wrong_total{tier=\"disk\"}").await;
        // What cannot be an object by its size is not even looked at.
        let looked_at = !bytes.is_empty() && bytes.len() <= MAX_OBJECT;
        assert_eq!(wrong.unwrap_or(0), u64::from(looked_at), "{what}");
        assert_eq!(wait_for_cached(world, &good).await, file, "{what}: not put back");
        socket.close().await;
        // What is right on the disk is taken from there.
        world.restart();
        let mut socket = Socket::open(world, WINDOW).await;
        assert_eq!(fetch_one(&mut socket, &hash).await.expect("is cached"), (good.clone().into(), Tier::Cache));
        socket.close().await;
    }
}

async fn every_tier_poisoned_at_once(world: &mut World) {
    let hash = world.sample.small.chunks[&21];
    let key = key::object(&hash);
    let good = world.stored(&key);
    let mut socket = Socket::open(world, WINDOW).await;
    fetch_one(&mut socket, &hash).await.expect("is there");
    let file = wait_for_cached(world, &good).await;
    let poison = Bytes::from_static(b"poison");
    std::fs::write(file, &poison).expect("writes");
    world.replace(&key, &poison);
    let spoiler = world.spoiler().expect("it is a block-server");
    spoiler.spoil(&Prefix::public(), &hash, poison.clone()).await;
    assert_eq!(fetch_fresh(&mut socket, &hash).await.err(), Some(ErrorCode::Corrupt));
    // Nothing that was wrong is left to be sent.
    assert_eq!(fetch_one(&mut socket, &hash).await.err(), Some(ErrorCode::Corrupt));
    for tier in ["memory", "disk"] {
        let wrong = world.metric(&format!("block_server_objects_wrong_total{{tier=\"{tier}\"}}")).await;
        assert_eq!(wrong, Some(1), "{tier}");
    }
    world.replace(&key, &good);
    assert_eq!(fetch_fresh(&mut socket, &hash).await.expect("the store is right"), (good.into(), Tier::Origin));
    socket.close().await;
    compare(&Disk::open(&world.image("small"), 8), world);
}

async fn fresh_is_limited_and_nothing_else_with_it(world: &mut World) {
    let hash = world.sample.objects[7];
    let mut socket = Socket::open(world, WINDOW).await;
    let (mut limited, mut served) = (0_u64, 0);
    for request in 1..=600 {
        socket.get_fresh(request, &[hash]).await;
        match socket.answer().await.result {
            Ok((stored, tier)) => {
                assert_eq!(tier, Tier::Origin);
                served += 1;
                socket.credit(u32::try_from(stored.len()).expect("is short")).await;
            }
            Err(code) => {
                assert_eq!(code, ErrorCode::RateLimited);
                limited += 1;
            }
        }
    }
    assert!(limited > 100 && served >= 20, "{served} served, {limited} limited");
    let counted = world.metric("block_server_limited_total{what=\"fresh\"}").await;
    assert!(counted == Some(limited) || world.spoiler().is_none(), "{counted:?} of {limited} are counted");
    assert!(fetch_one(&mut socket, &world.sample.small.chunks[&2]).await.is_ok());
    socket.close().await;
}
