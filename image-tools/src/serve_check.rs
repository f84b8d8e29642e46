//! Does a server deliver? A sample of an image, fetched end to end as a client would: by WebSocket, then by HTTP alone.

use std::time::{Duration, Instant};

use anyhow::Result;
use block_proto::{CHUNK_SIZE, Hash};
use vm_block::ChunkId;
use vm_block::remote::{ImageRef, Link, OpenOptions};

use crate::reader::{Network, Reader};

/// What one way of fetching came to.
#[derive(Debug)]
pub struct Pass {
    /// How objects came.
    pub link: Link,
    /// Time to open the image.
    pub opening: Duration,
    /// Time for the first chunk after that.
    pub first_chunk: Duration,
    /// Chunks fetched and verified.
    pub chunks: usize,
    /// Time for all of them.
    pub all_chunks: Duration,
    /// Bytes that crossed the network.
    pub bytes: u64,
    /// Round-trip time, over WebSocket.
    pub rtt: Option<Duration>,
    /// What went wrong, in words.
    pub errors: Vec<String>,
}

impl Pass {
    /// Megabytes of disk a second.
    pub fn megabytes_per_second(&self) -> f64 {
        (self.chunks * CHUNK_SIZE) as f64 / 1e6 / self.all_chunks.as_secs_f64().max(1e-9)
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// WebSocket if the server has it.
    Any,
    /// HTTP alone, as on a static host.
    Http,
}

/// Opens an image and fetches `sample` chunks spread over it.
pub fn serve_check(image: &ImageRef, way: Way, sample: usize, network: &Network) -> Result<Pass> {
    let start = Instant::now();
    let options = OpenOptions { sockets: way == Way::Any, ..OpenOptions::default() };
    let reader = Reader::open_with(image, network, options)?;
    let opening = start.elapsed();
    let mut bad = Vec::new();
    let stored = reader.stored_chunks(&mut bad)?;
    let mut errors: Vec<String> = bad.iter().map(ToString::to_string).collect();
    // Evenly spread, so that every part of the store is touched.
    let every = stored.len().div_ceil(sample.max(1)).max(1);
    let sample: Vec<(ChunkId, Hash)> = stored.iter().step_by(every).copied().collect();
    let mut fetch = |chunks: &[(ChunkId, Hash)]| -> Result<(usize, Duration)> {
        let start = Instant::now();
        let mut good = 0;
        reader.fetch_all(chunks, |places, result| {
            match result {
                Ok(_) => good += places.len(),
                Err(error) => errors.push(error.to_string()),
            }
            Ok(())
        })?;
        Ok((good, start.elapsed()))
    };
    let (first, rest) = sample.split_at(sample.len().min(1));
    let (first_good, first_chunk) = fetch(first)?;
    let (rest_good, rest_time) = fetch(rest)?;
    let status = reader.remote().status();
    Ok(Pass {
        link: status.link,
        opening,
        first_chunk,
        chunks: first_good + rest_good,
        all_chunks: first_chunk + rest_time,
        bytes: status.bytes,
        rtt: status.rtt,
        errors,
    })
}
