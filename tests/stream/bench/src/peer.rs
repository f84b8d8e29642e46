//! Connections that ask, check and count.

use anyhow::{Context, Result, bail};
use block_proto::frame::{ClientFrame, Hello, ServerFrame};
use block_proto::{Hash, SUBPROTOCOL};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// An open session.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    request: u32,
    uncredited: u32,
    pub(crate) bytes: u64,
}

/// Credit is given back in steps, as clients do.
const STEP: u32 = 256 * 1024;

impl Socket {
    pub(crate) async fn open(address: &str, manifest: Hash) -> Result<Self> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        let connected = tokio_tungstenite::connect_async_with_config(request, None, true).await;
        let mut socket = Self { stream: connected.context("connecting")?.0, request: 0, uncredited: 0, bytes: 0 };
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            window: 4 << 20,
            max_message: 2 << 20,
            codecs: 3,
            manifest,
            token: Bytes::new(),
        };
        socket.send(&ClientFrame::Hello(hello)).await?;
        match socket.receive().await? {
            ServerFrame::Welcome(_) => Ok(socket),
            other => bail!("no WELCOME but {other:?}"),
        }
    }

    async fn send(&mut self, frame: &ClientFrame) -> Result<()> {
        Ok(self.stream.send(Message::binary(frame.emit())).await?)
    }

    async fn receive(&mut self) -> Result<ServerFrame> {
        loop {
            match self.stream.next().await.context("the connection is lost")?? {
                Message::Binary(message) => return Ok(ServerFrame::parse(&message)?),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Asks for objects and waits for all of them.
    pub(crate) async fn fetch(&mut self, hashes: &[Hash]) -> Result<Vec<Bytes>> {
        self.request = self.request.wrapping_add(1).max(1);
        self.send(&ClientFrame::Get { request: self.request, priority: 0, fresh: false, hashes: hashes.to_vec() })
            .await?;
        let mut found = vec![Bytes::new(); hashes.len()];
        for _ in hashes {
            match self.receive().await? {
                ServerFrame::Block { request, index, envelope, .. } if request == self.request => {
                    let len = u32::try_from(envelope.len())?;
                    self.bytes += u64::from(len);
                    self.uncredited += len;
                    *found.get_mut(usize::from(index)).context("an index out of range")? = envelope;
                }
                other => bail!("no block but {other:?}"),
            }
        }
        if self.uncredited >= STEP {
            let credit = std::mem::take(&mut self.uncredited);
            self.send(&ClientFrame::Credit(credit)).await?;
        }
        Ok(found)
    }

    /// Says a sign of life, as idle clients do, and waits for the answer.
    pub(crate) async fn ping(&mut self) -> Result<()> {
        self.send(&ClientFrame::Ping(1)).await?;
        match self.receive().await? {
            ServerFrame::Pong(1) => Ok(()),
            other => bail!("no PONG but {other:?}"),
        }
    }
}

/// A keep-alive connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Http {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, tcp), host: address.to_owned() })
    }

    /// Gets a file that is there.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        if !line.starts_with("HTTP/1.1 200 ") {
            bail!("{path}: {line}");
        }
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.with_context(|| format!("{path}: no length"))?];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }
}
