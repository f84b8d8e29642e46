//! Memory hits in a closed loop: block-server beside nginx, the Worker beside block-server.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use block_proto::{Hash, key};
use serde_json::json;

use crate::figures::{Report, Times, Verdict, ms};
use crate::peer::{Http, Socket};
use crate::place::{Load, Place, Served};

/// Connections for throughput: as many as browsers open to one host.
const CONNECTIONS: usize = 6;
const BATCH: usize = 16;
/// Rounds of one server and then the other, so that a disturbance of this machine meets both.
const ROUNDS: u32 = 4;
/// The Worker's bundle must be smaller, in KiB.
const BUNDLE_KIB: u64 = 250;

/// What a closed loop came to.
#[derive(Default)]
struct Lap {
    times: Times,
    objects: u64,
    seconds: f64,
}

impl Lap {
    fn rate(&self) -> f64 {
        self.objects as f64 / self.seconds.max(1e-9)
    }

    fn add(&mut self, other: Self) {
        self.times.append(other.times);
        self.objects += other.objects;
        self.seconds += other.seconds;
    }
}

async fn over_sockets(
    load: Load<'_>,
    server: &Served,
    connections: usize,
    batch: usize,
    time: Duration,
) -> Result<Lap> {
    let mut sockets = Vec::new();
    for _ in 0..connections {
        sockets.push(Socket::open(&server.address, load.manifest).await?);
    }
    let start = Instant::now();
    let laps = sockets.into_iter().enumerate().map(|(n, mut socket)| async move {
        let (mut times, mut objects, mut turn) = (Times::default(), 0, 0);
        while start.elapsed() < time {
            let hashes: Vec<Hash> = (turn..turn + batch).map(|turn| load.pick(n, turn)).collect();
            turn += batch;
            let asked = Instant::now();
            socket.fetch(&hashes).await?;
            times.add(asked.elapsed());
            objects += batch as u64;
        }
        anyhow::Ok((times, objects))
    });
    let laps = futures_util::future::try_join_all(laps).await?;
    Ok(sum(laps, start.elapsed()))
}

async fn over_http(load: Load<'_>, server: &Served, connections: usize, time: Duration) -> Result<Lap> {
    let mut connected = Vec::new();
    for _ in 0..connections {
        connected.push(Http::connect(&server.address).await?);
    }
    let start = Instant::now();
    let laps = connected.into_iter().enumerate().map(|(n, mut http)| async move {
        let (mut times, mut objects) = (Times::default(), 0);
        for turn in 0.. {
            if start.elapsed() >= time {
                break;
            }
            let path = format!("/{}", key::object(&load.pick(n, turn)));
            let asked = Instant::now();
            http.get(&path).await?;
            times.add(asked.elapsed());
            objects += 1;
        }
        anyhow::Ok((times, objects))
    });
    let laps = futures_util::future::try_join_all(laps).await?;
    Ok(sum(laps, start.elapsed()))
}

fn sum(laps: Vec<(Times, u64)>, took: Duration) -> Lap {
    let mut lap = Lap { seconds: took.as_secs_f64(), ..Lap::default() };
    for (times, objects) in laps {
        lap.times.append(times);
        lap.objects += objects;
    }
    lap
}

/// Has a server read everything once, so that it is in memory.
pub(crate) async fn warm(load: Load<'_>, server: &Served) -> Result<()> {
    let mut socket = Socket::open(&server.address, load.manifest).await?;
    for batch in load.chunks.chunks(BATCH) {
        let found = socket.fetch(batch).await?;
        for (hash, envelope) in batch.iter().zip(found) {
            block_proto::envelope::open(&envelope, hash, block_proto::MAX_OBJECT).context("a wrong object")?;
        }
    }
    Ok(())
}

