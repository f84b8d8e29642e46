//! The VM's small single-threaded runtime: everything above it waits with these types, nothing below it waits at all.
//!
//! - [`Io`]: the result of an operation that usually finishes at once and sometimes waits.
//! - [`Executor`]: polls tasks in turns; woken tasks go before tasks that only gave up their turn.
//! - [`WaitQueue`]: broadcast and wake-one waiting, deregistered on drop.
//! - [`Timers`]: deadlines on the injected [`Clock`].
//! - [`Mutex`]: a fair async mutex for data that must stay locked across an await.
//!
//! Nothing here reads a real clock or spawns a thread: the host owns both and calls in.

mod clock;
mod executor;
mod io;
mod mutex;
mod timer;
mod wait;

pub use clock::{Clock, ManualClock};
pub use executor::{Executor, Turn, yield_now};
pub use io::{Either, Io, first_of};
pub use mutex::{Mutex, MutexGuard};
pub use timer::{Sleep, Timers};
pub use wait::{Wait, WaitQueue};
