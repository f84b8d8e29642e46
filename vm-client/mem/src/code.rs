//! Which frames hold code that an engine has cached, and the stores that hit them.

use std::ops::Range;

use crate::{Access, FrameId, Mmu, PAGE_SIZE, PageFault, VirtAddr};

impl Mmu {
    /// The frame that code at this address is fetched from; marks the frame as holding code, so that stores to it through
    /// any alias or by the kernel are recorded (see [`Mmu::take_code_writes`]).
    pub fn code_frame(&mut self, addr: VirtAddr) -> Result<FrameId, PageFault> {
        let frame = self.resolve_active(addr, Access::Execute)?;
        if !self.pool.info(frame).code {
            self.pool.info_mut(frame).code = true;
            self.refresh_aliases(frame);
        }
        Ok(frame)
    }

    /// Marks a frame as no longer holding cached code.
    pub fn clear_code(&mut self, frame: FrameId) {
        if self.pool.info(frame).code {
            self.pool.info_mut(frame).code = false;
            self.refresh_aliases(frame);
        }
    }

    /// Whether stores hit frames that hold code since the last [`Mmu::take_code_writes`]. Cheap: asked after each store.
    #[inline]
    pub fn has_code_writes(&self) -> bool {
        !self.code_writes.is_empty()
    }

    /// What [`Mmu::take_code_writes`] would return.
    pub fn code_writes(&self) -> &[(FrameId, Range<u16>)] {
        &self.code_writes
    }

    /// The parts of code frames that were written. A frame that was freed counts as written in whole.
    pub fn take_code_writes(&mut self) -> Vec<(FrameId, Range<u16>)> {
        std::mem::take(&mut self.code_writes)
    }

    /// Records a store to a frame if it holds code.
    pub(crate) fn note_store(&mut self, frame: FrameId, offset: usize, len: usize) {
        if self.pool.info(frame).code {
            let end = (offset + len).min(PAGE_SIZE);
            self.note_code_write(frame, offset as u16..end as u16);
        }
    }

    pub(crate) fn note_code_write(&mut self, frame: FrameId, bytes: Range<u16>) {
        // A loop that fills a page grows one entry instead of adding thousands.
        if let Some((last, range)) = self.code_writes.last_mut()
            && *last == frame
            && bytes.start <= range.end
            && range.start <= bytes.end
        {
            *range = range.start.min(bytes.start)..range.end.max(bytes.end);
            return;
        }
        self.code_writes.push((frame, bytes));
    }

    fn refresh_aliases(&mut self, frame: FrameId) {
        for (mm, page) in self.mappings_of(frame) {
            if let Some(pte) = self.space(mm).table.get(page) {
                self.refresh(mm, page, pte);
            }
        }
    }
}
