//! Formats and protocol of streamed disk images, without I/O: what is stored, what is sent, and who answers what.
//!
//! - [`Hash`], [`envelope`], [`key`]: content-addressed objects, how one is stored and under which key.
//! - [`Manifest`], [`Page`], [`section`], [`TagRecord`]: what an image is made of.
//! - `sign` (feature `sign`): tags signed by a key that clients can pin.
//! - [`ImageRef`]: the one grammar that names an image, `STORE_OR_URL/name[@tag|@b3:HASH]`.
//! - [`frame`]: the messages of `vmdisk.v1`, byte by byte as in this crate's README.
//! - [`route`], [`http`]: paths and headers. [`token`], [`limit`]: who may read what, and how fast; the same in every
//!   server.
//! - [`ServerSession`], [`ClientSession`]: the two ends as state machines: messages and time go in, messages and actions
//!   come out. Servers and clients only pump sockets, so they cannot drift apart, and tests need no network.
//!
//! Everything parsed here may come from an enemy: parsers return errors and allocate no more than they were given.

mod client;
pub mod envelope;
pub mod frame;
mod hash;
pub mod http;
mod image_ref;
pub mod key;
pub mod limit;
mod manifest;
mod page;
pub mod route;
pub mod section;
mod server;
#[cfg(feature = "sign")]
pub mod sign;
mod tag;
pub mod token;
mod wire;

pub use client::{ClientConfig, ClientEvent, ClientSession, Priority};
pub use hash::Hash;
pub use image_ref::{ImageRef, ImageRefError, Store, Version, valid_name, valid_tag};
pub use manifest::{Manifest, ManifestError, Section, SectionKind};
pub use page::{PAGE_CHUNKS, PAGE_SIZE, Page};
pub use server::{ReadError, RestingSession, ServerAction, ServerConfig, ServerSession, ServerStats};
pub use tag::{TagError, TagRecord};

/// Bytes in a chunk, the unit that is hashed, compressed, sent and verified.
pub const CHUNK_SIZE: usize = 128 * 1024;

/// The largest stored object (envelope included) that clients accept and tools write.
pub const MAX_OBJECT: usize = 1024 * 1024;

/// The WebSocket subprotocol; its number is the major version.
pub const SUBPROTOCOL: &str = "vmdisk.v1";

/// The path of the WebSocket below a server's base URL.
pub const SOCKET_PATH: &str = "v1/ws";
