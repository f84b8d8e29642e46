//! The set of programs on every host: what `tests/bench` needs is made here, once, under `build/bench`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::{self, cargo, command, run, say};
use crate::stamp::{self, Fingerprint};
use crate::{client, demo, image, node};

/// Interpreters whose speed is measured; perl and gzip are in every Debian.
const PACKAGES: &[&str] = &["python3-minimal", "nodejs"];
/// What v86 needs and its npm package does not have.
const KERNEL_PACKAGES: &[&str] = &["linux-image-686", "seabios"];

/// Prepares and measures; options go to `tests/bench/run.mjs`.
pub(super) fn run_all(options: &[String]) -> Result<()> {
    let work = shell::build_dir().join("bench");
    fs::create_dir_all(&work)?;
    client::build()?;
    demo::build_server()?;
    let bench = shell::root().join("tests/bench");
    let tree = tree(&work)?;
    let made = programs(&work, &bench, &tree)?;
    store(&work, &tree, made)?;
    if wants_v86(options)
        && let Err(error) = v86(&work, &bench, &tree, made)
    {
        say(&format!("leaving v86 out: {error:#}"));
    }
    let mut measure = node::script(bench.join("run.mjs"));
    measure.arg("--work").arg(&work).arg("--block-server").arg(demo::server_program());
    run(measure.args(options))
}

fn wants_v86(options: &[String]) -> bool {
    let hosts = options.iter().position(|option| option == "--hosts").and_then(|at| options.get(at + 1));
    hosts.is_none_or(|hosts| hosts.split(',').any(|host| host == "v86"))
}

/// The image's tree, unpacked: what native and emulated programs run in.
fn tree(work: &Path) -> Result<PathBuf> {
    let archive = work.join("root.tar");
    stamp::unless_done("bench-archive", Fingerprint::new().text(&PACKAGES.join(" ")), &[&archive], || {
        say("bootstrapping Debian 12 i386 with interpreters (about two minutes)");
        let without = ["doc", "locale", "info"].map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*"));
        image::bootstrap(&archive, "minbase", PACKAGES, &without, None)
    })?;
    let tree = work.join("tree");
    stamp::unless_done("bench-tree", Fingerprint::new().path(&archive)?, &[&tree], || {
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        fs::create_dir_all(&tree)?;
        // Only root could make the devices, and nothing that runs here needs them.
        run(command("tar").arg("-xf").arg(&archive).arg("-C").arg(&tree).arg("--exclude=./dev/*"))
    })?;
    Ok(tree)
}

/// Builds the programs into the tree; returns what tells this build from others.
fn programs(work: &Path, bench: &Path, tree: &Path) -> Result<Fingerprint> {
    let mut inputs = Fingerprint::new().path(&work.join("root.tar"))?;
    for part in ["programs", "rows.mjs", "build.mjs"] {
        inputs = inputs.path(&bench.join(part))?;
    }
    let folder = tree.join("bench");
    stamp::unless_done("bench-programs", inputs, &[&folder], || {
        say("building the programs");
        run(node::script(bench.join("build.mjs")).arg(&folder))
    })?;
    Ok(inputs)
}

fn store(work: &Path, tree: &Path, made: Fingerprint) -> Result<()> {
    let store = work.join("store");
    stamp::unless_done("bench-store", made, &[&store], || {
        say("making the image of the benchmark");
        if store.exists() {
            fs::remove_dir_all(&store)?;
        }
        let mut tools = cargo();
        tools.args(["run", "--quiet", "-p", "image-tools", "--", "build", "--name", "bench", "-o"]).arg(&store);
        run(tools.arg("--from").arg(format!("dir:{}", tree.display())))
    })?;
    Ok(())
}

/// A kernel, a BIOS and an initial root for v86.
fn v86(work: &Path, bench: &Path, tree: &Path, made: Fingerprint) -> Result<()> {
    let archive = work.join("kernel.tar");
    let kernel = work.join("kernel");
    stamp::unless_done("bench-kernel", Fingerprint::new().text(&KERNEL_PACKAGES.join(" ")), &[&kernel], || {
        say("unpacking Debian's kernel for v86");
        image::bootstrap(&archive, "extract", KERNEL_PACKAGES, &[], None)?;
        let unpacked = work.join("kernel.part");
        fs::create_dir_all(&unpacked)?;
        let mut tar = command("tar");
        tar.arg("-xf").arg(&archive).arg("-C").arg(&unpacked);
        run(tar.args(["./boot", "./usr/share/seabios"]))?;
        fs::create_dir_all(&kernel)?;
        let entries = fs::read_dir(unpacked.join("boot"))?.filter_map(Result::ok).map(|entry| entry.path());
        let image = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
        let image = entries.into_iter().find(image).context("the package has no kernel")?;
        fs::copy(image, kernel.join("vmlinuz"))?;
        for (name, as_name) in [("bios.bin", "bios.bin"), ("vgabios-stdvga.bin", "vgabios.bin")] {
            fs::copy(unpacked.join("usr/share/seabios").join(name), kernel.join(as_name))?;
        }
        fs::remove_dir_all(&unpacked)?;
        Ok(fs::remove_file(&archive)?)
    })?;
    let initrd = work.join("initrd");
    let inputs = made.path(&bench.join("initrd.mjs"))?;
    stamp::unless_done("bench-initrd", inputs, &[&initrd], || {
        say("packing the tree for v86");
        run(node::script(bench.join("initrd.mjs")).arg(tree).arg(&initrd))
    })?;
    Ok(())
}
