//! A future that is usually finished already.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The result of an operation that usually finishes at once and sometimes waits.
///
/// Only the open (dynamically dispatched) edges of the VFS use it: a page-cache hit costs no allocation there, a miss
/// costs one box.
pub enum Io<'a, T> {
    /// Finished; `None` once the value was taken.
    Ready(Option<T>),
    /// Still waiting.
    Later(Pin<Box<dyn Future<Output = T> + 'a>>),
}

impl<T> Unpin for Io<'_, T> {}

impl<'a, T> Io<'a, T> {
    /// Wraps a value that is there already.
    pub fn ready(value: T) -> Self {
        Io::Ready(Some(value))
    }

    /// Wraps a future that has to be waited for.
    pub fn later(future: impl Future<Output = T> + 'a) -> Self {
        Io::Later(Box::pin(future))
    }
}

impl<T> Future for Io<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut *self {
            Io::Ready(value) => Poll::Ready(value.take().expect("a future is not polled after completion")),
            Io::Later(future) => future.as_mut().poll(cx),
        }
    }
}

/// Which of two futures finished first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

/// Waits for whichever finishes first and drops the other. The first is looked at first.
pub async fn first_of<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> Either<A, B> {
    let mut a = std::pin::pin!(a);
    let mut b = std::pin::pin!(b);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(value) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::First(value));
        }
        b.as_mut().poll(cx).map(Either::Second)
    })
    .await
}
