//! What comes first, what does not come at all, and how much comes unasked: priorities, cancelling, credit.

use std::collections::HashSet;

use block_proto::frame::{ClientFrame, ServerFrame};
use block_proto::{Hash, MAX_OBJECT, envelope};
use stream_tests::raw::Socket;
use stream_tests::world::World;

use super::cases;

cases! { urgency:
    Usual {
        shared demand_overtakes_a_thousand_queued_prefetches,
        shared a_prefetch_that_is_demanded_overtakes_the_others,
        shared what_is_cancelled_is_not_sent,
        shared nothing_is_sent_beyond_the_credit,
        shared a_reader_that_stops_reading_holds_up_nobody_else,
        shared a_window_of_any_size_lets_everything_through,
    }
}

/// Objects that a server may have read when demand comes: five reads at once, and what was on its way already.
const HEAD_START: usize = 8;

async fn queue_a_thousand(world: &World) -> (Socket, Vec<Hash>) {
    let objects = world.sample.objects[..1024].to_vec();
    let mut socket = Socket::open(world, 1).await;
    for (number, batch) in (1..).zip(objects.chunks(64)) {
        socket.get(number, if number % 2 == 0 { 6 } else { 3 }, batch).await;
    }
    // A window of one byte has let one object go, and no more.
    let came = socket.until_pong().await;
    assert!(came.len() <= 1, "{} objects for a window of a byte", came.len());
    if came.is_empty() {
        socket.answer().await.result.expect("is there");
    }
    socket.settle().await;
    (socket, objects)
}

async fn demand_overtakes_a_thousand_queued_prefetches(world: &mut World) {
    let (mut socket, objects) = queue_a_thousand(world).await;
    let wanted = world.sample.small.chunks[&11];
    socket.get(900, 0, &[wanted]).await;
    socket.settle().await;
    let mut place = None;
    for n in 0..objects.len() {
        // A little at a time, so that not everything lies in the sockets' buffers.
        socket.credit(8008).await;
        let answer = socket.answer().await;
        let (stored, _) = answer.result.expect("is there");
        if answer.request == 900 {
            envelope::open(&stored, &wanted, MAX_OBJECT).expect("is what was asked for");
            assert!(answer.last);
            place = Some(n);
            // It has taken the credit of a few small ones.
            socket.credit(u32::try_from(stored.len()).expect("is short")).await;
        }
    }
    let place = place.expect("came");
    assert!(place <= HEAD_START, "{place} of a thousand prefetches came first");
    socket.settle().await;
    socket.close().await;
}

async fn a_prefetch_that_is_demanded_overtakes_the_others(world: &mut World) {
    let (mut socket, objects) = queue_a_thousand(world).await;
    socket.get(900, 0, &objects[1000..1003]).await;
    socket.settle().await;
    socket.credit(8 << 20).await;
    let mut places = Vec::new();
    // Asked for twice, owed once.
    for n in 0..objects.len() - 1 {
        let answer = socket.answer().await;
        answer.result.expect("is there");
        if answer.request == 900 {
            places.push(n);
        }
    }
    assert_eq!(places.len(), 3);
    assert!(places.iter().all(|place| *place <= HEAD_START + 3), "{places:?}");
    socket.settle().await;
    socket.close().await;
}

async fn what_is_cancelled_is_not_sent(world: &mut World) {
    let (mut socket, objects) = queue_a_thousand(world).await;
    socket.send(&ClientFrame::Cancel { request: 16, index: Some(63) }).await;
    for request in 2..16 {
        socket.send(&ClientFrame::Cancel { request, index: None }).await;
    }
    socket.settle().await;
    // What was cancelled may be asked for again, and its numbers are free.
    socket.get(5, 0, &objects[70..72]).await;
    socket.settle().await;
    socket.credit(8 << 20).await;
    let mut came: HashSet<(u32, u16)> = HashSet::new();
    for _ in 0..63 + 2 + 63 {
        let answer = socket.answer().await;
        let name = (answer.request, answer.index.expect("an index"));
        answer.result.expect("is there");
        assert!(came.insert(name), "{name:?} twice");
    }
    socket.settle().await;
    let of = |request: u32| came.iter().filter(|(of, _)| *of == request).count();
    assert_eq!((of(1), of(5), of(16)), (63, 2, 63), "one of request 1 had come before");
    assert!(!came.contains(&(16, 63)));
    socket.close().await;
}

async fn nothing_is_sent_beyond_the_credit(world: &mut World) {
    let hashes: Vec<Hash> = world.sample.small.chunks.values().copied().collect();
    let window = 300_000;
    let mut socket = Socket::open(world, window).await;
    socket.get(1, 0, &hashes[..32]).await;
    socket.get(2, 6, &hashes[32..]).await;
    let (mut credit, mut given, mut came) = (i64::from(window), 0, 0);
    while came < hashes.len() {
        if credit > 0 {
            let ServerFrame::Block { envelope, .. } = socket.receive().await else { panic!("no block") };
            // It may go below zero by one object, so that none is too large for a window.
            credit -= i64::try_from(envelope.len()).expect("is short");
            came += 1;
        } else {
            // Two PINGs are answered, and nothing is sent before them or between them.
            socket.settle().await;
            socket.settle().await;
            given += 1;
            socket.credit(200_000).await;
            credit += 200_000;
        }
    }
    assert!(given > 3, "the window was never the limit");
    socket.close().await;
}

async fn a_reader_that_stops_reading_holds_up_nobody_else(world: &mut World) {
    let hashes: Vec<Hash> = world.sample.small.chunks.values().copied().collect();
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut socket = Socket::open(world, 8 << 20).await;
        // More than the buffers of the sockets hold, and PINGs that want answers, too.
        socket.get(1, 0, &hashes).await;
        for n in 0..300 {
            socket.send(&ClientFrame::Ping(n)).await;
        }
        stuck.push(socket);
    }
    let mut socket = Socket::open(world, 8 << 20).await;
    for request in 1..100 {
        let found = socket.fetch(request, &hashes[request as usize % 64..][..1]).await;
        let (stored, _) = found[0].as_ref().expect("is there");
        socket.credit(u32::try_from(stored.len()).expect("is short")).await;
    }
    socket.close().await;
    // Who reads again gets everything.
    for mut socket in stuck {
        let (mut blocks, mut pongs) = (0, 0);
        while blocks < hashes.len() || pongs < 300 {
            match socket.receive().await {
                ServerFrame::Block { envelope, .. } => {
                    blocks += 1;
                    // The server may have granted less than was asked for.
                    socket.credit(u32::try_from(envelope.len()).expect("is short")).await;
                }
                ServerFrame::Pong(n) => {
                    assert_eq!(n, pongs);
                    pongs += 1;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        socket.close().await;
    }
}

async fn a_window_of_any_size_lets_everything_through(world: &mut World) {
    let hashes: Vec<Hash> = world.sample.small.chunks.values().copied().take(6).collect();
    for window in [1, 4096, 70_000, 1 << 20, u32::MAX] {
        let mut socket = Socket::open(world, window).await;
        socket.get(1, 0, &hashes).await;
        for _ in &hashes {
            let (stored, _) = socket.answer().await.result.expect("is there");
            socket.credit(u32::try_from(stored.len()).expect("is short")).await;
        }
        socket.settle().await;
        socket.close().await;
    }
}
