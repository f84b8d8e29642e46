//! The command line of the block server.

mod settings;

use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use block_proto::Hash;
use block_proto::key::Prefix;
use block_proto::token::Claims;
use block_server::Server;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use settings::{LogFormat, Settings};

/// Serve a store of disk images, and the Skiff client beside it.
///
/// A store is made by `image-tools build`. Clients reach it by WebSocket at /v1/ws and by HTTP under the store's own keys
/// (/o/.., /t/..), so the same store on any static web server works too, only slower. Private images of a tenant lie below
/// /p/TENANT and need a token.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "EXAMPLES:\n  \
    block-server --store ./store\n      serve images at http://127.0.0.1:8080/\n  \
    block-server --store ./store --static ./client/dist --listen 0.0.0.0:80\n      serve the client page too, to everybody\n  \
    block-server --store s3://disks --disk-cache /var/cache/skiff --config /etc/skiff.toml\n      serve a bucket\n  \
    block-server token --tenant acme --hours 1 --token-secrets secrets\n      print a token for acme's private images\n\n\
    Then name an image as  http://HOST:PORT/NAME[@TAG|@b3:HASH].\n\
    Health is at /healthz and /readyz. Every option can be set in the file of --config, too: option-name = value."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Args)]
struct Serve {
    /// File with settings (TOML); the command line and the environment win over it.
    #[arg(long, value_name = "FILE", env = "BLOCK_SERVER_CONFIG")]
    config: Option<PathBuf>,
    /// Ask the server with these settings whether it is well, and end with 0 or 1: for containers.
    #[arg(long)]
    healthcheck: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Print a token that opens private images for a while.
    Token(Token),
}

#[derive(Args)]
struct Token {
    /// A tenant whose images may be read; may be given several times.
    #[arg(long, value_name = "NAME", required = true)]
    tenant: Vec<Prefix>,
    /// Public images may be read in the same session, too.
    #[arg(long)]
    public: bool,
    /// How long it is good for.
    #[arg(long, value_name = "HOURS", default_value_t = 1.0)]
    hours: f64,
    /// The only manifest that may be opened.
    #[arg(long, value_name = "HASH")]
    manifest: Option<Hash>,
    /// The only origin whose page may use it.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// File with secrets, as the server has it; the first one seals.
    #[arg(long, value_name = "FILE", env = "BLOCK_SERVER_TOKEN_SECRETS")]
    token_secrets: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Token(token)) => print_token(token),
        None => serve(cli.serve),
    }
}

fn print_token(token: Token) -> Result<()> {
    let settings = Settings { token_secrets: token.token_secrets, ..Settings::default() };
    let keys = settings.token_keys()?;
    let key = keys.first().context("there is no secret: give --token-secrets FILE or set BLOCK_SERVER_TOKEN_SECRET")?;
    anyhow::ensure!(token.hours > 0.0 && token.hours < 1e6, "--hours wants a number above 0");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let mut prefixes = token.tenant;
    if token.public {
        prefixes.push(Prefix::public());
    }
    let expires = now + (token.hours * 3600.0) as u64;
    let claims = Claims { expires, prefixes, manifest: token.manifest, origin: token.origin };
    println!("{}", key.issue(&claims).context("too many tenants, or too long an origin, for one token")?);
    Ok(())
}

#[tokio::main]
async fn serve(serve: Serve) -> Result<()> {
    let file = serve.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let settings = serve.settings.or(file);
    if serve.healthcheck {
        return healthcheck(&settings);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format.unwrap_or_default() {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
    let server = Server::bind(settings.config()?, settings.address()).await?;
    // The one line on stdout, for scripts that took port 0.
    println!("block-server is at {scheme}://{}/", server.address());
    if let Some(address) = server.metrics_address() {
        println!("metrics are at http://{address}/metrics");
    }
    server.run(stop_signal()?).await
}

fn healthcheck(settings: &Settings) -> Result<()> {
    use std::io::{Read, Write};
    let mut address = settings.address();
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    let patience = Duration::from_secs(3);
    let mut tcp = TcpStream::connect_timeout(&address, patience).with_context(|| format!("nobody is at {address}"))?;
    // Behind TLS, that it takes connections has to do.
    if settings.tls_cert.is_some() {
        return Ok(());
    }
    tcp.set_read_timeout(Some(patience))?;
    tcp.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).context("no answer")?;
    anyhow::ensure!(answer.ends_with(b" 200"), "the answer is {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_option_is_on_the_page() {
        let page = include_str!("../SETTINGS.md");
        for argument in Cli::command().get_arguments().filter(|argument| argument.get_id() != "healthcheck") {
            let Some(long) = argument.get_long().filter(|long| !matches!(*long, "help" | "version")) else { continue };
            assert!(page.contains(&format!("| `{long}` |")), "--{long} is not on the page");
            let variable = argument.get_env().expect("can be set in the environment").to_string_lossy().into_owned();
            assert_eq!(variable, format!("BLOCK_SERVER_{}", long.replace('-', "_").to_uppercase()));
        }
    }
}
