//! Time values.

use std::time::Duration;

/// Seconds and nanoseconds since the Unix epoch or another fixed point (`struct timespec`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timespec {
    /// Whole seconds; may be before the epoch.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: u32,
}

impl From<Duration> for Timespec {
    fn from(d: Duration) -> Self {
        Self { sec: d.as_secs() as i64, nsec: d.subsec_nanos() }
    }
}

impl Timespec {
    /// The time as a duration; negative times become zero.
    pub fn to_duration(self) -> Duration {
        if self.sec < 0 { Duration::ZERO } else { Duration::new(self.sec as u64, self.nsec.min(999_999_999)) }
    }
}
