use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use vm_rt::{Clock, ManualClock, Timers};

use super::*;
use crate::{MemoryStore, RamDevice, Shelf};

const BASE: [u8; 32] = [1; 32];
const P: u64 = PAGE_SIZE as u64;

type Tested = Overlay<Rc<RamDevice>, MemoryStore>;

fn poll<F: Future + ?Sized>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match poll(&mut pin!(future)) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

fn base() -> Rc<RamDevice> {
    let image: Vec<u8> = (0..64 * PAGE_SIZE).map(|n| (n / PAGE_SIZE) as u8 + 100).collect();
    Rc::new(RamDevice::from_bytes(&image))
}

fn open_with(shelf: &Rc<Shelf>, options: OverlayOptions) -> Tested {
    now(Overlay::open(base(), BASE, MemoryStore::open(shelf, BASE), options)).unwrap()
}

fn open(shelf: &Rc<Shelf>) -> Tested {
    open_with(shelf, OverlayOptions::default())
}

/// The first byte of each page, read in one go.
fn bytes(overlay: &Tested, pages: Range<u64>) -> Vec<u8> {
    let mut buf = vec![0; ((pages.end - pages.start) * P) as usize];
    now(overlay.read_at(pages.start * P, &mut buf)).unwrap();
    let mut again = vec![0; buf.len()];
    if overlay.read_now(pages.start * P, &mut again).is_some() {
        assert!(buf == again);
    }
    buf.chunks(PAGE_SIZE).map(|page| page[0]).collect()
}

fn write(overlay: &Tested, page: u64, byte: u8) {
    overlay.write_now(page * P, &[byte; PAGE_SIZE]).unwrap();
}

#[test]
fn written_pages_hide_the_base_and_survive_a_commit_and_a_reopening() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    write(&overlay, 3, 1);
    write(&overlay, 5, 2);
    assert_eq!(bytes(&overlay, 2..7), [102, 1, 104, 2, 106]);
    now(overlay.flush()).unwrap();
    write(&overlay, 5, 3);
    assert_eq!(bytes(&overlay, 2..7), [102, 1, 104, 3, 106]);
    assert_eq!(overlay.status().unstored_bytes, P);
    drop(overlay);
    let overlay = open(&shelf);
    assert_eq!(bytes(&overlay, 2..7), [102, 1, 104, 2, 106]);
    assert_eq!(overlay.status().stored_bytes, 2 * P);
}

#[test]
fn small_writes_keep_the_rest_of_their_page() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    overlay.write_now(2 * P + 1024, &[7; 1024]).unwrap();
    let mut page = vec![0; PAGE_SIZE];
    let expect = |page: &[u8]| assert_eq!([page[0], page[1024], page[2048]], [102, 7, 102]);
    now(overlay.read_at(2 * P, &mut page)).unwrap();
    expect(&page);
    now(overlay.flush()).unwrap();
    overlay.write_now(2 * P + 3072, &[8; 1024]).unwrap();
    now(overlay.flush()).unwrap();
    drop(overlay);
    now(open(&shelf).read_at(2 * P, &mut page)).unwrap();
    expect(&page);
    assert_eq!(page[3072], 8);
    let overlay = open(&shelf);
    assert!(overlay.write_now(5, &[0; 1024]).is_err());
    assert!(overlay.write_now(64 * P, &[0; 1024]).is_err());
}

#[test]
fn a_batch_is_cut_only_between_operations_and_holds_everything_before() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    write(&overlay, 1, 1);
    let operation = overlay.begin();
    write(&overlay, 2, 2);
    let mut flush = pin!(overlay.flush());
    assert!(poll(&mut flush).is_pending());
    assert!(shelf.log().is_empty());
    write(&overlay, 3, 3);
    drop(operation);
    assert_eq!(poll(&mut flush), Poll::Ready(Ok(())));
    let log = shelf.log();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].put.iter().map(|(key, _)| key.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log[0].durability, crate::Durability::Strict);
}

