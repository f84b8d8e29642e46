//! The disk the programs start on.

use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 5] = ["churn", "inodes", "kills", "names", "tell"];

/// A file with an ext2 file system made by `mke2fs`, with the programs beside this file in `/bin`.
pub struct Image {
    pub path: PathBuf,
}

impl Image {
    /// Makes it; `name` keeps tests apart that run at the same time.
    pub fn make(name: &str, block_size: u32) -> Self {
        Self::with(name, block_size, |_| {})
    }

    /// Makes it and lets the caller put more into its root.
    pub fn with(name: &str, block_size: u32, more: impl FnOnce(&Path)) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("durability").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        let root = dir.join("root");
        for sub in ["dev", "lib", "proc", "sys", "tmp", "usr/bin"] {
            std::fs::create_dir_all(root.join(sub)).expect("the target directory can be written");
        }
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).expect("links can be made");
        for program in PROGRAMS {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/durability/programs");
            let mut gcc = Command::new("gcc");
            gcc.args(["-m32", "-static", "-O1", "-Wall", "-Wextra", "-o"]).arg(root.join("usr/bin").join(program));
            check(gcc.arg(source.join(format!("{program}.c"))));
        }
        more(&root);
        let path = dir.join("base.ext2");
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext2", "-E", "root_owner=0:0", "-N", "6000"]);
        mke2fs.args(["-b", &block_size.to_string(), "-d"]).arg(&root).arg(&path).arg("56M");
        check(&mut mke2fs);
        Self { path }
    }
}

/// Runs a command that must succeed and gives what it printed; tools of e2fsprogs may be in a directory that is only in
/// root's path.
pub fn check(command: &mut Command) -> String {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = command.env("PATH", path).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}
