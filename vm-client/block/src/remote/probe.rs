//! Finding out whether the network is there, while somebody stands still for it.
//!
//! A connection whose other end has gone looks like one that is slow, and delays between tries grow; so while nothing comes,
//! one small request after the other is made, each on its own. The first that is answered tells that the network is back,
//! within [`LIMIT`] and a round trip.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::host::{HttpReply, NetError};

/// How long nothing may come before it is asked whether the network is there.
pub(super) const SILENCE: Duration = Duration::from_millis(1500);
/// Time for a probe to be answered.
const LIMIT: Duration = Duration::from_secs(1);
/// Time between one that failed at once and the next.
const PAUSE: Duration = Duration::from_millis(800);

type Answer = Pin<Box<dyn Future<Output = Result<HttpReply, NetError>>>>;

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The network is there, and was all the time.
    There,
    /// It is there again; it was seen to be away until this time.
    Back { away_until: Duration },
    /// It is away.
    Away {
        /// So many probes in a row were not answered.
        times: u32,
        /// What came of the last.
        why: String,
    },
}

#[derive(Default)]
pub(super) struct Probe {
    under_way: Option<(Duration, Answer)>,
    next_at: Duration,
    failed_at: Duration,
    failures: u32,
}

impl Probe {
    /// Something came by other means.
    pub(super) fn not_needed(&mut self) {
        *self = Self::default();
    }

    /// Whether it is time for a probe.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.under_way.is_none() && now >= self.next_at
    }

    pub(super) fn begin(&mut self, now: Duration, answer: Answer) {
        self.under_way = Some((now, answer));
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Duration {
        self.under_way.as_ref().map_or(self.next_at, |(since, _)| *since + LIMIT)
    }

    /// Looks at the probe under way.
    pub(super) fn poll(&mut self, now: Duration, cx: &mut Context<'_>) -> Option<Finding> {
        let (since, answer) = self.under_way.as_mut()?;
        let late = now >= *since + LIMIT;
        match answer.as_mut().poll(cx) {
            // A gateway answers for a server that is away, too.
            Poll::Ready(Ok(reply)) if reply.status < 500 => {
                self.under_way = None;
                self.next_at = now + SILENCE;
                let finding = match self.failures {
                    0 => Finding::There,
                    _ => Finding::Back { away_until: self.failed_at },
                };
                self.failures = 0;
                Some(finding)
            }
            Poll::Ready(Ok(reply)) => Some(self.failed(now, now + PAUSE, format!("status {}", reply.status))),
            Poll::Ready(Err(error)) => Some(self.failed(now, now + PAUSE, error.to_string())),
            Poll::Pending if late => Some(self.failed(now, now, "the server does not answer".to_owned())),
            Poll::Pending => None,
        }
    }

    fn failed(&mut self, now: Duration, next_at: Duration, why: String) -> Finding {
        self.under_way = None;
        self.next_at = next_at;
        self.failed_at = now;
        self.failures = self.failures.saturating_add(1);
        Finding::Away { times: self.failures, why }
    }
}
