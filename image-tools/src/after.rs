//! The version before: read from its store, so that the next one keeps what it can where it was.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use anyhow::{Context, Result};
use block_proto::ImageRef;
use ext2::format::{Kept, NodeId, Previous};
use ext2::{Ext2, Ino, MountOptions};
use futures_util::future::{Either, select};
use vm_block::remote::Remote;
use vm_block::{ChunkCache, DEFAULT_CACHE_BYTES};

use crate::reader::{Network, Reader};
use crate::source::data::DataReader;
use crate::source::tree::Files;

/// Bytes compared at a time.
const PIECE: usize = 1 << 20;
/// Files of the same size that a new file is compared with, at most.
const MOST_CANDIDATES: usize = 8;

/// An open earlier version.
pub(crate) struct After {
    reader: Reader,
    fs: Ext2<ChunkCache<Remote>>,
    pub(crate) previous: Previous,
}

impl After {
    /// Opens an image and reads where it has everything.
    pub(crate) fn open(image: &ImageRef, network: &Network) -> Result<Self> {
        let reader = Reader::open(image, network)?;
        let device = ChunkCache::new(reader.remote().clone(), DEFAULT_CACHE_BYTES);
        let fs = reader.run(Ext2::mount(device, MountOptions::read_only()))?;
        let fs = fs.with_context(|| format!("{image} has no file system that can be read"))?;
        let previous = reader.run(with_cache(&fs, Previous::read(&fs)))?;
        let previous = previous.with_context(|| format!("{image} cannot be gone on from"))?;
        Ok(Self { reader, fs, previous })
    }

    /// Bytes of its disk.
    pub(crate) fn size(&self) -> u64 {
        self.reader.manifest().image_size
    }

    /// Finds what stays: files of the same path, and among the others those with the same content.
    pub(crate) fn keep(&self, files: &Files) -> Result<Kept> {
        let mut kept = self.previous.keep(&files.tree);
        let mut gone: BTreeMap<u64, Vec<Ino>> = BTreeMap::new();
        for (ino, size) in self.previous.gone(&kept) {
            gone.entry(size).or_default().push(ino);
        }
        let mut data = DataReader::default();
        for (node, size) in kept.new_files(&files.tree) {
            let Some(candidates) = gone.get_mut(&size) else { continue };
            let mut found = None;
            for (place, ino) in candidates.iter().enumerate().take(MOST_CANDIDATES) {
                if self.is_same(files, &mut data, node, *ino, size)? {
                    found = Some(place);
                    break;
                }
            }
            if let Some(place) = found {
                kept.put_file(node, candidates.remove(place));
            }
        }
        Ok(kept)
    }

    fn is_same(&self, files: &Files, data: &mut DataReader, node: NodeId, ino: Ino, size: u64) -> Result<bool> {
        let Some(source) = files.data.get(&node) else { return Ok(false) };
        let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
        let mut at = 0;
        while at < size {
            let len = PIECE.min(usize::try_from(size - at).unwrap_or(PIECE));
            let (Some(ours), Some(theirs)) = (ours.get_mut(..len), theirs.get_mut(..len)) else { break };
            data.read(source, at, ours)?;
            self.reader.run(with_cache(&self.fs, self.fs.read(ino, at, theirs)))??;
            if ours != theirs {
                return Ok(false);
            }
            at += len as u64;
        }
        Ok(true)
    }
}

/// Reads ahead while a future is waited for.
async fn with_cache<T>(fs: &Ext2<ChunkCache<Remote>>, future: impl Future<Output = T>) -> T {
    match select(pin!(future), pin!(fs.device().run())).await {
        Either::Left((value, _)) => value,
        // The cache's own work never ends.
        Either::Right(((), future)) => future.await,
    }
}
