//! A WebSocket on the network's thread.

use std::cell::RefCell;
use std::future::poll_fn;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::trust::Trust;
use crate::remote::host::{NetError, Socket};

/// The longest message taken: an object and its header, with room.
const MESSAGE_LIMIT: usize = 2 << 20;

/// An open WebSocket. What the server may send ahead is bounded by the protocol's credit, so the queues need no bound.
pub struct NativeSocket {
    outgoing: UnboundedSender<Message>,
    incoming: RefCell<UnboundedReceiver<Result<Bytes, NetError>>>,
}

pub(super) async fn dial(url: &str, protocol: &str, trust: &Trust) -> Result<NativeSocket, NetError> {
    let trouble = |error: Error| NetError(error.to_string());
    let mut request = url.into_client_request().map_err(trouble)?;
    let protocol = HeaderValue::from_str(protocol).map_err(|error| NetError(error.to_string()))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
    #[cfg(feature = "tls")]
    let connecting = {
        let connector = trust.sockets.clone().map(tokio_tungstenite::Connector::Rustls);
        tokio_tungstenite::connect_async_tls_with_config(request, Some(config), true, connector)
    };
    #[cfg(not(feature = "tls"))]
    let (connecting, _) = (tokio_tungstenite::connect_async_with_config(request, Some(config), true), trust);
    let connected = connecting.await;
    let (stream, _) = connected.map_err(trouble)?;
    let (outgoing, to_send) = unbounded_channel();
    let (received, incoming) = unbounded_channel();
    tokio::spawn(pump(stream, to_send, received));
    Ok(NativeSocket { outgoing, incoming: RefCell::new(incoming) })
}

async fn pump(
    mut stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut to_send: UnboundedReceiver<Message>,
    received: UnboundedSender<Result<Bytes, NetError>>,
) {
    let reason = loop {
        tokio::select! {
            message = to_send.recv() => match message {
                Some(message) => {
                    let closing = message.is_close();
                    if let Err(error) = stream.send(message).await {
                        break error.to_string();
                    }
                    if closing {
                        break "closed".to_owned();
                    }
                }
                // The socket was dropped.
                None => {
                    let _ = stream.close(None).await;
                    return;
                }
            },
            message = stream.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    if received.send(Ok(bytes)).is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => break "text message".to_owned(),
                Some(Ok(Message::Close(Some(frame)))) => break format!("closed with {}: {}", frame.code, frame.reason),
                Some(Ok(Message::Close(None))) | None => break "closed".to_owned(),
                Some(Err(error)) => break error.to_string(),
            },
        }
    };
    let _ = received.send(Err(NetError(reason)));
}

impl Socket for NativeSocket {
    fn send(&self, message: &[u8]) -> Result<(), NetError> {
        let message = Message::binary(Bytes::copy_from_slice(message));
        self.outgoing.send(message).map_err(|_| NetError("closed".to_owned()))
    }

    async fn receive(&self) -> Result<Bytes, NetError> {
        let message = poll_fn(|cx| self.incoming.borrow_mut().poll_recv(cx)).await;
        message.unwrap_or_else(|| Err(NetError("closed".to_owned())))
    }

    fn close(&self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        // Closed already if this fails.
        let _ = self.outgoing.send(Message::Close(Some(frame)));
    }
}
