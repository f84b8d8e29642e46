//! The client of a store: images over WebSocket or plain HTTP, every byte verified.
//!
//! - [`Network`] and [`Socket`]: what the host provides.

mod host;

pub use host::{CacheMode, HttpReply, NetError, Network, Socket};
