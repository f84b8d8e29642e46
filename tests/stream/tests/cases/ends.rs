//! Ends of connections: silence, dripping bytes, servers that go away, servers that are killed.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use block_proto::frame::{ClientFrame, ErrorCode, GoAwayReason, ServerFrame};
use block_proto::key::{self, Prefix};
use block_proto::{Hash, MAX_OBJECT, SUBPROTOCOL, TagRecord, envelope};
use stream_tests::balancer::Balancer;
use stream_tests::disk::{Disk, Random};
use stream_tests::raw::{self, End, PATIENCE, Socket, http};
use stream_tests::sample::Image;
use stream_tests::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use vm_block::BlockDevice;

use super::cases;

cases! { ends:
    Usual {
        apart nobody_is_waited_for_without_end,
        own readers_go_on_while_the_server_restarts,
        own a_killed_replica_is_not_missed not on [Worker],
        own going_away_answers_what_is_open not on [Worker],
    }
    Impatient {
        apart idle_sessions_are_closed not on [Worker],
    }
    Frugal {
        own sessions_end_by_goaway_before_their_budget_does not on [Directory, Bucket],
    }
    DefaultLimits {
        own three_hundred_boots_from_one_address,
    }
}

/// Reads until the peer closes; whether it did.
async fn closed(tcp: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.is_ok()
}

/// Sends a byte every tenth of a second until the peer has enough: until it ends the connection, or sends what is named.
async fn drip(tcp: TcpStream, bytes: Vec<u8>, last: Option<&[u8]>) -> bool {
    let (mut from, mut to) = tcp.into_split();
    let read = async {
        let mut heard = Vec::new();
        let all = async {
            while from.read_buf(&mut heard).await.is_ok_and(|len| len > 0) {
                if last.is_some_and(|last| heard.windows(last.len()).any(|some| some == last)) {
                    break;
                }
            }
        };
        timeout(PATIENCE, all).await.is_ok()
    };
    let write = async {
        for byte in bytes {
            if to.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        closed = read => closed,
        () = write => unreachable!("never ends"),
    }
}

async fn nobody_is_waited_for_without_end(world: &mut World) {
    let world = &*world;
    let address = world.address();
    // A HELLO that takes ten seconds to come: the time counts from the start.
    let hello = ClientFrame::Hello(raw::hello(world.sample.small.manifest, 1 << 20, "")).emit();
    // Who answers no close frame is left to the Worker's platform.
    let code = 4408_u16.to_be_bytes();
    let close_frame = world.spoiler().is_none().then_some(&code[..]);
    let slow_hello = async { drip(raw::upgraded(world).await, raw::masked(&hello), close_frame).await };
    let silent = async { Socket::connect(world).await.end().await };
    // Pings of the WebSocket are no HELLO.
    let pinging = async {
        let mut socket = Socket::connect(world).await;
        for _ in 0..20 {
            socket.send_message(tokio_tungstenite::tungstenite::Message::Ping(b"x".to_vec().into())).await;
            sleep(Duration::from_millis(300)).await;
        }
        socket.end().await
    };
    let others = async {
        // A hundred who hold on, and one who reads meanwhile.
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut tcp = TcpStream::connect(&address).await.expect("connects");
            tcp.write_all(b"GET /v1/o/").await.expect("sends");
            held.push(tcp);
        }
        let mut socket = Socket::open(world, 8 << 20).await;
        for (request, hash) in (1..).zip(world.sample.small.chunks.values()) {
            let found = socket.fetch(request, &[*hash]).await;
            let (stored, _) = found[0].as_ref().expect("is there");
            socket.credit(u32::try_from(stored.len()).expect("is short")).await;
        }
        socket.close().await;
        held
    };
    // Headers that never end. The Worker's are its platform's concern.
    let slow_header = async {
        if world.spoiler().is_none() {
            return true;
        }
        let tcp = TcpStream::connect(&address).await.expect("connects");
        drip(tcp, format!("GET /v1/o/{} HTTP/1.1\r\nHost: x\r\nX-Slow: ", "0".repeat(200)).into_bytes(), None).await
    };
    let (slow_hello, silent, pinging, slow_header, mut held) =
        tokio::join!(slow_hello, silent, pinging, slow_header, others);
    assert!(slow_hello, "a HELLO may take for ever");
    for end in [silent, pinging] {
        assert_eq!(end, End { error: None, close: Some(4408) });
    }
    assert!(slow_header, "a header may take for ever");
    assert!(world.spoiler().is_none() || closed(&mut held[7]).await, "half a header may stay for ever");
}

