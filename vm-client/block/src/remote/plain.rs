//! Images without a manifest, as WebVM's users have them: an ext2 file that is read in parts by HTTP range, or one that was
//! cut into files of 128 KiB for a static host.
//!
//! Nothing can be verified here, so the little that can be known is held on to: the size, and the ETag or date that the
//! server gives. If these change while the disk is in use, reading fails instead of mixing two disks. The [identity]
//! (`PlainImage::identity`) is made of them and of the file system's head, and binds an overlay. Lost networks are waited
//! out, as with all images; a server that cannot do what is needed is described in words.
//!
//! [identity]: PlainImage::identity

use std::cell::RefCell;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use block_proto::Hash;
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use vm_rt::WaitQueue;

use super::host::{CacheMode, HttpReply, Network};
use super::{Link, OpenError, OpenOptions, RemoteHost, RemoteStatus, policy};
use crate::{BlockError, CHUNK_SIZE, ChunkId, Transport, Urgency};

/// What a server says is asked so often before it is believed, going past caches.
const TRIES: u32 = 3;
/// A size in decimal and a line feed.
const META_LIMIT: usize = 1024;
/// Bytes of group descriptors that go into the identity at most: those of 4 TiB.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// How the disk lies on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainLayout {
    /// One file, read by `Range` requests (`HttpBytesDevice`).
    Ranges,
    /// `URL.meta` with the size, and `URL.cNNNNNN.txt` (hexadecimal) for each 128 KiB (`GitHubDevice`).
    Pieces,
}

/// An open image without a manifest. Clones share its status.
pub struct PlainImage<N> {
    inner: Rc<Inner<N>>,
}

impl<N> Clone for PlainImage<N> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

struct Inner<N> {
    host: RemoteHost<N>,
    url: String,
    layout: PlainLayout,
    size: u64,
    version: FileVersion,
    identity: Hash,
    status: RefCell<RemoteStatus>,
    retry: WaitQueue,
}

/// What a server tells about which version of a file it sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FileVersion {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// Why an answer is not what was asked for.
enum Refusal {
    /// The network, or a server in trouble: try again for ever.
    Passing(String),
    /// The file is not there.
    Absent(String),
    /// The server answers, but not so that a disk can be read.
    Useless(String),
}

impl<N: Network + 'static> PlainImage<N> {
    /// Opens an image: finds its size and reads the head of its file system.
    pub async fn open(
        host: &RemoteHost<N>,
        url: &str,
        layout: PlainLayout,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        let start = host.clock.monotonic();
        let mut inner = Inner {
            host: host.clone(),
            url: url.to_owned(),
            layout,
            size: 0,
            version: FileVersion::default(),
            identity: Hash::ZERO_CHUNK,
            status: RefCell::default(),
            retry: WaitQueue::new(),
        };
        let limit = options.patience;
        let mut patience = Patience { limit, start, tries: 0 };
        let (size, version) = loop {
            // What a cache has of the file may be of an earlier version.
            match inner.measure(CacheMode::Reload).await {
                Ok(found) => break found,
                // Said by the server itself, past all caches.
                Err(Refusal::Useless(reason)) => return Err(bad(url, &reason)),
                Err(refusal) => patience.wait_or_give_up(&inner, refusal).await?,
            }
        };
        (inner.size, inner.version) = (size, version);
        let mut patience = Patience { limit, start: host.clock.monotonic(), tries: 0 };
        let head = loop {
            match inner.head(patience.cache()).await {
                Ok(head) => break head,
                Err(refusal) => patience.wait_or_give_up(&inner, refusal).await?,
            }
        };
        inner.identity = inner.identity_of(&head);
        inner.status.borrow_mut().link = Link::Http;
        Ok(Self { inner: Rc::new(inner) })
    }

    /// A hash of size, ETag or date, superblock and group descriptors. Overlays are bound to it.
    pub fn identity(&self) -> Hash {
        self.inner.identity
    }

    /// How things stand.
    pub fn status(&self) -> RemoteStatus {
        self.inner.status.borrow().clone()
    }

    /// Tries again at once instead of waiting out delays.
    pub fn retry_now(&self) {
        self.inner.retry.wake_all();
    }
}

