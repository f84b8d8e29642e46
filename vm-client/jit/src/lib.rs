//! The code generator: hot regions of guest code become WebAssembly modules at run time.
//!
//! [`Jit`] is a [`vm_cpu::Engine`] around the interpreter. It starts from the same blocks of IR ([`vm_cpu::decode`]):
//! [`plan`] chooses which blocks make a region, [`shape`] brings their control flow into the form WebAssembly has,
//! [`flow`] follows the flags, [`emit`] writes the function, [`module`] wraps it, a [`CodeHost`] installs it. [`cache`]
//! knows the regions there are, [`links`] how they reach each other, [`cold`] where there is nothing yet, [`expected`] what
//! earlier runs found hot, [`counts`] how accesses go where that is wanted.
//!
//! The crate knows nothing of browsers: `vm-browser` implements [`CodeHost`]. It holds no `unsafe`; what generated code
//! may touch is said in [`emit`] and `vm_mem::direct`.

pub mod cache;
pub mod cold;
pub mod counts;
pub mod emit;
pub mod engine;
pub mod expected;
pub mod flow;
pub mod host;
pub mod lazy;
pub mod links;
pub mod module;
pub mod plan;
pub mod profile;
pub mod shape;
pub mod state;
pub mod x87;

#[cfg(test)]
mod tests;

pub use engine::{Jit, Options};
pub use host::{CodeHost, InstallError, ModuleId, Request, Runtime, Ticket};
