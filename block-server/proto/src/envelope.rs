//! The envelope around every stored object: `u8 codec, u8 flags, u16 dict, u32 raw_len, payload`, little-endian.
//!
//! It is byte-identical on disk, in caches and on the wire; servers never look inside. A hash names the uncompressed
//! object, so an object can be compressed anew without changing its name.

use bytes::Bytes;

use crate::wire::Reader;

#[cfg(feature = "decode")]
mod open;
#[cfg(feature = "encode")]
mod seal;

#[cfg(feature = "decode")]
pub use open::{decode, open};
#[cfg(feature = "encode")]
pub use seal::{DEFAULT_LEVEL, Sealer};

/// Bytes before the payload.
pub const HEADER: usize = 8;

const CODEC_RAW: u8 = 0;
const CODEC_ZSTD: u8 = 1;

/// How the payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Raw,
    /// One zstd frame.
    Zstd,
}

/// What is wrong with an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Shorter than its header.
    #[error("an envelope of {0} bytes is too short")]
    Truncated(usize),
    /// A codec, flag or dictionary this version does not know.
    #[error("envelope with unknown codec {codec}, flags {flags} or dictionary {dictionary}")]
    Unsupported {
        /// The codec byte.
        codec: u8,
        /// The flags byte.
        flags: u8,
        /// The dictionary number.
        dictionary: u16,
    },
    /// The declared size is over what the caller accepts.
    #[error("an object of {declared} bytes where at most {limit} are accepted")]
    TooLarge {
        /// Bytes the header declares.
        declared: u32,
        /// Bytes accepted.
        limit: usize,
    },
    /// The payload does not decode to the declared size.
    #[error("payload does not decode: {0}")]
    Payload(String),
    /// The object is not the one that was asked for.
    #[error("hash mismatch: got {actual}")]
    Mismatch {
        /// What the bytes hash to.
        actual: crate::Hash,
    },
}

/// The parsed header and the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// How the payload is stored.
    pub codec: Codec,
    /// Bytes of the uncompressed object.
    pub raw_len: u32,
    /// The stored bytes.
    pub payload: &'a [u8],
}

/// Parses the header of a stored object.
pub fn parse(stored: &[u8]) -> Result<Envelope<'_>, EnvelopeError> {
    let mut reader = Reader::new(stored);
    let mut header = || Some((reader.u8()?, reader.u8()?, reader.u16()?, reader.u32()?));
    let (codec, flags, dictionary, raw_len) = header().ok_or(EnvelopeError::Truncated(stored.len()))?;
    let known = match (codec, flags, dictionary) {
        (CODEC_RAW, 0, 0) => Codec::Raw,
        (CODEC_ZSTD, 0, 0) => Codec::Zstd,
        _ => return Err(EnvelopeError::Unsupported { codec, flags, dictionary }),
    };
    Ok(Envelope { codec: known, raw_len, payload: reader.rest() })
}

/// Wraps an object without compressing it.
///
/// # Panics
/// If the object is 4 GiB or more; no object of a store is.
pub fn seal_raw(object: &[u8]) -> Bytes {
    assemble(CODEC_RAW, object.len(), object)
}

fn assemble(codec: u8, raw_len: usize, payload: &[u8]) -> Bytes {
    let raw_len = u32::try_from(raw_len).expect("objects are far below 4 GiB");
    let mut stored = Vec::with_capacity(HEADER + payload.len());
    stored.extend_from_slice(&[codec, 0, 0, 0]);
    stored.extend_from_slice(&raw_len.to_le_bytes());
    stored.extend_from_slice(payload);
    stored.into()
}
