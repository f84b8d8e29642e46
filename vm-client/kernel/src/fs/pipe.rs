//! Pipes and fifos (pipe(7), fifo(7)).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use linux_abi::fcntl::{O_ACCMODE, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY};
use linux_abi::poll::Ready;
use linux_abi::siginfo::SigInfo;
use linux_abi::signal::Signal;
use linux_abi::{ioctl, stat};
use vm_rt::{Io, WaitQueue};

use crate::vfs::{Anonymous, File, Inode, IoMode, OpenFile, OpenFlags};
use crate::{Errno, Result, SyscallCx};
use vm_rt::first_of;

/// A write of at most this much is done in one piece.
const PIPE_BUF: usize = 4096;
const DEFAULT_CAPACITY: usize = 64 * 1024;
/// The most a process without CAP_SYS_RESOURCE may ask for (fs.pipe-max-size).
pub const MAX_CAPACITY: usize = 1024 * 1024;

/// Bytes that all pipes together hold at most; beyond it each holds a page, as Linux does it for a user's pipes. They are
/// host memory, which the guest's memory does not bound.
const TOTAL_SOFT_LIMIT: usize = 16 * 1024 * 1024;

/// The ring between the ends.
pub struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    /// What all pipes hold.
    total: Rc<Cell<usize>>,
    capacity: Cell<usize>,
    readers: Cell<u32>,
    writers: Cell<u32>,
    /// How many readers and writers there ever were, to see those that came and went.
    readers_ever: Cell<u64>,
    writers_ever: Cell<u64>,
    /// It has no name: it was made by pipe(2), and opening it again through /proc waits for nobody.
    unnamed: Cell<bool>,
    readable: WaitQueue,
    writable: WaitQueue,
}

impl Pipe {
    fn new(total: &Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            bytes: RefCell::default(),
            total: Rc::clone(total),
            capacity: Cell::new(DEFAULT_CAPACITY),
            readers: Cell::new(0),
            writers: Cell::new(0),
            readers_ever: Cell::new(0),
            writers_ever: Cell::new(0),
            unnamed: Cell::new(false),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        })
    }

    fn free(&self) -> usize {
        let capacity = if self.total.get() < TOTAL_SOFT_LIMIT { self.capacity.get() } else { PIPE_BUF };
        capacity.saturating_sub(self.bytes.borrow().len())
    }

    fn append(&self, data: &[u8]) -> Result<()> {
        let mut bytes = self.bytes.borrow_mut();
        bytes.try_reserve(data.len()).map_err(|_| Errno::ENOMEM)?;
        bytes.extend(data);
        self.total.set(self.total.get() + data.len());
        drop(bytes);
        self.readable.wake_all();
        Ok(())
    }

    /// Takes bytes out; `None` if a writer may still bring some.
    fn take(&self, buf: &mut [u8]) -> Option<usize> {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_empty() {
            return (self.writers.get() == 0).then_some(0);
        }
        let count = buf.len().min(bytes.len());
        let (front, back) = bytes.as_slices();
        let from_front = count.min(front.len());
        buf[..from_front].copy_from_slice(&front[..from_front]);
        buf[from_front..count].copy_from_slice(&back[..count - from_front]);
        bytes.drain(..count);
        if bytes.is_empty() {
            // An idle pipe holds no memory.
            *bytes = VecDeque::new();
        }
        self.total.set(self.total.get().saturating_sub(count));
        drop(bytes);
        self.writable.wake_all();
        Some(count)
    }

    /// Puts bytes in, as many as fit; small writes go in whole or not at all.
    fn put(&self, data: &[u8]) -> Result<usize> {
        let free = self.free();
        let count = if data.len() <= PIPE_BUF && free < data.len() { 0 } else { free.min(data.len()) };
        if count > 0 {
            self.append(&data[..count])?;
        }
        Ok(count)
    }

    /// What is in it, without taking it (tee(2)).
    pub fn peek(&self, max: usize) -> Vec<u8> {
        self.bytes.borrow().iter().take(max).copied().collect()
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// F_GETPIPE_SZ.
    pub fn capacity(&self) -> usize {
        self.capacity.get()
    }

    /// F_SETPIPE_SZ: at least a page, a power of two; EBUSY if what is in it would not fit.
    pub fn set_capacity(&self, wanted: usize) -> Result<usize> {
        let capacity = wanted.max(4096).checked_next_power_of_two().ok_or(Errno::EINVAL)?;
        if capacity < self.len() {
            return Err(Errno::EBUSY);
        }
        self.capacity.set(capacity);
        self.writable.wake_all();
        Ok(capacity)
    }
}