impl<N: Network + 'static> Transport for PlainImage<N> {
    fn image_size(&self) -> u64 {
        self.inner.size
    }

    async fn fetch(&self, chunk: ChunkId, urgency: Urgency) -> Result<Bytes, BlockError> {
        let inner = &*self.inner;
        let waiting = Waiting::begin(inner, urgency);
        let mut cache = CacheMode::Default;
        let (mut refused, mut failures) = (0, 0);
        loop {
            let refusal = match inner.chunk_in_time(chunk, cache, failures).await {
                Ok(bytes) => {
                    waiting.arrived();
                    return Ok(bytes);
                }
                Err(refusal) => refusal,
            };
            let (reason, absent) = match refusal {
                Refusal::Passing(reason) => {
                    inner.trouble(&reason);
                    // Somebody stands still: the network's return is not to be missed by much.
                    let longest = if urgency == Urgency::Demand { Duration::from_millis(1500) } else { Duration::MAX };
                    inner.pause_at_most(failures, longest).await;
                    failures += 1;
                    continue;
                }
                Refusal::Absent(reason) => (reason, true),
                Refusal::Useless(reason) => (reason, false),
            };
            refused += 1;
            cache = CacheMode::Reload;
            inner.status.borrow_mut().last_error = Some(reason.clone());
            if refused >= TRIES {
                return Err(match absent {
                    true => BlockError::Missing { chunk, reason },
                    false => BlockError::Corrupt { chunk, reason },
                });
            }
            inner.pause(refused).await;
        }
    }
}

/// How long opening goes on trying.
struct Patience {
    limit: Option<Duration>,
    start: Duration,
    tries: u32,
}

impl Patience {
    fn cache(&self) -> CacheMode {
        if self.tries == 0 { CacheMode::Default } else { CacheMode::Reload }
    }

    async fn wait_or_give_up<N: Network + 'static>(
        &mut self,
        inner: &Inner<N>,
        refusal: Refusal,
    ) -> Result<(), OpenError> {
        let image = inner.url.clone();
        let waited = inner.host.clock.monotonic().saturating_sub(self.start);
        let late = self.limit.is_some_and(|limit| waited >= limit);
        let reason = match refusal {
            Refusal::Absent(reason) => return Err(OpenError::Unknown { image, reason }),
            Refusal::Useless(reason) if self.tries > 0 || late => return Err(bad(&image, &reason)),
            Refusal::Useless(reason) | Refusal::Passing(reason) => reason,
        };
        if late {
            return Err(OpenError::Unreachable { image, reason });
        }
        inner.pause(self.tries).await;
        self.tries += 1;
        Ok(())
    }
}

