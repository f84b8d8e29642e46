//! A tree of files on a web server, as CheerpX's `WebDevice` has it: plain files, and in each directory a file `index.list`
//! with the names in it, one a line (a slash at the end marks a directory).
//!
//! What is a directory is found out by asking for its `index.list`; a file is asked for in parts where the server can do
//! that, and whole where it cannot. Answers are kept, also that there is nothing: the tree does not change while the machine
//! runs. Lost networks are waited out.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::join_all;
use linux_abi::time::Timespec;
use vm_block::CHUNK_SIZE;
use vm_block::remote::{CacheMode, HttpReply, Network, RemoteHost, backoff};
use vm_kernel::fs::hosted::{Found, Tree};
use vm_kernel::vfs::FileType;
use vm_kernel::{Errno, Result};
use vm_rt::Io;

/// The longest `index.list`.
const LIST_LIMIT: usize = 1 << 20;
/// The largest file that is taken whole from a server without ranges.
const WHOLE_LIMIT: usize = 256 << 20;
/// Paths remembered; a guest that makes names up must not fill the host's memory.
const PATHS_MAX: usize = 20_000;
/// Parts of files kept.
const PARTS_MAX: usize = 64;
/// In a directory with more names than this, those without a slash are told as files unasked.
const PROBED_MAX: usize = 128;

/// A tree on a server.
pub struct WebTree<N> {
    host: RemoteHost<N>,
    base: String,
    known: RefCell<BTreeMap<Vec<u8>, Known>>,
    /// The parts read last, newest first: path, number, bytes.
    parts: RefCell<VecDeque<(Vec<u8>, u64, Bytes)>>,
}

#[derive(Clone)]
enum Known {
    Absent,
    Directory(Rc<Vec<(Vec<u8>, bool)>>),
    File { size: u64, version: u64, whole: Option<Bytes> },
}

impl<N: Network + 'static> WebTree<N> {
    /// A tree below a URL.
    pub fn new(host: RemoteHost<N>, base: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { host, base, known: RefCell::default(), parts: RefCell::default() }
    }

    fn url(&self, path: &[u8]) -> String {
        let mut url = self.base.clone();
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            url.push('/');
            for byte in part {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => url.push(char::from(*byte)),
                    _ => url.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        url
    }

    /// Asks until there is an answer that says something about the file.
    async fn ask(
        &self,
        get: impl AsyncFn(&N, CacheMode) -> std::result::Result<HttpReply, vm_block::remote::NetError>,
    ) -> HttpReply {
        let mut tries = 0;
        loop {
            if let Ok(reply) = get(&self.host.network, CacheMode::Default).await
                && !matches!(reply.status, 408 | 429 | 500..)
            {
                return reply;
            }
            let at = self.host.clock.monotonic() + backoff(tries, self.host.network.random());
            self.host.timers.sleep_until(at).await;
            tries += 1;
        }
    }

    async fn know(&self, path: &[u8]) -> Result<Known> {
        if let Some(known) = self.known.borrow().get(path) {
            return Ok(known.clone());
        }
        let known = match self.directory(path).await? {
            Some(known) => known,
            // The root is there, listed or not.
            None if path.is_empty() => Known::Directory(Rc::default()),
            None => self.file(path).await?,
        };
        let mut all = self.known.borrow_mut();
        if all.len() >= PATHS_MAX {
            all.clear();
        }
        all.insert(path.to_vec(), known.clone());
        Ok(known)
    }

    async fn directory(&self, path: &[u8]) -> Result<Option<Known>> {
        let url = format!("{}/index.list", self.url(path));
        let reply = self.ask(async |network, cache| network.get(&url, cache, LIST_LIMIT).await).await;
        // Some servers answer everything with a page.
        if reply.status != 200 || reply.body.trim_ascii_start().starts_with(b"<") {
            return Ok(None);
        }
        let mut names: Vec<(Vec<u8>, bool)> = Vec::new();
        for line in reply.body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            let name = line.strip_suffix(b"/").unwrap_or(line);
            let is_name = !matches!(name, b"" | b"." | b".." | b"index.list") && name.len() <= 255;
            if is_name && !name.iter().any(|byte| matches!(byte, b'/' | 0)) {
                names.push((name.to_vec(), line.len() > name.len()));
            }
        }
        names.sort();
        names.dedup_by(|one, other| one.0 == other.0);
        Ok(Some(Known::Directory(Rc::new(names))))
    }

    async fn file(&self, path: &[u8]) -> Result<Known> {
        let url = self.url(path);
        let part = 0..CHUNK_SIZE as u64;
        let reply = self.ask(async |network, cache| network.get_range(&url, part.clone(), cache).await).await;
        let version = version_of(&reply);
        match reply.status {
            206 => {
                let size = reply
                    .headers
                    .content_range
                    .as_deref()
                    .and_then(|range| range.rsplit_once('/')?.1.trim().parse().ok());
                let plain = reply.headers.content_encoding.as_deref().is_none_or(|encoding| encoding == "identity");
                if let Some(size) = size.filter(|_| plain) {
                    self.keep(path, 0, reply.body);
                    return Ok(Known::File { size, version, whole: None });
                }
            }
            // An empty file has no first byte.
            416 => return Ok(Known::File { size: 0, version, whole: Some(Bytes::new()) }),
            404 | 410 => return Ok(Known::Absent),
            401 | 403 => return Err(Errno::EACCES),
            _ => {}
        }
        let reply = self.ask(async |network, cache| network.get(&url, cache, WHOLE_LIMIT).await).await;
        match reply.status {
            200 => Ok(Known::File { size: reply.body.len() as u64, version, whole: Some(reply.body) }),
            404 | 410 => Ok(Known::Absent),
            _ => Err(Errno::EIO),
        }
    }

    fn keep(&self, path: &[u8], number: u64, bytes: Bytes) {
        let mut parts = self.parts.borrow_mut();
        parts.truncate(PARTS_MAX - 1);
        parts.push_front((path.to_vec(), number, bytes));
    }

    fn kept(&self, path: &[u8], number: u64) -> Option<Bytes> {
        let parts = self.parts.borrow();
        parts.iter().find(|(of, at, _)| of == path && *at == number).map(|(_, _, bytes)| bytes.clone())
    }

    async fn part(&self, path: &[u8], number: u64, size: u64) -> Result<Bytes> {
        if let Some(bytes) = self.kept(path, number) {
            return Ok(bytes);
        }
        let url = self.url(path);
        let start = number * CHUNK_SIZE as u64;
        let part = start..(start + CHUNK_SIZE as u64).min(size);
        let reply = self.ask(async |network, cache| network.get_range(&url, part.clone(), cache).await).await;
        // Anything else than these very bytes is another file by now.
        if reply.status != 206 || reply.body.len() as u64 != part.end - part.start {
            return Err(Errno::EIO);
        }
        self.keep(path, number, reply.body.clone());
        Ok(reply.body)
    }

    async fn names(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileType)>> {
        let Known::Directory(names) = self.know(path).await? else { return Err(Errno::ENOTDIR) };
        let probed = names.len() <= PROBED_MAX;
        let kind = async |(name, slash): &(Vec<u8>, bool)| {
            let below = if path.is_empty() { name.clone() } else { [path, b"/", name].concat() };
            let is_directory = *slash || probed && matches!(self.directory(&below).await, Ok(Some(_)));
            (name.clone(), if is_directory { FileType::Directory } else { FileType::Regular })
        };
        Ok(join_all(names.iter().map(kind)).await)
    }
}

