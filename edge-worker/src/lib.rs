//! The Worker: a store of disk images served from Cloudflare's edge, over WebSocket and HTTP.
//!
//! It speaks what `block-server` speaks; every decision about the protocol is `block_proto::ServerSession`'s. What is left
//! here is glue for the platform:
//!
//! - [`mod@entry`]: the exported handler. [`answer`]: HTTP answers. [`access`]: who may read what.
//! - [`mod@upgrade`]: who may have a WebSocket; [`pump`]: one through one session; `object`: the same behind a hibernating
//!   Durable Object.
//! - [`tiers`]: where an object comes from: [`memory`] of the isolate, [`edge_cache`], [`source`] (R2 or static assets).
//! - [`budget`]: what the platform lets one invocation do, counted.
//! - [`settings`]: the variables of `wrangler.toml`; [`tally`]: what is reported.
//!
//! Promises and bindings belong to the invocation that made them and are never kept beyond it; only plain bytes and
//! numbers are shared by the invocations of an isolate ([`isolate`]).
//!
//! Everything that needs no JavaScript (settings, memory, budget) is tested natively, the rest by `test/` in workerd.

pub mod access;
pub mod answer;
pub mod budget;
pub mod edge_cache;
pub mod entry;
pub mod isolate;
pub mod memory;
mod object;
pub mod pump;
pub mod settings;
pub mod source;
pub mod tally;
pub mod tiers;
pub mod upgrade;
