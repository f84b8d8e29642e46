//! A real server in process, spoken to over real sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use block_proto::envelope::{self, Sealer, seal_raw};
use block_proto::frame::{ClientFrame, ErrorCode, Hello, ServerFrame};
use block_proto::{Hash, Manifest, TagRecord, key};
use block_server::{Config, Server};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

struct World {
    _dir: tempfile::TempDir,
    address: SocketAddr,
    metrics: SocketAddr,
    manifest: Hash,
    chunks: Vec<(Hash, Vec<u8>)>,
    stop: Option<oneshot::Sender<()>>,
    done: tokio::task::JoinHandle<anyhow::Result<()>>,
}

fn put(root: &Path, key: &str, bytes: &[u8]) {
    let path = root.join(key);
    std::fs::create_dir_all(path.parent().expect("keys have folders")).expect("makes folders");
    std::fs::write(path, bytes).expect("writes");
}

/// A store with one image of a few chunks, and some static files.
async fn world(change: impl FnOnce(&mut Config)) -> World {
    let dir = tempfile::tempdir().expect("makes a directory");
    let store = dir.path().join("store");
    let mut sealer = Sealer::new(3).expect("the level exists");
    let chunks: Vec<(Hash, Vec<u8>)> = (0..40_u32)
        .map(|n| {
            let object: Vec<u8> = (0..block_proto::CHUNK_SIZE as u32).map(|i| (i * (n + 3) / 7) as u8).collect();
            (Hash::of(&object), object)
        })
        .collect();
    for (hash, object) in &chunks {
        put(&store, &key::object(hash), &sealer.seal(object));
    }
    let root = Manifest { image_size: 0, created: 0, fs_uuid: [0; 16], sections: vec![], pages: vec![] }.emit();
    let manifest = Hash::of(&root);
    put(&store, &key::object(&manifest), &seal_raw(&root));
    let record = TagRecord {
        name: "demo".into(),
        tag: "latest".into(),
        manifest,
        size: 0,
        created: 0,
        transport: vec!["ws".into(), "http".into()],
        endpoints: vec![],
        sig: None,
    };
    put(&store, &key::tag("demo", "latest"), &record.emit());
    put(dir.path(), "static/index.html", b"<!doctype html>");
    put(dir.path(), "static/vm.wasm", b"\0asm");
    put(dir.path(), "static/app.js", b"export {}");
    put(dir.path(), "secret.txt", b"secret");
    let loopback: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let static_dir = Some(dir.path().join("static"));
    let mut config = Config { static_dir, metrics: Some(loopback), ..Config::new(store) };
    change(&mut config);
    let server = Server::bind(config, loopback).await.expect("binds");
    let (address, metrics) = (server.address(), server.metrics_address().expect("has one"));
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    World { _dir: dir, address, metrics, manifest, chunks, stop: Some(stop), done }
}

struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// One HTTP request, byte for byte: clients that normalise paths would hide tricks.
async fn http(world: &World, method: &str, path: &str, headers: &str) -> Reply {
    http_at(world.address, method, path, headers).await
}

async fn http_at(address: SocketAddr, method: &str, path: &str, headers: &str) -> Reply {
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    tcp.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.expect("answers");
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a header");
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    Reply { status, headers, body: answer[split + 4..].to_vec() }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(world: &World) -> Socket {
    let url = format!("ws://{}/v1/ws", world.address);
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("vmdisk.v1"));
    let (socket, response) = tokio_tungstenite::connect_async(request).await.expect("upgrades");
    assert_eq!(response.headers().get("Sec-WebSocket-Protocol"), Some(&HeaderValue::from_static("vmdisk.v1")));
    socket
}

async fn send(socket: &mut Socket, frame: &ClientFrame) {
    socket.send(Message::binary(frame.emit())).await.expect("sends");
}

