//! The program, run as people run it, on real archives; file systems checked by e2fsck.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

struct World {
    dir: tempfile::TempDir,
}

fn world() -> World {
    World { dir: tempfile::tempdir().expect("makes a directory") }
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("is text").to_owned()
    }

    fn tools(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-tools"));
        command.current_dir(self.dir.path()).env_remove("SOURCE_DATE_EPOCH").arg("--quiet").args(args);
        command.stdin(Stdio::null()).output().expect("runs")
    }

    fn good(&self, args: &[&str]) -> String {
        let output = self.tools(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("has a folder")).expect("makes folders");
        fs::write(path, bytes).expect("writes");
    }

    /// A tree with a bit of everything that needs no privileges.
    fn tree(&self) {
        self.put("root/etc/hostname", b"skiff\n");
        self.put("root/usr/bin/tool", &b"#!/bin/sh\necho hello\n".repeat(20_000));
        self.put("root/empty", b"");
        symlink("usr/bin", self.path("root/bin")).expect("links");
        fs::hard_link(self.path("root/etc/hostname"), self.path("root/etc/name")).expect("links");
        let sparse = fs::File::create(self.path("root/sparse")).expect("makes it");
        sparse.write_all_at(b"end", 3 << 20).expect("writes");
        for entry in ["etc/hostname", "usr/bin/tool", "empty", "sparse", "usr/bin", "usr", "etc", "bin", ""] {
            let path = self.path("root").join(entry);
            let touch = Command::new("touch").args(["-h", "-d", "@1600000000"]).arg(path).status();
            assert!(touch.expect("runs").success());
        }
    }

    /// Exports an image, checks it with e2fsck and returns its path.
    fn exported(&self, image: &str) -> PathBuf {
        let to = self.path("exported.ext2");
        let _ = fs::remove_file(&to);
        self.good(&["export", image, "exported.ext2"]);
        let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&to).output().expect("e2fsck is there");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        to
    }
}

