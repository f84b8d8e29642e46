//! Large zeroed memory of which the host commits only what is touched.

#[cfg(any(test, target_arch = "wasm32"))]
mod free_ranges;

use std::fmt;
use std::ptr::NonNull;

/// The host could not reserve guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveError {
    /// How many bytes were asked for.
    pub bytes: u64,
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host cannot reserve {} MiB for guest memory", self.bytes.div_ceil(1 << 20))
    }
}

impl std::error::Error for ReserveError {}

/// A page-aligned, zeroed reservation that never moves.
///
/// It hands out raw pointers only: who may touch which bytes when is the business of its two owners, the frame pool and
/// the flat tables, and both are reached through `&Mmu` and `&mut Mmu` alone.
pub(crate) struct Region {
    base: NonNull<u8>,
    #[cfg(not(target_arch = "wasm32"))]
    allocation: (NonNull<u8>, std::alloc::Layout),
    #[cfg(target_arch = "wasm32")]
    bytes: usize,
}

#[cfg(not(target_arch = "wasm32"))]
impl Region {
    pub(crate) fn reserve(bytes: u64) -> Result<Self, ReserveError> {
        let fail = ReserveError { bytes };
        // A stricter alignment than malloc's own would make the allocator clear the memory by hand, which touches it.
        let size = usize::try_from(bytes).ok().and_then(|b| b.checked_add(crate::PAGE_SIZE)).ok_or(fail)?;
        let layout = std::alloc::Layout::from_size_align(size, 16).map_err(|_| fail)?;
        // SAFETY: the size is at least a page, so not zero.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or(fail)?;
        // SAFETY: the offset is below a page, by which the allocation is longer than asked for.
        let base = unsafe { start.add(start.align_offset(crate::PAGE_SIZE)) };
        Ok(Self { base, allocation: (start, layout) })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `reserve` with this layout and freed nowhere else.
        unsafe { std::alloc::dealloc(self.allocation.0.as_ptr(), self.allocation.1) };
    }
}

#[cfg(target_arch = "wasm32")]
const WASM_PAGE: usize = 65536;

#[cfg(target_arch = "wasm32")]
thread_local! {
    /// Reservations that were given back. wasm memory cannot shrink, so the next machine gets them.
    static FREE: std::cell::RefCell<free_ranges::FreeRanges> =
        const { std::cell::RefCell::new(free_ranges::FreeRanges::new()) };
}

#[cfg(target_arch = "wasm32")]
impl Region {
    /// Takes what was given back, or grows the wasm memory itself: new pages are zero and not resident, while the Rust
    /// allocator would clear them.
    pub(crate) fn reserve(bytes: u64) -> Result<Self, ReserveError> {
        let fail = ReserveError { bytes };
        let pages = usize::try_from(bytes.div_ceil(WASM_PAGE as u64)).map_err(|_| fail)?;
        let bytes = pages.checked_mul(WASM_PAGE).ok_or(fail)?;
        let address = match FREE.with_borrow_mut(|free| free.take(bytes)) {
            Some(address) => address,
            None => match core::arch::wasm32::memory_grow::<0>(pages) {
                usize::MAX => return Err(fail),
                first => first.checked_mul(WASM_PAGE).ok_or(fail)?,
            },
        };
        let base = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(address)).ok_or(fail)?;
        Ok(Self { base, bytes })
    }
}

#[cfg(target_arch = "wasm32")]
impl Drop for Region {
    /// The owner has cleared what it touched, see [`Region::clear_before_drop`].
    fn drop(&mut self) {
        let address = self.base.as_ptr().expose_provenance();
        FREE.with_borrow_mut(|free| free.give(address, self.bytes));
    }
}

impl Region {
    /// The first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Clears the first bytes where a region that is dropped is used again. Its owner, which knows how far it was touched, calls
    /// this when it is dropped itself.
    pub(crate) fn clear_before_drop(&mut self, touched: usize) {
        #[cfg(target_arch = "wasm32")]
        // SAFETY: the bytes are inside the region, whose owner is about to drop it.
        unsafe {
            self.base().write_bytes(0, touched.min(self.bytes));
        }
        #[cfg(not(target_arch = "wasm32"))]
        let _ = touched;
    }
}
