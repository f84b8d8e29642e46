//! Loads, stores and fetches.
//!
//! The fast path is one test of a flat-table word and a raw access. Everything else (a page crossing, a first touch, a
//! page that holds code, a 64-bit space) goes through the slow path, which consults the page table.

use crate::flat;
use crate::table::bits;
use crate::{Access, FrameId, MmId, Mmu, PAGE_SIZE, PageFault, Scalar, VirtAddr};

// Guest memory is little-endian and is accessed with the host's own loads and stores.
const _: () = assert!(cfg!(target_endian = "little"));

/// The longest scalar.
const SCALAR_MAX: usize = 16;

impl Mmu {
    /// Loads a value. An access over two pages checks both first.
    #[inline]
    pub fn load<T: Scalar>(&mut self, addr: VirtAddr) -> Result<T, PageFault> {
        match self.fast(addr, size_of::<T>(), bits::READ) {
            // SAFETY: `fast` gave a pointer to `size_of::<T>()` bytes inside one frame; any bits are a valid scalar.
            Some(at) => Ok(unsafe { at.cast::<T>().read_unaligned() }),
            None => self.load_slow(addr),
        }
    }

    /// Stores a value. An access over two pages checks both before it changes either.
    #[inline]
    pub fn store<T: Scalar>(&mut self, addr: VirtAddr, value: T) -> Result<(), PageFault> {
        match self.fast(addr, size_of::<T>(), bits::WRITE) {
            Some(at) => {
                // SAFETY: as in `load`; `&mut self` excludes references to the frame.
                unsafe { at.cast::<T>().write_unaligned(value) };
                Ok(())
            }
            None => self.store_slow(addr, value),
        }
    }

    /// Loads bytes; on a fault nothing is known of `to`.
    pub fn load_bytes(&mut self, addr: VirtAddr, to: &mut [u8]) -> Result<(), PageFault> {
        let len = to.len();
        for (at, part) in pieces(addr, len) {
            let frame = self.resolve_active(at, Access::Read)?;
            let piece = &self.frame(frame)[at.offset()..at.offset() + part.len()];
            to[part].copy_from_slice(piece);
        }
        self.note_access(addr, len, Access::Read);
        Ok(())
    }

    /// Stores bytes; on a fault nothing was changed.
    pub fn store_bytes(&mut self, addr: VirtAddr, from: &[u8]) -> Result<(), PageFault> {
        self.check_store(addr, from.len())?;
        for (at, part) in pieces(addr, from.len()) {
            let frame = self.resolve_active(at, Access::Write)?;
            self.store_in_frame(frame, at.offset(), &from[part]);
        }
        self.note_access(addr, from.len(), Access::Write);
        Ok(())
    }

    /// Checks that `len` bytes can be stored to, without changing them (for read-modify-write and multi-part stores).
    pub fn check_store(&mut self, addr: VirtAddr, len: usize) -> Result<(), PageFault> {
        if self.fast(addr, len, bits::WRITE).is_some() {
            return Ok(());
        }
        for (at, _) in pieces(addr, len) {
            self.resolve_active(at, Access::Write)?;
        }
        Ok(())
    }

    /// Checks that `len` bytes can be loaded.
    pub fn check_load(&mut self, addr: VirtAddr, len: usize) -> Result<(), PageFault> {
        if self.fast(addr, len, bits::READ).is_some() {
            return Ok(());
        }
        for (at, _) in pieces(addr, len) {
            self.resolve_active(at, Access::Read)?;
        }
        Ok(())
    }

    /// Reads up to 15 bytes of code; fewer when the next page cannot be fetched, an error when the first cannot.
    pub fn fetch(&mut self, addr: VirtAddr, code: &mut [u8; 15]) -> Result<usize, PageFault> {
        let mut done = 0;
        for (at, part) in pieces(addr, code.len()) {
            let frame = match self.resolve_active(at, Access::Execute) {
                Ok(frame) => frame,
                Err(_) if done > 0 => break,
                Err(fault) => return Err(fault),
            };
            done = part.end;
            code[part.clone()].copy_from_slice(&self.frame(frame)[at.offset()..at.offset() + part.len()]);
        }
        Ok(done)
    }

    /// Copies out of guest memory with the page tables' permissions; on a fault, tells how many bytes were copied.
    pub fn copy_in(&mut self, mm: MmId, from: VirtAddr, to: &mut [u8]) -> Result<(), (usize, PageFault)> {
        let len = to.len();
        for (at, part) in pieces(from, len) {
            let done = part.start;
            let frame = self.resolve_in(mm, at, Access::Read).map_err(|fault| (done, fault))?;
            to[part.clone()].copy_from_slice(&self.frame(frame)[at.offset()..at.offset() + part.len()]);
        }
        Ok(())
    }

    /// Copies into guest memory likewise.
    pub fn copy_out(&mut self, mm: MmId, to: VirtAddr, from: &[u8]) -> Result<(), (usize, PageFault)> {
        for (at, part) in pieces(to, from.len()) {
            let done = part.start;
            let frame = self.resolve_in(mm, at, Access::Write).map_err(|fault| (done, fault))?;
            self.store_in_frame(frame, at.offset(), &from[part]);
        }
        Ok(())
    }

