//! Everything an image says about itself, as JSON.

use anyhow::Result;
use block_proto::section::BuildInfo;
use block_proto::{CHUNK_SIZE, PAGE_CHUNKS};
use serde::Serialize;

use crate::reader::Reader;

/// What `inspect` prints.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The image, named for ever.
    pub image: String,
    /// The manifest's hash.
    pub manifest: String,
    /// Bytes of the disk.
    pub size: u64,
    /// Seconds since the epoch.
    pub created: u64,
    /// UUID of the file system.
    pub fs_uuid: String,
    /// Bytes in a chunk.
    pub chunk_size: usize,
    /// Chunks of the disk.
    pub chunks: u32,
    /// Chunks that are not all zeros.
    pub stored_chunks: usize,
    /// Different ones among them.
    pub unique_chunks: usize,
    /// Chunks a page of the manifest lists.
    pub page_chunks: usize,
    /// The pages' hashes; null for one of zeros.
    pub pages: Vec<Option<String>>,
    /// The sections.
    pub sections: Vec<SectionInfo>,
    /// How the image was made and wants to be run.
    pub build: Option<BuildInfo>,
    /// Chunks in the boot profile.
    pub boot_profile: usize,
    /// Pages that could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// One section of the manifest.
#[derive(Debug, Serialize)]
pub struct SectionInfo {
    /// Its kind's number.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// Entries or bytes.
    pub count: u32,
    /// Its object.
    pub hash: String,
}

/// Reads manifest, pages and sections.
pub fn inspect(reader: &Reader) -> Result<Inspection> {
    let manifest = reader.manifest();
    let mut bad = Vec::new();
    let stored = reader.stored_chunks(&mut bad)?;
    let mut unique: Vec<_> = stored.iter().map(|(_, hash)| *hash).collect();
    unique.sort_unstable();
    unique.dedup();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let uuid = hex(&manifest.fs_uuid);
    let part = |range: std::ops::Range<usize>| uuid.get(range).unwrap_or_default().to_owned();
    let section = |section: &block_proto::Section| SectionInfo {
        kind: section.kind.number(),
        flags: section.flags,
        count: section.count,
        hash: section.hash.to_string(),
    };
    let store = reader.image().store.to_string();
    let build = reader.run(reader.remote().build_info())??;
    let profile = reader.run(reader.remote().boot_profile())??;
    Ok(Inspection {
        image: format!("{}/{}@b3:{}", store.trim_end_matches('/'), reader.image().name, reader.hash()),
        manifest: reader.hash().to_string(),
        size: manifest.image_size,
        created: manifest.created,
        fs_uuid: [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-"),
        chunk_size: CHUNK_SIZE,
        chunks: manifest.chunk_count(),
        stored_chunks: stored.len(),
        unique_chunks: unique.len(),
        page_chunks: PAGE_CHUNKS,
        pages: manifest
            .pages
            .iter()
            .map(|page| (*page != block_proto::Page::empty_hash()).then(|| page.to_string()))
            .collect(),
        sections: manifest.sections.iter().map(section).collect(),
        build,
        boot_profile: profile.entries.len(),
        errors: bad.iter().map(ToString::to_string).collect(),
    })
}
