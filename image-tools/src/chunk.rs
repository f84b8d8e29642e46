//! From a disk in a file to a store's objects, on all processors.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use block_proto::envelope::Sealer;
use block_proto::section::BuildInfo;
use block_proto::{CHUNK_SIZE, Hash, Manifest, PAGE_CHUNKS, Page, Section, SectionKind};
use rayon::prelude::*;

use crate::holes;
use crate::progress::Progress;
use crate::store::{Put, Store};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunked {
    /// The manifest's hash, which names the image.
    pub manifest: Option<Hash>,
    /// Chunks of the disk, zero chunks included.
    pub chunks: u64,
    /// Chunks that are not all zeros.
    pub stored: u64,
    /// Objects the store did not have (chunks, pages, sections and root).
    pub new_objects: u64,
    /// Bytes they take.
    pub new_bytes: u64,
}

/// Cuts a disk into chunks and writes what the store lacks, then its manifest.
pub(crate) fn chunk(
    disk: &File,
    store: &Store,
    level: i32,
    identity: Identity<'_>,
    progress: &dyn Progress,
) -> Result<Chunked> {
    let size = disk.metadata()?.len();
    let count = u32::try_from(size.div_ceil(CHUNK_SIZE as u64)).context("a disk has at most 2^32 chunks")?;
    let with_data = data_chunks(disk, size).context("cannot find the holes of the disk")?;
    let step = progress.step("compressing", Some(with_data.len() as u64 * CHUNK_SIZE as u64));
    let (new_objects, new_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let put = |hash: &Hash, object: &[u8], sealer: &mut Sealer| -> Result<()> {
        if let Put::Written(bytes) = store.put(hash, || sealer.seal(object))? {
            new_objects.fetch_add(1, Ordering::Relaxed);
            new_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    };
    let one = |state: &mut Result<(Sealer, Vec<u8>)>, number: &u32| -> Result<(u32, Hash)> {
        let (sealer, buffer) = state.as_mut().map_err(|error| anyhow::anyhow!("{error}"))?;
        read_chunk(disk, *number, size, buffer).context("cannot read the disk")?;
        step.advance(CHUNK_SIZE as u64);
        if is_zero(buffer) {
            return Ok((*number, Hash::ZERO_CHUNK));
        }
        let hash = Hash::of(buffer);
        put(&hash, buffer, sealer)?;
        Ok((*number, hash))
    };
    let fresh = || Ok((Sealer::new(level).context("bad compression level")?, vec![0; CHUNK_SIZE]));
    let hashed: Vec<(u32, Hash)> = with_data.par_iter().map_init(fresh, one).collect::<Result<_>>()?;
    drop(step);

    let mut hashes = vec![Hash::ZERO_CHUNK; count as usize];
    for (number, hash) in &hashed {
        if let Some(slot) = hashes.get_mut(*number as usize) {
            *slot = *hash;
        }
    }
    let mut sealer = Sealer::new(level)?;
    let mut pages = Vec::with_capacity(hashes.len().div_ceil(PAGE_CHUNKS));
    for page in hashes.chunks(PAGE_CHUNKS) {
        if page.iter().all(Hash::is_zero_chunk) {
            pages.push(Page::empty_hash());
            continue;
        }
        let page = Page::from_hashes(page);
        let hash = Hash::of(page.object());
        put(&hash, page.object(), &mut sealer)?;
        pages.push(hash);
    }
    let info = identity.info.emit();
    let section = Section {
        kind: SectionKind::BuildInfo,
        flags: 0,
        count: u32::try_from(info.len()).context("the build information is too long")?,
        hash: Hash::of(&info),
    };
    put(&section.hash, &info, &mut sealer)?;
    let manifest = Manifest {
        image_size: size,
        created: identity.created,
        fs_uuid: identity.uuid,
        sections: vec![section],
        pages,
    };
    let root = manifest.emit();
    let hash = Hash::of(&root);
    put(&hash, &root, &mut sealer)?;
    Ok(Chunked {
        manifest: Some(hash),
        chunks: count.into(),
        stored: hashed.iter().filter(|(_, hash)| !hash.is_zero_chunk()).count() as u64,
        new_objects: new_objects.into_inner(),
        new_bytes: new_bytes.into_inner(),
    })
}

/// What a manifest says beside the content.
pub(crate) struct Identity<'a> {
    pub(crate) uuid: [u8; 16],
    pub(crate) created: u64,
    pub(crate) info: &'a BuildInfo,
}

/// The numbers of the chunks that are not holes of the file.
fn data_chunks(disk: &File, size: u64) -> io::Result<Vec<u32>> {
    let chunk = CHUNK_SIZE as u64;
    let mut numbers: Vec<u32> = Vec::new();
    for range in holes::data_ranges(disk, size)? {
        let first = numbers.last().map_or(0, |last| u64::from(*last) + 1).max(range.start / chunk);
        numbers.extend((first..range.end.div_ceil(chunk)).filter_map(|number| u32::try_from(number).ok()));
    }
    Ok(numbers)
}

/// Reads a chunk, the last one filled with zeros.
fn read_chunk(disk: &File, number: u32, size: u64, buffer: &mut [u8]) -> io::Result<()> {
    let offset = u64::from(number) * CHUNK_SIZE as u64;
    let len = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
    let (data, rest) = buffer.split_at_mut(len);
    rest.fill(0);
    disk.read_exact_at(data, offset)
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_skipped_and_borders_are_right() {
        let file = tempfile::tempfile().expect("makes a file");
        file.set_len(20 << 30).expect("grows");
        let chunk = CHUNK_SIZE as u64;
        for offset in [0, 5 * chunk - 1, 5 * chunk, (19 << 30) + 7] {
            file.write_all_at(b"x", offset).expect("writes");
        }
        let numbers = data_chunks(&file, 20 << 30).expect("finds");
        for expected in [0, 4, 5, (19_u64 << 30) as u32 / CHUNK_SIZE as u32] {
            let expected = if expected > 5 { ((19_u64 << 30) / chunk) as u32 } else { expected };
            assert!(numbers.contains(&expected), "{expected} of {numbers:?}");
        }
        assert!(numbers.len() < 100 && numbers.is_sorted());
    }

    #[test]
    fn a_full_file_is_all_data() {
        let file = tempfile::tempfile().expect("makes a file");
        file.write_all_at(&vec![1; 3 * CHUNK_SIZE + 5], 0).expect("writes");
        assert_eq!(data_chunks(&file, 3 * CHUNK_SIZE as u64 + 5).expect("finds"), [0, 1, 2, 3]);
    }
}
