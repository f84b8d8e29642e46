//! The browser client: wasm module, its JavaScript side, the demo page.

use std::path::{Path, PathBuf};

use anyhow::Result;

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
    bind(&module, &package.join("wasm"))?;

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

fn bind(module: &Path, out: &Path) -> Result<()> {
    let root = shell::root();
    let tool = root.join("deploy/bindgen");
    let inputs = Fingerprint::new().path(module)?.path(&tool.join("src"))?.path(&tool.join("Cargo.toml"))?;
    stamp::unless_done("client-bindings", inputs, &[&out.join("skiff.js"), &out.join("skiff_bg.wasm")], || {
        say("writing the JavaScript side (the first time compiles wasm-bindgen's library)");
        let target = shell::target_dir().join("bindgen");
        let manifest = tool.join("Cargo.toml");
        run(cargo()
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(manifest)
            .env("CARGO_TARGET_DIR", &target))?;
        std::fs::create_dir_all(out)?;
        run(shell::command(target.join("debug/skiff-bindgen")).arg(module).arg(out).arg("skiff"))
    })?;
    Ok(())
}
