//! inotify(7): a file that tells what happens to other files.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use linux_abi::ioctl;
use linux_abi::layout::Writer;
use linux_abi::poll::Ready;
use vm_rt::{Io, WaitQueue};

use crate::vfs::notify::{IGNORED, Watcher};
use crate::vfs::{File, Inode, IoMode, Vfs};
use crate::{Errno, Result, SyscallCx};

/// Add to the events of a watch instead of replacing them.
pub const IN_MASK_ADD: u32 = 0x2000_0000;
/// Only make new watches.
pub const IN_MASK_CREATE: u32 = 0x1000_0000;
/// The watch goes after one event.
const IN_ONESHOT: u32 = 0x8000_0000;
/// Events were lost.
const IN_Q_OVERFLOW: u32 = 0x4000;
/// Bytes of an event without its name.
const EVENT_SIZE: usize = 16;
/// Events that wait to be read, at most (fs.inotify.max_queued_events).
const QUEUE_MAX: usize = 16_384;
/// Watches of one instance, at most (fs.inotify.max_user_watches).
const WATCHES_MAX: usize = 65_536;

/// An inotify instance.
pub struct Inotify {
    this: Weak<Inotify>,
    vfs: Rc<Vfs>,
    watches: RefCell<BTreeMap<i32, Rc<Watch>>>,
    last: Cell<i32>,
    queue: RefCell<VecDeque<Event>>,
    readable: WaitQueue,
}

struct Watch {
    instance: Weak<Inotify>,
    number: i32,
    inode: Rc<dyn Inode>,
    mask: Cell<u32>,
}

#[derive(Clone, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Event {
    fn size(&self) -> usize {
        EVENT_SIZE + self.padded_name()
    }

    /// The name, NUL included, in whole events' sizes; none is no bytes.
    fn padded_name(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(EVENT_SIZE) }
    }

    /// As `struct inotify_event`.
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; self.size()];
        let mut w = Writer::new(&mut out);
        w.u32(0, self.watch as u32);
        w.u32(4, self.mask);
        w.u32(8, self.cookie);
        w.u32(12, self.padded_name() as u32);
        w.bytes(EVENT_SIZE, &self.name);
        out
    }
}

impl Inotify {
    /// An instance without watches.
    pub fn new(vfs: &Rc<Vfs>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            vfs: Rc::clone(vfs),
            watches: RefCell::default(),
            last: Cell::new(0),
            queue: RefCell::default(),
            readable: WaitQueue::new(),
        })
    }

    /// inotify_add_watch(2), with the place resolved already.
    pub fn add(&self, inode: &Rc<dyn Inode>, mask: u32) -> Result<i32> {
        let wanted = mask & (0xfff | IN_ONESHOT);
        let meta = inode.metadata();
        let same = |watch: &&Rc<Watch>| {
            let other = watch.inode.metadata();
            (other.dev, other.ino) == (meta.dev, meta.ino)
        };
        if let Some(watch) = self.watches.borrow().values().find(same) {
            if mask & IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            let old = if mask & IN_MASK_ADD != 0 { watch.mask.get() } else { 0 };
            watch.mask.set(old | wanted);
            return Ok(watch.number);
        }
        if self.watches.borrow().len() >= WATCHES_MAX {
            return Err(Errno::ENOSPC);
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        let watch = Rc::new(Watch {
            instance: Weak::clone(&self.this),
            number,
            inode: Rc::clone(inode),
            mask: Cell::new(wanted),
        });
        let as_watcher: Rc<dyn Watcher> = Rc::clone(&watch) as Rc<dyn Watcher>;
        self.vfs.notifier.watch(inode, Rc::downgrade(&as_watcher));
        self.watches.borrow_mut().insert(number, watch);
        Ok(number)
    }

    /// inotify_rm_watch(2).
    pub fn remove(&self, number: i32) -> Result<()> {
        let watch = self.watches.borrow_mut().remove(&number).ok_or(Errno::EINVAL)?;
        self.push(Event { watch: number, mask: IGNORED, cookie: 0, name: Vec::new() });
        let inode = Rc::clone(&watch.inode);
        drop(watch);
        self.vfs.notifier.prune(&inode);
        Ok(())
    }

    fn push(&self, event: Event) {
        let mut queue = self.queue.borrow_mut();
        // An event that says the same as the last one says nothing new.
        if queue.back() == Some(&event) {
            return;
        }
        if queue.len() < QUEUE_MAX {
            queue.push_back(event);
        } else if queue.back().is_some_and(|last| last.mask != IN_Q_OVERFLOW) {
            queue.push_back(Event { watch: -1, mask: IN_Q_OVERFLOW, cookie: 0, name: Vec::new() });
        }
        drop(queue);
        self.readable.wake_all();
    }

    /// Whole events, as many as fit; EINVAL if not even one does, `None` if there is none.
    fn take(&self, buf: &mut [u8]) -> Option<Result<usize>> {
        let mut queue = self.queue.borrow_mut();
        let mut done = 0;
        while let Some(event) = queue.front() {
            let encoded = event.encode();
            let Some(room) = buf.get_mut(done..done + encoded.len()) else {
                return Some(if done > 0 { Ok(done) } else { Err(Errno::EINVAL) });
            };
            room.copy_from_slice(&encoded);
            done += encoded.len();
            queue.pop_front();
        }
        (done > 0).then_some(Ok(done))
    }
}

