//! The servers, each over a store in a directory that the test may damage.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use block_proto::Hash;
use block_proto::key::Prefix;
use block_proto::token::{Claims, TokenKey};
use block_server::{BucketAccess, Config, DiskCacheConfig, Limits, Location, Server, Spoiler};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::bucket;
use crate::sample::{self, Sample, Template};

/// The secret that seals tokens here.
pub const SECRET: &str = "the-secret-of-the-stream-tests-is-long";
/// The only origin that may connect, where there is one.
pub const GOOD_ORIGIN: &str = "https://good.example";
const BUCKET: &str = "disks";
const DISK_CACHE: &str = "cache";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// block-server on a directory.
    Directory,
    /// block-server on a bucket.
    Bucket,
    /// The Worker in workerd.
    Worker,
}

impl Target {
    /// Every server.
    pub const ALL: [Self; 3] = [Self::Directory, Self::Bucket, Self::Worker];

    /// Its name in the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Bucket => "s3",
            Self::Worker => "worker",
        }
    }
}

/// How a server is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Without limits on what one address may do: every case comes from one, faster than any classroom.
    Usual,
    /// For pages of [`GOOD_ORIGIN`] alone.
    OneOrigin,
    /// With the limits that a server has by itself.
    DefaultLimits,
    /// With a cache on disk before the store; the Worker has its Cache API anyway.
    DiskCache,
    /// With little patience for silence, where that can be set.
    Impatient,
    /// With sessions that end after a few objects, where that can be set.
    Frugal,
}

/// A running server and its store.
pub struct World {
    /// Which server it is.
    pub target: Target,
    /// What is in its store.
    pub sample: Sample,
    dir: TempDir,
    running: Running,
    bucket: Option<Threaded<SocketAddr>>,
}

enum Running {
    Rust { replica: Option<Replica>, config: Box<Config> },
    Worker(Mutex<Worker>),
}

impl World {
    /// Starts a server over a new store.
    pub fn start(target: Target, setup: Setup, template: &Template) -> Self {
        let dir = tempfile::tempdir().expect("makes a directory");
        let store = dir.path().join(BUCKET);
        std::fs::create_dir(&store).expect("makes it");
        // What no path may reach.
        std::fs::write(dir.path().join("secret.txt"), "secret").expect("writes");
        let sample = template.fill(&store);
        let mut buckets = None;
        let running = match target {
            Target::Worker => Running::Worker(Mutex::new(Worker::start(&store, setup))),
            Target::Directory => Running::rust(settings(Config::new(&store), setup, dir.path())),
            Target::Bucket => {
                let root = dir.path().to_owned();
                let server = buckets.insert(Threaded::start(move |told, stopped| async move {
                    tokio::select! {
                        () = bucket::serve(&root, told) => {}
                        _ = stopped => {}
                    }
                }));
                Running::rust(settings(bucket_config(server.at), setup, dir.path()))
            }
        };
        Self { target, sample, dir, running, bucket: buckets }
    }

