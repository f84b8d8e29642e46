//! Writes the JavaScript side of the browser client: `skiff-bindgen MODULE.wasm OUT_DIR NAME`.
//!
//! The same library that `wasm-bindgen-cli` is made of, without its command line, so that a build needs no tool that
//! cargo would not fetch by itself. Run by `cargo xtask`.

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, out, name] = arguments.as_slice() else { bail!("usage: skiff-bindgen MODULE.wasm OUT_DIR NAME") };
    Bindgen::new()
        .input_path(module)
        .out_name(name)
        .web(true)?
        .typescript(true)
        .generate(out)
        .with_context(|| format!("writing the bindings of {module}"))
}
