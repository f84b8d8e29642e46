//! The frame pool: one contiguous reservation, handed out in runs, reference counted.

use std::ops::Range;

use crate::reserve::{Region, ReserveError};
use crate::rmap::NO_NODE;
use crate::{FrameId, PAGE_SIZE};

/// Every frame is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

impl std::fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("every frame is in use")
    }
}

impl std::error::Error for OutOfFrames {}

/// The longest run one call hands out.
const LONGEST_RUN: u32 = 64;
/// While this many recycled frames are free, runs get shorter before the pool grows into untouched memory.
const RECYCLE_ABOVE: u32 = 2048;

/// What the pool knows of a frame that was handed out at least once.
#[derive(Clone, Copy)]
pub(crate) struct FrameInfo {
    pub(crate) refs: u32,
    /// Head of the list of its mappings in [`crate::rmap::ReverseMap`].
    pub(crate) mappings: u32,
    /// Code was fetched from it, so stores to it are recorded.
    pub(crate) code: bool,
}

pub(crate) struct FramePool {
    region: Region,
    /// One entry for every frame ever handed out; the frames behind are untouched and zero.
    info: Vec<FrameInfo>,
    total: u32,
    /// One bit for each free frame among those with an entry in `info`.
    free: Vec<u64>,
    free_count: u32,
    /// The word of `free` where the next search begins.
    cursor: usize,
}

impl Drop for FramePool {
    fn drop(&mut self) {
        self.region.clear_before_drop(self.info.len() * PAGE_SIZE);
    }
}

impl FramePool {
    pub(crate) fn new(frames: u32) -> Result<Self, ReserveError> {
        // A table word keeps the frame's offset in 32 bits.
        let total = frames.min(1 << 20);
        let region = Region::reserve(u64::from(total) * PAGE_SIZE as u64)?;
        Ok(Self { region, info: Vec::new(), total, free: Vec::new(), free_count: 0, cursor: 0 })
    }

    /// The first byte of frame 0.
    pub(crate) fn base(&self) -> *mut u8 {
        self.region.base()
    }

    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.free_count + self.untouched(), self.total)
    }

    fn untouched(&self) -> u32 {
        self.total - self.info.len() as u32
    }

    /// The pool's record of a frame.
    ///
    /// # Panics
    ///
    /// If the frame was never handed out: frame numbers come from this pool only.
    pub(crate) fn info(&self, frame: FrameId) -> &FrameInfo {
        &self.info[frame.0 as usize]
    }

    pub(crate) fn info_mut(&mut self, frame: FrameId) -> &mut FrameInfo {
        &mut self.info[frame.0 as usize]
    }

    /// Takes a frame whose content is whatever it was: the caller overwrites all of it.
    pub(crate) fn take_stale(&mut self) -> Result<FrameId, OutOfFrames> {
        let (run, _) = self.take_run(1)?;
        Ok(FrameId(run.start))
    }

    /// Takes up to `wanted` neighbouring frames of zero content.
    pub(crate) fn take_zeroed(&mut self, wanted: u32) -> Result<Range<u32>, OutOfFrames> {
        let (run, recycled) = self.take_run(wanted)?;
        if recycled {
            let start = self.start(FrameId(run.start));
            // SAFETY: the run is inside the region, and nobody holds a reference to frames that were free.
            unsafe { start.write_bytes(0, run.len() * PAGE_SIZE) };
        }
        Ok(run)
    }

    /// Adds a reference.
    pub(crate) fn retain(&mut self, frame: FrameId) {
        let info = self.info_mut(frame);
        assert!(info.refs > 0, "a free frame cannot be shared");
        info.refs += 1;
    }

    /// Drops a reference; tells whether the frame is free now.
    pub(crate) fn release(&mut self, frame: FrameId) -> bool {
        let info = self.info_mut(frame);
        assert!(info.refs > 0, "a free frame cannot be released");
        info.refs -= 1;
        if info.refs > 0 {
            return false;
        }
        info.code = false;
        self.set_free(frame.0..frame.0 + 1);
        true
    }

    /// The first byte of a frame.
    pub(crate) fn start(&self, frame: FrameId) -> *mut u8 {
        assert!((frame.0 as usize) < self.info.len(), "frame numbers come from this pool");
        // SAFETY: frames with an entry in `info` are inside the region.
        unsafe { self.region.base().add(frame.0 as usize * PAGE_SIZE) }
    }

    fn take_run(&mut self, wanted: u32) -> Result<(Range<u32>, bool), OutOfFrames> {
        let wanted = wanted.clamp(1, LONGEST_RUN);
        let mut size = wanted.next_power_of_two();
        loop {
            if let Some(start) = self.find_free(size) {
                let run = start..start + size.min(wanted);
                self.claim(run.clone());
                return Ok((run, true));
            }
            let grow = self.free_count < RECYCLE_ABOVE || size == 1;
            if let Some(run) = grow.then(|| self.take_untouched(size, wanted)).flatten() {
                return Ok((run, false));
            }
            if size == 1 {
                return Err(OutOfFrames);
            }
            size /= 2;
        }
    }

    /// The first frame of an aligned block of `size` (a power of two up to 64) free recycled frames.
    fn find_free(&mut self, size: u32) -> Option<u32> {
        if self.free_count < size {
            return None;
        }
        let words = self.free.len();
        for step in 0..words {
            let at = (self.cursor + step) % words;
            let mut starts = self.free[at];
            let mut width = 1;
            while width < size && starts != 0 {
                starts &= starts >> width;
                width *= 2;
            }
            starts &= aligned_bits(size);
            if starts != 0 {
                self.cursor = at;
                return Some(at as u32 * 64 + starts.trailing_zeros());
            }
        }
        None
    }

    /// Takes from the memory that was never touched, aligned; the frames skipped for alignment become free ones.
    fn take_untouched(&mut self, size: u32, wanted: u32) -> Option<Range<u32>> {
        let first = self.info.len() as u32;
        let start = first.next_multiple_of(size);
        let end = start.checked_add(size.min(wanted)).filter(|end| *end <= self.total)?;
        self.info.resize(end as usize, FrameInfo { refs: 1, mappings: NO_NODE, code: false });
        self.free.resize((end as usize).div_ceil(64), 0);
        for skipped in first..start {
            self.info[skipped as usize].refs = 0;
        }
        self.set_free(first..start);
        Some(start..end)
    }

    fn set_free(&mut self, frames: Range<u32>) {
        self.free_count += frames.len() as u32;
        for frame in frames {
            self.free[frame as usize / 64] |= 1 << (frame % 64);
        }
    }

    fn claim(&mut self, frames: Range<u32>) {
        self.free_count -= frames.len() as u32;
        for frame in frames {
            self.free[frame as usize / 64] &= !(1 << (frame % 64));
            self.info[frame as usize].refs = 1;
        }
    }
}

