//! The guest's clock.
//!
//! Guest time is host time, refined between two readings of a coarse host clock (browsers step by 0.1 ms) by the number of
//! instructions retired since. It never goes back and no two readings are equal.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use linux_abi::time::Timespec;
use vm_rt::Clock;

/// The finest step a host clock is taken to have before one was seen.
const COARSEST_STEP: u64 = 1_000_000;
/// Instructions a second assumed before the speed was measured.
const FIRST_SPEED: u64 = 50_000_000;
/// Guest time is measured over at least this much host time.
const MEASURE_NS: u64 = 2_000_000;
/// A difference between the host's two clocks beyond this means that one was set.
const CLOCK_STEP_NS: i128 = 100_000_000;

/// One source of time for everything in the guest.
pub struct GuestClock {
    host: Rc<dyn Clock>,
    boot: Duration,
    /// Host time since boot at the last reading that differed from the one before.
    reading: Cell<u64>,
    /// Instructions retired by then.
    retired_at_reading: Cell<u64>,
    /// Instructions retired by all tasks.
    retired: Cell<u64>,
    /// The last value handed out.
    last: Cell<u64>,
    /// The smallest step seen in the host clock.
    step: Cell<u64>,
    /// Instructions a second.
    speed: Cell<u64>,
    measured: Cell<(u64, u64)>,
    /// Real time minus guest monotonic time.
    offset: Cell<i128>,
    /// What clock_settime(2) added.
    adjustment: Cell<i128>,
}

impl GuestClock {
    /// A clock that starts at zero now.
    pub fn new(host: Rc<dyn Clock>) -> Self {
        let boot = host.monotonic();
        let offset = host.realtime().as_nanos() as i128;
        Self {
            host,
            boot,
            reading: Cell::new(0),
            retired_at_reading: Cell::new(0),
            retired: Cell::new(0),
            last: Cell::new(0),
            step: Cell::new(COARSEST_STEP),
            speed: Cell::new(FIRST_SPEED),
            measured: Cell::new((0, 0)),
            offset: Cell::new(offset),
            adjustment: Cell::new(0),
        }
    }

    /// Nanoseconds since boot; larger than every value handed out before. Also the time stamp counter (1 GHz).
    pub fn now_ns(&self) -> u64 {
        let host = self.host_ns();
        let estimate = if host > self.reading.get() {
            self.step.set(self.step.get().min(host - self.reading.get()));
            self.reading.set(host);
            self.retired_at_reading.set(self.retired.get());
            host
        } else {
            let since = self.retired.get().saturating_sub(self.retired_at_reading.get());
            let ns = (u128::from(since) * 1_000_000_000 / u128::from(self.speed.get())) as u64;
            // Never ahead of where the host clock steps to next.
            self.reading.get() + ns.min(self.step.get() - 1)
        };
        let now = estimate.max(self.last.get() + 1);
        self.last.set(now);
        now
    }

    /// Time since boot (CLOCK_MONOTONIC).
    pub fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.now_ns())
    }

    /// Time since the Unix epoch (CLOCK_REALTIME).
    pub fn realtime(&self) -> Timespec {
        let ns = self.now_ns() as i128 + self.realtime_offset_ns();
        let sec = ns.div_euclid(1_000_000_000);
        Timespec { sec: sec as i64, nsec: ns.rem_euclid(1_000_000_000) as u32 }
    }

    /// Real time minus monotonic time, nanoseconds.
    pub fn realtime_offset_ns(&self) -> i128 {
        self.offset.get() + self.adjustment.get()
    }

    /// Sets the real time of the guest; the host's stays.
    pub(crate) fn set_realtime(&self, to: Timespec) {
        let wanted = i128::from(to.sec) * 1_000_000_000 + i128::from(to.nsec);
        self.adjustment.set(wanted - self.now_ns() as i128 - self.offset.get());
    }

    /// Follows the host when its real time was set; tells whether it was.
    pub(crate) fn follow_host(&self) -> bool {
        let offset = self.host.realtime().as_nanos() as i128 - i128::from(self.host_ns());
        let stepped = (offset - self.offset.get()).abs() > CLOCK_STEP_NS;
        if stepped {
            self.offset.set(offset);
        }
        stepped
    }

    /// The host's monotonic time for a guest one.
    pub(crate) fn to_host(&self, guest: Duration) -> Duration {
        self.boot + guest
    }

    /// The resolution reported by clock_getres(2).
    pub fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    /// Host time since boot, as coarse as the host has it.
    pub(crate) fn host_ns(&self) -> u64 {
        self.host.monotonic().saturating_sub(self.boot).as_nanos() as u64
    }

    /// Counts instructions that a task has just retired.
    #[inline]
    pub(crate) fn add_retired(&self, instructions: u64) {
        self.retired.set(self.retired.get() + instructions);
    }

    /// Instructions retired by all tasks.
    pub fn retired(&self) -> u64 {
        self.retired.get()
    }

    /// Takes one run of guest code into the measured speed.
    pub(crate) fn measure(&self, host_ns: u64, instructions: u64) {
        let (ns, count) = self.measured.get();
        let (ns, count) = (ns + host_ns, count + instructions);
        if ns < MEASURE_NS {
            self.measured.set((ns, count));
            return;
        }
        self.measured.set((0, 0));
        let seen = (u128::from(count) * 1_000_000_000 / u128::from(ns)) as u64;
        // Half old, half new: quick to follow, no jumps from one slow slice.
        self.speed.set(((self.speed.get() + seen) / 2).clamp(100_000, 20_000_000_000));
    }

    /// How long this many instructions take, nanoseconds.
    pub(crate) fn ns_for(&self, instructions: u64) -> u64 {
        (u128::from(instructions) * 1_000_000_000 / u128::from(self.speed.get())) as u64
    }

    /// How many instructions take this long.
    pub(crate) fn instructions_in(&self, time: Duration) -> u32 {
        let count = u128::from(self.speed.get()) * time.as_nanos() / 1_000_000_000;
        count.clamp(1_000, 100_000_000) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_rt::ManualClock;

    fn clock() -> (Rc<ManualClock>, GuestClock) {
        let host = Rc::new(ManualClock::default());
        (Rc::clone(&host), GuestClock::new(host))
    }

    #[test]
    fn readings_differ_while_the_host_clock_stands_still() {
        let (host, clock) = clock();
        let mut last = clock.now_ns();
        for step in 0..10_000 {
            if step % 1000 == 0 {
                host.advance(Duration::from_micros(100));
            }
            let now = clock.now_ns();
            assert!(now > last);
            last = now;
        }
        assert!(last < 1_100_000, "{last} ran ahead of the host");
    }

    #[test]
    fn retired_instructions_fill_the_steps() {
        let (host, clock) = clock();
        host.advance(Duration::from_micros(100));
        let start = clock.now_ns();
        clock.add_retired(FIRST_SPEED / 1_000_000 * 50);
        let middle = clock.now_ns();
        assert!((49_000..=51_000).contains(&(middle - start)), "{start} {middle}");
        clock.add_retired(FIRST_SPEED);
        assert!(clock.now_ns() <= start + 100_000);
        host.advance(Duration::from_micros(100));
        assert!(clock.now_ns() >= start + 100_000);
    }
}
