//! POSIX message queues (mq_overview(7)): queues that go by name and are used through descriptors.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use linux_abi::poll::Ready;
use linux_abi::siginfo::{SigFields, SigInfo, code};
use linux_abi::signal::Signal;
use vm_rt::{Either, Io, WaitQueue, first_of};

use crate::task::Pid;
use crate::vfs::{File, IoMode};
use crate::{Errno, Kernel, Result, SyscallCx};

/// Most queues of a machine.
pub(crate) const QUEUES_MAX: usize = 256;
/// Priorities are below this.
pub(crate) const PRIORITY_MAX: u32 = 32_768;
/// Messages of a queue, unless its maker says otherwise.
pub(crate) const MESSAGES_DEFAULT: u32 = 10;
/// Bytes of a message, unless its maker says otherwise.
pub(crate) const SIZE_DEFAULT: u32 = 8192;

/// All queues that have a name.
#[derive(Default)]
pub(crate) struct Queues {
    by_name: RefCell<BTreeMap<Vec<u8>, Rc<Queue>>>,
}

impl Queues {
    /// The queue with this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Rc<Queue>> {
        self.by_name.borrow().get(name).cloned()
    }

    /// Gives a queue its name; ENOSPC if there are too many.
    pub(crate) fn add(&self, name: &[u8], queue: &Rc<Queue>) -> Result<()> {
        let mut all = self.by_name.borrow_mut();
        if all.len() >= QUEUES_MAX {
            return Err(Errno::ENOSPC);
        }
        all.insert(name.to_vec(), Rc::clone(queue));
        Ok(())
    }

    /// Takes the name away; the queue lives on as long as somebody has it open.
    pub(crate) fn remove(&self, name: &[u8]) {
        self.by_name.borrow_mut().remove(name);
    }

    /// Bytes that the queues of a user may come to, for RLIMIT_MSGQUEUE.
    pub(crate) fn charged(&self, uid: u32) -> u64 {
        self.by_name.borrow().values().filter(|queue| queue.uid == uid).map(|queue| queue.cost()).sum()
    }
}

/// What is to happen when a message comes to an empty queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// Nothing; the registration just keeps others out.
    Nothing,
    /// A signal with a value.
    Signal(Signal, u32),
}

/// A queue.
pub(crate) struct Queue {
    name: Vec<u8>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// Most messages.
    pub(crate) most: u32,
    /// Bytes of the longest message.
    pub(crate) size: u32,
    messages: RefCell<BTreeMap<u32, VecDeque<Vec<u8>>>>,
    count: Cell<u32>,
    bytes: Cell<u64>,
    receivers: Cell<u32>,
    arrived: WaitQueue,
    taken: WaitQueue,
    /// Who is to be told, and how.
    notice: Cell<Option<(Pid, Notice)>>,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(name: &[u8], owner: (u32, u32), mode: u32, most: u32, size: u32) -> Rc<Self> {
        Rc::new(Self {
            name: name.to_vec(),
            uid: owner.0,
            gid: owner.1,
            mode,
            most,
            size,
            messages: RefCell::default(),
            count: Cell::default(),
            bytes: Cell::default(),
            receivers: Cell::default(),
            arrived: WaitQueue::new(),
            taken: WaitQueue::new(),
            notice: Cell::default(),
        })
    }

    /// Bytes it may come to, with what Linux adds for each message.
    pub(crate) fn cost(&self) -> u64 {
        cost(self.most, self.size)
    }

    /// How many messages are queued.
    pub(crate) fn len(&self) -> u32 {
        self.count.get()
    }

    fn is_full(&self) -> bool {
        self.count.get() >= self.most
    }

    /// Registers the caller for a notice, or with `None` takes its registration back.
    pub(crate) fn set_notice(&self, pid: Pid, notice: Option<Notice>) -> Result<()> {
        match (self.notice.get(), notice) {
            (Some(_), Some(_)) => return Err(Errno::EBUSY),
            (None, Some(notice)) => self.notice.set(Some((pid, notice))),
            (Some((owner, _)), None) if owner == pid => self.notice.set(None),
            (_, None) => {}
        }
        Ok(())
    }

    fn put(&self, cx: &SyscallCx, priority: u32, text: Vec<u8>) {
        let was_empty = self.count.get() == 0;
        self.bytes.set(self.bytes.get() + text.len() as u64);
        self.messages.borrow_mut().entry(priority).or_default().push_back(text);
        self.count.set(self.count.get() + 1);
        // Somebody who already waits gets the message; the notice is for those who do not.
        if was_empty && self.receivers.get() == 0 {
            self.notify(&cx.kernel, cx);
        }
        self.arrived.wake_all();
    }

