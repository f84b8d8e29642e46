//! The tag record: a short-lived pointer from `name@tag` to an immutable manifest.

use serde::{Deserialize, Serialize};

use crate::Hash;

/// The record behind a tag, JSON under [`crate::key::tag`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    /// The image's name.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// The hash of the manifest's root object.
    pub manifest: Hash,
    /// Bytes of the disk.
    pub size: u64,
    /// Seconds since the Unix epoch, as in the manifest.
    pub created: u64,
    /// What the store's servers speak; a client without a better idea tries them in order.
    #[serde(default)]
    pub transport: Vec<String>,
    /// Other base URLs with the same objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Signatures of the fields above but the transports and endpoints, by spaces; see the module `sign`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
}

/// The record is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad tag record: {0}")]
pub struct TagError(String);

impl TagRecord {
    /// Writes the record.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec_pretty(self).expect("plain data is always JSON");
        out.push(b'\n');
        out
    }

    /// Parses a record and checks that it is the one asked for.
    pub fn parse(json: &[u8], name: &str, tag: &str) -> Result<Self, TagError> {
        let record: Self = serde_json::from_slice(json).map_err(|error| TagError(error.to_string()))?;
        if record.name != name || record.tag != tag {
            return Err(TagError(format!("it is of {}@{}, not {name}@{tag}", record.name, record.tag)));
        }
        Ok(record)
    }

    /// Tells whether the store's servers may speak WebSocket; true unless the record names only others.
    pub fn may_use_socket(&self) -> bool {
        self.transport.is_empty() || self.transport.iter().any(|transport| transport == "ws")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_parse_back_and_must_be_the_one_asked_for() {
        let record = TagRecord {
            name: "debian".into(),
            tag: "latest".into(),
            manifest: Hash::of(b"root"),
            size: 1 << 33,
            created: 5,
            transport: vec!["http".into()],
            endpoints: vec![],
            sig: None,
        };
        let json = record.emit();
        assert!(!record.may_use_socket());
        assert_eq!(TagRecord::parse(&json, "debian", "latest"), Ok(record));
        assert!(TagRecord::parse(&json, "debian", "other").is_err());
        assert!(TagRecord::parse(b"<!doctype html>", "debian", "latest").is_err());
    }
}
