//! The server's end of one connection, as a state machine.
//!
//! Messages, read results and time go in; [`ServerSession::poll_action`] says what to read or when to close, and
//! [`ServerSession::poll_transmit`] gives the next message. The owner asks for a message only when the socket can take one,
//! so a demanded chunk overtakes read-ahead that has not left yet.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::Hash;
use crate::frame::{
    ClientFrame, ErrorCode, GoAwayReason, Hello, MAX_BATCH, ServerFrame, Tier, Touch, VERSION, Welcome,
};

mod rest;
#[cfg(test)]
mod tests;

pub use rest::RestingSession;

/// Limits of a session.
#[derive(Clone, Copy, Debug)]
pub struct ServerConfig {
    /// Time until HELLO must have come.
    pub hello_timeout: Duration,
    /// Silence after which the connection is closed.
    pub idle_timeout: Duration,
    /// Time for open requests after GOAWAY.
    pub drain_timeout: Duration,
    /// The longest message taken.
    pub max_message: usize,
    /// Requests that may be open at once.
    pub max_open: u16,
    /// Reads started at once.
    pub max_reads: usize,
    /// The most credit a client can pile up.
    pub window_max: u32,
    /// Objects a session may be good for, told in WELCOME; 0 if no limit is known. The owner keeps the count and calls
    /// [`ServerSession::go_away`].
    pub budget_chunks: u32,
    /// Recorded boots taken in a session, each as a [`ServerAction::Profile`]; 0 if the server does not want any.
    pub profiles: u16,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(5),
            max_message: 4096,
            max_open: 32,
            max_reads: 5,
            window_max: 8 << 20,
            budget_chunks: 0,
            profiles: 0,
        }
    }
}

/// What the owner of a session has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// Check that the store has this manifest and call [`ServerSession::opened`].
    Open {
        /// The manifest of HELLO.
        manifest: Hash,
        /// The token of HELLO.
        token: Bytes,
    },
    /// Read an object and call [`ServerSession::object`].
    Read {
        /// The object.
        hash: Hash,
        /// Whether somebody stands still for it.
        demand: bool,
        /// Whether every cache is to be dropped for it, and the origin read: the client found what it had to be wrong.
        fresh: bool,
    },
    /// Take note of which chunks a boot touched, if the client is to be believed. Nothing is owed for it.
    Profile {
        /// In the order of their first touch, as the client says.
        touches: Vec<Touch>,
    },
    /// Send what [`ServerSession::poll_transmit`] still gives, then close.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// In words.
        reason: String,
    },
}

/// Why an object could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The store has none of that name.
    NotFound,
    /// The stored bytes are not the object.
    Corrupt,
    /// The token does not permit it.
    Unauthorized,
    /// The source failed; the same read may work later.
    Upstream(String),
    /// Somebody asked for too much, too fast; worth trying again after this time.
    RateLimited(Duration),
    /// The session's budget is used up; comes with [`ServerSession::go_away`].
    Budget,
}

impl ReadError {
    /// The ERROR that tells a client.
    pub fn frame(&self, request: u32, index: Option<u16>) -> ServerFrame {
        ServerFrame::Error { request, index, code: self.code(), retry_after: self.retry_after(), text: self.text() }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::Corrupt => ErrorCode::Corrupt,
            Self::Unauthorized => ErrorCode::Unauthorized,
            Self::Upstream(_) => ErrorCode::Upstream,
            Self::RateLimited(_) => ErrorCode::RateLimited,
            Self::Budget => ErrorCode::Budget,
        }
    }

    fn retry_after(&self) -> Duration {
        match self {
            Self::RateLimited(after) => *after,
            _ => Duration::from_millis(500),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::NotFound => "no such object".to_owned(),
            Self::Corrupt => "the stored object is damaged".to_owned(),
            Self::Unauthorized => "not permitted".to_owned(),
            Self::Upstream(text) => text.clone(),
            Self::RateLimited(_) => "too much, too fast".to_owned(),
            Self::Budget => "the budget is used up".to_owned(),
        }
    }
}

