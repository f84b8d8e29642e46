//! Arithmetic on 4 KiB pages.

use std::ops::Range;

use crate::BlockError;

/// Bytes in a page of a device.
pub const PAGE_SIZE: usize = 4096;

/// The part of a byte range that lies in one unit: a page, or a chunk.
pub(crate) struct Span {
    /// Number of the unit.
    pub(crate) page: u64,
    /// The bytes within the unit.
    pub(crate) in_page: Range<usize>,
    /// The same bytes within the caller's buffer.
    pub(crate) in_buf: Range<usize>,
}

/// Cuts `len` bytes at `offset` into pages.
pub(crate) fn spans(offset: u64, len: usize) -> impl Iterator<Item = Span> {
    spans_of(PAGE_SIZE, offset, len)
}

/// Cuts `len` bytes at `offset` into units of `unit` bytes.
pub(crate) fn spans_of(unit: usize, offset: u64, len: usize) -> impl Iterator<Item = Span> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % unit as u64) as usize;
        let count = (unit - start).min(len - done);
        let span = Span { page: at / unit as u64, in_page: start..start + count, in_buf: done..done + count };
        done += count;
        Some(span)
    })
}

/// Refuses a range that does not lie on a device of `size` bytes.
pub(crate) fn check_range(size: u64, offset: u64, len: usize) -> Result<(), BlockError> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(BlockError::OutOfRange { offset, len: len as u64, size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_page_borders() {
        let cut: Vec<_> = spans(4000, 4300).map(|s| (s.page, s.in_page, s.in_buf)).collect();
        assert_eq!(cut, [(0, 4000..4096, 0..96), (1, 0..4096, 96..4192), (2, 0..108, 4192..4300)]);
        assert!(check_range(10, u64::MAX, 2).is_err());
        assert!(check_range(10, 8, 2).is_ok());
    }
}
