//! One suite for every server of the streaming protocol.
//!
//! - [`world`]: the servers: block-server on a directory, block-server on a bucket, and the built Worker in workerd (by
//!   `edge-worker/serve.mjs`).
//! - [`bucket`]: the S3 server behind the second, also as a program for the tests of browsers.
//! - [`sample`]: a store with images whose every byte is known from its offset, one of 20 GB among them.
//! - [`raw`]: clients that say exactly what they are told to, well-formed or not.
//! - [`disk`]: the real client.
//! - [`balancer`]: a TCP load balancer whose servers can be killed.
//!
//! The cases are in `tests/cases`, as tables; `tests/stream.rs` runs each against each server.

pub mod balancer;
pub mod bucket;
pub mod disk;
pub mod raw;
pub mod sample;
pub mod world;
