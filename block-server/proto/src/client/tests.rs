//! The client session against a hand-made server.

use super::*;
use crate::envelope::seal_raw;

const T0: Duration = Duration::from_secs(50);

fn hash(n: u32) -> Hash {
    Hash::of(&n.to_le_bytes())
}

fn welcome() -> Bytes {
    let welcome = Welcome {
        version: 1,
        max_batch: 64,
        max_open: 32,
        idle_s: 120,
        window_max: 8 << 20,
        budget_chunks: 0,
        session: 3,
        wants_profiles: false,
    };
    ServerFrame::Welcome(welcome).emit().into()
}

fn sent(session: &mut ClientSession, now: Duration) -> Vec<ClientFrame> {
    let parse = |message: Vec<u8>| ClientFrame::parse(&message).expect("the client sends frames");
    std::iter::from_fn(|| session.poll_transmit(now)).map(parse).collect()
}

fn events(session: &mut ClientSession) -> Vec<ClientEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn open_session() -> ClientSession {
    let mut session = ClientSession::new(ClientConfig::new(hash(0)));
    session.connected(T0);
    assert!(matches!(sent(&mut session, T0)[..], [ClientFrame::Hello(_)]));
    session.message(T0, &welcome());
    assert_eq!(events(&mut session), [ClientEvent::Opened { session: 3 }]);
    assert!(matches!(sent(&mut session, T0)[..], [ClientFrame::Ping(1)]));
    session.message(T0 + Duration::from_millis(40), &ServerFrame::Pong(1).emit().into());
    assert_eq!(session.rtt(), Some(Duration::from_millis(40)));
    session
}

fn block(session: &mut ClientSession, request: u32, index: u16) {
    let envelope = seal_raw(b"object");
    let frame = ServerFrame::Block { request, index, last: false, tier: Tier::Memory, envelope };
    session.message(T0, &frame.emit().into());
}

#[test]
fn nothing_is_asked_before_welcome_and_one_tick_is_one_request() {
    let mut session = ClientSession::new(ClientConfig::new(hash(0)));
    session.request(hash(1), Priority::Demand);
    assert!(sent(&mut session, T0).is_empty());
    session.connected(T0);
    assert_eq!(sent(&mut session, T0).len(), 1);
    session.request(hash(2), Priority::Demand);
    session.request(hash(1), Priority::Demand);
    session.message(T0, &welcome());
    let frames = sent(&mut session, T0);
    assert_eq!(frames[1], ClientFrame::Get { request: 1, priority: 0, fresh: false, hashes: vec![hash(1), hash(2)] });
    assert_eq!(frames.len(), 2);
}

