//! The long runs of the crash tests in `tests/durability`.

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, say};
use crate::{demo, node, transcripts};

/// Looks at that many states of the disk in each test; tells whether all held.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    let states = match options {
        [] => 10_000,
        [option, count] if option == "--states" => count.parse().context("--states wants a number")?,
        [option, kills] if option == "--browser-kills" => return browser_kills(kills, None),
        [option, kills, second, seed] if option == "--browser-kills" && second == "--seed" => {
            return browser_kills(kills, Some(seed));
        }
        _ => bail!("usage: cargo xtask durability [--states N | --browser-kills N [--seed N]]"),
    };
    say(&format!("looking at the disk after {states} commits in each test, and killing {states} processes"));
    let mut tests = cargo();
    tests.args(["test", "-p", "vm-machine", "--test", "durability", "--", "--nocapture", "--include-ignored"]);
    tests.env("SKIFF_TREE", transcripts::debian_tree("tools")?.root);
    tests.env("SKIFF_CRASH_STATES", u32::to_string(&states));
    Ok(tests.status().context("starting the tests")?.success())
}

/// Kills a browser so often, one after the other.
fn browser_kills(kills: &str, seed: Option<&String>) -> Result<bool> {
    kills.parse::<u32>().context("--browser-kills wants a number")?;
    demo::run(&["--no-serve".to_owned()])?;
    shell::run(cargo().args(["build", "--quiet", "-p", "image-tools", "--bin", "image-tools"]))?;
    say(&format!("killing {kills} browsers while their guests write"));
    let mut run = node::script("tests/durability/browser/run.mjs");
    run.arg("--block-server").arg(demo::server_program()).args(["--kills", kills]);
    run.arg("--image-tools").arg(shell::target_dir().join("debug/image-tools"));
    if let Some(seed) = seed {
        run.args(["--seed", seed]);
    }
    Ok(run.status().context("starting node")?.success())
}
