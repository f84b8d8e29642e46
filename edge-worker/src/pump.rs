//! One WebSocket through one session.
//!
//! Everything happens in [`Pump::step`], called after each message, each finished read and each timer: it lets time pass,
//! starts what the session wants read, and sends what it wants sent. Workers' sockets have no back pressure, so all that
//! the client has given credit for leaves at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use block_proto::frame::{GoAwayReason, Tier};
use block_proto::token::CLOCK_SKEW;
use block_proto::{Hash, ReadError, ServerAction, ServerConfig, ServerSession};
use bytes::Bytes;
use futures_util::future::{AbortHandle, abortable};
use js_sys::Uint8Array;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use worker::web_sys::{CloseEvent, Event, EventTarget, MessageEvent};
use worker::{Delay, Result, WebSocket, console_error, console_warn};

use crate::budget::Work;
use crate::memory::ObjectId;
use crate::object::Nap;
use crate::tally::Outcome;
use crate::tiers::Edge;
use crate::upgrade::Visitor;
use crate::{access, isolate};

/// What all sessions of an isolate together may have on its way: an isolate has 128 MiB in all.
const WINDOWS: u32 = 32 << 20;
/// The least and the most of it that one session gets.
const WINDOW: (u32, u32) = (256 << 10, 8 << 20);
/// When a client that is sent away may come back: at once, for a budget is fresh then.
const COME_BACK: Duration = Duration::ZERO;
/// How long the client's answer to our close frame is waited for.
const FAREWELL: Duration = Duration::from_secs(10);

/// Who cares for the socket between messages.
pub enum Life {
    /// The invocation that accepted it, with its listeners.
    Invocation,
    /// A Durable Object, which may sleep meanwhile.
    Object,
}

type Listener = Closure<dyn FnMut(JsValue)>;

/// What a socket tells its listeners.
const EVENTS: [&str; 3] = ["message", "close", "error"];

/// One socket and its session.
pub struct Pump {
    edge: Rc<Edge>,
    socket: WebSocket,
    session: RefCell<ServerSession>,
    visitor: RefCell<Visitor>,
    life: Life,
    seat: u64,
    started: Duration,
    sent_away: Cell<bool>,
    over: Cell<bool>,
    timer: RefCell<Option<(Duration, AbortHandle)>>,
    listeners: RefCell<Vec<Listener>>,
}

/// The limits of a session that shares its isolate with others.
pub fn config(edge: &Edge, sessions: usize) -> ServerConfig {
    let share = WINDOWS / u32::try_from(sessions.max(1)).unwrap_or(u32::MAX);
    ServerConfig {
        window_max: share.clamp(WINDOW.0, WINDOW.1),
        budget_chunks: edge.budget.chunks(),
        ..ServerConfig::default()
    }
}

/// A number for logs.
pub fn number() -> u64 {
    (js_sys::Math::random() * 9_007_199_254_740_992.0) as u64
}

impl Pump {
    /// A pump for a socket that is about to be accepted, or was before its object slept.
    pub fn new(
        edge: Rc<Edge>,
        socket: WebSocket,
        session: ServerSession,
        visitor: Visitor,
        life: Life,
        seat: u64,
    ) -> Rc<Self> {
        Rc::new(Self {
            edge,
            socket,
            session: RefCell::new(session),
            visitor: RefCell::new(visitor),
            life,
            seat,
            started: isolate::now(),
            sent_away: Cell::new(false),
            over: Cell::new(false),
            timer: RefCell::new(None),
            listeners: RefCell::default(),
        })
    }

    /// Accepts the socket and listens to it.
    pub fn start(self: &Rc<Self>) -> Result<()> {
        self.listen()?;
        self.socket.accept()?;
        self.step();
        Ok(())
    }

    /// Takes a binary message.
    pub fn message(self: &Rc<Self>, message: &[u8]) {
        if self.over.get() {
            return;
        }
        let now = isolate::now();
        isolate::still_seated(self.seat, now);
        if matches!(self.life, Life::Object) {
            self.edge.budget.renew();
        }
        self.edge.budget.worked(Work::Message);
        self.edge.tally.borrow_mut().messages += 1;
        self.session.borrow_mut().message(now, message);
        self.step();
    }

    /// Takes a text message, which the protocol does not have.
    pub fn text_message(self: &Rc<Self>) {
        self.session.borrow_mut().text_message();
        self.step();
    }

    /// The peer closed, or the connection broke.
    pub fn closed(self: &Rc<Self>, code: u16) {
        // Before 2026-04-07 nobody answers a close frame for us; a code that was none cannot be sent back.
        let answer = if matches!(code, 1005 | 1006 | 1015) { 1000 } else { code };
        let _ = self.socket.close(Some(answer), Some(""));
        self.end(code);
        self.stop_listening();
    }

