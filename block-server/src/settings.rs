//! Settings from a file, the environment and the command line. The command line wins over the environment, and that over
//! the file; each setting has one name, spelled `--memory-cache`, `BLOCK_SERVER_MEMORY_CACHE` and `memory-cache`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use block_proto::token::TokenKey;
use block_server::{Allowance, Config, DiskCacheConfig, Hedge, Limits, Location, TlsFiles};
use clap::Args;
use ipnet::IpNet;
use serde::Deserialize;

/// Everything that can be set.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The store: a directory, or s3://BUCKET[/PREFIX] with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
    /// AWS_REGION in the environment.
    #[arg(long, value_name = "STORE", env = "BLOCK_SERVER_STORE")]
    pub(crate) store: Option<String>,
    /// Files to serve at / (the client's page).
    #[arg(long = "static", value_name = "DIR", env = "BLOCK_SERVER_STATIC")]
    #[serde(rename = "static")]
    pub(crate) static_dir: Option<PathBuf>,
    /// Address and port; port 0 takes any free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", env = "BLOCK_SERVER_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address and port with Prometheus metrics at /metrics; keep it away from the public [default: none].
    #[arg(long, value_name = "ADDR", env = "BLOCK_SERVER_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// PEM file with the certificate chain; read again when it changes.
    #[arg(long, value_name = "FILE", env = "BLOCK_SERVER_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[arg(long, value_name = "FILE", env = "BLOCK_SERVER_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// An origin whose pages may use this store, such as https://example.org; may be given several times [default: any].
    #[arg(long, value_name = "ORIGIN", env = "BLOCK_SERVER_ALLOW_ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Option<Vec<String>>,
    /// File with the secrets that seal tokens for private images, one a line, 32 characters or more each; the first seals
    /// new ones. BLOCK_SERVER_TOKEN_SECRET, one secret, is used when there is no file.
    #[arg(long, value_name = "FILE", env = "BLOCK_SERVER_TOKEN_SECRETS")]
    pub(crate) token_secrets: Option<PathBuf>,
    /// A proxy, or network of proxies, whose X-Forwarded-For is believed, such as 10.0.0.0/8 [default: none].
    #[arg(long, value_name = "CIDR", env = "BLOCK_SERVER_TRUST_PROXY", value_delimiter = ',')]
    pub(crate) trust_proxy: Option<Vec<IpNet>>,
    /// Memory for objects, such as 512M [default: 256M].
    #[arg(long, value_name = "SIZE", env = "BLOCK_SERVER_MEMORY_CACHE")]
    pub(crate) memory_cache: Option<Bytes>,
    /// Directory for a cache of objects, for stores that are far away; one server's own [default: none].
    #[arg(long, value_name = "DIR", env = "BLOCK_SERVER_DISK_CACHE")]
    pub(crate) disk_cache: Option<PathBuf>,
    /// Size of the disk cache [default: 10G].
    #[arg(long, value_name = "SIZE", env = "BLOCK_SERVER_DISK_CACHE_SIZE")]
    pub(crate) disk_cache_size: Option<Bytes>,
    /// When a slow read of the store is made a second time: auto, off, or after so many milliseconds [default: auto].
    #[arg(long, value_name = "WHEN", env = "BLOCK_SERVER_HEDGE")]
    pub(crate) hedge: Option<HedgeSetting>,
    /// WebSocket sessions at once [default: 10000].
    #[arg(long, value_name = "N", env = "BLOCK_SERVER_MAX_SESSIONS")]
    pub(crate) max_sessions: Option<usize>,
    /// TCP connections at once [default: 20000].
    #[arg(long, value_name = "N", env = "BLOCK_SERVER_MAX_CONNECTIONS")]
    pub(crate) max_connections: Option<usize>,
    /// WebSocket connections of one address, as RATE_PER_SECOND:BURST or off [default: 20:2000].
    #[arg(long, value_name = "LIMIT", env = "BLOCK_SERVER_LIMIT_CONNECTS")]
    pub(crate) limit_connects: Option<Limit>,
    /// Objects for one address [default: 4000:400000].
    #[arg(long, value_name = "LIMIT", env = "BLOCK_SERVER_LIMIT_OBJECTS")]
    pub(crate) limit_objects: Option<Limit>,
    /// Objects for one token [default: 4000:400000].
    #[arg(long, value_name = "LIMIT", env = "BLOCK_SERVER_LIMIT_TOKEN_OBJECTS")]
    pub(crate) limit_token_objects: Option<Limit>,
    /// Reads past all caches for one address [default: 5:200].
    #[arg(long, value_name = "LIMIT", env = "BLOCK_SERVER_LIMIT_FRESH")]
    pub(crate) limit_fresh: Option<Limit>,
    /// Keep which chunks boots touch, as clients report it, in the store, for prefetch [default: false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "BLOCK_SERVER_RECORD_BOOTS")]
    pub(crate) record_boots: Option<bool>,
    /// Milliseconds between saying no at /readyz and refusing connections, when stopping [default: 0].
    #[arg(long, value_name = "MS", env = "BLOCK_SERVER_DRAIN_DELAY")]
    pub(crate) drain_delay: Option<u64>,
    /// How to write the log: text or json; RUST_LOG chooses how much of it [default: text].
    #[arg(long, value_name = "FORMAT", env = "BLOCK_SERVER_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads a file of settings (TOML).
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a good configuration", path.display()))
    }

    /// What is set here, and for the rest what is set there.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            store: self.store.or(other.store),
            static_dir: self.static_dir.or(other.static_dir),
            listen: self.listen.or(other.listen),
            metrics_listen: self.metrics_listen.or(other.metrics_listen),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            allow_origin: self.allow_origin.or(other.allow_origin),
            token_secrets: self.token_secrets.or(other.token_secrets),
            trust_proxy: self.trust_proxy.or(other.trust_proxy),
            memory_cache: self.memory_cache.or(other.memory_cache),
            disk_cache: self.disk_cache.or(other.disk_cache),
            disk_cache_size: self.disk_cache_size.or(other.disk_cache_size),
            hedge: self.hedge.or(other.hedge),
            max_sessions: self.max_sessions.or(other.max_sessions),
            max_connections: self.max_connections.or(other.max_connections),
            limit_connects: self.limit_connects.or(other.limit_connects),
            limit_objects: self.limit_objects.or(other.limit_objects),
            limit_token_objects: self.limit_token_objects.or(other.limit_token_objects),
            limit_fresh: self.limit_fresh.or(other.limit_fresh),
            record_boots: self.record_boots.or(other.record_boots),
            drain_delay: self.drain_delay.or(other.drain_delay),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// The address to listen on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)))
    }

    /// The configuration these come to.
    pub(crate) fn config(&self) -> Result<Config> {
        let Some(store) = &self.store else { bail!("the store is missing: give --store DIR or --store s3://BUCKET") };
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
            (None, None) => None,
            _ => bail!("TLS needs both --tls-cert and --tls-key"),
        };
        let disk_cache = self.disk_cache.as_ref().map(|directory| {
            let bytes = self.disk_cache_size.map_or(10 << 30, |size| size.0);
            DiskCacheConfig { directory: directory.clone(), bytes }
        });
        let defaults = Limits::default();
        let limit = |set: Option<Limit>, default| set.map_or(default, |limit| limit.0);
        let limits = Limits {
            connects: limit(self.limit_connects, defaults.connects),
            objects: limit(self.limit_objects, defaults.objects),
            token_objects: limit(self.limit_token_objects, defaults.token_objects),
            fresh: limit(self.limit_fresh, defaults.fresh),
        };
        let usual = Config::at(store.parse::<Location>()?);
        Ok(Config {
            static_dir: self.static_dir.clone(),
            allow_origins: self.allow_origin.clone().unwrap_or_default(),
            token_keys: self.token_keys()?,
            trusted_proxies: self.trust_proxy.clone().unwrap_or_default(),
            tls,
            metrics: self.metrics_listen,
            max_sessions: self.max_sessions.unwrap_or(usual.max_sessions),
            max_connections: self.max_connections.unwrap_or(usual.max_connections),
            memory_cache: self.memory_cache.map_or(usual.memory_cache, |size| size.0),
            disk_cache,
            hedge: self.hedge.map_or(Hedge::Auto, |hedge| hedge.0),
            limits,
            record_boots: self.record_boots.unwrap_or(false),
            drain_delay: Duration::from_millis(self.drain_delay.unwrap_or(0)),
            ..usual
        })
    }

    /// The keys of tokens; the first seals new ones.
    pub(crate) fn token_keys(&self) -> Result<Vec<TokenKey>> {
        let text = match &self.token_secrets {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the token secrets {}", path.display()))?,
            None => std::env::var("BLOCK_SERVER_TOKEN_SECRET").unwrap_or_default(),
        };
        let secrets = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        secrets.map(|secret| Ok(TokenKey::new(secret)?)).collect()
    }
}

