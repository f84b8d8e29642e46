//! Format and lints.

use anyhow::Result;

use crate::shell::{self, cargo, command, run, say};
use crate::{node, wasm_target};

/// Formats all Rust code, or only tells with `--check`.
pub(crate) fn format(options: &[String]) -> Result<()> {
    for manifest in ["Cargo.toml", "deploy/bindgen/Cargo.toml"] {
        let mut fmt = cargo();
        fmt.args(["fmt", "--all", "--manifest-path"]).arg(shell::root().join(manifest));
        if options.iter().any(|option| option == "--check") {
            fmt.args(["--", "--check"]);
        }
        run(&mut fmt)?;
    }
    Ok(())
}

/// Checks format, lints with warnings as errors, and the types of the JavaScript.
pub(crate) fn lint() -> Result<()> {
    say("rustfmt");
    format(&["--check".to_owned()])?;
    say("clippy");
    run(cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--exclude",
        "vm-browser",
        "--exclude",
        "edge-worker",
        "--",
        "-Dwarnings",
    ]))?;
    wasm_target::ensure()?;
    run(cargo().args([
        "clippy",
        "--quiet",
        "-p",
        "vm-browser",
        "-p",
        "edge-worker",
        "--target",
        "wasm32-unknown-unknown",
        "--",
        "-Dwarnings",
    ]))?;
    node::ensure_packages()?;
    say("types of the npm package");
    types()
}

/// Checks the JavaScript of the npm package and the page against its types.
pub(crate) fn types() -> Result<()> {
    let root = shell::root();
    run(command("node")
        .arg(root.join("node_modules/typescript/bin/tsc"))
        .args(["--project", "vm-client/browser/tsconfig.json"]))?;
    // Its documentation is made from them, and the guides' examples fit them.
    run(node::script("vm-client/browser/api-docs.mjs").arg("--check"))?;
    run(&mut node::script("vm-client/browser/docs-check.mjs"))
}
