//! Bitmaps of blocks and inodes: one block each per group, a set bit is in use.

/// Tells whether a bit is set; bits beyond the bitmap are.
pub(crate) fn is_set(bitmap: &[u8], bit: u32) -> bool {
    bitmap.get(bit as usize / 8).is_none_or(|byte| byte >> (bit % 8) & 1 == 1)
}

/// Sets a bit.
pub(crate) fn set(bitmap: &mut [u8], bit: u32) {
    if let Some(byte) = bitmap.get_mut(bit as usize / 8) {
        *byte |= 1 << (bit % 8);
    }
}

/// Clears a bit.
pub(crate) fn clear(bitmap: &mut [u8], bit: u32) {
    if let Some(byte) = bitmap.get_mut(bit as usize / 8) {
        *byte &= !(1 << (bit % 8));
    }
}

/// The first clear bit in `from..end`.
pub(crate) fn first_clear(bitmap: &[u8], from: u32, end: u32) -> Option<u32> {
    let mut bit = from;
    while bit < end {
        let byte = bitmap.get(bit as usize / 8).copied()?;
        if byte == u8::MAX {
            bit = bit / 8 * 8 + 8;
            continue;
        }
        if byte >> (bit % 8) & 1 == 0 {
            return Some(bit);
        }
        bit += 1;
    }
    None
}

/// Clear bits from `bit` on, at most `max`, before `end`.
pub(crate) fn clear_run(bitmap: &[u8], bit: u32, max: u32, end: u32) -> u32 {
    let last = end.min(bit.saturating_add(max));
    (bit..last).take_while(|b| !is_set(bitmap, *b)).count() as u32
}

/// Clear bits among the first `len`.
pub(crate) fn count_clear(bitmap: &[u8], len: u32) -> u32 {
    (0..len).filter(|bit| !is_set(bitmap, *bit)).count() as u32
}

/// The best place for up to `want` blocks: at `goal` if that is free, else the first run of at least eight (or `want`) from
/// there on, wrapping around, else the first free bit. Returns start and length.
pub(crate) fn find_run(bitmap: &[u8], goal: u32, want: u32, end: u32) -> Option<(u32, u32)> {
    let at_goal = if goal < end { clear_run(bitmap, goal, want, end) } else { 0 };
    if at_goal > 0 {
        return Some((goal, at_goal));
    }
    let enough = want.min(8);
    let mut fallback = None;
    for (from, to) in [(goal.min(end), end), (0, goal.min(end))] {
        let mut at = from;
        while let Some(bit) = first_clear(bitmap, at, to) {
            let run = clear_run(bitmap, bit, want, to);
            if run >= enough {
                return Some((bit, run));
            }
            fallback = fallback.or(Some((bit, run)));
            at = bit + run.max(1);
        }
    }
    fallback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_taken_at_the_goal_then_where_there_is_room() {
        let mut bitmap = vec![0xff; 8];
        for bit in [3, 20, 21, 22, 23, 24, 25, 26, 27, 28, 60] {
            clear(&mut bitmap, bit);
        }
        assert_eq!(find_run(&bitmap, 24, 3, 64), Some((24, 3)));
        assert_eq!(find_run(&bitmap, 30, 4, 64), Some((20, 4)));
        assert_eq!(find_run(&bitmap, 30, 1, 64), Some((60, 1)));
        assert_eq!(find_run(&bitmap, 30, 9, 64), Some((20, 9)));
        assert_eq!(find_run(&bitmap, 0, 100, 10), Some((3, 1)));
        assert_eq!(find_run(&[0xff; 8], 5, 1, 64), None);
        assert_eq!(count_clear(&bitmap, 64), 11);
        set(&mut bitmap, 60);
        assert!(is_set(&bitmap, 60) && is_set(&bitmap, 10_000));
    }
}
