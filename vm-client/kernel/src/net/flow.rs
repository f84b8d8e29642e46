//! How much a socket has sent that nobody has received yet.

use std::cell::Cell;
use std::rc::Rc;

use vm_rt::WaitQueue;

/// The send buffer of one socket: counts, and lets senders wait for room.
pub(crate) struct SendBuffer {
    used: Cell<usize>,
    /// Bytes it may hold (SO_SNDBUF).
    pub(crate) limit: Cell<usize>,
    /// It is writable while no more than one part of this many is used.
    pub(crate) writable_below: Cell<usize>,
    /// Woken when there is room again.
    pub(crate) room: WaitQueue,
    queued: Rc<Cell<usize>>,
}

impl SendBuffer {
    /// An empty buffer; `queued` counts the bytes of all.
    pub(crate) fn new(limit: usize, queued: &Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            used: Cell::new(0),
            limit: Cell::new(limit),
            writable_below: Cell::new(4),
            room: WaitQueue::new(),
            queued: Rc::clone(queued),
        })
    }

    /// Bytes that wait to be received.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Whether poll(2) calls the socket writable: only a part is used, so that writers are not woken for crumbs.
    pub(crate) fn is_writable(&self) -> bool {
        self.used.get() <= self.limit.get() / self.writable_below.get()
    }
}

/// Bytes charged to a send buffer until they are received or dropped.
pub(crate) struct Charge {
    buffer: Rc<SendBuffer>,
    amount: usize,
}

impl Charge {
    /// Charges an amount.
    pub(crate) fn new(buffer: &Rc<SendBuffer>, amount: usize) -> Self {
        let mut charge = Self { buffer: Rc::clone(buffer), amount: 0 };
        charge.add(amount);
        charge
    }

    /// Charges more.
    pub(crate) fn add(&mut self, amount: usize) {
        self.amount += amount;
        self.buffer.used.set(self.buffer.used.get() + amount);
        self.buffer.queued.set(self.buffer.queued.get() + amount);
    }

    /// Gives a part back.
    pub(crate) fn give_back(&mut self, amount: usize) {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        let buffer = &self.buffer;
        buffer.used.set(buffer.used.get().saturating_sub(amount));
        buffer.queued.set(buffer.queued.get().saturating_sub(amount));
        if amount > 0 && buffer.is_writable() {
            buffer.room.wake_all();
        }
    }

    /// Whether it is charged to this buffer.
    pub(crate) fn is_to(&self, buffer: &Rc<SendBuffer>) -> bool {
        Rc::ptr_eq(&self.buffer, buffer)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}
