//! Stores of disk images, wherever they are: a directory, or a bucket that speaks the S3 API (AWS, R2, Garage, MinIO, ...).
//!
//! - [`Location`]: how a store is written on a command line, `DIR` or `s3://BUCKET[/PREFIX]`.
//! - [`Store`]: reads, writes, lists and deletes by key. Keys are those of `block_proto::key`; this crate does not look
//!   into what lies under them.
//!
//! A write is whole or not at all, for readers too. Endpoint and keys of a bucket come from the environment (`AWS_*`, as
//! other tools have it), so they are on no command line and in no log. Used by `block-server` and `image-tools`.

mod error;
mod location;
mod store;

pub use error::StoreError;
pub use location::{Location, LocationError};
pub use store::{Access, Entry, Options, Store, Version, Written};
