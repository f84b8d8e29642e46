//! Exactness of generated code: recorded instructions and guest programs with everything compiled before it is run, and with
//! nothing compiled, in Node and in Chromium.

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
    bindgen::bind(&module, &shell::build_dir().join("isa"), "isa", Host::Web)?;
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
