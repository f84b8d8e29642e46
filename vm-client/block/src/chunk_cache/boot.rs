//! Noticing what a boot reads, so that the next one can have it fetched ahead.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use vm_rt::Clock;

use crate::ChunkId;

/// Chunks of a record: as many as two messages of the protocol tell.
const MOST: usize = 1024;
/// A boot that reads nothing new for so long is over.
const QUIET: Duration = Duration::from_secs(4);
/// What comes later is no boot.
const LONGEST: Duration = Duration::from_secs(60);

/// A chunk that was read, and how long after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootTouch {
    /// The chunk.
    pub chunk: ChunkId,
    /// When it was first read.
    pub after: Duration,
}

/// Chunks in the order in which they are first read.
pub struct BootRecord {
    clock: Rc<dyn Clock>,
    start: Duration,
    last: Duration,
    seen: HashSet<ChunkId>,
    touches: Vec<BootTouch>,
}

impl BootRecord {
    /// Starts now.
    pub fn new(clock: Rc<dyn Clock>) -> Self {
        let start = clock.monotonic();
        Self { clock, start, last: start, seen: HashSet::new(), touches: Vec::new() }
    }

    pub(super) fn touch(&mut self, chunk: ChunkId) {
        if self.touches.len() >= MOST || self.seen.contains(&chunk) {
            return;
        }
        let now = self.clock.monotonic();
        let after = now.saturating_sub(self.start);
        if after < LONGEST && now.saturating_sub(self.last) < QUIET {
            self.last = now;
            self.seen.insert(chunk);
            self.touches.push(BootTouch { chunk, after });
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let now = self.clock.monotonic();
        now.saturating_sub(self.last) >= QUIET || now.saturating_sub(self.start) >= LONGEST
    }

    pub(super) fn into_touches(self) -> Vec<BootTouch> {
        self.touches
    }
}

#[cfg(test)]
mod tests {
    use vm_rt::ManualClock;

    use super::*;

    #[test]
    fn first_touches_are_kept_until_nothing_new_is_read() {
        let clock = Rc::new(ManualClock::default());
        let dynamic: Rc<dyn Clock> = clock.clone();
        let mut record = BootRecord::new(dynamic);
        for (chunk, ms) in [(7, 100), (3, 200), (7, 200), (9, 300)] {
            clock.advance(Duration::from_millis(ms));
            record.touch(ChunkId(chunk));
            assert!(!record.is_over());
        }
        clock.advance(QUIET);
        assert!(record.is_over());
        record.touch(ChunkId(50));
        let touches = record.into_touches();
        let expected = [(7, 100), (3, 300), (9, 800)];
        assert_eq!(touches.len(), expected.len());
        for (touch, (chunk, ms)) in touches.iter().zip(expected) {
            assert_eq!((touch.chunk, touch.after), (ChunkId(chunk), Duration::from_millis(ms)));
        }
    }
}
