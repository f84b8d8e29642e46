//! Asynchronous I/O as io_submit(2) has it: requests are done when they are submitted, which Linux may do too.
//!
//! A context's number is the address of a page in the caller's memory: libaio looks there for a ring before it calls
//! io_getevents(2), and finds none.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use linux_abi::layout::{Reader, Writer};
use linux_abi::mman::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use linux_abi::time::Timespec;
use vm_rt::{Either, WaitQueue, first_of};

use super::read_write;
use super::sync::sync_file;
use super::table::{Args, Row, wait};
use super::time::{read_timespec32, read_timespec64};
use crate::fs::eventfd::EventFd;
use crate::mm::Mm;
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(245, "io_setup", io_setup),
    wait!(246, "io_destroy", io_destroy),
    wait!(247, "io_getevents", io_getevents),
    wait!(248, "io_submit", io_submit, "done when submitted; no IOCB_CMD_POLL"),
    wait!(249, "io_cancel", io_cancel, "nothing is ever left to cancel"),
    wait!(385, "io_pgetevents", io_getevents, "the signal mask is ignored"),
    wait!(416, "io_pgetevents_time64", io_pgetevents_time64, "the signal mask is ignored"),
];

/// /proc/sys/fs/aio-max-nr
const MAX_REQUESTS: u32 = 65_536;
const PAGE: u64 = 4096;

/// One finished request.
struct Event {
    data: u64,
    request: u64,
    result: i64,
}

/// A context.
struct Context {
    owner: Weak<Mm>,
    events: RefCell<VecDeque<Event>>,
    most: usize,
    added: WaitQueue,
}

/// All contexts, by address space and number.
#[derive(Default)]
pub(crate) struct Contexts(RefCell<BTreeMap<(u32, u64), Rc<Context>>>);

impl Contexts {
    fn find(&self, cx: &SyscallCx, number: u64) -> Result<Rc<Context>> {
        self.0.borrow().get(&(cx.mm().id().0, number)).cloned().ok_or(Errno::EINVAL)
    }

    /// Forgets those whose address space is gone.
    fn purge(&self) {
        self.0.borrow_mut().retain(|_, context| context.owner.strong_count() > 0);
    }
}

async fn io_setup(cx: &SyscallCx, [most, at, ..]: Args) -> Result<i64> {
    let most = most as u32;
    if cx.read_u32(at).await? != 0 || most == 0 {
        return Err(Errno::EINVAL);
    }
    if most > MAX_REQUESTS {
        return Err(Errno::EAGAIN);
    }
    let contexts = &cx.kernel.aio;
    contexts.purge();
    let mm = cx.mm();
    let number = mm.mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, None, 0).await?;
    let context =
        Context { owner: Rc::downgrade(&mm), events: RefCell::default(), most: most as usize, added: WaitQueue::new() };
    contexts.0.borrow_mut().insert((mm.id().0, number), Rc::new(context));
    cx.write_u32(at, number as u32).await?;
    Ok(0)
}

async fn io_destroy(cx: &SyscallCx, [number, ..]: Args) -> Result<i64> {
    let mm = cx.mm();
    let removed = cx.kernel.aio.0.borrow_mut().remove(&(mm.id().0, number)).ok_or(Errno::EINVAL)?;
    removed.added.wake_all();
    // The caller may have unmapped the page itself.
    let _ = mm.munmap(number, PAGE);
    Ok(0)
}