async fn idle_sessions_are_closed(world: &mut World) {
    let socket = Socket::open(world, 1 << 20).await;
    assert_eq!(socket.end().await, End { error: None, close: Some(1001) });
    // Who says something is not idle, even if it is only PING.
    let mut socket = Socket::open(world, 1 << 20).await;
    for _ in 0..5 {
        sleep(Duration::from_millis(500)).await;
        socket.settle().await;
    }
    socket.close().await;
}

/// Readers on threads of their own, each with the real client and its own reads, all compared; `meanwhile` runs beside
/// them, then they stop. Returns how many reads there were, and how many connections were lost.
async fn read_while<T>(
    small: &Image,
    image: &str,
    readers: u64,
    meanwhile: impl AsyncFnOnce(&AtomicU32) -> T,
) -> (u32, u64, T) {
    let (stop, reads) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut result = None;
    let mut losses = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=readers)
            .map(|reader| {
                let (stop, reads) = (&stop, &reads);
                scope.spawn(move || {
                    let disk = Disk::open(image, 8);
                    let mut random = Random::new(reader << 32 | 1);
                    while !stop.load(Ordering::Relaxed) {
                        let offset = random.below(small.size - 4096);
                        let mut bytes = [0; 4096];
                        disk.run(disk.device.read_at(offset, &mut bytes)).expect("reads, whatever happens");
                        assert!(bytes[..] == small.expected(offset, 4096), "wrong bytes at {offset}");
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                    disk.remote.status().losses
                })
            })
            .collect();
        result = Some(tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(meanwhile(&reads))));
        stop.store(true, Ordering::Relaxed);
        losses = threads.into_iter().map(|thread| thread.join().expect("reads right")).sum();
    });
    (reads.into_inner(), losses, result.expect("has run"))
}

/// Waits for something that will be.
async fn wait_until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {what}");
}

async fn readers_go_on_while_the_server_restarts(world: &mut World) {
    let (image, small) = (world.image("small"), world.sample.small.clone());
    let (reads, losses, ()) = read_while(&small, &image, 6, async |reads: &AtomicU32| {
        for round in 0..4 {
            if round > 0 {
                world.restart();
            }
            let before = reads.load(Ordering::Relaxed);
            wait_until("readers get on", || reads.load(Ordering::Relaxed) >= before + 200).await;
        }
    })
    .await;
    assert!(reads >= 800 && losses >= 6, "{reads} reads, {losses} connections lost in three restarts");
}

async fn a_killed_replica_is_not_missed(world: &mut World) {
    let world = &*world;
    let other = world.another().expect("it is a block-server");
    let first = world.address().parse().expect("an address");
    let balancer = Balancer::start(&[first, other.address()]).await;
    let image = format!("http://{}/small", balancer.address());
    let small = &world.sample.small;
    let (reads, losses, cut) = read_while(small, &image, 4, async |reads: &AtomicU32| {
        wait_until("reads", || reads.load(Ordering::Relaxed) >= 100).await;
        let cut = balancer.kill(1);
        let before = reads.load(Ordering::Relaxed);
        wait_until("reads after the loss", || reads.load(Ordering::Relaxed) >= before + 200).await;
        cut
    })
    .await;
    assert!(cut > 0, "nobody was connected to the replica that was killed");
    assert!(reads >= 300 && losses > 0, "{reads} reads, {losses} losses");
    // Everybody is with the first one now.
    assert_eq!(balancer.open(1), 0);
}

async fn going_away_answers_what_is_open(world: &mut World) {
    let hashes: Vec<Hash> = world.sample.small.chunks.values().copied().take(20).collect();
    let mut socket = Socket::open(world, 1).await;
    socket.get(1, 0, &hashes).await;
    socket.answer().await.result.expect("is there");
    socket.settle().await;
    // Stopping waits for the session, which waits for us.
    let conversation = async {
        let open = match socket.receive().await {
            ServerFrame::GoAway { reason: GoAwayReason::Shutdown, open_answered, .. } => open_answered,
            other => panic!("no GOAWAY but {other:?}"),
        };
        assert_eq!(open as usize, hashes.len() - 1);
        socket.get(2, 0, &hashes[..1]).await;
        let refused = socket.answer().await;
        assert_eq!((refused.request, refused.result.err()), (2, Some(ErrorCode::Cancelled)));
        socket.credit(8 << 20).await;
        for _ in 1..hashes.len() {
            let answer = socket.answer().await;
            assert_eq!(answer.request, 1);
            answer.result.expect("is there");
        }
        socket.end().await
    };
    let (end, ()) = std::thread::scope(|scope| {
        let restart = scope.spawn(|| world.restart());
        let end = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(conversation));
        (end, restart.join().expect("restarts"))
    });
    assert_eq!(end, End { error: None, close: Some(1001) });
}

