//! A network in memory: a store, a server session behind every socket, and all the ways in which they fail.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use block_proto::frame::{GoAwayReason, Tier, Touch};
use block_proto::{
    Hash, Manifest, PAGE_CHUNKS, Page, ReadError, ServerAction, ServerConfig, ServerSession, TagRecord, envelope, key,
};
use bytes::Bytes;
use vm_rt::{Clock, ManualClock, WaitQueue};

use super::host::{CacheMode, HttpReply, NetError, Network, ReplyHeaders, Socket};
use crate::CHUNK_SIZE;

/// What happens to a connection attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Refused,
    /// Nothing ever answers.
    Silent,
}

pub(super) struct FakeNetwork {
    pub(super) clock: Rc<ManualClock>,
    /// By key, as a static host has them.
    pub(super) files: RefCell<HashMap<String, Bytes>>,
    /// What HTTP caches wrongly have; bypassed by a reload.
    pub(super) cached: RefCell<HashMap<String, Bytes>>,
    /// What servers send over sockets instead, out of their caches: FRESH finds the file.
    pub(super) over_socket: RefCell<HashMap<Hash, Bytes>>,
    /// The token that everything wants, if anything is wanted.
    pub(super) token: RefCell<Option<String>>,
    /// What a network's log-in page is; it comes instead of every answer.
    pub(super) portal: RefCell<Option<Bytes>>,
    /// Boots that were reported.
    pub(super) boots: RefCell<Vec<Vec<Touch>>>,
    pub(super) online: Cell<bool>,
    pub(super) door: Cell<Door>,
    pub(super) gets: RefCell<Vec<(String, CacheMode)>>,
    pub(super) connects: Cell<u32>,
    pub(super) connections: RefCell<Vec<Rc<Connection>>>,
    /// Whether every object is damaged on the way, each time in another manner.
    pub(super) mangling: Cell<bool>,
    /// So many HTTP answers are damaged yet.
    pub(super) mangle_next: Cell<u32>,
    swallowing: Cell<bool>,
    random: Cell<u64>,
}

pub(super) struct Connection {
    clock: Rc<ManualClock>,
    server: RefCell<ServerSession>,
    broken: RefCell<Option<String>>,
    changed: WaitQueue,
    /// Objects read, in order.
    pub(super) reads: RefCell<Vec<Hash>>,
    /// While set, reads never finish.
    pub(super) stalled: Cell<bool>,
    /// Nothing passes in either direction, and nobody is told.
    dead: Cell<bool>,
}

impl Connection {
    pub(super) fn break_off(&self, text: &str) {
        *self.broken.borrow_mut() = Some(text.to_owned());
        self.changed.wake_all();
    }

    pub(super) fn go_away(&self) {
        self.server.borrow_mut().go_away(self.clock.monotonic(), GoAwayReason::Budget, Duration::from_millis(50));
        self.changed.wake_all();
    }
}

impl FakeNetwork {
    pub(super) fn new(clock: Rc<ManualClock>) -> Rc<Self> {
        Rc::new(Self {
            clock,
            files: RefCell::default(),
            cached: RefCell::default(),
            over_socket: RefCell::default(),
            token: RefCell::default(),
            portal: RefCell::default(),
            boots: RefCell::default(),
            online: Cell::new(true),
            door: Cell::new(Door::Open),
            gets: RefCell::default(),
            connects: Cell::new(0),
            connections: RefCell::default(),
            mangling: Cell::new(false),
            mangle_next: Cell::new(0),
            swallowing: Cell::new(false),
            random: Cell::new(1),
        })
    }

    pub(super) fn put(&self, object: &[u8]) -> Hash {
        let hash = Hash::of(object);
        self.files.borrow_mut().insert(key::object(&hash), envelope::seal_raw(object));
        hash
    }

    /// Puts an image of `chunks` chunks, every third of them zeros, and its tag.
    pub(super) fn put_image(&self, name: &str, chunks: u32) -> Manifest {
        let hashes: Vec<Hash> =
            (0..chunks).map(|n| if n % 3 == 2 { Hash::ZERO_CHUNK } else { self.put(&chunk(n)) }).collect();
        let page = |hashes: &[Hash]| match hashes.iter().all(Hash::is_zero_chunk) {
            true => Page::empty_hash(),
            false => self.put(Page::from_hashes(hashes).object()),
        };
        let pages = hashes.chunks(PAGE_CHUNKS).map(page).collect();
        let image_size = u64::from(chunks) * CHUNK_SIZE as u64;
        let manifest = Manifest { image_size, created: 0, fs_uuid: [0; 16], sections: vec![], pages };
        let record = TagRecord {
            name: name.to_owned(),
            tag: "latest".to_owned(),
            manifest: self.put(&manifest.emit()),
            size: image_size,
            created: 0,
            transport: vec![],
            endpoints: vec![],
            sig: None,
        };
        self.files.borrow_mut().insert(key::tag(name, "latest"), record.emit().into());
        manifest
    }

    /// Takes everything down: sockets break, nothing answers.
    pub(super) fn go_offline(&self) {
        self.online.set(false);
        self.connections.borrow_mut().drain(..).for_each(|connection| connection.break_off("network changed"));
    }

    /// While it is on, nothing that is sent arrives; what was connected before stays silent for ever.
    pub(super) fn black_hole(&self, on: bool) {
        self.swallowing.set(on);
        self.connections.borrow().iter().for_each(|connection| connection.dead.set(true));
    }

