//! What the invocations of one isolate share: verified bytes and counts, never promises or bindings.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use block_proto::limit::{Limiter, Rate};

use crate::memory::Memory;

/// A session that was not heard of for so long is gone, whether or not the platform told us.
const SEAT_TIMEOUT: Duration = Duration::from_secs(180);
/// FRESH reads of an address: so many a second, and so many at once, as block-server has it. Each costs a read of the store.
const FRESH: (f64, f64) = (5.0, 200.0);
/// Addresses told apart.
const ADDRESSES: usize = 4096;

struct Isolate {
    memory: Memory,
    /// WebSocket sessions, and when each was heard of.
    seats: HashMap<u64, Duration>,
    next_seat: u64,
    fresh: Limiter<String>,
}

thread_local! {
    static ISOLATE: RefCell<Isolate> = RefCell::new(Isolate {
        memory: Memory::new(0),
        seats: HashMap::new(),
        next_seat: 1,
        fresh: Limiter::new(Rate::new(FRESH.0, FRESH.1), ADDRESSES),
    });
}

/// Works with the objects in memory.
pub fn memory<T>(work: impl FnOnce(&mut Memory) -> T) -> T {
    ISOLATE.with_borrow_mut(|isolate| work(&mut isolate.memory))
}

/// The time since 1970, as the platform tells it: it stands still while a Worker computes.
pub fn now() -> Duration {
    Duration::from_millis(worker::Date::now().as_millis())
}

/// Takes a seat for a session if fewer than `most` are taken; returns its number and how many there are with it.
pub fn sit_down(now: Duration, most: usize) -> Option<(u64, usize)> {
    ISOLATE.with_borrow_mut(|isolate| {
        if isolate.seats.len() >= most {
            isolate.seats.retain(|_, heard| now.saturating_sub(*heard) < SEAT_TIMEOUT);
        }
        if isolate.seats.len() >= most {
            return None;
        }
        let seat = isolate.next_seat;
        isolate.next_seat += 1;
        isolate.seats.insert(seat, now);
        Some((seat, isolate.seats.len()))
    })
}

/// A session was heard of.
pub fn still_seated(seat: u64, now: Duration) {
    ISOLATE.with_borrow_mut(|isolate| isolate.seats.insert(seat, now));
}

/// A session ended.
pub fn stand_up(seat: u64) {
    ISOLATE.with_borrow_mut(|isolate| isolate.seats.remove(&seat));
}

/// Lets an address have one more object read past all caches, or tells when it may.
pub fn take_fresh(now: Duration, address: &str) -> Result<(), Duration> {
    ISOLATE.with_borrow_mut(|isolate| isolate.fresh.take(now, &address.to_owned(), 1.0))
}
