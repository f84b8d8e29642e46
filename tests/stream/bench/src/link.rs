//! A line between two network namespaces: two TUN devices, and this program between them, which delays what it carries and
//! lets through so many bits a second. (A kernel with netem could do it; not every kernel has it.)
//!
//! Packets that would wait longer than [`QUEUE`] are dropped, as a router's do. The line is checked before it is used: by
//! echoes over UDP and by what one TCP connection gets.

use std::collections::VecDeque;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tun::Tun;

use crate::figures::{Report, Verdict};
use crate::place::{Place, in_namespace};

/// There and back.
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// Bits a second, each way.
const RATE: f64 = 20e6;
/// How much may wait for the line.
const QUEUE: Duration = Duration::from_millis(100);
const MTU: i32 = 1500;

const FAR: &str = "10.77.0.1";
const NEAR: &str = "10.77.0.2";
pub(crate) const ECHO_PORT: u16 = 7007;
pub(crate) const SOURCE_PORT: u16 = 7008;
const SERVER_PORT: u16 = 7080;

/// Demand during prefetch may take this much longer than without, at p95.
const MOST_LONGER_MS: f64 = 60.0;

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("starting ip (of iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A network namespace; gone when dropped.
struct Namespace(String);

impl Namespace {
    fn make(end: &str) -> Result<Self> {
        let name = format!("skiff-{end}-{}", std::process::id());
        ip(&["netns", "add", &name]).context("making a network namespace wants root")?;
        let namespace = Self(name);
        ip(&["-n", &namespace.0, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Makes a device of this process and puts it there.
    fn device(&self, name: &str, address: &str) -> Result<Arc<Tun>> {
        let mut made = Tun::builder().name(name).mtu(MTU).build().context("making a TUN device wants root")?;
        let device = made.pop().context("no device")?;
        ip(&["link", "set", name, "netns", &self.0])?;
        ip(&["-n", &self.0, "address", "add", &format!("{address}/24"), "dev", name])?;
        ip(&["-n", &self.0, "link", "set", name, "mtu", &MTU.to_string(), "up"])?;
        Ok(Arc::new(device))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.0]);
    }
}

/// Carries packets one way for as long as it is polled.
async fn carry(from: Arc<Tun>, to: Arc<Tun>) -> io::Result<()> {
    let (line, mut end) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let enter = async {
        let mut packet = vec![0; 65_536];
        let mut free = Instant::now();
        loop {
            let len = from.recv(&mut packet).await?;
            let now = Instant::now();
            let starts = free.max(now);
            if starts - now > QUEUE {
                continue;
            }
            free = starts + Duration::from_secs_f64(len as f64 * 8.0 / RATE);
            let bytes = packet.get(..len).unwrap_or_default().to_vec();
            if line.send((free + ROUND_TRIP / 2, bytes)).is_err() {
                return Ok(());
            }
        }
    };
    let leave = async {
        let mut due = VecDeque::new();
        while let Some((at, packet)) = end.recv().await {
            due.push_back((at, packet));
            while let Ok(next) = end.try_recv() {
                due.push_back(next);
            }
            while let Some((at, packet)) = due.pop_front() {
                sleep_until(at).await;
                // A device that is full drops, too.
                let _ = to.send(&packet).await;
                while let Ok(next) = end.try_recv() {
                    due.push_back(next);
                }
            }
        }
        Ok(())
    };
    tokio::select! {
        done = enter => done,
        done = leave => done,
    }
}

/// Measures demand with and without prefetch over the line.
pub(crate) async fn measure(place: &Place, report: &mut Report) -> Result<()> {
    let (near, far) = (Namespace::make("near")?, Namespace::make("far")?);
    let (here, there) = (near.device("skiffnear", NEAR)?, far.device("skifffar", FAR)?);
    let line = [
        tokio::spawn(carry(Arc::clone(&here), Arc::clone(&there))),
        tokio::spawn(carry(Arc::clone(&there), Arc::clone(&here))),
    ];
    let _server = place.block_server(Some(&far.0), &format!("{FAR}:{SERVER_PORT}"))?;
    let program = std::env::current_exe()?;
    let mut peer = far_end(in_namespace(Some(&far.0), &program).args(["peer", "--address", FAR]))?;
    let client = in_namespace(Some(&near.0), &program)
        .args(["client", "--peer", FAR, "--image", &format!("http://{FAR}:{SERVER_PORT}/bench")])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = tokio::task::spawn_blocking(move || client.wait_with_output()).await??;
    let _ = peer.kill();
    let _ = peer.wait();
    line.iter().for_each(tokio::task::JoinHandle::abort);
    if !output.status.success() {
        bail!("the client at the near end failed");
    }
    let found: Value = serde_json::from_slice(&output.stdout).context("the client's figures")?;
    tell(&found, report)?;
    report.value("link", found);
    Ok(())
}

fn far_end(command: &mut Command) -> Result<std::process::Child> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    child.context("starting the far end")
}

fn tell(found: &Value, report: &mut Report) -> Result<()> {
    let number = |name: &str| found[name].as_f64().with_context(|| format!("no {name}"));
    let (ping, rate) = (number("ping_ms")?, number("tcp_mbit")?);
    let sound = (50.0..60.0).contains(&ping) && (16.0..20.5).contains(&rate);
    report.row(
        "line of 50 ms and 20 Mbit/s: its own echo and TCP figures",
        format!("{ping:.1} ms, {rate:.1} Mbit/s"),
        "50 to 60 ms, 16 to 20.5 Mbit/s",
        sound.into(),
    );
    let (idle, busy) = (number("idle_p95_ms")?, number("busy_p95_ms")?);
    report.row(
        "over it: p95 of demand reads during prefetch, beside idle p95",
        format!("{busy:.0} ms, idle {idle:.0} ms: {:+.0} ms", busy - idle),
        "at most +60 ms",
        (busy <= idle + MOST_LONGER_MS).into(),
    );
    report.row(
        "over it: prefetch meanwhile",
        format!("{:.1} Mbit/s, {} demand reads", number("busy_mbit")?, number("busy_reads")?),
        "",
        Verdict::Reported,
    );
    Ok(())
}

/// Where the far end listens.
#[derive(Args)]
pub(crate) struct PeerOptions {
    #[arg(long)]
    address: String,
}

/// Echoes over UDP and sends zeros over TCP, for ever.
pub(crate) fn be_peer(options: &PeerOptions) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let echo = UdpSocket::bind((options.address.as_str(), ECHO_PORT)).await?;
        let source = TcpListener::bind((options.address.as_str(), SOURCE_PORT)).await?;
        let answer = async {
            let mut packet = [0; 2048];
            loop {
                let (len, from) = echo.recv_from(&mut packet).await?;
                echo.send_to(packet.get(..len).unwrap_or_default(), from).await?;
            }
        };
        let pour = async {
            loop {
                let (mut tcp, _) = source.accept().await?;
                let zeros = vec![0; 64 << 10];
                while tcp.write_all(&zeros).await.is_ok() {}
            }
        };
        let done: (io::Result<()>, io::Result<()>) = tokio::join!(answer, pour);
        Ok(done.0.and(done.1)?)
    })
}
