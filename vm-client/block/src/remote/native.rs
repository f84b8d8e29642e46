//! The network of a process: tokio for sockets, `ureq` for HTTP, plain files for stores in directories.
//!
//! - [`NativeNetwork`]: a [`Network`] whose work is done on a thread of its own, so that its futures can be polled by any
//!   executor.
//! - [`NativeHost`]: clock, timers and network for programs that have no machine to run, such as `image-tools`.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use vm_rt::{Clock, Timers};

use super::host::{CacheMode, HttpReply, NetError, Network, ReplyHeaders};
use super::{Background, RemoteHost};

mod http;
mod socket;
mod trust;

pub use http::HttpClient;
pub use socket::NativeSocket;
pub use trust::NativeOptions;
use trust::Trust;

/// Time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sockets, HTTP and directories.
pub struct NativeNetwork {
    runtime: Handle,
    http: HttpClient,
    trust: Trust,
    random: RandomState,
    /// Dropped with this: the thread ends.
    _stop: oneshot::Sender<()>,
}

impl NativeNetwork {
    /// Starts the network's thread, with what the environment says.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&NativeOptions::from_env())
    }

    /// Starts the network's thread.
    pub fn start_with(options: &NativeOptions) -> io::Result<Self> {
        let trust = Trust::new(options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("network".to_owned()).spawn(move || {
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        let http = HttpClient::with(&trust);
        Ok(Self { runtime: handle, http, trust, random: RandomState::new(), _stop: stop })
    }

    /// Runs blocking work on the thread pool.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, NetError> + Send + 'static,
    ) -> Result<T, NetError> {
        let joined = self.runtime.spawn_blocking(work).await;
        joined.unwrap_or_else(|error| Err(NetError(error.to_string())))
    }
}

impl Network for NativeNetwork {
    type Socket = NativeSocket;

    async fn connect(&self, url: &str, protocol: &str) -> Result<NativeSocket, NetError> {
        let (url, protocol, trust) = (url.to_owned(), protocol.to_owned(), self.trust.clone());
        let dialled = self.runtime.spawn(async move {
            let dial = socket::dial(&url, &protocol, &trust);
            let timeout = Err(NetError("no connection in time".to_owned()));
            tokio::time::timeout(CONNECT_TIMEOUT, dial).await.unwrap_or(timeout)
        });
        dialled.await.unwrap_or_else(|error| Err(NetError(error.to_string())))
    }

    async fn get_range(&self, url: &str, part: Range<u64>, cache: CacheMode) -> Result<HttpReply, NetError> {
        let (url, http) = (url.to_owned(), self.http.clone());
        self.blocking(move || http.get_range(&url, &part, cache)).await
    }

    async fn get(&self, url: &str, cache: CacheMode, limit: usize) -> Result<HttpReply, NetError> {
        let url = url.to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return self.blocking(move || read_file(&url, limit)).await;
        }
        let http = self.http.clone();
        self.blocking(move || http.get(&url, cache, limit)).await
    }

    fn random(&self) -> u64 {
        self.random.build_hasher().finish() ^ u64::from(Instant::now().elapsed().subsec_nanos())
    }
}

/// A file of a store in a directory, answered as a web server would.
fn read_file(path: &str, limit: usize) -> Result<HttpReply, NetError> {
    match std::fs::read(path) {
        Ok(body) if body.len() <= limit => {
            Ok(HttpReply { status: 200, body: body.into(), headers: ReplyHeaders::default() })
        }
        Ok(body) => Err(NetError(format!("a file of {} bytes where at most {limit} are taken", body.len()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(HttpReply { status: 404, body: Bytes::new(), headers: ReplyHeaders::default() })
        }
        Err(error) => Err(NetError(error.to_string())),
    }
}

/// The clock of the host.
#[derive(Debug)]
pub struct NativeClock {
    start: Instant,
}

impl Default for NativeClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for NativeClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn realtime(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Everything a remote image needs, and the means to wait for it on this thread.
pub struct NativeHost {
    host: RemoteHost<NativeNetwork>,
    background: RefCell<Vec<Background>>,
}

impl NativeHost {
    /// Starts the network and the clock, with what the environment says.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&NativeOptions::from_env())
    }

    /// Starts the network and the clock.
    pub fn start_with(options: &NativeOptions) -> io::Result<Self> {
        let host = RemoteHost {
            network: Rc::new(NativeNetwork::start_with(options)?),
            clock: Rc::new(NativeClock::default()),
            timers: Timers::new(),
        };
        Ok(Self { host, background: RefCell::default() })
    }

    /// What [`super::Remote::open`] takes.
    pub fn remote_host(&self) -> &RemoteHost<NativeNetwork> {
        &self.host
    }

    /// Adds work to be done while [`NativeHost::run`] waits.
    pub fn spawn(&self, background: Background) {
        self.background.borrow_mut().push(background);
    }

    /// Waits for a future, doing background work meanwhile.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(ThreadWaker(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return value;
            }
            // Taken out while polled: background work may spawn more.
            let mut background = std::mem::take(&mut *self.background.borrow_mut());
            background.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
            self.background.borrow_mut().append(&mut background);
            let now = self.host.clock.monotonic();
            self.host.timers.fire(now);
            match self.host.timers.next_deadline() {
                // A wake-up since the polls makes this return at once.
                Some(deadline) => std::thread::park_timeout(deadline.saturating_sub(now)),
                None => std::thread::park(),
            }
        }
    }
}

struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A port where connections are taken and closed at once.
    fn rude_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = listener.local_addr().expect("is bound").port();
        std::thread::spawn(move || listener.incoming().for_each(drop));
        port
    }

    #[test]
    fn every_kind_of_url_fails_in_words_and_never_panics() {
        let host = NativeHost::start().expect("starts");
        let network = Rc::clone(&host.remote_host().network);
        let port = rude_port();
        for scheme in ["ws", "wss"] {
            let url = format!("{scheme}://127.0.0.1:{port}/v1/ws");
            let error = host.run(network.connect(&url, "vmdisk.v1")).map(drop).expect_err("nobody speaks there");
            assert!(!error.0.contains("panic"), "{error}");
        }
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://127.0.0.1:{port}/t/a/b.json");
            let error = host.run(network.get(&url, CacheMode::Reload, 100)).expect_err("nobody speaks there");
            assert!(!error.0.contains("panic"), "{error}");
        }
    }

    #[test]
    fn directories_answer_like_web_servers() {
        let dir = std::env::temp_dir().join(format!("vm-block-native-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("makes a directory");
        std::fs::write(dir.join("file"), b"content").expect("writes");
        let host = NativeHost::start().expect("starts");
        let network = Rc::clone(&host.remote_host().network);
        let get = |name: &str, limit| {
            let path = dir.join(name).to_str().expect("is text").to_owned();
            host.run(network.get(&path, CacheMode::Default, limit))
        };
        let found = get("file", 100).expect("answers");
        assert_eq!((found.status, &found.body[..]), (200, &b"content"[..]));
        assert_eq!(get("absent", 100).expect("answers").status, 404);
        assert!(get("file", 3).is_err());
        std::fs::remove_dir_all(&dir).expect("cleans up");
    }
}
