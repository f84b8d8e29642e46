//! epoll(7): many files to wait for, registered once.
//!
//! Every watched file has an [`Item`] with a wait on that file under way. When the file changes, the item's waker puts the
//! item's number on the ready list and wakes whoever waits on the instance; nothing looks at the file before somebody asks
//! ([`Epoll::collect`]), and then only at those on the list. Wakers have to be `Send`, items are not, so the ready list and
//! the instance's own waiters are behind a lock that is never contended ([`Shared`]), and the rest is not.
//!
//! An item does not keep its file open: it is gone with the last descriptor of the file, as in Linux.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use linux_abi::epoll::{EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP, EpollEvent};
use linux_abi::poll::Ready;
use vm_rt::Io;

use crate::vfs::{File, OpenFile};
use crate::{Errno, Result, SyscallCx};

/// Instances that may watch each other in a row (Linux's EP_MAX_NESTS and the one at the end).
const NESTING_MAX: usize = 5;
/// Watches of all instances together; Linux bounds them by low memory.
const WATCHES_MAX: usize = 1 << 18;
/// Flags of an item that are no events.
const PRIVATE: u32 = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
/// Events that are reported whether asked for or not.
const ALWAYS_REPORTED: u32 = Ready::ERR.0 | Ready::HUP.0;
/// All that may go with EPOLLEXCLUSIVE.
const EXCLUSIVE_OK: u32 = 0x1 | 0x4 | 0x8 | 0x10 | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

/// An instance.
pub struct Epoll {
    items: RefCell<HashMap<u64, Item>>,
    /// Items by what epoll_ctl(2) names them with: the descriptor and the file behind it.
    by_file: RefCell<BTreeMap<(i32, usize), u64>>,
    last: Cell<u64>,
    shared: Arc<Shared>,
    /// Watches of all instances of the machine.
    total: Rc<Cell<usize>>,
}

/// A watched file.
struct Item {
    file: Weak<OpenFile>,
    fd: i32,
    events: u32,
    data: u64,
    waker: Waker,
    signal: Arc<ItemSignal>,
    /// The wait on the file that is under way.
    wait: Io<'static, ()>,
}

/// What an item's waker knows.
struct ItemSignal {
    number: u64,
    /// It is on the ready list.
    listed: AtomicBool,
    shared: Arc<Shared>,
}

/// The ready list and those who wait for it.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<u64>,
    last_waiter: u64,
    waiters: Vec<(u64, Option<Waker>)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wake(&self) {
        let waiters = std::mem::take(&mut self.lock().waiters);
        for waker in waiters.into_iter().filter_map(|(_, waker)| waker) {
            waker.wake();
        }
    }
}

impl ItemSignal {
    fn list(&self) {
        if !self.listed.swap(true, Ordering::Relaxed) {
            self.shared.lock().ready.push_back(self.number);
        }
    }
}

impl Wake for ItemSignal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.list();
        self.shared.wake();
    }
}

/// Waits until an item was put on the ready list; registered when made, deregistered on drop.
pub struct Listed {
    shared: Arc<Shared>,
    number: u64,
}

impl Future for Listed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        match state.waiters.iter_mut().find(|(number, _)| *number == self.number) {
            None => Poll::Ready(()),
            Some((_, waker)) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.lock().waiters.retain(|(number, _)| *number != self.number);
    }
}

impl Item {
    fn interest(&self) -> Ready {
        Ready(self.events & !PRIVATE)
    }

    /// Disabled by EPOLLONESHOT: not even errors are reported.
    fn disabled(&self) -> bool {
        self.events & !PRIVATE == 0
    }

    /// Waits for the next change of the file, unless a wait is under way.
    fn arm(&mut self, file: &OpenFile) {
        let mut context = Context::from_waker(&self.waker);
        // A wait that is over at once is a file that never changes; it was refused when it was added.
        for _ in 0..2 {
            if Pin::new(&mut self.wait).poll(&mut context).is_pending() {
                return;
            }
            self.wait = file.file().wait(self.interest());
        }
        self.signal.list();
    }

    fn ready(&self, file: &OpenFile) -> Ready {
        if self.disabled() { Ready::NONE } else { file.file().poll(self.interest()) & self.interest() }
    }
}

