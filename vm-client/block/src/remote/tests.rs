//! An image opened over a network that fails in every way.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use block_proto::envelope::seal_raw;
use bytes::Bytes;
use vm_rt::{Executor, ManualClock};

use super::fake::{Door, FakeNetwork, chunk};
use super::*;

struct World {
    executor: Executor,
    clock: Rc<ManualClock>,
    network: Rc<FakeNetwork>,
    host: RemoteHost<Rc<FakeNetwork>>,
    /// How often a timer has woken somebody.
    rounds: Cell<u32>,
}

fn world() -> World {
    let clock = Rc::new(ManualClock::default());
    clock.advance(Duration::from_secs(10));
    let network = FakeNetwork::new(Rc::clone(&clock));
    let dynamic: Rc<dyn Clock> = clock.clone();
    let host = RemoteHost { network: Rc::new(Rc::clone(&network)), clock: dynamic, timers: Timers::new() };
    World { executor: Executor::new(), clock, network, host, rounds: Cell::new(0) }
}

impl World {
    fn settle(&self) {
        while self.executor.poll_one() {}
    }

    /// Lets up to `limit` pass, timer by timer, until `done`.
    fn pass(&self, limit: Duration, done: impl Fn() -> bool) -> Duration {
        let start = self.clock.monotonic();
        loop {
            self.settle();
            let now = self.clock.monotonic();
            if done() || now >= start + limit {
                return now - start;
            }
            let next = self.host.timers.next_deadline().unwrap_or(start + limit).min(start + limit);
            self.clock.advance(next.saturating_sub(now));
            self.host.timers.fire(self.clock.monotonic());
            self.rounds.set(self.rounds.get() + 1);
        }
    }

    /// Starts something; its result appears in the cell.
    fn start<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let cell = Rc::new(RefCell::new(None));
        let result = Rc::clone(&cell);
        self.executor.spawn(async move {
            let value = future.await;
            *result.borrow_mut() = Some(value);
        });
        cell
    }

    fn run<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let cell = self.start(future);
        self.pass(Duration::from_secs(600), || cell.borrow().is_some());
        let value = cell.borrow_mut().take();
        value.expect("finishes within ten minutes")
    }

    fn open(&self, name: &str) -> Remote {
        let (host, image) = (self.host.clone(), name.parse::<ImageRef>().expect("a name"));
        let opened = self.run(async move { Remote::open(&host, &image, OpenOptions::default()).await });
        let (remote, background) = opened.expect("opens");
        self.executor.spawn(background);
        remote
    }

    fn fetch(&self, remote: &Remote, n: u32) -> Rc<RefCell<Option<Result<Bytes, BlockError>>>> {
        let remote = remote.clone();
        self.start(async move { remote.fetch(ChunkId(n), Urgency::Demand).await })
    }

    fn fetched(&self, remote: &Remote, n: u32) -> Result<Bytes, BlockError> {
        let remote = remote.clone();
        self.run(async move { remote.fetch(ChunkId(n), Urgency::Demand).await })
    }
}

const DEMO: &str = "http://store.test/demo";

#[test]
fn chunks_come_over_the_socket_and_zeros_cost_nothing() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    assert_eq!(remote.image_size(), 30 * CHUNK_SIZE as u64);
    for n in 0..30 {
        let expected = if n % 3 == 2 { vec![0; CHUNK_SIZE] } else { chunk(n) };
        assert_eq!(world.fetched(&remote, n).expect("comes"), expected, "chunk {n}");
    }
    assert_eq!(remote.status().link, Link::Socket);
    // Tag and root over HTTP; the page and the chunks over one socket.
    assert_eq!(world.network.gets.borrow().len(), 2);
    assert_eq!(world.network.connects.get(), 1);
    assert_eq!(world.network.connections.borrow()[0].reads.borrow().len(), 1 + 20);
    assert!(matches!(world.fetched(&remote, 2000), Err(BlockError::OutOfRange { .. })));
}

#[test]
fn opening_20_gb_fetches_less_than_64_kib_before_the_first_chunk() {
    let world = world();
    let manifest = world.network.put_image("demo", 3);
    let first = manifest.pages[0];
    // A full-size root: 160 pages.
    let pages = (0..160_u32).map(|n| if n == 0 { first } else { Hash::of(&n.to_le_bytes()) }).collect();
    let huge = Manifest { image_size: 20 << 30, pages, ..manifest };
    let hash = world.network.put(&huge.emit());
    let remote = world.open(&format!("http://store.test/demo@b3:{hash}"));
    world.fetched(&remote, 0).expect("comes");
    let before = remote.status().bytes - CHUNK_SIZE as u64 - 8;
    assert!(before < 64 * 1024, "{before} bytes");
}

