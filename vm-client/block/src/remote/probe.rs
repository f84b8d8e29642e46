//! Finding out whether the network is there, while somebody stands still for it.
//!
//! A connection whose other end has gone looks like one that is slow, and delays between tries grow; so while nothing comes,
//! one small request after the other is made. The first that is answered tells that the network is back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::host::{HttpReply, NetError};

/// How long nothing may come before it is asked whether the network is there.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
/// Time for a probe to be answered.
const LIMIT: Duration = Duration::from_secs(1);
/// Time between the beginnings of two. Browsers send requests over connections that they kept, of which each may be dead:
/// so the next one does not wait for the end of the last.
const SPACING: Duration = Duration::from_millis(400);
/// The next one after one that came back, well or not.
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
    under_way: VecDeque<(Duration, Answer)>,
    next_at: Duration,
    failed_at: Duration,
    failures: u32,
}

impl Probe {
    /// Something came by other means.
    pub(super) fn not_needed(&mut self) {
        self.under_way.clear();
        (self.next_at, self.failures) = (Duration::ZERO, 0);
    }

    /// Whether it is time for a probe.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.next_at
    }

    pub(super) fn begin(&mut self, now: Duration, answer: Answer) {
        self.under_way.push_back((now, answer));
        self.next_at = now + SPACING;
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Duration {
        let oldest = self.under_way.front().map(|(since, _)| *since + LIMIT);
        oldest.map_or(self.next_at, |end| end.min(self.next_at))
    }

    /// Looks at the probes under way; what it returns is news.
    pub(super) fn poll(&mut self, now: Duration, cx: &mut Context<'_>) -> Option<Finding> {
        let (mut failed, mut answered) = (None, false);
        self.under_way.retain_mut(|(since, answer)| {
            let why = match answer.as_mut().poll(cx) {
                // A gateway answers for a server that is away, too.
                Poll::Ready(Ok(reply)) if reply.status < 500 => {
                    answered = true;
                    return false;
                }
                Poll::Ready(Ok(reply)) => format!("status {}", reply.status),
                Poll::Ready(Err(error)) => error.to_string(),
                Poll::Pending if now >= *since + LIMIT => "the server does not answer".to_owned(),
                Poll::Pending => return true,
            };
            failed = Some(why);
            false
        });
        if answered {
            let away_until = (self.failures > 0).then_some(self.failed_at);
            self.not_needed();
            self.next_at = now + PAUSE;
            return Some(away_until.map_or(Finding::There, |away_until| Finding::Back { away_until }));
        }
        let why = failed?;
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        if self.under_way.is_empty() {
            self.next_at = self.next_at.max(now + PAUSE);
        }
        Some(Finding::Away { times: self.failures, why })
    }
}
