//! Little-endian fields of untrusted blocks.
//!
//! Reads are total: a field beyond the end of the buffer reads as zero, so no damaged length can panic. Writes go only to
//! offsets this crate computed within a block.

/// Reads a `u8`.
pub(crate) fn u8_at(buf: &[u8], at: usize) -> u8 {
    buf.get(at).copied().unwrap_or(0)
}

/// Reads a `u16`.
pub(crate) fn u16_at(buf: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(buf, at))
}

/// Reads a `u32`.
pub(crate) fn u32_at(buf: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(buf, at))
}

/// Reads `N` bytes.
pub(crate) fn array_at<const N: usize>(buf: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N).and_then(|end| buf.get(at..end)).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}

/// Writes bytes.
pub(crate) fn put(buf: &mut [u8], at: usize, bytes: &[u8]) {
    match at.checked_add(bytes.len()).and_then(|end| buf.get_mut(at..end)) {
        Some(field) => field.copy_from_slice(bytes),
        None => debug_assert!(false, "field at {at} is outside a buffer of {} bytes", buf.len()),
    }
}

/// Writes a `u16`.
pub(crate) fn put_u16(buf: &mut [u8], at: usize, value: u16) {
    put(buf, at, &value.to_le_bytes());
}

/// Writes a `u32`.
pub(crate) fn put_u32(buf: &mut [u8], at: usize, value: u32) {
    put(buf, at, &value.to_le_bytes());
}
