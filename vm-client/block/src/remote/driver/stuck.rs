//! What is done when somebody stands still and nothing comes.
//!
//! - One object is late while others come: it is asked for over HTTP as well (a request that got lost on a connection that
//!   lives is answered by nobody).
//! - Nothing comes at all: probes find out whether the network is there. Once it is back, whatever was begun before is begun
//!   anew, for a connection that outlived the gap may be dead at its other end.

use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use block_proto::{Hash, MAX_OBJECT, key};

use super::super::host::{CacheMode, Network};
use super::super::probe::{Finding, Probe, SILENCE};
use super::super::status::Link;
use super::{Driver, Place, Want, Wire};

/// How long an object may be owed by a socket before HTTP is tried beside it; doubled by each [`Driver::caution`].
const LATE: Duration = Duration::from_secs(2);
/// Objects that a socket may be overtaken on by HTTP before it counts as dead.
const OVERTAKEN: u32 = 3;
/// An HTTP request is begun anew only when it is so old; doubled each time.
const OLD: Duration = Duration::from_millis(700);

impl<N: Network + 'static> Driver<N> {
    /// Something came.
    pub(super) fn heard(&mut self) {
        self.heard_at = self.now();
        self.probe.not_needed();
    }

    /// Since when somebody waits and nothing came, if so.
    fn silent_since(&self) -> Option<Duration> {
        let oldest = self.wants.values().filter(|want| want.demand).map(|want| want.since).min()?;
        Some(oldest.max(self.heard_at))
    }

    /// How long an object may take over a socket. Where everything is slow, giving up on what is under way only makes it
    /// slower: each time doubles this, until an object comes soon.
    fn late(&self) -> Duration {
        LATE * (1 << self.caution.min(5))
    }

    /// A demanded object came after so long a wait.
    pub(super) fn waited(&mut self, wait: Duration) {
        if wait < SILENCE {
            self.caution = 0;
        }
    }

    /// When the next look around is due. In silence only probes are: what is late then cannot be helped before one of them
    /// comes back, so its time, long past, must not be waited for.
    pub(super) fn stuck_deadline(&self, now: Duration) -> Option<Duration> {
        let silent = self.silent_since()? + SILENCE;
        if now >= silent {
            return Some(self.probe.deadline());
        }
        let late = self.late();
        let owed = self.wants.values().filter(|want| self.is_owed(want)).map(|want| want.since + late);
        owed.chain([silent]).min()
    }

    /// Whether a want is demanded of a socket that took it.
    fn is_owed(&self, want: &Want) -> bool {
        want.demand && matches!(want.place, Place::Session) && matches!(self.wire, Wire::Up { accepted: true, .. })
    }

    /// Does what is due; tells whether anything moved.
    pub(super) fn look_around(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.now();
        let Some(since) = self.silent_since() else {
            self.probe = Probe::default();
            return false;
        };
        if now < since + SILENCE {
            return self.overtake(now);
        }
        if self.probe.is_due(now) {
            let url = self.bases.url(0, &key::object(&self.manifest));
            let network = Rc::clone(&self.host.network);
            let answer = Box::pin(async move { network.get(&url, CacheMode::Reload, MAX_OBJECT).await });
            self.probe.begin(now, answer);
        }
        match self.probe.poll(now, cx) {
            None => return false,
            Some(Finding::There) => {
                self.restart(now);
                self.overtake(now);
            }
            Some(Finding::Back { away_until }) => {
                self.network_is_back(since, away_until);
                self.restart(now);
            }
            // One may get lost on a slow or crowded way.
            Some(Finding::Away { times: 1, .. }) => {}
            Some(Finding::Away { why, .. }) => {
                self.shared.trouble(why);
                self.shared.set_link(Link::Offline { since });
            }
        }
        true
    }

    /// Asks over HTTP for what a living socket does not bring.
    fn overtake(&mut self, now: Duration) -> bool {
        let late = self.late();
        let owed = self.wants.iter().filter(|(_, want)| self.is_owed(want) && now >= want.since + late);
        let owed: Vec<Hash> = owed.map(|(hash, _)| *hash).collect();
        for hash in &owed {
            self.session.cancel(hash);
            if let Some(want) = self.wants.get_mut(hash) {
                want.place = Place::HttpQueue;
                want.overtaking = true;
            }
        }
        self.caution += u32::from(!owed.is_empty());
        !owed.is_empty()
    }

    /// An object came over HTTP.
    pub(super) fn overtook(&mut self, hash: &Hash) {
        if !self.wants.get(hash).is_some_and(|want| want.overtaking) {
            return;
        }
        let Wire::Up { overtaken, .. } = &mut self.wire else { return };
        *overtaken += 1;
        if *overtaken >= OVERTAKEN {
            self.hang_up(Some((4408, "no answers")), "objects come over HTTP and not over this connection");
        }
    }

    /// Begins anew what may have died with the network.
    fn network_is_back(&mut self, silent_since: Duration, away_until: Duration) {
        let now = self.now();
        match self.wire {
            Wire::Up { .. } if now < silent_since + self.late() => {}
            Wire::Up { .. } => self.hang_up(Some((4408, "silent")), "silent since the network was away"),
            Wire::Connecting { since, .. } if since < away_until => self.wire = Wire::Down,
            _ => {}
        }
        self.caution += 1;
        self.policy.retry_now();
        for want in self.wants.values_mut().filter(|want| matches!(want.place, Place::Delay { .. })) {
            want.place = Place::Delay { until: now };
        }
    }

    /// Begins HTTP requests anew that are not answered although the network answers.
    fn restart(&mut self, now: Duration) {
        for want in self.wants.values_mut().filter(|want| want.demand) {
            if let Place::Http { since, .. } = want.place
                && now >= since + OLD * (1 << want.trial.restarts.min(6))
            {
                want.trial.restarts += 1;
                want.place = Place::HttpQueue;
            }
        }
    }
}
