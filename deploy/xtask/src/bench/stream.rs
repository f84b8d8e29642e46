//! The servers of streamed images, beside others: what is measured is built here, `tests/stream/bench` measures.

use std::path::Path;

use anyhow::Result;

use crate::bindgen::{self, Host};
use crate::shell::{self, cargo, run, say};
use crate::{apt, node, worker};

/// nginx is what block-server is compared with; the line is made of devices and namespaces that `ip` moves.
const PACKAGES: &[apt::Package] = &[
    apt::Package { name: "nginx", purpose: "the server to compare ours with", proof: "nginx" },
    apt::Package { name: "iproute2", purpose: "network namespaces for the simulated line", proof: "ip" },
];

const WASM: &str = "wasm32-unknown-unknown";

/// Builds and measures; options are the program's.
pub(super) fn run_all(options: &[String]) -> Result<()> {
    if Path::new("/usr/sbin/nginx").exists() {
        // Debian keeps it where only root's search path looks.
        apt::ensure(&PACKAGES[1..])?;
    } else {
        apt::ensure(PACKAGES)?;
    }
    worker::build()?;
    node::ensure_worker_packages()?;
    say("building block-server and what measures it for speed");
    run(cargo().args(["build", "--quiet", "--release", "-p", "block-server", "-p", "stream-bench"]))?;
    run(cargo().args(["build", "--quiet", "--release", "-p", "image-tools", "--example", "layout"]))?;
    say("building what opens chunks in browsers");
    run(cargo().args(["build", "--quiet", "--profile", "wasm", "-p", "stream-open"]).args(["--target", WASM]))?;
    let module = shell::target_dir().join(WASM).join("wasm/stream_open.wasm");
    bindgen::bind(&module, &shell::build_dir().join("bench/open"), "open", Host::Web)?;
    let release = shell::target_dir().join("release");
    say("measuring; the open loop alone takes ten minutes (--minutes N; --quick for less of everything)");
    let mut bench = shell::command(release.join("stream-bench"));
    bench.arg("--block-server").arg(release.join("block-server")).arg("--root").arg(shell::root());
    bench.arg("--layout").arg(release.join("examples/layout"));
    bench.arg("--out").arg(shell::build_dir().join("bench/stream.json"));
    run(bench.args(options))
}
