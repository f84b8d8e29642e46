//! What a browser does with each chunk that arrives: copy it in, decompress it, verify it. The client's own code, built as
//! the client is, without the rest of the client around it; `tests/stream/bench/open.mjs` times it in Chromium.

use block_proto::{Hash, MAX_OBJECT, envelope};
use bytes::Bytes;
use wasm_bindgen::prelude::wasm_bindgen;

/// Opens a stored object; the bytes in it, or 0 if it is not the object of that hash.
#[wasm_bindgen]
pub fn open(stored: Vec<u8>, hash: &[u8]) -> u32 {
    let Ok(hash) = <[u8; 32]>::try_from(hash) else { return 0 };
    let opened = envelope::open(&Bytes::from(stored), &Hash::from_bytes(hash), MAX_OBJECT);
    opened.ok().and_then(|object| u32::try_from(object.len()).ok()).unwrap_or(0)
}
