//! Fuzzing of everything that arrives from a store or the network, with cargo-fuzz: `cargo +nightly fuzz run frames`.
//!
//! The targets are in `fuzz_targets`: `frames` (messages), `objects` (envelopes, manifests, sections, tags, names) and
//! `server_session` (any sequence of messages). The crate is a workspace of its own, since it needs a nightly toolchain;
//! the same properties are tested with fixed seeds by `cargo test -p block-proto`.
