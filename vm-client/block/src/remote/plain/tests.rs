use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;

use vm_rt::{Clock, Executor, ManualClock, Timers};

use super::super::host::{NetError, ReplyHeaders, Socket};
use super::*;

/// What is wrong with the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Offline,
    Overloaded,
    /// The whole file instead of a part.
    NoRanges,
    Compresses,
    HidesHeaders,
    OtherPart,
}

struct Host {
    files: RefCell<HashMap<String, Vec<u8>>>,
    etag: RefCell<Option<String>>,
    fault: Cell<Fault>,
    gets: Cell<u32>,
}

struct NoSocket;

impl Socket for NoSocket {
    fn send(&self, _message: &[u8]) -> Result<(), NetError> {
        Err(NetError(String::new()))
    }
    async fn receive(&self) -> Result<Bytes, NetError> {
        std::future::pending().await
    }
    fn close(&self, _code: u16, _reason: &str) {}
}

impl Host {
    fn answer(&self, url: &str) -> Result<HttpReply, NetError> {
        self.gets.set(self.gets.get() + 1);
        let mut headers = ReplyHeaders { etag: self.etag.borrow().clone(), ..ReplyHeaders::default() };
        if self.fault.get() == Fault::HidesHeaders {
            headers = ReplyHeaders::default();
        }
        match (self.fault.get(), self.files.borrow().get(url)) {
            (Fault::Offline, _) => Err(NetError("no route".to_owned())),
            (Fault::Overloaded, _) => Ok(HttpReply { status: 503, body: Bytes::new(), headers }),
            (_, None) => Ok(HttpReply { status: 404, body: Bytes::new(), headers }),
            (_, Some(file)) => Ok(HttpReply { status: 200, body: file.clone().into(), headers }),
        }
    }
}

impl Network for Host {
    type Socket = NoSocket;

    async fn connect(&self, _url: &str, _protocol: &str) -> Result<NoSocket, NetError> {
        panic!("there is nothing to speak to");
    }

    async fn get(&self, url: &str, _cache: CacheMode, limit: usize) -> Result<HttpReply, NetError> {
        let reply = self.answer(url)?;
        assert!(reply.body.len() <= limit);
        Ok(reply)
    }

    async fn get_range(&self, url: &str, part: Range<u64>, _cache: CacheMode) -> Result<HttpReply, NetError> {
        let mut reply = self.answer(url)?;
        if reply.status != 200 || self.fault.get() == Fault::NoRanges {
            reply.body = Bytes::new();
            return Ok(reply);
        }
        let size = reply.body.len() as u64;
        let end = part.end.min(size);
        let mut start = part.start;
        match self.fault.get() {
            Fault::Compresses => reply.headers.content_encoding = Some("gzip".to_owned()),
            Fault::OtherPart => start += 1,
            _ => {}
        }
        if self.fault.get() != Fault::HidesHeaders {
            reply.headers.content_range = Some(format!("bytes {start}-{}/{size}", end - 1));
        }
        reply.body = reply.body.slice(start as usize..end as usize);
        reply.status = 206;
        Ok(reply)
    }

    fn random(&self) -> u64 {
        7
    }
}

struct World {
    executor: Executor,
    clock: Rc<ManualClock>,
    host: RemoteHost<Host>,
}

const URL: &str = "http://host.test/disk.ext2";

