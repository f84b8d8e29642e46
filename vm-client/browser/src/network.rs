//! `fetch` and `WebSocket` for the client of the remote disk.

use bytes::Bytes;
use vm_block::remote::{CacheMode, HttpReply, NetError, Network, Socket};
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
        #[expect(clippy::cast_precision_loss, reason = "no body is near 2^53 bytes")]
        let request = CancelOnDrop(self.0.fetch(url, cache == CacheMode::Reload, limit as f64));
        let reply = settled(request.0.done()).await.map_err(|error| NetError(words(&error)))?;
        let reply: Reply = reply.unchecked_into();
        Ok(HttpReply { status: reply.status(), body: Bytes::from(reply.body().to_vec()) })
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
