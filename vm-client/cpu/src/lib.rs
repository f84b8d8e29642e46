//! x86 meaning, written once: decode, lower to a small sized IR, interpret.
//!
//! The crate knows guest memory only through [`vm_mem::Mmu`] and knows nothing of Linux. Its callers run guest code with
//! [`Engine::run`] and get back the reason it stopped, with exact state in [`Cpu`].

pub mod assist;
mod core;
mod cpuid;
pub mod decode;
mod engine;
pub mod flags;
mod fxsave;
pub mod interp;
pub mod ir;
mod lower;
mod state;

pub use crate::core::{Core, Trap};
pub use cpuid::{FEATURES_ECX, FEATURES_EDX, query as query_cpuid};
pub use engine::{DebugCause, Engine, Exception, Exit, Gate, Hot, HotPage, Work};
pub use fxsave::ReservedMxcsr;
pub use interp::Interpreter;
pub use state::{Cpu, DebugRegisters, F80, Fpu, Ldt, Mode, Segment, Selector, TlsDescriptor, reg};
