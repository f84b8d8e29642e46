//! The client's end, as a state machine that outlives its connections.
//!
//! It holds the set of wanted objects. Over whichever connection is there it asks for them, demand before prefetch, keeps
//! the server within its byte credit, and after a loss asks again for what is still wanted. Bytes come out unverified; the
//! owner verifies and then calls [`ClientSession::consumed`].

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::frame::{
    ClientFrame, ErrorCode, GoAwayReason, Hello, MAX_BATCH, ServerFrame, Tier, Touch, VERSION, Welcome,
};
use crate::{Hash, MAX_OBJECT};

mod flow;

#[cfg(test)]
mod path;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use flow::Flow;

/// Time for WELCOME to come.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence while answers are owed, after which a sign of life is asked for.
const STALL: Duration = Duration::from_secs(5);
/// Silence after which a sign of life is asked for anyway; below the 100 s at which edge servers close.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// Silence after a PING before the connection counts as dead.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the round-trip time is looked at while objects come.
const RTT_EVERY: Duration = Duration::from_secs(10);
/// Touches in a PROFILE message, which must be short.
const TOUCHES: usize = 512;
/// PROFILE messages of a boot.
const PROFILES: usize = 2;

/// What a session is for.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The image.
    pub manifest: Hash,
    /// Permission, if the image is private.
    pub token: Bytes,
    /// Bytes the server may send ahead at first.
    pub window: u32,
    /// How far the window may grow on fast, long paths.
    pub window_max: u32,
}

impl ClientConfig {
    /// The usual settings for a public image.
    pub fn new(manifest: Hash) -> Self {
        Self { manifest, token: Bytes::new(), window: 2 << 20, window_max: 8 << 20 }
    }
}

/// How urgently an object is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody stands still for it.
    Demand,
    /// It will probably be wanted soon.
    ReadAhead,
    /// It is in the boot profile.
    Boot,
    /// There is nothing better to do.
    Idle,
}

