//! Client and server sessions over a simulated network: latency, reads that finish in any order, connections that break,
//! servers that go away. Whatever happens, every wanted object arrives, and arrives right.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::envelope;
use crate::{ReadError, ServerAction, ServerConfig, ServerSession};

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What is on its way, by arrival time; one direction never reorders, as TCP does not.
#[derive(Default)]
struct Link {
    queue: BTreeMap<(Duration, u64), Bytes>,
    last: Duration,
    count: u64,
}

impl Link {
    fn send(&mut self, now: Duration, delay: Duration, message: Bytes) {
        self.last = self.last.max(now + delay);
        self.count += 1;
        self.queue.insert((self.last, self.count), message);
    }

    fn receive(&mut self, now: Duration) -> Option<Bytes> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

struct Connection {
    server: ServerSession,
    up: Link,
    down: Link,
    reads: Vec<(Duration, Hash, bool)>,
}

fn store() -> HashMap<Hash, Bytes> {
    (0..300_u32)
        .map(|n| {
            let object: Vec<u8> = (0..500 + n * 37).map(|i| (i * n) as u8).collect();
            (Hash::of(&object), envelope::seal_raw(&object))
        })
        .collect()
}

/// Runs one world; returns how many connections were needed.
fn simulate(seed: u64, break_one_in: u64) -> u32 {
    let mut random = Random(seed);
    let store = store();
    let mut names: Vec<Hash> = store.keys().copied().collect();
    names.sort_unstable();
    let absent = Hash::of(b"absent");
    let config = ClientConfig { window: 40_000, window_max: 80_000, ..ClientConfig::new(absent) };
    let mut client = ClientSession::new(config);
    let server_config = ServerConfig { window_max: 80_000, ..ServerConfig::default() };
    let (mut wanted, mut done, mut failed) = (HashSet::new(), HashSet::new(), 0);
    let mut connection: Option<Connection> = None;
    let mut connections = 0;
    let mut unacknowledged = 0_i64;
    let mut now = Duration::from_secs(1);
    for step in 0_u64.. {
        assert!(step < 400_000, "seed {seed}: {} of {} after {step} steps", done.len(), wanted.len());
        now += Duration::from_millis(1);
        if step < 600 {
            let hash = names[random.below(names.len() as u64) as usize];
            let urgency = if random.below(3) == 0 { Priority::Demand } else { Priority::ReadAhead };
            if !done.contains(&hash) {
                wanted.insert(hash);
                client.request(hash, urgency);
            }
            if random.below(20) == 0 {
                let hash = names[random.below(names.len() as u64) as usize];
                wanted.remove(&hash);
                client.cancel(&hash);
            }
            if step == 300 {
                client.request(absent, Priority::Demand);
            }
        } else if done.is_superset(&wanted) && failed > 0 {
            return connections;
        }
        if connection.is_none() && random.below(20) == 0 {
            connections += 1;
            unacknowledged = 0;
            client.connected(now);
            let server = ServerSession::new(server_config, step, now);
            connection = Some(Connection { server, up: Link::default(), down: Link::default(), reads: Vec::new() });
        }
        let Some(link) = &mut connection else { continue };
        let delay = |random: &mut Random| Duration::from_millis(5 + random.below(20));
        while let Some(message) = client.poll_transmit(now) {
            link.up.send(now, delay(&mut random), message.into());
        }
        while let Some(message) = link.up.receive(now) {
            if let Ok(ClientFrame::Credit(bytes)) = ClientFrame::parse(&message) {
                unacknowledged -= i64::from(bytes);
            }
            link.server.message(now, &message);
        }
        while let Some(action) = link.server.poll_action() {
            match action {
                ServerAction::Open { .. } => link.server.opened(Ok(())),
                ServerAction::Read { hash, fresh, .. } => {
                    link.reads.push((now + Duration::from_millis(random.below(30)), hash, fresh));
                }
                ServerAction::Profile { .. } | ServerAction::Close { .. } => {}
            }
        }
        let (ready, later) = link.reads.drain(..).partition(|(at, ..)| *at <= now);
        link.reads = later;
        let ready: Vec<_> = ready;
        for (_, hash, fresh) in ready {
            let found = store.get(&hash).cloned().map(|object| (object, Tier::Origin)).ok_or(ReadError::NotFound);
            link.server.object(hash, fresh, found);
        }
        link.server.tick(now);
        // A narrow link: one message a millisecond.
        if let Some(message) = link.server.poll_transmit() {
            if let Ok(ServerFrame::Block { envelope, .. }) = ServerFrame::parse(&message) {
                unacknowledged += envelope.len() as i64;
                assert!(unacknowledged <= 80_000 + 12_000, "seed {seed}: window overrun {unacknowledged}");
            }
            link.down.send(now, delay(&mut random), message);
        }
        while let Some(message) = link.down.receive(now) {
            client.message(now, &message);
        }
        client.tick(now);
        let mut lost = link.server.is_closed() && link.down.queue.is_empty();
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Object { hash, envelope, .. } => {
                    assert!(envelope::open(&envelope, &hash, 1 << 20).is_ok());
                    client.consumed(now, envelope.len());
                    assert!(done.insert(hash) || !wanted.contains(&hash), "seed {seed}: delivered twice");
                }
                ClientEvent::Failed { hash, code: ErrorCode::NotFound, .. } if hash == absent => failed += 1,
                ClientEvent::Opened { .. } | ClientEvent::GoAway { .. } => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        if break_one_in > 0 && random.below(break_one_in) == 0 {
            match random.below(3) {
                0 => link.server.go_away(now, GoAwayReason::Budget, Duration::ZERO),
                _ => lost = true,
            }
        }
        if lost {
            client.disconnected();
            connection = None;
        }
    }
    unreachable!("the loop returns")
}

#[test]
fn everything_arrives_over_one_good_connection() {
    for seed in 1..20 {
        assert_eq!(simulate(seed, 0), 1);
    }
}

#[test]
fn everything_arrives_over_connections_that_break() {
    let mut connections = 0;
    for seed in 1..60 {
        connections += simulate(seed * 77, 150);
    }
    assert!(connections > 100, "the network was too good to test anything: {connections}");
}
