//! Binding, routing, stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::{any, get};
use block_proto::key::Prefix;
use block_proto::token::TokenKey;
use block_proto::{Hash, ServerConfig};
use block_store::{Access as BucketAccess, Location, Options, Store};
use bytes::Bytes;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::{info, warn};

use crate::access::Access;
use crate::boots::Boots;
use crate::http;
use crate::limits::{Buckets, Limits};
use crate::listen::{self, Listener};
use crate::metrics::Metrics;
use crate::tiers::{DiskCache, DiskCacheConfig, Hedge, Tiers};
use crate::tls::TlsFiles;

/// What a server serves, to whom, and with what.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store.
    pub store: Location,
    /// Where a bucket is and what opens it; what the environment says if absent.
    pub bucket: Option<BucketAccess>,
    /// The client's files, served at `/`.
    pub static_dir: Option<PathBuf>,
    /// Origins whose pages may use the store; empty for any.
    pub allow_origins: Vec<String>,
    /// What seals the tokens of private images. Without any, nothing private is served.
    pub token_keys: Vec<TokenKey>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Where `/metrics` is; nowhere if absent.
    pub metrics: Option<SocketAddr>,
    /// WebSocket sessions at once.
    pub max_sessions: usize,
    /// TCP connections at once.
    pub max_connections: usize,
    /// Bytes of objects kept in memory.
    pub memory_cache: u64,
    /// A cache on this machine's disk.
    pub disk_cache: Option<DiskCacheConfig>,
    /// When a slow read of the store is made twice.
    pub hedge: Hedge,
    /// How much one address or token may have.
    pub limits: Limits,
    /// Whether boots that clients report are kept.
    pub record_boots: bool,
    /// Time between saying "not ready" and refusing connections, so that load balancers hear of it.
    pub drain_delay: Duration,
    /// Limits of each session.
    pub session: ServerConfig,
}

impl Config {
    /// The usual settings, for a store in a directory.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self::at(Location::Directory(store.into()))
    }

    /// The usual settings.
    pub fn at(store: Location) -> Self {
        Self {
            store,
            bucket: None,
            static_dir: None,
            allow_origins: Vec::new(),
            token_keys: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
            metrics: None,
            max_sessions: 10_000,
            max_connections: 20_000,
            memory_cache: 256 << 20,
            disk_cache: None,
            hedge: Hedge::Auto,
            limits: Limits::default(),
            record_boots: false,
            drain_delay: Duration::ZERO,
            session: ServerConfig::default(),
        }
    }
}

/// What every request handler sees.
pub(crate) struct Shared {
    pub(crate) tiers: Tiers,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access: Access,
    pub(crate) buckets: Buckets,
    pub(crate) boots: Boots,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) session_config: ServerConfig,
    max_sessions: usize,
    sessions: AtomicUsize,
    next_session: AtomicU64,
    stopping: watch::Sender<bool>,
    /// Changes whenever a session ends.
    ended: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// Counts a session for as long as it lives.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    number: u64,
}

impl Guard {
    /// `None` if there are too many sessions already.
    pub(crate) fn enter(shared: &Arc<Shared>) -> Option<Self> {
        let room = |sessions| (sessions < shared.max_sessions).then_some(sessions + 1);
        shared.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        shared.metrics.session_opened();
        Some(Self { shared: Arc::clone(shared), number: shared.next_session.fetch_add(1, Ordering::Relaxed) })
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.session_closed();
        self.shared.ended.send_replace(());
    }
}

/// A server that is bound but does not answer yet.
pub struct Server {
    listener: Listener,
    address: SocketAddr,
    metrics: Option<(TcpListener, SocketAddr)>,
    shared: Arc<Shared>,
    router: Router,
    drain_delay: Duration,
}

