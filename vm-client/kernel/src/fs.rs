//! The file systems.

pub mod dev;
pub mod devpts;
pub mod pipe;