/// block-server beside nginx.
pub(crate) async fn against_nginx(place: &Place, time: Duration, report: &mut Report) -> Result<()> {
    let (ours, nginx) = (place.block_server(None, "127.0.0.1:0")?, place.nginx()?);
    let load = place.load(usize::MAX);
    warm(load, &ours).await?;
    let time = time / ROUNDS;
    over_http(load, &nginx, CONNECTIONS, time).await?;
    let mut laps: [Lap; 5] = Default::default();
    for _ in 0..ROUNDS {
        laps[0].add(over_sockets(load, &ours, 1, 1, time).await?);
        laps[1].add(over_http(load, &nginx, 1, time).await?);
        laps[2].add(over_sockets(load, &ours, CONNECTIONS, BATCH, time).await?);
        laps[3].add(over_http(load, &nginx, CONNECTIONS, time).await?);
        laps[4].add(over_http(load, &ours, CONNECTIONS, time).await?);
    }
    let [mut one, mut nginx_one, batched, nginx_many, http_many] = laps;
    let (p50, nginx_p50) = (one.times.percentile(50.0), nginx_one.times.percentile(50.0));
    let (p99, nginx_p99) = (one.times.percentile(99.0), nginx_one.times.percentile(99.0));
    let slower = p50.as_secs_f64() / nginx_p50.as_secs_f64().max(1e-9);
    report.row(
        "WebSocket, 1 in flight, memory hit, p50 beside nginx's",
        format!(
            "{:.3} ms, nginx {:.3} ms: {slower:.2}x (p99 {:.3}, {:.3})",
            ms(p50),
            ms(nginx_p50),
            ms(p99),
            ms(nginx_p99)
        ),
        "at most 1.2x",
        (slower <= 1.2).into(),
    );
    let faster = batched.rate() / nginx_many.rate().max(1e-9);
    report.row(
        &format!("WebSocket, batches of {BATCH} on {CONNECTIONS} connections, objects/s beside nginx's"),
        format!("{:.0}, nginx {:.0}: {faster:.2}x", batched.rate(), nginx_many.rate()),
        "at least 1.0x",
        (faster >= 1.0).into(),
    );
    report.row(
        &format!("block-server's own HTTP, {CONNECTIONS} connections, objects/s"),
        format!("{:.0}", http_many.rate()),
        "",
        Verdict::Reported,
    );
    let mean = place.mean.round();
    report.value(
        "race",
        json!({
            "object_bytes": mean, "connections": CONNECTIONS, "batch": BATCH,
            "socket_p50_ms": ms(p50), "socket_p99_ms": ms(p99), "nginx_p50_ms": ms(nginx_p50), "nginx_p99_ms": ms(nginx_p99),
            "socket_objects_per_s": batched.rate(), "nginx_objects_per_s": nginx_many.rate(),
            "http_objects_per_s": http_many.rate(),
        }),
    );
    Ok(())
}

/// The Worker beside block-server, and the size of its bundle.
pub(crate) async fn worker(place: &Place, time: Duration, report: &mut Report) -> Result<()> {
    let (ours, worker) = (place.block_server(None, "127.0.0.1:0")?, place.worker()?);
    // As much as an isolate keeps by default.
    let fits = ((40 << 20) as f64 / place.mean * 0.8) as usize;
    let load = place.load(fits);
    warm(load, &ours).await?;
    warm(load, &worker).await?;
    let time = time / ROUNDS;
    let mut laps: [Lap; 2] = Default::default();
    for _ in 0..ROUNDS {
        laps[0].add(over_sockets(load, &ours, 1, 1, time).await?);
        laps[1].add(over_sockets(load, &worker, 1, 1, time).await?);
    }
    let [mut ours, mut worker] = laps;
    let (p50, worker_p50) = (ours.times.percentile(50.0), worker.times.percentile(50.0));
    let slower = worker_p50.as_secs_f64() / p50.as_secs_f64().max(1e-9);
    report.row(
        "Worker in workerd, 1 in flight, memory hit, p50 beside block-server's",
        format!("{:.3} ms, block-server {:.3} ms: {slower:.2}x", ms(worker_p50), ms(p50)),
        "under 2x",
        (slower < 2.0).into(),
    );
    let mut size = Command::new("node");
    size.current_dir(&place.root).args(["edge-worker/size.mjs", "build/worker"]);
    let bytes: u64 = String::from_utf8(size.output()?.stdout)?.trim().parse().context("size.mjs tells no size")?;
    let kib = bytes.div_ceil(1024);
    report.row(
        "Worker's bundle, gzip",
        format!("{kib} KiB"),
        &format!("under {BUNDLE_KIB} KiB"),
        (kib < BUNDLE_KIB).into(),
    );
    let worker_p99 = ms(worker.times.percentile(99.0));
    report.value(
        "worker",
        json!({ "p50_ms": ms(worker_p50), "p99_ms": worker_p99, "block_server_p50_ms": ms(p50), "bundle_bytes": bytes }),
    );
    Ok(())
}

/// What a browser does with each chunk, in Chromium.
pub(crate) fn browser(place: &Place, report: &mut Report) -> Result<()> {
    let mut node = Command::new("node");
    node.current_dir(&place.root).args(["tests/stream/bench/open.mjs", "build/bench/open"]).arg(place.store());
    let output = node.stderr(Stdio::inherit()).output().context("starting node")?;
    let figures: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("open.mjs tells no figures; is build/bench/open built?")?;
    let median = figures["median_ms"].as_f64().context("no median")?;
    report.row(
        "client in Chromium: verify and decompress a chunk, median",
        format!("{median:.3} ms"),
        "under 0.4 ms",
        (median < 0.4).into(),
    );
    report.value("browser", figures);
    Ok(())
}
