//! Every kind of frame, well-formed and not, and which versions understand each other.

use std::collections::HashSet;

use block_proto::frame::{ClientFrame, ErrorCode, Hello, ServerFrame, Tier, Touch};
use block_proto::{Hash, MAX_OBJECT, SUBPROTOCOL, envelope};
use stream_tests::raw::{self, End, Socket};
use stream_tests::world::World;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::cases;

cases! { frames:
    Usual {
        shared every_client_frame_is_understood,
        shared every_priority_is_served_and_unknown_flags_are_ignored,
        shared a_batch_is_answered_once_for_each_hash,
        shared a_hash_asked_twice_is_owed_once,
        shared open_requests_are_bounded_and_numbered,
        shared malformed_frames_end_the_session,
        shared frames_out_of_order_end_the_session,
        shared oversize_messages_end_the_session,
        shared versions_are_negotiated,
        shared the_subprotocol_is_chosen_or_refused,
        shared fragments_and_pings_of_the_socket_are_taken,
    }
}

const WINDOW: u32 = 4 << 20;

fn bad_frame() -> End {
    End { error: Some(ErrorCode::BadFrame), close: Some(1002) }
}

async fn every_client_frame_is_understood(world: &mut World) {
    let image = &world.sample.small;
    let mut socket = Socket::connect(world).await;
    let welcome = socket.hello(raw::hello(image.manifest, WINDOW, "")).await;
    assert_eq!((welcome.version, welcome.max_batch), (1, 64));
    assert!(welcome.max_open >= 4 && welcome.idle_s >= 30 && welcome.window_max >= 256 << 10, "{welcome:?}");
    socket.send(&ClientFrame::Ping(0xFEDC_BA98_7654_3210)).await;
    assert_eq!(socket.receive().await, ServerFrame::Pong(0xFEDC_BA98_7654_3210));
    // None of these is owed an answer.
    socket.send(&ClientFrame::Pong(1)).await;
    socket.credit(0).await;
    socket.credit(u32::MAX).await;
    socket.send(&ClientFrame::Profile(vec![Touch { chunk: 1, ms: 2 }])).await;
    socket.send(&ClientFrame::Cancel { request: 9, index: None }).await;
    socket.send(&ClientFrame::Cancel { request: 9, index: Some(3) }).await;
    socket.settle().await;
    for (chunk, hash) in &image.chunks {
        let [Ok((stored, _))] = &socket.fetch(chunk + 1, &[*hash]).await[..] else { panic!("no block") };
        let object = envelope::open(stored, hash, MAX_OBJECT).expect("opens");
        assert_eq!(object, image.expected(u64::from(*chunk) << 17, 1 << 17), "chunk {chunk}");
        assert_eq!(stored[..], world.stored(&block_proto::key::object(hash)), "not what is stored");
        socket.credit(u32::try_from(stored.len()).expect("is short")).await;
    }
    let hash = image.chunks[&5];
    socket.get_fresh(7, &[hash]).await;
    let answer = socket.answer().await;
    assert!(matches!(answer.result, Ok((_, Tier::Origin))), "{answer:?}");
    let again = socket.fetch(8, &[hash]).await;
    assert!(matches!(again[..], [Ok((_, Tier::Memory))]), "{again:?}");
    socket.close().await;
}

async fn every_priority_is_served_and_unknown_flags_are_ignored(world: &mut World) {
    let hashes: Vec<Hash> = world.sample.small.chunks.values().copied().collect();
    let mut socket = Socket::open(world, WINDOW).await;
    for priority in 0..8 {
        socket.get(1, priority, &hashes[usize::from(priority)..][..1]).await;
        let answer = socket.answer().await;
        assert!(answer.result.is_ok() && answer.last, "priority {priority}: {answer:?}");
    }
    // Flags that version 1 does not have: bits 4 to 7 of a GET, all of the others.
    let mut get = ClientFrame::Get { request: 2, priority: 0, fresh: false, hashes: vec![hashes[0]] }.emit();
    get[1] |= 0xF0;
    socket.send_bytes(get).await;
    assert!(socket.answer().await.result.is_ok());
    let mut ping = ClientFrame::Ping(3).emit();
    ping[1] = 0xFF;
    socket.send_bytes(ping).await;
    assert_eq!(socket.receive().await, ServerFrame::Pong(3));
    socket.close().await;
}