#[test]
fn writes_during_a_commit_go_into_the_next() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    write(&overlay, 1, 1);
    shelf.hold(true);
    let mut flush = pin!(overlay.flush());
    assert!(poll(&mut flush).is_pending());
    write(&overlay, 1, 2);
    write(&overlay, 4, 4);
    assert_eq!(bytes(&overlay, 1..5), [2, 102, 103, 4]);
    shelf.hold(false);
    assert_eq!(poll(&mut flush), Poll::Ready(Ok(())));
    assert_eq!(shelf.log()[0].put.len(), 1);
    assert_eq!(bytes(&overlay, 1..5), [2, 102, 103, 4]);
    now(overlay.commit_now()).unwrap();
    assert_eq!(shelf.log()[1].put.len(), 2);
}

#[test]
fn a_dropped_commit_is_made_again() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    write(&overlay, 1, 1);
    write(&overlay, 2, 2);
    shelf.hold(true);
    {
        let mut flush = pin!(overlay.flush());
        assert!(poll(&mut flush).is_pending());
    }
    write(&overlay, 2, 3);
    overlay.discard(P..2 * P);
    shelf.hold(false);
    assert_eq!(bytes(&overlay, 2..3), [3]);
    now(overlay.flush()).unwrap();
    let log = shelf.log();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].put.iter().map(|(key, page)| (key.0, page[0])).collect::<Vec<_>>(), [(2, 3)]);
    assert_eq!(log[0].delete, [PageKey(1)]);
}

#[test]
fn discarded_pages_leave_the_store_with_the_next_commit() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    (10..20).for_each(|page| write(&overlay, page, 1));
    now(overlay.flush()).unwrap();
    write(&overlay, 30, 1);
    overlay.discard(12 * P + 100..18 * P);
    overlay.discard(30 * P..31 * P);
    write(&overlay, 14, 9);
    now(overlay.flush()).unwrap();
    assert_eq!(shelf.pages(), 6);
    assert_eq!(shelf.log()[1].delete, [13, 15, 16, 17].map(PageKey));
    assert_eq!(bytes(&overlay, 14..15), [9]);
}

#[test]
fn the_driver_commits_within_a_second_and_at_once_when_asked() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    let (timers, clock) = (Timers::new(), Rc::new(ManualClock::default()));
    let mut driver = pin!(overlay.run_writeback(timers.clone(), Rc::clone(&clock) as Rc<dyn Clock>));
    let step = |driver: &mut Pin<&mut _>, ms| {
        clock.advance(Duration::from_millis(ms));
        timers.fire(clock.monotonic());
        let _ = poll::<dyn Future<Output = ()>>(driver);
    };
    let driver: &mut Pin<&mut dyn Future<Output = ()>> = &mut (driver.as_mut() as Pin<&mut dyn Future<Output = ()>>);
    step(driver, 0);
    write(&overlay, 1, 1);
    step(driver, 0);
    step(driver, 400);
    assert_eq!(shelf.log().len(), 0);
    write(&overlay, 2, 1);
    step(driver, 200);
    assert_eq!(shelf.log().len(), 1);
    step(driver, 5000);
    assert_eq!(shelf.log().len(), 1);
    write(&overlay, 3, 1);
    overlay.request_commit();
    step(driver, 0);
    assert_eq!(shelf.log().len(), 2);
    assert_eq!(shelf.log()[1].durability, crate::Durability::Relaxed);
    {
        let mut flush = pin!(overlay.flush());
        assert!(poll(&mut flush).is_pending());
        step(driver, 0);
        assert_eq!(poll(&mut flush), Poll::Ready(Ok(())));
    }
    assert_eq!(shelf.log()[2].durability, crate::Durability::Strict);
    now(overlay.flush()).unwrap();
    assert_eq!(shelf.log().len(), 3);
}