#[test]
fn many_callers_share_one_request_and_a_dropped_caller_takes_it_back() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    let connection = Rc::clone(&world.network.connections.borrow()[0]);
    connection.stalled.set(true);
    let first = world.fetch(&remote, 1);
    let second = world.fetch(&remote, 1);
    world.settle();
    assert_eq!(connection.reads.borrow().iter().filter(|h| **h == Hash::of(&chunk(1))).count(), 1);
    {
        let mut dropped = Box::pin(remote.fetch(ChunkId(3), Urgency::Demand));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
        world.settle();
        assert_eq!(remote.status().in_flight, 2);
    }
    world.settle();
    assert_eq!(remote.status().in_flight, 1);
    connection.break_off("lost");
    world.pass(Duration::from_secs(5), || first.borrow().is_some());
    assert!(first.borrow().as_ref().is_some_and(Result::is_ok) && second.borrow().as_ref().is_some_and(Result::is_ok));
}

#[test]
fn a_static_host_does_with_http_alone() {
    let world = world();
    world.network.door.set(Door::Refused);
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    let start = world.clock.monotonic();
    for n in 0..30 {
        world.fetched(&remote, n).expect("comes");
    }
    assert!(world.clock.monotonic() - start < Duration::from_millis(200), "no waiting for sockets that never open");
    assert_eq!(remote.status().link, Link::Http);
    let attempts = world.network.connects.get();
    assert!(attempts <= 2, "{attempts}");
}

#[test]
fn a_socket_that_never_opens_is_waited_for_only_once() {
    let world = world();
    world.network.door.set(Door::Silent);
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    let start = world.clock.monotonic();
    world.fetched(&remote, 0).expect("comes");
    let first = world.clock.monotonic() - start;
    assert!(first >= Duration::from_millis(1500) && first < Duration::from_secs(2), "{first:?}");
    world.fetched(&remote, 1).expect("comes");
    assert_eq!(world.clock.monotonic() - start, first);
}

#[test]
fn a_lost_socket_is_replaced_and_nobody_notices() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    for n in 0..30 {
        let fetching = world.fetch(&remote, n);
        world.network.connections.borrow().iter().for_each(|connection| match n % 3 {
            0 => connection.break_off("reset"),
            1 => connection.go_away(),
            _ => {}
        });
        world.pass(Duration::from_secs(10), || fetching.borrow().is_some());
        assert!(fetching.borrow().as_ref().is_some_and(Result::is_ok), "chunk {n}");
        world.pass(Duration::from_secs(25), || remote.status().link == Link::Socket);
    }
    assert!(remote.status().losses > 5, "{:?}", remote.status());
    assert!(world.network.connects.get() > 5);
}

#[test]
fn without_a_network_requests_wait_and_the_status_says_so() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    world.network.go_offline();
    let fetching = world.fetch(&remote, 1);
    world.pass(Duration::from_secs(3600), || fetching.borrow().is_some());
    assert!(fetching.borrow().is_none(), "an hour offline is not an error");
    let status = remote.status();
    assert!(matches!(status.link, Link::Offline { since } if since < Duration::from_secs(20)), "{status:?}");
    assert_eq!(status.demanded, 1);
    assert!(status.last_error.is_some_and(|text| text.contains("unreachable")));
    // Patient, but not hectic: one probe at a time, and at most one try in five seconds each way once the delays have grown.
    let tries = world.network.gets.borrow().len() as u32 + world.network.connects.get();
    assert!(tries < 6000, "{tries}");
    world.network.online.set(true);
    let took = world.pass(Duration::from_secs(60), || fetching.borrow().is_some());
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(fetching.borrow().clone().expect("came").expect("good"), chunk(1));
}

#[test]
fn news_of_the_network_cuts_the_delay_short() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    world.network.go_offline();
    let fetching = world.fetch(&remote, 1);
    world.pass(Duration::from_secs(300), || false);
    world.network.online.set(true);
    remote.retry_now();
    world.settle();
    assert!(fetching.borrow().is_some());
}

