//! The one future that owns an image's connection.
//!
//! Everything wanted is either with the [`ClientSession`] (over a socket, or waiting for one), under way over HTTP, or
//! waiting out a delay. Each poll moves whatever can move, then arms one timer.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use block_proto::frame::ErrorCode;
use block_proto::key::Prefix;
use block_proto::section::BootProfile;
use block_proto::{
    ClientConfig, ClientEvent, ClientSession, Hash, MAX_OBJECT, Priority, SOCKET_PATH, SUBPROTOCOL, http, key,
};
use bytes::Bytes;
use vm_rt::Sleep;

use super::access::{self, Bases};
use super::host::{CacheMode, HttpReply, NetError, Network, Socket};
use super::policy::{SocketPolicy, backoff};
use super::probe::Probe;
use super::status::Link;
use super::trial::{Refusal, Trial, Verdict};
use super::wants::{Command, Failure, Shared};
use super::{RemoteHost, verify};
use crate::Urgency;

mod stuck;

/// Browsers open six connections to a host; one is left for the probe.
const HTTP_AT_ONCE: usize = 5;
/// Of these, as many as may be taken by what nobody waits for.
const HTTP_PREFETCH: usize = 4;
/// Time for a socket to open; after it, the attempt counts as failed.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

type Local<T> = Pin<Box<dyn Future<Output = T>>>;

enum Wire<N: Network> {
    Down,
    Connecting {
        since: Duration,
        future: Local<Result<N::Socket, NetError>>,
    },
    Up {
        since: Duration,
        socket: Rc<N::Socket>,
        next: Local<Result<Bytes, NetError>>,
        accepted: bool,
        /// Objects that it kept waiting for and that came over HTTP meanwhile, since it last brought one.
        overtaken: u32,
    },
}

enum Place {
    /// With the session.
    Session,
    /// To be asked for over HTTP as soon as there is room.
    HttpQueue,
    /// Under way over HTTP.
    Http { base: usize, since: Duration, future: Local<Result<HttpReply, NetError>> },
    /// Waiting out a delay.
    Delay { until: Duration },
}

struct Want {
    demand: bool,
    since: Duration,
    place: Place,
    trial: Trial,
    /// Whether the socket was given up on for it.
    overtaking: bool,
}

/// See the module.
pub(super) struct Driver<N: Network> {
    host: RemoteHost<N>,
    shared: Rc<Shared>,
    session: ClientSession,
    policy: SocketPolicy,
    bases: Bases,
    /// Whether somebody wants to know what the store recorded of boots, and that on its way.
    boots_wanted: bool,
    boots: Option<Local<Result<HttpReply, NetError>>>,
    wire: Wire<N>,
    wants: HashMap<Hash, Want>,
    manifest: Hash,
    probe: Probe,
    /// When an object or a definite answer last came.
    heard_at: Duration,
    /// How often slow answers were not waited for, since one came soon.
    caution: u32,
    sleep: Option<Sleep>,
}

impl<N: Network> Unpin for Driver<N> {}