/// A disk of so many bytes whose head looks like ext2.
fn disk(len: usize) -> Vec<u8> {
    let mut disk: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
    disk[1024..2048].fill(0);
    for (at, value) in [(1024 + 4, 300_u32), (1024 + 20, 1), (1024 + 24, 0), (1024 + 32, 8192), (1024 + 56, 0xef53)] {
        disk[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    disk
}

fn world(files: &[(&str, Vec<u8>)]) -> World {
    let clock = Rc::new(ManualClock::default());
    clock.advance(Duration::from_secs(10));
    let network = Rc::new(Host {
        files: RefCell::new(files.iter().map(|(url, bytes)| ((*url).to_owned(), bytes.clone())).collect()),
        etag: RefCell::new(Some("\"one\"".to_owned())),
        fault: Cell::new(Fault::Nothing),
        gets: Cell::new(0),
    });
    let dynamic: Rc<dyn Clock> = clock.clone();
    World { executor: Executor::new(), clock, host: RemoteHost { network, clock: dynamic, timers: Timers::new() } }
}

impl World {
    /// Runs something, timer by timer, for at most so long; `None` if it still waits then.
    fn within<T: 'static>(&self, limit: Duration, future: impl Future<Output = T> + 'static) -> Option<T> {
        let cell = Rc::new(RefCell::new(None));
        let result = Rc::clone(&cell);
        self.executor.spawn(async move {
            let value = future.await;
            *result.borrow_mut() = Some(value);
        });
        let end = self.clock.monotonic() + limit;
        loop {
            while self.executor.poll_one() {}
            let now = self.clock.monotonic();
            if now >= end || cell.borrow().is_some() {
                return cell.borrow_mut().take();
            }
            let next = self.host.timers.next_deadline().unwrap_or(end).min(end);
            self.clock.advance(next.saturating_sub(now));
            self.host.timers.fire(self.clock.monotonic());
        }
    }

    fn open(&self, layout: PlainLayout) -> Result<PlainImage<Host>, OpenError> {
        let host = self.host.clone();
        let opened = async move { PlainImage::open(&host, URL, layout, OpenOptions::default()).await };
        self.within(Duration::from_secs(60), opened).expect("is patient, but not for ever")
    }

    fn fetch(&self, image: &PlainImage<Host>, chunk: u32) -> Option<Result<Bytes, BlockError>> {
        let image = image.clone();
        let fetch = async move { image.fetch(ChunkId(chunk), Urgency::Demand).await };
        self.within(Duration::from_secs(60), fetch)
    }
}

fn pieces(disk: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![(format!("{URL}.meta"), format!("{}\n", disk.len()).into_bytes())];
    let chunks = disk.chunks(CHUNK_SIZE).enumerate();
    files.extend(chunks.map(|(n, bytes)| (format!("{URL}.c{n:06x}.txt"), bytes.to_vec())));
    files
}

#[test]
fn both_layouts_read_the_same_disk() {
    let disk = disk(20 * CHUNK_SIZE + 5000);
    let mut files = pieces(&disk);
    files.push((URL.to_owned(), disk.clone()));
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(url, bytes)| (url.as_str(), bytes.clone())).collect();
    let world = world(&files);
    for layout in [PlainLayout::Ranges, PlainLayout::Pieces] {
        let image = world.open(layout).expect("opens");
        assert_eq!(image.image_size(), disk.len() as u64);
        for chunk in [0, 1, 17, 20] {
            let bytes = world.fetch(&image, chunk).expect("answers").expect("reads");
            let expected =
                &disk[chunk as usize * CHUNK_SIZE..][..CHUNK_SIZE.min(disk.len() - chunk as usize * CHUNK_SIZE)];
            assert!(&bytes[..expected.len()] == expected && bytes[expected.len()..].iter().all(|b| *b == 0));
            assert_eq!(bytes.len(), CHUNK_SIZE);
        }
        assert!(matches!(world.fetch(&image, 21), Some(Err(BlockError::Corrupt { .. }))));
        assert_eq!((image.status().link, image.status().in_flight), (Link::Http, 0));
    }
}

#[test]
fn the_identity_changes_with_everything_that_tells_disks_apart() {
    let first = disk(2 << 20);
    let identity = |disk: Vec<u8>, etag: Option<&str>| {
        let world = world(&[(URL, disk)]);
        *world.host.network.etag.borrow_mut() = etag.map(str::to_owned);
        world.open(PlainLayout::Ranges).expect("opens").identity()
    };
    let same = identity(first.clone(), Some("\"one\""));
    assert_eq!(same, identity(first.clone(), Some("\"one\"")));
    let (mut longer, mut label, mut descriptor, mut data) =
        (first.clone(), first.clone(), first.clone(), first.clone());
    longer.push(0);
    label[1024 + 120] ^= 1;
    descriptor[2048 + 12] ^= 1;
    data[1 << 20] ^= 1;
    for (what, other) in [
        ("size", identity(longer, Some("\"one\""))),
        ("ETag", identity(first.clone(), Some("\"two\""))),
        ("no ETag", identity(first.clone(), None)),
        ("superblock", identity(label, Some("\"one\""))),
        ("descriptors", identity(descriptor, Some("\"one\""))),
    ] {
        assert_ne!(same, other, "{what}");
    }
    // Data alone is only known by the ETag.
    assert_eq!(same, identity(data, Some("\"one\"")));
}