#[test]
fn what_was_stored_is_in_memory_soon_after_opening() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    (0..60).for_each(|page| write(&overlay, page, 1));
    now(overlay.flush()).unwrap();
    drop(overlay);
    let options = OverlayOptions { clean_bytes: 80 * PAGE_SIZE, ..OverlayOptions::default() };
    let overlay = open_with(&shelf, options);
    let mut buf = [0; 1];
    assert_eq!(overlay.read_now(0, &mut buf), None);
    let mut driver = pin!(overlay.run_writeback(Timers::new(), Rc::new(ManualClock::default())));
    assert!(poll(&mut driver).is_pending());
    assert_eq!(overlay.read_now(39 * P, &mut buf), Some(Ok(())));
    assert_eq!(buf, [1]);
    // Only as much as fits.
    assert_eq!(overlay.read_now(40 * P, &mut buf), None);
}

#[test]
fn writers_wait_when_too_much_is_dirty() {
    let shelf = Shelf::new();
    let overlay = open_with(&shelf, OverlayOptions { dirty_bytes: 8 * PAGE_SIZE, clean_bytes: PAGE_SIZE });
    now(overlay.reserve(100 * P)).unwrap();
    (0..6).for_each(|page| write(&overlay, page, 1));
    now(overlay.reserve(2 * P)).unwrap();
    shelf.hold(true);
    let mut reserve = pin!(overlay.reserve(3 * P));
    assert!(poll(&mut reserve).is_pending());
    shelf.hold(false);
    assert_eq!(poll(&mut reserve), Poll::Ready(Ok(())));
    assert_eq!(shelf.pages(), 6);
    assert_eq!(bytes(&overlay, 0..7), [1, 1, 1, 1, 1, 1, 106]);
}

#[test]
fn a_session_that_was_taken_over_writes_no_more() {
    let shelf = Shelf::new();
    let first = open(&shelf);
    write(&first, 1, 1);
    now(first.flush()).unwrap();
    let second = open(&shelf);
    write(&first, 2, 2);
    assert_eq!(now(first.flush()), Err(BlockError::Fenced));
    assert_eq!(first.write_now(0, &[0; PAGE_SIZE]), Err(BlockError::Fenced));
    assert_eq!(now(first.reserve(1)), Err(BlockError::Fenced));
    assert_eq!(first.status().state, OverlayState::ReadOnly(BlockError::Fenced));
    assert_eq!(bytes(&first, 1..3), [1, 2]);
    assert_eq!(bytes(&second, 1..3), [1, 102]);
}

#[test]
fn a_failing_store_is_tried_again_then_the_device_is_read_only() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    let broken = BlockError::Store("broken".to_owned());
    write(&overlay, 1, 1);
    shelf.fail_with(Some(broken.clone()));
    assert_eq!(now(overlay.flush()), Err(broken.clone()));
    assert_eq!(overlay.status().state, OverlayState::Retrying(broken.clone()));
    write(&overlay, 1, 2);
    shelf.fail_with(None);
    now(overlay.flush()).unwrap();
    assert_eq!(overlay.status().state, OverlayState::Healthy);
    write(&overlay, 3, 3);
    shelf.fail_with(Some(broken.clone()));
    for _ in 0..10 {
        assert_eq!(now(overlay.flush()), Err(broken.clone()));
    }
    assert_eq!(overlay.write_now(0, &[0; PAGE_SIZE]), Err(broken));
    assert_eq!(bytes(&overlay, 1..4), [2, 102, 3]);
}