impl Epoll {
    /// An instance that watches nothing. `total` counts the watches of the machine.
    pub fn new(total: &Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            items: RefCell::default(),
            by_file: RefCell::default(),
            last: Cell::new(0),
            shared: Arc::default(),
            total: Rc::clone(total),
        })
    }

    fn find(&self, fd: i32, file: &Rc<OpenFile>) -> Option<u64> {
        let number = *self.by_file.borrow().get(&(fd, Rc::as_ptr(file) as usize))?;
        // The address may have belonged to a file that is gone.
        let alive = self.items.borrow().get(&number).is_some_and(|item| item.file.strong_count() > 0);
        alive.then_some(number)
    }

    /// EPOLL_CTL_ADD.
    pub fn add(&self, fd: i32, file: &Rc<OpenFile>, event: EpollEvent) -> Result<()> {
        if event.events & EPOLLEXCLUSIVE != 0
            && (event.events & !EXCLUSIVE_OK != 0 || file.downcast::<Self>().is_some())
        {
            return Err(Errno::EINVAL);
        }
        if let Some(inner) = file.downcast::<Self>() {
            inner.check_nesting(self)?;
        }
        if self.find(fd, file).is_some() {
            return Err(Errno::EEXIST);
        }
        self.forget_closed();
        if self.total.get() >= WATCHES_MAX {
            return Err(Errno::ENOSPC);
        }
        let number = self.last.get() + 1;
        let signal = Arc::new(ItemSignal { number, listed: AtomicBool::new(false), shared: Arc::clone(&self.shared) });
        let mut item = Item {
            file: Rc::downgrade(file),
            fd,
            events: event.events | ALWAYS_REPORTED,
            data: event.data,
            waker: Waker::from(Arc::clone(&signal)),
            signal,
            wait: Io::ready(()),
        };
        item.wait = file.file().wait(item.interest());
        if matches!(item.wait, Io::Ready(_)) {
            return Err(Errno::EPERM);
        }
        item.arm(file);
        self.last.set(number);
        self.total.set(self.total.get() + 1);
        let stale = self.by_file.borrow_mut().insert((fd, Rc::as_ptr(file) as usize), number);
        if let Some(stale) = stale {
            self.discard(stale);
        }
        self.announce(&item, file);
        self.items.borrow_mut().insert(number, item);
        Ok(())
    }

    /// EPOLL_CTL_MOD.
    pub fn modify(&self, fd: i32, file: &Rc<OpenFile>, event: EpollEvent) -> Result<()> {
        let number = self.find(fd, file).ok_or(Errno::ENOENT)?;
        let mut items = self.items.borrow_mut();
        let item = items.get_mut(&number).ok_or(Errno::ENOENT)?;
        if item.events & EPOLLEXCLUSIVE != 0 || event.events & EPOLLEXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        item.events = event.events | ALWAYS_REPORTED;
        item.data = event.data;
        item.wait = file.file().wait(item.interest());
        item.arm(file);
        self.announce(item, file);
        Ok(())
    }

    /// EPOLL_CTL_DEL.
    pub fn remove(&self, fd: i32, file: &Rc<OpenFile>) -> Result<()> {
        let number = self.find(fd, file).ok_or(Errno::ENOENT)?;
        self.by_file.borrow_mut().remove(&(fd, Rc::as_ptr(file) as usize));
        self.discard(number);
        Ok(())
    }

    /// Lists an item that is ready already and wakes those who wait.
    fn announce(&self, item: &Item, file: &OpenFile) {
        if !item.ready(file).is_empty() {
            item.signal.list();
            self.shared.wake();
        }
    }

    fn discard(&self, number: u64) {
        let item = self.items.borrow_mut().remove(&number);
        if item.is_some() {
            self.total.set(self.total.get().saturating_sub(1));
        }
    }

    /// Lets go of the items of closed files, now and then.
    fn forget_closed(&self) {
        let room = {
            let items = self.items.borrow();
            items.len() < items.capacity()
        };
        if room {
            return;
        }
        let mut gone = Vec::new();
        self.by_file.borrow_mut().retain(|_, number| {
            let alive = self.items.borrow().get(number).is_some_and(|item| item.file.strong_count() > 0);
            if !alive {
                gone.push(*number);
            }
            alive
        });
        gone.into_iter().for_each(|number| self.discard(number));
    }

    /// Instances that this one watches.
    fn watched(&self) -> Vec<Rc<OpenFile>> {
        let items = self.items.borrow();
        items.values().filter_map(|item| item.file.upgrade()).filter(|file| file.downcast::<Self>().is_some()).collect()
    }

    /// ELOOP if `outer` is among what this instance watches, or too many watch each other in a row.
    fn check_nesting(&self, outer: &Self) -> Result<()> {
        let mut level: Vec<Rc<OpenFile>> = self.watched();
        let mut depth = 1;
        while !level.is_empty() {
            depth += 1;
            if depth >= NESTING_MAX {
                return Err(Errno::ELOOP);
            }
            let mut next = Vec::new();
            for file in level {
                let Some(inner) = file.downcast::<Self>() else { continue };
                if std::ptr::eq(inner, outer) {
                    return Err(Errno::ELOOP);
                }
                next.extend(inner.watched());
            }
            level = next;
        }
        Ok(())
    }

    /// Waits until something was put on the ready list. It may be nothing when looked at.
    pub fn listed(&self) -> Listed {
        let mut state = self.shared.lock();
        state.last_waiter += 1;
        let number = state.last_waiter;
        state.waiters.push((number, None));
        Listed { shared: Arc::clone(&self.shared), number }
    }

    /// How many items are on the ready list.
    pub fn listed_count(&self) -> usize {
        self.shared.lock().ready.len()
    }

    /// What is ready, `max` events at most. What was reported stays listed if it is level-triggered.
    pub fn collect(&self, max: usize) -> Vec<EpollEvent> {
        let mut listed = std::mem::take(&mut self.shared.lock().ready);
        let mut events = Vec::new();
        let mut again = Vec::new();
        while events.len() < max {
            let Some(number) = listed.pop_front() else { break };
            let mut items = self.items.borrow_mut();
            let Some(item) = items.get_mut(&number) else { continue };
            item.signal.listed.store(false, Ordering::Relaxed);
            let Some(file) = item.file.upgrade() else { continue };
            item.arm(&file);
            let ready = item.ready(&file);
            if ready.is_empty() {
                continue;
            }
            events.push(EpollEvent { events: ready.0, data: item.data });
            if item.events & EPOLLONESHOT != 0 {
                item.events &= PRIVATE;
            } else if item.events & EPOLLET == 0 && !item.signal.listed.swap(true, Ordering::Relaxed) {
                again.push(number);
            }
        }
        if !listed.is_empty() || !again.is_empty() {
            let mut state = self.shared.lock();
            // Those not looked at stay first; what came meanwhile is behind them.
            for number in listed.into_iter().rev() {
                state.ready.push_front(number);
            }
            state.ready.extend(again);
        }
        events
    }

    /// Whether anything is ready, leaving the list as it is but for what is not.
    fn any_ready(&self) -> bool {
        let listed: Vec<u64> = self.shared.lock().ready.iter().copied().collect();
        for number in listed {
            let mut items = self.items.borrow_mut();
            let ready = match items.get_mut(&number) {
                None => false,
                Some(item) => match item.file.upgrade() {
                    None => false,
                    Some(file) => {
                        item.arm(&file);
                        let ready = !item.ready(&file).is_empty();
                        if !ready {
                            item.signal.listed.store(false, Ordering::Relaxed);
                        }
                        ready
                    }
                },
            };
            if ready {
                return true;
            }
            self.shared.lock().ready.retain(|other| *other != number);
        }
        false
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let watches = self.items.get_mut().len();
        self.total.set(self.total.get().saturating_sub(watches));
    }
}

impl File for Epoll {
    fn poll(&self, _interest: Ready) -> Ready {
        if self.any_ready() { Ready::IN | Ready::RDNORM } else { Ready::NONE }
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.listed())
    }

    fn description(&self) -> Option<String> {
        Some("anon_inode:[eventpoll]".to_owned())
    }

    fn fdinfo(&self, _cx: &SyscallCx) -> String {
        let items = self.items.borrow();
        let mut text = String::new();
        for number in self.by_file.borrow().values() {
            let Some(item) = items.get(number) else { continue };
            let Some(file) = item.file.upgrade() else { continue };
            let meta = file.inode().metadata();
            let _ = writeln!(
                text,
                "tfd: {:8} events: {:8x} data: {:16x}  pos:{} ino:{:x} sdev:{:x}",
                item.fd,
                item.events,
                item.data,
                file.position_now(),
                meta.ino,
                meta.dev
            );
        }
        text
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