#[test]
fn demand_goes_first_and_prefetch_is_bounded() {
    let mut session = open_session();
    (100..400).for_each(|n| session.request(hash(n), Priority::ReadAhead));
    session.request(hash(1), Priority::Demand);
    let frames = sent(&mut session, T0);
    assert_eq!(frames[0], ClientFrame::Get { request: 1, priority: 0, fresh: false, hashes: vec![hash(1)] });
    let prefetched: usize = frames[1..]
        .iter()
        .map(|frame| match frame {
            ClientFrame::Get { priority: 3, hashes, .. } => hashes.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    // Nothing is known of the path.
    assert_eq!(prefetched, 2);
}

#[test]
fn a_limit_of_fresh_reads_holds_nothing_else_up() {
    let mut session = open_session();
    session.request_fresh(hash(1));
    let frames = sent(&mut session, T0);
    assert_eq!(frames, [ClientFrame::Get { request: 1, priority: 0, fresh: true, hashes: vec![hash(1)] }]);
    let limited = ServerFrame::Error {
        request: 1,
        index: Some(0),
        code: ErrorCode::RateLimited,
        retry_after: Duration::from_secs(2),
        text: String::new(),
    };
    session.message(T0, &limited.emit().into());
    let expected = Duration::from_secs(2);
    assert!(
        matches!(events(&mut session)[..], [ClientEvent::Failed { code: ErrorCode::RateLimited, retry_after, .. }] if retry_after == expected)
    );
    session.request(hash(2), Priority::Demand);
    assert_eq!(sent(&mut session, T0).len(), 1, "others need not wait");
}

#[test]
fn a_boot_is_told_to_a_server_that_asked() {
    let touches: Vec<Touch> = (0..700).map(|chunk| Touch { chunk, ms: 3 }).collect();
    let mut session = open_session();
    assert!(!session.report_boot(&touches));
    session.disconnected();
    session.connected(T0);
    let ServerFrame::Welcome(asking) = ServerFrame::parse(&welcome()).expect("a welcome") else { panic!("a welcome") };
    session.message(T0, &ServerFrame::Welcome(Welcome { wants_profiles: true, ..asking }).emit().into());
    sent(&mut session, T0);
    assert!(session.report_boot(&touches));
    let frames = sent(&mut session, T0);
    let told: Vec<Touch> = frames
        .iter()
        .flat_map(|frame| match frame {
            ClientFrame::Profile(touches) => touches.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, touches);
    assert!(frames.iter().all(|frame| frame.emit().len() <= 4096), "longer ones are refused");
}

#[test]
fn objects_are_signs_of_life_while_an_answer_to_ping_stands_behind_them() {
    let mut session = open_session();
    (1..=3).for_each(|n| session.request(hash(n), Priority::Demand));
    sent(&mut session, T0);
    let mut now = T0 + Duration::from_secs(6);
    session.tick(now);
    assert_eq!(sent(&mut session, now), [ClientFrame::Ping(2)]);
    for index in 0..3 {
        now += PONG_TIMEOUT - Duration::from_millis(1);
        session.tick(now);
        let envelope = seal_raw(b"object");
        let frame = ServerFrame::Block { request: 1, index, last: false, tier: Tier::Memory, envelope };
        session.message(now, &frame.emit().into());
    }
    assert!(events(&mut session).iter().all(|event| matches!(event, ClientEvent::Object { .. })));
}

#[test]
fn a_promoted_object_is_delivered_once_whichever_answer_comes_first() {
    for first in [1, 2] {
        let mut session = open_session();
        session.request(hash(1), Priority::ReadAhead);
        session.request(hash(2), Priority::ReadAhead);
        sent(&mut session, T0);
        session.request(hash(2), Priority::Demand);
        assert_eq!(
            sent(&mut session, T0),
            [ClientFrame::Get { request: 2, priority: 0, fresh: false, hashes: vec![hash(2)] }]
        );
        block(&mut session, first, if first == 1 { 1 } else { 0 });
        assert!(matches!(events(&mut session)[..], [ClientEvent::Object { hash: h, .. }] if h == hash(2)));
        let cancelled = sent(&mut session, T0);
        let expected = [ClientFrame::Cancel { request: 2, index: Some(0) }];
        assert_eq!(cancelled, if first == 1 { &expected[..] } else { &[] });
        // The other answer may have been on the way.
        block(&mut session, 3 - first, if first == 1 { 0 } else { 1 });
        assert!(events(&mut session).is_empty());
        block(&mut session, 1, 0);
        assert_eq!(events(&mut session).len(), 1);
        assert!(session.owed.is_empty() && session.asked.is_empty() && session.prefetch_in_flight == 0);
    }
}

#[test]
fn after_a_loss_what_is_still_wanted_is_asked_for_again() {
    let mut session = open_session();
    (1..=3).for_each(|n| session.request(hash(n), Priority::Demand));
    sent(&mut session, T0);
    block(&mut session, 1, 1);
    events(&mut session);
    session.disconnected();
    session.cancel(&hash(3));
    session.connected(T0);
    session.message(T0, &welcome());
    let frames = sent(&mut session, T0);
    assert_eq!(frames.last(), Some(&ClientFrame::Get { request: 2, priority: 0, fresh: false, hashes: vec![hash(1)] }));
}

#[test]
fn busy_is_waited_out_and_absence_is_reported() {
    let mut session = open_session();
    session.request(hash(1), Priority::Demand);
    sent(&mut session, T0);
    let busy = ServerFrame::Error {
        request: 1,
        index: None,
        code: ErrorCode::Busy,
        retry_after: Duration::from_millis(200),
        text: String::new(),
    };
    session.message(T0, &busy.emit().into());
    assert!(sent(&mut session, T0).is_empty());
    let later = T0 + Duration::from_millis(200);
    assert_eq!(session.deadline(T0), Some(later));
    assert_eq!(
        sent(&mut session, later),
        [ClientFrame::Get { request: 2, priority: 0, fresh: false, hashes: vec![hash(1)] }]
    );
    let absent = ServerFrame::Error {
        request: 2,
        index: Some(0),
        code: ErrorCode::NotFound,
        retry_after: Duration::ZERO,
        text: "no".into(),
    };
    session.message(later, &absent.emit().into());
    assert!(matches!(events(&mut session)[..], [ClientEvent::Failed { code: ErrorCode::NotFound, .. }]));
    assert!(!session.is_wanted(&hash(1)));
}

#[test]
fn a_silent_server_is_pinged_and_then_given_up() {
    let mut session = open_session();
    session.request(hash(1), Priority::Demand);
    sent(&mut session, T0);
    let heard = T0 + Duration::from_millis(40);
    session.tick(heard + STALL);
    assert_eq!(sent(&mut session, T0), [ClientFrame::Ping(2)]);
    session.tick(heard + STALL + PONG_TIMEOUT);
    assert!(matches!(events(&mut session)[..], [ClientEvent::Close { code: 4408, .. }]));
}

#[test]
fn going_away_asks_for_nothing_new() {
    let mut session = open_session();
    session.request(hash(1), Priority::Demand);
    sent(&mut session, T0);
    let frame = ServerFrame::GoAway { reason: GoAwayReason::Shutdown, reconnect_after_ms: 100, open_answered: 1 };
    session.message(T0, &frame.emit().into());
    session.request(hash(2), Priority::Demand);
    assert!(sent(&mut session, T0).is_empty());
    block(&mut session, 1, 0);
    let seen = events(&mut session);
    assert!(matches!(seen[..], [ClientEvent::GoAway { .. }, ClientEvent::Object { .. }]));
}

#[test]
fn garbage_breaks_the_connection_off() {
    let mut session = open_session();
    session.message(T0, &Bytes::from_static(b"\x99\0\0\0\0\0\0\0"));
    assert!(matches!(events(&mut session)[..], [ClientEvent::Close { code: 1002, .. }]));
    let mut session = open_session();
    session.message(T0, &welcome());
    assert!(matches!(events(&mut session)[..], [ClientEvent::Close { code: 1002, .. }]));
}