impl<N: Network + 'static> Inner<N> {
    /// Finds the size and version of the disk.
    async fn measure(&self, cache: CacheMode) -> Result<(u64, FileVersion), Refusal> {
        match self.layout {
            PlainLayout::Ranges => {
                let part = 0..CHUNK_SIZE as u64;
                let reply = self.host.network.get_range(&self.url, part.clone(), cache).await.map_err(passing)?;
                let size = part_of(&reply, &self.url, &part)?;
                Ok((size, FileVersion::of(&reply)))
            }
            PlainLayout::Pieces => {
                let url = format!("{}.meta", self.url);
                let reply = self.host.network.get(&url, cache, META_LIMIT).await.map_err(passing)?;
                check_status(&reply, &url, 200)?;
                let size = std::str::from_utf8(&reply.body).ok().and_then(|text| text.trim().parse().ok());
                let size = size.ok_or_else(|| Refusal::Useless(format!("{url} holds no size in decimal digits")))?;
                Ok((size, FileVersion::of(&reply)))
            }
        }
    }

    /// Superblock and group descriptors, one after the other.
    async fn head(&self, cache: CacheMode) -> Result<Bytes, Refusal> {
        let none = || Refusal::Useless(format!("{} holds no ext2 file system", self.url));
        let superblock = self.bytes(1024..2048, cache).await?;
        let field =
            |at: usize| superblock.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        if superblock.get(56..58) != Some(&[0x53, 0xef]) {
            return Err(none());
        }
        let block_size = 1024_u64 << field(24).min(6);
        let (blocks, first, per_group) = (u64::from(field(4)), u64::from(field(20)), u64::from(field(32)));
        let groups = blocks.saturating_sub(first).div_ceil(per_group.max(1));
        let start = (first + 1) * block_size;
        let end = start + (groups * 32).min(DESCRIPTORS_MAX);
        if end > self.size {
            return Err(none());
        }
        let descriptors = self.bytes(start..end, cache).await?;
        Ok([superblock, descriptors].concat().into())
    }

    fn identity_of(&self, head: &[u8]) -> Hash {
        let version = self.version.etag.as_ref().or(self.version.last_modified.as_ref());
        let text = format!("skiff plain image 1\n{}\n{}\n", self.size, version.map_or("", String::as_str));
        Hash::of(&[text.as_bytes(), head].concat())
    }

    /// Bytes of the disk that lie in a few chunks.
    async fn bytes(&self, range: Range<u64>, cache: CacheMode) -> Result<Bytes, Refusal> {
        let chunk = CHUNK_SIZE as u64;
        let mut bytes = BytesMut::new();
        let first = range.start / chunk;
        for number in first..range.end.div_ceil(chunk) {
            let number = u32::try_from(number).map_err(|_| Refusal::Useless("the disk is too large".to_owned()))?;
            bytes.extend_from_slice(&self.chunk(ChunkId(number), cache).await?);
        }
        let from = (range.start - first * chunk) as usize;
        let len = (range.end - range.start) as usize;
        Ok(bytes.freeze().slice(from..from + len))
    }

    /// One chunk, unless it takes too long: a connection whose other end is gone looks like one that is slow. Each failure
    /// before gives it more time.
    async fn chunk_in_time(&self, chunk: ChunkId, cache: CacheMode, failures: u32) -> Result<Bytes, Refusal> {
        let limit = Duration::from_secs(4 << failures.min(4));
        let late = self.host.timers.sleep_until(self.host.clock.monotonic() + limit);
        match select(pin!(self.chunk(chunk, cache)), late).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Err(Refusal::Passing(format!("{}: no answer within {} s", self.url, limit.as_secs()))),
        }
    }

    /// One chunk, the last one filled with zeros.
    async fn chunk(&self, chunk: ChunkId, cache: CacheMode) -> Result<Bytes, Refusal> {
        let start = u64::from(chunk.0) * CHUNK_SIZE as u64;
        let end = (start + CHUNK_SIZE as u64).min(self.size);
        if start >= end {
            return Err(Refusal::Useless(format!("chunk {} is behind the end of the disk", chunk.0)));
        }
        let body = match self.layout {
            PlainLayout::Ranges => {
                let part = start..end;
                let reply = self.host.network.get_range(&self.url, part.clone(), cache).await.map_err(passing)?;
                let size = part_of(&reply, &self.url, &part)?;
                let version = FileVersion::of(&reply);
                if size != self.size || version.contradicts(&self.version) {
                    let text = format!("{} was replaced by another file while it was in use; open it anew", self.url);
                    return Err(Refusal::Useless(text));
                }
                reply.body
            }
            PlainLayout::Pieces => {
                let url = format!("{}.c{:06x}.txt", self.url, chunk.0);
                let reply = self.host.network.get(&url, cache, CHUNK_SIZE).await.map_err(passing)?;
                check_status(&reply, &url, 200)?;
                reply.body
            }
        };
        if body.len() as u64 != end - start {
            let text = format!("{}: chunk {} has {} bytes of {}", self.url, chunk.0, body.len(), end - start);
            return Err(Refusal::Useless(text));
        }
        if body.len() == CHUNK_SIZE {
            return Ok(body);
        }
        let mut filled = BytesMut::from(body);
        filled.resize(CHUNK_SIZE, 0);
        Ok(filled.freeze())
    }

    fn trouble(&self, reason: &str) {
        let mut status = self.status.borrow_mut();
        if !matches!(status.link, Link::Offline { .. }) {
            status.link = Link::Offline { since: self.host.clock.monotonic() };
            status.losses += 1;
        }
        status.last_error = Some(reason.to_owned());
    }

    /// Waits before another try, or until the host hears that the network is back.
    async fn pause(&self, tries: u32) {
        self.pause_at_most(tries, Duration::MAX).await;
    }

    async fn pause_at_most(&self, tries: u32, longest: Duration) {
        let delay = policy::backoff(tries, self.host.network.random()).min(longest);
        let at = self.host.clock.monotonic() + delay;
        select(pin!(self.host.timers.sleep_until(at)), pin!(self.retry.wait())).await;
    }
}

