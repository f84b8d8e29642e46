//! The file systems.

pub mod pipe;