/// What happened since the last [`ServerSession::take_stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Objects asked for on demand.
    pub demand: u64,
    /// Objects asked for ahead of need.
    pub prefetch: u64,
    /// Objects taken back before they were sent.
    pub cancelled: u64,
    /// Objects sent.
    pub blocks: u64,
    /// Bytes of envelopes sent.
    pub bytes: u64,
    /// Errors reported, by code.
    pub errors: Vec<ErrorCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hello,
    Opening,
    Open,
    Draining { until: Duration },
    Closed,
}

#[derive(Debug)]
enum Progress {
    Queued,
    Reading,
    Ready(Bytes, Tier),
}

/// One wanted object. A hash is owed at most once: asked for again, it moves to the newer request.
#[derive(Debug)]
struct Entry {
    request: u32,
    index: u16,
    demand: bool,
    /// Whether only the origin's word counts.
    fresh: bool,
    progress: Progress,
}

/// One connection, seen from the server.
pub struct ServerSession {
    config: ServerConfig,
    session: u64,
    manifest: Option<Hash>,
    phase: Phase,
    opened_at: Duration,
    heard_at: Duration,
    credit: i64,
    entries: HashMap<Hash, Entry>,
    /// Answers still owed, by request.
    owed: HashMap<u32, u16>,
    /// To be read and to be sent, demand and the rest apart. Entries that were cancelled or promoted stay behind and are
    /// recognised when they come up.
    queued: Lanes,
    ready: Lanes,
    /// Reads under way, wanted or not.
    reading: usize,
    ready_bytes: usize,
    profiles: u16,
    control: VecDeque<Vec<u8>>,
    actions: VecDeque<ServerAction>,
    stats: ServerStats,
}

/// How an object is wanted.
#[derive(Clone, Copy)]
struct Urgency {
    demand: bool,
    fresh: bool,
}

#[derive(Default)]
struct Lanes {
    demand: VecDeque<Hash>,
    prefetch: VecDeque<Hash>,
}

impl Lanes {
    fn push(&mut self, hash: Hash, demand: bool) {
        if demand { self.demand.push_back(hash) } else { self.prefetch.push_back(hash) }
    }

    fn pop(&mut self) -> Option<(Hash, bool)> {
        let demand = self.demand.pop_front().map(|hash| (hash, true));
        demand.or_else(|| self.prefetch.pop_front().map(|hash| (hash, false)))
    }
}

/// Objects read but not sent are bounded by this and by the number of reads.
const READY_LIMIT: usize = 1 << 20;

/// Short messages that may wait to be sent before the client is listened to again.
const CONTROL_LIMIT: usize = 256;

impl ServerSession {
    /// Starts a session on a connection that was just accepted. `session` is a number for logs.
    pub fn new(config: ServerConfig, session: u64, now: Duration) -> Self {
        Self {
            config,
            session,
            manifest: None,
            phase: Phase::Hello,
            opened_at: now,
            heard_at: now,
            credit: 0,
            entries: HashMap::new(),
            owed: HashMap::new(),
            queued: Lanes::default(),
            ready: Lanes::default(),
            reading: 0,
            ready_bytes: 0,
            profiles: 0,
            control: VecDeque::new(),
            actions: VecDeque::new(),
            stats: ServerStats::default(),
        }
    }

    /// Takes a binary message.
    pub fn message(&mut self, now: Duration, message: &[u8]) {
        if self.phase == Phase::Closed {
            return;
        }
        self.heard_at = now;
        if message.len() > self.config.max_message {
            let text = format!("message of {} bytes, at most {} are taken", message.len(), self.config.max_message);
            return self.fail(ErrorCode::TooLarge, text);
        }
        match ClientFrame::parse(message) {
            Ok(frame) => self.frame(frame),
            Err(error) => self.fail(ErrorCode::BadFrame, error.to_string()),
        }
    }

    /// Takes note of a text message, which the protocol does not have.
    pub fn text_message(&mut self) {
        self.fail(ErrorCode::BadFrame, "text message; the protocol is binary".to_owned());
    }