#[test]
fn what_a_failing_store_does_not_take_can_be_carried_away() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    write(&overlay, 1, 1);
    write(&overlay, 2, 2);
    now(overlay.commit_now()).unwrap();
    shelf.fail_with(Some(BlockError::Store("broken".into())));
    write(&overlay, 2, 22);
    overlay.write_now(3 * P + page::UNIT as u64, &[33; page::UNIT]).unwrap();
    overlay.discard(P..2 * P);
    assert!(now(overlay.commit_now()).is_err());
    write(&overlay, 4, 44);
    let carried = now(overlay.unstored()).unwrap();
    // What is carried, over what is stored, is what the guest sees.
    let other = Shelf::new();
    let store = MemoryStore::open(&other, BASE);
    let mut put: Vec<_> = [1, 2].map(|page| (PageKey(page), Bytes::from(vec![page as u8; PAGE_SIZE]))).to_vec();
    put.retain(|(key, _)| !carried.delete.contains(key) && !carried.put.iter().any(|(newer, _)| newer == key));
    put.extend(carried.put);
    let batch =
        crate::Batch { put, delete: vec![], expect_epoch: store.epoch(), durability: crate::Durability::Strict };
    now(store.commit(batch)).unwrap();
    drop(store);
    let copy = open(&other);
    // Nobody asks for what is in a discarded page: the second.
    let kept = 2 * P;
    let (mut seen, mut copied) = (vec![0; 62 * PAGE_SIZE], vec![0; 62 * PAGE_SIZE]);
    now(overlay.read_at(kept, &mut seen)).unwrap();
    now(copy.read_at(kept, &mut copied)).unwrap();
    assert!(seen == copied);
    assert_eq!(bytes(&copy, 1..2), [101]);
    // Once the store does again, nothing is missing there either.
    shelf.fail_with(None);
    now(overlay.commit_now()).unwrap();
    drop(overlay);
    now(open(&shelf).read_at(kept, &mut copied)).unwrap();
    assert!(seen == copied);
}

#[test]
fn a_full_store_refuses_data_but_lets_files_be_removed() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    (0..8).for_each(|page| write(&overlay, page, 1));
    now(overlay.flush()).unwrap();
    shelf.set_capacity(Some(10 * P));
    (8..12).for_each(|page| write(&overlay, page, 1));
    assert_eq!(now(overlay.flush()), Err(BlockError::StoreFull));
    assert_eq!(now(overlay.reserve(1 << 20)), Err(BlockError::StoreFull));
    assert_eq!(now(overlay.reserve(P)), Err(BlockError::StoreFull));
    now(overlay.reserve_metadata(P)).unwrap();
    overlay.discard(0..4 * P);
    write(&overlay, 5, 2);
    now(overlay.flush()).unwrap();
    assert_eq!(shelf.pages(), 8);
    now(overlay.reserve(1 << 20)).unwrap();
}

#[test]
fn files_can_be_removed_even_when_all_memory_waits_for_a_full_store() {
    let shelf = Shelf::new();
    let options = OverlayOptions { dirty_bytes: 8 * PAGE_SIZE, ..OverlayOptions::default() };
    let overlay = open_with(&shelf, options);
    shelf.set_capacity(Some(4 * P));
    // Accepted before anybody knew.
    (0..8).for_each(|page| write(&overlay, page, 1));
    assert!(now(overlay.flush()).is_err());
    assert_eq!(now(overlay.reserve(P)), Err(BlockError::StoreFull));
    now(overlay.reserve_metadata(2 * P)).unwrap();
    overlay.discard(0..7 * P);
    write(&overlay, 9, 2);
    now(overlay.flush()).unwrap();
    now(overlay.reserve(P)).unwrap();
}

#[test]
fn a_write_after_a_removal_finds_the_room_it_made_without_a_flush_between() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    shelf.set_capacity(Some(4 * P));
    (0..8).for_each(|page| write(&overlay, page, 1));
    assert_eq!(now(overlay.flush()), Err(BlockError::StoreFull));
    assert_eq!(now(overlay.reserve(P)), Err(BlockError::StoreFull));
    // Too little is freed for the next commit, then enough.
    overlay.discard(0..2 * P);
    assert_eq!(now(overlay.reserve(P)), Err(BlockError::StoreFull));
    overlay.discard(2 * P..6 * P);
    now(overlay.reserve(P)).unwrap();
    assert_eq!(shelf.pages(), 2);
}