async fn a_batch_is_answered_once_for_each_hash(world: &mut World) {
    let mut hashes: Vec<Hash> = world.sample.small.chunks.values().copied().collect();
    for n in [0, 31, 63] {
        hashes[n] = Hash::of(format!("absent {n}").as_bytes());
    }
    let mut socket = Socket::open(world, 8 << 20).await;
    socket.get(77, 0, &hashes).await;
    let (mut seen, mut lasts, mut absent) = (HashSet::new(), 0, Vec::new());
    for n in 0..hashes.len() {
        let answer = socket.answer().await;
        assert_eq!(answer.request, 77);
        let index = answer.index.expect("an answer for each");
        assert!(seen.insert(index), "{index} twice");
        match answer.result {
            Ok((stored, _)) => {
                envelope::open(&stored, &hashes[usize::from(index)], MAX_OBJECT).expect("is what was asked for");
                socket.credit(u32::try_from(stored.len()).expect("is short")).await;
                assert!(!answer.last || n == hashes.len() - 1, "the last came at {n}");
                lasts += u32::from(answer.last);
            }
            Err(code) => {
                assert_eq!(code, ErrorCode::NotFound);
                absent.push(index);
            }
        }
    }
    absent.sort_unstable();
    assert_eq!(absent, [0, 31, 63]);
    // An error has no flag: if the last answer is one, nothing says so.
    assert!(lasts <= 1);
    // The request is done with: its number is free.
    assert_eq!(socket.fetch(77, &hashes[5..7]).await.len(), 2);
    socket.close().await;
}

async fn a_hash_asked_twice_is_owed_once(world: &mut World) {
    let hashes: Vec<Hash> = world.sample.small.chunks.values().copied().take(12).collect();
    // A window of one byte lets one object go.
    let mut socket = Socket::open(world, 1).await;
    socket.get(1, 6, &hashes).await;
    let first = socket.answer().await;
    let came = usize::from(first.index.expect("an index"));
    let waiting: Vec<Hash> = hashes.iter().enumerate().filter(|(n, _)| *n != came).map(|(_, hash)| *hash).collect();
    socket.get(2, 6, &waiting).await;
    socket.settle().await;
    socket.credit(WINDOW).await;
    for _ in &waiting {
        assert_eq!(socket.answer().await.request, 2);
    }
    socket.settle().await;
    socket.close().await;
}

async fn open_requests_are_bounded_and_numbered(world: &mut World) {
    let objects = &world.sample.objects;
    let mut socket = Socket::connect(world).await;
    // Without credit nothing is sent, so everything stays open.
    let most = socket.hello(raw::hello(world.sample.small.manifest, 0, "")).await.max_open;
    for n in 0..most {
        socket.get(u32::from(n) + 1, 3, &objects[usize::from(n)..][..1]).await;
    }
    socket.settle().await;
    socket.get(1000, 0, &objects[500..501]).await;
    let refused = socket.answer().await;
    assert_eq!((refused.request, refused.index, refused.result.err()), (1000, None, Some(ErrorCode::Busy)));
    socket.send(&ClientFrame::Cancel { request: 1, index: None }).await;
    socket.get(1000, 0, &objects[500..501]).await;
    socket.settle().await;
    socket.get(2, 0, &objects[501..502]).await;
    assert_eq!(socket.end().await, bad_frame());
}