    /// Answers [`ServerAction::Open`].
    pub fn opened(&mut self, result: Result<(), ReadError>) {
        if self.phase != Phase::Opening {
            return;
        }
        match result {
            Ok(()) => {
                self.phase = Phase::Open;
                let welcome = Welcome {
                    version: VERSION,
                    max_batch: MAX_BATCH as u16,
                    max_open: self.config.max_open,
                    idle_s: u16::try_from(self.config.idle_timeout.as_secs()).unwrap_or(u16::MAX),
                    window_max: self.config.window_max,
                    budget_chunks: self.config.budget_chunks,
                    session: self.session,
                    wants_profiles: self.config.profiles > 0,
                };
                self.control.push_back(ServerFrame::Welcome(welcome).emit());
            }
            Err(ReadError::NotFound) => self.fail(ErrorCode::NotFound, "no such image".to_owned()),
            Err(error) => self.fail(error.code(), error.text()),
        }
    }

    /// Answers [`ServerAction::Read`]; `fresh` as it was there.
    pub fn object(&mut self, hash: Hash, fresh: bool, result: Result<(Bytes, Tier), ReadError>) {
        self.reading = self.reading.saturating_sub(1);
        // Cancelled meanwhile, or asked for anew and read a second time, or a cached one where only a fresh one will do.
        let wanted = |entry: &&mut Entry| matches!(entry.progress, Progress::Reading) && entry.fresh == fresh;
        let Some(entry) = self.entries.get_mut(&hash).filter(wanted) else { return };
        match result {
            Ok((envelope, tier)) => {
                self.ready_bytes += envelope.len();
                entry.progress = Progress::Ready(envelope, tier);
                self.ready.push(hash, entry.demand);
            }
            Err(error) => {
                let (request, index) = (entry.request, entry.index);
                self.entries.remove(&hash);
                self.settle(request);
                self.error(request, Some(index), error.code(), error.retry_after(), error.text());
            }
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Duration) {
        match self.phase {
            Phase::Hello if now >= self.opened_at + self.config.hello_timeout => {
                self.stats.errors.push(ErrorCode::BadFrame);
                self.close(4408, "no HELLO in time");
            }
            Phase::Draining { until } if now >= until || self.entries.is_empty() => self.close(1001, "going away"),
            Phase::Closed => {}
            _ if now >= self.heard_at + self.config.idle_timeout => self.close(1001, "idle"),
            _ => {}
        }
    }

    /// When [`ServerSession::tick`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Hello => Some(self.opened_at + self.config.hello_timeout),
            // Everything is answered: at once.
            Phase::Draining { .. } if self.entries.is_empty() => Some(self.opened_at),
            Phase::Draining { until } => Some(until.min(self.heard_at + self.config.idle_timeout)),
            Phase::Closed => None,
            Phase::Opening | Phase::Open => Some(self.heard_at + self.config.idle_timeout),
        }
    }

    /// Ends a session whose permission is over.
    pub fn revoke(&mut self) {
        self.fail(ErrorCode::Unauthorized, "the token has expired".to_owned());
    }

    /// Asks the client to go on elsewhere. What is open is answered, then the connection closes.
    pub fn go_away(&mut self, now: Duration, reason: GoAwayReason, reconnect_after: Duration) {
        match self.phase {
            Phase::Hello | Phase::Opening => self.close(1001, "going away"),
            Phase::Open => {
                let frame = ServerFrame::GoAway {
                    reason,
                    reconnect_after_ms: u32::try_from(reconnect_after.as_millis()).unwrap_or(u32::MAX),
                    open_answered: u32::try_from(self.entries.len()).unwrap_or(u32::MAX),
                };
                self.control.push_back(frame.emit());
                self.phase = Phase::Draining { until: now + self.config.drain_timeout };
                self.tick(now);
            }
            Phase::Draining { .. } | Phase::Closed => {}
        }
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<ServerAction> {
        self.actions.pop_front().or_else(|| self.next_read())
    }

    /// The next message to send, if there is one and the client has credit for it.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if let Some(message) = self.control.pop_front() {
            return Some(message.into());
        }
        while self.credit > 0 && matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            let (hash, demand) = self.ready.pop()?;
            let Some(entry) = self.entries.get(&hash).filter(|entry| entry.demand == demand) else { continue };
            if !matches!(entry.progress, Progress::Ready(..)) {
                continue;
            }
            let Some(Entry { request, index, progress: Progress::Ready(envelope, tier), .. }) =
                self.entries.remove(&hash)
            else {
                continue;
            };
            self.ready_bytes -= envelope.len();
            // May become negative by one object, so that no object is too large for a window.
            self.credit -= i64::try_from(envelope.len()).unwrap_or(i64::MAX);
            self.stats.blocks += 1;
            self.stats.bytes += envelope.len() as u64;
            let last = self.settle(request);
            return Some(ServerFrame::Block { request, index, last, tier, envelope }.emit().into());
        }
        None
    }

    /// Whether [`ServerSession::poll_transmit`] would give a message.
    pub fn wants_transmit(&self) -> bool {
        let open = matches!(self.phase, Phase::Open | Phase::Draining { .. });
        !self.control.is_empty()
            || (open && self.credit > 0 && !(self.ready.demand.is_empty() && self.ready.prefetch.is_empty()))
    }

    /// Whether the client may be listened to now. A client that asks but never reads is not.
    pub fn wants_messages(&self) -> bool {
        self.control.len() < CONTROL_LIMIT && self.phase != Phase::Closed
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The image that HELLO named.
    pub fn manifest(&self) -> Option<Hash> {
        self.manifest
    }

    /// Whether HELLO was accepted.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining { .. })
    }

    /// What happened since the last call.
    pub fn take_stats(&mut self) -> ServerStats {
        std::mem::take(&mut self.stats)
    }

    fn frame(&mut self, frame: ClientFrame) {
        match (self.phase, frame) {
            (Phase::Hello, ClientFrame::Hello(hello)) => self.hello(hello),
            (Phase::Hello, _) => self.fail(ErrorCode::BadFrame, "the first message is not HELLO".to_owned()),
            (_, ClientFrame::Hello(_)) => self.fail(ErrorCode::BadFrame, "HELLO came twice".to_owned()),
            (Phase::Opening, ClientFrame::Get { .. }) => {
                self.fail(ErrorCode::BadFrame, "GET before WELCOME".to_owned());
            }
            (_, ClientFrame::Get { request, priority, fresh, hashes }) => {
                self.get(request, Urgency { demand: priority == 0, fresh }, hashes);
            }
            (_, ClientFrame::Cancel { request, index }) => self.cancel(request, index),
            (_, ClientFrame::Credit(bytes)) => {
                self.credit = (self.credit + i64::from(bytes)).min(i64::from(self.config.window_max));
            }
            (Phase::Open, ClientFrame::Profile(touches)) if self.profiles < self.config.profiles => {
                self.profiles += 1;
                self.actions.push_back(ServerAction::Profile { touches });
            }
            // Recorded boots are opt-in for servers, and no client gets to send them without end.
            (_, ClientFrame::Profile(_) | ClientFrame::Pong(_)) => {}
            (_, ClientFrame::Ping(value)) => self.control.push_back(ServerFrame::Pong(value).emit()),
        }
    }

    fn hello(&mut self, hello: Hello) {
        if hello.version_min > VERSION || hello.version_max < VERSION {
            let text = format!("versions {} to {}, here is {VERSION}", hello.version_min, hello.version_max);
            return self.fail(ErrorCode::Version, text);
        }
        self.credit = i64::from(hello.window.min(self.config.window_max));
        self.manifest = Some(hello.manifest);
        self.phase = Phase::Opening;
        self.actions.push_back(ServerAction::Open { manifest: hello.manifest, token: hello.token });
    }

    fn get(&mut self, request: u32, urgency: Urgency, hashes: Vec<Hash>) {
        if self.owed.contains_key(&request) {
            return self.fail(ErrorCode::BadFrame, format!("request {request} is open already"));
        }
        let refusal = match self.phase {
            Phase::Draining { .. } => Some((ErrorCode::Cancelled, "going away")),
            _ if self.owed.len() >= usize::from(self.config.max_open) => {
                Some((ErrorCode::Busy, "too many open requests"))
            }
            _ => None,
        };
        if let Some((code, text)) = refusal {
            return self.error(request, None, code, Duration::from_millis(200), text.to_owned());
        }
        let lane = if urgency.demand { &mut self.stats.demand } else { &mut self.stats.prefetch };
        *lane += hashes.len() as u64;
        self.owed.insert(request, u16::try_from(hashes.len()).unwrap_or(u16::MAX));
        for (index, hash) in (0..).zip(hashes) {
            self.want(hash, request, index, urgency);
        }
    }

    fn want(&mut self, hash: Hash, request: u32, index: u16, urgency: Urgency) {
        let Urgency { demand, fresh } = urgency;
        let Some(entry) = self.entries.get_mut(&hash) else {
            self.entries.insert(hash, Entry { request, index, demand, fresh, progress: Progress::Queued });
            self.queued.push(hash, demand);
            return;
        };
        let older = entry.request;
        (entry.request, entry.index) = (request, index);
        if fresh && !entry.fresh {
            // What was read, or is being read, may be what the client found wrong.
            if let Progress::Ready(envelope, _) = &entry.progress {
                self.ready_bytes -= envelope.len();
            }
            entry.demand |= demand;
            (entry.fresh, entry.progress) = (true, Progress::Queued);
            self.queued.push(hash, entry.demand);
        } else if demand && !entry.demand {
            entry.demand = true;
            match entry.progress {
                Progress::Queued => self.queued.push(hash, true),
                Progress::Ready(..) => self.ready.push(hash, true),
                Progress::Reading => {}
            }
        }
        self.settle(older);
    }

    fn cancel(&mut self, request: u32, index: Option<u16>) {
        let taken_back = |entry: &Entry| entry.request == request && index.is_none_or(|index| index == entry.index);
        let hashes: Vec<Hash> =
            self.entries.iter().filter(|(_, entry)| taken_back(entry)).map(|(hash, _)| *hash).collect();
        for hash in hashes {
            if let Some(Entry { progress: Progress::Ready(envelope, _), .. }) = self.entries.remove(&hash) {
                self.ready_bytes -= envelope.len();
            }
            self.stats.cancelled += 1;
            self.settle(request);
        }
    }

    /// Counts one answer less owed for a request; tells whether it was the last.
    fn settle(&mut self, request: u32) -> bool {
        let Some(owed) = self.owed.get_mut(&request) else { return false };
        *owed = owed.saturating_sub(1);
        let last = *owed == 0;
        if last {
            self.owed.remove(&request);
        }
        last
    }

    fn next_read(&mut self) -> Option<ServerAction> {
        let open = matches!(self.phase, Phase::Open | Phase::Draining { .. });
        if !open || self.credit <= 0 || self.reading >= self.config.max_reads || self.ready_bytes >= READY_LIMIT {
            return None;
        }
        loop {
            let (hash, demand) = self.queued.pop()?;
            let Some(entry) = self.entries.get_mut(&hash) else { continue };
            if matches!(entry.progress, Progress::Queued) && entry.demand == demand {
                entry.progress = Progress::Reading;
                self.reading += 1;
                return Some(ServerAction::Read { hash, demand, fresh: entry.fresh });
            }
        }
    }

    fn error(&mut self, request: u32, index: Option<u16>, code: ErrorCode, retry_after: Duration, text: String) {
        self.stats.errors.push(code);
        self.control.push_back(ServerFrame::Error { request, index, code, retry_after, text }.emit());
    }

    fn fail(&mut self, code: ErrorCode, text: String) {
        if self.phase == Phase::Closed {
            return;
        }
        self.error(0, None, code, Duration::ZERO, text.clone());
        self.close(code.close_code(), &text);
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.phase = Phase::Closed;
        self.entries.clear();
        self.owed.clear();
        self.ready_bytes = 0;
        // A close frame has room for 123 bytes.
        let reason = reason.chars().filter(char::is_ascii).take(120).collect();
        self.actions.push_back(ServerAction::Close { code, reason });
    }
}