    fn chance(&self) -> u64 {
        self.random.set(self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        self.random.get() >> 33
    }

    fn mangled(&self, body: Bytes) -> Bytes {
        let left = self.mangle_next.get();
        self.mangle_next.set(left.saturating_sub(1));
        if left == 0 && !self.mangling.get() {
            return body;
        }
        let mut bytes = body.to_vec();
        let at = self.chance() as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        bytes.into()
    }

    pub(super) fn gets_of(&self, hash: &Hash) -> usize {
        let key = key::object(hash);
        self.gets.borrow().iter().filter(|(url, _)| url.ends_with(&key)).count()
    }

    fn read(&self, hash: &Hash, fresh: bool) -> Result<(Bytes, Tier), ReadError> {
        let instead = self.over_socket.borrow().get(hash).cloned().filter(|_| !fresh);
        let stored = instead.or_else(|| self.files.borrow().get(&key::object(hash)).cloned());
        stored.map(|stored| (self.mangled(stored), Tier::Memory)).ok_or(ReadError::NotFound)
    }
}

/// The content of a chunk.
pub(super) fn chunk(n: u32) -> Vec<u8> {
    (0..CHUNK_SIZE as u32).map(|i| (i.wrapping_mul(n + 1) >> 3) as u8).collect()
}

pub(super) struct FakeSocket {
    connection: Rc<Connection>,
    network: Rc<FakeNetwork>,
}

impl Network for Rc<FakeNetwork> {
    type Socket = FakeSocket;

    async fn connect(&self, url: &str, protocol: &str) -> Result<FakeSocket, NetError> {
        assert_eq!((url, protocol), ("ws://store.test/v1/ws", "vmdisk.v1"));
        self.connects.set(self.connects.get() + 1);
        match self.door.get() {
            _ if !self.online.get() || self.portal.borrow().is_some() => return Err(NetError("unreachable".into())),
            _ if self.swallowing.get() => std::future::pending().await,
            Door::Open => {}
            Door::Refused => return Err(NetError("status 404".into())),
            Door::Silent => std::future::pending().await,
        }
        let now = self.clock.monotonic();
        let connection = Rc::new(Connection {
            clock: Rc::clone(&self.clock),
            server: RefCell::new(ServerSession::new(
                ServerConfig { profiles: 1, ..ServerConfig::default() },
                self.connects.get().into(),
                now,
            )),
            broken: RefCell::default(),
            changed: WaitQueue::new(),
            reads: RefCell::default(),
            stalled: Cell::new(false),
            dead: Cell::new(false),
        });
        self.connections.borrow_mut().push(Rc::clone(&connection));
        Ok(FakeSocket { connection, network: Rc::clone(self) })
    }

    async fn get(&self, url: &str, cache: CacheMode, limit: usize) -> Result<HttpReply, NetError> {
        self.gets.borrow_mut().push((url.to_owned(), cache));
        if !self.online.get() {
            return Err(NetError("unreachable".into()));
        }
        if self.swallowing.get() {
            return std::future::pending().await;
        }
        let headers = ReplyHeaders::default();
        if let Some(page) = self.portal.borrow().clone() {
            return Ok(HttpReply { status: 200, body: page, headers });
        }
        let (url, token) = url.split_once("?t=").unwrap_or((url, ""));
        if self.token.borrow().as_ref().is_some_and(|wanted| wanted != token) {
            return Ok(HttpReply { status: 401, body: Bytes::new(), headers });
        }
        let key = url.strip_prefix("http://store.test/").unwrap_or(url).to_owned();
        let cached = self.cached.borrow().get(&key).cloned().filter(|_| cache == CacheMode::Default);
        let found = cached.or_else(|| self.files.borrow().get(&key).cloned());
        let reply = match found {
            Some(body) => HttpReply { status: 200, body: self.mangled(body), headers: ReplyHeaders::default() },
            None => HttpReply { status: 404, body: Bytes::from_static(b"not here"), headers: ReplyHeaders::default() },
        };
        assert!(reply.body.len() <= limit);
        Ok(reply)
    }

    fn random(&self) -> u64 {
        self.chance()
    }
}

impl Socket for FakeSocket {
    fn send(&self, message: &[u8]) -> Result<(), NetError> {
        if self.connection.dead.get() {
            return Ok(());
        }
        let now = self.network.clock.monotonic();
        let mut server = self.connection.server.borrow_mut();
        server.message(now, message);
        while let Some(action) = server.poll_action() {
            match action {
                ServerAction::Open { manifest, token } => {
                    let wanted = self.network.token.borrow();
                    server.opened(match wanted.as_ref().is_none_or(|wanted| wanted.as_bytes() == token) {
                        true => self.network.read(&manifest, false).map(drop),
                        false => Err(ReadError::Unauthorized),
                    });
                }
                ServerAction::Read { hash, fresh, .. } => {
                    self.connection.reads.borrow_mut().push(hash);
                    if !self.connection.stalled.get() {
                        server.object(hash, fresh, self.network.read(&hash, fresh));
                    }
                }
                ServerAction::Profile { touches } => self.network.boots.borrow_mut().push(touches),
                ServerAction::Close { .. } => {}
            }
        }
        drop(server);
        self.connection.changed.wake_all();
        Ok(())
    }

    async fn receive(&self) -> Result<Bytes, NetError> {
        loop {
            if let Some(text) = self.connection.broken.borrow().clone() {
                return Err(NetError(text));
            }
            if !self.connection.dead.get() {
                let mut server = self.connection.server.borrow_mut();
                if let Some(message) = server.poll_transmit() {
                    return Ok(message);
                }
                server.tick(self.network.clock.monotonic());
                if server.is_closed() {
                    return Err(NetError("closed".into()));
                }
            }
            self.connection.changed.wait().await;
        }
    }

    fn close(&self, _code: u16, reason: &str) {
        self.connection.break_off(reason);
    }
}
