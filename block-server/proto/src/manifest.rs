//! The root of an image: its size, and the hashes of its pages and sections.

use crate::wire::Reader;
use crate::{CHUNK_SIZE, Hash, PAGE_CHUNKS};

const MAGIC: u32 = u32::from_le_bytes(*b"VMDM");
const VERSION: u16 = 1;
const CHUNK_LOG2: u8 = 17;
const PAGE_LOG2: u8 = 10;
const HASH_BLAKE3: u8 = 1;
const FS_EXT2: u8 = 1;
const BYTES_PER_PAGE: u64 = (CHUNK_SIZE * PAGE_CHUNKS) as u64;

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It does not begin with the magic number.
    #[error("not a manifest")]
    Magic,
    /// It ends early, or has bytes too many.
    #[error("manifest of {0} bytes has the wrong length")]
    Length(usize),
    /// It is of a later version or uses another layout.
    #[error("manifest with unsupported {what} {value}")]
    Unsupported {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Fields contradict each other.
    #[error("manifest of {size} bytes of image with {pages} pages")]
    PageCount {
        /// The image's size.
        size: u64,
        /// The page count given.
        pages: u32,
    },
}

/// What a section holds; unknown kinds are skipped by readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionKind {
    /// Chunks in the order in which a boot first touches them.
    BootProfile,
    /// Bundles of chunks that are fetched together.
    BundleList,
    /// How the image was made and how it wants to be run, JSON.
    BuildInfo,
    /// A zstd dictionary; reserved.
    Dictionary,
    /// Something newer.
    Unknown(u16),
}

impl SectionKind {
    fn from_number(number: u16) -> Self {
        match number {
            1 => Self::BootProfile,
            2 => Self::BundleList,
            3 => Self::BuildInfo,
            4 => Self::Dictionary,
            other => Self::Unknown(other),
        }
    }

    /// The number in the manifest.
    pub fn number(self) -> u16 {
        match self {
            Self::BootProfile => 1,
            Self::BundleList => 2,
            Self::BuildInfo => 3,
            Self::Dictionary => 4,
            Self::Unknown(other) => other,
        }
    }
}

/// A pointer to an object beside the disk's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// Kind-specific; 0 so far.
    pub flags: u16,
    /// Entries for lists, bytes for text.
    pub count: u32,
    /// The object.
    pub hash: Hash,
}

/// The root object of an image. An image is named by the hash of this object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Bytes of the disk; the last chunk is filled with zeros.
    pub image_size: u64,
    /// Seconds since the Unix epoch; taken from the inputs, not from the clock, so that builds are repeatable.
    pub created: u64,
    /// UUID of the file system.
    pub fs_uuid: [u8; 16],
    /// Objects beside the content.
    pub sections: Vec<Section>,
    /// The hash of each page, [`crate::Page::empty_hash`] for a page of zero chunks.
    pub pages: Vec<Hash>,
}

impl Manifest {
    /// The number of pages an image of this size has; `None` if chunk numbers would not fit 32 bits.
    pub fn page_count(image_size: u64) -> Option<u32> {
        let chunks = u32::try_from(image_size.div_ceil(CHUNK_SIZE as u64)).ok()?;
        Some(chunks.div_ceil(PAGE_CHUNKS as u32))
    }

