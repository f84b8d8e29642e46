//! Serves a store of streamed disk images: the protocol of `block-proto` over WebSocket, every object over HTTP, and the
//! client's static files from the same origin.
//!
//! - [`Config`], [`Server`]: bind, run, stop; tests start one in process.
//! - `store`: the directory with the objects. `http`: objects and tags by URL. `socket`: pumps one WebSocket through a
//!   `block_proto::ServerSession`, which decides everything. `metrics`: what is counted.
//!
//! The server never opens an envelope: what it sends is byte for byte what the store has, and clients verify it.

mod http;
mod metrics;
mod problem;
mod range;
mod server;
mod socket;
mod store;

pub use server::{Config, Server};
pub use store::DirStore;