#[test]
fn a_corrupt_chunk_is_replaced_past_the_caches_of_http() {
    let world = world();
    world.network.door.set(Door::Refused);
    world.network.put_image("demo", 30);
    let hash = Hash::of(&chunk(1));
    world.network.cached.borrow_mut().insert(key_of(&hash), seal_raw(b"not it"));
    let remote = world.open(DEMO);
    assert_eq!(world.fetched(&remote, 1).expect("comes"), chunk(1));
    let gets: Vec<_> = world.network.gets.borrow().iter().filter(|(url, _)| url.contains("/o/")).cloned().collect();
    assert_eq!(gets.last().map(|(_, cache)| *cache), Some(CacheMode::Reload));
    assert_eq!(world.network.gets_of(&hash), 2);
}

#[test]
fn what_a_cache_of_the_server_has_wrong_is_asked_for_again_past_it_over_the_same_socket() {
    let world = world();
    world.network.put_image("demo", 30);
    let hash = Hash::of(&chunk(1));
    world.network.over_socket.borrow_mut().insert(hash, seal_raw(b"not it"));
    let remote = world.open(DEMO);
    assert_eq!(world.fetched(&remote, 1).expect("comes"), chunk(1));
    assert_eq!(world.network.gets_of(&hash), 0);
    assert_eq!(world.network.connects.get(), 1);
    let connection = Rc::clone(&world.network.connections.borrow()[0]);
    assert_eq!(connection.reads.borrow().iter().filter(|read| **read == hash).count(), 2);
}

#[test]
fn a_log_in_page_is_no_network() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    world.network.go_offline();
    world.network.online.set(true);
    *world.network.portal.borrow_mut() = Some(Bytes::from_static(b"<!doctype html><title>Wi-Fi</title>"));
    let fetching = world.fetch(&remote, 1);
    world.pass(Duration::from_secs(600), || fetching.borrow().is_some());
    assert!(fetching.borrow().is_none(), "it is waited for");
    let status = remote.status();
    assert!(matches!(status.link, Link::Offline { .. }), "{status:?}");
    let (host, image) = (world.host.clone(), DEMO.parse::<ImageRef>().expect("a name"));
    let opened = world.run(async move { Remote::open(&host, &image, OpenOptions::default()).await.map(drop) });
    assert!(matches!(opened, Err(OpenError::Unreachable { reason, .. }) if reason.contains("log-in")));
    world.network.portal.take();
    world.pass(Duration::from_secs(60), || fetching.borrow().is_some());
    assert_eq!(fetching.borrow().clone().expect("came").expect("good"), chunk(1));
}

#[test]
fn a_private_image_comes_with_its_token_over_either_way_and_a_new_one_goes_on() {
    for door in [Door::Open, Door::Refused] {
        let world = world();
        world.network.door.set(door);
        world.network.put_image("demo", 30);
        *world.network.token.borrow_mut() = Some("first".to_owned());
        let open = |token: Option<&str>| {
            let (host, image) = (world.host.clone(), DEMO.parse::<ImageRef>().expect("a name"));
            let token = token.map(|token| token.parse().expect("a token"));
            let options = OpenOptions { token, ..OpenOptions::default() };
            world.run(async move { Remote::open(&host, &image, options).await })
        };
        let Err(OpenError::Denied { reason, .. }) = open(None) else { panic!("opened without a token") };
        assert!(reason.contains("wants a token"), "{reason}");
        let Err(error @ OpenError::Denied { .. }) = open(Some("other")) else { panic!("opened with another token") };
        assert!(!error.to_string().contains("other"), "{error}");
        let (remote, background) = open(Some("first")).expect("opens");
        world.executor.spawn(background);
        assert_eq!(world.fetched(&remote, 0).expect("comes"), chunk(0));
        assert_eq!(remote.status().link, if door == Door::Open { Link::Socket } else { Link::Http });
        // The token ends: the guest waits until there is another.
        *world.network.token.borrow_mut() = Some("second".to_owned());
        world.network.connections.borrow().iter().for_each(|connection| connection.break_off("expired"));
        let fetching = world.fetch(&remote, 1);
        world.pass(Duration::from_secs(120), || fetching.borrow().is_some());
        assert!(fetching.borrow().is_none());
        let error = remote.status().last_error.unwrap_or_default();
        assert!((error.contains("token") || error.contains("unauthorized")) && !error.contains("first"), "{error}");
        remote.set_token("second".parse().expect("a token"));
        world.pass(Duration::from_secs(5), || fetching.borrow().is_some());
        assert_eq!(fetching.borrow().clone().expect("came").expect("good"), chunk(1));
    }
}

