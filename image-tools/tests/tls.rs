//! Stores behind `https:` and `wss:` with a certificate of an authority that only we know.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use block_server::{Config, Server};
use image_tools::build::{BuildOptions, Size, build};
use image_tools::{NoProgress, Source, Store};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").current_dir(dir).args(args).output().expect("openssl is there");
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority, and with it a certificate for `localhost`; returns the authority's own.
fn authority(dir: &Path, name: &str) -> PathBuf {
    let file = |suffix: &str| format!("{name}{suffix}");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let (ca, ca_key) = (file("-ca.pem"), file("-ca.key"));
    let subject = format!("/CN={name} authority");
    openssl(
        dir,
        &[&["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &ca_key, "-out", &ca], &key[..]].concat(),
    );
    let (leaf, leaf_key) = (file(".pem"), file(".key"));
    let (request, names) = (file(".csr"), "subjectAltName=DNS:localhost,IP:127.0.0.1");
    openssl(dir, &[&["req", "-subj", "/CN=localhost", "-keyout", &leaf_key, "-out", &request], &key[..]].concat());
    std::fs::write(dir.join("names"), format!("{names}\n")).expect("writes");
    let sign = ["x509", "-req", "-days", "2", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
    openssl(dir, &[&sign[..], &["-extfile", "names", "-out", &leaf]].concat());
    dir.join(ca)
}

/// A block-server, and in front of it what takes TLS off.
async fn serve(store: PathBuf, dir: PathBuf, told: std::sync::mpsc::Sender<SocketAddr>) {
    let server = Server::bind(Config::new(&store), "127.0.0.1:0".parse().expect("an address")).await.expect("binds");
    let behind = server.address();
    tokio::spawn(server.run(std::future::pending()));
    let chain = CertificateDer::pem_file_iter(dir.join("ours.pem")).expect("opens").collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_file(dir.join("ours.key")).expect("is a key");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("are known");
    let config = config.with_no_client_auth().with_single_cert(chain.expect("certificates"), key).expect("go together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    told.send(listener.local_addr().expect("is bound")).expect("is listened to");
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not trust us goes away.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut plain = TcpStream::connect(behind).await.expect("connects");
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
        });
    }
}

#[test]
fn a_server_is_trusted_by_the_authority_that_is_given() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let (ours, other) = (authority(dir.path(), "ours"), authority(dir.path(), "other"));
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("makes it");
    std::fs::write(root.join("file"), vec![7; 500_000]).expect("writes");
    let store = dir.path().join("store");
    let options = BuildOptions { size: Size::Free(1 << 20), ..BuildOptions::new("demo") };
    build(&Source::Dir(root), &Store::create(&store).expect("makes it"), &options, &NoProgress).expect("builds");
    let (told, tell) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    runtime.spawn(serve(store, dir.path().to_owned(), told));
    let port = tell.recv().expect("starts").port();

    let image = format!("https://localhost:{port}/demo");
    let tools = |args: &[&str], environment: Option<&Path>| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-tools"));
        command.env_remove("SSL_CERT_FILE").stdin(Stdio::null()).arg("--quiet").args(args);
        if let Some(file) = environment {
            command.env("SSL_CERT_FILE", file);
        }
        command.output().expect("runs")
    };
    let text = |path: &Path| path.to_str().expect("is text").to_owned();
    let good = tools(&["--ca", &text(&ours), "serve-check", &image], None);
    let printed = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{printed}{}", String::from_utf8_lossy(&good.stderr));
    assert!(printed.contains("used Socket") && printed.contains("used Http"), "wss: and https: {printed}");
    assert!(tools(&["verify", &image], Some(&ours)).status.success(), "by the environment");
    let copy = text(&dir.path().join("copy"));
    assert!(tools(&["pull", &image, "-o", &copy], Some(&ours)).status.success());
    assert!(tools(&["verify", &format!("{copy}/demo")], None).status.success());

    for (args, environment) in [
        (&["verify", "--timeout", "1", &image][..], None),
        (&["--ca", &text(&other), "verify", "--timeout", "1", &image], None),
        (&["verify", "--timeout", "1", &image], Some(other.as_path())),
        (&["pull", &image, "-o", &copy], None),
    ] {
        let refused = tools(args, environment);
        let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && errors.to_lowercase().contains("certificate"), "{args:?}: {errors}");
    }
    let nonsense = text(&dir.path().join("names"));
    let refused = tools(&["--ca", &nonsense, "verify", &image], None);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no certificate in it"));
}
