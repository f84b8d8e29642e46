//! Many clients: an open loop at half of what a closed one gets, with idle sessions beside it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tokio::time::{sleep, sleep_until};

use crate::figures::{Report, Times, Verdict, ms};
use crate::peer::Socket;
use crate::place::{Load, Place, Served};
use crate::race;

const READING: usize = 200;
const IDLE: usize = 1000;
/// Idle clients say a sign of life so often, as ours do.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// The most an idle session may keep resident.
const MOST_KIB: f64 = 32.0;
/// Memory is flat if it grows by less than this part between the first fifth and the end.
const GROWTH: f64 = 1.10;

async fn sockets(load: Load<'_>, server: &Served, count: usize) -> Result<Vec<Socket>> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(Socket::open(&server.address, load.manifest).await?);
    }
    Ok(sockets)
}

/// Objects a second that so many clients get, each waiting for one before it asks for the next.
async fn capacity(load: Load<'_>, readers: &mut [Socket], time: Duration) -> Result<f64> {
    let start = Instant::now();
    let laps = readers.iter_mut().enumerate().map(|(n, socket)| async move {
        let mut objects = 0_u64;
        while start.elapsed() < time {
            socket.fetch(&[load.pick(n, usize::try_from(objects).unwrap_or(0))]).await?;
            objects += 1;
        }
        anyhow::Ok(objects)
    });
    let objects: u64 = futures_util::future::try_join_all(laps).await?.into_iter().sum();
    Ok(objects as f64 / start.elapsed().as_secs_f64())
}

/// Measures the crowd for so long.
pub(crate) async fn measure(place: &Place, warm_up: Duration, time: Duration, report: &mut Report) -> Result<()> {
    let server = place.block_server(None, "127.0.0.1:0")?;
    let load = place.load(usize::MAX);
    race::warm(load, &server).await?;
    // The rest of what a session leaves behind (buffers, pools) is there before anything is counted.
    let mut readers = sockets(load, &server, READING).await?;
    let most = capacity(load, &mut readers, warm_up).await?;
    let before = server.resident_kib()?;
    let idle = sockets(load, &server, IDLE).await?;
    sleep(Duration::from_secs(1)).await;
    let per_idle = server.resident_kib()?.saturating_sub(before) as f64 / IDLE as f64;
    report.row(
        &format!("resident memory of block-server for each of {IDLE} idle sessions"),
        format!("{per_idle:.1} KiB"),
        "at most 32 KiB",
        (per_idle <= MOST_KIB).into(),
    );

    let rate = most / 2.0;
    let errors = AtomicU64::new(0);
    let start = tokio::time::Instant::now();
    let keep = idle.into_iter().enumerate().map(|(n, mut socket)| {
        let errors = &errors;
        async move {
            // Not all at the same moment.
            let mut at = start + KEEP_ALIVE.mul_f64(n as f64 / IDLE as f64);
            while at < start + time {
                sleep_until(at).await;
                if socket.ping().await.is_err() {
                    errors.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                at += KEEP_ALIVE;
            }
            // Held to the end.
            sleep_until(start + time).await;
        }
    });
    let each = Duration::from_secs_f64(READING as f64 / rate.max(1.0));
    let read = readers.into_iter().enumerate().map(|(n, mut socket)| {
        let errors = &errors;
        async move {
            let mut times = Times::default();
            let mut at = start + each.mul_f64(n as f64 / READING as f64);
            let mut turn = 0;
            while at < start + time {
                sleep_until(at).await;
                turn += 1;
                if socket.fetch(&[load.pick(n, turn)]).await.is_err() {
                    errors.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                // From when it was due: a server that stalls is not asked less.
                times.add(at.elapsed());
                at += each;
            }
            times
        }
    });
    let memory = async {
        sleep(time / 5).await;
        let early = server.resident_kib()?;
        let mut peak = early;
        for _ in 0..20 {
            sleep(time * 4 / 5 / 21).await;
            peak = peak.max(server.resident_kib()?);
        }
        anyhow::Ok((early, peak))
    };
    let keep = futures_util::future::join_all(keep);
    let read = futures_util::future::join_all(read);
    let (_, laps, memory) = tokio::join!(keep, read, memory);
    let (early, peak) = memory?;
    let mut times = Times::default();
    laps.into_iter().for_each(|lap| times.append(lap));
    let errors = errors.into_inner();
    let due = (rate * time.as_secs_f64()) as usize;
    report.row(
        &format!(
            "open loop, {READING} reading and {IDLE} idle clients, {:.1} minutes: errors",
            time.as_secs_f64() / 60.0
        ),
        format!("{errors} of {} reads at {rate:.0}/s (half of {most:.0}/s)", times.len()),
        "none",
        (errors == 0 && times.len() * 100 >= due * 98).into(),
    );
    let growth = peak as f64 / early.max(1) as f64;
    report.row(
        "the same: memory at a fifth of the time and its peak after it",
        format!("{} MiB, {} MiB", early / 1024, peak / 1024),
        "flat",
        (growth < GROWTH).into(),
    );
    let [p50, p95, p99] = [50.0, 95.0, 99.0].map(|percent| times.percentile(percent));
    report.row(
        "the same: time of a demanded object from when it was due",
        format!("p50 {:.2}, p95 {:.2}, p99 {:.2} ms", ms(p50), ms(p95), ms(p99)),
        "",
        Verdict::Reported,
    );
    report.value(
        "crowd",
        json!({
            "minutes": time.as_secs_f64() / 60.0, "capacity_per_s": most, "rate_per_s": rate, "reads": times.len(),
            "errors": errors, "kib_per_idle": per_idle, "resident_kib_early": early, "resident_kib_peak": peak,
            "p50_ms": ms(p50), "p95_ms": ms(p95), "p99_ms": ms(p99),
        }),
    );
    Ok(())
}
