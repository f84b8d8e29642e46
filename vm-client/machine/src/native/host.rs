//! Time and chance from the operating system.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vm_kernel::host::Entropy;
use vm_rt::Clock;

/// The operating system's clocks.
pub struct OsClock {
    start: Instant,
}

impl Default for OsClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for OsClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn realtime(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// The operating system's random bytes.
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system has random bytes");
    }
}