#[test]
fn the_failure_of_a_commit_under_way_is_not_that_of_a_later_flush() {
    let shelf = Shelf::new();
    let overlay = open(&shelf);
    shelf.set_capacity(Some(4 * P));
    let (timers, clock) = (Timers::new(), Rc::new(ManualClock::default()));
    let mut driver = pin!(overlay.run_writeback(timers.clone(), Rc::clone(&clock) as Rc<dyn Clock>));
    assert!(poll(&mut driver).is_pending());
    let step = |driver: &mut Pin<&mut _>, ms| {
        clock.advance(Duration::from_millis(ms));
        timers.fire(clock.monotonic());
        assert!(poll(driver).is_pending());
    };
    (0..8).for_each(|page| write(&overlay, page, 1));
    step(&mut driver, 0);
    step(&mut driver, 600);
    assert!(matches!(overlay.status().state, OverlayState::Retrying(BlockError::StoreFull)));
    // The second try is on its way when enough is removed.
    shelf.hold(true);
    step(&mut driver, 200);
    overlay.discard(0..6 * P);
    let mut flush = pin!(overlay.flush());
    assert!(poll(&mut flush).is_pending());
    shelf.hold(false);
    assert!(poll(&mut driver).is_pending());
    assert_eq!(poll(&mut flush), Poll::Ready(Ok(())));
    assert_eq!(shelf.pages(), 2);
}

#[test]
fn changes_made_on_another_image_are_refused() {
    let shelf = Shelf::new();
    drop(open(&shelf));
    let other = [2; 32];
    let result = now(Overlay::open(base(), other, MemoryStore::open(&shelf, other), OverlayOptions::default()));
    assert!(matches!(result.map(|_| ()), Err(BlockError::WrongBase { .. })));
}

/// What each quarter of the disk should hold; `None` after a discard, when anything may be there.
type Model = Vec<Option<u8>>;

fn matches_model(overlay: &Tested, model: &Model) {
    let mut disk = vec![0; model.len() * page::UNIT];
    now(overlay.read_at(0, &mut disk)).unwrap();
    for (unit, (seen, expected)) in disk.chunks(page::UNIT).zip(model).enumerate() {
        if let Some(byte) = expected {
            assert!(seen.iter().all(|b| b == byte), "unit {unit}: {} instead of {byte}", seen[0]);
        }
    }
}

#[test]
fn random_writes_discards_failures_and_reopenings_match_a_model() {
    for seed in 0..60_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = move |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % bound
        };
        let shelf = Shelf::new();
        let options = OverlayOptions { dirty_bytes: 40 * PAGE_SIZE, clean_bytes: 8 * PAGE_SIZE };
        let mut overlay = open_with(&shelf, options);
        let mut model: Model = (0..64 * 4).map(|unit| Some((unit / 4) as u8 + 100)).collect();
        for _ in 0..300 {
            match below(20) {
                0..10 => {
                    let unit = below(250);
                    let len = 1 + below(6);
                    let byte = below(256) as u8;
                    now(overlay.reserve(len * 1024)).unwrap();
                    let _operation = overlay.begin();
                    overlay.write_now(unit * 1024, &vec![byte; len as usize * 1024]).unwrap();
                    model[unit as usize..(unit + len) as usize].fill(Some(byte));
                }
                10..12 => {
                    let page = below(60);
                    let len = 1 + below(4);
                    overlay.discard(page * P..(page + len) * P);
                    model[page as usize * 4..(page + len) as usize * 4].fill(None);
                }
                12..14 => {
                    // A commit that is given up half-way.
                    shelf.hold(true);
                    let mut flush = pin!(overlay.flush());
                    let waits = poll(&mut flush).is_pending();
                    shelf.hold(below(2) == 0);
                    let _ = waits && poll(&mut flush).is_pending();
                    shelf.hold(false);
                }
                14 => {
                    shelf.fail_with(Some(BlockError::Store("broken".to_owned())));
                    let _ = now(overlay.commit_now());
                    shelf.fail_with(None);
                    now(overlay.flush()).unwrap();
                }
                15 => {
                    now(overlay.flush()).unwrap();
                    drop(overlay);
                    overlay = open_with(&shelf, options);
                    matches_model(&overlay, &model);
                }
                16..18 => now(overlay.commit_now()).unwrap(),
                _ => matches_model(&overlay, &model),
            }
        }
        now(overlay.flush()).unwrap();
        matches_model(&overlay, &model);
        matches_model(&open_with(&shelf, options), &model);
    }
}
