//! Hours of mixed guest work, and whether memory stays flat (`tests/soak`).

use anyhow::{Context, Result, bail};

use crate::shell::say;
use crate::{demo, node};

/// Works for the minutes named; tells whether everything was right and memory stayed flat.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    let mut passed_on = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--minutes" | "--only" | "--image" | "--json" => {
                let value = options.next().with_context(|| format!("{option} wants a value"))?;
                passed_on.extend([option.clone(), value.clone()]);
            }
            other => {
                bail!(
                    "unknown option {other:?}; usage: cargo xtask soak [--minutes N] [--only chromium|node|code|stress] [--image STORE/NAME] [--json FILE]"
                )
            }
        }
    }
    demo::run(&["--no-serve".to_owned()])?;
    say("working in Chromium and in Node, and looking at memory");
    let mut run = node::script("tests/soak/run.mjs");
    run.arg("--block-server").arg(demo::server_program()).args(passed_on);
    Ok(run.status().context("starting node")?.success())
}
