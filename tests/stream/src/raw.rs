//! Clients without manners: they say exactly what they are told to.

use std::collections::HashMap;
use std::time::Duration;

use block_proto::frame::{ClientFrame, ErrorCode, Hello, ServerFrame, Tier, Welcome};
use block_proto::key::Prefix;
use block_proto::{Hash, SUBPROTOCOL};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::world::World;

/// A server that is silent for so long hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, header names in lower case.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers; of several of a name, the last.
    pub headers: HashMap<String, String>,
    /// The body, decoded from chunks.
    pub body: Vec<u8>,
}

/// One HTTP request, byte for byte: clients that normalise paths would hide tricks.
pub async fn http(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}{headers}\r\n");
    tcp.write_all(head.as_bytes()).await.expect("sends");
    tcp.write_all(body).await.expect("sends");
    let mut answer = Vec::new();
    // A server may reset what it refuses to read.
    let _ = timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("answers in time");
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no header for {path}"));
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())))
        .collect();
    let body = answer.split_off(split + 4);
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
    Reply { status, headers, body: if chunked { dechunk(&body) } else { body } }
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a size");
        let size = usize::from_str_radix(size.split(';').next().unwrap_or(size).trim(), 16).expect("a size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}

/// Says hello over HTTP and asks for a WebSocket, all by hand; what follows are bare bytes.
pub async fn upgraded(world: &World) -> TcpStream {
    let address = world.address();
    let mut tcp = TcpStream::connect(&address).await.expect("connects");
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await.expect("sends");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, tcp.read_u8()).await.expect("answers in time").expect("answers"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    tcp
}

/// A message of a client as a WebSocket frame, masked with zeros, cut after so many bytes.
pub fn masked(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u8::try_from(message.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(message.len()).expect("is short").to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(message);
    frame
}

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What ended a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// The last ERROR of the connection itself.
    pub error: Option<ErrorCode>,
    /// The close code.
    pub close: Option<u16>,
}

/// An answer to a GET.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The request.
    pub request: u32,
    /// Which of its hashes; `None` for all.
    pub index: Option<u16>,
    /// Whether it said that nothing more is owed.
    pub last: bool,
    /// The envelope and where it was, or what failed.
    pub result: Result<(Bytes, Tier), ErrorCode>,
}

/// Opens a WebSocket, offering these protocols; the status if it is refused, 0 if the answer is none that a WebSocket
/// client understands.
pub async fn connect(url: &str, protocols: &str, origin: Option<&str>) -> Result<(Socket, Option<String>), u16> {
    let mut request = url.into_client_request().expect("a request");
    let value = |text: &str| HeaderValue::from_str(text).expect("a header");
    if !protocols.is_empty() {
        request.headers_mut().insert("Sec-WebSocket-Protocol", value(protocols));
    }
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", value(origin));
    }
    match timeout(PATIENCE, tokio_tungstenite::connect_async_with_config(request, None, true))
        .await
        .expect("answers in time")
    {
        Ok((stream, response)) => {
            let chosen = response.headers().get("Sec-WebSocket-Protocol");
            Ok((Socket { stream }, chosen.and_then(|chosen| chosen.to_str().ok()).map(str::to_owned)))
        }
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(_) => Err(0),
    }
}

/// A HELLO as this version's clients send it.
pub fn hello(manifest: Hash, window: u32, token: &str) -> Hello {
    let (version_min, version_max) = (1, 1);
    let token = Bytes::copy_from_slice(token.as_bytes());
    Hello { version_min, version_max, window, max_message: 2 << 20, codecs: 3, manifest, token }
}

impl Socket {
    /// Connects to the public part and says nothing yet.
    pub async fn connect(world: &World) -> Self {
        Self::connect_to(world, &Prefix::public()).await
    }

    /// Connects and says nothing yet.
    pub async fn connect_to(world: &World, prefix: &Prefix) -> Self {
        let connected = connect(&world.socket_url(prefix), SUBPROTOCOL, None).await;
        let (socket, chosen) = connected.unwrap_or_else(|status| panic!("refused with {status}"));
        assert_eq!(chosen.as_deref(), Some(SUBPROTOCOL));
        socket
    }

    /// A session on the small public image.
    pub async fn open(world: &World, window: u32) -> Self {
        let mut socket = Self::connect(world).await;
        socket.hello(hello(world.sample.small.manifest, window, "")).await;
        socket
    }

