//! Byte credits: how much the server may send ahead.

use std::time::Duration;

/// Credit is given back in steps of at most this.
const STEP: u32 = 256 * 1024;

/// Counts what came and decides when to give credit.
pub(super) struct Flow {
    window: u32,
    window_max: u32,
    uncredited: u32,
    /// Bytes since the last look at the rate, and when that was.
    measured: u64,
    measured_since: Option<Duration>,
    /// A running mean of the size of stored objects.
    mean_object: u32,
}

impl Flow {
    pub(super) fn new(window: u32, window_max: u32) -> Self {
        let mean_object = 48 * 1024;
        Self { window, window_max, uncredited: 0, measured: 0, measured_since: None, mean_object }
    }

    pub(super) fn cap(&mut self, server_max: u32) {
        self.window_max = self.window_max.min(server_max);
        self.window = self.window.min(server_max);
    }

    pub(super) fn received(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.measured += u64::from(len);
        self.mean_object = self.mean_object / 8 * 7 + len / 8;
    }

    /// How many objects may be in flight ahead of need: half of the window.
    pub(super) fn prefetch_limit(&self) -> usize {
        usize::try_from(self.window / 2 / self.mean_object.max(1024)).unwrap_or(0).max(4)
    }

    /// Takes note of bytes that were dealt with; returns the credit to send, if it is time.
    pub(super) fn consumed(&mut self, now: Duration, len: usize, rtt: Option<Duration>) -> Option<u32> {
        self.uncredited = self.uncredited.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        if self.uncredited < STEP.min(self.window / 4).max(1) {
            return None;
        }
        let growth = self.grow(now, rtt);
        Some(std::mem::take(&mut self.uncredited).saturating_add(growth))
    }

    /// Doubles the window while what arrives within two round trips fills it.
    fn grow(&mut self, now: Duration, rtt: Option<Duration>) -> u32 {
        let since = *self.measured_since.get_or_insert(now);
        let elapsed = now.saturating_sub(since);
        let Some(rtt) = rtt.filter(|_| elapsed >= Duration::from_millis(100)) else { return 0 };
        let in_two_trips = self.measured as f64 * 2.0 * rtt.as_secs_f64() / elapsed.as_secs_f64();
        (self.measured, self.measured_since) = (0, Some(now));
        if in_two_trips < f64::from(self.window) {
            return 0;
        }
        let larger = self.window.saturating_mul(2).min(self.window_max).max(self.window);
        let growth = larger - self.window;
        self.window = larger;
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_comes_in_steps_and_adds_up() {
        let mut flow = Flow::new(2 << 20, 8 << 20);
        let mut given = 0;
        for _ in 0..100 {
            flow.received(40_000);
            given += flow.consumed(Duration::ZERO, 40_000, None).unwrap_or(0);
        }
        assert!(given <= 4_000_000 && given > 4_000_000 - STEP, "{given}");
    }

    #[test]
    fn the_window_grows_on_a_long_fast_path_up_to_its_cap() {
        let mut flow = Flow::new(1 << 20, 4 << 20);
        flow.cap(3 << 20);
        let (mut now, mut given) = (Duration::ZERO, 0_u64);
        for _ in 0..400 {
            now += Duration::from_millis(5);
            flow.received(100_000);
            given += u64::from(flow.consumed(now, 100_000, Some(Duration::from_millis(200))).unwrap_or(0));
        }
        // 20 MB/s over 200 ms: 4 MB in flight would be needed twice over.
        assert_eq!(flow.window, 3 << 20);
        assert!(given > 40_000_000 - u64::from(STEP) + (2 << 20), "{given}");
    }
}
