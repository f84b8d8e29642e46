//! Prefetch over a path with a bandwidth and a delay: it uses the path, and demand does not stand in a queue behind it.

use std::collections::VecDeque;

use super::*;
use crate::envelope::seal_raw;
use crate::{ServerAction, ServerConfig, ServerSession};

const STEP: Duration = Duration::from_micros(100);
const OBJECT: usize = 40_000;

struct Seen {
    /// The most bytes of prefetch asked for and not there.
    most_ahead: usize,
    /// Bytes a second that came.
    pace: f64,
    /// How long demand took while prefetch ran.
    waits: Vec<Duration>,
}

/// Prefetches for ten seconds over a path of so many bytes a second and such a round trip; every half second one object is
/// demanded. The server answers at once, as from memory.
fn run(bandwidth: f64, rtt: Duration) -> Seen {
    let mut client = ClientSession::new(ClientConfig::new(Hash::of(b"image")));
    let mut now = Duration::from_secs(1);
    let mut server = ServerSession::new(ServerConfig::default(), 1, now);
    let (mut up, mut down) = (VecDeque::<(Duration, Bytes)>::new(), VecDeque::<(Duration, Bytes)>::new());
    let mut free_at = now;
    let (mut next, mut came, mut demanded) = (0_u32, 0_usize, None::<(Hash, Duration)>);
    let mut seen = Seen { most_ahead: 0, pace: 0.0, waits: Vec::new() };
    client.connected(now);
    let start = now;
    while now < start + Duration::from_secs(10) {
        now += STEP;
        while client.wants.len() < 40 {
            next += 1;
            client.request(Hash::of(&next.to_le_bytes()), Priority::Boot);
        }
        let steps = (now - start).as_micros() / STEP.as_micros();
        if steps.is_multiple_of(5000) && demanded.is_none() {
            next += 1;
            let hash = Hash::of(&next.to_le_bytes());
            client.request(hash, Priority::Demand);
            demanded = Some((hash, now));
        }
        while let Some(message) = client.poll_transmit(now) {
            up.push_back((now + rtt / 2, message.into()));
        }
        seen.most_ahead = seen.most_ahead.max(client.prefetch_in_flight * OBJECT);
        while up.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, message)) = up.pop_front() else { break };
            server.message(now, &message);
            while let Some(action) = server.poll_action() {
                match action {
                    ServerAction::Open { .. } => server.opened(Ok(())),
                    ServerAction::Read { hash, fresh, .. } => {
                        // The client of this test verifies nothing.
                        server.object(hash, fresh, Ok((seal_raw(&[7; OBJECT - 8]), Tier::Memory)));
                    }
                    ServerAction::Profile { .. } | ServerAction::Close { .. } => {}
                }
            }
        }
        // The server's socket takes everything; what the path cannot carry stands before it.
        while let Some(message) = server.poll_transmit() {
            free_at = free_at.max(now) + Duration::from_secs_f64(message.len() as f64 / bandwidth);
            down.push_back((free_at + rtt / 2, message));
        }
        while down.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, message)) = down.pop_front() else { break };
            client.message(now, &message);
        }
        while let Some(event) = client.poll_event() {
            if let ClientEvent::Object { hash, envelope, .. } = event {
                came += envelope.len();
                client.consumed(now, envelope.len());
                if let Some((_, since)) = demanded.take_if(|(wanted, _)| *wanted == hash) {
                    seen.waits.push(now - since);
                }
            }
        }
        client.tick(now);
    }
    seen.pace = came as f64 / 10.0;
    seen
}

#[test]
fn prefetch_in_flight_stays_under_two_objects_or_what_the_path_holds() {
    // 20 Mbit/s and 50 ms, a slow one, a long fat one, and a short one.
    for (bandwidth, ms) in [(2.5e6, 50), (2.5e5, 80), (1.25e7, 60), (2.5e7, 10)] {
        let rtt = Duration::from_millis(ms);
        let seen = run(bandwidth, rtt);
        // Measured in steps of 100 us.
        let product = bandwidth * rtt.as_secs_f64();
        assert!(
            seen.most_ahead as f64 <= product.max(2.0 * OBJECT as f64) * 1.1,
            "{bandwidth} B/s, {ms} ms: {} bytes ahead of a path of {product}",
            seen.most_ahead
        );
        // A window of whole objects cannot fill it quite.
        let whole = (product / OBJECT as f64).floor().max(2.0) * OBJECT as f64;
        let possible = bandwidth.min(whole / (rtt.as_secs_f64() + OBJECT as f64 / bandwidth));
        assert!(seen.pace > 0.75 * possible, "{bandwidth} B/s, {ms} ms: {} of {possible} B/s", seen.pace);
        // Demand waits for the round trip, its own bytes, and at most what was ahead of it.
        let own = rtt.as_secs_f64() + OBJECT as f64 / bandwidth;
        let worst = own + seen.most_ahead as f64 / bandwidth + 0.005;
        assert!(seen.waits.len() > 15);
        let slowest = seen.waits.iter().max().expect("there are some").as_secs_f64();
        assert!(slowest <= worst, "{bandwidth} B/s, {ms} ms: demand took {slowest} s, {worst} expected");
    }
}