fn debugfs(disk: &Path, request: &str) -> String {
    let output = Command::new("debugfs").arg("-R").arg(request).arg(disk).output().expect("debugfs is there");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn tar(world: &World, name: &str, options: &[&str], from: &str) {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(world.path(from)).args(["--sort=name", "-cf"]).arg(world.path(name)).args(options).arg(".");
    assert!(tar.status().expect("GNU tar is there").success());
}

#[test]
fn a_directory_becomes_a_file_system_that_e2fsck_likes() {
    let world = world();
    world.tree();
    let printed = world.good(&["build", "-o", "store", "--name", "demo", "--from", "dir:root"]);
    assert!(printed.starts_with("store/demo@b3:"), "{printed}");
    let verified = world.good(&["verify", "store/demo"]);
    assert!(verified.contains("are good"), "{verified}");
    let disk = world.exported("store/demo");
    assert!(fs::metadata(&disk).expect("is there").len() > 8 << 30);
    assert_eq!(debugfs(&disk, "cat /etc/hostname"), "skiff\n");
    assert_eq!(debugfs(&disk, "cat /usr/bin/tool").len(), 21 * 20_000);
    let stat = debugfs(&disk, "stat /etc/name");
    assert!(stat.contains("Links: 2"), "{stat}");
    assert!(debugfs(&disk, "stat /bin").contains("\"usr/bin\""));
    let sparse = debugfs(&disk, "stat /sparse");
    // One block of data and the block that maps it.
    assert!(sparse.contains("Size: 3145731") && sparse.contains("Blockcount: 16"), "{sparse}");
    assert!(stat.contains("mtime: 0x5f5e1000"), "{stat}");
}

#[test]
fn the_same_inputs_give_the_same_bytes_whatever_the_archive_is_packed_in() {
    let world = world();
    world.tree();
    tar(&world, "a.tar", &["--format=gnu", "--sparse"], "root");
    tar(&world, "b.tar.gz", &["--format=gnu", "-z", "--sparse"], "root");
    tar(&world, "c.tar.xz", &["--format=pax", "-J", "--sparse", "--pax-option=delete=atime,delete=ctime"], "root");
    let mut names = Vec::new();
    for (store, from) in
        [("s1", "dir:root"), ("s2", "dir:root"), ("s3", "tar:a.tar"), ("s4", "tar:b.tar.gz"), ("s5", "tar:c.tar.xz")]
    {
        let options = ["--created", "5", "--free", "64M", "--level", "3"];
        let printed = world.good(&[&["build", "-o", store, "--name", "demo", "--from", from][..], &options].concat());
        let inspected = world.good(&["inspect", &format!("{store}/demo")]);
        let json: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
        names.push((printed.replace(store, ""), json["pages"].clone()));
    }
    assert_eq!(names[0], names[1], "the same source twice");
    for (n, name) in names.iter().enumerate().skip(2) {
        // The manifest tells the kind of the source; the disk is the same, but for nanoseconds that old formats lack.
        assert_eq!(name.1, names[0].1, "number {n}");
    }
    assert_eq!(names[2].0, names[3].0);
}

#[test]
fn standard_input_works() {
    let world = world();
    world.tree();
    tar(&world, "a.tar.gz", &["-z"], "root");
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-tools"));
    let archive = fs::File::open(world.path("a.tar.gz")).expect("opens");
    let store = world.text("store");
    let args = ["-q", "build", "-o", &store, "--name", "demo", "--from", "tar:-", "--free", "16M"];
    let status = command.args(args).stdin(archive).stdout(Stdio::null()).status().expect("runs");
    assert!(status.success());
    assert_eq!(debugfs(&world.exported("store/demo"), "cat /etc/hostname"), "skiff\n");
}

/// Two layers: the second removes a file, hides a directory, and replaces a file.
fn layers(world: &World) {
    world.put("l1/etc/gone", b"gone");
    world.put("l1/etc/kept", b"kept");
    world.put("l1/etc/changed", b"old");
    world.put("l1/cache/old", b"old");
    world.put("l1/usr/lib/x", b"x");
    symlink("usr/lib", world.path("l1/lib")).expect("links");
    world.put("l2/etc/.wh.gone", b"");
    world.put("l2/etc/changed", b"new");
    world.put("l2/cache/.wh..wh..opq", b"");
    world.put("l2/cache/new", b"new");
    tar(world, "l1.tar", &[], "l1");
    tar(world, "l2.tar.gz", &["-z"], "l2");
}

const CONFIG: &str = r#"{"architecture":"386","os":"linux","config":{"Env":["PATH=/bin","A=1"],"Entrypoint":["/init"],
    "Cmd":null,"User":"app:app","WorkingDir":"/srv"}}"#;

fn check_layers(world: &World, image: &str) {
    let disk = world.exported(image);
    assert_eq!(debugfs(&disk, "cat /etc/kept"), "kept");
    assert_eq!(debugfs(&disk, "cat /etc/changed"), "new");
    assert_eq!(debugfs(&disk, "cat /cache/new"), "new");
    assert_eq!(debugfs(&disk, "ls -p /etc").matches("/gone/").count(), 0);
    assert_eq!(debugfs(&disk, "ls -p /cache").matches("/old/").count(), 0);
    assert!(!debugfs(&disk, "ls -p /etc").contains(".wh."));
    let json: serde_json::Value = serde_json::from_str(&world.good(&["inspect", image])).expect("JSON");
    let config = &json["build"]["config"];
    assert_eq!(config["Env"], serde_json::json!(["PATH=/bin", "A=1"]));
    assert_eq!(config["Entrypoint"], serde_json::json!(["/init"]));
    assert_eq!((config["User"].as_str(), config["WorkingDir"].as_str()), (Some("app:app"), Some("/srv")));
}