#[test]
fn servers_that_cannot_do_it_are_described() {
    for (fault, words) in [
        (Fault::NoRanges, "turn compression off"),
        (Fault::Compresses, "compresses the disk (gzip)"),
        (Fault::HidesHeaders, "Access-Control-Expose-Headers"),
        (Fault::OtherPart, "asked for bytes 0-131071"),
    ] {
        let world = world(&[(URL, disk(1 << 20))]);
        world.host.network.fault.set(fault);
        let Err(OpenError::Bad { reason, .. }) = world.open(PlainLayout::Ranges) else { panic!("{words}") };
        assert!(reason.contains(words), "{reason}");
    }
    let empty = world(&[]);
    for layout in [PlainLayout::Ranges, PlainLayout::Pieces] {
        assert!(matches!(empty.open(layout), Err(OpenError::Unknown { .. })));
    }
    let no_ext2 = world(&[(URL, vec![0; 1 << 20])]);
    assert!(matches!(no_ext2.open(PlainLayout::Ranges), Err(OpenError::Bad { reason, .. }) if reason.contains("ext2")));
    let offline = world(&[(URL, disk(1 << 20))]);
    offline.host.network.fault.set(Fault::Offline);
    assert!(matches!(offline.open(PlainLayout::Ranges), Err(OpenError::Unreachable { .. })));
}

#[test]
fn a_lost_network_is_waited_out_and_a_lost_chunk_is_not() {
    let whole = disk(4 * CHUNK_SIZE);
    let files = pieces(&whole);
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(url, bytes)| (url.as_str(), bytes.clone())).collect();
    let world = world(&files);
    let image = world.open(PlainLayout::Pieces).expect("opens");
    for fault in [Fault::Offline, Fault::Overloaded] {
        world.host.network.fault.set(fault);
        let waiting = image.clone();
        let done = Rc::new(Cell::new(false));
        let told = Rc::clone(&done);
        world.executor.spawn(async move {
            waiting.fetch(ChunkId(1), Urgency::Demand).await.expect("comes in the end");
            told.set(true);
        });
        world.within(Duration::from_secs(300), std::future::pending::<()>());
        assert!(!done.get() && matches!(image.status().link, Link::Offline { .. }));
        let asked = world.host.network.gets.get();
        world.host.network.fault.set(Fault::Nothing);
        image.retry_now();
        while world.executor.poll_one() {}
        assert!(done.get() && world.host.network.gets.get() == asked + 1);
        assert_eq!(image.status().link, Link::Http);
    }
    world.host.network.files.borrow_mut().remove(&format!("{URL}.c000002.txt"));
    let lost = world.fetch(&image, 2).expect("answers");
    assert!(matches!(lost, Err(BlockError::Missing { chunk: ChunkId(2), .. })), "{lost:?}");
    world.host.network.files.borrow_mut().insert(format!("{URL}.c000001.txt"), vec![0; 100]);
    let short = world.fetch(&image, 1).expect("answers");
    assert!(matches!(short, Err(BlockError::Corrupt { .. })), "{short:?}");
}

#[test]
fn a_file_that_is_replaced_under_way_is_noticed() {
    let world = world(&[(URL, disk(4 * CHUNK_SIZE))]);
    let image = world.open(PlainLayout::Ranges).expect("opens");
    *world.host.network.etag.borrow_mut() = Some("\"two\"".to_owned());
    let Some(Err(BlockError::Corrupt { reason, .. })) = world.fetch(&image, 1) else { panic!("is noticed") };
    assert!(reason.contains("replaced"), "{reason}");
    *world.host.network.etag.borrow_mut() = Some("\"one\"".to_owned());
    assert!(matches!(world.fetch(&image, 1), Some(Ok(_))));
    world.host.network.files.borrow_mut().insert(URL.to_owned(), disk(5 * CHUNK_SIZE));
    assert!(matches!(world.fetch(&image, 1), Some(Err(BlockError::Corrupt { .. }))));
}