    /// The directory with the store's files. The Worker has a copy of them.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join(BUCKET)
    }

    /// Where the bucket is, behind a server that has one.
    pub fn bucket(&self) -> Option<SocketAddr> {
        self.bucket.as_ref().map(|bucket| bucket.at)
    }

    /// The directory of the cache on disk.
    pub fn disk_cache(&self) -> PathBuf {
        self.dir.path().join(DISK_CACHE)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        match &self.running {
            Running::Rust { replica, .. } => replica.as_ref().expect("runs").address().to_string(),
            Running::Worker(worker) => worker.lock().expect("not poisoned").address.clone(),
        }
    }

    /// The socket's URL, below a prefix.
    pub fn socket_url(&self, prefix: &Prefix) -> String {
        format!("ws://{}/{}", self.address(), prefix.key(block_proto::SOCKET_PATH))
    }

    /// The name of an image.
    pub fn image(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address())
    }

    /// Stores other bytes under a key.
    pub fn replace(&self, key: &str, bytes: &[u8]) {
        sample::put(&self.store(), key, bytes);
        let file = self.store().join(key);
        self.tell_worker(&serde_json::json!({ "put": key, "file": file }));
    }

    /// Removes a key.
    pub fn remove(&self, key: &str) {
        std::fs::remove_file(self.store().join(key)).expect("is there");
        self.tell_worker(&serde_json::json!({ "delete": key }));
    }

    /// The bytes under a key.
    pub fn stored(&self, key: &str) -> Vec<u8> {
        std::fs::read(self.store().join(key)).expect("is there")
    }

    /// Puts bytes into the Worker's cache, as if they had been damaged there.
    pub fn poison_edge_cache(&self, key: &str, bytes: &[u8]) {
        let file = self.dir.path().join("poison");
        std::fs::write(&file, bytes).expect("writes");
        self.tell_worker(&serde_json::json!({ "poison": key, "file": file }));
    }

    fn tell_worker(&self, command: &serde_json::Value) {
        if let Running::Worker(worker) = &self.running {
            worker.lock().expect("not poisoned").tell(command);
        }
    }

    /// What breaks the memory of a block-server.
    pub fn spoiler(&self) -> Option<&Spoiler> {
        match &self.running {
            Running::Rust { replica, .. } => replica.as_ref().map(|replica| &replica.thread.at.spoiler),
            Running::Worker(_) => None,
        }
    }

    /// A number of a block-server's `/metrics`.
    pub async fn metric(&self, line: &str) -> Option<u64> {
        let Running::Rust { replica, .. } = &self.running else { return None };
        replica.as_ref().expect("runs").metric(line).await
    }

    /// Starts another server over the same store, at an address of its own.
    pub fn another(&self) -> Option<Replica> {
        match &self.running {
            Running::Rust { config, .. } => Some(serve((**config).clone(), "127.0.0.1:0")),
            Running::Worker(_) => None,
        }
    }

    /// Stops the server with all its sessions, and starts it anew at the same address, with empty memory.
    pub fn restart(&mut self) {
        match &mut self.running {
            Running::Rust { replica, config } => {
                let address = replica.as_ref().expect("runs").address().to_string();
                drop(replica.take());
                *replica = Some(serve((**config).clone(), &address));
            }
            Running::Worker(worker) => {
                worker.get_mut().expect("not poisoned").tell(&serde_json::json!({ "restart": true }));
            }
        }
    }
}

impl Running {
    fn rust(config: Config) -> Self {
        Self::Rust { replica: Some(serve(config.clone(), "127.0.0.1:0")), config: Box::new(config) }
    }
}

/// A token for the tenant of the sample.
pub fn token(expires_in: i64, manifest: Option<Hash>) -> String {
    token_of(SECRET, &sample::tenant(), expires_in, manifest, None)
}

/// A token, sealed with a secret.
pub fn token_of(
    secret: &str,
    prefix: &Prefix,
    expires_in: i64,
    manifest: Option<Hash>,
    origin: Option<&str>,
) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    let expires = now.saturating_add_signed(expires_in);
    let claims = Claims { expires, prefixes: vec![prefix.clone()], manifest, origin: origin.map(str::to_owned) };
    TokenKey::new(secret).expect("is long enough").issue(&claims).expect("fits")
}

fn settings(mut config: Config, setup: Setup, dir: &Path) -> Config {
    config.token_keys = vec![TokenKey::new(SECRET).expect("is long enough")];
    config.metrics = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    if setup != Setup::DefaultLimits {
        config.limits = Limits { connects: None, objects: None, token_objects: None, fresh: None };
    }
    match setup {
        Setup::Usual | Setup::DefaultLimits | Setup::Frugal => {}
        Setup::OneOrigin => config.allow_origins = vec![GOOD_ORIGIN.into()],
        Setup::DiskCache => {
            config.disk_cache = Some(DiskCacheConfig { directory: dir.join(DISK_CACHE), bytes: 1 << 30 });
        }
        Setup::Impatient => {
            config.session.hello_timeout = Duration::from_secs(1);
            config.session.idle_timeout = Duration::from_secs(2);
        }
    }
    config
}

