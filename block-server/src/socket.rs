//! Pumps one WebSocket through a session.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use block_proto::frame::{GoAwayReason, Tier};
use block_proto::key::Prefix;
use block_proto::token::CLOCK_SKEW;
use block_proto::{Hash, ReadError, SUBPROTOCOL, ServerAction, ServerSession};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{FutureExt, Sink, SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError as WsViolation;
use tracing::{Instrument, debug, info, info_span};

use crate::access::{self, Grant, Refusal};
use crate::http::{self, Peer, Urgency};
use crate::problem::Problem;
use crate::server::{Guard, Shared};

/// A message longer than a session takes is still read up to this, so that the refusal can be sent in order.
const READ_LIMIT: usize = 1 << 20;
/// What a socket holds for reading; messages are short.
const READ_BUFFER: usize = 4096;
/// Time a client gets to take the last messages of a closing connection, and to close in turn.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A read over its limit waits up to this long for its turn; beyond, the client is told.
const LONGEST_HOLD: Duration = Duration::from_secs(2);
/// Clients sent away come back within this time, not all at once.
const RECONNECT_SPREAD_MS: u64 = 1000;

/// `GET /v1/ws`.
pub(crate) fn upgrade(
    shared: &Arc<Shared>,
    peer: Peer,
    place: Prefix,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let refuse = |code, problem: Problem| {
        shared.metrics.error(code);
        problem.into_response()
    };
    // WebSockets are not covered by CORS: the page's origin is checked here or nowhere.
    let origin = http::text(headers, header::ORIGIN);
    if origin.is_some_and(|origin| !shared.access.origin_allowed(origin)) {
        return refuse("origin", Problem::new(StatusCode::FORBIDDEN, "this origin may not connect"));
    }
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "the subprotocol vmdisk.v1 must be offered");
        return refuse("version", problem);
    }
    if let Err(wait) = shared.buckets.connect(peer.asker) {
        shared.metrics.limited("connects");
        return refuse("rate_limited", Problem::limited(wait));
    }
    if shared.is_stopping() {
        return refuse("busy", Problem::busy("stopping"));
    }
    let Some(guard) = Guard::enter(shared) else { return refuse("busy", Problem::busy("too many sessions")) };
    let span = info_span!("session", id = guard.number(), peer = %peer.address);
    let origin = origin.map(str::to_owned);
    let limited = upgrade
        .max_message_size(READ_LIMIT)
        .max_frame_size(READ_LIMIT)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0);
    limited.on_upgrade(move |socket| {
        let pump = Pump { peer, place, origin, grant: None, guard };
        // A large future by value in a small task.
        Box::pin(pump.run(socket)).instrument(span)
    })
}

enum Done {
    Opened(Result<Arc<Grant>, ReadError>),
    Object { hash: Hash, fresh: bool, result: Result<(Bytes, Tier), ReadError> },
    Profile,
}

/// What came to pass in one round.
enum Event {
    Message(Option<Result<Message, axum::Error>>),
    Done(Done),
    CanSend,
    Flushed,
    Broken,
    Time,
    Shutdown,
    Expired,
}

struct Pump {
    peer: Peer,
    place: Prefix,
    origin: Option<String>,
    grant: Option<Arc<Grant>>,
    guard: Guard,
}

type Reads<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send + 'a>>>;