impl Priority {
    fn number(self) -> u8 {
        match self {
            Self::Demand => 0,
            Self::ReadAhead => 3,
            Self::Boot => 6,
            Self::Idle => 7,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server accepted the session.
    Opened {
        /// Its number for logs.
        session: u64,
    },
    /// A wanted object came; it is not verified.
    Object {
        /// What was asked for.
        hash: Hash,
        /// The stored bytes.
        envelope: Bytes,
        /// Where the server had it.
        tier: Tier,
    },
    /// A wanted object cannot be had here; it is no longer wanted from this session.
    Failed {
        /// What was asked for.
        hash: Hash,
        /// Why not.
        code: ErrorCode,
        /// When it may be worth trying again.
        retry_after: Duration,
        /// In words.
        text: String,
    },
    /// The server will close soon; nothing new is asked for over this connection.
    GoAway {
        /// Why.
        reason: GoAwayReason,
        /// When to reconnect.
        reconnect_after: Duration,
    },
    /// The server refuses the session; it will close.
    Refused {
        /// Why.
        code: ErrorCode,
        /// In words.
        text: String,
    },
    /// The connection is dead or not to be trusted: close it and call [`ClientSession::disconnected`].
    Close {
        /// The WebSocket close code.
        code: u16,
        /// In words.
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Hello { since: Duration },
    Open,
    GoingAway,
    Broken,
}

#[derive(Clone, Copy, Debug)]
struct Want {
    priority: Priority,
    queued: bool,
    /// Whether caches on the way are to be passed by.
    fresh: bool,
}

/// A hash of a request that was sent. One that was asked for again under another request is no longer `owed`, but its
/// answer may be on the way and is as good.
#[derive(Clone, Copy, Debug)]
struct Asked {
    hash: Hash,
    owed: bool,
    at: Duration,
}

/// The protocol client of one image.
pub struct ClientSession {
    config: ClientConfig,
    phase: Phase,
    welcome: Option<Welcome>,
    wants: HashMap<Hash, Want>,
    fresh: VecDeque<Hash>,
    demand: VecDeque<Hash>,
    prefetch: VecDeque<Hash>,
    asked: HashMap<(u32, u16), Asked>,
    /// Answers owed, by open request.
    owed: HashMap<u32, u16>,
    prefetch_in_flight: usize,
    next_request: u32,
    paused_until: Duration,
    flow: Flow,
    heard_at: Duration,
    ping: Option<(u64, Duration)>,
    pinged_at: Duration,
    next_ping: u64,
    rtt: Option<Duration>,
    outbox: VecDeque<ClientFrame>,
    events: VecDeque<ClientEvent>,
}

impl ClientSession {
    /// Starts without a connection.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            flow: Flow::new(config.window, config.window_max),
            config,
            phase: Phase::Down,
            welcome: None,
            wants: HashMap::new(),
            fresh: VecDeque::new(),
            demand: VecDeque::new(),
            prefetch: VecDeque::new(),
            asked: HashMap::new(),
            owed: HashMap::new(),
            prefetch_in_flight: 0,
            next_request: 1,
            paused_until: Duration::ZERO,
            heard_at: Duration::ZERO,
            ping: None,
            pinged_at: Duration::ZERO,
            next_ping: 1,
            rtt: None,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Wants an object. Wanting it more urgently than before promotes it, also when it is in flight.
    pub fn request(&mut self, hash: Hash, priority: Priority) {
        match self.wants.get_mut(&hash) {
            None => {
                let want = Want { priority, queued: true, fresh: false };
                self.wants.insert(hash, want);
                self.enqueue(hash, want);
            }
            Some(want) if priority == Priority::Demand && want.priority != Priority::Demand => {
                if !want.queued {
                    self.prefetch_in_flight = self.prefetch_in_flight.saturating_sub(1);
                }
                *want = Want { priority, queued: true, ..*want };
                let want = *want;
                self.enqueue(hash, want);
            }
            Some(_) => {}
        }
    }

    /// Wants an object on demand and from the origin, because what came before was wrong.
    pub fn request_fresh(&mut self, hash: Hash) {
        self.cancel(&hash);
        let want = Want { priority: Priority::Demand, queued: true, fresh: true };
        self.wants.insert(hash, want);
        self.enqueue(hash, want);
    }

    /// No longer wants an object.
    pub fn cancel(&mut self, hash: &Hash) {
        if self.forget(hash) {
            for (request, index) in self.requests_of(hash) {
                self.drop_asked(request, index);
                self.outbox.push_back(ClientFrame::Cancel { request, index: Some(index) });
            }
        }
    }

    /// Sets the permission that the next HELLO carries.
    pub fn set_token(&mut self, token: Bytes) {
        self.config.token = token;
    }

    /// Whether the server asked for recorded boots.
    pub fn wants_profiles(&self) -> bool {
        self.is_open() && self.welcome.is_some_and(|welcome| welcome.wants_profiles)
    }

    /// Tells the server which chunks a boot touched, in that order, if it asked for that; tells whether it did.
    pub fn report_boot(&mut self, touches: &[Touch]) -> bool {
        let wanted = self.wants_profiles();
        if wanted {
            let frames = touches.chunks(TOUCHES).take(PROFILES);
            self.outbox.extend(frames.map(|touches| ClientFrame::Profile(touches.to_vec())));
        }
        wanted
    }

    /// Whether an object is wanted.
    pub fn is_wanted(&self, hash: &Hash) -> bool {
        self.wants.contains_key(hash)
    }

    /// Whether an object was asked for over this connection and is not answered yet.
    pub fn is_in_flight(&self, hash: &Hash) -> bool {
        self.wants.get(hash).is_some_and(|want| !want.queued)
    }

    /// Objects asked for and not answered.
    pub fn in_flight(&self) -> usize {
        self.wants.values().filter(|want| !want.queued).count()
    }

    /// Whether the server accepted the session and takes requests.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// The last round-trip time measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// A connection was made: says HELLO.
    pub fn connected(&mut self, now: Duration) {
        self.disconnected();
        self.phase = Phase::Hello { since: now };
        self.heard_at = now;
        self.flow = Flow::new(self.config.window, self.config.window_max);
        self.outbox.push_back(ClientFrame::Hello(Hello {
            version_min: VERSION,
            version_max: VERSION,
            window: self.config.window,
            max_message: u32::try_from(MAX_OBJECT + crate::frame::HEADER).unwrap_or(u32::MAX),
            codecs: 0b11,
            manifest: self.config.manifest,
            token: self.config.token.clone(),
        }));
    }

    /// The connection is gone. Whatever is wanted will be asked for over the next.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Down;
        self.welcome = None;
        self.asked.clear();
        self.owed.clear();
        self.outbox.clear();
        self.ping = None;
        self.prefetch_in_flight = 0;
        self.paused_until = Duration::ZERO;
        let lost: Vec<(Hash, Want)> = self
            .wants
            .iter_mut()
            .filter_map(|(hash, want)| (!std::mem::replace(&mut want.queued, true)).then_some((*hash, *want)))
            .collect();
        lost.into_iter().for_each(|(hash, want)| self.enqueue(hash, want));
    }

    /// Takes a message of the server.
    pub fn message(&mut self, now: Duration, message: &Bytes) {
        if matches!(self.phase, Phase::Down | Phase::Broken) {
            return;
        }
        self.heard_at = now;
        match ServerFrame::parse(message) {
            Ok(frame) => {
                self.frame(now, frame);
                if self.phase == Phase::Open && self.ping.is_none() && now >= self.pinged_at + RTT_EVERY {
                    self.send_ping(now);
                }
            }
            Err(error) => self.break_off(1002, error.to_string()),
        }
    }

    /// An object that came was verified (or thrown away): the server may send as many bytes more.
    pub fn consumed(&mut self, now: Duration, envelope_len: usize) {
        if matches!(self.phase, Phase::Open | Phase::GoingAway)
            && let Some(credit) = self.flow.consumed(now, envelope_len, self.rtt)
        {
            self.outbox.push_back(ClientFrame::Credit(credit));
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Duration) {
        match self.phase {
            Phase::Hello { since } if now >= since + WELCOME_TIMEOUT => {
                self.break_off(1002, "the server does not answer HELLO".to_owned());
            }
            Phase::Open | Phase::GoingAway => match self.ping {
                // A PONG may stand behind objects on a slow path; these are signs of life, too.
                Some((_, sent)) if now >= sent.max(self.heard_at) + PONG_TIMEOUT => {
                    self.break_off(4408, "the server went silent".to_owned());
                }
                None if now >= self.heard_at + self.patience() => self.send_ping(now),
                _ => {}
            },
            _ => {}
        }
    }

    /// When [`ClientSession::tick`] or [`ClientSession::poll_transmit`] has something to do at the latest.
    pub fn deadline(&self, now: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Hello { since } => Some(since + WELCOME_TIMEOUT),
            Phase::Open | Phase::GoingAway => {
                let alive = self
                    .ping
                    .map_or(self.heard_at + self.patience(), |(_, sent)| sent.max(self.heard_at) + PONG_TIMEOUT);
                let waiting = !(self.fresh.is_empty() && self.demand.is_empty() && self.prefetch.is_empty());
                Some(if waiting && self.paused_until > now { alive.min(self.paused_until) } else { alive })
            }
            Phase::Down | Phase::Broken => None,
        }
    }

    /// The next message to send, if any.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<Vec<u8>> {
        if let Some(frame) = self.outbox.pop_front() {
            return Some(frame.emit());
        }
        if self.phase != Phase::Open || now < self.paused_until {
            return None;
        }
        self.next_get(now).map(|frame| frame.emit())
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    fn enqueue(&mut self, hash: Hash, want: Want) {
        match want {
            Want { fresh: true, .. } => self.fresh.push_back(hash),
            Want { priority: Priority::Demand, .. } => self.demand.push_back(hash),
            _ => self.prefetch.push_back(hash),
        }
    }

    fn patience(&self) -> Duration {
        if self.owed.is_empty() { KEEP_ALIVE } else { STALL }
    }

    fn send_ping(&mut self, now: Duration) {
        let value = self.next_ping;
        self.next_ping += 1;
        self.ping = Some((value, now));
        self.pinged_at = now;
        self.outbox.push_back(ClientFrame::Ping(value));
    }

    fn break_off(&mut self, code: u16, reason: String) {
        self.phase = Phase::Broken;
        self.events.push_back(ClientEvent::Close { code, reason });
    }

    fn next_get(&mut self, now: Duration) -> Option<ClientFrame> {
        let welcome = self.welcome.as_ref()?;
        let max_open = usize::from(welcome.max_open).max(1);
        let max_batch = usize::from(welcome.max_batch).clamp(1, MAX_BATCH);
        // Some open requests are kept for demand, and read-ahead may fill the path but no queue.
        let reserve = max_open / 4;
        let room = self.flow.prefetch_limit().saturating_sub(self.prefetch_in_flight).min(max_batch);
        let mut hashes = Vec::new();
        let mut priority = Priority::Demand;
        let mut fresh = false;
        if self.owed.len() < max_open {
            hashes = take_queued(&mut self.fresh, &mut self.wants, max_batch, &mut priority);
            fresh = !hashes.is_empty();
            if !fresh {
                hashes = take_queued(&mut self.demand, &mut self.wants, max_batch, &mut priority);
            }
        }
        if hashes.is_empty() && room > 0 && self.owed.len() + reserve < max_open {
            priority = Priority::Idle;
            hashes = take_queued(&mut self.prefetch, &mut self.wants, room, &mut priority);
            self.prefetch_in_flight += hashes.len();
        }
        if hashes.is_empty() {
            return None;
        }
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1).max(1);
        for hash in &hashes {
            // Only a promotion can have been asked for before.
            for (older, index) in self.requests_of(hash) {
                self.no_longer_owed(older, index);
            }
        }
        for (index, hash) in (0..).zip(&hashes) {
            self.asked.insert((request, index), Asked { hash: *hash, owed: true, at: now });
        }
        self.owed.insert(request, u16::try_from(hashes.len()).unwrap_or(u16::MAX));
        Some(ClientFrame::Get { request, priority: priority.number(), fresh, hashes })
    }

    fn requests_of(&self, hash: &Hash) -> Vec<(u32, u16)> {
        self.asked.iter().filter(|(_, asked)| asked.hash == *hash).map(|(key, _)| *key).collect()
    }

    fn no_longer_owed(&mut self, request: u32, index: u16) {
        let Some(asked) = self.asked.get_mut(&(request, index)) else { return };
        if std::mem::replace(&mut asked.owed, false) {
            let Some(owed) = self.owed.get_mut(&request) else { return };
            *owed = owed.saturating_sub(1);
            if *owed == 0 {
                self.owed.remove(&request);
            }
        }
    }

    fn drop_asked(&mut self, request: u32, index: u16) {
        self.no_longer_owed(request, index);
        self.asked.remove(&(request, index));
    }

    /// Takes an object off the wanted ones; tells whether it was one.
    fn forget(&mut self, hash: &Hash) -> bool {
        let Some(want) = self.wants.remove(hash) else { return false };
        if !want.queued && want.priority != Priority::Demand {
            self.prefetch_in_flight = self.prefetch_in_flight.saturating_sub(1);
        }
        true
    }

    fn frame(&mut self, now: Duration, frame: ServerFrame) {
        match (self.phase, frame) {
            (_, ServerFrame::Ping(value)) => self.outbox.push_back(ClientFrame::Pong(value)),
            (_, ServerFrame::Pong(value)) => {
                if let Some((_, sent)) = self.ping.take_if(|(expected, _)| *expected == value) {
                    let rtt = now.saturating_sub(sent);
                    self.rtt = Some(rtt);
                    self.flow.round_trip(now, rtt);
                }
            }
            (_, ServerFrame::Error { request: 0, code, text, .. }) => {
                self.events.push_back(ClientEvent::Refused { code, text });
            }
            (Phase::Hello { .. }, ServerFrame::Welcome(welcome)) => {
                self.phase = Phase::Open;
                self.welcome = Some(welcome);
                self.flow.cap(welcome.window_max);
                self.events.push_back(ClientEvent::Opened { session: welcome.session });
                self.send_ping(now);
            }
            (Phase::Open | Phase::GoingAway, ServerFrame::Block { request, index, envelope, tier, .. }) => {
                self.block(now, request, index, envelope, tier);
            }
            (Phase::Open | Phase::GoingAway, ServerFrame::Error { request, index, code, retry_after, text }) => {
                self.failed(now, request, index, code, retry_after, &text);
            }
            (Phase::Open | Phase::GoingAway, ServerFrame::GoAway { reason, reconnect_after_ms, .. }) => {
                self.phase = Phase::GoingAway;
                let reconnect_after = Duration::from_millis(reconnect_after_ms.into());
                self.events.push_back(ClientEvent::GoAway { reason, reconnect_after });
            }
            (_, _) => self.break_off(1002, "a frame that does not belong here".to_owned()),
        }
    }

    fn block(&mut self, now: Duration, request: u32, index: u16, envelope: Bytes, tier: Tier) {
        let asked = self.asked.get(&(request, index)).copied();
        self.flow.received(now, asked.map(|asked| asked.at), envelope.len());
        self.drop_asked(request, index);
        let wanted = asked.filter(|asked| self.forget(&asked.hash));
        let Some(Asked { hash, .. }) = wanted else {
            // Cancelled or asked for twice; the answer was on the way.
            return self.consumed(now, envelope.len());
        };
        for (other, index) in self.requests_of(&hash) {
            let owed = self.asked.get(&(other, index)).is_some_and(|asked| asked.owed);
            self.drop_asked(other, index);
            if owed {
                self.outbox.push_back(ClientFrame::Cancel { request: other, index: Some(index) });
            }
        }
        self.events.push_back(ClientEvent::Object { hash, envelope, tier });
    }

    fn failed(
        &mut self,
        now: Duration,
        request: u32,
        index: Option<u16>,
        code: ErrorCode,
        retry_after: Duration,
        text: &str,
    ) {
        let mut indices: Vec<u16> =
            self.asked.keys().filter(|(number, _)| *number == request).map(|(_, index)| *index).collect();
        indices.sort_unstable();
        for at in indices.into_iter().filter(|at| index.is_none_or(|index| index == *at)) {
            let Some(Asked { hash, owed, .. }) = self.asked.get(&(request, at)).copied() else { continue };
            self.drop_asked(request, at);
            if !owed {
                continue;
            }
            // Too much FRESH concerns nothing else: it is the owner's to wait.
            let fresh = self.wants.get(&hash).is_some_and(|want| want.fresh);
            let again = matches!(code, ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::Cancelled)
                && !(fresh && code == ErrorCode::RateLimited);
            if again {
                self.requeue(hash);
                self.paused_until = self.paused_until.max(now + retry_after);
            } else if self.forget(&hash) {
                self.events.push_back(ClientEvent::Failed { hash, code, retry_after, text: text.to_owned() });
            }
        }
    }

    fn requeue(&mut self, hash: Hash) {
        let Some(want) = self.wants.get_mut(&hash).filter(|want| !want.queued) else { return };
        want.queued = true;
        let want = *want;
        if want.priority != Priority::Demand {
            self.prefetch_in_flight = self.prefetch_in_flight.saturating_sub(1);
        }
        self.enqueue(hash, want);
    }
}

/// Takes up to `room` hashes that are still queued in this lane, and the most urgent of their priorities.
fn take_queued(
    lane: &mut VecDeque<Hash>,
    wants: &mut HashMap<Hash, Want>,
    room: usize,
    priority: &mut Priority,
) -> Vec<Hash> {
    let demand = *priority == Priority::Demand;
    let mut taken = Vec::new();
    while taken.len() < room {
        let Some(hash) = lane.pop_front() else { break };
        // Cancelled, promoted or asked for meanwhile.
        let Some(want) = wants.get_mut(&hash) else { continue };
        if want.queued && (want.priority == Priority::Demand) == demand {
            want.queued = false;
            *priority = want.priority.min(*priority);
            taken.push(hash);
        }
    }
    taken
}
