//! Binding, routing, stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::get;
use axum::serve::ListenerExt;
use block_proto::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::store::DirStore;
use crate::{http, socket};

/// What a server serves, and to whom.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store's directory.
    pub store: PathBuf,
    /// The client's files, served at `/`.
    pub static_dir: Option<PathBuf>,
    /// Origins whose pages may use the store; empty for any.
    pub allow_origins: Vec<String>,
    /// WebSocket sessions at once.
    pub max_sessions: usize,
    /// Limits of each session.
    pub session: ServerConfig,
}

impl Config {
    /// The usual settings.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            static_dir: None,
            allow_origins: Vec::new(),
            max_sessions: 1024,
            session: ServerConfig::default(),
        }
    }
}

/// What every request handler sees.
pub(crate) struct Shared {
    pub(crate) store: DirStore,
    pub(crate) metrics: Metrics,
    pub(crate) session_config: ServerConfig,
    allow_origins: Vec<String>,
    max_sessions: usize,
    sessions: AtomicUsize,
    next_session: AtomicU64,
    stopping: watch::Sender<bool>,
    /// Changes whenever a session ends.
    ended: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn origin_allowed(&self, origin: &str) -> bool {
        self.allow_origins.is_empty() || self.allow_origins.iter().any(|allowed| allowed == origin)
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
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

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
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
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    router: Router,
}

impl Server {
    /// Opens the store and binds the address; port 0 takes any.
    pub async fn bind(config: Config, address: SocketAddr) -> anyhow::Result<Self> {
        let store = DirStore::open(&config.store).context("cannot open the store")?;
        if let Some(dir) = &config.static_dir {
            anyhow::ensure!(dir.is_dir(), "{} is not a directory", dir.display());
        }
        let shared = Arc::new(Shared {
            store,
            metrics: Metrics::new(),
            session_config: config.session,
            allow_origins: config.allow_origins.clone(),
            max_sessions: config.max_sessions,
            sessions: AtomicUsize::new(0),
            next_session: AtomicU64::new(1),
            stopping: watch::Sender::new(false),
            ended: watch::Sender::new(()),
        });
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, router: router(&config, &shared)?, shared })
    }

    /// The address clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` completes, then asks sessions to go elsewhere and waits for them, for a bounded time.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let Self { listener, address, shared, router } = self;
        info!(%address, "listening");
        let stopping = Arc::clone(&shared);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let listener = listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                warn!(%error, "TCP_NODELAY");
            }
        });
        let mut stopped = shared.stopping();
        let serve = axum::serve(listener, service).with_graceful_shutdown(async move {
            stop.await;
            info!("stopping");
            stopping.stopping.send_replace(true);
        });
        // Idle keep-alive connections would hold the shutdown up for ever.
        let patience = shared.session_config.drain_timeout + Duration::from_secs(1);
        let overdue = async {
            let _ = stopped.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            result = serve.into_future() => result?,
            () = overdue => {}
        }
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
        info!("stopped");
        Ok(())
    }
}

fn router(config: &Config, shared: &Arc<Shared>) -> anyhow::Result<Router> {
    let origins = config.allow_origins.iter().map(|origin| HeaderValue::from_str(origin).context("bad origin"));
    let origins = origins.collect::<anyhow::Result<Vec<_>>>()?;
    let allow = if origins.is_empty() { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    let cors = CorsLayer::new()
        .allow_origin(allow)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::RANGE])
        .expose_headers([header::ETAG, header::CONTENT_RANGE, header::CONTENT_LENGTH]);
    // Pages under `Cross-Origin-Embedder-Policy: require-corp` may embed the VM too.
    let embeddable = SetResponseHeaderLayer::if_not_present(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    let timing = SetResponseHeaderLayer::if_not_present(
        HeaderName::from_static("timing-allow-origin"),
        HeaderValue::from_static("*"),
    );
    let objects = Router::new()
        .route("/v1/o/{hash}", get(http::object))
        .route("/o/{prefix}/{hash}", get(http::object_by_key))
        .route("/v1/images/{name}/tags/{tag}", get(http::tag))
        .route("/t/{name}/{file}", get(http::tag_by_key))
        .layer(cors)
        .layer(embeddable.clone())
        .layer(timing);
    let router = Router::new()
        .merge(objects)
        .route("/v1/ws", get(socket::upgrade))
        .route("/healthz", get(http::healthz))
        .route("/readyz", get(http::healthz))
        .route("/metrics", get(http::metrics))
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
            let files = Router::new().fallback_service(files).layer(revalidate).layer(embeddable);
            router.fallback_service(files)
        }
    }
    .layer(nosniff))
}