fn hello(manifest: Hash) -> ClientFrame {
    let (window, max_message) = (2 << 20, 2 << 20);
    ClientFrame::Hello(Hello {
        version_min: 1,
        version_max: 1,
        window,
        max_message,
        codecs: 3,
        manifest,
        token: Bytes::new(),
    })
}

async fn receive(socket: &mut Socket) -> ServerFrame {
    match socket.next().await.expect("a message").expect("readable") {
        Message::Binary(message) => ServerFrame::parse(&message).expect("a frame"),
        other => panic!("unexpected {other:?}"),
    }
}

/// The error frame and the close frame of a connection that the server ends.
async fn refused(socket: &mut Socket) -> (ErrorCode, u16) {
    let code = match receive(socket).await {
        ServerFrame::Error { request: 0, code, .. } => code,
        other => panic!("unexpected {other:?}"),
    };
    match socket.next().await.expect("a message").expect("readable") {
        Message::Close(Some(frame)) => (code, frame.code.into()),
        other => panic!("unexpected {other:?}"),
    }
}

async fn open(world: &World) -> Socket {
    let mut socket = connect(world).await;
    send(&mut socket, &hello(world.manifest)).await;
    assert!(matches!(receive(&mut socket).await, ServerFrame::Welcome(_)));
    socket
}

async fn metric(world: &World, line: &str) -> u64 {
    let text = String::from_utf8(http_at(world.metrics, "GET", "/metrics", "").await.body).expect("text");
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ').map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {line} in\n{text}")).parse().expect("a number")
}

#[tokio::test]
async fn chunks_arrive_over_the_socket_and_verify() {
    let world = world(|_| {}).await;
    let mut socket = open(&world).await;
    let hashes: Vec<Hash> = world.chunks.iter().map(|(hash, _)| *hash).collect();
    send(&mut socket, &ClientFrame::Get { request: 5, priority: 0, fresh: false, hashes }).await;
    let mut lasts = 0;
    for _ in 0..world.chunks.len() {
        let ServerFrame::Block { request: 5, index, last, envelope, .. } = receive(&mut socket).await else {
            panic!("not a block");
        };
        let (hash, object) = &world.chunks[usize::from(index)];
        assert_eq!(envelope::open(&envelope, hash, 1 << 20).expect("opens"), *object);
        lasts += u32::from(last);
    }
    assert_eq!(lasts, 1);
    let absent = Hash::of(b"absent");
    send(&mut socket, &ClientFrame::Get { request: 6, priority: 0, fresh: false, hashes: vec![absent] }).await;
    let answer = receive(&mut socket).await;
    assert!(matches!(answer, ServerFrame::Error { request: 6, index: Some(0), code: ErrorCode::NotFound, .. }));
    send(&mut socket, &ClientFrame::Ping(9)).await;
    assert_eq!(receive(&mut socket).await, ServerFrame::Pong(9));
    assert_eq!(metric(&world, "block_server_objects_sent_total{via=\"ws\"}").await, 40);
    assert_eq!(metric(&world, "block_server_sessions").await, 1);
}