fn bucket_config(address: SocketAddr) -> Config {
    let access = BucketAccess {
        endpoint: format!("http://{address}"),
        region: "us-east-1".into(),
        key_id: bucket::KEY_ID.into(),
        secret: bucket::KEY.into(),
    };
    let location = Location::Bucket { bucket: BUCKET.into(), prefix: String::new() };
    Config { bucket: Some(access), ..Config::at(location) }
}

/// Something that runs on a thread of its own; stopped when dropped.
pub struct Threaded<T> {
    /// Where it is to be found.
    pub at: T,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Threaded<T> {
    /// Runs it; what it tells is where it is.
    fn start<F>(run: impl FnOnce(Sender<T>, oneshot::Receiver<()>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()>,
    {
        let (told, tell) = channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().expect("starts");
            runtime.block_on(run(told, stopped));
            runtime.shutdown_background();
        });
        Self { at: tell.recv().expect("starts"), stop: Some(stop), thread: Some(thread) }
    }
}

impl<T> Drop for Threaded<T> {
    /// Stops it as SIGTERM would, and waits for its end.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "it does not panic");
        }
    }
}

/// A block-server in this process.
pub struct Replica {
    thread: Threaded<Doors>,
}

struct Doors {
    address: SocketAddr,
    metrics: SocketAddr,
    spoiler: Spoiler,
}

impl Replica {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.thread.at.address
    }

    /// A number of `/metrics`; `None` if there is no such line (yet).
    pub async fn metric(&self, line: &str) -> Option<u64> {
        let reply = crate::raw::http(&self.thread.at.metrics.to_string(), "GET", "/metrics", "", b"").await;
        let text = String::from_utf8(reply.body).expect("is text");
        text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
    }
}

/// Starts a block-server.
pub fn serve(config: Config, address: &str) -> Replica {
    let address: SocketAddr = address.parse().expect("an address");
    let thread = Threaded::start(move |told, stopped| async move {
        let server = Server::bind(config, address).await.expect("binds");
        let metrics = server.metrics_address().expect("is asked for");
        told.send(Doors { address: server.address(), metrics, spoiler: server.spoiler() }).expect("is listened to");
        let stop = async {
            let _ = stopped.await;
        };
        server.run(stop).await.expect("runs");
    });
    Replica { thread }
}

/// The Worker in workerd.
struct Worker {
    address: String,
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Worker {
    fn start(store: &Path, setup: Setup) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut node = Command::new("node");
        node.current_dir(&root).arg("edge-worker/serve.mjs").arg("--store").arg(store);
        node.arg("--var").arg(format!("TOKEN_SECRETS={SECRET}"));
        let of_setup = match setup {
            Setup::OneOrigin => Some(format!("ALLOW_ORIGINS={GOOD_ORIGIN}")),
            Setup::Frugal => Some("SUBREQUESTS=80".to_owned()),
            Setup::Usual | Setup::DefaultLimits | Setup::DiskCache | Setup::Impatient => None,
        };
        if let Some(variable) = of_setup {
            node.arg("--var").arg(variable);
        }
        let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node is installed");
        let output = BufReader::new(child.stdout.take().expect("is piped"));
        let (told, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        let first = answers.recv_timeout(crate::raw::PATIENCE * 2).expect(
            "the Worker starts: build it with `cargo xtask worker build`, or run these tests with `cargo xtask test stream`",
        );
        let address = first.split("http://").nth(1).map(|rest| rest.trim_end_matches('/').to_owned());
        let address = address.unwrap_or_else(|| panic!("the Worker said {first}"));
        let commands = child.stdin.take();
        Self { address, child, commands, answers }
    }

    fn tell(&mut self, command: &serde_json::Value) {
        let commands = self.commands.as_mut().expect("runs");
        writeln!(commands, "{command}").expect("listens");
        let answer = self.answers.recv_timeout(crate::raw::PATIENCE).expect("answers");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["ok"], true, "{command}: {answer}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It ends when its input does.
        self.commands = None;
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
