//! Taking connections: TLS, HTTP/1.1 and HTTP/2, and no patience for those who hold one without using it.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::server::Shared;
use crate::tls::{self, TlsFiles};

/// Time for a TLS handshake, and for the header of a request, however slowly it drips.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A peer that takes nothing for so long of what is being sent is gone, or wants to be a nuisance.
const STALLED: Duration = Duration::from_secs(60);
/// HTTP/2 connections are asked for a sign of life after this.
const H2_PING: Duration = Duration::from_secs(30);
const H2_STREAMS: u32 = 256;
/// After an error of accept (no more file descriptors, most likely).
const BREATHER: Duration = Duration::from_millis(100);

/// A bound address, and what is spoken there.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
}

impl Listener {
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<&TlsFiles>,
        max_connections: usize,
    ) -> anyhow::Result<Self> {
        let tls = tls.map(tls::acceptor).transpose()?;
        let tcp = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let connections = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Ok(Self { tcp, tls, connections })
    }

    /// A few connections without TLS.
    pub(crate) fn plain(tcp: TcpListener) -> Self {
        Self { tcp, tls: None, connections: Arc::new(Semaphore::new(64)) }
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Serves until `halt` says so, then ends what is idle and waits for the rest.
pub(crate) async fn serve(listener: Listener, router: Router, shared: Arc<Shared>, mut halt: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let mut halted = pin!(halt.wait_for(|halt| *halt));
    loop {
        // Beyond the limit connections wait in the kernel's queue.
        let permit = tokio::select! {
            permit = Arc::clone(&listener.connections).acquire_owned() => permit,
            _ = &mut halted => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            _ = &mut halted => break,
        };
        match accepted {
            Ok((tcp, peer)) => {
                if let Err(error) = tcp.set_nodelay(true) {
                    debug!(%error, "TCP_NODELAY");
                }
                let (tls, router, shared) = (listener.tls.clone(), router.clone(), Arc::clone(&shared));
                tokio::spawn(connection(tcp, peer, tls, router, shared, graceful.watcher(), permit));
            }
            Err(error) => {
                warn!(%error, "cannot accept");
                sleep(BREATHER).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn connection(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    shared: Arc<Shared>,
    watcher: Watcher,
    _permit: OwnedSemaphorePermit,
) {
    let _open = Open::new(&shared);
    let tcp = Patient::new(tcp);
    match tls {
        None => http(tcp, peer, router, watcher).await,
        Some(tls) => match timeout(HANDSHAKE, tls.accept(tcp)).await {
            Ok(Ok(stream)) => http(stream, peer, router, watcher).await,
            Ok(Err(error)) => debug!(%peer, %error, "no TLS"),
            Err(_) => debug!(%peer, "TLS took too long"),
        },
    }
}

async fn http<S>(stream: S, peer: SocketAddr, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING)
        .max_concurrent_streams(H2_STREAMS)
        .max_pending_accept_reset_streams(32);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        debug!(%peer, error, "connection broken");
    }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.metrics.connection_opened();
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connection_closed();
    }
}

/// A connection whose writes fail once the peer has taken nothing for [`STALLED`]. Reads may take for ever: who waits for
/// them knows how long.
struct Patient {
    tcp: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(tcp: TcpStream) -> Self {
        Self { tcp, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.watch(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.tcp).poll_flush(cx);
        self.watch(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.tcp).poll_shutdown(cx);
        self.watch(cx, poll)
    }
}