    /// Does all that can be done now.
    pub fn step(self: &Rc<Self>) {
        if self.over.get() {
            return;
        }
        let now = isolate::now();
        let mut session = self.session.borrow_mut();
        session.tick(now);
        let permission_ends = self.visitor.borrow().end();
        if permission_ends.is_some_and(|at| now >= at) {
            session.revoke();
        }
        let mut close = None;
        loop {
            while let Some(action) = session.poll_action() {
                match action {
                    ServerAction::Close { code, reason } => close = Some((code, reason)),
                    ServerAction::Read { hash, fresh, .. } => match self.at_once(&hash, fresh) {
                        Some(stored) => session.object(hash, fresh, Ok((stored, Tier::Memory))),
                        None => self.read(hash, fresh),
                    },
                    ServerAction::Open { manifest, token } => self.open(manifest, token),
                    // Not asked for.
                    ServerAction::Profile { .. } => {}
                }
            }
            let Some(message) = session.poll_transmit() else { break };
            self.edge.budget.worked(Work::Send);
            if let Err(error) = self.socket.send_with_bytes(&message) {
                console_warn!("the socket takes nothing more: {error}");
                close = Some((1011, "cannot send".to_owned()));
                break;
            }
        }
        let stats = session.take_stats();
        {
            let mut tally = self.edge.tally.borrow_mut();
            tally.objects += u32::try_from(stats.blocks).unwrap_or(u32::MAX);
            tally.bytes += stats.bytes;
            tally.errors += u32::try_from(stats.errors.len()).unwrap_or(u32::MAX);
        }
        if let Some((code, reason)) = close {
            drop(session);
            if let Err(error) = self.socket.close(Some(code), Some(reason)) {
                console_warn!("the socket cannot be closed with {code}: {error}");
            }
            return self.end(code);
        }
        if !self.sent_away.get() && session.is_open() && self.edge.budget.nearly_used_up() {
            self.sent_away.set(true);
            session.go_away(now, GoAwayReason::Budget, COME_BACK);
            drop(session);
            return self.step();
        }
        let deadline = session.deadline().into_iter().chain(permission_ends).min();
        let nap = matches!(self.life, Life::Object).then(|| session.rest()).flatten();
        drop(session);
        match nap {
            // Nothing is owed: no timer, so that the object may sleep. If the permission ends meanwhile, the next message tells.
            Some(resting) => {
                self.set_timer(None);
                self.keep(Some(Nap::new(resting, &self.visitor.borrow())));
            }
            None => {
                self.set_timer(deadline);
                self.keep(None);
            }
        }
    }

    /// Notes on the socket what a woken object needs to know.
    fn keep(&self, nap: Option<Nap>) {
        if matches!(self.life, Life::Object)
            && let Err(error) = self.socket.serialize_attachment(nap)
        {
            console_warn!("the socket keeps no note: {error}");
        }
    }

    fn ids(&self, hash: &Hash) -> Vec<ObjectId> {
        let permitted = &self.visitor.borrow().permitted;
        permitted.iter().map(|prefix| ObjectId { prefix: prefix.clone(), hash: *hash }).collect()
    }

    fn at_once(&self, hash: &Hash, fresh: bool) -> Option<Bytes> {
        if fresh {
            return None;
        }
        self.visitor
            .borrow()
            .permitted
            .iter()
            .find_map(|prefix| self.edge.in_memory(&ObjectId { prefix: prefix.clone(), hash: *hash }))
    }

    fn read(self: &Rc<Self>, hash: Hash, fresh: bool) {
        let pump = Rc::clone(self);
        let allowed = if fresh { isolate::take_fresh(isolate::now(), &self.visitor.borrow().address) } else { Ok(()) };
        spawn_local(async move {
            let mut result = allowed.map_err(ReadError::RateLimited).and(Err(ReadError::NotFound));
            let ids = if allowed.is_ok() { pump.ids(&hash) } else { Vec::new() };
            for id in ids {
                result = if fresh { pump.edge.fresh(&id).await } else { pump.edge.object(&id).await };
                if result != Err(ReadError::NotFound) {
                    break;
                }
            }
            if result == Err(ReadError::Corrupt) {
                console_error!("object {hash} of the store is damaged");
            }
            if !pump.over.get() {
                pump.session.borrow_mut().object(hash, fresh, result);
                pump.step();
            }
        });
    }

    fn open(self: &Rc<Self>, manifest: Hash, token: Bytes) {
        let pump = Rc::clone(self);
        spawn_local(async move {
            let result = pump.look_up(manifest, &token).await;
            if !pump.over.get() {
                pump.session.borrow_mut().opened(result);
                pump.step();
            }
        });
    }