#[test]
fn boots_are_reported_to_a_store_that_collects_them_and_read_from_one_that_has_some() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    let touches = vec![Touch { chunk: 0, ms: 4 }, Touch { chunk: 7, ms: 90 }];
    remote.report_boot(touches.clone());
    world.settle();
    assert_eq!(*world.network.boots.borrow(), [touches]);
    let recorded = |world: &World| {
        let remote = remote.clone();
        world.run(async move { remote.recorded_boots().await })
    };
    assert_eq!(recorded(&world), BootProfile::default());
    let entry = block_proto::section::ProfileEntry { chunk: 7, first_touch_ms: 90, runs_seen: 3 };
    let profile = BootProfile { entries: vec![entry] };
    let key = format!("b/{}", remote.manifest_hash());
    world.network.files.borrow_mut().insert(key, profile.emit().into());
    assert_eq!(recorded(&world), profile);
}

#[test]
fn a_way_that_damages_everything_is_waited_for() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    world.network.mangling.set(true);
    let fetching = world.fetch(&remote, 1);
    world.pass(Duration::from_secs(600), || fetching.borrow().is_some());
    assert!(fetching.borrow().is_none(), "{:?}", fetching.borrow());
    assert!(remote.status().damaged > 20, "{:?}", remote.status());
    assert!(remote.status().last_error.is_some_and(|text| text.contains(&Hash::of(&chunk(1)).to_string())));
    world.network.mangling.set(false);
    world.pass(Duration::from_secs(11), || fetching.borrow().is_some());
    assert_eq!(fetching.borrow().clone().expect("came").expect("good"), chunk(1));
}

#[test]
fn opening_goes_on_until_what_comes_is_whole() {
    let world = world();
    world.network.put_image("demo", 30);
    for bad in 1..5 {
        world.network.mangle_next.set(bad);
        world.open(DEMO);
    }
}

#[test]
fn a_connection_that_died_with_the_network_is_not_waited_for() {
    let world = world();
    world.network.put_image("demo", 90);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    for (round, away) in [3_u64, 7, 30, 300].into_iter().enumerate() {
        // Nothing is refused and nothing closes: it is only silent.
        world.network.black_hole(true);
        let fetching = world.fetch(&remote, 3 * round as u32 + 1);
        world.pass(Duration::from_secs(away), || fetching.borrow().is_some());
        assert!(fetching.borrow().is_none());
        world.network.black_hole(false);
        let took = world.pass(Duration::from_secs(60), || fetching.borrow().is_some());
        assert!(took <= Duration::from_secs(2), "away for {away} s: {took:?}");
        world.pass(Duration::from_secs(90), || remote.status().link == Link::Socket);
        world.fetched(&remote, 3 * round as u32 + 30).expect("comes");
    }
}

#[test]
fn who_waits_in_silence_sleeps() {
    let world = world();
    world.network.put_image("demo", 90);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    // What a network can do to requests that are under way: to swallow all, to refuse, to answer all but one.
    type Begin = fn(&World);
    let silences: [(&str, Begin); 3] = [
        ("swallowed", |world| world.network.black_hole(true)),
        ("refused", |world| world.network.go_offline()),
        ("stalled", |world| world.network.connections.borrow().iter().for_each(|it| it.stalled.set(true))),
    ];
    for (n, (what, begin)) in (0..).zip(silences) {
        begin(&world);
        let fetching: Vec<_> = (0..8).map(|chunk| world.fetch(&remote, n * 30 + chunk)).collect();
        world.settle();
        world.rounds.set(0);
        let minutes = world.pass(Duration::from_secs(120), || false).as_secs() / 60;
        // A probe each 400 ms with its end, and the tries that are still made.
        let rounds = world.rounds.get() / u32::try_from(minutes).expect("is short");
        assert!(rounds < 600, "{what}: woken {rounds} times a minute");
        world.network.black_hole(false);
        world.network.online.set(true);
        world.pass(Duration::from_secs(60), || fetching.iter().all(|chunk| chunk.borrow().is_some()));
        assert!(fetching.iter().all(|chunk| chunk.borrow().as_ref().is_some_and(Result::is_ok)), "{what}");
        world.pass(Duration::from_secs(90), || remote.status().link == Link::Socket);
    }
}