    /// Copies upwards inside guest memory, as `rep movs` does element by element: as many bytes, in whole elements, as need
    /// no slow path and no second page on either side. Returns how many.
    pub fn copy_upwards(&mut self, to: VirtAddr, from: VirtAddr, len: usize, element: usize) -> usize {
        let len = len.min(PAGE_SIZE - to.offset()).min(PAGE_SIZE - from.offset());
        let (Some(to), Some(from)) = (self.fast(to, len, bits::WRITE), self.fast(from, len, bits::READ)) else {
            return 0;
        };
        // Just behind its source a destination repeats what was written a moment ago.
        let ahead = (to as usize).wrapping_sub(from as usize);
        let len = if ahead == 0 { len } else { len.min(ahead) } / element.max(1) * element;
        // SAFETY: `fast` gave pointers to that many bytes inside one frame each; `&mut self` excludes references to them.
        unsafe { std::ptr::copy(from, to, len) };
        len
    }

    /// Fills guest memory upwards with a pattern of 16 bytes: as many bytes, a multiple of 16, as need no slow path and no
    /// second page. Returns how many.
    pub fn fill_upwards(&mut self, to: VirtAddr, len: usize, pattern: u128) -> usize {
        let len = len.min(PAGE_SIZE - to.offset()) / 16 * 16;
        let Some(to) = self.fast(to, len, bits::WRITE) else { return 0 };
        for at in (0..len).step_by(16) {
            // SAFETY: `fast` gave a pointer to that many bytes inside one frame; `&mut self` excludes references to them.
            unsafe { to.add(at).cast::<u128>().write_unaligned(pattern) };
        }
        len
    }

    /// The bytes from an address to the end of its page, where loading them needs no slow path.
    pub fn rest_of_page(&self, addr: VirtAddr) -> Option<&[u8]> {
        let len = PAGE_SIZE - addr.offset();
        let at = self.fast(addr, len, bits::READ)?;
        // SAFETY: that many bytes inside one frame, and nothing changes them while `self` is borrowed.
        Some(unsafe { std::slice::from_raw_parts(at, len) })
    }

    /// The place of an access that needs no slow path: inside one page, with the wanted bit in its flat-table word.
    #[inline(always)]
    fn fast(&self, addr: VirtAddr, len: usize, bit: u32) -> Option<*mut u8> {
        if addr.0 >= self.fast_limit {
            return None;
        }
        let half = if bit == bits::WRITE { flat::STORES } else { 0 };
        // SAFETY: below `fast_limit` the address is inside the active flat table, which lives until it is replaced.
        let distance = unsafe { *self.fast_words.add(half + (addr.0 >> 12) as usize) };
        if distance == 0 || addr.offset() + len > PAGE_SIZE {
            return None;
        }
        // SAFETY: a word that is not zero leads to a frame that was handed out.
        Some(unsafe { self.base.add((addr.0 as u32).wrapping_add(distance & !flat::GOES_ON) as usize) })
    }

    #[cold]
    #[inline(never)]
    fn load_slow<T: Scalar>(&mut self, addr: VirtAddr) -> Result<T, PageFault> {
        let mut buffer = [0; SCALAR_MAX];
        self.load_bytes(addr, &mut buffer[..size_of::<T>()])?;
        // SAFETY: the buffer is as long as the longest scalar.
        Ok(unsafe { buffer.as_ptr().cast::<T>().read_unaligned() })
    }

    #[cold]
    #[inline(never)]
    fn store_slow<T: Scalar>(&mut self, addr: VirtAddr, value: T) -> Result<(), PageFault> {
        let mut buffer = [0; SCALAR_MAX];
        // SAFETY: the buffer is as long as the longest scalar.
        unsafe { buffer.as_mut_ptr().cast::<T>().write_unaligned(value) };
        self.store_bytes(addr, &buffer[..size_of::<T>()])
    }

    /// The frame behind an address of the active space for an access.
    pub(crate) fn resolve_active(&mut self, addr: VirtAddr, access: Access) -> Result<FrameId, PageFault> {
        let Some(mm) = self.active() else {
            return Err(PageFault { addr, access, cause: crate::FaultCause::NotMapped });
        };
        if self.fast_limit == 0 {
            let word = self.tlb.get(addr.page());
            if word & fast_bit(access) != 0 {
                return Ok(FrameId(word >> 12));
            }
        }
        self.resolve_in(mm, addr, access)
    }

    fn resolve_in(&mut self, mm: MmId, addr: VirtAddr, access: Access) -> Result<FrameId, PageFault> {
        self.resolve(mm, addr.page(), access).map_err(|cause| PageFault { addr, access, cause })
    }

    pub(crate) fn store_in_frame(&mut self, frame: FrameId, offset: usize, from: &[u8]) {
        self.note_store(frame, offset, from.len());
        assert!(offset + from.len() <= PAGE_SIZE);
        // SAFETY: inside a frame of the pool; `&mut self` excludes references to it.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.pool.start(frame).add(offset), from.len()) };
    }
}

fn fast_bit(access: Access) -> u32 {
    match access {
        Access::Read => bits::READ,
        Access::Write => bits::WRITE,
        Access::Execute => bits::EXEC,
    }
}

/// Splits an access at page borders: the address of each piece and its place in the buffer. Addresses do not wrap; a
/// page past the end of the address space is never mapped.
pub(crate) fn pieces(addr: VirtAddr, len: usize) -> impl Iterator<Item = (VirtAddr, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = VirtAddr(addr.0.saturating_add(done as u64));
        let part = done..len.min(done + PAGE_SIZE - at.offset());
        done = part.end;
        Some((at, part))
    })
}