/// A number that differs when ETag or date do.
fn version_of(reply: &HttpReply) -> u64 {
    let text = reply.headers.etag.as_ref().or(reply.headers.last_modified.as_ref());
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.map_or(0, |text| text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}

impl<N: Network + 'static> Tree for WebTree<N> {
    fn find<'a>(&'a self, path: &'a [u8]) -> Io<'a, Result<Found>> {
        Io::later(async move {
            let (kind, size, version) = match self.know(path).await? {
                Known::Absent => return Err(Errno::ENOENT),
                Known::Directory(_) => (FileType::Directory, 0, 0),
                Known::File { size, version, .. } => (FileType::Regular, size, version),
            };
            Ok(Found { kind, size, modified: Timespec::default(), version })
        })
    }

    fn list<'a>(&'a self, path: &'a [u8]) -> Io<'a, Result<Vec<(Vec<u8>, FileType)>>> {
        Io::later(self.names(path))
    }

    fn read<'a>(&'a self, path: &'a [u8], offset: u64, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let known = self.known.borrow().get(path).cloned();
        let number = offset / CHUNK_SIZE as u64;
        let at_hand = match &known {
            Some(Known::File { whole: Some(bytes), .. }) => Some((bytes.clone(), offset)),
            _ => self.kept(path, number).map(|bytes| (bytes, offset % CHUNK_SIZE as u64)),
        };
        if let Some((bytes, at)) = at_hand {
            return Io::ready(Ok(copy(&bytes, at, buf)));
        }
        Io::later(async move {
            let Known::File { size, whole, .. } = self.know(path).await? else { return Err(Errno::EIO) };
            if let Some(bytes) = whole {
                return Ok(copy(&bytes, offset, buf));
            }
            let mut done = 0;
            while done < buf.len() && offset + (done as u64) < size {
                let at = offset + done as u64;
                let mut part = pin!(self.part(path, at / CHUNK_SIZE as u64, size));
                let bytes = part.as_mut().await?;
                let count = copy(&bytes, at % CHUNK_SIZE as u64, buf.get_mut(done..).unwrap_or(&mut []));
                if count == 0 {
                    break;
                }
                done += count;
            }
            Ok(done)
        })
    }
}

fn copy(bytes: &[u8], at: u64, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or(&[]);
    let count = rest.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}
