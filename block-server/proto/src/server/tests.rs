//! The server session against hand-made clients.

use super::*;
use crate::envelope;

const T0: Duration = Duration::from_secs(100);

fn hash(n: u32) -> Hash {
    Hash::of(&n.to_le_bytes())
}

fn hello(window: u32) -> Vec<u8> {
    let manifest = hash(0);
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        window,
        max_message: 1 << 20,
        codecs: 3,
        manifest,
        token: Bytes::new(),
    };
    ClientFrame::Hello(hello).emit()
}

fn open_session(window: u32) -> ServerSession {
    let mut session = ServerSession::new(ServerConfig::default(), 7, T0);
    session.message(T0, &hello(window));
    assert_eq!(session.poll_action(), Some(ServerAction::Open { manifest: hash(0), token: Bytes::new() }));
    session.opened(Ok(()));
    assert!(matches!(transmit(&mut session), Some(ServerFrame::Welcome(_))));
    session
}

fn transmit(session: &mut ServerSession) -> Option<ServerFrame> {
    session.poll_transmit().map(|message| ServerFrame::parse(&message).expect("the server sends frames"))
}

fn get(session: &mut ServerSession, request: u32, priority: u8, hashes: &[Hash]) {
    session.message(T0, &ClientFrame::Get { request, priority, fresh: false, hashes: hashes.to_vec() }.emit());
}

fn reads(session: &mut ServerSession) -> Vec<Hash> {
    let mut hashes = Vec::new();
    while let Some(action) = session.poll_action() {
        match action {
            ServerAction::Read { hash, .. } => hashes.push(hash),
            other => panic!("unexpected {other:?}"),
        }
    }
    hashes
}

fn deliver(session: &mut ServerSession, hash: Hash, len: usize) {
    session.object(hash, false, Ok((envelope::seal_raw(&vec![1; len]), Tier::Origin)));
}

fn answered(frame: Option<ServerFrame>) -> (u32, u16, bool) {
    match frame {
        Some(ServerFrame::Block { request, index, last, .. }) => (request, index, last),
        other => panic!("not a block: {other:?}"),
    }
}

fn closed_with(session: &mut ServerSession, expected: ErrorCode) {
    match transmit(session) {
        Some(ServerFrame::Error { request: 0, index: None, code, .. }) => assert_eq!(code, expected),
        other => panic!("not an error: {other:?}"),
    }
    match session.poll_action() {
        Some(ServerAction::Close { code, .. }) => assert_eq!(code, expected.close_code()),
        other => panic!("not a close: {other:?}"),
    }
    assert!(session.is_closed());
    assert_eq!(session.poll_action(), None);
    assert_eq!(session.poll_transmit(), None);
}

#[test]
fn demand_is_read_and_sent_before_prefetch() {
    let mut session = open_session(1 << 20);
    get(&mut session, 1, 3, &(1..=8).map(hash).collect::<Vec<_>>());
    assert_eq!(reads(&mut session), (1..=5).map(hash).collect::<Vec<_>>());
    get(&mut session, 2, 0, &[hash(20)]);
    for n in 1..=5 {
        deliver(&mut session, hash(n), 1000);
    }
    assert_eq!(reads(&mut session).first(), Some(&hash(20)));
    deliver(&mut session, hash(20), 1000);
    assert_eq!(answered(transmit(&mut session)), (2, 0, true));
    assert_eq!(answered(transmit(&mut session)), (1, 0, false));
}

#[test]
fn asking_again_on_demand_promotes_and_moves_the_answer() {
    let mut session = open_session(1 << 20);
    get(&mut session, 1, 3, &(1..=8).map(hash).collect::<Vec<_>>());
    reads(&mut session);
    get(&mut session, 2, 0, &[hash(8)]);
    deliver(&mut session, hash(1), 10);
    assert_eq!(reads(&mut session), [hash(8)]);
    deliver(&mut session, hash(8), 10);
    assert_eq!(answered(transmit(&mut session)), (2, 0, true));
    let mut last = None;
    for n in 2..=7 {
        reads(&mut session);
        deliver(&mut session, hash(n), 10);
        reads(&mut session);
    }
    while let Some(frame) = transmit(&mut session) {
        last = Some(answered(Some(frame)));
    }
    assert_eq!(last, Some((1, 6, true)));
    assert_eq!(session.take_stats().blocks, 8);
}