async fn io_submit(cx: &SyscallCx, [number, count, at, ..]: Args) -> Result<i64> {
    let context = cx.kernel.aio.find(cx, number)?;
    let count = usize::try_from(count as i32).map_err(|_| Errno::EINVAL)?;
    let mut done = 0;
    for index in 0..count {
        let submitted = async {
            if context.events.borrow().len() >= context.most {
                return Err(Errno::EAGAIN);
            }
            let request = u64::from(cx.read_u32(at.wrapping_add(4 * index as u64)).await?);
            submit(cx, &context, request).await
        };
        match submitted.await {
            Ok(()) => done += 1,
            // What was submitted before counts; only the first one's error shows.
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Commands of `struct iocb`.
mod command {
    pub(super) const PREAD: u16 = 0;
    pub(super) const PWRITE: u16 = 1;
    pub(super) const FSYNC: u16 = 2;
    pub(super) const FDSYNC: u16 = 3;
    pub(super) const NOOP: u16 = 6;
    pub(super) const PREADV: u16 = 7;
    pub(super) const PWRITEV: u16 = 8;
}

async fn submit(cx: &SyscallCx, context: &Context, request: u64) -> Result<()> {
    const FLAG_RESFD: u32 = 1;
    let mut raw = [0; 64];
    cx.read_user(request, &mut raw).await?;
    let r = Reader::new(&raw);
    let (data, opcode, fd) = (r.u64(0), r.u16(16), u64::from(r.u32(20)));
    let (buffer, len, offset) = (r.u64(24), r.u64(32), r.u64(40));
    if r.u64(48) != 0 {
        return Err(Errno::EINVAL);
    }
    let told = if r.u32(56) & FLAG_RESFD != 0 {
        let file = cx.files().get(r.u32(60) as i32)?;
        file.downcast::<EventFd>().ok_or(Errno::EINVAL)?;
        Some(file)
    } else {
        None
    };
    let file = cx.files().get(fd as i32)?;
    let args = [fd, buffer, len, offset & 0xffff_ffff, offset >> 32, 0];
    let result = match opcode {
        command::PREAD => read_write::pread64(cx, args).await,
        command::PWRITE => read_write::pwrite64(cx, args).await,
        command::PREADV => read_write::preadv(cx, args).await,
        command::PWRITEV => read_write::pwritev(cx, args).await,
        command::FSYNC | command::FDSYNC => sync_file(&file).await.map(|()| 0),
        command::NOOP => Ok(0),
        other => {
            cx.kernel.count_missing("io_submit command", other, cx.task.comm_text());
            return Err(Errno::EINVAL);
        }
    };
    // A bad descriptor is an error of the call, not of the request.
    if result == Err(Errno::EBADF) {
        return Err(Errno::EBADF);
    }
    let result = result.unwrap_or_else(|error| -i64::from(error.number()));
    context.events.borrow_mut().push_back(Event { data, request, result });
    context.added.wake_all();
    if let Some(counter) = told.as_ref().and_then(|file| file.downcast::<EventFd>()) {
        counter.signal();
    }
    Ok(())
}

async fn io_getevents(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = if args[4] == 0 { None } else { Some(read_timespec32(cx, args[4]).await?) };
    take(cx, args, timeout).await
}

async fn io_pgetevents_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = if args[4] == 0 { None } else { Some(read_timespec64(cx, args[4]).await?) };
    take(cx, args, timeout).await
}

async fn take(cx: &SyscallCx, [number, least, most, to, ..]: Args, timeout: Option<Timespec>) -> Result<i64> {
    const EVENT: u64 = 32;
    let context = cx.kernel.aio.find(cx, number)?;
    let (least, most) = (least as i32, most as i32);
    if least < 0 || most < 0 || least > most {
        return Err(Errno::EINVAL);
    }
    let deadline = timeout.map(|timeout| cx.kernel.now_monotonic().saturating_add(timeout.to_duration()));
    let mut taken = 0;
    loop {
        let added = context.added.wait();
        while taken < i64::from(most) {
            let Some(event) = context.events.borrow_mut().pop_front() else { break };
            let mut raw = [0; EVENT as usize];
            let mut w = Writer::new(&mut raw);
            w.u64(0, event.data);
            w.u64(8, event.request);
            w.u64(16, event.result as u64);
            cx.write_user(to.wrapping_add(EVENT * taken as u64), &raw).await?;
            taken += 1;
        }
        if taken >= i64::from(least) {
            return Ok(taken);
        }
        let waited = match deadline {
            None => cx.interruptible(added).await.map(|()| true),
            Some(deadline) => {
                let wait = first_of(added, cx.kernel.timers.sleep_until(deadline));
                cx.interruptible(wait).await.map(|first| matches!(first, Either::First(_)))
            }
        };
        match waited {
            Ok(true) => {}
            Ok(false) => return Ok(taken),
            Err(_) if taken > 0 => return Ok(taken),
            // Never restarted (signal(7)).
            Err(_) => return Err(Errno::EINTR),
        }
    }
}

async fn io_cancel(cx: &SyscallCx, [number, ..]: Args) -> Result<i64> {
    cx.kernel.aio.find(cx, number)?;
    Err(Errno::EINVAL)
}
