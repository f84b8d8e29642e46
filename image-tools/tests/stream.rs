//! Images read back from a server that is stopped, started and lied about.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use block_server::{Config, Server};
use image_tools::build::{BuildOptions, Size, build};
use image_tools::serve_check::{Way, serve_check};
use image_tools::{Network, NoProgress, Reader, Source, Store, verify};
use tokio::sync::oneshot;
use vm_block::remote::Link;
use vm_block::{BlockError, ChunkId, Transport, Urgency};

fn make(dir: &Path) {
    fs::create_dir_all(dir.join("root/etc")).expect("makes folders");
    for n in 0..40_u8 {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(u32::from(n) + 7) >> 5) as u8).collect();
        fs::write(dir.join(format!("root/etc/file{n}")), bytes).expect("writes");
    }
    let store = Store::create(&dir.join("store")).expect("makes a store");
    let options = BuildOptions { size: Size::Free(1 << 20), level: 3, ..BuildOptions::new("demo") };
    build(&Source::Dir(dir.join("root")), &store, &options, &NoProgress).expect("builds");
}

/// A server on a thread of its own; stopped when dropped.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn serve(store: &Path, address: &str) -> Running {
    let (told, tell) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let config = Config::new(store);
    let address: SocketAddr = address.parse().expect("an address");
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
        runtime.block_on(async {
            let server = Server::bind(config, address).await.expect("binds");
            told.send(server.address()).expect("is listened to");
            let stop = async {
                let _ = stopped.await;
            };
            server.run(stop).await.expect("runs");
        });
    });
    Running { address: tell.recv().expect("starts"), stop: Some(stop), thread: Some(thread) }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().expect("was started").join().expect("ends well");
    }
}

fn open(address: SocketAddr) -> Reader {
    let image = format!("http://{address}/demo").parse().expect("a name");
    Reader::open(&image, &Network::default()).expect("opens")
}

#[test]
fn an_image_verifies_over_websocket_and_over_http_alone() {
    let dir = tempfile::tempdir().expect("makes a directory");
    make(dir.path());
    let server = serve(&dir.path().join("store"), "127.0.0.1:0");
    let reader = open(server.address);
    assert!(verify::verify(&reader, &NoProgress).expect("reads").is_good());
    assert_eq!(reader.remote().status().link, Link::Socket);
    let image = reader.image().clone();
    for (way, link) in [(Way::Any, Link::Socket), (Way::Http, Link::Http)] {
        let pass = serve_check(&image, way, 20, &Network::default()).expect("reads");
        assert_eq!(pass.link, link);
        assert!(pass.errors.is_empty() && pass.chunks >= 15, "{pass:?}");
    }
}

#[test]
fn a_server_that_restarts_is_not_noticed() {
    let dir = tempfile::tempdir().expect("makes a directory");
    make(dir.path());
    let server = serve(&dir.path().join("store"), "127.0.0.1:0");
    let address = server.address;
    let reader = open(address);
    let chunks = reader.stored_chunks(&mut Vec::new()).expect("reads");
    let fetch = |n: usize| {
        let chunk = chunks[n].0;
        reader.run(reader.remote().fetch(chunk, Urgency::Demand)).expect("comes").expect("is good");
    };
    fetch(0);
    drop(server);
    let later = std::thread::spawn({
        let store = dir.path().join("store");
        move || {
            std::thread::sleep(std::time::Duration::from_millis(700));
            serve(&store, &address.to_string())
        }
    });
    fetch(1);
    fetch(2);
    let status = reader.remote().status();
    assert!(status.losses > 0 && status.last_error.is_some(), "{status:?}");
    drop(later.join().expect("starts"));
}

#[test]
fn a_corrupt_chunk_is_refused_and_named() {
    let dir = tempfile::tempdir().expect("makes a directory");
    make(dir.path());
    let store = dir.path().join("store");
    let server = serve(&store, "127.0.0.1:0");
    let reader = open(server.address);
    let chunks = reader.stored_chunks(&mut Vec::new()).expect("reads");
    let (chunk, hash) = chunks[chunks.len() / 2];
    let path = store.join(block_proto::key::object(&hash));
    fs::write(&path, block_proto::envelope::seal_raw(b"something else")).expect("writes");
    let fetch = |chunk: ChunkId| reader.run(reader.remote().fetch(chunk, Urgency::Demand)).expect("answers");
    let Err(BlockError::Corrupt { chunk: named, reason }) = fetch(chunk) else { panic!("not refused") };
    assert_eq!(named, chunk);
    assert!(reason.contains(&hash.to_string()) && reason.contains("demo"), "{reason}");
    fs::remove_file(&path).expect("removes");
    assert!(matches!(fetch(chunk), Err(BlockError::Missing { .. })));
    assert!(fetch(chunks[0].0).is_ok());
}
