//! Connections that ask, check and count.

use anyhow::{Context, Result, bail};
use block_proto::frame::{ClientFrame, Hello, ServerFrame};
use block_proto::{Hash, SUBPROTOCOL};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An open session. WebSocket by hand, and no more of it than is needed: what is measured are servers, and the clients of
/// those that are compared cost the same.
pub(crate) struct Socket {
    stream: BufReader<TcpStream>,
    request: u32,
    uncredited: u32,
    pub(crate) bytes: u64,
}

/// Credit is given back in steps, as clients do.
const STEP: u32 = 256 * 1024;
/// What a connection reads ahead.
const READ_AHEAD: usize = 64 << 10;
/// The longest message taken.
const LONGEST: usize = 2 << 20;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

impl Socket {
    pub(crate) async fn open(address: &str, manifest: Hash) -> Result<Self> {
        let tcp = TcpStream::connect(address).await.context("connecting")?;
        tcp.set_nodelay(true)?;
        let mut stream = BufReader::with_capacity(READ_AHEAD, tcp);
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if !line.starts_with("HTTP/1.1 101 ") {
            bail!("no WebSocket but {line}");
        }
        while !line.trim().is_empty() {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        let mut socket = Self { stream, request: 0, uncredited: 0, bytes: 0 };
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
        let message = frame.emit();
        let mut framed = Vec::with_capacity(message.len() + 8);
        framed.push(BINARY);
        match u8::try_from(message.len()) {
            Ok(len) if len < 126 => framed.push(0x80 | len),
            _ => {
                framed.push(0x80 | 126);
                framed.extend_from_slice(&u16::try_from(message.len())?.to_be_bytes());
            }
        }
        // Masked with zeros.
        framed.extend_from_slice(&[0; 4]);
        framed.extend_from_slice(&message);
        Ok(self.stream.write_all(&framed).await?)
    }

    async fn receive(&mut self) -> Result<ServerFrame> {
        let kind = self.stream.read_u8().await.context("the connection is lost")?;
        let len = match self.stream.read_u8().await? {
            126 => usize::from(self.stream.read_u16().await?),
            127 => usize::try_from(self.stream.read_u64().await?)?,
            len => usize::from(len),
        };
        if len > LONGEST {
            bail!("a message of {len} bytes");
        }
        let mut message = vec![0; len];
        self.stream.read_exact(&mut message).await?;
        match kind {
            BINARY => Ok(ServerFrame::parse(&Bytes::from(message))?),
            CLOSE => bail!("closed: {}", String::from_utf8_lossy(message.get(2..).unwrap_or_default())),
            other => bail!("a message of kind {other:#04x}"),
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
        Ok(Self { stream: BufReader::with_capacity(READ_AHEAD, tcp), host: address.to_owned() })
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