#[tokio::test]
async fn bad_clients_are_told_counted_and_closed() {
    let world = world(|config| config.session.hello_timeout = Duration::from_millis(300)).await;

    let mut socket = connect(&world).await;
    socket.send(Message::binary(b"garbage".to_vec())).await.expect("sends");
    assert_eq!(refused(&mut socket).await, (ErrorCode::BadFrame, 1002));

    let mut socket = connect(&world).await;
    socket.send(Message::text("hello")).await.expect("sends");
    assert_eq!(refused(&mut socket).await, (ErrorCode::BadFrame, 1002));

    let mut socket = connect(&world).await;
    send(&mut socket, &hello(Hash::of(b"unknown image"))).await;
    assert_eq!(refused(&mut socket).await, (ErrorCode::NotFound, 4404));

    let mut socket = open(&world).await;
    socket.send(Message::binary(vec![2; 100_000])).await.expect("sends");
    assert_eq!(refused(&mut socket).await, (ErrorCode::TooLarge, 1009));

    // Far beyond what is even read: still a close frame.
    let mut socket = open(&world).await;
    socket.send(Message::binary(vec![2; 3 << 20])).await.expect("sends");
    let end = socket.next().await.expect("a message");
    assert!(
        matches!(&end, Ok(Message::Close(Some(frame))) if u16::from(frame.code) == 1009) || end.is_err(),
        "{end:?}"
    );

    let mut socket = connect(&world).await;
    let end = socket.next().await.expect("a message").expect("readable");
    assert!(matches!(end, Message::Close(Some(frame)) if u16::from(frame.code) == 4408));

    assert_eq!(metric(&world, "block_server_errors_total{code=\"not_found\"}").await, 1);
    assert!(metric(&world, "block_server_errors_total{code=\"bad_frame\"}").await >= 3);
    // Nothing crashed.
    let mut socket = open(&world).await;
    send(&mut socket, &ClientFrame::Ping(1)).await;
    assert_eq!(receive(&mut socket).await, ServerFrame::Pong(1));
}

#[tokio::test]
async fn upgrades_need_the_subprotocol_an_allowed_origin_and_room() {
    let world = world(|config| {
        config.allow_origins = vec!["https://good.example".into()];
        config.max_sessions = 1;
    })
    .await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let attempt = async |extra: &str| {
        let mut tcp = TcpStream::connect(world.address).await.expect("connects");
        let request = format!("GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{upgrade}{extra}\r\n");
        tcp.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = [0; 12];
        tcp.read_exact(&mut answer).await.expect("answers");
        (String::from_utf8_lossy(&answer[9..]).into_owned(), tcp)
    };
    assert_eq!(attempt("").await.0, "400");
    assert_eq!(attempt("Sec-WebSocket-Protocol: vmdisk.v9\r\n").await.0, "400");
    let protocol = "Sec-WebSocket-Protocol: vmdisk.v1\r\n";
    assert_eq!(attempt(&format!("{protocol}Origin: https://evil.example\r\n")).await.0, "403");
    let (status, _held) = attempt(&format!("{protocol}Origin: https://good.example\r\n")).await;
    assert_eq!(status, "101");
    assert_eq!(attempt(protocol).await.0, "503");
}

