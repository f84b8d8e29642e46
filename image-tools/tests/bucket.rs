//! The program against a real S3 server of somebody else's making: `s3s-fs`, which checks signatures and keeps a bucket as a
//! folder, on loopback.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::channel;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

const KEY_ID: &str = "AKIDSKIFFTESTS";
const KEY: &str = "the key of the tests";

/// Serves the folders of a folder as buckets, until the process ends.
fn serve(root: &Path) -> SocketAddr {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).expect("opens"));
    builder.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
    let service = builder.build();
    let (told, address) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
            told.send(listener.local_addr().expect("is bound")).expect("is listened to");
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let service = service.clone();
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tcp), service).await;
                });
            }
        });
    });
    address.recv().expect("it listens")
}

struct World {
    dir: tempfile::TempDir,
    server: SocketAddr,
}

impl World {
    fn run_with(&self, words: &[&str], key: &str) -> Output {
        let mut tools = Command::new(env!("CARGO_BIN_EXE_image-tools"));
        tools.args(words).current_dir(self.dir.path());
        tools.env("AWS_ENDPOINT_URL", format!("http://{}", self.server)).env("AWS_REGION", "auto");
        tools.env("AWS_ALLOW_HTTP", "true").env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", key);
        tools.output().expect("runs")
    }

    fn run(&self, words: &[&str]) -> String {
        let output = self.run_with(words, KEY);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{words:?}: {text}");
        text
    }

    fn build(&self, tag: &str) {
        let from = format!("dir:{}", self.dir.path().join("root").display());
        self.run(&[
            "build", "-o", "local", "--name", "demo", "--tag", tag, "--size", "8M", "--level", "1", "--from", &from,
        ]);
    }
}

fn files(folder: &Path, below: &str) -> usize {
    let Ok(entries) = fs::read_dir(folder.join(below)) else { return 0 };
    entries.map(|entry| entry.expect("reads").path()).map(|path| if path.is_dir() { files(&path, "") } else { 1 }).sum()
}

#[test]
fn an_image_goes_into_a_bucket_and_comes_back() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let bucket = dir.path().join("buckets/disks");
    fs::create_dir_all(&bucket).expect("makes it");
    fs::create_dir_all(dir.path().join("root/etc")).expect("makes it");
    let server = serve(&dir.path().join("buckets"));
    let world = World { dir, server };
    let root = world.dir.path().join("root");
    for n in 0..20_u8 {
        let bytes: Vec<u8> = (0..90_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8 ^ n).collect();
        fs::write(root.join(format!("file{n}")), bytes).expect("writes");
    }
    world.build("v1");
    world.run(&["push", "local/demo@v1", "s3://disks", "--tag", "v1", "--tag", "latest"]);
    let objects = files(&bucket, "o");
    assert!(objects > 10, "{objects} objects");
    assert_eq!(files(&bucket, "t"), 2);
    assert_eq!(files(&bucket, "l"), 0, "the lease is given back");
    // Again: nothing is missing.
    world.run(&["push", "local/demo@v1", "s3://disks", "--tag", "latest"]);
    assert_eq!(files(&bucket, "o"), objects);

    world.run(&["pull", "s3://disks/demo", "-o", "back"]);
    world.run(&["verify", "back/demo"]);
    world.run(&["export", "back/demo", "back.ext2"]);
    world.run(&["export", "local/demo@v1", "local.ext2"]);
    let read = |name: &str| fs::read(world.dir.path().join(name)).expect("reads");
    assert!(read("back.ext2") == read("local.ext2"), "what came back is another disk");

    // A torn object in the bucket is found and put right by the next push.
    let victim = fs::read_dir(bucket.join("o")).expect("lists").next().expect("has one").expect("reads").path();
    let victim = fs::read_dir(victim).expect("lists").next().expect("has one").expect("reads").path();
    let whole = fs::read(&victim).expect("reads");
    fs::write(&victim, &whole[..whole.len() / 2]).expect("writes");
    let output = world.run_with(&["pull", "s3://disks/demo", "-o", "torn"], KEY);
    assert!(!output.status.success(), "a torn object was believed");
    fs::remove_file(&victim).expect("removes");
    world.run(&["push", "local/demo@v1", "s3://disks", "--tag", "latest"]);
    assert!(fs::read(&victim).expect("is there again") == whole);

    // A second version, and the end of the first.
    fs::write(root.join("etc/two"), b"two").expect("writes");
    world.build("v2");
    world.run(&["push", "local/demo@v2", "s3://disks", "--tag", "latest"]);
    let words = world.run(&["diff", "s3://disks/demo@v1", "s3://disks/demo@latest"]);
    assert!(words.contains("chunk"), "{words}");
    let before = files(&bucket, "o");
    world.run(&["gc", "s3://disks", "--keep", "0s", "--grace", "0s"]);
    assert_eq!(files(&bucket, "o"), before, "without --delete it only tells");
    fs::remove_file(bucket.join("t/demo/v1.json")).expect("removes");
    world.run(&["gc", "s3://disks", "--keep", "0s", "--grace", "0s", "--delete"]);
    let after = files(&bucket, "o");
    assert!(after < before && after > 10, "{before} objects, then {after}");
    world.run(&["pull", "s3://disks/demo", "-o", "second"]);
    world.run(&["verify", "second/demo"]);

    let output = world.run_with(&["push", "local/demo@v2", "s3://disks"], "another key");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("no permission"), "{words}");
}
