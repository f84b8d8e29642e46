//! What is wanted, and who waits for it: shared between the callers and the driver.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use block_proto::Hash;
use block_proto::frame::Touch;
use block_proto::section::BootProfile;
use bytes::Bytes;
use vm_rt::WaitQueue;

use super::access::Token;
use super::status::{Link, RemoteStatus};
use crate::Urgency;

/// Why an object will not come.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Every source says that it has none.
    Missing(String),
    /// What came was wrong, from every source.
    Corrupt(String),
}

impl Failure {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Missing(text) | Self::Corrupt(text) => text,
        }
    }
}

/// One wanted object. Everybody who wants it waits on the same one.
struct Slot {
    result: RefCell<Option<Result<Bytes, Failure>>>,
    arrived: WaitQueue,
    waiting: Cell<usize>,
    demanded: Cell<bool>,
}

/// What callers tell the driver.
#[derive(Debug)]
pub(super) enum Command {
    Want(Hash, Urgency),
    Unwant(Hash),
    RetryNow,
    Token(Token),
    Boot(Vec<Touch>),
    RecordedBoots,
}

/// The border between callers and driver.
pub(super) struct Shared {
    slots: RefCell<HashMap<Hash, Rc<Slot>>>,
    commands: RefCell<VecDeque<Command>>,
    driver: RefCell<Option<Waker>>,
    closed: Cell<bool>,
    boots: RefCell<Option<BootProfile>>,
    boots_came: WaitQueue,
    pub(super) status: RefCell<RemoteStatus>,
}

impl Shared {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            slots: RefCell::default(),
            commands: RefCell::default(),
            driver: RefCell::default(),
            closed: Cell::new(false),
            boots: RefCell::default(),
            boots_came: WaitQueue::new(),
            status: RefCell::new(RemoteStatus { bytes, ..RemoteStatus::default() }),
        }
    }

    /// Waits for an object, however long the network takes.
    pub(super) async fn fetch(&self, hash: Hash, urgency: Urgency) -> Result<Bytes, Failure> {
        let slot = self.slot(hash, urgency);
        let _waiting = Waiting { shared: self, hash, slot: Rc::clone(&slot) };
        loop {
            if let Some(result) = slot.result.borrow().clone() {
                return result;
            }
            slot.arrived.wait().await;
        }
    }

    fn slot(&self, hash: Hash, urgency: Urgency) -> Rc<Slot> {
        let mut slots = self.slots.borrow_mut();
        let mut news = false;
        let slot = Rc::clone(slots.entry(hash).or_insert_with(|| {
            news = true;
            Rc::new(Slot {
                result: RefCell::default(),
                arrived: WaitQueue::new(),
                waiting: Cell::new(0),
                demanded: Cell::new(false),
            })
        }));
        slot.waiting.set(slot.waiting.get() + 1);
        if urgency == Urgency::Demand {
            news |= !slot.demanded.replace(true);
        }
        drop(slots);
        if news {
            self.command(Command::Want(hash, urgency));
        }
        slot
    }

    /// Waits for what the store recorded of boots; nothing, if it has nothing or does not answer well.
    pub(super) async fn recorded_boots(&self) -> BootProfile {
        self.boots.take();
        self.command(Command::RecordedBoots);
        loop {
            if let Some(boots) = self.boots.borrow().clone() {
                return boots;
            }
            self.boots_came.wait().await;
        }
    }

    pub(super) fn boots_came(&self, boots: BootProfile) {
        *self.boots.borrow_mut() = Some(boots);
        self.boots_came.wake_all();
    }

    pub(super) fn command(&self, command: Command) {
        self.commands.borrow_mut().push_back(command);
        let waker = self.driver.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn retry_now(&self) {
        self.command(Command::RetryNow);
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.retry_now();
    }

    pub(super) fn status(&self) -> RemoteStatus {
        let slots = self.slots.borrow();
        let mut status = self.status.borrow().clone();
        status.in_flight = slots.len();
        status.demanded = slots.values().filter(|slot| slot.demanded.get()).count();
        status
    }

    // The driver's side.

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn register(&self, waker: &Waker) {
        *self.driver.borrow_mut() = Some(waker.clone());
    }

    pub(super) fn next_command(&self) -> Option<Command> {
        self.commands.borrow_mut().pop_front()
    }

    pub(super) fn has_commands(&self) -> bool {
        !self.commands.borrow().is_empty()
    }

    pub(super) fn finish(&self, hash: &Hash, result: Result<Bytes, Failure>) {
        let slot = self.slots.borrow_mut().remove(hash);
        if let Some(slot) = slot {
            *slot.result.borrow_mut() = Some(result);
            slot.arrived.wake_all();
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        self.status.borrow_mut().bytes += bytes as u64;
    }

    pub(super) fn set_link(&self, link: Link) {
        let mut status = self.status.borrow_mut();
        match (status.link, link) {
            // Offline counts from the first failure.
            (Link::Offline { .. }, Link::Offline { .. }) => {}
            _ => status.link = link,
        }
    }

    pub(super) fn trouble(&self, text: String) {
        self.status.borrow_mut().last_error = Some(text);
    }

    pub(super) fn verified(&self, waited: Option<Duration>) {
        let mut status = self.status.borrow_mut();
        status.objects += 1;
        if waited.is_some() {
            status.last_wait = waited;
        }
    }
}

/// Counts a caller for as long as it waits.
struct Waiting<'a> {
    shared: &'a Shared,
    hash: Hash,
    slot: Rc<Slot>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.slot.waiting.set(self.slot.waiting.get() - 1);
        if self.slot.waiting.get() > 0 || self.slot.result.borrow().is_some() {
            return;
        }
        self.shared.slots.borrow_mut().remove(&self.hash);
        self.shared.command(Command::Unwant(self.hash));
    }
}
