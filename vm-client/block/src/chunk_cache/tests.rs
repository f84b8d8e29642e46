use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::*;

/// Delivers a chunk when told to.
#[derive(Default)]
struct Manual {
    asked: RefCell<Vec<(u32, Urgency)>>,
    ready: RefCell<BTreeMap<u32, Result<u8, BlockError>>>,
    arrival: WaitQueue,
}

impl Manual {
    fn deliver(&self, chunk: u32, what: Result<u8, BlockError>) {
        self.ready.borrow_mut().insert(chunk, what);
        self.arrival.wake_all();
    }
}

impl Transport for Rc<Manual> {
    fn image_size(&self) -> u64 {
        100 * CHUNK_SIZE as u64
    }

    async fn fetch(&self, chunk: ChunkId, urgency: Urgency) -> Result<Bytes, BlockError> {
        self.asked.borrow_mut().push((chunk.0, urgency));
        loop {
            let wait = self.arrival.wait();
            if let Some(result) = self.ready.borrow().get(&chunk.0) {
                return result.clone().map(|byte| Bytes::from(vec![byte; CHUNK_SIZE]));
            }
            wait.await;
        }
    }
}

fn poll<F: Future + ?Sized>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn cache(bytes: usize) -> (Rc<Manual>, ChunkCache<Rc<Manual>>) {
    let transport = Rc::new(Manual::default());
    (Rc::clone(&transport), ChunkCache::new(transport, bytes))
}

#[test]
fn many_readers_share_one_fetch_and_later_ones_do_not_wait() {
    let (transport, cache) = cache(8 << 20);
    let (mut a, mut b) = ([0; 4], [0; 4]);
    let at = 3 * CHUNK_SIZE as u64 + 7;
    {
        let mut first = pin!(cache.read_at(at, &mut a));
        let mut second = pin!(cache.read_at(at + 50, &mut b));
        assert!(poll(&mut first).is_pending());
        assert!(poll(&mut second).is_pending());
        assert_eq!(cache.status().waiting, 2);
        transport.deliver(3, Ok(9));
        assert_eq!(poll(&mut second), Poll::Ready(Ok(())));
        assert_eq!(poll(&mut first), Poll::Ready(Ok(())));
    }
    assert_eq!((a, b), ([9; 4], [9; 4]));
    assert_eq!(*transport.asked.borrow(), [(3, Urgency::Demand)]);
    let mut now = [0; 3];
    assert_eq!(cache.read_now(at, &mut now), Some(Ok(())));
    assert_eq!(now, [9; 3]);
    assert_eq!(cache.read_now(0, &mut now), None);
    assert_eq!(cache.status().waiting, 0);
}

#[test]
fn a_read_over_two_chunks_asks_for_both_at_once() {
    let (transport, cache) = cache(8 << 20);
    let mut buf = [0; 10];
    {
        let mut read = pin!(cache.read_at(CHUNK_SIZE as u64 - 5, &mut buf));
        assert!(poll(&mut read).is_pending());
        assert_eq!(transport.asked.borrow().len(), 2);
        transport.deliver(1, Ok(2));
        assert!(poll(&mut read).is_pending());
        transport.deliver(0, Ok(1));
        assert_eq!(poll(&mut read), Poll::Ready(Ok(())));
    }
    assert_eq!(buf, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
}

#[test]
fn a_fetch_survives_its_only_reader_and_a_failed_one_is_tried_again() {
    let (transport, cache) = cache(8 << 20);
    let mut run = pin!(cache.run());
    let mut buf = [0; 4];
    {
        let mut read = pin!(cache.read_at(0, &mut buf));
        assert!(poll(&mut read).is_pending());
        assert!(poll(&mut run).is_pending());
    }
    transport.deliver(0, Ok(5));
    assert!(poll(&mut run).is_pending());
    assert_eq!(cache.read_now(0, &mut buf), Some(Ok(())));
    assert_eq!(buf, [5; 4]);

    let bad = BlockError::Corrupt { chunk: ChunkId(7), reason: "made so".to_owned() };
    transport.deliver(7, Err(bad.clone()));
    let at = 7 * CHUNK_SIZE as u64;
    assert_eq!(poll(&mut pin!(cache.read_at(at, &mut buf))), Poll::Ready(Err(bad)));
    transport.deliver(7, Ok(6));
    assert_eq!(poll(&mut pin!(cache.read_at(at, &mut buf))), Poll::Ready(Ok(())));
    assert_eq!(buf, [6; 4]);
}

#[test]
fn rows_are_fetched_ahead_and_demand_overtakes() {
    let (transport, cache) = cache(8 << 20);
    let mut run = pin!(cache.run());
    let mut buf = [0; 4];
    for chunk in [20, 21] {
        transport.deliver(chunk, Ok(1));
        let read = poll(&mut pin!(cache.read_at(u64::from(chunk) * CHUNK_SIZE as u64, &mut buf)));
        assert_eq!(read, Poll::Ready(Ok(())));
        assert!(poll(&mut run).is_pending());
    }
    let ahead = |chunk| (chunk, Urgency::Prefetch);
    let mut asked = transport.asked.borrow().clone();
    asked.sort_by_key(|(chunk, _)| *chunk);
    assert_eq!(asked, [(20, Urgency::Demand), (21, Urgency::Demand), ahead(22), ahead(23)]);
    {
        let mut read = pin!(cache.read_at(22 * CHUNK_SIZE as u64, &mut buf));
        assert!(poll(&mut read).is_pending());
        assert!(transport.asked.borrow().contains(&(22, Urgency::Demand)));
        transport.deliver(22, Ok(2));
        assert_eq!(poll(&mut read), Poll::Ready(Ok(())));
    }
    transport.deliver(23, Ok(3));
    assert!(poll(&mut run).is_pending());
    assert_eq!(cache.read_now(23 * CHUNK_SIZE as u64, &mut buf), Some(Ok(())));
    assert!(cache.status().ahead_used >= 1);
}

#[test]
fn memory_is_bounded() {
    let (transport, cache) = cache(10 * CHUNK_SIZE);
    let mut buf = [0; 1];
    for chunk in (0..100).step_by(2) {
        transport.deliver(chunk, Ok(1));
        let read = poll(&mut pin!(cache.read_at(u64::from(chunk) * CHUNK_SIZE as u64, &mut buf)));
        assert_eq!(read, Poll::Ready(Ok(())));
    }
    assert_eq!(cache.status().chunks, 10);
    assert!(cache.read_at(100 * CHUNK_SIZE as u64, &mut buf).now_fails());
}

trait NowFails {
    fn now_fails(self) -> bool;
}

impl<F: Future<Output = Result<(), BlockError>>> NowFails for F {
    fn now_fails(self) -> bool {
        matches!(poll(&mut pin!(self)), Poll::Ready(Err(_)))
    }
}
