//! Pumps one WebSocket through a session.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use block_proto::frame::{GoAwayReason, Tier};
use block_proto::{Hash, ReadError, SUBPROTOCOL, ServerAction, ServerSession};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError as WsViolation;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::problem::Problem;
use crate::server::{Guard, Shared};

/// A message longer than a session takes is still read up to this, so that the refusal can be sent in order.
const READ_LIMIT: usize = 1 << 20;
/// Time a client gets to take the last messages of a closing connection, and to close in turn.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /v1/ws`.
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    peer: ConnectInfo<std::net::SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let refuse = |code, status, text: &str| {
        shared.metrics.error(code);
        shared.metrics.http_request("ws", StatusCode::as_u16(&status));
        Problem::new(status, text).into_response()
    };
    // WebSockets are not covered by CORS: the page's origin is checked here or nowhere.
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    if origin.is_some_and(|origin| !shared.origin_allowed(origin)) {
        return refuse("origin", StatusCode::FORBIDDEN, "this origin may not connect");
    }
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return refuse("version", StatusCode::BAD_REQUEST, "the subprotocol vmdisk.v1 must be offered");
    }
    let Some(guard) = Guard::enter(&shared) else {
        let mut response = refuse("busy", StatusCode::SERVICE_UNAVAILABLE, "too many sessions");
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        return response;
    };
    shared.metrics.http_request("ws", 101);
    let span = info_span!("session", id = guard.number(), peer = %peer.0);
    let limited = upgrade.max_message_size(READ_LIMIT).max_frame_size(READ_LIMIT).write_buffer_size(64 * 1024);
    limited.on_upgrade(move |socket| run(socket, guard).instrument(span))
}

enum Done {
    Opened(Result<(), ReadError>),
    Object(Hash, bool, Result<(Bytes, Tier), ReadError>),
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
}

async fn run(socket: WebSocket, guard: Guard) {
    let shared = guard.shared();
    let (mut sink, mut stream) = socket.split();
    let start = Instant::now();
    let mut session = ServerSession::new(shared.session_config, guard.number(), start.elapsed());
    let mut stopping = shared.stopping();
    let mut told = false;
    let mut tasks = FuturesUnordered::new();
    let mut unflushed = false;
    let (mut objects, mut bytes) = (0, 0);
    debug!("connected");
    let close = loop {
        session.tick(start.elapsed());
        let mut close = None;
        while let Some(action) = session.poll_action() {
            match action {
                ServerAction::Close { code, reason } => close = Some(CloseFrame { code, reason: reason.into() }),
                other => tasks.push(perform(shared, other)),
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
        let deadline = session.deadline().map_or(Duration::from_secs(3600), |at| at.saturating_sub(start.elapsed()));
        let event = tokio::select! {
            event = drive(&mut sink, wants_transmit), if wants_transmit || unflushed => event,
            message = stream.next(), if session.wants_messages() => Event::Message(message),
            Some(done) = tasks.next(), if !tasks.is_empty() => Event::Done(done),
            () = tokio::time::sleep(deadline) => Event::Time,
            _ = stopping.wait_for(|stopping| *stopping), if !told => Event::Shutdown,
        };
        match event {
            Event::Message(Some(Ok(Message::Binary(message)))) => session.message(start.elapsed(), &message),
            Event::Message(Some(Ok(Message::Text(_)))) => session.text_message(),
            Event::Message(Some(Ok(Message::Ping(_) | Message::Pong(_)))) | Event::Time => {}
            Event::Message(Some(Ok(Message::Close(_))) | None) | Event::Broken => break None,
            Event::Message(Some(Err(error))) => {
                let (code, reason) = match error.into_inner().downcast_ref() {
                    Some(WsError::Capacity(_)) => (1009, "message too long"),
                    Some(WsError::Protocol(violation)) if *violation != WsViolation::ResetWithoutClosingHandshake => {
                        (1002, "not the WebSocket protocol")
                    }
                    Some(WsError::Utf8(_)) => (1007, "text is not UTF-8"),
                    // The peer is gone without a word.
                    _ => break None,
                };
                shared.metrics.error(if code == 1009 { "too_large" } else { "bad_frame" });
                break Some(CloseFrame { code, reason: reason.into() });
            }
            Event::Done(Done::Opened(result)) => session.opened(result),
            Event::Done(Done::Object(hash, fresh, result)) => {
                if let Err(error) = &result {
                    warn!(%hash, ?error, "object not served");
                }
                session.object(hash, fresh, result);
            }
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
                session.go_away(start.elapsed(), GoAwayReason::Shutdown, Duration::from_millis(500));
            }
        }
    };
    let reason = close.as_ref().map_or("peer", |frame| frame.reason.as_str()).to_owned();
    if let Some(frame) = close {
        let goodbye = say_goodbye(&mut session, &mut sink, &mut stream, frame);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
    info!(objects, bytes, seconds = start.elapsed().as_secs(), reason, "session closed");
}

async fn perform(shared: &Shared, action: ServerAction) -> Done {
    match action {
        ServerAction::Open { manifest, .. } => Done::Opened(shared.store.has(&manifest).await),
        ServerAction::Read { hash, fresh, .. } => {
            let start = Instant::now();
            let result = shared.store.object(&hash).await.map(|envelope| (envelope, Tier::Origin));
            shared.metrics.read_took(start.elapsed().as_secs_f64());
            Done::Object(hash, fresh, result)
        }
        // Handled where the loop ends.
        ServerAction::Profile { .. } | ServerAction::Close { .. } => Done::Opened(Err(ReadError::NotFound)),
    }
}

/// Waits until the socket can take another message, or, with none to send, until what it took has left.
async fn drive(sink: &mut SplitSink<WebSocket, Message>, wants_transmit: bool) -> Event {
    let mut sink = std::pin::Pin::new(sink);
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
