//! A guest that reads its disk through a load balancer, and goes on when a server is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
}

const MIB: usize = 1 << 20;
const DATA: usize = 24 * MIB;

/// The built `vmrun`, which a run of the whole workspace has built before.
fn vmrun() -> PathBuf {
    let test = std::env::current_exe().expect("has a name");
    let program = test.ancestors().nth(2).expect("lies in target/PROFILE/deps").join("vmrun");
    if !program.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--quiet", "-p", "vm-machine", "--bin", "vmrun"]).status();
        assert!(built.is_ok_and(|status| status.success()), "vmrun cannot be built");
    }
    program
}

/// Puts an image with one program and one file into the store; gives the hash that the program must find.
fn publish(store: &Path) -> String {
    let root = tempfile::tempdir().expect("makes a directory");
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin).expect("makes it");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/sum.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-m32", "-O1", "-static", "-fno-pie", "-no-pie", "-o"]).arg(bin.join("sum")).arg(source);
    assert!(gcc.status().is_ok_and(|status| status.success()), "gcc -m32 is needed (gcc-multilib)");
    let mut random = Random::new(0x5EED_0005);
    // Bytes that do not compress: all of them have to come over the network.
    let data: Vec<u8> = (0..DATA / 8).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect();
    std::fs::write(root.path().join("data"), &data).expect("writes");
    let options = BuildOptions { size: Size::Free(4 << 20), level: 1, ..BuildOptions::new("guest") };
    let store = Store::create(store).expect("opens");
    build::build(&Source::Dir(root.path().to_owned()), &store, &options, &NoProgress).expect("builds");
    let hash = data
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    format!("{hash:016x}")
}

async fn a_guest_goes_on_when_its_replica_is_killed(world: &mut World) {
    let world = &*world;
    // Building has a runtime of its own.
    let published = std::thread::scope(|scope| scope.spawn(|| publish(&world.store())).join());
    let expected = published.expect("builds");
    let other = world.another().expect("it is a block-server");
    let first = world.address().parse().expect("an address");
    let balancer = Balancer::start(&[first, other.address()]).await;
    let image = format!("http://{}/guest", balancer.address());
    let mut guest = Command::new(vmrun());
    guest.args(["--image", &image, "--", "/bin/sum", "/data"]);
    let mut guest = guest.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("starts");
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
