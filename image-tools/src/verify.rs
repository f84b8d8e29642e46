//! Is an image what its name says? Every hash, then the file system.

use std::pin::pin;

use anyhow::Result;
use futures_util::future::{Either, select};
use vm_block::{ChunkCache, DEFAULT_CACHE_BYTES};

use crate::progress::Progress;
use crate::reader::Reader;

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Chunks whose hash is right.
    pub good: u64,
    /// What is wrong, in words.
    pub errors: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Reads all of an image and checks it.
pub fn verify(reader: &Reader, progress: &dyn Progress) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut bad = Vec::new();
    let chunks = reader.stored_chunks(&mut bad)?;
    verdict.errors.extend(bad.iter().map(ToString::to_string));
    let step = progress.step("verifying chunks", Some(chunks.len() as u64));
    reader.fetch_all(&chunks, |places, result| {
        step.advance(places.len() as u64);
        match result {
            Ok(_) => verdict.good += places.len() as u64,
            Err(error) => verdict.errors.push(error.to_string()),
        }
        Ok(())
    })?;
    drop(step);
    if verdict.is_good() {
        let _step = progress.step("checking the file system", None);
        verdict.errors.extend(reader.run(check_file_system(reader))?);
    }
    Ok(verdict)
}

/// Checks the file system, read as the VM reads it.
async fn check_file_system(reader: &Reader) -> Vec<String> {
    let device = ChunkCache::new(reader.remote().clone(), DEFAULT_CACHE_BYTES);
    let (check, background) = (pin!(ext2::check::check(&device)), pin!(device.run()));
    let result = match select(check, background).await {
        Either::Left((result, _)) => result,
        // The cache's own work never ends.
        Either::Right(((), check)) => check.await,
    };
    match result {
        Ok(report) => {
            let more = (report.more > 0).then(|| format!("file system: {} more findings", report.more));
            report.findings.iter().map(|finding| format!("file system: {finding}")).chain(more).collect()
        }
        Err(error) => vec![format!("file system: {error}")],
    }
}