impl<N: Network + 'static> Driver<N> {
    pub(super) fn new(
        host: RemoteHost<N>,
        shared: Rc<Shared>,
        config: ClientConfig,
        bases: Bases,
        sockets: bool,
    ) -> Self {
        Self {
            heard_at: host.clock.monotonic(),
            caution: 0,
            boots_wanted: false,
            boots: None,
            host,
            shared,
            manifest: config.manifest,
            probe: Probe::default(),
            session: ClientSession::new(config),
            policy: SocketPolicy::new(sockets),
            bases,
            wire: Wire::Down,
            wants: HashMap::new(),
            sleep: None,
        }
    }

    fn now(&self) -> Duration {
        self.host.clock.monotonic()
    }

    fn commands(&mut self) {
        while let Some(command) = self.shared.next_command() {
            match command {
                Command::Want(hash, urgency) => self.want(hash, urgency == Urgency::Demand),
                Command::Unwant(hash) => {
                    self.wants.remove(&hash);
                    self.session.cancel(&hash);
                }
                Command::RetryNow => {
                    self.policy.retry_now();
                    for want in self.wants.values_mut().filter(|want| matches!(want.place, Place::Delay { .. })) {
                        want.place = Place::Delay { until: Duration::ZERO };
                    }
                }
                Command::Token(token) => {
                    self.session.set_token(token.text().to_owned().into());
                    self.bases.token = Some(token);
                    self.shared.retry_now();
                }
                Command::Boot(touches) => {
                    self.session.report_boot(&touches);
                }
                Command::RecordedBoots => {
                    self.boots_wanted = true;
                    self.ask_for_boots();
                }
            }
        }
    }

    /// Asks for recorded boots, where a server says that it collects them: elsewhere it would be a request in vain at each boot.
    fn ask_for_boots(&mut self) {
        if !self.session.is_open() || !std::mem::take(&mut self.boots_wanted) {
            return;
        }
        if !self.session.wants_profiles() {
            return self.shared.boots_came(BootProfile::default());
        }
        let network = Rc::clone(&self.host.network);
        let url = self.bases.url(0, &Prefix::public().boots(&self.manifest));
        self.boots = Some(Box::pin(async move { network.get(&url, CacheMode::Default, MAX_OBJECT).await }));
    }

    /// Takes what the store recorded of boots. It is a hint: what is wrong with it does not matter.
    fn poll_boots(&mut self, cx: &mut Context<'_>) {
        let Some(future) = &mut self.boots else { return };
        let Poll::Ready(reply) = future.as_mut().poll(cx) else { return };
        self.boots = None;
        let found = reply.ok().filter(|reply| reply.status == 200);
        self.shared.boots_came(found.and_then(|reply| BootProfile::parse(&reply.body)).unwrap_or_default());
    }

    fn want(&mut self, hash: Hash, demand: bool) {
        let since = self.now();
        let fresh = || Want { demand, since, place: Place::Session, trial: Trial::default(), overtaking: false };
        let want = self.wants.entry(hash).or_insert_with(fresh);
        if demand && !want.demand {
            (want.demand, want.since) = (true, since);
        }
        if matches!(want.place, Place::Session) {
            self.session.request(hash, if want.demand { Priority::Demand } else { Priority::ReadAhead });
        }
    }

    /// Connects when it is time and takes messages in; tells whether anything moved.
    fn wire(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.now();
        match &mut self.wire {
            Wire::Down if self.policy.connect_now(now) => {
                let url = socket_url(self.bases.name(0));
                let network = Rc::clone(&self.host.network);
                let future = Box::pin(async move { network.connect(&url, SUBPROTOCOL).await });
                self.wire = Wire::Connecting { since: now, future };
                true
            }
            Wire::Down => false,
            Wire::Connecting { since, future } => match future.as_mut().poll(cx) {
                Poll::Pending if now >= *since + CONNECT_LIMIT => {
                    self.hang_up(None, "no answer to the attempt to connect");
                    true
                }
                Poll::Pending => false,
                Poll::Ready(Ok(socket)) => {
                    let (since, socket) = (*since, Rc::new(socket));
                    self.wire = Wire::Up { since, next: receive(&socket), socket, accepted: false, overtaken: 0 };
                    self.session.connected(now);
                    true
                }
                Poll::Ready(Err(error)) => {
                    self.hang_up(None, &error.to_string());
                    true
                }
            },
            Wire::Up { socket, next, .. } => match next.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(message)) => {
                    *next = receive(socket);
                    self.session.message(now, &message);
                    true
                }
                Poll::Ready(Err(error)) => {
                    self.hang_up(None, &error.to_string());
                    true
                }
            },
        }
    }

    /// Ends a connection, or an attempt at one.
    fn hang_up(&mut self, close: Option<(u16, &str)>, error: &str) {
        let (now, random) = (self.now(), self.host.network.random());
        let accepted = matches!(self.wire, Wire::Up { accepted: true, .. });
        if let (Wire::Up { socket, .. }, Some((code, reason))) = (&self.wire, close) {
            socket.close(code, reason);
        }
        self.wire = Wire::Down;
        self.session.disconnected();
        self.shared.trouble(format!("WebSocket: {}", self.bases.hide(&error)));
        if accepted {
            self.policy.lost(now, random);
            self.shared.status.borrow_mut().losses += 1;
            self.shared.set_link(Link::Connecting);
        } else {
            self.policy.failed(now, random);
            // A store that never had sockets may be doing well over HTTP.
            if self.policy.ever_open() && self.shared.status.borrow().link != Link::Http {
                self.shared.set_link(Link::Offline { since: now });
            }
        }
    }

    fn events(&mut self) -> bool {
        let now = self.now();
        self.session.tick(now);
        let mut moved = false;
        while let Some(event) = self.session.poll_event() {
            moved = true;
            match event {
                ClientEvent::Opened { .. } => {
                    if let Wire::Up { accepted, .. } = &mut self.wire {
                        *accepted = true;
                    }
                    self.policy.opened(now);
                    self.shared.set_link(Link::Socket);
                    self.back_to_session();
                    self.ask_for_boots();
                }
                ClientEvent::Object { hash, envelope, .. } => {
                    self.shared.received(envelope.len());
                    self.shared.set_link(Link::Socket);
                    if let Wire::Up { overtaken, .. } = &mut self.wire {
                        *overtaken = 0;
                    }
                    self.heard();
                    self.arrived(&hash, &envelope, "WebSocket");
                    self.session.consumed(now, envelope.len());
                }
                ClientEvent::Failed { hash, code, retry_after, text } => {
                    self.socket_refused(hash, code, retry_after, &text);
                }
                ClientEvent::GoAway { reconnect_after, .. } => self.policy.sent_away(now, reconnect_after),
                ClientEvent::Refused { code, text } => {
                    self.hang_up(Some((1000, "refused")), &format!("{}: {text}", code.name()));
                }
                ClientEvent::Close { code, reason } => {
                    self.shared.status.borrow_mut().garbled += u64::from(code == 1002);
                    self.hang_up(Some((code, &reason)), &reason);
                }
            }
        }
        moved
    }

    /// A socket is there: what waits out a delay goes there instead.
    fn back_to_session(&mut self) {
        let waiting = |want: &&mut Want| matches!(want.place, Place::Delay { .. } | Place::HttpQueue);
        for (hash, want) in self.wants.iter_mut() {
            if Some(&mut *want).filter(waiting).is_some_and(|want| !want.trial.needs_reload()) {
                want.place = Place::Session;
                self.session.request(*hash, if want.demand { Priority::Demand } else { Priority::ReadAhead });
            }
        }
    }

    fn socket_refused(&mut self, hash: Hash, code: ErrorCode, retry_after: Duration, text: &str) {
        self.shared.trouble(format!("WebSocket: {}: {text}", code.name()));
        if matches!(code, ErrorCode::Upstream | ErrorCode::RateLimited | ErrorCode::Unknown(_)) {
            let until = self.now() + retry_after.max(Duration::from_millis(200));
            if let Some(want) = self.wants.get_mut(&hash) {
                want.place = Place::Delay { until };
            }
            return;
        }
        let refusal = if code == ErrorCode::NotFound { Refusal::Absent } else { Refusal::Damaged };
        self.refuted(hash, "WebSocket", &format!("{}: {text}", code.name()), refusal);
    }

    /// An answer that is no good: ask elsewhere, or give up.
    fn refuted(&mut self, hash: Hash, source: &str, what: &str, refusal: Refusal) {
        let (now, random) = (self.now(), self.host.network.random());
        let Some(want) = self.wants.get_mut(&hash) else { return };
        self.shared.trouble(format!("{source}: object {hash}: {what}"));
        match want.trial.refuted(source, what, refusal, self.bases.len()) {
            // The server may have it right behind a cache that has it wrong.
            Verdict::Again if self.session.is_open() && !std::mem::replace(&mut want.trial.asked_fresh, true) => {
                want.place = Place::Session;
                self.session.request_fresh(hash);
            }
            Verdict::Again => want.place = Place::HttpQueue,
            Verdict::Later(times) => want.place = Place::Delay { until: now + backoff(times, random) },
            Verdict::Over(failure) => self.finish(&hash, Err(failure)),
        }
    }

    fn arrived(&mut self, hash: &Hash, envelope: &Bytes, source: &str) {
        match verify(envelope, hash) {
            Ok(object) => self.finish(hash, Ok(object)),
            Err(error) => {
                self.shared.status.borrow_mut().damaged += 1;
                self.refuted(*hash, source, &error, Refusal::Wrong(Hash::of(envelope)));
            }
        }
    }

    fn finish(&mut self, hash: &Hash, result: Result<Bytes, Failure>) {
        if let Some(want) = self.wants.remove(hash) {
            if result.is_ok() {
                let waited = self.now().saturating_sub(want.since);
                if want.demand {
                    self.waited(waited);
                }
                self.shared.verified(want.demand.then_some(waited));
            }
            self.shared.finish(hash, result);
        }
    }

    /// Whether the session has, or will very soon have, somebody to ask.
    fn socket_will_do(&self, now: Duration) -> bool {
        match &self.wire {
            Wire::Down => false,
            Wire::Connecting { since, .. } => now < self.policy.grace(*since),
            Wire::Up { since, accepted, .. } => *accepted || now < self.policy.grace(*since),
        }
    }

    /// Moves wants between the places; tells whether anything moved.
    fn places(&mut self) -> bool {
        let now = self.now();
        let socket = self.socket_will_do(now);
        let going_away = matches!(self.wire, Wire::Up { accepted: true, .. }) && !self.session.is_open();
        let mut moved = false;
        for (hash, want) in self.wants.iter_mut() {
            match want.place {
                // A server that goes away still answers what it took.
                Place::Session if !socket || (going_away && want.demand && !self.session.is_in_flight(hash)) => {
                    self.session.cancel(hash);
                    want.place = Place::HttpQueue;
                    moved = true;
                }
                Place::Delay { until } if now >= until => {
                    if socket && !want.trial.needs_reload() {
                        want.place = Place::Session;
                        self.session.request(*hash, if want.demand { Priority::Demand } else { Priority::ReadAhead });
                    } else {
                        want.place = Place::HttpQueue;
                    }
                    moved = true;
                }
                _ => {}
            }
        }
        moved
    }

    /// Starts HTTP requests, demand first, oldest first.
    fn start_http(&mut self) {
        let now = self.now();
        let (mut demand, mut prefetch) = (0, 0);
        let mut queue = Vec::new();
        for (hash, want) in &self.wants {
            match want.place {
                Place::Http { .. } if want.demand => demand += 1,
                Place::Http { .. } => prefetch += 1,
                Place::HttpQueue => queue.push((!want.demand, want.since, *hash)),
                _ => {}
            }
        }
        queue.sort_unstable();
        for (ahead, _, hash) in queue {
            if demand + prefetch >= HTTP_AT_ONCE || (ahead && prefetch >= HTTP_PREFETCH) {
                break;
            }
            let Some(want) = self.wants.get_mut(&hash) else { continue };
            let (base, cache) = want.trial.next(self.bases.len());
            let url = self.bases.url(base, &key::object(&hash));
            let network = Rc::clone(&self.host.network);
            let future = Box::pin(async move { network.get(&url, cache, MAX_OBJECT).await });
            want.place = Place::Http { base, since: now, future };
            *(if ahead { &mut prefetch } else { &mut demand }) += 1;
        }
    }

    fn poll_http(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.now();
        let mut done = Vec::new();
        for (hash, want) in self.wants.iter_mut() {
            let Place::Http { base, since, future } = &mut want.place else { continue };
            match future.as_mut().poll(cx) {
                Poll::Ready(result) => done.push((*hash, *base, result)),
                Poll::Pending if now >= *since + want.trial.patience() => {
                    let text = format!("no answer within {} s", want.trial.patience().as_secs());
                    done.push((*hash, *base, Err(NetError(text))));
                }
                Poll::Pending => {}
            }
        }
        let moved = !done.is_empty();
        for (hash, base, result) in done {
            self.http_done(hash, base, result);
        }
        moved
    }

    fn http_done(&mut self, hash: Hash, base: usize, result: Result<HttpReply, NetError>) {
        let now = self.now();
        let source = self.bases.name(base).to_owned();
        let trouble = match result {
            // Not from the store at all: as good as no network.
            Ok(reply) if reply.status == 200 && access::is_web_page(&reply.body) => access::WEB_PAGE.to_owned(),
            Ok(reply) if reply.status == 200 => {
                self.http_answers(reply.body.len());
                self.overtook(&hash);
                return self.arrived(&hash, &reply.body, &source);
            }
            Ok(reply) if matches!(reply.status, 400 | 404 | 410) => {
                self.http_answers(0);
                return self.refuted(hash, &source, &format!("status {}", reply.status), Refusal::Absent);
            }
            // The server looked past its caches: waiting does not mend it.
            Ok(reply) if http::tells_damage(reply.status, &reply.body) => {
                self.http_answers(0);
                return self.refuted(hash, &source, http::DAMAGED, Refusal::Damaged);
            }
            Ok(reply) if matches!(reply.status, 401 | 403) => access::refusal(self.bases.token.as_ref()).to_owned(),
            Ok(reply) => format!("status {}", reply.status),
            Err(error) => self.bases.hide(&error),
        };
        self.shared.trouble(format!("{source}: {trouble}"));
        if !matches!(self.wire, Wire::Up { accepted: true, .. }) {
            self.shared.set_link(Link::Offline { since: now });
        }
        let random = self.host.network.random();
        if let Some(want) = self.wants.get_mut(&hash) {
            want.trial.lost = want.trial.lost.saturating_add(1);
            want.place = Place::Delay { until: now + backoff(want.trial.lost, random) };
        }
    }

    fn http_answers(&mut self, bytes: usize) {
        self.heard();
        self.shared.received(bytes);
        if !matches!(self.wire, Wire::Up { accepted: true, .. }) {
            self.shared.set_link(Link::Http);
        }
    }

    fn transmit(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        while let Wire::Up { socket, .. } = &self.wire {
            let Some(message) = self.session.poll_transmit(now) else { break };
            moved = true;
            if let Err(error) = socket.send(&message) {
                self.hang_up(None, &error.to_string());
            }
        }
        moved
    }

    fn deadline(&self) -> Option<Duration> {
        let now = self.now();
        let connect = match &self.wire {
            Wire::Down => self.policy.connect_at(),
            // Past its end the grace has done what it can do.
            Wire::Connecting { since, .. } => {
                Some(self.policy.grace(*since)).filter(|at| *at > now).or(Some(*since + CONNECT_LIMIT))
            }
            Wire::Up { since, accepted: false, .. } => Some(self.policy.grace(*since)).filter(|at| *at > now),
            Wire::Up { .. } => None,
        };
        let delays = self.wants.values().filter_map(|want| match want.place {
            Place::Delay { until } => Some(until),
            Place::Http { since, .. } => Some(since + want.trial.patience()),
            _ => None,
        });
        delays.chain(connect).chain(self.session.deadline(now)).chain(self.stuck_deadline(now)).min()
    }
}