fn samples_of_every_client_frame(manifest: Hash) -> Vec<Vec<u8>> {
    let frames = [
        ClientFrame::Hello(raw::hello(manifest, WINDOW, "")),
        ClientFrame::Get { request: 1, priority: 0, fresh: false, hashes: vec![manifest] },
        ClientFrame::Cancel { request: 1, index: None },
        ClientFrame::Credit(1),
        ClientFrame::Profile(vec![Touch { chunk: 1, ms: 1 }]),
        ClientFrame::Ping(1),
        ClientFrame::Pong(1),
    ];
    frames.iter().map(ClientFrame::emit).collect()
}

async fn malformed_frames_end_the_session(world: &mut World) {
    let manifest = world.sample.small.manifest;
    let mut broken: Vec<(bool, Vec<u8>)> = Vec::new();
    for frame in samples_of_every_client_frame(manifest) {
        let is_hello = frame[0] == 1;
        // Each cut of the header, then those next to the ends of fields.
        let lengths = (0..=8).chain([frame.len() / 2, frame.len() - 1]).filter(|cut| *cut < frame.len());
        broken.extend(lengths.map(|cut| (is_hello, frame[..cut].to_vec())));
        broken.push((is_hello, [&frame[..], &[0]].concat()));
    }
    let get = |count: u16, request: u32, bytes: usize| {
        let mut frame = vec![2, 0];
        frame.extend_from_slice(&count.to_le_bytes());
        frame.extend_from_slice(&request.to_le_bytes());
        frame.resize(8 + bytes, 7);
        (false, frame)
    };
    broken.extend([get(0, 1, 0), get(65, 1, 65 * 32), get(u16::MAX, 1, 32), get(2, 1, 32), get(1, 0, 32)]);
    // A token longer than what follows it.
    let mut hello = ClientFrame::Hello(raw::hello(manifest, WINDOW, "")).emit();
    let at = hello.len() - 2;
    hello[at..].copy_from_slice(&500_u16.to_le_bytes());
    broken.push((true, hello));
    // What nobody sends, or only servers.
    broken.extend([0x00, 0x06, 0x40, 0x80, 0x81, 0x82, 0x83, 0x84, 0xFF].map(|kind| (false, vec![kind; 40])));
    for (before_hello, bytes) in broken {
        // A CANCEL has no body and nothing to cut beyond its header.
        let mut socket = if before_hello { Socket::connect(world).await } else { Socket::open(world, WINDOW).await };
        socket.send_bytes(bytes.clone()).await;
        assert_eq!(socket.end().await, bad_frame(), "after {bytes:02x?}");
    }
    for text in ["", "hello", "{\"type\":1}"] {
        let mut socket = Socket::open(world, WINDOW).await;
        socket.send_message(Message::text(text)).await;
        assert_eq!(socket.end().await, bad_frame(), "after {text:?}");
    }
    // Others do not notice.
    let mut socket = Socket::open(world, WINDOW).await;
    socket.settle().await;
    socket.close().await;
}

async fn frames_out_of_order_end_the_session(world: &mut World) {
    let manifest = world.sample.small.manifest;
    for frame in samples_of_every_client_frame(manifest).into_iter().skip(1) {
        let mut socket = Socket::connect(world).await;
        socket.send_bytes(frame.clone()).await;
        assert_eq!(socket.end().await, bad_frame(), "before HELLO: {frame:02x?}");
    }
    let mut socket = Socket::open(world, WINDOW).await;
    socket.send(&ClientFrame::Hello(raw::hello(manifest, WINDOW, ""))).await;
    assert_eq!(socket.end().await, bad_frame());
    let mut socket = Socket::connect(world).await;
    socket.send(&ClientFrame::Hello(raw::hello(Hash::of(b"no image"), WINDOW, ""))).await;
    assert_eq!(socket.end().await, End { error: Some(ErrorCode::NotFound), close: Some(4404) });
}