#[test]
fn docker_archives_are_layered_with_whiteouts() {
    let world = world();
    layers(&world);
    let manifest = r#"[{"Config":"abc.json","RepoTags":["demo:latest"],"Layers":["one/layer.tar","two/layer.tar"]}]"#;
    world.put("save/manifest.json", manifest.as_bytes());
    world.put("save/abc.json", CONFIG.as_bytes());
    for (from, to) in [("l1.tar", "save/one/layer.tar"), ("l2.tar.gz", "save/two/layer.tar")] {
        let bytes = fs::read(world.path(from)).expect("reads");
        world.put(to, &bytes);
    }
    tar(&world, "saved.tar", &[], "save");
    world.good(&["build", "-o", "store", "--name", "demo", "--from", "docker-archive:saved.tar", "--free", "16M"]);
    check_layers(&world, "store/demo");
}

fn blob(world: &World, bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    world.put(&format!("oci/blobs/sha256/{hex}"), bytes);
    format!("sha256:{hex}")
}

#[test]
fn oci_layouts_choose_our_platform_and_verify_their_blobs() {
    let world = world();
    layers(&world);
    let layer = |name: &str| blob(&world, &fs::read(world.path(name)).expect("reads"));
    let (one, two, config) = (layer("l1.tar"), layer("l2.tar.gz"), blob(&world, CONFIG.as_bytes()));
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{config}"}},"layers":[{{"digest":"{one}"}},{{"digest":"{two}"}}]}}"#
    );
    let manifest = blob(&world, manifest.as_bytes());
    let index = format!(
        r#"{{"manifests":[
            {{"mediaType":"m","digest":"sha256:{:064}","platform":{{"architecture":"amd64","os":"linux"}}}},
            {{"mediaType":"m","digest":"{manifest}","platform":{{"architecture":"386","os":"linux"}}}}]}}"#,
        0
    );
    let index = blob(&world, index.as_bytes());
    let top =
        format!(r#"{{"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{index}"}}]}}"#);
    world.put("oci/index.json", top.as_bytes());
    let build = ["build", "-o", "store", "--name", "demo", "--from", "oci:oci", "--free", "16M"];
    world.good(&build);
    check_layers(&world, "store/demo");

    let path = world.path("oci/blobs/sha256").join(one.strip_prefix("sha256:").expect("is SHA-256"));
    let mut bytes = fs::read(&path).expect("reads");
    bytes[700] ^= 1;
    fs::write(&path, bytes).expect("writes");
    let output = world.tools(&build);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is damaged"));
}

#[test]
fn a_sparse_20_gb_disk_is_quick_and_comes_back_the_same() {
    let world = world();
    let disk = world.path("disk.ext2");
    fs::File::create(&disk).expect("makes it").set_len(20 << 30).expect("grows");
    let mke2fs = ["-q", "-F", "-t", "ext2", "-b", "4096", "-N", "100000", "-O", "^resize_inode,^dir_index", "-m", "0"];
    assert!(Command::new("mke2fs").args(mke2fs).arg(&disk).status().expect("mke2fs is there").success());
    // Backups of the superblock lie as far out as 16 GB.
    let start = std::time::Instant::now();
    let first = world.good(&["chunk", "-o", "store", "--name", "huge", "disk.ext2"]);
    world.good(&["verify", "store/huge"]);
    let exported = world.exported("store/huge");
    eprintln!("20 GB made, verified, exported and checked in {:?}", start.elapsed());
    // Comparing 40 GB of mostly holes byte by byte would take longer than all the rest.
    let again = world.good(&["chunk", "-o", "store", "--name", "huge", "--tag", "again", "exported.ext2"]);
    assert_eq!(again, first);
    let same = Command::new("cmp").args(["-n", "300000000"]).arg(&disk).arg(&exported).status().expect("cmp is there");
    assert!(same.success());
    assert!(fs::metadata(&exported).expect("is there").blocks() * 512 < 1 << 30, "the export is not sparse");
    let json: serde_json::Value = serde_json::from_str(&world.good(&["inspect", "store/huge"])).expect("JSON");
    assert_eq!(json["size"], 20_u64 << 30);
}

