//! Serves a store of streamed disk images: the protocol of `block-proto` over WebSocket, every object over HTTP, and the
//! client's static files from the same origin.
//!
//! - [`Config`], [`Server`]: bind, run, stop; tests start one in process.
//! - `tiers`: where objects come from (memory, disk cache, the store of `block-store`), each verified on entry. `boots`: what
//!   clients report of their boots.
//! - `http`: objects and tags by URL. `socket`: pumps one WebSocket through a `block_proto::ServerSession`, which decides
//!   everything. `listen`, `tls`: connections.
//! - `access`, `peer`, `limits`: who asks, and how much they get. `metrics`: what is counted.
//!
//! Nothing is remembered that another server would have to know: any number of them serve one store.

mod access;
mod boots;
mod http;
mod limits;
mod listen;
mod metrics;
mod peer;
mod problem;
mod server;
mod socket;
mod tiers;
mod tls;

pub use block_store::{Access as BucketAccess, Location};
pub use limits::{Allowance, AllowanceError, Limits};
pub use server::{Config, Server, Spoiler};
pub use tiers::{DiskCacheConfig, Hedge};
pub use tls::TlsFiles;
