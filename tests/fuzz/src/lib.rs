//! Fuzzing of everything that arrives from a store, a disk or the network; `README.md` says how.
//!
//! A target takes any bytes and may not panic: [`TARGETS`] names them. `libfuzzer` makes up bytes; inputs that are worth
//! keeping are in `corpus`, and `tests/corpus.rs` gives each of them to its target again, with the stable toolchain.

mod answers;
mod frames;
mod image;
mod objects;
mod session;
mod tags;
mod tokens;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What is given the bytes.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 8] = [
    ("frames", frames::frames),
    ("envelopes", objects::envelopes),
    ("manifests", objects::manifests),
    ("tokens", tokens::tokens),
    ("signed_tags", tags::signed_tags),
    ("server_session", session::server_session),
    ("ext2_image", image::ext2_image),
    ("plain_answers", answers::plain_answers),
];

/// Finds a target.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(other, _)| *other == name).map(|(_, target)| *target)
}

/// Polls a future whose devices never wait; `None` if it waits all the same.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(value);
        }
    }
    None
}

/// Makes a value of any bytes, as far as they go.
fn made<'a, T: arbitrary::Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(arbitrary::Unstructured::new(data)).ok()
}
