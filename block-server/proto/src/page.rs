//! A manifest page: the hashes of 1,024 consecutive chunks.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::Hash;

/// Chunks a page covers.
pub const PAGE_CHUNKS: usize = 1024;

/// Bytes of a page object.
pub const PAGE_SIZE: usize = PAGE_CHUNKS * 32;

static EMPTY: LazyLock<Hash> = LazyLock::new(|| Hash::of(&[0; PAGE_SIZE]));

/// The hashes of 1,024 chunks; chunks beyond the image's end are zero chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    bytes: Bytes,
}

impl Page {
    /// A page of zero chunks. It is not stored.
    pub fn empty() -> Self {
        Self { bytes: Bytes::from_static(&[0; PAGE_SIZE]) }
    }

    /// The hash of the page of zero chunks.
    pub fn empty_hash() -> Hash {
        *EMPTY
    }

    /// Wraps a page object; `None` if it has the wrong size.
    pub fn parse(object: Bytes) -> Option<Self> {
        (object.len() == PAGE_SIZE).then_some(Self { bytes: object })
    }

    /// Makes a page of at most 1,024 hashes, the rest zero chunks.
    pub fn from_hashes(hashes: &[Hash]) -> Self {
        assert!(hashes.len() <= PAGE_CHUNKS, "a page covers {PAGE_CHUNKS} chunks");
        let mut bytes = Vec::with_capacity(PAGE_SIZE);
        hashes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        bytes.resize(PAGE_SIZE, 0);
        Self { bytes: bytes.into() }
    }

    /// The page object.
    pub fn object(&self) -> &Bytes {
        &self.bytes
    }

    /// The hash of the chunk at `index` within the page; `None` for a zero chunk or beyond the page.
    pub fn chunk(&self, index: usize) -> Option<Hash> {
        let (hashes, _) = self.bytes.as_chunks::<32>();
        hashes.get(index).map(|bytes| Hash::from_bytes(*bytes)).filter(|hash| !hash.is_zero_chunk())
    }

    /// Every stored chunk with its index within the page.
    pub fn chunks(&self) -> impl Iterator<Item = (usize, Hash)> {
        (0..PAGE_CHUNKS).filter_map(|index| Some((index, self.chunk(index)?)))
    }
}
