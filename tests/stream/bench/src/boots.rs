//! Cold boots: what one asks for, how many round trips that is, and how many a core of the server gives a second.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use block_proto::section::BootProfile;
use block_proto::{Hash, MAX_OBJECT, Manifest, Page, SectionKind, TagRecord, envelope, key};
use bytes::Bytes;
use serde_json::json;

use crate::figures::{Report, Verdict};
use crate::peer::{Http, Socket};
use crate::place::{BOOT, Place};

/// Boots at once.
const AT_ONCE: usize = 8;
/// What prefetch asks for at a time.
const BATCH: usize = 32;

/// Round trips of a boot, one after the other: what has to be waited for however fast the line is.
#[derive(Clone, Copy, Default)]
struct Trips {
    http: u32,
    socket: u32,
}

fn opened(stored: Vec<u8>, hash: &Hash) -> Result<Bytes> {
    envelope::open(&Bytes::from(stored), hash, MAX_OBJECT).context("a wrong object")
}

/// Tag and manifest over HTTP; page, boot profile and the profile's chunks over one socket.
async fn boot(address: &str) -> Result<Trips> {
    let mut trips = Trips::default();
    let mut http = Http::connect(address).await?;
    let tag = http.get(&format!("/{}", key::tag("bench", "latest"))).await?;
    let manifest = TagRecord::parse(&tag, "bench", "latest").context("no tag record")?.manifest;
    let root = opened(http.get(&format!("/{}", key::object(&manifest))).await?, &manifest)?;
    trips.http += 2;
    let root = Manifest::parse(&root).context("no manifest")?;
    let mut socket = Socket::open(address, manifest).await?;
    // The upgrade and HELLO.
    trips.socket += 2;
    let page_hash = *root.pages.first().context("no page")?;
    let profile_hash = root.section(SectionKind::BootProfile).context("no profile")?.hash;
    let found = socket.fetch(&[page_hash, profile_hash]).await?;
    trips.socket += 1;
    let mut found = found.into_iter();
    let page = envelope::open(&found.next().context("no page")?, &page_hash, MAX_OBJECT)?;
    let page = Page::parse(page).context("no page")?;
    let profile = envelope::open(&found.next().context("no profile")?, &profile_hash, MAX_OBJECT)?;
    let profile = BootProfile::parse(&profile).context("no profile")?;
    let chunks: Vec<Hash> = profile.entries.iter().filter_map(|entry| page.chunk(entry.chunk as usize)).collect();
    for batch in chunks.chunks(BATCH) {
        // Not verified: that is the client's time, and it is measured elsewhere.
        socket.fetch(batch).await?;
        trips.socket += 1;
    }
    Ok(trips)
}

/// Boots for so long, some at once.
pub(crate) async fn measure(place: &Place, time: Duration, report: &mut Report) -> Result<()> {
    let server = place.block_server(None, "127.0.0.1:0")?;
    let reads = "block_server_origin_reads_total";
    let before = server.metric(reads).await?;
    let trips = boot(&server.address).await?;
    let first = server.metric(reads).await? - before;
    boot(&server.address).await?;
    let second = server.metric(reads).await? - before - first;
    report.row(
        &format!("a cold boot of {BOOT} chunks: round trips, reads of the store by the first and the next"),
        format!("{} over HTTP + {} over the socket; {first}, then {second}", trips.http, trips.socket),
        "",
        Verdict::Reported,
    );
    let (processor, start) = (server.processor()?, Instant::now());
    let address = server.address.as_str();
    let boots = (0..AT_ONCE).map(|_| async move {
        let mut boots = 0_u64;
        while start.elapsed() < time {
            boot(address).await?;
            boots += 1;
        }
        anyhow::Ok(boots)
    });
    let boots: u64 = futures_util::future::try_join_all(boots).await?.into_iter().sum();
    let (took, cpu) = (start.elapsed().as_secs_f64(), (server.processor()? - processor).as_secs_f64());
    let per_core = boots as f64 / cpu.max(0.01);
    report.row(
        "cold boots per second per core of block-server",
        format!("{per_core:.0} ({:.0}/s with clients on the same machine)", boots as f64 / took),
        "",
        Verdict::Reported,
    );
    report.value(
        "boots",
        json!({
            "chunks": BOOT, "round_trips_http": trips.http, "round_trips_socket": trips.socket, "origin_reads_first": first,
            "origin_reads_next": second, "per_core_second": per_core, "per_second": boots as f64 / took,
        }),
    );
    Ok(())
}