/// The bits of a word at which an aligned block of `size` bits begins.
fn aligned_bits(size: u32) -> u64 {
    match size {
        1 => !0,
        2 => 0x5555_5555_5555_5555,
        4 => 0x1111_1111_1111_1111,
        8 => 0x0101_0101_0101_0101,
        16 => 0x0001_0001_0001_0001,
        32 => 0x0000_0001_0000_0001,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_aligned_neighbours_and_end_with_the_pool() {
        let mut pool = FramePool::new(100).unwrap();
        assert_eq!(pool.take_zeroed(1).unwrap(), 0..1);
        assert_eq!(pool.take_zeroed(20).unwrap(), 32..52);
        // What alignment skipped is used before the pool grows.
        assert_eq!(pool.take_zeroed(16).unwrap(), 16..32);
        let mut taken = 1 + 20 + 16;
        while let Ok(run) = pool.take_zeroed(64) {
            taken += run.len();
        }
        assert_eq!(taken, 100);
        assert_eq!(pool.counts(), (0, 100));
        assert_eq!(pool.take_stale(), Err(OutOfFrames));
    }

    #[test]
    fn a_recycled_frame_is_zero_again() {
        let mut pool = FramePool::new(1).unwrap();
        let frame = pool.take_stale().unwrap();
        // SAFETY: the frame was just handed out and nothing else refers to it.
        unsafe { pool.start(frame).write_bytes(0xaa, PAGE_SIZE) };
        pool.retain(frame);
        assert!(!pool.release(frame));
        assert!(pool.release(frame));
        let run = pool.take_zeroed(1).unwrap();
        // SAFETY: as above.
        let content = unsafe { std::slice::from_raw_parts(pool.start(FrameId(run.start)), PAGE_SIZE) };
        assert!(content.iter().all(|byte| *byte == 0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri stops when memory runs out")]
    fn more_memory_than_the_host_has_is_an_error() {
        assert!(Region::reserve(1 << 62).is_err());
    }
}
