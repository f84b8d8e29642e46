//! x86 meaning, written once: decode, lower to a small sized IR, interpret.
//!
//! The crate knows guest memory only through [`vm_mem::Mmu`] and knows nothing of Linux. Its callers run guest code with
//! [`Engine::run`] and get back the reason it stopped, with exact state in [`Cpu`].

mod engine;
mod state;

pub use engine::{DebugCause, Engine, Exception, Exit, Gate};
pub use state::{Cpu, F80, Fpu, Mode, Segment, Selector, TlsDescriptor, reg};
