//! Exactness of generated code: recorded instructions and guest programs with everything compiled before it is run, and with
//! nothing compiled, in Node and in Chromium; and random programs on this computer's processor, the interpreter and generated
//! code.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::bindgen::{self, Host};
use crate::shell::{self, cargo, run, say};
use crate::{client, node};

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What fits into a run of all tests.
    Some,
    /// Everything.
    All,
}

/// Builds what the suite needs and returns its commands.
pub(crate) fn commands(extent: Extent) -> Result<Vec<Command>> {
    client::build()?;
    build_replay()?;
    run(cargo().args(["build", "--quiet", "-p", "image-tools"]))?;
    let mut replay = node::script("tests/isa/replay.mjs");
    let mut programs = node::script("tests/guest/engines.mjs");
    programs.arg("--work").arg(shell::build_dir().join("guest"));
    programs.arg("--image-tools").arg(shell::target_dir().join("debug/image-tools"));
    match extent {
        Extent::Some => {
            replay.args(["--fast", "--engine", "jit"]);
            programs.args(["--fast", "--jit", "0", "--in", "node"]);
        }
        Extent::All => {
            replay.args(["--in", "node,chromium"]);
            programs.args(["--linkage", "static,dynamic"]);
        }
    }
    Ok(vec![replay, programs])
}

/// Compares random programs; the options are those of the program `fuzz` in `tests/isa`. Fails if any differs.
pub(crate) fn fuzz(options: &[String]) -> Result<()> {
    node::ensure_packages()?;
    build_replay()?;
    say("building the fuzzer");
    run(cargo().args(["build", "--quiet", "--release", "-p", "isa-tests", "--bin", "fuzz"]))?;
    let mut fuzz = shell::command(shell::target_dir().join("release/fuzz"));
    run(fuzz.arg("--engines").arg("interpreter,jit").arg("--wasm").arg(replay_dir()).args(options))
}

fn replay_dir() -> PathBuf {
    shell::build_dir().join("isa")
}

/// Builds what replays instructions inside WebAssembly.
fn build_replay() -> Result<()> {
    say("building the replay of instructions for WebAssembly");
    run(cargo().args([
        "build",
        "--quiet",
        "--profile",
        "wasm",
        "-p",
        "isa-wasm",
        "--target",
        "wasm32-unknown-unknown",
    ]))?;
    let module = shell::target_dir().join("wasm32-unknown-unknown/wasm/isa_wasm.wasm");
    bindgen::bind(&module, &replay_dir(), "isa", Host::Web)
}
