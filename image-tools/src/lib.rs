//! Makes, checks and exports the disk images that Skiff streams. The program of the same name is a thin skin over this.
//!
//! - [`build`]: a [`Source`] (directory, tar, container image, ext2 file) becomes a file system and then a store's chunks.
//! - [`Store`]: the directory with the objects; written keys are never rewritten.
//! - [`Reader`]: an image read back through the same client that the VM uses, verified; [`inspect`], [`verify`], [`export`]
//!   and [`serve_check`] stand on it.
//! - [`publish`]: images from store to store, signed, compared, and cleared away.
//!
//! Same inputs, same bytes: nothing here looks at the clock, the machine or the order in which threads finish. The formats
//! are `block-proto`'s, the file system is the `ext2` crate's.

mod after;
pub mod build;
mod chunk;
pub mod export;
mod holes;
pub mod inspect;
mod progress;
pub mod publish;
mod reader;
pub mod serve_check;
mod source;
mod store;
pub mod verify;

pub use progress::{NoProgress, Progress, Step};
pub use reader::{Network, Reader, Untrusted};
pub use source::{Source, SourceError};
pub use store::Store;
