//! What the sections of a manifest hold.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::wire::Reader;

/// One chunk of a boot profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileEntry {
    /// The chunk.
    pub chunk: u32,
    /// When a recorded boot first touched it, in milliseconds, capped.
    pub first_touch_ms: u16,
    /// In how many recorded boots it was touched.
    pub runs_seen: u8,
}

/// Chunks in the order in which a boot first touches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootProfile {
    /// The chunks.
    pub entries: Vec<ProfileEntry>,
}

impl BootProfile {
    /// Writes the section: `u32 n, n x { u32 chunk, u16 ms, u8 runs, u8 flags }`.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 8 * self.entries.len());
        out.extend_from_slice(&u32::try_from(self.entries.len()).expect("chunks are counted in 32 bits").to_le_bytes());
        for entry in &self.entries {
            out.extend_from_slice(&entry.chunk.to_le_bytes());
            out.extend_from_slice(&entry.first_touch_ms.to_le_bytes());
            out.extend_from_slice(&[entry.runs_seen, 0]);
        }
        out
    }

    /// Parses the section.
    pub fn parse(object: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(object);
        let count = reader.u32()?;
        if reader.remaining() as u64 != u64::from(count) * 8 {
            return None;
        }
        let entry = |reader: &mut Reader<'_>| {
            let entry = ProfileEntry { chunk: reader.u32()?, first_touch_ms: reader.u16()?, runs_seen: reader.u8()? };
            reader.u8()?;
            Some(entry)
        };
        let entries = (0..count).map(|_| entry(&mut reader)).collect::<Option<_>>()?;
        Some(Self { entries })
    }
}

/// One bundle: many chunks in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleEntry {
    /// The bundle object.
    pub hash: Hash,
    /// Its uncompressed size.
    pub raw_len: u32,
    /// Chunks in it.
    pub chunks: u16,
    /// Index of its first chunk in the boot profile.
    pub first_profile_index: u16,
}

/// The bundles of an image: `n x { u8[32] hash, u32 raw_len, u16 chunks, u16 first_profile_index }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleList {
    /// The bundles.
    pub entries: Vec<BundleEntry>,
}

impl BundleList {
    /// Writes the section.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 * self.entries.len());
        for entry in &self.entries {
            out.extend_from_slice(entry.hash.as_bytes());
            out.extend_from_slice(&entry.raw_len.to_le_bytes());
            out.extend_from_slice(&entry.chunks.to_le_bytes());
            out.extend_from_slice(&entry.first_profile_index.to_le_bytes());
        }
        out
    }

    /// Parses the section.
    pub fn parse(object: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(object);
        let mut entries = Vec::with_capacity(object.len() / 40);
        while reader.remaining() > 0 {
            entries.push(BundleEntry {
                hash: Hash::from_bytes(reader.array()?),
                raw_len: reader.u32()?,
                chunks: reader.u16()?,
                first_profile_index: reader.u16()?,
            });
        }
        Some(Self { entries })
    }
}

/// A bundle object: `u32 n, n x { u32 chunk, u32 len }`, then the envelopes one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Chunk numbers and their envelopes.
    pub chunks: Vec<(u32, Bytes)>,
}

impl Bundle {
    /// Writes the object.
    pub fn emit(&self) -> Vec<u8> {
        let len32 = |len: usize| u32::try_from(len).expect("bundles are at most a megabyte").to_le_bytes();
        let mut out = Vec::new();
        out.extend_from_slice(&len32(self.chunks.len()));
        for (chunk, envelope) in &self.chunks {
            out.extend_from_slice(&chunk.to_le_bytes());
            out.extend_from_slice(&len32(envelope.len()));
        }
        self.chunks.iter().for_each(|(_, envelope)| out.extend_from_slice(envelope));
        out
    }

    /// Parses the object.
    pub fn parse(object: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(object);
        let count = usize::try_from(reader.u32()?).ok()?;
        let mut table = Reader::new(reader.take(count.checked_mul(8)?)?);
        let mut chunks = Vec::with_capacity(count);
        while table.remaining() > 0 {
            let (chunk, len) = (table.u32()?, table.u32()?);
            chunks.push((chunk, object.slice_ref(reader.take(usize::try_from(len).ok()?)?)));
        }
        (reader.remaining() == 0).then_some(Self { chunks })
    }
}

/// How an image was made and how it wants to be run. JSON; unknown fields are kept out but not refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildInfo {
    /// Tool and version that made the image.
    pub tool: String,
    /// The kind of source: `dir`, `tar`, `oci`, `docker-archive`, `ext2`.
    pub source: String,
    /// The container configuration that came with the source.
    pub config: ImageConfig,
}

/// What a container image says about its processes; the field names are OCI's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `KEY=VALUE` entries.
    #[serde(rename = "Env", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(rename = "Entrypoint", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Further arguments, replaced by those of a command line.
    #[serde(rename = "Cmd", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// `user[:group]`, by name or number.
    #[serde(rename = "User", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The directory to start in.
    #[serde(rename = "WorkingDir", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
}

impl BuildInfo {
    /// Writes the section.
    pub fn emit(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data is always JSON")
    }

    /// Parses the section.
    pub fn parse(object: &[u8]) -> Option<Self> {
        serde_json::from_slice(object).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_parse_back() {
        let profile = BootProfile { entries: vec![ProfileEntry { chunk: 7, first_touch_ms: 250, runs_seen: 2 }] };
        assert_eq!(BootProfile::parse(&profile.emit()), Some(profile));
        let entry = BundleEntry { hash: Hash::of(b"b"), raw_len: 9, chunks: 2, first_profile_index: 0 };
        let list = BundleList { entries: vec![entry; 3] };
        assert_eq!(BundleList::parse(&list.emit()), Some(list));
        let bundle = Bundle { chunks: vec![(5, Bytes::from_static(b"abc")), (1, Bytes::new())] };
        assert_eq!(Bundle::parse(&bundle.emit().into()), Some(bundle));
        let config = ImageConfig { env: vec!["A=1".into()], user: "app".into(), ..ImageConfig::default() };
        let info = BuildInfo { tool: "t".into(), source: "oci".into(), config };
        assert_eq!(BuildInfo::parse(&info.emit()), Some(info));
    }

    #[test]
    fn lying_counts_are_refused_without_allocating() {
        assert_eq!(BootProfile::parse(&[0xff, 0xff, 0xff, 0xff, 0, 0]), None);
        assert_eq!(Bundle::parse(&Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 0])), None);
        assert_eq!(Bundle::parse(&Bytes::from_static(&[1, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1])), None);
        assert_eq!(BundleList::parse(&[0; 41]), None);
    }
}