/// One end of a pipe, or both (a fifo opened for reading and writing).
pub struct PipeEnd {
    pipe: Rc<Pipe>,
    reads: bool,
    writes: bool,
    /// Writers there ever were when it was opened: a reader that has not seen one yet gets no hang-up.
    writers_before: u64,
}

impl PipeEnd {
    fn new(pipe: &Rc<Pipe>, access: u32) -> Self {
        let (reads, writes) = (access != O_WRONLY, access != O_RDONLY);
        let writers_before = pipe.writers_ever.get();
        if reads {
            pipe.readers.set(pipe.readers.get() + 1);
            pipe.readers_ever.set(pipe.readers_ever.get() + 1);
        }
        if writes {
            pipe.writers.set(pipe.writers.get() + 1);
            pipe.writers_ever.set(pipe.writers_ever.get() + 1);
        }
        pipe.readable.wake_all();
        pipe.writable.wake_all();
        Self { pipe: Rc::clone(pipe), reads, writes, writers_before }
    }

    /// The pipe behind it.
    pub fn pipe(&self) -> &Rc<Pipe> {
        &self.pipe
    }

    async fn read_waiting(&self, cx: &SyscallCx, buf: &mut [u8]) -> Result<usize> {
        loop {
            let wait = self.pipe.readable.wait();
            if let Some(count) = self.pipe.take(buf) {
                return Ok(count);
            }
            cx.interruptible(wait).await?;
        }
    }

    async fn write_waiting(&self, cx: &SyscallCx, data: &[u8], mut done: usize) -> Result<usize> {
        while done < data.len() {
            let wait = self.pipe.writable.wait();
            if self.pipe.readers.get() == 0 {
                return if done > 0 { Ok(done) } else { Err(broken(cx)) };
            }
            // Once a large write has begun, its last piece need not go in whole.
            let rest = &data[done..];
            let room = self.pipe.free();
            let count = match self.pipe.put(rest) {
                Ok(0) if done > 0 && room > 0 => {
                    let part = &rest[..room.min(rest.len())];
                    self.pipe.append(part).map(|()| part.len())
                }
                other => other,
            };
            match count {
                Ok(0) => {}
                Ok(count) => {
                    done += count;
                    continue;
                }
                Err(_) if done > 0 => return Ok(done),
                Err(errno) => return Err(errno),
            }
            if let Err(errno) = cx.interruptible(wait).await {
                return if done > 0 { Ok(done) } else { Err(errno) };
            }
        }
        Ok(done)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.total.set(self.total.get().saturating_sub(self.bytes.get_mut().len()));
    }
}

fn broken(cx: &SyscallCx) -> Errno {
    cx.kernel.send_signal_task(&cx.task, SigInfo::kernel(Signal::PIPE));
    Errno::EPIPE
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.reads {
            self.pipe.readers.set(self.pipe.readers.get() - 1);
        }
        if self.writes {
            self.pipe.writers.set(self.pipe.writers.get() - 1);
        }
        self.pipe.readable.wake_all();
        self.pipe.writable.wake_all();
    }
}

