//! Message queues (msgget(2), msgsnd(2), msgrcv(2)).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use vm_rt::WaitQueue;

use super::{IPC_NOWAIT, Object, Perm};
use crate::task::Pid;
use crate::{Errno, Kernel, Result, SyscallCx};

/// Most queues.
pub(crate) const MSGMNI: usize = 32_000;
/// Largest message, bytes.
pub(crate) const MSGMAX: usize = 8192;
/// Most bytes of a new queue.
pub(crate) const MSGMNB: u32 = 16_384;
/// Cut a message that is too long.
const MSG_NOERROR: u32 = 0o10000;
/// Take the first message of another type.
const MSG_EXCEPT: u32 = 0o20000;
/// Copy the message at an index; an option of kernels that can be checkpointed.
const MSG_COPY: u32 = 0o40000;

/// A message.
pub(crate) struct Message {
    pub(crate) kind: i32,
    pub(crate) text: Vec<u8>,
}

/// A queue.
pub(crate) struct Queue {
    perm: Cell<Perm>,
    index: Cell<u32>,
    messages: RefCell<VecDeque<Message>>,
    /// Bytes queued.
    pub(crate) bytes: Cell<u32>,
    /// Most bytes.
    pub(crate) most: Cell<u32>,
    arrived: WaitQueue,
    taken: WaitQueue,
    removed: Cell<bool>,
    /// Seconds.
    pub(crate) sent: Cell<i64>,
    pub(crate) received: Cell<i64>,
    pub(crate) changed: Cell<i64>,
    pub(crate) last_sender: Cell<Pid>,
    pub(crate) last_receiver: Cell<Pid>,
}

impl Object for Queue {
    fn perm(&self) -> &Cell<Perm> {
        &self.perm
    }

    fn index(&self) -> &Cell<u32> {
        &self.index
    }
}

/// Neither call is ever restarted, whatever SA_RESTART says.
fn never_restarted(error: Errno) -> Errno {
    if error == Errno::ERESTARTSYS { Errno::EINTR } else { error }
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(kernel: &Kernel, perm: Perm) -> Rc<Self> {
        Rc::new(Self {
            perm: Cell::new(perm),
            index: Cell::default(),
            messages: RefCell::default(),
            bytes: Cell::default(),
            most: Cell::new(MSGMNB),
            arrived: WaitQueue::new(),
            taken: WaitQueue::new(),
            removed: Cell::new(false),
            sent: Cell::default(),
            received: Cell::default(),
            changed: Cell::new(kernel.now_realtime().sec),
            last_sender: Cell::default(),
            last_receiver: Cell::default(),
        })
    }

    /// How many messages are queued.
    pub(crate) fn len(&self) -> usize {
        self.messages.borrow().len()
    }

    /// Makes everybody who waits give up.
    pub(crate) fn remove(&self) {
        self.removed.set(true);
        self.messages.borrow_mut().clear();
        self.arrived.wake_all();
        self.taken.wake_all();
    }

    /// Lets those who wait for room look again (msgctl(2) IPC_SET).
    pub(crate) fn resized(&self) {
        self.taken.wake_all();
    }

    /// msgsnd(2).
    pub(crate) async fn send(&self, cx: &SyscallCx, message: Message, flags: u32) -> Result<()> {
        let len = message.text.len() as u32;
        loop {
            if self.removed.get() {
                return Err(Errno::EIDRM);
            }
            self.perm.get().check(&cx.creds(), super::WRITE)?;
            let room = self.taken.wait();
            // Linux counts empty messages too, so that they cannot be without end.
            if self.bytes.get().saturating_add(len) <= self.most.get() && self.len() < self.most.get() as usize {
                break;
            }
            if flags & IPC_NOWAIT != 0 {
                return Err(Errno::EAGAIN);
            }
            cx.interruptible(room).await.map_err(never_restarted)?;
        }
        self.bytes.set(self.bytes.get() + len);
        self.messages.borrow_mut().push_back(message);
        self.last_sender.set(cx.task.pid());
        self.sent.set(cx.kernel.now_realtime().sec);
        self.arrived.wake_all();
        Ok(())
    }

    /// Where the message that msgrcv(2) wants is.
    fn find(&self, kind: i32, flags: u32) -> Option<usize> {
        let messages = self.messages.borrow();
        match kind {
            0 => (!messages.is_empty()).then_some(0),
            kind if kind > 0 && flags & MSG_EXCEPT != 0 => messages.iter().position(|message| message.kind != kind),
            kind if kind > 0 => messages.iter().position(|message| message.kind == kind),
            kind => {
                let most = kind.checked_neg().unwrap_or(i32::MAX);
                let fitting = messages.iter().enumerate().filter(|(_, message)| message.kind <= most);
                // The first among those of the lowest type.
                fitting.min_by_key(|(index, message)| (message.kind, *index)).map(|(index, _)| index)
            }
        }
    }

    /// msgrcv(2).
    pub(crate) async fn receive(&self, cx: &SyscallCx, room: usize, kind: i32, flags: u32) -> Result<Message> {
        if flags & MSG_COPY != 0 {
            return Err(if flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0 { Errno::EINVAL } else { Errno::ENOSYS });
        }
        loop {
            if self.removed.get() {
                return Err(Errno::EIDRM);
            }
            self.perm.get().check(&cx.creds(), super::READ)?;
            let arrival = self.arrived.wait();
            if let Some(index) = self.find(kind, flags) {
                let mut messages = self.messages.borrow_mut();
                let len = messages.get(index).map_or(0, |message| message.text.len());
                if len > room && flags & MSG_NOERROR == 0 {
                    return Err(Errno::E2BIG);
                }
                let Some(mut message) = messages.remove(index) else { continue };
                message.text.truncate(room);
                self.bytes.set(self.bytes.get().saturating_sub(len as u32));
                self.last_receiver.set(cx.task.pid());
                self.received.set(cx.kernel.now_realtime().sec);
                self.taken.wake_all();
                return Ok(message);
            }
            if flags & IPC_NOWAIT != 0 {
                return Err(Errno::ENOMSG);
            }
            cx.interruptible(arrival).await.map_err(never_restarted)?;
        }
    }
}