impl Watcher for Watch {
    fn mask(&self) -> u32 {
        self.mask.get()
    }

    fn event(&self, mask: u32, cookie: u32, name: Option<&[u8]>) {
        let Some(instance) = self.instance.upgrade() else { return };
        instance.push(Event { watch: self.number, mask, cookie, name: name.unwrap_or_default().to_vec() });
        if self.mask.get() & IN_ONESHOT != 0 {
            let _ = instance.remove(self.number);
        }
    }

    fn gone(&self) {
        let Some(instance) = self.instance.upgrade() else { return };
        instance.push(Event { watch: self.number, mask: IGNORED, cookie: 0, name: Vec::new() });
        let watch = instance.watches.borrow_mut().remove(&self.number);
        drop(watch);
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches = std::mem::take(self.watches.get_mut());
        for (_, watch) in watches {
            let inode = Rc::clone(&watch.inode);
            drop(watch);
            self.vfs.notifier.prune(&inode);
        }
    }
}

impl File for Inotify {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        match self.take(buf) {
            Some(done) => Io::ready(done),
            None if mode.nonblock => Io::ready(Err(Errno::EAGAIN)),
            None => Io::later(async move {
                loop {
                    let change = self.readable.wait();
                    if let Some(done) = self.take(buf) {
                        return done;
                    }
                    cx.interruptible(change).await?;
                }
            }),
        }
    }

    fn poll(&self, _interest: Ready) -> Ready {
        if self.queue.borrow().is_empty() { Ready::NONE } else { Ready::IN | Ready::RDNORM }
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.readable.wait())
    }

    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        if request != ioctl::FIONREAD {
            return Io::ready(Err(Errno::ENOTTY));
        }
        let size: usize = self.queue.borrow().iter().map(Event::size).sum();
        Io::later(async move {
            cx.write_u32(arg, u32::try_from(size).unwrap_or(u32::MAX)).await?;
            Ok(0)
        })
    }

    fn description(&self) -> Option<String> {
        Some("anon_inode:inotify".to_owned())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn names_are_padded_to_the_size_of_an_event() {
        let event = Event { watch: 1, mask: 2, cookie: 0, name: b"a".to_vec() };
        // struct inotify_event of the host for the name "a": 16 bytes and 16 for the name.
        assert_eq!(event.encode(), [&[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, b'a'][..], &[0; 15]].concat());
    }
}