impl File for PipeEnd {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        if buf.is_empty() {
            return Io::ready(Ok(0));
        }
        match self.pipe.take(buf) {
            Some(count) => Io::ready(Ok(count)),
            None if mode.nonblock => Io::ready(Err(Errno::EAGAIN)),
            None => Io::later(self.read_waiting(cx, buf)),
        }
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        if data.is_empty() {
            return Io::ready(Ok(0));
        }
        if self.pipe.readers.get() == 0 {
            return Io::ready(Err(broken(cx)));
        }
        match self.pipe.put(data) {
            Ok(count) if count == data.len() => Io::ready(Ok(count)),
            Ok(0) if mode.nonblock => Io::ready(Err(Errno::EAGAIN)),
            Ok(count) if mode.nonblock => Io::ready(Ok(count)),
            Ok(count) => Io::later(self.write_waiting(cx, data, count)),
            Err(errno) => Io::ready(Err(errno)),
        }
    }

    fn poll(&self, _interest: Ready) -> Ready {
        let mut ready = Ready::NONE;
        if self.reads {
            if !self.pipe.is_empty() {
                ready |= Ready::IN | Ready::RDNORM;
            }
            if self.pipe.writers.get() == 0 && self.pipe.writers_ever.get() != self.writers_before {
                ready |= Ready::HUP;
            }
        }
        if self.writes {
            if self.pipe.free() >= PIPE_BUF {
                ready |= Ready::OUT | Ready::WRNORM;
            }
            if self.pipe.readers.get() == 0 {
                ready |= Ready::ERR;
            }
        }
        ready
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        match (self.reads, self.writes) {
            (true, false) => Io::later(self.pipe.readable.wait()),
            (false, _) => Io::later(self.pipe.writable.wait()),
            (true, true) => {
                let (readable, writable) = (self.pipe.readable.wait(), self.pipe.writable.wait());
                Io::later(async move {
                    first_of(readable, writable).await;
                })
            }
        }
    }

    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        if request != ioctl::FIONREAD {
            return Io::ready(Err(Errno::ENOTTY));
        }
        let waiting = u32::try_from(self.pipe.len()).unwrap_or(u32::MAX);
        Io::later(async move {
            cx.write_u32(arg, waiting).await?;
            Ok(0)
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// pipe2(2): the reading and the writing end.
pub fn open_pipe(cx: &SyscallCx, flags: OpenFlags) -> (Rc<OpenFile>, Rc<OpenFile>) {
    let vfs = &cx.kernel.vfs;
    let pipe = Pipe::new(&vfs.pipes.total);
    let reader = Rc::new(PipeEnd::new(&pipe, O_RDONLY));
    let writer = Rc::new(PipeEnd::new(&pipe, O_WRONLY));
    let path = vfs.anonymous_path(Anonymous::Pipe, stat::S_IFIFO | 0o600, &cx.creds(), cx.now());
    pipe.unnamed.set(true);
    vfs.pipes.insert(path.inode(), &pipe);
    let open = |end: Rc<PipeEnd>, access: u32| {
        OpenFile::new(vfs, end, path.clone(), OpenFlags((flags.0 & !O_ACCMODE) | access))
    };
    (open(reader, O_RDONLY), open(writer, O_WRONLY))
}

/// Opens a fifo, waiting for the other end where open(2) does.
pub(crate) async fn open_fifo(cx: &SyscallCx, inode: &Rc<dyn Inode>, flags: OpenFlags) -> Result<Rc<dyn File>> {
    let pipe = cx.kernel.vfs.pipes.find_or_create(inode);
    let access = flags.0 & O_ACCMODE;
    let nonblock = flags.has(O_NONBLOCK);
    if access == O_WRONLY && nonblock && pipe.readers.get() == 0 {
        return Err(Errno::ENXIO);
    }
    let (readers_before, writers_before) = (pipe.readers_ever.get(), pipe.writers_ever.get());
    let end = Rc::new(PipeEnd::new(&pipe, access));
    if nonblock || access == O_RDWR || pipe.unnamed.get() {
        return Ok(end);
    }
    loop {
        let (wait, met) = if access == O_RDONLY {
            (pipe.readable.wait(), pipe.writers.get() > 0 || pipe.writers_ever.get() != writers_before)
        } else {
            (pipe.writable.wait(), pipe.readers.get() > 0 || pipe.readers_ever.get() != readers_before)
        };
        if met {
            return Ok(end);
        }
        cx.interruptible(wait).await?;
    }
}

/// Pipes in use by inode: every open of a fifo, and of /proc/PID/fd/N, finds the same one.
#[derive(Default)]
pub struct Pipes {
    by_inode: RefCell<HashMap<(u64, u64), Weak<Pipe>>>,
    total: Rc<Cell<usize>>,
}

impl Pipes {
    fn insert(&self, inode: &Rc<dyn Inode>, pipe: &Rc<Pipe>) {
        let meta = inode.metadata();
        let mut by_inode = self.by_inode.borrow_mut();
        if by_inode.len() == by_inode.capacity() {
            by_inode.retain(|_, pipe| pipe.strong_count() > 0);
        }
        by_inode.insert((meta.dev, meta.ino), Rc::downgrade(pipe));
    }

    fn find_or_create(&self, inode: &Rc<dyn Inode>) -> Rc<Pipe> {
        let meta = inode.metadata();
        let found = self.by_inode.borrow().get(&(meta.dev, meta.ino)).and_then(Weak::upgrade);
        found.unwrap_or_else(|| {
            let pipe = Pipe::new(&self.total);
            self.insert(inode, &pipe);
            pipe
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_writes_go_in_whole_or_not_at_all() {
        let pipe = Pipe::new(&Rc::default());
        assert_eq!(pipe.put(&vec![1; DEFAULT_CAPACITY - 100]), Ok(DEFAULT_CAPACITY - 100));
        assert_eq!(pipe.put(&[2; 101]), Ok(0));
        assert_eq!(pipe.put(&[2; PIPE_BUF + 1]), Ok(100));
        let mut buf = vec![0; DEFAULT_CAPACITY];
        pipe.writers.set(1);
        assert_eq!(pipe.take(&mut buf), Some(DEFAULT_CAPACITY));
        assert_eq!(buf[DEFAULT_CAPACITY - 101..DEFAULT_CAPACITY - 99], [1, 2]);
        assert_eq!(pipe.take(&mut buf), None);
        pipe.writers.set(0);
        assert_eq!(pipe.take(&mut buf), Some(0));
    }

    #[test]
    fn beyond_the_limit_of_all_pipes_each_holds_a_page() {
        let total = Rc::new(Cell::new(TOTAL_SOFT_LIMIT));
        let pipe = Pipe::new(&total);
        assert_eq!(pipe.put(&[0; 10_000]), Ok(PIPE_BUF));
        drop(pipe);
        assert_eq!(total.get(), TOTAL_SOFT_LIMIT);
    }

    #[test]
    fn a_reader_hangs_up_only_after_it_saw_a_writer() {
        let pipe = Pipe::new(&Rc::default());
        let reader = PipeEnd::new(&pipe, O_RDONLY);
        assert_eq!(reader.poll(Ready::IN), Ready::NONE);
        drop(PipeEnd::new(&pipe, O_WRONLY));
        assert_eq!(reader.poll(Ready::IN), Ready::HUP);
    }

    #[test]
    fn a_capacity_is_a_power_of_two_pages_and_holds_what_is_there() {
        let pipe = Pipe::new(&Rc::default());
        assert_eq!(pipe.set_capacity(5000), Ok(8192));
        assert_eq!(pipe.put(&[0; 8000]), Ok(8000));
        assert_eq!(pipe.set_capacity(4096), Err(Errno::EBUSY));
    }
}
