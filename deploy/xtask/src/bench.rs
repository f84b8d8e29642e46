//! Measurements; figures are printed and nothing is judged here.
//!
//! `cargo xtask bench [PART] [OPTIONS]`. The part `programs`, which is also what runs when none is named, is the set of
//! programs on every host ([`programs`], `tests/bench`); the others measure one thing each.

mod programs;
mod stream;

use anyhow::{Result, bail};

use crate::shell::{self, cargo, say};
use crate::{apt, demo, node, setup};

/// Runs a part; the words behind its name are its own.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let named = words.first().filter(|word| !word.starts_with("--"));
    let (part, options) = named.map_or(("programs", words), |part| (part.as_str(), words.get(1..).unwrap_or_default()));
    setup::for_tests()?;
    apt::ensure(apt::BENCH)?;
    match part {
        "stream" => stream::run_all(options),
        "programs" => programs::run_all(options),
        "interpreter" => interpreter(),
        "start" | "warm" | "speed" | "overlay" => browser(part),
        "disk" => disk(options),
        "layout" => layout(options),
        other => bail!(
            "there is no part {other:?}; there are programs, stream, interpreter, start, warm, speed, overlay, disk and layout"
        ),
    }
}

/// How many chunks of a 1 GB image are new after one more small file, by way of building it.
fn layout(options: &[String]) -> Result<()> {
    say("building an image and its next version");
    let mut layout = cargo();
    layout.args(["run", "--release", "--quiet", "-p", "image-tools", "--example", "layout", "--"]);
    shell::run(layout.args(options))
}

/// The client in the browser, in Node and natively: starting, a handful of programs, the store of changes.
fn browser(section: &str) -> Result<()> {
    demo::run(&["--no-serve".to_owned()])?;
    say("building vmrun for speed");
    shell::run(cargo().args(["build", "--quiet", "--release", "-p", "vm-machine", "--bin", "vmrun"]))?;
    say("measuring in Chromium, in Node and natively");
    let mut bench = node::script("tests/browser/bench.mjs");
    bench.arg("--block-server").arg(demo::server_program());
    bench.arg("--vmrun").arg(shell::target_dir().join("release/vmrun"));
    shell::run(bench.arg(section))
}

/// What the guest's disk does in Chromium.
fn disk(options: &[String]) -> Result<()> {
    demo::run(&["--no-serve".to_owned()])?;
    say("measuring the disk in Chromium");
    let mut bench = node::script("tests/browser/bench.mjs");
    bench.arg("--block-server").arg(demo::server_program()).arg("disk");
    shell::run(bench.args(options))
}

/// The interpreter alone, natively, beside the emulator that people know.
fn interpreter() -> Result<()> {
    say("measuring the interpreter natively");
    let mut mips = cargo();
    mips.args(["run", "--release", "--quiet", "-p", "vm-cpu", "--example", "mips"]);
    if shell::find("qemu-i386").is_some() {
        mips.args(["--", "--beside", "qemu-i386"]);
    }
    shell::run(&mut mips)
}
