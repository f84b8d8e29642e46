//! The command line of the block server.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use block_server::{Config, Server};
use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Serve a store of disk images, and the Skiff client beside it.
///
/// A store is a directory made by `image-tools build`. Clients reach it by WebSocket at /v1/ws and by HTTP under the
/// store's own keys (/o/.., /t/..), so the same directory on any static web server works too, only slower.
#[derive(Parser)]
#[command(
    version,
    after_help = "EXAMPLES:\n  \
    block-server --store ./store\n      serve images at http://127.0.0.1:8080/\n  \
    block-server --store ./store --static ./client/dist --listen 0.0.0.0:80\n      serve the client page too, to everybody\n\n\
    Then name an image as  http://HOST:PORT/NAME[@TAG|@b3:HASH].\n\
    Health is at /healthz, Prometheus metrics are at /metrics."
)]
struct Args {
    /// The store's directory.
    #[arg(long, value_name = "DIR", env = "BLOCK_SERVER_STORE")]
    store: PathBuf,
    /// Files to serve at / (the client's page).
    #[arg(long = "static", value_name = "DIR", env = "BLOCK_SERVER_STATIC")]
    static_dir: Option<PathBuf>,
    /// Address and port; port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", env = "BLOCK_SERVER_LISTEN")]
    listen: SocketAddr,
    /// An origin whose pages may use this store, such as https://example.org; may be given several times. Default: any.
    #[arg(long, value_name = "ORIGIN", env = "BLOCK_SERVER_ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,
    /// WebSocket sessions at once.
    #[arg(long, value_name = "N", default_value_t = 1024, env = "BLOCK_SERVER_MAX_SESSIONS")]
    max_sessions: usize,
    /// How to write the log; RUST_LOG chooses how much of it.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "BLOCK_SERVER_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let config = Config {
        static_dir: args.static_dir,
        allow_origins: args.allow_origin,
        max_sessions: args.max_sessions,
        ..Config::new(args.store)
    };
    let server = Server::bind(config, args.listen).await?;
    // The one line on stdout, for scripts that took port 0.
    println!("block-server is at http://{}/", server.address());
    server.run(stop_signal()?).await
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}
