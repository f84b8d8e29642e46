//! Serving the demo.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo, command, say};
use crate::{client, image, setup};

/// Builds everything, serves it, and returns when the server ends.
pub(crate) fn run(options: &[String]) -> Result<bool> {
    setup::for_demo()?;
    let store = image::build(options)?;
    let site = client::build()?;
    build_server()?;
    if options.iter().any(|option| option == "--no-serve") {
        return Ok(true);
    }
    let port = choose_port(options)?;
    let mut server = command(server_program());
    server.arg("--store").arg(&store).arg("--static").arg(&site).arg("--listen").arg(format!("127.0.0.1:{port}"));
    // Its own line names an address too; one is enough.
    let mut server = server.stdout(Stdio::null()).spawn().context("starting block-server")?;
    wait_until_up(&mut server, port)?;
    println!("Skiff is at http://127.0.0.1:{port}/");
    // Ctrl-C reaches the server too; it closes its connections and ends.
    let status = server.wait()?;
    Ok(status.success())
}

/// Builds block-server.
pub(crate) fn build_server() -> Result<()> {
    say("building block-server");
    // The development profile optimises dependencies, where the work is, and shares them with the tests.
    shell::run(cargo().args(["build", "--quiet", "-p", "block-server"]))
}

/// The built server.
pub(crate) fn server_program() -> PathBuf {
    shell::target_dir().join("debug/block-server")
}

fn choose_port(options: &[String]) -> Result<u16> {
    if let Some(at) = options.iter().position(|option| option == "--port") {
        let port = options.get(at + 1).context("--port wants a number")?;
        return port.parse().with_context(|| format!("{port:?} is not a port"));
    }
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (8080..8180).find(free).context("no free port from 8080 to 8179; please give --port")
}

fn wait_until_up(server: &mut Child, port: u16) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(status) = server.try_wait()? {
            bail!("block-server ended at once ({status})");
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("block-server does not answer on port {port}")
}
