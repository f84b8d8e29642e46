//! Writes the JavaScript side of a wasm module: `skiff-bindgen MODULE.wasm OUT_DIR NAME [web|worker]`.
//!
//! `web` (the default) is for the browser client and Node, `worker` for Cloudflare's runtime. The same library that
//! `wasm-bindgen-cli` and `worker-build` are made of, without their command lines, so that a build needs no tool that cargo
//! would not fetch by itself. Run by `cargo xtask`.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (module, out, name, kind) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [module, out, name] => (module, out, name, "web"),
        [module, out, name, kind] => (module, out, name, kind),
        _ => bail!("usage: skiff-bindgen MODULE.wasm OUT_DIR NAME [web|worker]"),
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(name);
    match kind {
        "web" => bindgen.web(true)?.typescript(true),
        // Both let the module be instantiated anew after a trap.
        "worker" => bindgen.module(true)?.typescript(false).reset_state_function(true).force_enable_abort_handler(true).remove_name_section(true),
        other => bail!("there is no kind {other:?}; there are web and worker"),
    };
    bindgen.generate(out).with_context(|| format!("writing the bindings of {module}"))?;
    if kind == "worker" {
        let script = Path::new(out).join(format!("{name}.js"));
        let text = fs::read_to_string(&script).with_context(|| format!("reading {}", script.display()))?;
        // The runtime gives compiled modules to plain imports.
        fs::write(&script, text.replace("import source ", "import "))?;
    }
    Ok(())
}
