//! Running one script: on this computer below a chroot, or in a machine.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::table::Script;
use super::tree::Tree;
use crate::{demo, node};

/// Longest time on this computer.
const NATIVE_PATIENCE: Duration = Duration::from_secs(300);

/// Where Skiff runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `vmrun`.
    Native,
    /// The npm package in Node.
    Node,
    /// The npm package in a tab.
    Chromium,
}

impl Place {
    pub(super) fn parse(word: &str) -> Result<Self> {
        match word {
            "native" => Ok(Self::Native),
            "node" => Ok(Self::Node),
            "chromium" => Ok(Self::Chromium),
            other => bail!("Skiff runs in native, node or chromium, not in {other:?}"),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "vmrun",
            Self::Node => "node",
            Self::Chromium => "chromium",
        }
    }
}

/// What a run came to.
pub(super) struct Outcome {
    output: String,
    /// `None` when it took too long.
    status: Option<i32>,
    pub(super) elapsed: Duration,
}

impl Outcome {
    /// Output and status as one text.
    pub(super) fn text(&self) -> String {
        let newline = if self.output.is_empty() || self.output.ends_with('\n') { "" } else { "\n" };
        match self.status {
            Some(status) => format!("{}{newline}status {status}\n", self.output),
            None => format!("{}{newline}did not end\n", self.output),
        }
    }
}

/// The command both sides run: the script as one argument, everything it prints on one stream.
fn shell_words(script: &Script) -> Result<Vec<String>> {
    let text = super::read(&super::folder().join(format!("{}.sh", script.name)))?;
    Ok(vec!["/bin/bash".to_owned(), "-c".to_owned(), format!("exec < /dev/null 2>&1\n{text}"), script.name.clone()])
}

/// The environment on both sides.
pub(crate) const ENVIRONMENT: [(&str, &str); 4] = [
    ("HOME", "/root"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("TERM", "dumb"),
    ("LANG", "C.UTF-8"),
];
/// The name machines have unless told otherwise.
const HOSTNAME: &str = "skiff";

/// Runs the script on this computer: own namespaces, a scratch layer over the tree, 32-bit personality.
pub(super) fn on_linux(script: &Script, tree: &Tree) -> Result<Outcome> {
    let mut command = native_command(&tree.root);
    if let Some(how) = &script.how {
        command.env("HOW", how);
    }
    command.args(shell_words(script)?);
    run(command, NATIVE_PATIENCE)
}

/// A command, to which words are added, that runs them below a tree on this computer. `BINDS` in its environment adds
/// folders, and `HOW` makes it process 1; see `chroot.sh`.
pub(crate) fn native_command(root: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--kill-child"]);
    if !crate::shell::is_root() {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command.arg("--").arg("/bin/sh").arg(super::folder().join("chroot.sh")).arg(root).arg(HOSTNAME);
    command.env_clear().envs(ENVIRONMENT);
    command
}

/// Runs a command for at most so long and returns what it printed, and how it ended in the last line.
pub(crate) fn run_to_end(command: Command, patience: Duration) -> Result<String> {
    Ok(run(command, patience)?.text())
}

/// Runs the script in a machine, with so many times the patience of the table.
pub(super) fn in_skiff(
    place: Place,
    script: &Script,
    tree: &Tree,
    vmrun: Option<&Path>,
    times: u64,
) -> Result<Outcome> {
    let patience = Duration::from_secs(script.patience.saturating_mul(times));
    let mut command = match place {
        Place::Native => {
            let mut command = Command::new(vmrun.context("vmrun was not built")?);
            command.arg("--no-tty");
            command
        }
        Place::Node => {
            let mut command = node::script("vm-client/browser/npm/cli.mjs");
            command.arg("run");
            command
        }
        Place::Chromium => {
            let mut command = node::script("tests/transcripts/chromium.mjs");
            command.arg("--block-server").arg(demo::server_program());
            command
        }
    };
    command.arg("--image").arg(&tree.image).args(["--cwd", "/root"]);
    command.arg("--memory").arg(script.memory.to_string());
    if script.is_init() {
        command.arg("--init");
    }
    for (name, value) in ENVIRONMENT {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    command.arg("--");
    command.args(shell_words(script)?);
    run(command, patience)
}

fn run(mut command: Command, patience: Duration) -> Result<Outcome> {
    // A group of its own, so that what is late can be ended with all it started.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
    let stdout = collect(child.stdout.take().context("the output is a pipe")?);
    let stderr = collect(child.stderr.take().context("the output is a pipe")?);
    let status = wait(&mut child, started + patience)?;
    let elapsed = started.elapsed();
    let mut output = String::from_utf8_lossy(&stdout.join().unwrap_or_default()).into_owned();
    output.push_str(&String::from_utf8_lossy(&stderr.join().unwrap_or_default()));
    Ok(Outcome { output, status, elapsed })
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // What was read before an error is still worth showing.
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// The status as a shell gives it; `None` when the time was up.
fn wait(child: &mut Child, until: Instant) -> Result<Option<i32>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())));
        }
        if Instant::now() > until {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a text through a program.
pub(super) fn filter(command: &mut Command, text: &str) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting sed")?;
    let output = collect(child.stdout.take().context("the output is a pipe")?);
    child.stdin.take().context("the input is a pipe")?.write_all(text.as_bytes())?;
    if !child.wait()?.success() {
        bail!("sed refused a rule of the table");
    }
    Ok(String::from_utf8_lossy(&output.join().unwrap_or_default()).into_owned())
}