impl Pump {
    async fn run(mut self, socket: WebSocket) {
        let shared = self.guard.shared();
        let shared: &Shared = &shared;
        let (mut sink, mut stream) = socket.split();
        let start = Instant::now();
        let mut session = ServerSession::new(shared.session_config, self.guard.number(), start.elapsed());
        let mut stopping = shared.stopping();
        let mut shutdown = pin!(stopping.wait_for(|stopping| *stopping));
        let mut told = false;
        let mut reads: Reads<'_> = FuturesUnordered::new();
        let mut timer = pin!(tokio::time::sleep(Duration::from_secs(1)));
        let mut timer_at = Duration::from_secs(1);
        let mut expiry = pin!(tokio::time::sleep(Duration::MAX));
        let mut expires = false;
        let mut unflushed = false;
        let (mut objects, mut bytes) = (0, 0);
        debug!("connected");
        let close = loop {
            session.tick(start.elapsed());
            let mut close = None;
            while let Some(action) = session.poll_action() {
                match action {
                    ServerAction::Close { code, reason } => close = Some(CloseFrame { code, reason: reason.into() }),
                    action => self.start(shared, action, &mut session, &mut reads),
                }
            }
            let stats = session.take_stats();
            objects += stats.blocks;
            bytes += stats.bytes;
            shared.metrics.session_stats(&stats);
            if close.is_some() {
                break close;
            }
            let wants_transmit = session.wants_transmit();
            let deadline = session.deadline().unwrap_or(Duration::MAX);
            // Deadlines move away with each message: only one that comes nearer, or a timer that fired, is set anew.
            if deadline < timer_at {
                timer_at = deadline;
                timer.as_mut().reset((start + deadline).into());
            }
            let event = tokio::select! {
                biased;
                event = drive(&mut sink, wants_transmit), if wants_transmit || unflushed => event,
                message = stream.next(), if session.wants_messages() => Event::Message(message),
                Some(done) = reads.next(), if !reads.is_empty() => Event::Done(done),
                () = &mut timer => Event::Time,
                _ = &mut shutdown, if !told => Event::Shutdown,
                () = &mut expiry, if expires => Event::Expired,
            };
            match event {
                Event::Message(Some(Ok(Message::Binary(message)))) => session.message(start.elapsed(), &message),
                Event::Message(Some(Ok(Message::Text(_)))) => session.text_message(),
                Event::Message(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Event::Time => {
                    let next = session.deadline().map_or(Duration::from_secs(3600), |at| at);
                    timer_at = next.max(start.elapsed() + Duration::from_millis(1));
                    timer.as_mut().reset((start + timer_at).into());
                }
                Event::Message(Some(Ok(Message::Close(_))) | None) | Event::Broken => break None,
                Event::Message(Some(Err(error))) => {
                    let Some((code, reason)) = violation(error) else { break None };
                    shared.metrics.error(if code == 1009 { "too_large" } else { "bad_frame" });
                    break Some(CloseFrame { code, reason: reason.into() });
                }
                Event::Done(Done::Opened(result)) => {
                    if let Ok(grant) = &result {
                        if let Some(at) = grant.expires {
                            let over = at.saturating_add(CLOCK_SKEW.as_secs());
                            let left = Duration::from_secs(over.saturating_sub(access::now()));
                            expiry.as_mut().reset((Instant::now() + left.min(FAR)).into());
                            expires = true;
                        }
                        self.grant = Some(Arc::clone(grant));
                    }
                    session.opened(result.map(drop));
                }
                Event::Done(Done::Object { hash, fresh, result }) => {
                    if let Err(error) = &result {
                        debug!(%hash, ?error, "object not served");
                    }
                    session.object(hash, fresh, result);
                }
                Event::Done(Done::Profile) => {}
                Event::CanSend => {
                    if let Some(message) = session.poll_transmit() {
                        if sink.start_send_unpin(Message::Binary(message)).is_err() {
                            break None;
                        }
                        unflushed = true;
                    }
                }
                Event::Flushed => unflushed = false,
                Event::Shutdown => {
                    told = true;
                    let spread = Duration::from_millis(self.guard.number() * 37 % RECONNECT_SPREAD_MS);
                    session.go_away(start.elapsed(), GoAwayReason::Shutdown, spread);
                }
                Event::Expired => {
                    expires = false;
                    session.revoke();
                }
            }
        };
        drop(reads);
        let reason = close.as_ref().map_or("peer", |frame| frame.reason.as_str()).to_owned();
        if let Some(frame) = close {
            let goodbye = say_goodbye(&mut session, &mut sink, &mut stream, frame);
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
        }
        let token = self.grant.as_ref().and_then(|grant| grant.token);
        info!(objects, bytes, seconds = start.elapsed().as_secs(), ?token, reason, "session closed");
    }

    /// Does at once what can be done at once, and starts the rest.
    fn start<'a>(&self, shared: &'a Shared, action: ServerAction, session: &mut ServerSession, reads: &mut Reads<'a>) {
        match action {
            ServerAction::Open { manifest, token } => {
                let (peer, place, origin) = (self.peer, self.place.clone(), self.origin.clone());
                reads.push(Box::pin(async move {
                    Done::Opened(open(shared, peer, &place, origin.as_deref(), &manifest, &token).await)
                }));
            }
            ServerAction::Read { hash, demand, fresh } => {
                let Some(grant) = &self.grant else { return session.object(hash, fresh, Err(ReadError::NotFound)) };
                let urgency = Urgency { demand, fresh };
                let (peer, grant) = (self.peer, Arc::clone(grant));
                let mut read = Box::pin(async move {
                    let result = read(shared, peer, &grant, &hash, urgency).await;
                    Done::Object { hash, fresh, result }
                });
                // What is in memory is there at once.
                match (&mut read).now_or_never() {
                    Some(Done::Object { hash, fresh, result }) => session.object(hash, fresh, result),
                    Some(_) => {}
                    None => reads.push(read),
                }
            }
            ServerAction::Profile { touches } => {
                let (Some(grant), Some(manifest)) = (&self.grant, session.manifest()) else { return };
                let grant = Arc::clone(grant);
                reads.push(Box::pin(async move {
                    shared.boots.take(shared, &grant, manifest, touches).await;
                    Done::Profile
                }));
            }
            // Handled by the caller.
            ServerAction::Close { .. } => {}
        }
    }
}

