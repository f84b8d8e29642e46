//! One suite for every server of the streaming protocol.
//!
//! - [`world`]: the servers: block-server on a directory, block-server on a bucket of a real S3 server (`s3s-fs`, on loopback),
//!   and the built Worker in workerd (by `edge-worker/serve.mjs`).
//! - [`sample`]: a store with images whose every byte is known from its offset, one of 20 GB among them.
//! - [`raw`]: clients that say exactly what they are told to, well-formed or not.
//! - [`disk`]: the real client.
//! - [`balancer`]: a TCP load balancer whose servers can be killed.
//!
//! The cases are in `tests/cases`, as tables; `tests/stream.rs` runs each against each server.

pub mod balancer;
pub mod disk;
pub mod raw;
pub mod sample;
pub mod world;