#[tokio::test]
async fn objects_over_http_are_immutable_ranged_and_validated() {
    let world = world(|_| {}).await;
    let (hash, object) = &world.chunks[3];
    let path = format!("/v1/o/{hash}");
    let reply = http(&world, "GET", &path, "Origin: https://any.example\r\n").await;
    assert_eq!(reply.status, 200);
    assert_eq!(envelope::open(&reply.body.clone().into(), hash, 1 << 20).expect("opens"), *object);
    assert_eq!(reply.headers["cache-control"], "public, max-age=31536000, immutable, no-transform");
    assert_eq!(reply.headers["content-type"], "application/vnd.vmdisk.object");
    assert_eq!(reply.headers["cross-origin-resource-policy"], "cross-origin");
    assert_eq!(reply.headers["access-control-allow-origin"], "*");
    assert_eq!(reply.headers["timing-allow-origin"], "*");
    let etag = reply.headers["etag"].clone();
    assert_eq!(etag, format!("\"{}\"", Hash::of(&reply.body)));

    let by_key = http(&world, "GET", &format!("/{}", key::object(hash)), "").await;
    assert_eq!((by_key.status, &by_key.body), (200, &reply.body));

    let head = http(&world, "HEAD", &path, "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], reply.body.len().to_string());

    let part = http(&world, "GET", &path, "Range: bytes=8-19\r\n").await;
    assert_eq!((part.status, &part.body[..]), (206, &reply.body[8..20]));
    assert_eq!(part.headers["content-range"], format!("bytes 8-19/{}", reply.body.len()));
    let stale = http(&world, "GET", &path, "Range: bytes=8-19\r\nIf-Range: \"other\"\r\n").await;
    assert_eq!((stale.status, stale.body.len()), (200, reply.body.len()));
    let beyond = http(&world, "GET", &path, "Range: bytes=99999999-\r\n").await;
    assert_eq!(beyond.status, 416);

    let same = http(&world, "GET", &path, &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((same.status, same.body.len()), (304, 0));

    let sent = 3 * reply.body.len() as u64 + 12;
    assert_eq!(metric(&world, "block_server_objects_sent_bytes_total{via=\"http\"}").await, sent);
    assert_eq!(metric(&world, "block_server_http_requests_total{route=\"object\",status=\"416\"}").await, 1);
}

#[tokio::test]
async fn tags_are_short_lived_and_found_both_ways() {
    let world = world(|_| {}).await;
    for path in ["/v1/images/demo/tags/latest", "/t/demo/latest.json"] {
        let reply = http(&world, "GET", path, "").await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.headers["cache-control"], "public, max-age=60");
        let record = TagRecord::parse(&reply.body, "demo", "latest").expect("a record");
        assert_eq!(record.manifest, world.manifest);
    }
    assert_eq!(http(&world, "GET", "/v1/images/demo/tags/other", "").await.status, 404);
}

#[tokio::test]
async fn path_tricks_find_nothing() {
    let world = world(|_| {}).await;
    let hex = world.chunks[0].0.to_string();
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/static/../../secret.txt",
        "/..\\secret.txt",
        "//secret.txt",
        "/v1/o/../../secret.txt",
        "/v1/o/..%2f..%2fsecret.txt",
        "/o/../secret.txt",
        "/o/%2e%2e/%2e%2e%2fsecret.txt",
        "/t/..%2f../secret.txt.json",
        "/t/demo/..%2f..%2f..%2fsecret.txt",
        "/v1/images/..%2f/tags/latest",
        &format!("/o/zz/{hex}"),
        &format!("/v1/o/{}", hex.to_uppercase()),
        "/%00",
    ] {
        let reply = http(&world, "GET", path, "").await;
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
        assert!(!reply.body.windows(6).any(|w| w == b"secret"), "{path}");
    }
}

#[tokio::test]
async fn the_client_is_served_from_the_same_origin() {
    let world = world(|_| {}).await;
    for (path, kind) in [("/", "text/html"), ("/vm.wasm", "application/wasm"), ("/app.js", "text/javascript")] {
        let reply = http(&world, "GET", path, "").await;
        assert_eq!((reply.status, reply.headers["content-type"].as_str()), (200, kind), "{path}");
        assert_eq!(reply.headers["cache-control"], "no-cache");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(http(&world, "GET", "/healthz", "").await.body, b"ok\n");
    assert_eq!(http(&world, "GET", "/readyz", "").await.status, 200);
    assert_eq!(http(&world, "GET", "/metrics", "").await.status, 404, "metrics are not for everybody");
}

#[tokio::test]
async fn stopping_says_goaway_answers_and_ends() {
    let mut world = world(|_| {}).await;
    let mut socket = open(&world).await;
    let hashes = vec![world.chunks[0].0];
    send(&mut socket, &ClientFrame::Get { request: 1, priority: 0, fresh: false, hashes }).await;
    assert!(matches!(receive(&mut socket).await, ServerFrame::Block { .. }));
    world.stop.take().expect("runs").send(()).expect("listens");
    assert!(matches!(receive(&mut socket).await, ServerFrame::GoAway { .. }));
    match socket.next().await.expect("a message").expect("readable") {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("unexpected {other:?}"),
    }
    drop(socket);
    let ended = tokio::time::timeout(Duration::from_secs(10), &mut world.done).await.expect("ends in time");
    ended.expect("does not panic").expect("ends well");
    assert!(TcpStream::connect(world.address).await.is_err());
}