/// Timers do not reach much further.
const FAR: Duration = Duration::from_secs(30 * 86_400);

async fn open(
    shared: &Shared,
    peer: Peer,
    place: &Prefix,
    origin: Option<&str>,
    manifest: &Hash,
    token: &[u8],
) -> Result<Arc<Grant>, ReadError> {
    let grant = shared.access.grant_image(place, token, origin, manifest).map_err(|refusal| match refusal {
        Refusal::Token => ReadError::Unauthorized,
        Refusal::Absent => ReadError::NotFound,
    })?;
    read(shared, peer, &grant, manifest, Urgency { demand: true, fresh: false }).await?;
    Ok(Arc::new(grant))
}

async fn read(
    shared: &Shared,
    peer: Peer,
    grant: &Grant,
    hash: &Hash,
    urgency: Urgency,
) -> Result<(Bytes, Tier), ReadError> {
    let start = Instant::now();
    while let Err(wait) = shared.buckets.objects(peer.asker, grant.token, 1) {
        shared.metrics.limited("objects");
        if start.elapsed() + wait > LONGEST_HOLD {
            return Err(ReadError::RateLimited(wait));
        }
        tokio::time::sleep(wait).await;
    }
    let (stored, tier) = shared.object(peer, grant, hash, urgency).await?;
    shared.metrics.read_took(start.elapsed());
    Ok((stored.envelope.clone(), tier))
}

/// What a broken message closes with; `None` if the peer is gone without a word.
fn violation(error: axum::Error) -> Option<(u16, &'static str)> {
    match error.into_inner().downcast_ref() {
        Some(WsError::Capacity(_)) => Some((1009, "message too long")),
        Some(WsError::Protocol(violation)) if *violation != WsViolation::ResetWithoutClosingHandshake => {
            Some((1002, "not the WebSocket protocol"))
        }
        Some(WsError::Utf8(_)) => Some((1007, "text is not UTF-8")),
        _ => None,
    }
}

/// Waits until the socket can take another message, or, with none to send, until what it took has left.
async fn drive(sink: &mut SplitSink<WebSocket, Message>, wants_transmit: bool) -> Event {
    let mut sink = Pin::new(sink);
    poll_fn(|cx| {
        let (poll, done) = if wants_transmit {
            (sink.as_mut().poll_ready(cx), Event::CanSend)
        } else {
            (sink.as_mut().poll_flush(cx), Event::Flushed)
        };
        match poll {
            Poll::Ready(Ok(())) => Poll::Ready(done),
            Poll::Ready(Err(_)) => Poll::Ready(Event::Broken),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Sends the last messages and the close frame, then reads until the peer closes: closing a TCP socket with unread data
/// would throw away what was just sent.
async fn say_goodbye(
    session: &mut ServerSession,
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    frame: CloseFrame,
) {
    while let Some(message) = session.poll_transmit() {
        if sink.send(Message::Binary(message)).await.is_err() {
            return;
        }
    }
    if sink.send(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = stream.next().await {}
    }
}
