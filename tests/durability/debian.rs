//! Crashes under sqlite, git and tar, as Debian has them.
//!
//! The programs come from a Debian i386 tree, `SKIFF_TREE`, which also judges: sqlite3 and git look at their files below a
//! chroot(8) to it, on this computer's Linux.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use crate::image::{Image, check};
use crate::promise::Mark;
use crate::record::Recording;
use crate::{replay, session};

const TOOLS: [&str; 10] = ["bash", "cat", "find", "git", "mkdir", "rm", "sqlite3", "sync", "tar", "xargs"];

// `full` would not sync the directory after the journal is deleted, which is what commits (sqlite's documentation).
const SQLITE: &str = r#"
mkdir /w; cd /w
for mode in delete wal; do
    n=0
    sqlite3 $mode.db "pragma journal_mode=$mode; create table t(n integer, text);" >/dev/null
    while [ $n -lt 40 ]; do
        n=$((n + 1))
        sqlite3 $mode.db "pragma synchronous=extra; insert into t values($n, hex(randomblob(900)));
            update t set text = hex(randomblob(300)) where n = $n / 2;"
        echo "M $mode:$n"
    done
done
echo done"#;

const GIT: &str = r#"
mkdir -p /w/repo; cd /w/repo
git init -q --template= .
git config user.name n; git config user.email e; git config core.fsync all; git config gc.auto 0
n=0
while [ $n -lt 16 ]; do
    n=$((n + 1))
    echo "line $n $RANDOM" >>file$((n % 5))
    git add -A
    git commit -q -m "change $n"
    if [ $((n % 6)) = 0 ]; then git repack -q -a -d; fi
    hash=$(git rev-parse HEAD)
    echo "M $hash"
done
echo done"#;

const TAR: &str = r#"
mkdir /w
for n in 1 2 3 4 5 6; do
    mkdir /w/$n
    tar -x -f /files.tar -C /w/$n
    sync
    find /w/$n -type f | xargs tell
    if [ $n -gt 2 ]; then
        find /w/$((n - 2)) -type f | while read -r file; do echo "B $file"; done
        rm -r /w/$((n - 2))
    fi
done
echo done"#;

fn tree() -> PathBuf {
    let tree = std::env::var_os("SKIFF_TREE").expect("SKIFF_TREE names a Debian i386 tree with git and sqlite3");
    tree.into()
}

/// An image with the tools, the libraries they need, and a tar file with small files.
fn image(name: &str) -> Image {
    Image::with(name, 4096, |root| {
        let tree = tree();
        let mut files: Vec<PathBuf> = TOOLS.iter().map(|tool| Path::new("/usr/bin").join(tool)).collect();
        let mut ldd = Command::new("chroot");
        ldd.arg(&tree).arg("ldd").args(&files);
        for word in check(&mut ldd).split_whitespace().filter(|word| word.starts_with("/lib")) {
            files.push(word.into());
        }
        files.push("/lib/ld-linux.so.2".into());
        for file in files {
            let to = root.join(file.strip_prefix("/").expect("it begins so"));
            std::fs::create_dir_all(to.parent().expect("it has a folder")).expect("the image's folder can be written");
            std::fs::copy(tree.join(file.strip_prefix("/").expect("it begins so")), to).expect("the tree has the file");
        }
        let content = root.join("tmp/files");
        for n in 0..120_u32 {
            let folder = content.join((n % 7).to_string());
            std::fs::create_dir_all(&folder).expect("the image's folder can be written");
            let bytes: Vec<u8> = (0..n * n * 2).map(|at| (at ^ n) as u8).collect();
            std::fs::write(folder.join(n.to_string()), bytes).expect("the image's folder can be written");
        }
        check(Command::new("tar").arg("-cf").arg(root.join("files.tar")).arg("-C").arg(&content).arg("."));
        std::fs::remove_dir_all(&content).expect("the image's folder can be written");
    })
}

fn crash_under(name: &str, script: &str, judge: replay::Judge<'_>) {
    let image = image(name);
    let recording = Rc::new(Recording::default());
    let command = ["bash", "-ec", script].map(str::to_owned);
    let said = session::run(&image, &recording, &command, 1);
    let counts = replay::look_at_all(&image, &recording.commits(), &said, judge);
    let (count, strict) = (recording.count(), recording.strict_commits());
    println!("{name}: {count} commits, {strict} strict; {} promises looked at", counts.promises);
    assert!(counts.promises > counts.states / 2, "{} of {} states", counts.promises, counts.states);
}

/// Copies `/w` of a disk into the tree with debugfs(8); gives its place in the tree.
fn copy_out(disk: &Path, name: &str) -> String {
    let place = format!("/tmp/crashed-{name}");
    let to = tree().join(place.trim_start_matches('/'));
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).expect("the tree can be written");
    check(Command::new("debugfs").arg("-R").arg(format!("rdump /w {}", to.display())).arg(disk));
    place + "/w"
}

#[test]
#[ignore = "needs a Debian tree: cargo xtask durability"]
fn every_crash_keeps_rows_of_sqlite() {
    crash_under("sqlite", SQLITE, &|disk, mark: &Mark| {
        let place = copy_out(disk, "sqlite");
        let (mode, rows) = mark.text.split_once(':').expect("marks of sqlite");
        let mut sqlite = Command::new("chroot");
        sqlite.arg(tree()).args(["sqlite3", &format!("{place}/{mode}.db")]);
        let found = check(sqlite.arg("pragma integrity_check; select count(*) from t;"));
        let (rows, found): (u32, Vec<&str>) = (rows.parse().expect("a number"), found.lines().collect());
        assert_eq!(found[0], "ok", "{mode}");
        let count: u32 = found[1].parse().expect("a number");
        assert!(count == rows || count == rows + 1, "{mode}: {count} rows where {rows} were promised");
    });
}

#[test]
#[ignore = "needs a Debian tree: cargo xtask durability"]
fn every_crash_keeps_commits_of_git() {
    crash_under("git", GIT, &|disk, mark: &Mark| {
        let place = copy_out(disk, "git");
        let git = |words: &[&str]| {
            let mut git = Command::new("chroot");
            git.arg(tree()).args(["git", "-c", "safe.directory=*", "-C", &format!("{place}/repo")]).args(words);
            check(&mut git)
        };
        git(&["fsck", "--full", "--strict"]);
        git(&["cat-file", "-e", &format!("{}^{{commit}}", mark.text)]);
        git(&["log", "--format=%s", "HEAD"]);
    });
}

#[test]
#[ignore = "needs a Debian tree: cargo xtask durability"]
fn every_crash_keeps_what_tar_unpacked_before_a_sync() {
    crash_under("tar", TAR, &|_, _| {});
}
