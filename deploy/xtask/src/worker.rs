//! The Cloudflare Worker: built without any tool that cargo or npm would not fetch, run in the real runtime.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bindgen::{self, Host};
use crate::shell::{self, cargo, command, output, say};
use crate::{assets, client, image, node, wasm_target};

const HELP: &str = "\
usage: cargo xtask worker COMMAND

  build                  build the Worker into build/worker and check its size
  dev [--port N] [--env NAME]
                         wrangler dev with the demo image in a local bucket and the page beside it, on port 8787
  serve --store DIR [--port N] [--var NAME=VALUE]...
                         the built Worker in workerd over a directory's files; see edge-worker/serve.mjs
  check                  what wrangler would deploy to each environment, without an account
  assets --store DIR     page and store as static assets in build/assets, for deployments without R2; checks the limits
";

/// The bundle, compressed as the platform counts it, stays below this.
const MOST_KIB: u64 = 250;

/// The environments of `deploy/wrangler.toml`.
const ENVIRONMENTS: [&str; 4] = ["", "staging", "production", "free"];

/// Runs a command of `cargo xtask worker`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let (name, options) = words.split_first().map_or(("help", words), |(name, options)| (name.as_str(), options));
    match name {
        "build" => build().map(drop),
        "dev" => dev(options),
        "serve" => serve(options),
        "check" => check(),
        "assets" => assets_of(options),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no worker command {other:?}\n\n{HELP}"),
    }
}

/// Builds the Worker and returns the folder of its modules.
pub(crate) fn build() -> Result<PathBuf> {
    wasm_target::ensure()?;
    node::ensure_worker_packages()?;
    say("building the Worker");
    shell::run(cargo().args([
        "build",
        "--quiet",
        "--profile",
        "edge",
        "-p",
        "edge-worker",
        "--target",
        "wasm32-unknown-unknown",
    ]))?;
    let module = shell::target_dir().join("wasm32-unknown-unknown/edge/edge_worker.wasm");
    let out = shell::build_dir().join("worker");
    bindgen::bind(&module, &out, "index", Host::Worker)?;
    std::fs::copy(shell::root().join("edge-worker/shim.js"), out.join("shim.js")).context("copying shim.js")?;
    size(&out)?;
    Ok(out)
}

/// Says how large the bundle is, and refuses one that is too large.
fn size(out: &Path) -> Result<()> {
    let report = output(node::script("edge-worker/size.mjs").arg(out))?;
    let bytes: u64 = report.trim().parse().with_context(|| format!("{report:?} is no size"))?;
    let kib = bytes.div_ceil(1024);
    if kib > MOST_KIB {
        bail!("the Worker's bundle has {kib} KiB compressed, more than {MOST_KIB}");
    }
    say(&format!("the Worker's bundle has {kib} KiB compressed (at most {MOST_KIB})"));
    Ok(())
}

/// Wrangler as this project runs it: nothing is reported, nobody is asked.
fn wrangler() -> Command {
    let mut wrangler = command("node");
    wrangler.arg(shell::root().join("edge-worker/node_modules/wrangler/bin/wrangler.js"));
    wrangler.args(["--config", "deploy/wrangler.toml"]);
    wrangler.env("WRANGLER_SEND_METRICS", "false").env("CI", "true").env("NO_UPDATE_NOTIFIER", "1");
    wrangler
}

fn dev(options: &[String]) -> Result<()> {
    let (mut port, mut environment) = ("8787".to_owned(), None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || options.next().cloned().with_context(|| format!("{option} wants a value"));
        match option.as_str() {
            "--port" => port = value()?,
            "--env" => environment = Some(value()?),
            other => bail!("unknown option {other:?}\n\n{HELP}"),
        }
    }
    let store = image::build(&[])?;
    let site = client::build()?;
    build()?;
    assets::page(&site)?;
    // Where wrangler keeps its local bucket.
    let state = shell::build_dir().join("wrangler");
    say("filling the local bucket");
    shell::run(node::script("edge-worker/seed.mjs").arg("--store").arg(&store).arg("--state").arg(&state))?;
    println!("Skiff will be at http://127.0.0.1:{port}/");
    let mut wrangler = wrangler();
    wrangler.args(["dev", "--ip", "127.0.0.1", "--port", &port, "--persist-to"]).arg(&state);
    // It is built already; wrangler would call this program again.
    wrangler.env("SKIFF_WORKER_IS_BUILT", "1");
    if let Some(environment) = environment {
        wrangler.args(["--env", &environment]);
    }
    shell::run(&mut wrangler)
}

fn serve(options: &[String]) -> Result<()> {
    build()?;
    shell::run(node::script("edge-worker/serve.mjs").args(options))
}

/// Has wrangler bundle the Worker for each environment, as a deployment would.
pub(crate) fn check() -> Result<()> {
    build()?;
    assets::page(&client::build()?)?;
    for environment in ENVIRONMENTS {
        say(&format!(
            "wrangler deploy --dry-run, environment {:?}",
            if environment.is_empty() { "dev" } else { environment }
        ));
        let mut wrangler = wrangler();
        wrangler.args(["deploy", "--dry-run", "--env", environment, "--outdir"]);
        wrangler.arg(shell::build_dir().join("dry-run").join(environment)).env("SKIFF_WORKER_IS_BUILT", "1");
        let report = output(&mut wrangler)?;
        let upload = report.lines().find(|line| line.contains("Total Upload")).context("wrangler told no size")?;
        say(upload.trim());
    }
    Ok(())
}

fn assets_of(options: &[String]) -> Result<()> {
    let [option, store] = options else { bail!("worker assets wants --store DIR") };
    if option != "--store" {
        bail!("unknown option {option:?}\n\n{HELP}");
    }
    assets::page_and_store(&client::build()?, Path::new(store))
}
