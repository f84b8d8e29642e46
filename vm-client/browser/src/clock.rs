//! Time and chance from JavaScript.

use std::cell::Cell;
use std::time::Duration;

use vm_kernel::host::Entropy;
use vm_rt::Clock;

use crate::host::Host;

/// How far the wall clock may be from the monotonic one before it counts as set.
const STEP_MS: f64 = 20.0;

/// The clocks of the browser.
///
/// `Date.now` has whole milliseconds, so the wall clock is the monotonic one plus an offset that is read again only when
/// the two have come apart (the computer slept, or somebody set its clock).
pub struct BrowserClock {
    host: Host,
    offset_ms: Cell<f64>,
}

impl BrowserClock {
    /// Reads both clocks.
    pub fn new(host: &Host) -> Self {
        Self { host: host.clone(), offset_ms: Cell::new(host.wall_clock() - host.now()) }
    }
}

impl Clock for BrowserClock {
    fn monotonic(&self) -> Duration {
        duration(self.host.now())
    }

    fn realtime(&self) -> Duration {
        let now = self.host.now();
        let offset = self.host.wall_clock() - now;
        if (offset - self.offset_ms.get()).abs() > STEP_MS {
            self.offset_ms.set(offset);
        }
        duration(now + self.offset_ms.get())
    }
}

fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

/// `crypto.getRandomValues`.
pub struct BrowserEntropy(pub Host);

impl Entropy for BrowserEntropy {
    fn fill(&self, buf: &mut [u8]) {
        self.0.random(buf);
    }
}
