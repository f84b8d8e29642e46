//! Whom a process believes on the network.

use std::io;
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;

/// How a process reaches the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeOptions {
    /// A PEM file with the certificates of the only authorities to trust for `https:` and `wss:`; by default those that
    /// browsers trust.
    pub ca: Option<PathBuf>,
}

impl NativeOptions {
    /// What the environment says: `SSL_CERT_FILE`, as OpenSSL's programs have it. A build without TLS has no use for it.
    pub fn from_env() -> Self {
        if cfg!(not(feature = "tls")) {
            return Self::default();
        }
        let ca = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
        Self { ca: ca.map(PathBuf::from) }
    }
}

/// What becomes of [`NativeOptions`].
#[derive(Clone)]
pub(super) struct Trust {
    #[cfg(feature = "tls")]
    pub(super) http: ureq::tls::TlsConfig,
    /// For sockets; `None` is what browsers trust.
    #[cfg(feature = "tls")]
    pub(super) sockets: Option<Arc<rustls::ClientConfig>>,
}

impl Trust {
    #[cfg(feature = "tls")]
    pub(super) fn new(options: &NativeOptions) -> io::Result<Self> {
        use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
        let Some(path) = &options.ca else {
            return Ok(Self { http: TlsConfig::default(), sockets: None });
        };
        let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let mut certificates = Vec::new();
        let mut roots = rustls::RootCertStore::empty();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| bad(error.to_string()))? {
                roots.add(certificate.der().to_vec().into()).map_err(|error| bad(error.to_string()))?;
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            return Err(bad("there is no certificate in it".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let http = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(certificates))).build();
        Ok(Self { http, sockets: Some(Arc::new(config)) })
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn new(options: &NativeOptions) -> io::Result<Self> {
        match options.ca {
            None => Ok(Self {}),
            Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no TLS (feature `tls`)")),
        }
    }
}
