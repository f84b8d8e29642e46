//! A real S3 server of somebody else's making, `s3s-fs`: it checks signatures and keeps each bucket as a folder.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::Sender;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

/// The only key that it takes.
pub const KEY_ID: &str = "AKTESTS";
/// Its secret half.
pub const KEY: &str = "the key of the bucket";

/// Serves the folders of this one as buckets, on loopback, for as long as it is polled; tells where.
pub async fn serve(root: &Path, told: Sender<SocketAddr>) {
    let service = {
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).expect("opens"));
        builder.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        builder.build()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    told.send(listener.local_addr().expect("is bound")).expect("is listened to");
    loop {
        let (tcp, _) = listener.accept().await.expect("accepts");
        let service = service.clone();
        tokio::spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tcp), service).await;
        });
    }
}
