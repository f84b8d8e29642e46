//! Measurements, printed as one table; nothing is judged here.

use anyhow::Result;

use crate::shell::{self, cargo, say};
use crate::{apt, demo, node, setup};

/// Runs the benchmarks of the browser client; words are passed on as a filter.
pub(crate) fn run(filter: &[String]) -> Result<()> {
    setup::for_tests()?;
    apt::ensure(apt::BENCH)?;
    demo::run(&["--no-serve".to_owned()])?;
    interpreter()?;
    say("building vmrun for speed");
    shell::run(cargo().args(["build", "--quiet", "--release", "-p", "vm-machine", "--bin", "vmrun"]))?;
    say("measuring in Chromium, in Node and natively");
    let mut bench = node::script("tests/browser/bench.mjs");
    bench.arg("--block-server").arg(demo::server_program());
    bench.arg("--vmrun").arg(shell::target_dir().join("release/vmrun"));
    shell::run(bench.args(filter))
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
