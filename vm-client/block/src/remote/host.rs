//! What the remote client asks of its host: sockets, HTTP and a little chance. Time comes from `vm-rt`.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// Why the network did not deliver. Always treated as passing: the client waits and tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetError(pub String);

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NetError {}

/// What an HTTP cache on the way may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Answer from it if it can (`fetch` with `cache: "default"`).
    Default,
    /// Go to the origin and replace what is cached (`cache: "reload"`).
    Reload,
}

/// An answer to a GET, whatever its status.
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
    /// What else it says.
    pub headers: ReplyHeaders,
}

/// The headers of an answer that matter here, as far as the host may see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyHeaders {
    /// `Content-Range`
    pub content_range: Option<String>,
    /// `Content-Encoding`
    pub content_encoding: Option<String>,
    /// `ETag`
    pub etag: Option<String>,
    /// `Last-Modified`
    pub last_modified: Option<String>,
}

/// The host's network. The browser implements it with `WebSocket` and `fetch`, the `native` feature with tokio.
///
/// Futures may be dropped at any time, which abandons the operation. No call may block the thread.
#[expect(async_fn_in_trait, reason = "single-threaded VM: futures are never Send")]
pub trait Network {
    /// An open WebSocket.
    type Socket: Socket;

    /// Opens a WebSocket (`ws:` or `wss:`) that speaks `protocol`; done when it is open. Fails if the server does not
    /// choose the protocol.
    async fn connect(&self, url: &str, protocol: &str) -> Result<Self::Socket, NetError>;

    /// Fetches a URL (`http:` or `https:`) without credentials or headers of our own. A body over `limit` bytes is an error.
    async fn get(&self, url: &str, cache: CacheMode, limit: usize) -> Result<HttpReply, NetError>;

    /// Fetches the bytes `part` of a URL with a `Range` header. The body is read only if the status is 206: a server that does
    /// not know ranges sends the whole file, which may be gigabytes.
    async fn get_range(&self, url: &str, part: Range<u64>, cache: CacheMode) -> Result<HttpReply, NetError> {
        let _ = (url, part, cache);
        Err(NetError("parts of files cannot be fetched here".to_owned()))
    }

    /// Some random bits, for the jitter of retries.
    fn random(&self) -> u64;

    /// Tells whether WebSockets exist here; a directory, for one, has none.
    fn has_sockets(&self) -> bool {
        true
    }
}

/// An open WebSocket that carries binary messages.
#[expect(async_fn_in_trait, reason = "single-threaded VM: futures are never Send")]
pub trait Socket {
    /// Queues a message; never waits.
    fn send(&self, message: &[u8]) -> Result<(), NetError>;

    /// Waits for the next binary message. An error once the socket is closed (with code and reason in the text) or a text
    /// message came. Dropping the future loses no message.
    async fn receive(&self) -> Result<Bytes, NetError>;

    /// Closes with a code and a reason. Dropping the socket closes it too.
    fn close(&self, code: u16, reason: &str);
}
