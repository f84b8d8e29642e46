//! Guest memory: frames, page tables, and the MMU that every access goes through.
//!
//! The kernel decides what is mapped (its VMA tree is the truth); this crate holds the page tables, the caches in front of
//! them and the frames behind them. The engine and the kernel read and write guest memory only through [`Mmu`]. It is the
//! one library crate with `unsafe`.

mod addr;
mod mmu;

pub use addr::{Access, FaultCause, FrameId, MmId, PAGE_SIZE, PageFault, Prot, Scalar, VirtAddr, Vpn};
pub use mmu::{Mapping, Mmu, OutOfFrames};
