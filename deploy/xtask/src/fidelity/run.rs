//! Running a suite on either side.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::outcome::Outcomes;
use super::source::Built;
use super::suite::Suite;
use crate::transcripts::{self, ENVIRONMENT};

/// Longest time on this computer.
const NATIVE_PATIENCE: Duration = Duration::from_secs(1800);
/// How much longer than on this computer one test may take in Skiff: the interpreter alone is some fifty times slower.
const SLOWNESS: u32 = 20;

/// What both sides run.
const COMMAND: [&str; 3] = ["/bin/bash", "-c", "exec < /dev/null 2>&1; cd /suite; . /suite/run.sh"];

/// Runs the suite below the tree.
pub(super) fn on_linux(suite: &Suite, built: &Built, only: Option<&str>) -> Result<Outcomes> {
    let mut command = transcripts::native_command(&built.tree.root);
    command.env("BINDS", format!("{}:suite:scratch", built.folder.display()));
    command.env("SLOWNESS", "1").env("ONLY", only.unwrap_or_default());
    command.args(COMMAND);
    collect(suite, "linux", command, NATIVE_PATIENCE)
}

/// Runs the suite in a machine.
pub(super) fn in_skiff(suite: &Suite, built: &Built, vmrun: &Path, only: Option<&str>) -> Result<Outcomes> {
    let mut command = Command::new(vmrun);
    command.args(["--no-tty", "--report", "--memory"]).arg(suite.memory.to_string());
    command.arg("--image").arg(&built.tree.image);
    command.arg("--disk").arg(format!("{}:/suite", built.disk.display()));
    for (name, value) in ENVIRONMENT {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    command.arg("--env").arg(format!("SLOWNESS={SLOWNESS}"));
    command.arg("--env").arg(format!("ONLY={}", only.unwrap_or_default()));
    command.arg("--").args(COMMAND);
    collect(suite, "skiff", command, Duration::from_secs(suite.patience))
}

fn collect(suite: &Suite, side: &str, command: Command, patience: Duration) -> Result<Outcomes> {
    let text = transcripts::run_to_end(command, patience)?;
    fs::create_dir_all(super::results())?;
    fs::write(super::results().join(format!("{}.{side}.log", suite.name)), &text)?;
    Ok(Outcomes::parse(&text))
}