impl Server {
    /// Opens the store and binds the addresses.
    pub async fn bind(config: Config, address: SocketAddr) -> anyhow::Result<Self> {
        // The server reads again itself, sooner and with an eye on the time.
        let options = Options { retries: 0, timeout: Duration::from_secs(10), access: config.bucket.clone() };
        let store = Store::open(&config.store, &options).context("cannot open the store")?;
        let metrics = Arc::new(Metrics::new());
        let disk = config.disk_cache.as_ref().map(|disk| {
            DiskCache::open(disk).with_context(|| format!("cannot use the disk cache {}", disk.directory.display()))
        });
        let disk = disk.transpose()?;
        let mut session_config = config.session;
        session_config.profiles = if config.record_boots { crate::boots::FRAMES_PER_SESSION } else { 0 };
        let shared = Arc::new(Shared {
            tiers: Tiers::new(store, config.memory_cache, disk, config.hedge, Arc::clone(&metrics)),
            metrics,
            access: Access::new(config.allow_origins.clone(), config.token_keys.clone()),
            buckets: Buckets::new(&config.limits),
            boots: Boots::default(),
            trusted_proxies: config.trusted_proxies.clone(),
            session_config,
            max_sessions: config.max_sessions,
            sessions: AtomicUsize::new(0),
            next_session: AtomicU64::new(1),
            stopping: watch::Sender::new(false),
            ended: watch::Sender::new(()),
        });
        let router = router(&config, &shared)?;
        let listener = Listener::bind(address, config.tls.as_ref(), config.max_connections).await?;
        let address = listener.address()?;
        let metrics = match config.metrics {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                let bound = bound.with_context(|| format!("cannot listen on {address} for metrics"))?;
                let address = bound.local_addr()?;
                Some((bound, address))
            }
        };
        Ok(Self { listener, address, metrics, shared, router, drain_delay: config.drain_delay })
    }

    /// The address clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address with `/metrics`.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
    }

    /// A handle for tests that break the memory cache of a running server.
    pub fn spoiler(&self) -> Spoiler {
        Spoiler(Arc::clone(&self.shared))
    }

    /// Serves until `stop` completes, then asks sessions to go elsewhere and waits for them, for a bounded time.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let Self { listener, address, metrics, shared, router, drain_delay } = self;
        info!(%address, "listening");
        let (halt, halted) = watch::channel(false);
        let metrics = metrics.map(|(tcp, address)| {
            info!(%address, "metrics");
            let router = Router::new().route("/metrics", get(http::metrics)).with_state(Arc::clone(&shared));
            tokio::spawn(listen::serve(Listener::plain(tcp), router, Arc::clone(&shared), halted.clone()))
        });
        let serving = tokio::spawn(listen::serve(listener, router, Arc::clone(&shared), halted));
        stop.await;
        info!("stopping");
        // From here on `/readyz` says no and sessions are sent away; connections are still taken, for those who have not
        // heard of it.
        shared.stopping.send_replace(true);
        tokio::time::sleep(drain_delay).await;
        halt.send_replace(true);
        let patience = shared.session_config.drain_timeout + Duration::from_secs(1);
        let mut ended = shared.ended.subscribe();
        let quiet = async {
            while shared.sessions.load(Ordering::Relaxed) > 0 {
                if ended.changed().await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(patience, quiet).await.is_err() {
            warn!("some sessions did not end in time");
        }
        let rest = async {
            let _ = serving.await;
            if let Some(metrics) = metrics {
                let _ = metrics.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(1), rest).await.is_err() {
            warn!("some connections did not end in time");
        }
        shared.boots.flush(&shared).await;
        info!("stopped");
        Ok(())
    }
}

/// Breaks what a running server has in memory, as broken memory would.
pub struct Spoiler(Arc<Shared>);

impl Spoiler {
    /// Replaces what is kept of an object.
    pub async fn spoil(&self, prefix: &Prefix, hash: &Hash, envelope: Bytes) {
        self.0.tiers.spoil(prefix, hash, envelope).await;
    }
}

fn router(config: &Config, shared: &Arc<Shared>) -> anyhow::Result<Router> {
    let origins = config.allow_origins.iter().map(|origin| HeaderValue::from_str(origin).context("bad origin"));
    let origins = origins.collect::<anyhow::Result<Vec<_>>>()?;
    let allow = if origins.is_empty() { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    let cors = CorsLayer::new()
        .allow_origin(allow)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([header::RANGE, header::AUTHORIZATION, header::CACHE_CONTROL])
        .expose_headers([header::ETAG, header::CONTENT_RANGE, header::CONTENT_LENGTH, header::RETRY_AFTER]);
    // Pages under `Cross-Origin-Embedder-Policy: require-corp` may embed the VM too.
    let embeddable = SetResponseHeaderLayer::if_not_present(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    let timing = SetResponseHeaderLayer::if_not_present(
        HeaderName::from_static("timing-allow-origin"),
        HeaderValue::from_static("*"),
    );
    // What is below these folders is decided by `block_proto::route`, not by patterns.
    let folders = ["/v1/{*rest}", "/o/{*rest}", "/t/{*rest}", "/b/{*rest}", "/p/{*rest}"];
    let store = folders.iter().fold(Router::new(), |router, folder| router.route(folder, any(http::store_request)));
    let router = Router::new()
        .merge(store.layer(cors.clone()).layer(embeddable.clone()).layer(timing))
        .route("/healthz", get(http::healthz))
        .route("/readyz", get(http::readyz))
        .with_state(Arc::clone(shared));
    let nosniff =
        SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A new build must be seen at the next load; unchanged files cost one conditional request.
    let revalidate =
        SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(match &config.static_dir {
        None => router.fallback(http::nothing_here),
        Some(dir) => {
            let files = ServeDir::new(dir).precompressed_br().precompressed_gzip();
            let files = Router::new().fallback_service(files).layer(revalidate).layer(embeddable).layer(cors);
            router.fallback_service(files)
        }
    }
    .layer(nosniff))
}