/// A chunk that is being fetched, counted until it is dropped.
struct Waiting<'a, N> {
    inner: &'a Inner<N>,
    urgency: Urgency,
    since: Duration,
}

impl<'a, N> Waiting<'a, N> {
    fn begin(inner: &'a Inner<N>, urgency: Urgency) -> Self {
        let mut status = inner.status.borrow_mut();
        status.in_flight += 1;
        status.demanded += usize::from(urgency == Urgency::Demand);
        Self { inner, urgency, since: inner.host.clock.monotonic() }
    }

    fn arrived(&self) {
        let mut status = self.inner.status.borrow_mut();
        status.link = Link::Http;
        status.objects += 1;
        status.bytes += CHUNK_SIZE as u64;
        if self.urgency == Urgency::Demand {
            status.last_wait = Some(self.inner.host.clock.monotonic().saturating_sub(self.since));
        }
    }
}

impl<N> Drop for Waiting<'_, N> {
    fn drop(&mut self) {
        let mut status = self.inner.status.borrow_mut();
        status.in_flight -= 1;
        status.demanded -= usize::from(self.urgency == Urgency::Demand);
    }
}

impl FileVersion {
    fn of(reply: &HttpReply) -> Self {
        Self { etag: reply.headers.etag.clone(), last_modified: reply.headers.last_modified.clone() }
    }

    /// Whether both are known and differ. Servers of one host may give different ETags for the same file; the date then
    /// decides.
    fn contradicts(&self, other: &Self) -> bool {
        let differ = |one: &Option<String>, other: &Option<String>| {
            one.as_ref().zip(other.as_ref()).map(|(one, other)| one != other)
        };
        differ(&self.last_modified, &other.last_modified).or_else(|| differ(&self.etag, &other.etag)).unwrap_or(false)
    }
}

/// The error names the image; a reason that begins with it says it twice.
fn bad(image: &str, reason: &str) -> OpenError {
    let reason = reason.strip_prefix(image).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(reason);
    OpenError::Bad { image: image.to_owned(), reason: reason.to_owned() }
}

fn passing(error: super::NetError) -> Refusal {
    Refusal::Passing(error.0)
}

/// Refuses an answer with another status than the one that makes sense.
fn check_status(reply: &HttpReply, url: &str, wanted: u16) -> Result<(), Refusal> {
    let text = format!("{url}: status {}", reply.status);
    match reply.status {
        status if status == wanted => Ok(()),
        404 | 410 => Err(Refusal::Absent(text)),
        408 | 429 | 500.. => Err(Refusal::Passing(text)),
        _ => Err(Refusal::Useless(text)),
    }
}

/// Checks that an answer is the part that was asked for, and returns the size of the whole.
fn part_of(reply: &HttpReply, url: &str, part: &Range<u64>) -> Result<u64, Refusal> {
    let useless = |text: &str| Err(Refusal::Useless(format!("{url}: {text}")));
    if let Some(encoding) = reply.headers.content_encoding.as_deref().filter(|encoding| *encoding != "identity") {
        let text = format!(
            "the server compresses the disk ({encoding}), so parts of it cannot be read; turn that off for this file"
        );
        return useless(&text);
    }
    if reply.status == 200 {
        return useless(
            "the server sent the whole file instead of the part asked for. It does not serve byte ranges, or compresses \
             this file: allow `Range` and turn compression off for it, or cut it into pieces for GitHubDevice",
        );
    }
    check_status(reply, url, 206)?;
    let Some(range) = reply.headers.content_range.as_deref() else {
        return useless(
            "the size of the disk cannot be seen: the server must send `Content-Range` and, to pages of another origin, \
             `Access-Control-Expose-Headers: Content-Range, ETag`",
        );
    };
    let Some((first, last, size)) = parse_content_range(range) else {
        return useless(&format!("`Content-Range: {range}` makes no sense"));
    };
    if first != part.start || last.checked_add(1) != Some(part.end.min(size)) {
        return useless(&format!("asked for bytes {}-{} and got {range}", part.start, part.end - 1));
    }
    Ok(size)
}

/// Reads `bytes FIRST-LAST/SIZE` (RFC 9110, section 14.4).
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (first.trim().parse().ok()?, last.trim().parse().ok()?, size.trim().parse().ok()?);
    (first <= last && last < size).then_some((first, last, size))
}

#[cfg(test)]
mod tests;
