//! When to connect, and when HTTP has to do.

use std::time::Duration;

/// A socket that is not open by then has to be done without for the time being.
const GRACE: Duration = Duration::from_millis(1500);
/// Two failures within this time turn to HTTP.
const FAILURE_SPAN: Duration = Duration::from_secs(30);
/// For how long HTTP is used then; doubled as long as no socket ever opens.
const HTTP_SPAN: Duration = Duration::from_secs(60);
const HTTP_SPAN_MAX: Duration = Duration::from_secs(3600);

/// A session that lived so long was a good one; its loss is not held against the next.
const STEADY: Duration = Duration::from_secs(20);

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// How long to wait before try number `attempt` (from 0): 100 ms doubled each time, at most 10 s, less up to a half so that
/// the clients of a server that comes back do not come all at once.
pub fn backoff(attempt: u32, random: u64) -> Duration {
    let full = BACKOFF_FIRST.saturating_mul(1 << attempt.min(10)).min(BACKOFF_MAX);
    full - full.mul_f64((random % 1024) as f64 / 2048.0)
}

/// Whether and when to try a WebSocket.
#[derive(Debug)]
pub(super) struct SocketPolicy {
    allowed: bool,
    retry_at: Duration,
    losses: u32,
    opened_at: Duration,
    last_failure: Option<Duration>,
    ever_open: bool,
    http_spans: u32,
}

impl SocketPolicy {
    pub(super) fn new(allowed: bool) -> Self {
        Self {
            allowed,
            retry_at: Duration::ZERO,
            losses: 0,
            opened_at: Duration::ZERO,
            last_failure: None,
            ever_open: false,
            http_spans: 0,
        }
    }

    /// Whether it is time to connect.
    pub(super) fn connect_now(&self, now: Duration) -> bool {
        self.allowed && now >= self.retry_at
    }

    /// When it will be.
    pub(super) fn connect_at(&self) -> Option<Duration> {
        self.allowed.then_some(self.retry_at)
    }

    /// Whether this store ever accepted a session.
    pub(super) fn ever_open(&self) -> bool {
        self.ever_open
    }

    /// Until when requests wait for a socket that began to connect at `since`. Only the first connection is waited for:
    /// later, somebody may be standing still.
    pub(super) fn grace(&self, since: Duration) -> Duration {
        if self.ever_open || self.last_failure.is_some() { since } else { since + GRACE }
    }

    /// The server accepted a session.
    pub(super) fn opened(&mut self, now: Duration) {
        self.ever_open = true;
        self.opened_at = now;
        self.last_failure = None;
        self.http_spans = 0;
    }

    /// The server asked to come back later.
    pub(super) fn sent_away(&mut self, now: Duration, reconnect_after: Duration) {
        self.retry_at = now + reconnect_after.min(BACKOFF_MAX);
    }

    /// An open session was lost.
    pub(super) fn lost(&mut self, now: Duration, random: u64) {
        if now.saturating_sub(self.opened_at) > STEADY {
            self.losses = 0;
        }
        self.retry_at = self.retry_at.max(now + backoff(self.losses, random));
        self.losses += 1;
    }

    /// No session came about.
    pub(super) fn failed(&mut self, now: Duration, random: u64) {
        self.retry_at = self.retry_at.max(now + backoff(self.losses, random));
        self.losses += 1;
        let twice = self.last_failure.is_some_and(|before| now.saturating_sub(before) < FAILURE_SPAN);
        if twice {
            let span = HTTP_SPAN.saturating_mul(1 << self.http_spans.min(10)).min(HTTP_SPAN_MAX);
            self.retry_at = now + span;
            self.http_spans += u32::from(!self.ever_open);
        }
        self.last_failure = Some(now);
    }

    /// The network is said to be back.
    pub(super) fn retry_now(&mut self) {
        self.retry_at = Duration::ZERO;
        self.losses = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_in_a_row_turn_to_http_for_longer_and_longer() {
        let mut policy = SocketPolicy::new(true);
        let mut now = Duration::from_secs(1);
        policy.failed(now, 0);
        assert_eq!(policy.connect_at(), Some(now + BACKOFF_FIRST));
        now += Duration::from_secs(1);
        policy.failed(now, 0);
        assert_eq!(policy.connect_at(), Some(now + HTTP_SPAN));
        now += HTTP_SPAN;
        assert!(policy.connect_now(now));
        policy.failed(now, 0);
        policy.failed(now + Duration::from_secs(1), 0);
        assert_eq!(policy.connect_at(), Some(now + Duration::from_secs(1) + HTTP_SPAN * 2));
        policy.retry_now();
        assert!(policy.connect_now(now));
    }

    #[test]
    fn a_lost_session_is_reconnected_soon() {
        let mut policy = SocketPolicy::new(true);
        policy.opened(Duration::from_secs(1));
        policy.lost(Duration::from_secs(5), 1023);
        let at = policy.connect_at().expect("sockets are allowed");
        assert!(at > Duration::from_secs(5) && at <= Duration::from_millis(5100), "{at:?}");
    }

    #[test]
    fn delays_grow_to_ten_seconds() {
        assert_eq!(backoff(0, 0), Duration::from_millis(100));
        assert_eq!(backoff(3, 0), Duration::from_millis(800));
        assert_eq!(backoff(40, 0), Duration::from_secs(10));
        assert!(backoff(40, 1023) > Duration::from_secs(5));
    }
}
