//! The JavaScript side of wasm modules, by `deploy/bindgen`.

use std::path::Path;

use anyhow::Result;

use crate::shell::{self, cargo, run, say};
use crate::stamp::{self, Fingerprint};

/// For which kind of host.
#[derive(Clone, Copy)]
pub(crate) enum Host {
    /// Browsers and Node.
    Web,
    /// Cloudflare's runtime.
    Worker,
}

impl Host {
    fn word(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Worker => "worker",
        }
    }
}

/// Writes `out/name.js` and `out/name_bg.wasm` unless they are there for this module.
pub(crate) fn bind(module: &Path, out: &Path, name: &str, host: Host) -> Result<()> {
    let root = shell::root();
    let tool = root.join("deploy/bindgen");
    let inputs = Fingerprint::new().path(module)?.path(&tool.join("src"))?.path(&tool.join("Cargo.toml"))?;
    let products = [out.join(format!("{name}.js")), out.join(format!("{name}_bg.wasm"))];
    let step = format!("bindings-{name}-{}", host.word());
    stamp::unless_done(&step, inputs, &products.each_ref().map(|path| path.as_path()), || {
        say("writing the JavaScript side (the first time compiles wasm-bindgen's library)");
        let target = shell::target_dir().join("bindgen");
        let manifest = tool.join("Cargo.toml");
        run(cargo()
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(manifest)
            .env("CARGO_TARGET_DIR", &target))?;
        std::fs::create_dir_all(out)?;
        run(shell::command(target.join("debug/skiff-bindgen")).arg(module).arg(out).args([name, host.word()]))
    })?;
    Ok(())
}
