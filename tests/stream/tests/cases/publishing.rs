//! The program `image-tools` against the bucket that a server reads from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stream_tests::bucket;
use stream_tests::world::World;

use super::cases;

cases! { publishing:
    Usual {
        own an_image_goes_into_a_bucket_is_served_and_comes_back not on [Directory, Worker],
    }
}

/// What the program is told of the bucket, and where it works.
struct Desk {
    dir: tempfile::TempDir,
    endpoint: String,
}

impl Desk {
    fn run_with(&self, words: &[&str], key: &str) -> Output {
        let mut tools = Command::new(super::program("image-tools", "image-tools"));
        tools.args(words).current_dir(self.dir.path());
        tools.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_REGION", "auto");
        tools.env("AWS_ACCESS_KEY_ID", bucket::KEY_ID).env("AWS_SECRET_ACCESS_KEY", key);
        tokio::task::block_in_place(|| tools.output()).expect("runs")
    }

    fn run(&self, words: &[&str]) -> String {
        let output = self.run_with(words, bucket::KEY);
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

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).expect("is there")
    }
}

/// The objects of a store that were not there before.
fn objects(store: &Path, before: &[PathBuf]) -> Vec<PathBuf> {
    let folders = fs::read_dir(store.join("o")).expect("lists").map(|entry| entry.expect("reads").path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).expect("lists"));
    files.map(|entry| entry.expect("reads").path()).filter(|path| !before.contains(path)).collect()
}

async fn an_image_goes_into_a_bucket_is_served_and_comes_back(world: &mut World) {
    let endpoint = format!("http://{}", world.bucket().expect("there is one"));
    let desk = Desk { dir: tempfile::tempdir().expect("makes a directory"), endpoint };
    let store = world.store();
    let before = objects(&store, &[]);
    let root = desk.dir.path().join("root");
    fs::create_dir_all(root.join("etc")).expect("makes it");
    for n in 0..20_u8 {
        let bytes: Vec<u8> = (0..90_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8 ^ n).collect();
        fs::write(root.join(format!("file{n}")), bytes).expect("writes");
    }
    desk.build("v1");
    desk.run(&["push", "local/demo@v1", "s3://disks", "--tag", "v1", "--tag", "latest"]);
    let first = objects(&store, &before);
    assert!(first.len() > 10, "{} objects", first.len());
    assert_eq!(fs::read_dir(store.join("t/demo")).expect("lists").count(), 2);
    let leases = fs::read_dir(store.join("l")).map_or(0, Iterator::count);
    assert_eq!(leases, 0, "the lease is given back");
    // Again: nothing is missing.
    desk.run(&["push", "local/demo@v1", "s3://disks", "--tag", "latest"]);
    assert_eq!(objects(&store, &before).len(), first.len());

    // The server has it at once, and the way back gives the same disk.
    desk.run(&["serve-check", &world.image("demo")]);
    desk.run(&["pull", "s3://disks/demo", "-o", "back"]);
    desk.run(&["verify", "back/demo"]);
    desk.run(&["export", "back/demo", "back.ext2"]);
    desk.run(&["export", "local/demo@v1", "local.ext2"]);
    assert!(desk.read("back.ext2") == desk.read("local.ext2"), "what came back is another disk");

    // A torn object in the bucket is not believed; once it is gone, the next push puts it right.
    let victim = first.first().expect("there are some");
    let whole = fs::read(victim).expect("reads");
    fs::write(victim, &whole[..whole.len() / 2]).expect("writes");
    let output = desk.run_with(&["pull", "s3://disks/demo", "-o", "torn"], bucket::KEY);
    assert!(!output.status.success(), "a torn object was believed");
    fs::remove_file(victim).expect("removes");
    desk.run(&["push", "local/demo@v1", "s3://disks", "--tag", "latest"]);
    assert!(fs::read(victim).expect("is there again") == whole);

    // A second version, and the end of the first.
    fs::write(root.join("etc/two"), b"two").expect("writes");
    desk.build("v2");
    desk.run(&["push", "local/demo@v2", "s3://disks", "--tag", "latest"]);
    let words = desk.run(&["diff", "s3://disks/demo@v1", "s3://disks/demo@latest"]);
    assert!(words.contains("chunk"), "{words}");
    let both = objects(&store, &before);
    assert!(both.len() > first.len());
    let gc = ["gc", "s3://disks", "--keep", "0s", "--grace", "0s", "--delete"];
    desk.run(&gc[..6]);
    assert_eq!(objects(&store, &before).len(), both.len(), "without --delete it only tells");
    fs::remove_file(store.join("t/demo/v1.json")).expect("removes");
    desk.run(&gc);
    let left = objects(&store, &before);
    assert!(left.len() < both.len() && left.len() > 10, "{} objects, then {}", both.len(), left.len());
    desk.run(&["pull", "s3://disks/demo", "-o", "second"]);
    desk.run(&["verify", "second/demo"]);

    let output = desk.run_with(&["push", "local/demo@v2", "s3://disks"], "another key");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("no permission"), "{words}");
}
