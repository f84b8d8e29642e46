//! What generated code needs to reach guest memory itself: where the flat table and the frames are, and the slow path of
//! its accesses.
//!
//! Addresses are handed out as numbers. Generated code lives in the same memory as this crate and keeps to the rules of
//! `access`: a word that is not zero is, but for [`GOES_ON`], what to add to an address of its page for the offset from the
//! first frame, and is followed across the end of the page only where it has that bit.

use std::ops::Range;

use crate::flat;
use crate::{Access, FrameId, Mmu, PAGE_SIZE, PageFault, VirtAddr};

/// How many bytes behind the flat table's words for loads those for stores are.
pub const STORE_WORDS: u32 = (flat::STORES * 4) as u32;

/// The bit of a word that lets accesses go over the end of the page.
pub const GOES_ON: u32 = flat::GOES_ON;

/// Pages that follow each other, are writable and whose frames follow each other too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first byte.
    pub start: u32,
    /// Bytes.
    pub len: u32,
    /// What to add to an address in it for the offset from the first frame.
    pub distance: u32,
}

impl Mmu {
    /// The run around an address as far as the flat table knows it: pages that were stored to before and hold no code, at
    /// most so many to each side. Valid until a mapping changes or code is made.
    pub fn writable_run(&self, addr: VirtAddr, most: u32) -> Option<Run> {
        if addr.0 >= self.fast_limit {
            return None;
        }
        let word = |page: u32| {
            // SAFETY: `fast_limit` is not zero, so `fast_words` is the active space's table of two times WORDS words, and
            // page numbers of 32-bit addresses are below WORDS.
            unsafe { self.fast_words.add(flat::STORES + page as usize).read() & !GOES_ON }
        };
        let page = (addr.0 >> 12) as u32;
        let distance = word(page);
        if distance == 0 {
            return None;
        }
        let (mut first, mut last) = (page, page);
        while first > 0 && page - first < most && word(first - 1) == distance {
            first -= 1;
        }
        // The last page of all is left out, so that the end is an address too.
        while last < flat::WORDS as u32 - 2 && last - page < most && word(last + 1) == distance {
            last += 1;
        }
        (last < flat::WORDS as u32 - 1).then(|| Run { start: first << 12, len: (last - first + 1) << 12, distance })
    }

    /// Changes whenever a run that [`Mmu::writable_run`] told may be none any more.
    pub fn runs_stamp(&self) -> (u32, u64) {
        (self.active().map_or(u32::MAX, |mm| mm.0), self.flats.lost)
    }

    /// The address of the active space's flat table, if it has one. Valid until another space becomes active.
    pub fn flat_table(&self) -> Option<usize> {
        (self.fast_limit > 0).then_some(self.fast_words as usize)
    }

    /// The address of the first byte of the first frame. Frames follow each other and never move.
    pub fn first_frame(&self) -> usize {
        self.base as usize
    }

    /// The offset from the first frame of an access that lies inside one page, after the checks and notes of a load or a
    /// store; nothing when it goes over the end of a page or stores to a frame that holds code.
    pub fn direct(&mut self, addr: VirtAddr, len: usize, access: Access) -> Result<Option<u32>, PageFault> {
        if addr.offset() + len > PAGE_SIZE {
            return Ok(None);
        }
        let frame = self.resolve_active(addr, access)?;
        if access == Access::Write && self.pool.info(frame).code {
            return Ok(None);
        }
        Ok(Some((frame.0 << 12) | addr.offset() as u32))
    }

    /// The parts of a store that would hit frames which hold code. The store must have been checked before.
    pub fn code_under(&mut self, addr: VirtAddr, len: usize) -> Result<Vec<(FrameId, Range<u16>)>, PageFault> {
        let mut found = Vec::new();
        for (at, part) in crate::access::pieces(addr, len) {
            let frame = self.resolve_active(at, Access::Write)?;
            if self.pool.info(frame).code {
                let from = at.offset() as u16;
                found.push((frame, from..from + part.len() as u16));
            }
        }
        Ok(found)
    }
}