#[test]
fn damage_is_named_and_ends_with_exit_code_3() {
    let world = world();
    world.tree();
    world.good(&["build", "-o", "store", "--name", "demo", "--from", "dir:root", "--free", "16M"]);
    let json: serde_json::Value = serde_json::from_str(&world.good(&["inspect", "store/demo"])).expect("JSON");
    let special: Vec<&str> = json["pages"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(std::iter::once(&json["manifest"]))
        .chain(json["sections"].as_array().into_iter().flatten().map(|section| &section["hash"]))
        .filter_map(serde_json::Value::as_str)
        .collect();
    let objects = Command::new("find").arg(world.path("store/o")).args(["-type", "f"]).output().expect("runs").stdout;
    let objects = String::from_utf8(objects).expect("text");
    let is_chunk = |path: &&str| !special.iter().any(|hash| path.ends_with(hash));
    let chunk = objects.lines().find(is_chunk).expect("has chunks");
    let stored = fs::read(chunk).expect("reads");

    let mut damaged = stored.clone();
    *damaged.last_mut().expect("is not empty") ^= 1;
    fs::write(chunk, damaged).expect("writes");
    let output = world.tools(&["verify", "store/demo"]);
    assert_eq!(output.status.code(), Some(3));
    let hash = chunk.rsplit('/').next().expect("has a name");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains(hash) && errors.contains("corrupt"), "{errors}");

    fs::remove_file(chunk).expect("removes");
    let output = world.tools(&["verify", "store/demo"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing"));
    // A new build puts it back and touches nothing else.
    world.good(&["build", "-o", "store", "--name", "demo", "--from", "dir:root", "--free", "16M"]);
    assert_eq!(fs::read(chunk).expect("reads"), stored);
    world.good(&["verify", "store/demo"]);
}

#[test]
fn mistakes_are_explained() {
    let world = world();
    for (args, code, word) in [
        (&["build", "-o", "s", "--name", "x", "--from", "zip:x"][..], 2, "docker-archive"),
        (&["build", "-o", "s", "--name", "X Y", "--from", "dir:."], 1, "cannot be a name"),
        (&["build", "-o", "s", "--name", "x", "--from", "dir:absent"], 1, "absent"),
        (&["inspect", "nothing"], 2, "STORE_OR_URL/name"),
        (&["inspect", "absent/image"], 1, "no such image"),
        (&["verify", "--timeout", "1", "http://127.0.0.1:9/x"], 1, "cannot be reached"),
        (&["chunk", "-o", "s", "--name", "x", "/etc/hostname"], 1, "ext2"),
    ] {
        let output = world.tools(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(word), "{args:?}: {errors}");
    }
}

#[test]
fn the_github_layout_is_what_split_makes() {
    let world = world();
    world.tree();
    world.good(&["build", "-o", "store", "--name", "demo", "--from", "dir:root", "--size", "5000000"]);
    let disk = world.exported("store/demo");
    world.good(&["export", "--layout", "github", "store/demo", "web.ext2"]);
    let split = ["-a", "6", "-b", "128k", "-x", "--additional-suffix=.txt"];
    let prefix = world.path("split.c");
    assert!(Command::new("split").args(split).arg(&disk).arg(&prefix).status().expect("runs").success());
    let size = fs::metadata(&disk).expect("is there").len();
    assert_eq!(fs::read_to_string(world.path("web.ext2.meta")).expect("reads"), format!("{size}\n"));
    let mut pieces = 0;
    for number in 0.. {
        let split = world.path(&format!("split.c{number:06x}.txt"));
        let ours = world.path(&format!("web.ext2.c{number:06x}.txt"));
        assert_eq!(split.exists(), ours.exists(), "{number}");
        if !split.exists() {
            break;
        }
        assert!(fs::read(split).expect("reads") == fs::read(ours).expect("reads"), "{number}");
        pieces += 1;
    }
    assert_eq!(pieces, size.div_ceil(131_072));
}