    /// Sends HELLO and takes WELCOME.
    pub async fn hello(&mut self, hello: Hello) -> Welcome {
        self.send(&ClientFrame::Hello(hello)).await;
        match self.receive().await {
            ServerFrame::Welcome(welcome) => welcome,
            other => panic!("no WELCOME but {other:?}"),
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &ClientFrame) {
        self.send_bytes(frame.emit()).await;
    }

    /// Sends a GET.
    pub async fn get(&mut self, request: u32, priority: u8, hashes: &[Hash]) {
        self.send(&ClientFrame::Get { request, priority, fresh: false, hashes: hashes.to_vec() }).await;
    }

    /// Sends a GET with FRESH.
    pub async fn get_fresh(&mut self, request: u32, hashes: &[Hash]) {
        self.send(&ClientFrame::Get { request, priority: 0, fresh: true, hashes: hashes.to_vec() }).await;
    }

    /// Sends CREDIT.
    pub async fn credit(&mut self, bytes: u32) {
        self.send(&ClientFrame::Credit(bytes)).await;
    }

    /// Sends a binary message.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.send_message(Message::binary(bytes)).await;
    }

    /// Sends any message. The server may have closed already: what it said is read later.
    pub async fn send_message(&mut self, message: Message) {
        let _ = timeout(PATIENCE, self.stream.send(message)).await.expect("is taken in time");
    }

    /// The next message, of any kind.
    pub async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.stream.next()).await.expect("answers in time")
    }

    /// The next frame.
    pub async fn receive(&mut self) -> ServerFrame {
        loop {
            match self.message().await {
                Some(Ok(Message::Binary(message))) => return ServerFrame::parse(&message).expect("a frame"),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no frame but {other:?}"),
            }
        }
    }

    /// The next answer to a GET.
    pub async fn answer(&mut self) -> Answered {
        match self.receive().await {
            ServerFrame::Block { request, index, last, tier, envelope } => {
                Answered { request, index: Some(index), last, result: Ok((envelope, tier)) }
            }
            ServerFrame::Error { request, index, code, .. } if request != 0 => {
                Answered { request, index, last: false, result: Err(code) }
            }
            other => panic!("no answer but {other:?}"),
        }
    }

    /// Asks for objects on demand and takes what comes, in the order asked.
    pub async fn fetch(&mut self, request: u32, hashes: &[Hash]) -> Vec<Result<(Bytes, Tier), ErrorCode>> {
        self.get(request, 0, hashes).await;
        let mut found = vec![None; hashes.len()];
        for _ in hashes {
            let answer = self.answer().await;
            assert_eq!(answer.request, request);
            let place = &mut found[usize::from(answer.index.expect("an answer for each"))];
            assert!(place.is_none(), "answered twice");
            *place = Some(answer.result);
        }
        found.into_iter().map(|found| found.expect("an answer for each")).collect()
    }

    /// Waits until the server has taken everything sent before. Nothing but PONG may come meanwhile.
    pub async fn settle(&mut self) {
        let meanwhile = self.until_pong().await;
        assert!(meanwhile.is_empty(), "unexpected {meanwhile:?}");
    }

    /// Waits until the server has taken everything sent before; gives what came meanwhile.
    pub async fn until_pong(&mut self) -> Vec<ServerFrame> {
        self.send(&ClientFrame::Ping(0x5E77)).await;
        let mut meanwhile = Vec::new();
        loop {
            match self.receive().await {
                ServerFrame::Pong(0x5E77) => return meanwhile,
                other => meanwhile.push(other),
            }
        }
    }

    /// Reads to the end, over whatever else comes.
    pub async fn end(mut self) -> End {
        let mut end = End { error: None, close: None };
        loop {
            match self.message().await {
                Some(Ok(Message::Binary(message))) => {
                    if let Ok(ServerFrame::Error { request: 0, code, .. }) = ServerFrame::parse(&message) {
                        end.error = Some(code);
                    }
                }
                Some(Ok(Message::Close(frame))) => end.close = frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return end,
            }
        }
    }

    /// Closes as a client should, and waits for the server to do the same.
    pub async fn close(mut self) {
        let frame = CloseFrame { code: 1000.into(), reason: "done".into() };
        self.send_message(Message::Close(Some(frame))).await;
        self.end().await;
    }
}
