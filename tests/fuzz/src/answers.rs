//! Web servers of disks without a manifest.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use vm_block::remote::plain::{PlainImage, PlainLayout};
use vm_block::remote::{CacheMode, HttpReply, NetError, Network, OpenOptions, RemoteHost, ReplyHeaders, Socket};
use vm_block::{CHUNK_SIZE, ChunkId, Transport, Urgency};
use vm_rt::{Clock, Executor, ManualClock, Timers};

/// Gives one answer after the other, then none.
struct Liar(RefCell<VecDeque<HttpReply>>);

struct NoSocket;

impl Socket for NoSocket {
    fn send(&self, _message: &[u8]) -> Result<(), NetError> {
        Err(NetError(String::new()))
    }
    async fn receive(&self) -> Result<Bytes, NetError> {
        std::future::pending().await
    }
    fn close(&self, _code: u16, _reason: &str) {}
}

impl Network for Liar {
    type Socket = NoSocket;

    async fn connect(&self, _url: &str, _protocol: &str) -> Result<NoSocket, NetError> {
        Err(NetError(String::new()))
    }

    async fn get(&self, _url: &str, _cache: CacheMode, limit: usize) -> Result<HttpReply, NetError> {
        let reply = self.0.borrow_mut().pop_front();
        reply.filter(|reply| reply.body.len() <= limit).ok_or_else(|| NetError("gone".to_owned()))
    }

    async fn get_range(&self, url: &str, _part: Range<u64>, cache: CacheMode) -> Result<HttpReply, NetError> {
        self.get(url, cache, CHUNK_SIZE).await
    }

    fn random(&self) -> u64 {
        3
    }
}

/// Opens and reads a disk of a server that says these things (status, a header, a body): never bytes that were not asked for.
pub(crate) fn plain_answers(data: &[u8]) {
    let Some(answers) = crate::made::<Vec<(u16, String, Vec<u8>)>>(data) else { return };
    for layout in [PlainLayout::Ranges, PlainLayout::Pieces] {
        let replies = answers.iter().map(|(status, header, body)| HttpReply {
            // Mostly the statuses that lead on.
            status: [206, 200, 404, 416, 500, *status].get(usize::from(*status) % 6).copied().unwrap_or(206),
            body: pad(body),
            headers: ReplyHeaders {
                content_range: Some(header.clone()),
                etag: header.get(..1).map(str::to_owned),
                ..ReplyHeaders::default()
            },
        });
        let clock = Rc::new(ManualClock::default());
        let dynamic: Rc<dyn Clock> = clock.clone();
        let network = Rc::new(Liar(RefCell::new(replies.collect())));
        let host = RemoteHost { network, clock: dynamic, timers: Timers::new() };
        let executor = Executor::new();
        let timers = host.timers.clone();
        executor.spawn(async move {
            let options = OpenOptions { patience: Some(Duration::from_secs(5)), ..OpenOptions::default() };
            let Ok(image) = PlainImage::open(&host, "http://liar.test/disk", layout, options).await else { return };
            for chunk in [0, 1, u32::MAX] {
                if let Ok(bytes) = image.fetch(ChunkId(chunk), Urgency::Demand).await {
                    assert_eq!(bytes.len(), CHUNK_SIZE);
                }
            }
        });
        for _ in 0..200 {
            while executor.poll_one() {}
            clock.advance(Duration::from_secs(1));
            timers.fire(clock.monotonic());
        }
    }
}

/// The fuzzer's inputs are short; a chunk is not.
fn pad(body: &[u8]) -> Bytes {
    let mut bytes = body.to_vec();
    if bytes.first().is_some_and(|byte| *byte % 2 == 0) {
        bytes.resize(CHUNK_SIZE, 0);
    }
    bytes.into()
}