async fn sessions_end_by_goaway_before_their_budget_does(world: &mut World) {
    let hashes = world.sample.objects.clone();
    let mut socket = Socket::open(world, 8 << 20).await;
    let (mut served, mut reason) = (0, None);
    'session: for (request, batch) in (1..).zip(hashes.chunks(4)) {
        socket.get(request, 0, batch).await;
        let mut owed = batch.len();
        while owed > 0 {
            match socket.receive().await {
                ServerFrame::Block { .. } => {
                    served += 1;
                    owed -= 1;
                }
                ServerFrame::GoAway { reason: why, .. } => {
                    reason = Some(why);
                    break 'session;
                }
                other => panic!("unexpected {other:?} after {served} objects"),
            }
        }
    }
    assert_eq!(reason, Some(GoAwayReason::Budget));
    assert!(served > 8, "only {served} objects");
    let end = socket.end().await;
    assert_eq!(end.error, None);
    // The client does not notice.
    let disk = Disk::open(&world.image("small"), 8);
    let image = &world.sample.small;
    let mut bytes = vec![0; usize::try_from(image.size).expect("is small")];
    for _ in 0..2 {
        disk.run(disk.device.read_at(0, &mut bytes)).expect("reads");
        assert!(bytes == image.expected(0, bytes.len()));
    }
}

/// What a boot asks for: tag, manifest, then chunks in batches, over a socket if there is a seat. Tells whether there was.
async fn boot(address: &str, url: &str) -> bool {
    let tag = http(address, "GET", "/t/small/latest.json", "Cache-Control: no-cache\r\n", b"").await;
    assert_eq!(tag.status, 200);
    let manifest = TagRecord::parse(&tag.body, "small", "latest").expect("a record").manifest;
    let root = http(address, "GET", &format!("/{}", key::object(&manifest)), "", b"").await;
    assert_eq!(root.status, 200);
    let root = envelope::open(&root.body.into(), &manifest, MAX_OBJECT).expect("opens");
    let page = block_proto::Manifest::parse(&root).expect("a manifest").pages[0];
    match raw::connect(url, SUBPROTOCOL, None).await {
        Ok((mut socket, _)) => {
            socket.hello(raw::hello(manifest, 8 << 20, "")).await;
            let stored = socket.fetch(1, &[page]).await.remove(0).expect("is there").0;
            let page = envelope::open(&stored, &page, MAX_OBJECT).expect("opens");
            let page = block_proto::Page::parse(page).expect("a page");
            let chunks: Vec<Hash> = (0..64).filter_map(|n| page.chunk(n)).collect();
            for (request, batch) in (2..).zip(chunks.chunks(16)) {
                socket.get(request, 0, batch).await;
                for _ in batch {
                    // Many sessions of an isolate have small windows.
                    let (stored, _) = socket.answer().await.result.expect("is there");
                    socket.credit(u32::try_from(stored.len()).expect("is short")).await;
                }
            }
            socket.close().await;
            true
        }
        Err(status) => {
            // A Worker's isolate has so many seats; the rest use HTTP.
            assert_eq!(status, 503);
            let stored = http(address, "GET", &format!("/{}", key::object(&page)), "", b"").await.body;
            let page = envelope::open(&stored.into(), &page, MAX_OBJECT).expect("opens");
            let page = block_proto::Page::parse(page).expect("a page");
            for hash in (0..64).filter_map(|n| page.chunk(n)) {
                let reply = http(address, "GET", &format!("/{}", key::object(&hash)), "", b"").await;
                assert_eq!(reply.status, 200);
            }
            false
        }
    }
}

async fn three_hundred_boots_from_one_address(world: &mut World) {
    let (address, url) = (world.address(), world.socket_url(&Prefix::public()));
    let boots: Vec<_> = (0..300)
        .map(|_| {
            let (address, url) = (address.clone(), url.clone());
            tokio::spawn(async move { boot(&address, &url).await })
        })
        .collect();
    let mut seated = 0;
    for boot in boots {
        seated += u32::from(boot.await.expect("boots"));
    }
    // A block-server has seats for all of them.
    assert!(seated == 300 || (world.spoiler().is_none() && seated > 0), "{seated} of 300 had a socket");
    for what in ["connects", "objects", "token_objects", "fresh"] {
        let limited = world.metric(&format!("block_server_limited_total{{what=\"{what}\"}}")).await;
        assert!(matches!(limited, None | Some(0)), "{what}: {limited:?}");
    }
}
