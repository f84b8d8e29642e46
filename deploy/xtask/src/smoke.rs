//! Looking at a deployment from outside, as its owner would: headers by Node, a sample of chunks by the real client.

use anyhow::{Context, Result, bail};

use crate::node;
use crate::shell::{self, cargo, say};

/// Reads the options of `cargo xtask smoke`.
pub(crate) fn run(words: &[String]) -> Result<bool> {
    let (mut url, mut image, mut token) = (None, "debian".to_owned(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "--image" => image = value()?,
            "--token" => token = Some(value()?),
            option if option.starts_with('-') => bail!("unknown option {option:?}; see cargo xtask help"),
            address => url = Some(address.to_owned()),
        }
    }
    let url = url.context("cargo xtask smoke wants the URL of a server, such as https://skiff.example.workers.dev")?;
    check(&url, &image, token.as_deref())
}

/// Checks the server at a URL; tells whether everything was right.
fn check(url: &str, image: &str, token: Option<&str>) -> Result<bool> {
    node::ensure_worker_packages()?;
    say("headers, ranges, refusals");
    let mut probe = node::script("deploy/smoke.mjs");
    probe.args([url, "--image", image]);
    if let Some(token) = token {
        // Not on the command line, which others of the machine can read.
        probe.env("SKIFF_TOKEN", token);
    }
    let probed = probe.status().context("starting node")?.success();
    say("a sample of the image, by the client");
    let name = format!("{}/{image}", url.trim_end_matches('/'));
    let mut sample = cargo();
    sample.args(["run", "--quiet", "-p", "image-tools", "--", "serve-check", &name]);
    if let Some(token) = token {
        sample.env("SKIFF_TOKEN", token);
    }
    let fetched = shell::run(&mut sample).is_ok();
    Ok(probed && fetched)
}