#[test]
fn an_answer_that_a_living_socket_owes_is_asked_for_over_http() {
    let world = world();
    world.network.put_image("demo", 30);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    world.network.connections.borrow()[0].stalled.set(true);
    let fetching = world.fetch(&remote, 1);
    let took = world.pass(Duration::from_secs(60), || fetching.borrow().is_some());
    assert!(took <= Duration::from_secs(4), "{took:?}");
    for n in [3, 4, 6, 7] {
        world.fetched(&remote, n).expect("comes");
    }
    world.pass(Duration::from_secs(1), || false);
    assert!(world.network.connects.get() > 1, "a socket that brings nothing is replaced");
}

#[test]
fn a_chunk_corrupt_everywhere_is_named() {
    let world = world();
    world.network.put_image("demo", 30);
    let hash = Hash::of(&chunk(1));
    world.network.files.borrow_mut().insert(key_of(&hash), seal_raw(b"not it"));
    let remote = world.open(DEMO);
    let Err(BlockError::Corrupt { chunk: ChunkId(1), reason }) = world.fetched(&remote, 1) else {
        panic!("not refused");
    };
    for word in ["demo", &hash.to_string(), "mismatch", "WebSocket", "http://store.test/"] {
        assert!(reason.contains(word), "{reason}");
    }
    // The rest of the image is as good as ever.
    assert_eq!(world.fetched(&remote, 3).expect("comes"), chunk(3));
}

#[test]
fn a_chunk_absent_everywhere_is_missing() {
    for door in [Door::Open, Door::Refused] {
        let world = world();
        world.network.door.set(door);
        world.network.put_image("demo", 30);
        let hash = Hash::of(&chunk(1));
        world.network.files.borrow_mut().remove(&key_of(&hash));
        let remote = world.open(DEMO);
        let Err(BlockError::Missing { chunk: ChunkId(1), reason }) = world.fetched(&remote, 1) else {
            panic!("not missing");
        };
        assert!(reason.contains(&hash.to_string()), "{reason}");
    }
}

#[test]
fn a_corrupt_page_or_root_is_never_believed() {
    let world = world();
    let manifest = world.network.put_image("demo", 30);
    let page = manifest.pages[0];
    let remote = world.open(DEMO);
    world.network.files.borrow_mut().insert(key_of(&page), seal_raw(&[1; 32768]));
    assert!(matches!(world.fetched(&remote, 0), Err(BlockError::Corrupt { reason, .. }) if reason.contains("page")));

    let root = Hash::of(&manifest.emit());
    world.network.files.borrow_mut().insert(key_of(&root), seal_raw(b"VMDM"));
    let (host, image) = (world.host.clone(), DEMO.parse::<ImageRef>().expect("a name"));
    let opened = world.run(async move { Remote::open(&host, &image, OpenOptions::default()).await.map(drop) });
    assert!(matches!(opened, Err(OpenError::Bad { reason, .. }) if reason.contains("mismatch")));
}

#[test]
fn opening_explains_what_is_wrong() {
    let world = world();
    world.network.put_image("demo", 3);
    let open = |name: &str| {
        let (host, image) = (world.host.clone(), name.parse::<ImageRef>().expect("a name"));
        world.run(async move { Remote::open(&host, &image, OpenOptions::default()).await.map(drop) })
    };
    assert!(matches!(open("http://store.test/other"), Err(OpenError::Unknown { .. })));
    assert!(matches!(open("http://store.test/demo@v2"), Err(OpenError::Unknown { .. })));
    world.network.online.set(false);
    let start = world.clock.monotonic();
    let Err(OpenError::Unreachable { reason, .. }) = open(DEMO) else { panic!("reached") };
    assert!(reason.contains("unreachable"), "{reason}");
    assert!(world.clock.monotonic() - start <= Duration::from_secs(20));
}

#[test]
fn dropping_the_image_ends_the_background_work() {
    let world = world();
    world.network.put_image("demo", 3);
    let remote = world.open(DEMO);
    world.fetched(&remote, 0).expect("comes");
    assert_eq!(world.executor.len(), 1);
    drop(remote);
    world.settle();
    assert!(world.executor.is_empty());
    assert_eq!(world.host.timers.next_deadline(), None);
}

fn key_of(hash: &Hash) -> String {
    block_proto::key::object(hash)
}
