//! System call numbers by architecture.

pub mod i386;
pub mod x86_64;
