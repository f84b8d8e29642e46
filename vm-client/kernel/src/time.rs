//! Guest time: one clock for RDTSC, the vDSO and the calls, and the timers of processes.

mod clock;
mod itimer;
mod posix_timer;
mod restart;

pub use clock::GuestClock;
pub use itimer::{IntervalTimer, ItimerKind};
pub use posix_timer::{Notify, PosixTimer};
pub use restart::RestartBlock;