async fn oversize_messages_end_the_session(world: &mut World) {
    let too_large = End { error: Some(ErrorCode::TooLarge), close: Some(1009) };
    for len in [4097, 65_536, 500_000] {
        let mut socket = Socket::open(world, WINDOW).await;
        socket.send_bytes(vec![2; len]).await;
        assert_eq!(socket.end().await, too_large, "after {len} bytes");
    }
    // As long as messages may be, and still nothing that means something.
    let mut socket = Socket::open(world, WINDOW).await;
    socket.send_bytes(vec![2; 4096]).await;
    assert_eq!(socket.end().await, bad_frame());
    // What is not even read to its end; the connection may be cut before the close frame is seen.
    let mut socket = Socket::open(world, WINDOW).await;
    socket.send_bytes(vec![2; 40 << 20]).await;
    let end = socket.end().await;
    assert!(matches!(end.close, Some(1009) | None), "{end:?}");
    let mut socket = Socket::open(world, WINDOW).await;
    socket.settle().await;
    socket.close().await;
}

async fn versions_are_negotiated(world: &mut World) {
    let manifest = world.sample.small.manifest;
    let hello = |version_min, version_max| Hello { version_min, version_max, ..raw::hello(manifest, WINDOW, "") };
    // An older peer, a newer one, and one that makes no sense.
    for (low, high) in [(0, 0), (2, 9), (u16::MAX, u16::MAX), (5, 0)] {
        let mut socket = Socket::connect(world).await;
        socket.send(&ClientFrame::Hello(hello(low, high))).await;
        let refused = End { error: Some(ErrorCode::Version), close: Some(4400) };
        assert_eq!(socket.end().await, refused, "{low} to {high}");
    }
    // Peers that speak more than we do.
    for (low, high) in [(0, 1), (1, 9), (0, u16::MAX)] {
        let mut socket = Socket::connect(world).await;
        assert_eq!(socket.hello(hello(low, high)).await.version, 1, "{low} to {high}");
        socket.close().await;
    }
}

async fn the_subprotocol_is_chosen_or_refused(world: &mut World) {
    let url = world.socket_url(&block_proto::key::Prefix::public());
    for offered in ["vmdisk.v1", "vmdisk.v2, vmdisk.v1", "vmdisk.v1, chat", "chat,vmdisk.v1"] {
        let (socket, chosen) = raw::connect(&url, offered, None).await.expect(offered);
        assert_eq!(chosen.as_deref(), Some(SUBPROTOCOL), "{offered}");
        socket.close().await;
    }
    for offered in ["vmdisk.v2", "VMDISK.V1", "vmdisk.v10", "chat", ""] {
        let refused = raw::connect(&url, offered, None).await.err();
        assert_eq!(refused, Some(400), "{offered:?}");
    }
}

async fn fragments_and_pings_of_the_socket_are_taken(world: &mut World) {
    let mut socket = Socket::open(world, WINDOW).await;
    let hash = world.sample.small.chunks[&9];
    let get = ClientFrame::Get { request: 1, priority: 0, fresh: false, hashes: vec![hash] }.emit();
    let (first, rest) = get.split_at(11);
    let (second, third) = rest.split_at(1);
    let frame = |bytes: &[u8], data, last| Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(data), last));
    socket.send_message(frame(first, Data::Binary, false)).await;
    socket.send_message(Message::Ping(b"between".to_vec().into())).await;
    socket.send_message(frame(second, Data::Continue, false)).await;
    socket.send_message(frame(third, Data::Continue, true)).await;
    let (mut pong, mut block) = (false, false);
    while !(pong && block) {
        match socket.message().await {
            Some(Ok(Message::Pong(echo))) => pong = echo[..] == b"between"[..],
            Some(Ok(Message::Binary(message))) => {
                let frame = ServerFrame::parse(&message).expect("a frame");
                block = matches!(frame, ServerFrame::Block { request: 1, .. });
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    socket.close().await;
}
