//! Guest memory: frames, page tables, and the MMU that every access goes through.
//!
//! The kernel decides what is mapped (its VMA tree is the truth); this crate holds the page tables, the caches in front of
//! them and the frames behind them. The engine and the kernel read and write guest memory only through [`Mmu`]. It is the
//! one library crate with `unsafe`.

//!
//! From the inside out: [`reserve`](ReserveError) gets raw memory from the host, `frame` hands it out as frames, `table`
//! is the sparse page table of a space, `flat` and `tlb` are the caches in front of it, `rmap` leads from a frame to the
//! pages it is mapped at, `mmu` ties them together, `access` and `code` are the engine's view, `direct` that of generated code.

mod access;
mod addr;
mod code;
mod direct;
mod flat;
mod frame;
mod mmu;
mod reserve;
mod rmap;
mod table;
mod tlb;
mod watch;

pub use addr::{Access, FaultCause, FrameId, MmId, PAGE_SIZE, PageFault, Prot, Scalar, VirtAddr, Vpn};
pub use direct::{GOES_ON, Run, STORE_WORDS};
pub use frame::OutOfFrames;
pub use mmu::{Mapping, Mmu, Sharing};
pub use reserve::ReserveError;
pub use watch::Watch;
