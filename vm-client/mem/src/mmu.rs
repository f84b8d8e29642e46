//! The memory management unit: all address spaces, and the frames behind them.
#![expect(clippy::todo, unused_variables, reason = "the signatures land first, their bodies next")]

use std::ops::Range;

use crate::{FrameId, MmId, PAGE_SIZE, PageFault, Prot, Scalar, VirtAddr, Vpn};

/// Every frame is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

/// What a page table says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The frame behind the page.
    pub frame: FrameId,
    /// What accesses it permits.
    pub prot: Prot,
    /// Whether the page was stored to through this mapping since the bit was cleared.
    pub dirty: bool,
}

/// All guest memory.
pub struct Mmu {
    _private: (),
}

impl Mmu {
    /// Creates a pool of `frames` frames. Host memory is only touched as frames are handed out.
    pub fn new(frames: u32) -> Self {
        todo!()
    }

    // ---- frames: reference counted, never zero-filled implicitly ----

    /// Takes a frame with one reference and zero content.
    pub fn alloc_zeroed(&mut self) -> Result<FrameId, OutOfFrames> {
        todo!()
    }
    /// Takes a run of frames that are neighbours, as many as asked or fewer, at least one; zero content.
    pub fn alloc_run(&mut self, wanted: u32) -> Result<Range<u32>, OutOfFrames> {
        todo!()
    }
    /// Adds a reference.
    pub fn retain(&mut self, frame: FrameId) {
        todo!()
    }
    /// Drops a reference; the last one frees the frame.
    pub fn release(&mut self, frame: FrameId) {
        todo!()
    }
    /// The number of references.
    pub fn refs(&self, frame: FrameId) -> u32 {
        todo!()
    }
    /// Frames that can still be handed out, and all there are.
    pub fn free_frames(&self) -> (u32, u32) {
        todo!()
    }
    /// The content of a frame.
    pub fn frame(&self, frame: FrameId) -> &[u8; PAGE_SIZE] {
        todo!()
    }
    /// The content of a frame, to be changed by the kernel; counts as a code write when the frame holds code.
    pub fn frame_mut(&mut self, frame: FrameId) -> &mut [u8; PAGE_SIZE] {
        todo!()
    }

    // ---- address spaces ----

    /// Creates an empty address space of `1 << bits` bytes (32 for i386).
    pub fn create_space(&mut self, bits: u8) -> MmId {
        todo!()
    }
    /// Drops an address space and its references to frames.
    pub fn destroy_space(&mut self, mm: MmId) {
        todo!()
    }
    /// Makes an address space the one that loads, stores and fetches go to.
    pub fn activate(&mut self, mm: MmId) {
        todo!()
    }
    /// The active address space.
    pub fn active(&self) -> Option<MmId> {
        todo!()
    }
    /// Maps a page, taking over one reference to the frame. A page mapped there before is unmapped.
    pub fn map(&mut self, mm: MmId, page: Vpn, frame: FrameId, prot: Prot) {
        todo!()
    }
    /// Unmaps a page and drops its reference; returns what was there.
    pub fn unmap(&mut self, mm: MmId, page: Vpn) -> Option<Mapping> {
        todo!()
    }
    /// Unmaps all pages of a range; costs what is mapped, not what is spanned.
    pub fn unmap_range(&mut self, mm: MmId, pages: Range<Vpn>) {
        todo!()
    }
    /// Changes what a mapped page permits.
    pub fn protect(&mut self, mm: MmId, page: Vpn, prot: Prot) {
        todo!()
    }
    /// What a page table says.
    pub fn mapping(&self, mm: MmId, page: Vpn) -> Option<Mapping> {
        todo!()
    }
    /// The mapped pages of a range, in order.
    pub fn mapped_pages(&self, mm: MmId, pages: Range<Vpn>) -> Vec<(Vpn, Mapping)> {
        todo!()
    }
    /// Clears the dirty bit of every mapping of a frame and makes the next store through each take the slow path, so that
    /// it is set again. Returns whether any was dirty.
    pub fn clean(&mut self, frame: FrameId) -> bool {
        todo!()
    }
    /// Unmaps a frame everywhere (reverse map), for truncation and reclaim.
    pub fn unmap_everywhere(&mut self, frame: FrameId) {
        todo!()
    }

    // ---- accesses to the active space: the engine's door ----

    /// Loads a value. An access over two pages checks both first.
    #[inline]
    pub fn load<T: Scalar>(&mut self, addr: VirtAddr) -> Result<T, PageFault> {
        todo!()
    }
    /// Stores a value. An access over two pages checks both before it changes either.
    #[inline]
    pub fn store<T: Scalar>(&mut self, addr: VirtAddr, value: T) -> Result<(), PageFault> {
        todo!()
    }
    /// Checks that `len` bytes can be stored to, without changing them (for read-modify-write and multi-part stores).
    pub fn check_store(&mut self, addr: VirtAddr, len: usize) -> Result<(), PageFault> {
        todo!()
    }
    /// Reads up to 15 bytes of code; fewer when the next page cannot be fetched, an error when the first cannot.
    pub fn fetch(&mut self, addr: VirtAddr, code: &mut [u8; 15]) -> Result<usize, PageFault> {
        todo!()
    }
    /// The frame that code at this address is fetched from; marks the frame as holding code, so that stores to it through
    /// any alias or by the kernel are recorded (see [`Mmu::take_code_writes`]).
    pub fn code_frame(&mut self, addr: VirtAddr) -> Result<FrameId, PageFault> {
        todo!()
    }
    /// Marks a frame as no longer holding cached code.
    pub fn clear_code(&mut self, frame: FrameId) {
        todo!()
    }
    /// Whether stores hit frames that hold code since the last [`Mmu::take_code_writes`]. Cheap: asked after each store.
    #[inline]
    pub fn has_code_writes(&self) -> bool {
        todo!()
    }
    /// The parts of code frames that were written.
    pub fn take_code_writes(&mut self) -> Vec<(FrameId, Range<u16>)> {
        todo!()
    }
    /// Changes with every event that may make an address-to-code translation stale in the active space: activation,
    /// unmap, remap, loss of execute permission. Engines drop address-keyed look-ups when it changed.
    #[inline]
    pub fn code_epoch(&self) -> u64 {
        todo!()
    }

    // ---- accesses to any space: the kernel's door ----

    /// Copies out of guest memory with the page tables' permissions; on a fault, tells how many bytes were copied.
    pub fn copy_in(&mut self, mm: MmId, from: VirtAddr, to: &mut [u8]) -> Result<(), (usize, PageFault)> {
        todo!()
    }
    /// Copies into guest memory likewise.
    pub fn copy_out(&mut self, mm: MmId, to: VirtAddr, from: &[u8]) -> Result<(), (usize, PageFault)> {
        todo!()
    }
}
