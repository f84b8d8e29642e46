//! Node and its packages.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::{self, command, output, run, say};
use crate::stamp::{self, Fingerprint};

const OLDEST: u32 = 20;

/// Checks that Node is there, and installs the packages of `package-lock.json`.
pub(crate) fn ensure_packages() -> Result<()> {
    let version =
        output(command("node").arg("--version")).context("Node.js is missing: please install version 20 or later")?;
    let major: u32 = version.trim().trim_start_matches('v').split('.').next().unwrap_or_default().parse().unwrap_or(0);
    if major < OLDEST {
        bail!("Node.js is {}, which is too old: please install version {OLDEST} or later", version.trim());
    }
    let root = shell::root();
    let lock = root.join("package-lock.json");
    let modules = root.join("node_modules");
    let inputs = Fingerprint::new().text(&std::fs::read_to_string(&lock).context("reading package-lock.json")?);
    stamp::unless_done("node-packages", inputs, &[&modules], || {
        say("installing node packages (esbuild, xterm.js, playwright-core, typescript)");
        run(command("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
    })?;
    Ok(())
}

/// Installs wrangler and the runtime it brings: 200 MB that only the Worker's tasks need.
pub(crate) fn ensure_worker_packages() -> Result<()> {
    ensure_packages()?;
    let folder = shell::root().join("edge-worker");
    let lock = std::fs::read_to_string(folder.join("package-lock.json")).context("reading edge-worker's lock file")?;
    let modules = folder.join("node_modules");
    stamp::unless_done("worker-packages", Fingerprint::new().text(&lock), &[&modules], || {
        say("installing node packages of the Worker (wrangler, miniflare, workerd)");
        run(command("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder))
    })?;
    Ok(())
}

/// A node program of the project.
pub(crate) fn script(path: impl AsRef<Path>) -> std::process::Command {
    let mut node = command("node");
    node.arg(shell::root().join(path));
    node
}
