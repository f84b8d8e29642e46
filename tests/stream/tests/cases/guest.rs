//! A guest that reads its disk through a load balancer, and goes on when a server is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use block_proto::key::Prefix;
use block_proto::{CHUNK_SIZE, Hash};
use bytes::Bytes;
use image_tools::build::{self, BuildOptions, Size};
use image_tools::{NoProgress, Source, Store};
use stream_tests::balancer::Balancer;
use stream_tests::disk::Random;
use stream_tests::world::World;

use super::cases;

cases! { guest:
    Usual {
        own a_guest_goes_on_when_its_replica_is_killed not on [Worker],
    }
    DiskCache {
        own a_guest_runs_right_whatever_its_servers_caches_have_wrong not on [Worker],
    }
}

const MIB: usize = 1 << 20;
/// Enough for the middle of it to last a while.
const DATA: usize = 24 * MIB;

/// Puts an image with one program and one file into the store; gives the hash that the program must find.
fn publish(store: &Path, len: usize) -> String {
    let root = tempfile::tempdir().expect("makes a directory");
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin).expect("makes it");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/sum.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-m32", "-O1", "-static", "-fno-pie", "-no-pie", "-o"]).arg(bin.join("sum")).arg(source);
    assert!(gcc.status().is_ok_and(|status| status.success()), "gcc -m32 is needed (gcc-multilib)");
    let mut random = Random::new(0x5EED_0005);
    // Bytes that do not compress: all of them have to come over the network.
    let data: Vec<u8> = (0..len / 8).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect();
    std::fs::write(root.path().join("data"), &data).expect("writes");
    let options = BuildOptions { size: Size::Free(4 << 20), level: 1, ..BuildOptions::new("guest") };
    let store = Store::create(store).expect("opens");
    build::build(&Source::Dir(root.path().to_owned()), &store, &options, &NoProgress).expect("builds");
    let hash = data
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    format!("{hash:016x}")
}

/// Building has a runtime of its own.
fn publish_into(world: &World, len: usize) -> String {
    std::thread::scope(|scope| scope.spawn(|| publish(&world.store(), len)).join()).expect("builds")
}

fn guest(image: &str) -> Command {
    let mut guest = Command::new(super::program("vm-machine", "vmrun"));
    guest.args(["--image", image, "--", "/bin/sum", "/data"]).stdin(Stdio::null()).stdout(Stdio::piped());
    guest
}

async fn a_guest_goes_on_when_its_replica_is_killed(world: &mut World) {
    let world = &*world;
    let expected = publish_into(world, DATA);
    let other = world.another().expect("it is a block-server");
    let first = world.address().parse().expect("an address");
    let balancer = Balancer::start(&[first, other.address()]).await;
    let image = format!("http://{}/guest", balancer.address());
    let mut guest = guest(&image).spawn().expect("starts");
    let lines = BufReader::new(guest.stdout.take().expect("is piped")).lines();
    let (mut seen, mut cut) = (Vec::new(), 0);
    for line in lines {
        let line = line.expect("is text");
        // In the middle of it, the one that it talks to is gone without a word.
        if line == "3 MiB" {
            let sessions = world.metric("block_server_sessions").await.unwrap_or(0);
            cut = balancer.kill(usize::from(sessions == 0));
        }
        seen.push(line);
    }
    let status = guest.wait().expect("ends");
    assert!(status.success(), "{status}: {seen:?}");
    assert!(cut > 0, "nothing was cut: {seen:?}");
    assert_eq!(seen.len(), DATA / MIB + 1);
    assert_eq!(seen.last(), Some(&expected));
}

async fn a_guest_runs_right_whatever_its_servers_caches_have_wrong(world: &mut World) {
    let before = stored_objects(world);
    let expected = publish_into(world, 2 * MIB);
    let image = world.image("guest");
    let sum = |when: &str| {
        let output = tokio::task::block_in_place(|| guest(&image).output()).expect("runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{when}: {}: {printed}", output.status);
        assert_eq!(printed.lines().last(), Some(expected.as_str()), "{when}");
    };
    sum("with everything in order");
    let objects: Vec<Hash> = stored_objects(world).into_iter().filter(|hash| !before.contains(hash)).collect();
    assert!(objects.len() > 2 * MIB / CHUNK_SIZE, "{} objects", objects.len());
    let spoiler = world.spoiler().expect("it is a block-server");
    for hash in &objects {
        spoiler.spoil(&Prefix::public(), hash, Bytes::from_static(b"poison")).await;
    }
    sum("with its memory poisoned");
    let wrong = world.metric("block_server_objects_wrong_total{tier=\"memory\"}").await;
    assert!(wrong.is_some_and(|wrong| wrong as usize > 2 * MIB / CHUNK_SIZE), "{wrong:?}");
    // Whatever is in the disk cache, one flipped bit each.
    let mut flipped = 0;
    for folder in std::fs::read_dir(world.disk_cache()).expect("is there") {
        for file in std::fs::read_dir(folder.expect("reads").path()).expect("is a folder") {
            let path = file.expect("reads").path();
            let mut bytes = std::fs::read(&path).expect("reads");
            if let Some(middle) = bytes.len().checked_div(2).and_then(|at| bytes.get_mut(at)) {
                *middle ^= 1;
                flipped += 1;
            }
            std::fs::write(&path, bytes).expect("writes");
        }
    }
    assert!(flipped > 2 * MIB / CHUNK_SIZE, "{flipped} files");
    world.restart();
    sum("with its disk cache poisoned");
    let wrong = world.metric("block_server_objects_wrong_total{tier=\"disk\"}").await;
    assert!(wrong.is_some_and(|wrong| wrong as usize > 2 * MIB / CHUNK_SIZE), "{wrong:?}");
}

/// The public objects of the store.
fn stored_objects(world: &World) -> Vec<Hash> {
    let folders = std::fs::read_dir(world.store().join("o")).expect("lists").map(|entry| entry.expect("reads").path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).expect("lists"));
    files.filter_map(|entry| entry.expect("reads").file_name().to_str()?.parse().ok()).collect()
}
