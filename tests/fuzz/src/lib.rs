//! Fuzzing of everything that arrives from a store, a disk or the network, with libFuzzer; `README.md` says how.
//!
//! The targets are in `fuzz_targets`: `frames` (messages), `objects` (envelopes, manifests, sections, tags, names),
//! `server_session` (any sequence of messages), `signed_tags`, `ext2_image` (mutated file systems) and `plain_answers` (web
//! servers of disks without a manifest). The crate is a workspace of its own, since it needs a nightly toolchain.

mod answers;
mod image;

pub use answers::plain_answers;
pub use image::ext2_image;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

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