/// A size in bytes, with K, M, G or T for powers of 1,024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, shift) = match text.as_bytes().last() {
            Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
            Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
            Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
            Some(b'T' | b't') => (&text[..text.len() - 1], 40),
            _ => (text, 0),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self).ok_or_else(|| format!("`{text}` is no size (expected a number of bytes, or with K, M, G or T)"))
    }
}

/// An [`Allowance`], or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Allowance>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|allowance| Self(Some(allowance)))
            .map_err(|error: block_server::AllowanceError| error.to_string())
    }
}

/// A [`Hedge`] in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HedgeSetting(pub(crate) Hedge);

impl FromStr for HedgeSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(Hedge::Auto)),
            "off" => Ok(Self(Hedge::Off)),
            ms => ms
                .parse()
                .map(|ms| Self(Hedge::After(Duration::from_millis(ms))))
                .map_err(|_| format!("`{text}` is not auto, off or a number of milliseconds")),
        }
    }
}

/// In a file these are written as on the command line; plain numbers will do for sizes.
macro_rules! deserialize_as_text {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Text {
                    Number(u64),
                    Text(String),
                }
                let text = match Text::deserialize(deserializer)? {
                    Text::Number(number) => number.to_string(),
                    Text::Text(text) => text,
                };
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

deserialize_as_text!(Bytes, Limit, HedgeSetting);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_the_same_as_flags_and_flags_win() {
        let file: Settings = toml::from_str(
            r#"
            store = "s3://disks/a"
            listen = "0.0.0.0:80"
            allow-origin = ["https://vm.example"]
            trust-proxy = ["10.0.0.0/8"]
            memory-cache = "64M"
            limit-objects = "off"
            limit-fresh = "1:10"
            hedge = 30
            record-boots = true
            log-format = "json"
            "#,
        )
        .expect("is good");
        let flags = Settings { memory_cache: Some(Bytes(1 << 20)), ..Settings::default() };
        let settings = flags.or(file);
        let config = settings.config().expect("is complete");
        assert_eq!(config.store.to_string(), "s3://disks/a");
        assert_eq!(settings.address().port(), 80);
        assert_eq!(config.memory_cache, 1 << 20);
        assert_eq!(config.limits.objects, None);
        assert_eq!(config.limits.fresh, Some(Allowance { per_second: 1, burst: 10 }));
        assert_eq!(config.limits.connects, Limits::default().connects);
        assert_eq!(config.hedge, Hedge::After(Duration::from_millis(30)));
        assert!(config.record_boots);
        assert_eq!(settings.log_format, Some(LogFormat::Json));
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = toml::from_str::<Settings>("stroe = 'x'").expect_err("a typo").to_string();
        assert!(unknown.contains("stroe"), "{unknown}");
        let size = toml::from_str::<Settings>("memory-cache = '1X'").expect_err("a typo").to_string();
        assert!(size.contains("1X"), "{size}");
        assert!(Settings::default().config().expect_err("no store").to_string().contains("--store"));
        let half = Settings { store: Some(".".into()), tls_cert: Some("x".into()), ..Settings::default() };
        assert!(half.config().expect_err("no key").to_string().contains("--tls-key"));
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("2K", 2048), ("3m", 3 << 20), ("1G", 1 << 30), ("2T", 2 << 40)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for bad in ["", "K", "-1", "1.5G", "99999999999T"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }
}
