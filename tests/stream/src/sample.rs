//! Stores whose every byte is known.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use block_proto::envelope::{Sealer, seal_raw};
use block_proto::key::Prefix;
use block_proto::{CHUNK_SIZE, Hash, Manifest, PAGE_CHUNKS, Page, TagRecord};
use bytes::Bytes;
use tempfile::TempDir;

/// Bytes of the large image; not a whole number of chunks.
pub const LARGE: u64 = (20 << 30) - 12_345;

/// An image and where its data is.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// The hash of its manifest.
    pub manifest: Hash,
    /// Bytes of the disk.
    pub size: u64,
    /// The chunks that are not zeros.
    pub chunks: BTreeMap<u32, Hash>,
    /// Their bytes.
    data: BTreeMap<u32, Bytes>,
}

/// What a store has in it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// 64 chunks, all of them data.
    pub small: Image,
    /// 20 GB, with data here and there: at both ends, on both sides of 2 and 4 GiB, at the borders of pages.
    pub large: Image,
    /// A tenant's image; its chunks are nowhere else.
    pub private: Image,
    /// 1,200 small objects that belong to no image.
    pub objects: Vec<Hash>,
}

/// The tenant of the private image.
pub fn tenant() -> Prefix {
    Prefix::tenant("acme").expect("a name")
}

/// A store that is made once; others share its files until they change one.
pub struct Template {
    dir: TempDir,
    sample: Sample,
}

impl Template {
    /// Makes everything.
    #[expect(clippy::new_without_default, reason = "writes hundreds of files, as no default should")]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("makes a directory");
        let sample = make(dir.path());
        Self { dir, sample }
    }

    /// Fills a store.
    pub fn fill(&self, store: &Path) -> Sample {
        link(self.dir.path(), store);
        self.sample.clone()
    }
}

fn link(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("is there") {
        let entry = entry.expect("is readable");
        let (here, there) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("has a type").is_dir() {
            fs::create_dir(&there).expect("makes a folder");
            link(&here, &there);
        } else {
            fs::hard_link(here, there).expect("links");
        }
    }
}

fn make(store: &Path) -> Sample {
    let mut sealer = Sealer::new(3).expect("the level exists");
    let public = Prefix::public();
    let small: Vec<u32> = (0..64).collect();
    let pages = PAGE_CHUNKS as u32;
    let at = |offset: u64| (offset / CHUNK_SIZE as u64) as u32;
    let last = at(LARGE - 1);
    let mut large: Vec<u32> = [0, pages, at(2 << 30), at(4 << 30), at(10 << 30)]
        .into_iter()
        .flat_map(|middle| middle.saturating_sub(4)..middle + 4)
        .chain(last - 3..=last)
        .collect();
    // And one here and there.
    large.extend((0..64).map(|n| n * 2557 % last));
    let image = |sealer: &mut Sealer, prefix: &Prefix, name: &str, size: u64, chunks: &[u32], salt: u32| {
        write_image(store, sealer, prefix, name, size, chunks, salt)
    };
    Sample {
        small: image(&mut sealer, &public, "small", 64 * CHUNK_SIZE as u64, &small, 0),
        large: image(&mut sealer, &public, "large", LARGE, &large, 0),
        private: image(&mut sealer, &tenant(), "private", 8 * CHUNK_SIZE as u64, &[0, 1, 2, 3, 4, 5, 6, 7], 77),
        objects: (0..1200_u32)
            .map(|n| {
                let object = noise(n ^ 0x5555_0000, 8000);
                put(store, &public.object(&Hash::of(&object)), &seal_raw(&object));
                Hash::of(&object)
            })
            .collect(),
    }
}

fn write_image(
    store: &Path,
    sealer: &mut Sealer,
    prefix: &Prefix,
    name: &str,
    size: u64,
    chunks: &[u32],
    salt: u32,
) -> Image {
    let (mut written, mut data) = (BTreeMap::new(), BTreeMap::new());
    for &chunk in chunks {
        let object = chunk_bytes(chunk, size, salt);
        let hash = Hash::of(&object);
        put(store, &prefix.object(&hash), &sealer.seal(&object));
        written.insert(chunk, hash);
        data.insert(chunk, Bytes::from(object));
    }
    let pages = size.div_ceil((PAGE_CHUNKS * CHUNK_SIZE) as u64) as u32;
    let pages = (0..pages).map(|number| {
        let first = number * PAGE_CHUNKS as u32;
        let hashes: Vec<u8> = (first..first + PAGE_CHUNKS as u32)
            .flat_map(|chunk| *written.get(&chunk).unwrap_or(&Hash::ZERO_CHUNK).as_bytes())
            .collect();
        let hash = Hash::of(&hashes);
        if hash != Page::empty_hash() {
            put(store, &prefix.object(&hash), &sealer.seal(&hashes));
        }
        hash
    });
    let root =
        Manifest { image_size: size, created: 1, fs_uuid: [7; 16], sections: vec![], pages: pages.collect() }.emit();
    let manifest = Hash::of(&root);
    put(store, &prefix.object(&manifest), &sealer.seal(&root));
    let record = TagRecord {
        name: name.into(),
        tag: "latest".into(),
        manifest,
        size,
        created: 1,
        transport: vec!["ws".into(), "http".into()],
        endpoints: vec![],
        sig: None,
    };
    put(store, &prefix.tag(name, "latest"), &record.emit());
    Image { name: name.into(), manifest, size, chunks: written, data }
}

/// Writes a file of a store.
pub fn put(store: &Path, key: &str, bytes: &[u8]) {
    let path = store.join(key);
    fs::create_dir_all(path.parent().expect("keys have folders")).expect("makes folders");
    // Other stores may have the same file.
    let _ = fs::remove_file(&path);
    fs::write(path, bytes).expect("writes");
}

impl Image {
    /// What a read must bring.
    pub fn expected(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        let mut at = offset;
        while bytes.len() < len {
            let (chunk, within) = ((at / CHUNK_SIZE as u64) as u32, (at % CHUNK_SIZE as u64) as usize);
            let take = (CHUNK_SIZE - within).min(len - bytes.len());
            match self.data.get(&chunk) {
                Some(data) => bytes.extend_from_slice(&data[within..within + take]),
                None => bytes.resize(bytes.len() + take, 0),
            }
            at += take as u64;
        }
        bytes
    }
}

/// The bytes of a chunk: half of it compresses, half does not; zeros beyond the end of the disk.
fn chunk_bytes(chunk: u32, size: u64, salt: u32) -> Vec<u8> {
    let mut bytes = noise(chunk.wrapping_mul(2_654_435_761) ^ salt, CHUNK_SIZE);
    for (at, byte) in bytes.iter_mut().enumerate() {
        if at / 1024 % 2 == 0 {
            *byte = (chunk as u8) ^ (at / 64) as u8;
        }
    }
    let left = size.saturating_sub(u64::from(chunk) * CHUNK_SIZE as u64);
    if left < CHUNK_SIZE as u64 {
        bytes[left as usize..].fill(0);
    }
    bytes
}

/// Bytes that do not compress, from a seed.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
