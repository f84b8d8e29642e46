//! The long run of the crash tests in `tests/durability`.

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, say};
use crate::transcripts;

/// Looks at that many states of the disk in each test; tells whether all held.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    let states = match options {
        [] => 10_000,
        [option, count] if option == "--states" => count.parse().context("--states wants a number")?,
        _ => bail!("usage: cargo xtask durability [--states N]"),
    };
    say(&format!("looking at the disk after {states} commits in each test, and killing {states} processes"));
    let mut tests = cargo();
    tests.args(["test", "-p", "vm-machine", "--test", "durability", "--", "--nocapture", "--include-ignored"]);
    tests.env("SKIFF_TREE", transcripts::debian_tree("tools")?);
    tests.env("SKIFF_CRASH_STATES", u32::to_string(&states));
    Ok(tests.status().context("starting the tests")?.success())
}
