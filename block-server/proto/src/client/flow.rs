//! Byte credits: how much the server may send ahead, and how much of it nobody waits for.

use std::time::Duration;

/// Credit is given back in steps of at most this.
const STEP: u32 = 256 * 1024;
/// Objects fetched ahead of need while the path is not measured, and at the least.
const LEAST_AHEAD: usize = 2;
/// Bytes that must have come before their pace says something of the path.
const SAMPLE: f64 = 96.0 * 1024.0;
/// Older samples count half once there are so many bytes.
const MEMORY: f64 = 2048.0 * 1024.0;
/// A round-trip time is forgotten after so long: paths change, and one measured in a queue is too long.
const RTT_SPAN: Duration = Duration::from_secs(60);

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
    path: Path,
}

/// What is known of the path to the server.
#[derive(Default)]
struct Path {
    /// The least round-trip time lately, and when it was seen.
    rtt: Option<(Duration, Duration)>,
    /// When the last object came.
    last: Option<Duration>,
    /// Bytes that came lately, and the time that the path took for them.
    bytes: f64,
    seconds: f64,
}

impl Path {
    fn round_trip(&mut self, now: Duration, rtt: Duration) {
        let keep = self.rtt.is_some_and(|(least, seen)| least < rtt && now < seen + RTT_SPAN);
        if !keep {
            self.rtt = Some((rtt, now));
        }
    }

    /// An object came. What it took after it could have been here at the earliest, a round trip after it was asked for, and
    /// after the one before it, is the time that the path takes for its bytes.
    fn arrived(&mut self, now: Duration, asked: Duration, len: usize) {
        if let Some((rtt, _)) = self.rtt {
            let earliest = self.last.map_or(asked + rtt, |last| last.max(asked + rtt));
            self.bytes += len as f64;
            self.seconds += now.saturating_sub(earliest).as_secs_f64();
            if self.bytes > MEMORY {
                self.bytes /= 2.0;
                self.seconds /= 2.0;
            }
        }
        self.last = Some(now);
    }

    /// The bandwidth-delay product in bytes, once it is measured.
    fn product(&self) -> Option<f64> {
        let (rtt, _) = self.rtt?;
        (self.bytes >= SAMPLE).then(|| self.bytes / self.seconds.max(1e-4) * rtt.as_secs_f64())
    }
}

impl Flow {
    pub(super) fn new(window: u32, window_max: u32) -> Self {
        let mean_object = 48 * 1024;
        Self {
            window,
            window_max,
            uncredited: 0,
            measured: 0,
            measured_since: None,
            mean_object,
            path: Path::default(),
        }
    }

    pub(super) fn cap(&mut self, server_max: u32) {
        self.window_max = self.window_max.min(server_max);
        self.window = self.window.min(server_max);
    }

    /// A round trip was measured.
    pub(super) fn round_trip(&mut self, now: Duration, rtt: Duration) {
        self.path.round_trip(now, rtt);
    }

    /// An object came that was asked for at `asked`, if it was still known.
    pub(super) fn received(&mut self, now: Duration, asked: Option<Duration>, len: usize) {
        if let Some(asked) = asked {
            self.path.arrived(now, asked, len);
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.measured += u64::from(len);
        self.mean_object = self.mean_object / 8 * 7 + len / 8;
    }

    /// How many objects may be in flight ahead of need: two, or as many as the path holds while it is busy. More would only
    /// stand in queues, and demand behind them. Never more than half of the window.
    pub(super) fn prefetch_limit(&self) -> usize {
        let object = f64::from(self.mean_object.max(1024));
        let of_path = self.path.product().map_or(0, |bytes| (bytes / object) as usize);
        let of_window = usize::try_from(self.window / 2 / self.mean_object.max(1024)).unwrap_or(0);
        of_path.min(of_window).max(LEAST_AHEAD)
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

    /// Doubles the window while what arrives within two round trips nearly fills it; what is fetched ahead may fill half.
    fn grow(&mut self, now: Duration, rtt: Option<Duration>) -> u32 {
        let since = *self.measured_since.get_or_insert(now);
        let elapsed = now.saturating_sub(since);
        let Some(rtt) = rtt.filter(|_| elapsed >= Duration::from_millis(100)) else { return 0 };
        let in_two_trips = self.measured as f64 * 2.0 * rtt.as_secs_f64() / elapsed.as_secs_f64();
        (self.measured, self.measured_since) = (0, Some(now));
        if in_two_trips < f64::from(self.window) * 0.75 {
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
            flow.received(Duration::ZERO, None, 40_000);
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
            flow.received(now, None, 100_000);
            given += u64::from(flow.consumed(now, 100_000, Some(Duration::from_millis(200))).unwrap_or(0));
        }
        // 20 MB/s over 200 ms: 4 MB in flight would be needed twice over.
        assert_eq!(flow.window, 3 << 20);
        assert!(given > 40_000_000 - u64::from(STEP) + (2 << 20), "{given}");
    }

    #[test]
    fn what_is_fetched_ahead_fills_the_path_and_no_queue() {
        let mut flow = Flow::new(2 << 20, 8 << 20);
        assert_eq!(flow.prefetch_limit(), LEAST_AHEAD);
        // 40 KB each 16 ms, 50 ms away: 125 KB are under way.
        flow.round_trip(Duration::ZERO, Duration::from_millis(50));
        for n in 1..=40_u32 {
            let now = n * Duration::from_millis(16);
            flow.received(now, Some(now.saturating_sub(Duration::from_millis(90))), 40_000);
        }
        assert_eq!(flow.prefetch_limit(), 3);
        // Pauses between requests are not the path's: each of these took 16 ms beyond its round trip.
        for n in 0..40_u32 {
            let now = Duration::from_secs(5) + n * Duration::from_millis(500);
            flow.received(now, Some(now.saturating_sub(Duration::from_millis(66))), 40_000);
        }
        assert_eq!(flow.prefetch_limit(), 3);
    }

    #[test]
    fn a_longer_path_is_believed_only_after_a_while() {
        let mut path = Path::default();
        path.round_trip(Duration::ZERO, Duration::from_millis(20));
        path.round_trip(Duration::from_secs(1), Duration::from_millis(90));
        assert_eq!(path.rtt.map(|(rtt, _)| rtt), Some(Duration::from_millis(20)));
        path.round_trip(RTT_SPAN * 2, Duration::from_millis(90));
        assert_eq!(path.rtt.map(|(rtt, _)| rtt), Some(Duration::from_millis(90)));
    }
}
