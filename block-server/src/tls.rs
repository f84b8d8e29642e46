//! Certificate and key from files, read again when they change: certificates are renewed, servers go on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Where certificate and key are, both PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Reads the files and makes an acceptor for HTTP/2 and HTTP/1.1.
pub(crate) fn acceptor(files: &TlsFiles) -> anyhow::Result<TlsAcceptor> {
    let current = Current { key: files.load()?, stamp: files.stamp(), looked: Instant::now() };
    let resolver = Arc::new(Files { files: files.clone(), current: Mutex::new(current) });
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().context("TLS")?;
    let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl TlsFiles {
    fn load(&self) -> anyhow::Result<Arc<CertifiedKey>> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate)
            .with_context(|| format!("cannot read the certificate {certificate}"))?
            .collect();
        let chain = chain.with_context(|| format!("{certificate} is not PEM"))?;
        anyhow::ensure!(!chain.is_empty(), "{certificate} has no certificate in it");
        let private =
            PrivateKeyDer::from_pem_file(&self.key).with_context(|| format!("cannot read the private key {key}"))?;
        let provider = ring::default_provider();
        let certified = CertifiedKey::from_der(chain, private, &provider);
        Ok(Arc::new(certified.with_context(|| format!("{key} is not the key of {certificate}"))?))
    }

    fn stamp(&self) -> Option<(SystemTime, SystemTime)> {
        let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
        modified(&self.certificate).zip(modified(&self.key))
    }
}

#[derive(Debug)]
struct Files {
    files: TlsFiles,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    stamp: Option<(SystemTime, SystemTime)>,
    looked: Instant,
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() > LOOK {
            current.looked = Instant::now();
            let stamp = self.files.stamp();
            if stamp != current.stamp {
                match self.files.load() {
                    Ok(key) => {
                        info!("the certificate was renewed");
                        (current.key, current.stamp) = (key, stamp);
                    }
                    // Half of a renewal; the old one is better than none.
                    Err(error) => warn!(error = format!("{error:#}"), "the new certificate is no good yet"),
                }
            }
        }
        Some(Arc::clone(&current.key))
    }
}