#[test]
fn no_more_than_the_window_is_sent_and_credit_goes_on() {
    let mut session = open_session(2500);
    get(&mut session, 1, 0, &[hash(1), hash(2), hash(3), hash(4), hash(5)]);
    for hash in reads(&mut session) {
        deliver(&mut session, hash, 1000);
    }
    let mut sent = 0;
    while session.poll_transmit().is_some() {
        sent += 1;
    }
    // 1008 bytes each: the third overdraws, the fourth has to wait.
    assert_eq!(sent, 3);
    session.message(T0, &ClientFrame::Credit(1008).emit());
    assert!(session.poll_transmit().is_some());
    assert!(session.poll_transmit().is_none());
    session.message(T0, &ClientFrame::Credit(u32::MAX).emit());
    assert!(session.poll_transmit().is_some());
}

#[test]
fn a_cancelled_request_is_owed_nothing() {
    let mut session = open_session(1 << 20);
    get(&mut session, 1, 0, &[hash(1), hash(2)]);
    reads(&mut session);
    deliver(&mut session, hash(1), 10);
    session.message(T0, &ClientFrame::Cancel { request: 1, index: None }.emit());
    deliver(&mut session, hash(2), 10);
    assert_eq!(transmit(&mut session), None);
    get(&mut session, 1, 0, &[hash(2)]);
    assert_eq!(reads(&mut session), [hash(2)]);
}

#[test]
fn errors_answer_single_hashes() {
    let mut session = open_session(1 << 20);
    get(&mut session, 1, 0, &[hash(1), hash(2)]);
    reads(&mut session);
    session.object(hash(2), false, Err(ReadError::NotFound));
    match transmit(&mut session) {
        Some(ServerFrame::Error { request: 1, index: Some(1), code: ErrorCode::NotFound, .. }) => {}
        other => panic!("{other:?}"),
    }
    deliver(&mut session, hash(1), 10);
    assert_eq!(answered(transmit(&mut session)), (1, 0, true));
}

