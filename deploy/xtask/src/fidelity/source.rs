//! Obtaining the suites and building them, inside the tree they run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::suite::{Source, Suite};
use crate::apt;
use crate::shell::{self, command, run, say};
use crate::stamp::{self, Fingerprint};
use crate::transcripts::{self, DebianTree};

/// The release whose sources are taken: that of the tree.
const RELEASE: &str = "bookworm";
/// The set of `tests/transcripts/table.txt` that suites are built and run in.
const SET: &str = "suites";

/// A suite that can be run.
pub(super) struct Built {
    /// The Debian tree, as a folder and as an image.
    pub(super) tree: DebianTree,
    /// What goes to /suite: programs and `run.sh`.
    pub(super) folder: PathBuf,
    /// The same as an ext2 file.
    pub(super) disk: PathBuf,
}

/// The scripts of a suite.
fn scripts(suite: &Suite) -> PathBuf {
    shell::root().join("tests/fidelity").join(suite.name)
}

/// Obtains and builds a suite; `None`, with a word on why, when it cannot be had here.
pub(super) fn obtain(suite: &Suite) -> Result<Option<Built>> {
    let dir = shell::build_dir().join("fidelity");
    fs::create_dir_all(&dir)?;
    let source = match suite.source {
        Source::Debian(package) => Some(debian_source(package, &dir)?),
        Source::Installed => None,
        Source::Given { variable, home } => match std::env::var_os(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => {
                say(&format!(
                    "{}: no package registry has this suite; get it from {home} and set {variable} to its folder",
                    suite.name
                ));
                return Ok(None);
            }
        },
    };
    let tree = transcripts::debian_tree(SET)?;
    let folder = dir.join(suite.name);
    let disk = dir.join(format!("{}.ext2", suite.name));
    let mut recipe = Fingerprint::new().path(&scripts(suite))?;
    if let Some(source) = &source {
        recipe = recipe.text(&source.display().to_string());
    }
    stamp::unless_done(&format!("fidelity-{}", suite.name), recipe, &[&folder, &disk], || {
        say(&format!("{}: building", suite.name));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        build(suite, source.as_deref(), &tree.root, &folder)?;
        make_disk(&folder, &disk)
    })?;
    Ok(Some(Built { tree, folder, disk }))
}

/// Downloads and unpacks a Debian source package; returns the unpacked folder.
fn debian_source(package: &str, dir: &Path) -> Result<PathBuf> {
    let unpacked = dir.join("source").join(package);
    stamp::unless_done(&format!("fidelity-source-{package}"), Fingerprint::new().text(RELEASE), &[&unpacked], || {
        let Some(mirror) = std::env::var("SKIFF_MIRROR").ok().or_else(apt::mirror) else {
            bail!("found no Debian mirror in apt's configuration: please set SKIFF_MIRROR to its address")
        };
        say(&format!("downloading the source of {package}"));
        let lists = dir.join("lists");
        fs::create_dir_all(lists.join("partial"))?;
        let list = dir.join("sources.list");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let signed = if Path::new(keyring).exists() { format!("[signed-by={keyring}] ") } else { String::new() };
        fs::write(&list, format!("deb-src {signed}{mirror} {RELEASE} main\n"))?;
        let download = dir.join("download");
        fs::create_dir_all(&download)?;
        let apt = |words: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.current_dir(&download).arg("-qq");
            apt.arg(format!("-oDir::Etc::sourcelist={}", list.display())).arg("-oDir::Etc::sourceparts=/dev/null");
            apt.arg(format!("-oDir::State::Lists={}", lists.display())).arg("-oAPT::Sandbox::User=root");
            apt.args(words);
            apt
        };
        run(&mut apt(&["update"]))?;
        run(&mut apt(&["source", "--download-only", package]))?;
        let file = newest(&download, package)?;
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked)?;
        }
        fs::create_dir_all(&unpacked)?;
        run(command("tar").arg("-xf").arg(&file).args(["--strip-components=1", "--no-same-owner", "-C"]).arg(&unpacked))
    })?;
    Ok(unpacked)
}

/// The upstream archive of a package among what was downloaded.
fn newest(download: &Path, package: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(download)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("{package}_")) && name.contains(".orig.tar") && !name.ends_with(".asc") {
            found.push(path);
        }
    }
    found.sort();
    found.pop().with_context(|| format!("the source package {package} has no upstream archive"))
}

/// Runs `build.sh` in the tree, with the source at /source, read-only, and what it is to fill at /suite.
fn build(suite: &Suite, source: Option<&Path>, tree: &Path, folder: &Path) -> Result<()> {
    let scripts = scripts(suite);
    for name in fs::read_dir(&scripts)? {
        let from = name?.path();
        fs::copy(&from, folder.join(from.file_name().unwrap_or_default()))?;
    }
    if !scripts.join("build.sh").exists() {
        return Ok(());
    }
    let mut build = transcripts::native_command(tree);
    let mut binds = format!("{}:suite:rw", folder.display());
    if let Some(source) = source {
        binds.push_str(&format!(" {}:source:ro", source.display()));
    }
    build.env("BINDS", binds);
    run(build.args(["/bin/sh", "-e", "/suite/build.sh"]))
}

fn make_disk(folder: &Path, disk: &Path) -> Result<()> {
    let size = shell::output(command("du").args(["-sm", "--apparent-size"]).arg(folder))?;
    let mib: u64 = size.split_whitespace().next().and_then(|word| word.parse().ok()).context("du prints a size")?;
    let _ = fs::remove_file(disk);
    let mut mke2fs = command("mke2fs");
    mke2fs.args(["-q", "-t", "ext2", "-b", "4096", "-I", "256", "-N", "65536", "-d"]).arg(folder).arg(disk);
    // Room for what the tests write.
    run(mke2fs.arg(format!("{}M", mib * 3 / 2 + 768)))
}