    async fn look_up(&self, manifest: Hash, token: &[u8]) -> std::result::Result<(), ReadError> {
        let (permitted, until) = {
            let visitor = self.visitor.borrow();
            let token = Some(token).filter(|token| !token.is_empty());
            let keys = &self.edge.settings.token_keys;
            let now = isolate::now().as_secs();
            let (permitted, token) = access::prefixes(keys, &visitor.prefix, token, now, visitor.origin.as_deref())?;
            let claims = token.map(|token| token.claims);
            if claims.as_ref().is_some_and(|claims| claims.manifest.is_some_and(|only| only != manifest)) {
                return Err(ReadError::NotFound);
            }
            (permitted, claims.map(|claims| claims.expires.saturating_add(CLOCK_SKEW.as_secs())))
        };
        {
            let mut visitor = self.visitor.borrow_mut();
            (visitor.permitted, visitor.until) = (permitted, until);
        }
        let mut result = Err(ReadError::NotFound);
        for id in self.ids(&manifest) {
            result = self.edge.object(&id).await.map(drop);
            if result != Err(ReadError::NotFound) {
                break;
            }
        }
        result
    }

    /// Has [`Pump::step`] called at a time, or no more.
    fn set_timer(self: &Rc<Self>, at: Option<Duration>) {
        let mut timer = self.timer.borrow_mut();
        // One that comes too early looks again, which is cheaper than to set it anew at each message.
        if let (Some((set, _)), Some(at)) = (&*timer, at)
            && *set <= at
        {
            return;
        }
        if let Some((_, handle)) = timer.take() {
            handle.abort();
        }
        let Some(at) = at else { return };
        let wait = at.saturating_sub(isolate::now()).max(Duration::from_millis(1));
        let (delay, handle) = abortable(Delay::from(wait));
        *timer = Some((at, handle));
        let pump = Rc::clone(self);
        spawn_local(async move {
            if delay.await.is_ok() {
                pump.timer.borrow_mut().take();
                pump.step();
            }
        });
    }

    /// The session is over. The socket is not before the peer's close frame has come: the listeners stay, or the runtime
    /// would leave the connection open.
    fn end(self: &Rc<Self>, code: u16) {
        if self.over.replace(true) {
            return;
        }
        if let Some((_, handle)) = self.timer.borrow_mut().take() {
            handle.abort();
        }
        if !self.listeners.borrow().is_empty() {
            let (delay, handle) = abortable(Delay::from(FAREWELL));
            *self.timer.borrow_mut() = Some((isolate::now() + FAREWELL, handle));
            let pump = Rc::clone(self);
            spawn_local(async move {
                if delay.await.is_ok() {
                    pump.stop_listening();
                }
            });
        }
        isolate::stand_up(self.seat);
        let outcome = Outcome {
            what: "session",
            status: code,
            subrequests: self.edge.budget.spent(),
            subrequests_at_once: self.edge.budget.most_open(),
            ms: u64::try_from(isolate::now().saturating_sub(self.started).as_millis()).unwrap_or(u64::MAX),
        };
        self.edge.tally.borrow().report(&self.edge.env, self.edge.settings.log, &outcome);
    }

    fn stop_listening(&self) {
        if let Some((_, handle)) = self.timer.borrow_mut().take() {
            handle.abort();
        }
        let listeners = self.listeners.take();
        if listeners.is_empty() {
            return;
        }
        let target: &EventTarget = self.socket.as_ref();
        for (name, listener) in EVENTS.iter().zip(&listeners) {
            // One that stayed would be called after it is gone.
            let _ = target.remove_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
        }
        // One of them may be what called us.
        spawn_local(async move { drop(listeners) });
    }

    fn listen(self: &Rc<Self>) -> Result<()> {
        for name in EVENTS {
            let pump = Rc::clone(self);
            let listener = Listener::new(move |event| pump.heard(name, event));
            let target: &EventTarget = self.socket.as_ref();
            target.add_event_listener_with_callback(name, listener.as_ref().unchecked_ref())?;
            self.listeners.borrow_mut().push(listener);
        }
        Ok(())
    }

    fn heard(self: &Rc<Self>, name: &str, event: JsValue) {
        match name {
            "message" => {
                let data = event.unchecked_into::<MessageEvent>().data();
                if data.is_string() { self.text_message() } else { self.message(&Uint8Array::new(&data).to_vec()) }
            }
            "close" => self.closed(event.unchecked_into::<CloseEvent>().code()),
            _ => {
                console_warn!("the socket broke: {}", event.unchecked_into::<Event>().type_());
                self.closed(1006);
            }
        }
    }
}
