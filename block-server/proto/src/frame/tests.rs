//! Round trips, documented bytes, and messages made by an enemy.

use super::*;

fn client_frames() -> Vec<ClientFrame> {
    let hello = Hello {
        version_min: 1,
        version_max: 3,
        window: 2 << 20,
        max_message: 1 << 20,
        codecs: 3,
        manifest: Hash::of(b"root"),
        token: Bytes::from_static(b"token"),
    };
    vec![
        ClientFrame::Hello(hello),
        ClientFrame::Get { request: 7, priority: 3, fresh: false, hashes: vec![Hash::of(b"a"), Hash::of(b"b")] },
        ClientFrame::Get { request: 8, priority: 0, fresh: true, hashes: vec![Hash::of(b"a")] },
        ClientFrame::Cancel { request: 7, index: None },
        ClientFrame::Cancel { request: 7, index: Some(1) },
        ClientFrame::Credit(262_144),
        ClientFrame::Profile(vec![Touch { chunk: 1, ms: 2 }, Touch { chunk: 9, ms: 65_535 }]),
        ClientFrame::Ping(u64::MAX),
        ClientFrame::Pong(1),
    ]
}

fn server_frames() -> Vec<ServerFrame> {
    let welcome = Welcome {
        version: 1,
        max_batch: 64,
        max_open: 32,
        idle_s: 120,
        window_max: 8 << 20,
        budget_chunks: 0,
        session: 99,
        wants_profiles: true,
    };
    let envelope = Bytes::from_static(b"\0\0\0\0\x03\0\0\0abc");
    vec![
        ServerFrame::Welcome(welcome),
        ServerFrame::Block { request: 7, index: 1, last: true, tier: Tier::Origin, envelope },
        ServerFrame::Error {
            request: 7,
            index: Some(0),
            code: ErrorCode::NotFound,
            retry_after: Duration::from_millis(500),
            text: "no such object".into(),
        },
        ServerFrame::GoAway { reason: GoAwayReason::Shutdown, reconnect_after_ms: 100, open_answered: 2 },
        ServerFrame::Ping(5),
        ServerFrame::Pong(5),
    ]
}

#[test]
fn frames_parse_back() {
    for frame in client_frames() {
        assert_eq!(ClientFrame::parse(&frame.emit()), Ok(frame));
    }
    for frame in server_frames() {
        assert_eq!(ServerFrame::parse(&frame.emit().into()), Ok(frame));
    }
}

#[test]
fn frames_have_the_documented_bytes() {
    let hashes = vec![Hash::of(b"abc")];
    let mut get = ClientFrame::Get { request: 0x0102_0304, priority: 3, fresh: false, hashes }.emit();
    assert_eq!(get[..12], [0x02, 3, 1, 0, 4, 3, 2, 1, 0x64, 0x37, 0xb3, 0xac]);
    get[1] |= 0b1000;
    assert!(matches!(ClientFrame::parse(&get), Ok(ClientFrame::Get { priority: 3, fresh: true, .. })));
    let welcome = server_frames()[0].emit();
    assert_eq!(welcome[..10], [0x81, 1, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(ClientFrame::Cancel { request: 1, index: None }.emit(), [0x03, 0, 0xff, 0xff, 1, 0, 0, 0]);
    assert_eq!(ClientFrame::Credit(0x40000).emit(), [0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
    let hello = client_frames()[0].emit();
    assert_eq!(hello[..24], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 32, 0, 0, 0, 16, 0, 3, 0, 0, 0]);
    assert_eq!(hello[56..], [5, 0, b't', b'o', b'k', b'e', b'n']);
    let block = server_frames()[1].emit();
    assert_eq!(block[..9], [0x82, 0b101, 1, 0, 7, 0, 0, 0, 0]);
    let error = server_frames()[2].emit();
    assert_eq!(error[..12], [0x83, 0, 0, 0, 7, 0, 0, 0, 5, 0, 5, 0]);
    assert_eq!(server_frames()[3].emit(), [0x84, 0, 1, 0, 0, 0, 0, 0, 100, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn every_truncation_and_every_extra_byte_is_refused() {
    for frame in client_frames() {
        let bytes = frame.emit();
        for len in 0..bytes.len() {
            assert!(ClientFrame::parse(&bytes[..len]).is_err(), "{frame:?} cut to {len}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(ClientFrame::parse(&longer).is_err(), "{frame:?}");
    }
}

#[test]
fn mutated_and_random_messages_never_panic_and_survive_a_round_trip() {
    let mut state = 0x1234_5678_u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let seeds: Vec<Vec<u8>> =
        client_frames().iter().map(ClientFrame::emit).chain(server_frames().iter().map(ServerFrame::emit)).collect();
    for round in 0..60_000 {
        let mut bytes = if round % 4 == 0 {
            (0..next() % 90).map(|_| next() as u8).collect()
        } else {
            seeds[next() as usize % seeds.len()].clone()
        };
        for _ in 0..next() % 5 {
            if !bytes.is_empty() {
                let at = next() as usize % bytes.len();
                bytes[at] = next() as u8;
            }
        }
        if let Ok(frame) = ClientFrame::parse(&bytes) {
            assert_eq!(ClientFrame::parse(&frame.emit()), Ok(frame));
        }
        if let Ok(frame) = ServerFrame::parse(&bytes.into()) {
            assert_eq!(ServerFrame::parse(&frame.emit().into()), Ok(frame));
        }
    }
}

#[test]
fn batches_are_bounded() {
    let hashes = vec![Hash::of(b"a"); MAX_BATCH + 1];
    let get = ClientFrame::Get { request: 1, priority: 0, fresh: false, hashes };
    assert_eq!(ClientFrame::parse(&get.emit()), Err(FrameError::Batch(65)));
    assert_eq!(ClientFrame::parse(&[2, 0, 0, 0, 1, 0, 0, 0]), Err(FrameError::Batch(0)));
}