#[test]
fn go_away_answers_what_is_open_and_closes() {
    let mut session = open_session(1 << 20);
    get(&mut session, 1, 0, &[hash(1)]);
    reads(&mut session);
    session.go_away(T0, GoAwayReason::Shutdown, Duration::from_millis(300));
    match transmit(&mut session) {
        Some(ServerFrame::GoAway { reconnect_after_ms: 300, open_answered: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    get(&mut session, 2, 0, &[hash(2)]);
    assert!(matches!(transmit(&mut session), Some(ServerFrame::Error { request: 2, code: ErrorCode::Cancelled, .. })));
    deliver(&mut session, hash(1), 10);
    assert!(session.deadline() > Some(T0), "an answer is owed still");
    assert_eq!(answered(transmit(&mut session)), (1, 0, true));
    assert_eq!(session.deadline(), Some(T0), "nobody is waited for");
    session.tick(T0);
    assert!(matches!(session.poll_action(), Some(ServerAction::Close { code: 1001, .. })));
}

#[test]
fn a_client_that_never_says_hello_is_closed_in_time() {
    let mut session = ServerSession::new(ServerConfig::default(), 1, T0);
    assert_eq!(session.deadline(), Some(T0 + Duration::from_secs(5)));
    session.tick(T0 + Duration::from_secs(4));
    assert_eq!(session.poll_action(), None);
    session.tick(T0 + Duration::from_secs(5));
    assert!(matches!(session.poll_action(), Some(ServerAction::Close { code: 4408, .. })));
}

#[test]
fn silence_closes_and_pings_keep_alive() {
    let mut session = open_session(1 << 20);
    let later = T0 + Duration::from_secs(100);
    session.message(later, &ClientFrame::Ping(77).emit());
    assert_eq!(transmit(&mut session), Some(ServerFrame::Pong(77)));
    session.tick(T0 + Duration::from_secs(121));
    assert!(!session.is_closed());
    session.tick(later + Duration::from_secs(120));
    assert!(session.is_closed());
}

#[test]
fn protocol_errors_close_with_their_code() {
    let fresh = || ServerSession::new(ServerConfig::default(), 1, T0);
    let mut session = fresh();
    session.message(T0, b"garbage");
    closed_with(&mut session, ErrorCode::BadFrame);

    let mut session = fresh();
    get(&mut session, 1, 0, &[hash(1)]);
    closed_with(&mut session, ErrorCode::BadFrame);

    let mut session = fresh();
    session.message(T0, &vec![1; 5000]);
    closed_with(&mut session, ErrorCode::TooLarge);

    let mut session = fresh();
    let mut future = hello(1);
    future[8] = 2;
    future[10] = 9;
    session.message(T0, &future);
    closed_with(&mut session, ErrorCode::Version);

    let mut session = fresh();
    session.message(T0, &hello(1));
    session.poll_action();
    session.opened(Err(ReadError::NotFound));
    closed_with(&mut session, ErrorCode::NotFound);

    let mut session = open_session(1);
    session.message(T0, &hello(1));
    closed_with(&mut session, ErrorCode::BadFrame);

    let mut session = open_session(1);
    get(&mut session, 1, 0, &[hash(1)]);
    get(&mut session, 1, 0, &[hash(2)]);
    closed_with(&mut session, ErrorCode::BadFrame);

    let mut session = open_session(1);
    session.text_message();
    closed_with(&mut session, ErrorCode::BadFrame);
}

fn get_fresh(session: &mut ServerSession, request: u32, hashes: &[Hash]) {
    session.message(T0, &ClientFrame::Get { request, priority: 0, fresh: true, hashes: hashes.to_vec() }.emit());
}

fn sealed(text: &[u8]) -> Result<(Bytes, Tier), ReadError> {
    Ok((envelope::seal_raw(text), Tier::Memory))
}

#[test]
fn only_the_origins_word_answers_a_fresh_get() {
    let mut session = open_session(1 << 20);
    // One that is being read, one that was read, one that nobody asked for yet.
    get(&mut session, 1, 3, &[hash(1), hash(2)]);
    reads(&mut session);
    session.object(hash(2), false, sealed(b"wrong"));
    get_fresh(&mut session, 2, &[hash(1), hash(2), hash(3)]);
    assert_eq!(transmit(&mut session), None, "what was cached is not sent any more");
    for n in 1..=3 {
        let read = ServerAction::Read { hash: hash(n), demand: true, fresh: true };
        assert_eq!(session.poll_action(), Some(read));
    }
    session.object(hash(1), false, sealed(b"wrong"));
    assert_eq!(transmit(&mut session), None, "the older read is not what was asked for");
    session.object(hash(1), true, sealed(b"right"));
    match transmit(&mut session) {
        Some(ServerFrame::Block { request: 2, index: 0, envelope, .. }) => assert!(envelope.ends_with(b"right")),
        other => panic!("{other:?}"),
    }
    let patience = Duration::from_secs(3);
    session.object(hash(2), true, Err(ReadError::RateLimited(patience)));
    match transmit(&mut session) {
        Some(ServerFrame::Error { request: 2, index: Some(1), code: ErrorCode::RateLimited, retry_after, .. }) => {
            assert_eq!(retry_after, patience);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn recorded_boots_are_taken_as_often_as_configured() {
    let profile = ClientFrame::Profile(vec![Touch { chunk: 3, ms: 9 }]).emit();
    let mut session = open_session(1 << 20);
    session.message(T0, &profile);
    assert_eq!(session.poll_action(), None);

    let config = ServerConfig { profiles: 1, ..ServerConfig::default() };
    let mut session = ServerSession::new(config, 7, T0);
    session.message(T0, &hello(1));
    session.poll_action();
    session.opened(Ok(()));
    assert!(matches!(transmit(&mut session), Some(ServerFrame::Welcome(Welcome { wants_profiles: true, .. }))));
    session.message(T0, &profile);
    let touches = vec![Touch { chunk: 3, ms: 9 }];
    assert_eq!(session.poll_action(), Some(ServerAction::Profile { touches }));
    session.message(T0, &profile);
    assert_eq!(session.poll_action(), None);
}

#[test]
fn too_many_open_requests_are_told_to_wait() {
    let mut session = open_session(1);
    for request in 1..=32 {
        get(&mut session, request, 0, &[hash(request)]);
    }
    assert_eq!(transmit(&mut session), None);
    get(&mut session, 33, 0, &[hash(33)]);
    assert!(matches!(transmit(&mut session), Some(ServerFrame::Error { request: 33, code: ErrorCode::Busy, .. })));
    assert!(!session.is_closed());
}

#[test]
fn random_frames_in_any_state_never_panic_and_keep_the_books() {
    let mut state = 7_u32;
    let mut next = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for _ in 0..400 {
        let mut session = ServerSession::new(ServerConfig::default(), 1, T0);
        let mut reading = Vec::new();
        if next(8) > 0 {
            session.message(T0, &hello(next(300_000)));
        }
        for step in 0..200 {
            let now = T0 + Duration::from_millis(step * 20);
            match next(12) {
                0..=3 => {
                    let hashes = (0..=next(6)).map(|_| hash(next(40))).collect();
                    let (request, priority) = (next(60) + 1, next(8) as u8);
                    let frame = ClientFrame::Get { request, priority, fresh: next(10) == 0, hashes };
                    // An open request's number must not be used again.
                    let ClientFrame::Get { request, .. } = &frame else { unreachable!() };
                    if !session.owed.contains_key(request) {
                        session.message(now, &frame.emit());
                    }
                }
                4 => session.message(now, &ClientFrame::Cancel { request: next(60), index: None }.emit()),
                5 => {
                    let index = Some(next(6) as u16);
                    session.message(now, &ClientFrame::Cancel { request: next(60), index }.emit());
                }
                6 => session.message(now, &ClientFrame::Credit(next(100_000)).emit()),
                7 => session.message(now, &ClientFrame::Ping(1).emit()),
                8 if next(40) == 0 => session.go_away(now, GoAwayReason::Overload, Duration::ZERO),
                8 if next(60) == 0 => session.message(now, &[next(256) as u8; 9]),
                _ => {
                    if let Some((hash, fresh)) = reading.pop() {
                        let object = envelope::seal_raw(&vec![1; next(50_000) as usize]);
                        match next(9) {
                            0 => session.object(hash, fresh, Err(ReadError::Upstream("x".into()))),
                            _ => session.object(hash, fresh, Ok((object, Tier::Origin))),
                        }
                    }
                }
            }
            session.tick(now);
            while let Some(action) = session.poll_action() {
                match action {
                    ServerAction::Open { .. } => session.opened(Ok(())),
                    ServerAction::Read { hash, fresh, .. } => reading.push((hash, fresh)),
                    ServerAction::Profile { .. } => panic!("not opted in"),
                    ServerAction::Close { .. } => assert!(session.is_closed()),
                }
            }
            if next(3) > 0 {
                transmit(&mut session);
            }
            let owed: usize = session.owed.values().map(|owed| usize::from(*owed)).sum();
            assert_eq!(owed, session.entries.len());
            let ready = |entry: &Entry| match &entry.progress {
                Progress::Ready(envelope, _) => envelope.len(),
                _ => 0,
            };
            assert_eq!(session.ready_bytes, session.entries.values().map(ready).sum::<usize>());
            assert!(session.is_closed() || session.reading == reading.len());
        }
    }
}
