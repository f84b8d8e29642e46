//! The near end of the line: what it is like, and how long demanded chunks take over it, alone and beside prefetch.

use std::net::UdpSocket;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use vm_block::remote::native::{NativeHost, NativeOptions};
use vm_block::remote::{ImageRef, OpenOptions, Remote};
use vm_block::{BlockDevice, CHUNK_SIZE, ChunkCache, ChunkId};

use crate::figures::{Times, ms};
use crate::link::{ECHO_PORT, SOURCE_PORT};
use crate::place::CHUNKS;

/// Where the far end is.
#[derive(Args)]
pub(crate) struct ClientOptions {
    #[arg(long)]
    peer: String,
    #[arg(long)]
    image: String,
}

const ECHOES: usize = 20;
/// TCP finds its rate in the first part, which does not count.
const WARM_UP: Duration = Duration::from_secs(2);
const POUR: Duration = Duration::from_secs(4);
/// Demand reads without prefetch, and the most beside it.
const READS: usize = 60;
/// What a guest does between two reads.
const PAUSE: Duration = Duration::from_millis(50);
/// Every eighth chunk is left to demand.
const DEMANDED: u32 = 8;

fn echo(peer: &str) -> Result<Duration> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect((peer, ECHO_PORT))?;
    let mut times = Times::default();
    for n in 0..ECHOES {
        // The far end may still be starting.
        let start = Instant::now();
        let mut packet = [0; 64];
        let answered = socket.send(&n.to_le_bytes()).and_then(|_| socket.recv(&mut packet));
        match answered {
            Ok(_) => times.add(start.elapsed()),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
    anyhow::ensure!(times.len() > ECHOES / 2, "only {} of {ECHOES} echoes came back", times.len());
    Ok(times.percentile(50.0))
}

fn pour(peer: &str) -> Result<f64> {
    use std::io::Read;
    let mut tcp = std::net::TcpStream::connect((peer, SOURCE_PORT)).context("connecting over the line")?;
    let (start, mut counted, mut buffer) = (Instant::now(), 0, vec![0; 64 << 10]);
    while start.elapsed() < WARM_UP + POUR {
        let len = tcp.read(&mut buffer)?;
        if start.elapsed() > WARM_UP {
            counted += len;
        }
    }
    Ok(counted as f64 * 8.0 / (start.elapsed() - WARM_UP).as_secs_f64() / 1e6)
}

struct Disk {
    host: Rc<NativeHost>,
    device: Rc<ChunkCache<Remote>>,
    remote: Remote,
}

impl Disk {
    fn open(name: &str) -> Result<Self> {
        let host = Rc::new(NativeHost::start_with(&NativeOptions::default())?);
        let image: ImageRef = name.parse().map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        let opened = host.run(Remote::open(host.remote_host(), &image, OpenOptions::default()));
        let (remote, background) = opened?;
        host.spawn(background);
        let device = Rc::new(ChunkCache::new(remote.clone(), CHUNKS as usize * CHUNK_SIZE));
        let cache = Rc::clone(&device);
        host.spawn(Box::pin(async move { cache.run().await }));
        Ok(Self { host, device, remote })
    }

    async fn read(&self, chunk: u32) -> Result<Duration> {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        self.device.read_at(u64::from(chunk) * CHUNK_SIZE as u64, &mut bytes).await?;
        Ok(start.elapsed())
    }

    async fn pause(&self) {
        let host = self.host.remote_host();
        host.timers.sleep_until(host.clock.monotonic() + PAUSE).await;
    }

    /// Reads chunks that nobody else asks for, one after the other, until enough are read or `end` says so.
    async fn demand(&self, end: impl Fn() -> bool) -> Result<Times> {
        let mut times = Times::default();
        // Far apart, so that nobody reads ahead.
        for n in 0..READS as u32 {
            if end() {
                break;
            }
            times.add(self.read(n * 29 % (CHUNKS / DEMANDED) * DEMANDED).await?);
            self.pause().await;
        }
        Ok(times)
    }
}

/// Measures, and prints figures in JSON.
pub(crate) fn be_client(options: &ClientOptions) -> Result<()> {
    let ping = echo(&options.peer)?;
    let mbit = pour(&options.peer)?;

    let disk = Disk::open(&options.image)?;
    // The first read opens the session and reads the page.
    disk.host.run(disk.read(1))?;
    let mut idle = disk.host.run(disk.demand(|| false))?;
    drop(disk);

    let disk = Disk::open(&options.image)?;
    disk.host.run(disk.read(1))?;
    let device = Rc::clone(&disk.device);
    let ahead = (0..CHUNKS).filter(|chunk| chunk % DEMANDED != 0).map(ChunkId);
    let done = Rc::new(std::cell::Cell::new(false));
    let tell = Rc::clone(&done);
    disk.host.spawn(Box::pin(async move {
        device.prefetch(ahead).await;
        tell.set(true);
    }));
    let (before, start) = (disk.remote.status().bytes, Instant::now());
    // Prefetch has filled the line by then.
    for _ in 0..10 {
        disk.host.run(disk.pause());
    }
    let mut busy = disk.host.run(disk.demand(|| done.get()))?;
    let came = (disk.remote.status().bytes - before) as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e6;
    let [idle_p50, idle_p95] = [50.0, 95.0].map(|percent| ms(idle.percentile(percent)));
    let [busy_p50, busy_p95] = [50.0, 95.0].map(|percent| ms(busy.percentile(percent)));
    let figures = json!({
        "ping_ms": ms(ping), "tcp_mbit": mbit, "idle_p50_ms": idle_p50, "idle_p95_ms": idle_p95, "idle_reads": idle.len(),
        "busy_p50_ms": busy_p50, "busy_p95_ms": busy_p95, "busy_reads": busy.len(), "busy_mbit": came,
    });
    println!("{figures}");
    Ok(())
}