impl<N: Network + 'static> Future for Driver<N> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.register(cx.waker());
        loop {
            if this.shared.is_closed() {
                if let Wire::Up { socket, .. } = &this.wire {
                    socket.close(1000, "done");
                }
                return Poll::Ready(());
            }
            this.commands();
            let mut moved = this.wire(cx);
            moved |= this.events();
            moved |= this.places();
            this.start_http();
            moved |= this.poll_http(cx);
            moved |= this.look_around(cx);
            this.poll_boots(cx);
            moved |= this.transmit();
            if moved || this.shared.has_commands() {
                continue;
            }
            this.shared.status.borrow_mut().rtt = this.session.rtt().filter(|_| this.session.is_open());
            let Some(deadline) = this.deadline() else { return Poll::Pending };
            // Never a busy loop, whatever the clock does between two looks at it.
            let soonest = this.now() + Duration::from_millis(1);
            let mut sleep = this.host.timers.sleep_until(deadline.max(soonest));
            if Pin::new(&mut sleep).poll(cx).is_pending() {
                this.sleep = Some(sleep);
                return Poll::Pending;
            }
        }
    }
}

fn receive<S: Socket + 'static>(socket: &Rc<S>) -> Local<Result<Bytes, NetError>> {
    let socket = Rc::clone(socket);
    Box::pin(async move { socket.receive().await })
}

/// `http://host/base/` becomes `ws://host/base/v1/ws`.
fn socket_url(base: &str) -> String {
    match base.strip_prefix("http") {
        Some(rest) => format!("ws{rest}{SOCKET_PATH}"),
        None => format!("{base}{SOCKET_PATH}"),
    }
}
