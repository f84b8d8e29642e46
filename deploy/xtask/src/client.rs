//! The browser client: wasm module, its JavaScript side, the demo page.

use std::path::PathBuf;

use anyhow::Result;

use crate::bindgen::{self, Host};
use crate::shell::{self, cargo, run, say};
use crate::stamp::{self, Fingerprint};
use crate::{node, setup};

/// Where the static site is.
pub(crate) fn site() -> PathBuf {
    shell::build_dir().join("client")
}

/// Builds the client and returns the folder of the static site.
pub(crate) fn build() -> Result<PathBuf> {
    setup::for_client()?;
    say("building the client");
    run(cargo().args(["build", "--profile", "wasm", "-p", "vm-browser", "--target", "wasm32-unknown-unknown"]))?;
    let module = shell::target_dir().join("wasm32-unknown-unknown/wasm/vm_browser.wasm");
    let root = shell::root();
    let package = root.join("vm-client/browser/npm");
    bindgen::bind(&module, &package.join("wasm"), "skiff", Host::Web)?;

    let page = root.join("vm-client/browser/page");
    let bundler = root.join("vm-client/browser/bundle.mjs");
    let site = site();
    let inputs =
        Fingerprint::new().path(&package)?.path(&page)?.path(&bundler)?.path(&root.join("package-lock.json"))?;
    stamp::unless_done("client-site", inputs, &[&site.join("index.html")], || {
        say("bundling the page");
        run(node::script(&bundler).arg(&site))
    })?;
    Ok(site)
}
