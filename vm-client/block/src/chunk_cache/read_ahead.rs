//! Noticing sequential reads.

use std::ops::Range;

/// Rows of reads that are followed at a time.
const HEADS: usize = 3;
const FIRST_WINDOW: u32 = 2;
const LAST_WINDOW: u32 = 16;

#[derive(Debug, Clone, Copy)]
struct Head {
    last: u32,
    /// Chunks to be ahead by; 0 before the second read of the row.
    window: u32,
    /// First chunk not asked for yet.
    asked: u32,
    used: u64,
}

/// Follows a few rows of reads; each doubles its window as it goes on.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    heads: Vec<Head>,
    clock: u64,
}

impl ReadAhead {
    /// Notes a read of a chunk; returns the chunks to fetch ahead.
    pub(super) fn touch(&mut self, chunk: u32) -> Range<u32> {
        self.clock += 1;
        let clock = self.clock;
        let row = self.heads.iter_mut().find(|head| head.last == chunk || head.last.checked_add(1) == Some(chunk));
        if let Some(head) = row {
            head.used = clock;
            if head.last == chunk {
                return 0..0;
            }
            head.last = chunk;
            head.window = (head.window * 2).clamp(FIRST_WINDOW, LAST_WINDOW);
            let from = head.asked.max(chunk.saturating_add(1));
            let to = chunk.saturating_add(1).saturating_add(head.window);
            head.asked = to.max(head.asked);
            return from..to.max(from);
        }
        let new = Head { last: chunk, window: 0, asked: 0, used: clock };
        if self.heads.len() < HEADS {
            self.heads.push(new);
        } else if let Some(oldest) = self.heads.iter_mut().min_by_key(|head| head.used) {
            *oldest = new;
        }
        0..0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_widen_and_jumps_start_over() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.touch(10), 0..0);
        assert_eq!(ahead.touch(10), 0..0);
        assert_eq!(ahead.touch(11), 12..14);
        assert_eq!(ahead.touch(500), 0..0);
        assert_eq!(ahead.touch(12), 14..17);
        assert_eq!(ahead.touch(13), 17..22);
        assert_eq!(ahead.touch(14), 22..31);
        assert_eq!(ahead.touch(15), 31..32);
        assert_eq!(ahead.touch(501), 502..504);
        assert_eq!(ahead.touch(u32::MAX), 0..0);
    }
}
