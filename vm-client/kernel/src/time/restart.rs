//! How restart_syscall(2) goes on with a call that a stop or an ignored signal interrupted.

use std::time::Duration;

/// The progress of an interrupted call that must not start from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartBlock {
    /// nanosleep(2) and clock_nanosleep(2) with a relative time.
    Nanosleep {
        /// Clock number.
        clock: i32,
        /// When to wake, on guest monotonic time.
        deadline: Duration,
        /// Where the remaining time goes; 0 for nowhere.
        remaining: u64,
        /// Whether the `timespec` there has 64-bit seconds.
        wide: bool,
    },
    /// poll(2) with a timeout.
    Poll {
        /// Address of the `pollfd` array.
        fds: u64,
        /// Its length.
        count: u32,
        /// When to give up, on guest monotonic time.
        deadline: Duration,
    },
    /// FUTEX_WAIT with a relative timeout.
    FutexWait {
        /// Address of the word.
        addr: u64,
        /// What it has to hold.
        value: u32,
        /// Which wakes are meant for this waiter.
        bits: u32,
        /// FUTEX_PRIVATE_FLAG or 0.
        private: u32,
        /// When to give up, on guest monotonic time.
        deadline: Duration,
    },
}
