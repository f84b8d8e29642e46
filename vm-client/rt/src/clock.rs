//! Time as a parameter.

use std::cell::Cell;
use std::time::Duration;

/// A source of time, injected by the host.
pub trait Clock {
    /// Time since an arbitrary fixed point; never goes back.
    fn monotonic(&self) -> Duration;
    /// Time since the Unix epoch; may be set, so it may go back.
    fn realtime(&self) -> Duration;
}

/// A clock that moves only when told to, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: Cell<Duration>,
}

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.now.get()
    }

    fn realtime(&self) -> Duration {
        Duration::from_secs(1_700_000_000) + self.now.get()
    }
}
