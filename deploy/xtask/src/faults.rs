//! Hours of guest work over a network that fails (`tests/faults`).

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, say};
use crate::{demo, node};

/// Runs for the minutes named; tells whether the guest only waited, and every byte was right.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    let mut passed_on = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--minutes" | "--seed" | "--json" => {
                let value = options.next().with_context(|| format!("{option} wants a value"))?;
                passed_on.extend([option.clone(), value.clone()]);
            }
            other => {
                bail!("unknown option {other:?}; usage: cargo xtask faults [--minutes N] [--seed N] [--json FILE]")
            }
        }
    }
    demo::run(&["--no-serve".to_owned()])?;
    shell::run(cargo().args(["build", "--quiet", "-p", "vm-machine", "--bin", "vmrun"]))?;
    say("guests read a disk over a network that fails");
    let mut run = node::script("tests/faults/run.mjs");
    run.arg("--block-server").arg(demo::server_program());
    run.arg("--vmrun").arg(shell::target_dir().join("debug/vmrun")).args(passed_on);
    Ok(run.status().context("starting node")?.success())
}