    /// The number of chunks, zero chunks included.
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.image_size.div_ceil(CHUNK_SIZE as u64)).unwrap_or(u32::MAX)
    }

    /// The first section of a kind.
    pub fn section(&self, kind: SectionKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// Writes the root object.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(56 + 40 * self.sections.len() + 32 * self.pages.len());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0, CHUNK_LOG2, PAGE_LOG2, HASH_BLAKE3, FS_EXT2]);
        out.extend_from_slice(&u32::try_from(self.pages.len()).expect("pages are counted in 32 bits").to_le_bytes());
        out.extend_from_slice(&self.image_size.to_le_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        out.extend_from_slice(&self.fs_uuid);
        out.extend_from_slice(&u32::try_from(self.sections.len()).expect("sections are few").to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for section in &self.sections {
            out.extend_from_slice(&section.kind.number().to_le_bytes());
            out.extend_from_slice(&section.flags.to_le_bytes());
            out.extend_from_slice(&section.count.to_le_bytes());
            out.extend_from_slice(section.hash.as_bytes());
        }
        self.pages.iter().for_each(|page| out.extend_from_slice(page.as_bytes()));
        out
    }

    /// Parses a root object.
    pub fn parse(object: &[u8]) -> Result<Self, ManifestError> {
        let truncated = || ManifestError::Length(object.len());
        let mut reader = Reader::new(object);
        if reader.u32() != Some(MAGIC) {
            return Err(ManifestError::Magic);
        }
        let expect = |what, value: Option<u64>, known: u64| match value {
            Some(value) if value == known => Ok(()),
            Some(value) => Err(ManifestError::Unsupported { what, value }),
            None => Err(truncated()),
        };
        expect("version", reader.u16().map(u64::from), VERSION.into())?;
        expect("flags", reader.u16().map(u64::from), 0)?;
        expect("chunk size", reader.u8().map(u64::from), CHUNK_LOG2.into())?;
        expect("page size", reader.u8().map(u64::from), PAGE_LOG2.into())?;
        expect("hash", reader.u8().map(u64::from), HASH_BLAKE3.into())?;
        expect("file system", reader.u8().map(u64::from), FS_EXT2.into())?;
        let mut fields = || {
            let fixed = (reader.u32()?, reader.u64()?, reader.u64()?, reader.array()?, reader.u32()?);
            reader.u32()?;
            Some(fixed)
        };
        let (pages, image_size, created, fs_uuid, sections) = fields().ok_or_else(truncated)?;
        if Self::page_count(image_size) != Some(pages) || image_size > u64::from(pages) * BYTES_PER_PAGE {
            return Err(ManifestError::PageCount { size: image_size, pages });
        }
        // Checked before anything is allocated for them.
        let expected = u64::from(sections) * 40 + u64::from(pages) * 32;
        if reader.remaining() as u64 != expected {
            return Err(truncated());
        }
        let section = |reader: &mut Reader<'_>| {
            let (kind, flags, count) = (reader.u16()?, reader.u16()?, reader.u32()?);
            let hash = Hash::from_bytes(reader.array()?);
            Some(Section { kind: SectionKind::from_number(kind), flags, count, hash })
        };
        let sections: Option<_> = (0..sections).map(|_| section(&mut reader)).collect();
        let pages: Option<_> = (0..pages).map(|_| reader.array().map(Hash::from_bytes)).collect();
        let (sections, pages) = sections.zip(pages).ok_or_else(truncated)?;
        Ok(Self { image_size, created, fs_uuid, sections, pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        Manifest {
            image_size: 20 << 30,
            created: 1_700_000_000,
            fs_uuid: *b"0123456789abcdef",
            sections: vec![
                Section { kind: SectionKind::BuildInfo, flags: 0, count: 12, hash: Hash::of(b"{}") },
                Section { kind: SectionKind::Unknown(77), flags: 3, count: 1, hash: Hash::of(b"?") },
            ],
            pages: (0..160_u32).map(|n| Hash::of(&n.to_le_bytes())).collect(),
        }
    }

    #[test]
    fn the_root_of_a_20_gb_image_is_small_and_parses_back() {
        let root = sample().emit();
        assert_eq!(root.len(), 56 + 2 * 40 + 160 * 32);
        assert_eq!(Manifest::parse(&root), Ok(sample()));
    }

    #[test]
    fn the_header_has_the_documented_bytes() {
        let root = sample().emit();
        assert_eq!(&root[..12], b"VMDM\x01\0\0\0\x11\x0a\x01\x01");
        assert_eq!(&root[12..24], b"\xa0\0\0\0\0\0\0\0\x05\0\0\0");
    }

    #[test]
    fn a_later_version_is_refused_by_name() {
        let mut root = sample().emit();
        root[4] = 2;
        assert_eq!(Manifest::parse(&root), Err(ManifestError::Unsupported { what: "version", value: 2 }));
    }

    #[test]
    fn damaged_roots_never_panic() {
        let root = sample().emit();
        for len in 0..root.len() {
            assert!(Manifest::parse(&root[..len]).is_err());
        }
        for at in 0..64 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = root.clone();
                damaged[at] = value;
                let _ = Manifest::parse(&damaged);
            }
        }
    }
}
