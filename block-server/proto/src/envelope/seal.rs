//! Putting an object into an envelope.

use std::io;

use bytes::Bytes;

use super::{CODEC_RAW, CODEC_ZSTD, assemble};

/// A good compromise for images that are built often; 19 saves another 13 % at a hundredth of the speed.
pub const DEFAULT_LEVEL: i32 = 9;

/// Compresses objects at one level. Same object, same level, same library: same bytes.
pub struct Sealer {
    compressor: zstd::bulk::Compressor<'static>,
}

impl Sealer {
    /// Creates a compressor.
    pub fn new(level: i32) -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        // The envelope has the size and the manifest the hash.
        compressor.include_checksum(false)?;
        Ok(Self { compressor })
    }

    /// Wraps an object, compressed unless that saves less than 3 %.
    pub fn seal(&mut self, object: &[u8]) -> Bytes {
        match self.compressor.compress(object) {
            Ok(compressed) if compressed.len() < object.len() - object.len() / 32 => {
                assemble(CODEC_ZSTD, object.len(), &compressed)
            }
            _ => assemble(CODEC_RAW, object.len(), object),
        }
    }
}