    fn notify(&self, kernel: &Kernel, sender: &SyscallCx) {
        let Some((pid, notice)) = self.notice.take() else { return };
        let Notice::Signal(signal, value) = notice else { return };
        let Some(group) = kernel.processes.group(pid) else { return };
        let (from, uid) = (sender.task.pid(), sender.creds().uid);
        let fields = SigFields::Queue { pid: from, uid, value };
        kernel.send_signal_group(&group, SigInfo { signal, errno: 0, code: code::SI_MESGQ, fields });
    }

    fn take(&self) -> Option<(u32, Vec<u8>)> {
        let mut messages = self.messages.borrow_mut();
        let mut highest = messages.last_entry()?;
        let priority = *highest.key();
        let text = highest.get_mut().pop_front()?;
        if highest.get().is_empty() {
            highest.remove();
        }
        self.count.set(self.count.get() - 1);
        self.bytes.set(self.bytes.get().saturating_sub(text.len() as u64));
        drop(messages);
        self.taken.wake_all();
        Some((priority, text))
    }

    /// mq_send(3).
    pub(crate) async fn send(&self, cx: &SyscallCx, priority: u32, text: Vec<u8>, patience: Patience) -> Result<()> {
        if text.len() > self.size as usize {
            return Err(Errno::EMSGSIZE);
        }
        loop {
            let room = self.taken.wait();
            if !self.is_full() {
                self.put(cx, priority, text);
                return Ok(());
            }
            patience.wait(cx, room).await?;
        }
    }

    /// mq_receive(3): priority and text.
    pub(crate) async fn receive(&self, cx: &SyscallCx, room: usize, patience: Patience) -> Result<(u32, Vec<u8>)> {
        if room < self.size as usize {
            return Err(Errno::EMSGSIZE);
        }
        loop {
            let arrival = self.arrived.wait();
            if let Some(message) = self.take() {
                return Ok(message);
            }
            self.receivers.set(self.receivers.get() + 1);
            let waited = patience.wait(cx, arrival).await;
            self.receivers.set(self.receivers.get() - 1);
            waited?;
        }
    }
}

/// Bytes a queue may come to, with what Linux adds for each message.
pub(crate) fn cost(most: u32, size: u32) -> u64 {
    const OVERHEAD: u64 = 96;
    u64::from(most) * (u64::from(size) + OVERHEAD)
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) nonblock: bool,
    /// On monotonic time.
    pub(crate) deadline: Option<Duration>,
}

impl Patience {
    async fn wait(self, cx: &SyscallCx, change: vm_rt::Wait) -> Result<()> {
        if self.nonblock {
            return Err(Errno::EAGAIN);
        }
        let Some(deadline) = self.deadline else { return cx.interruptible(change).await };
        let wait = first_of(change, cx.kernel.timers.sleep_until(deadline));
        match cx.interruptible(wait).await? {
            Either::First(_) => Ok(()),
            Either::Second(_) => Err(Errno::ETIMEDOUT),
        }
    }
}

/// A queue behind a descriptor.
pub(crate) struct QueueFile(pub(crate) Rc<Queue>);

impl File for QueueFile {
    fn read<'a>(&'a self, _cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let (pid, signal) = match self.0.notice.get() {
            Some((pid, Notice::Signal(signal, _))) => (pid, signal.number()),
            Some((pid, Notice::Nothing)) => (pid, 0),
            None => (0, 0),
        };
        let notify = u32::from(signal == 0 && pid != 0);
        let text =
            format!("QSIZE:{:<10} NOTIFY:{notify:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n", self.0.bytes.get());
        let rest = usize::try_from(mode.offset).ok().and_then(|from| text.as_bytes().get(from..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Io::ready(Ok(len))
    }

    fn poll(&self, _interest: Ready) -> Ready {
        let mut ready = Ready::NONE;
        if self.0.len() > 0 {
            ready |= Ready::IN | Ready::RDNORM;
        }
        if !self.0.is_full() {
            ready |= Ready::OUT | Ready::WRNORM;
        }
        ready
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        let (arrived, taken) = (self.0.arrived.wait(), self.0.taken.wait());
        Io::later(async move {
            first_of(arrived, taken).await;
        })
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> u64 {
        80
    }

    fn flush(&self, cx: &SyscallCx) {
        if self.0.notice.get().is_some_and(|(pid, _)| pid == cx.task.pid()) {
            self.0.notice.set(None);
        }
    }

    fn description(&self) -> Option<String> {
        Some(format!("/{}", String::from_utf8_lossy(&self.0.name)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
