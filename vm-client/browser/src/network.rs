//! `fetch` and `WebSocket` for the client of the remote disk.

use std::ops::Range;

use bytes::Bytes;
use vm_block::remote::{CacheMode, HttpReply, NetError, Network, ReplyHeaders, Socket};
use wasm_bindgen::JsCast;

use crate::host::{Host, Reply, Request, Wire};
use crate::later::{settled, words};

/// The browser's network.
pub struct BrowserNetwork(pub Host);

impl Network for BrowserNetwork {
    type Socket = BrowserSocket;

    async fn connect(&self, url: &str, protocol: &str) -> Result<BrowserSocket, NetError> {
        let socket = BrowserSocket(self.0.connect(url, protocol));
        settled(socket.0.opened()).await.map_err(|error| NetError(words(&error)))?;
        Ok(socket)
    }

    async fn get(&self, url: &str, cache: CacheMode, limit: usize) -> Result<HttpReply, NetError> {
        self.fetch(url, cache, limit, None).await
    }

    async fn get_range(&self, url: &str, part: Range<u64>, cache: CacheMode) -> Result<HttpReply, NetError> {
        let limit = usize::try_from(part.end.saturating_sub(part.start)).unwrap_or(usize::MAX);
        let range = format!("bytes={}-{}", part.start, part.end.saturating_sub(1));
        self.fetch(url, cache, limit, Some(range)).await
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.random(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn has_sockets(&self) -> bool {
        self.0.has_sockets()
    }
}

impl BrowserNetwork {
    async fn fetch(
        &self,
        url: &str,
        cache: CacheMode,
        limit: usize,
        range: Option<String>,
    ) -> Result<HttpReply, NetError> {
        #[expect(clippy::cast_precision_loss, reason = "no body is near 2^53 bytes")]
        let request = CancelOnDrop(self.0.fetch(url, cache == CacheMode::Reload, limit as f64, range));
        let reply = settled(request.0.done()).await.map_err(|error| NetError(words(&error)))?;
        let reply: Reply = reply.unchecked_into();
        let headers = ReplyHeaders {
            content_range: reply.header("content-range"),
            content_encoding: reply.header("content-encoding"),
            etag: reply.header("etag"),
            last_modified: reply.header("last-modified"),
        };
        Ok(HttpReply { status: reply.status(), body: Bytes::from(reply.body().to_vec()), headers })
    }
}

/// A WebSocket; dropping it closes it.
pub struct BrowserSocket(Wire);

impl Socket for BrowserSocket {
    fn send(&self, message: &[u8]) -> Result<(), NetError> {
        self.0.send(message).map_err(|error| NetError(words(&error)))
    }

    async fn receive(&self) -> Result<Bytes, NetError> {
        loop {
            if let Some(message) = self.0.take() {
                return Ok(Bytes::from(message.to_vec()));
            }
            if let Some(why) = self.0.failure() {
                return Err(NetError(why));
            }
            settled(self.0.changed()).await.map_err(|error| NetError(words(&error)))?;
        }
    }

    fn close(&self, code: u16, reason: &str) {
        self.0.close(code, reason);
    }
}

impl Drop for BrowserSocket {
    fn drop(&mut self) {
        self.0.close(1000, "");
    }
}

struct CancelOnDrop(Request);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
