//! Messages of Unix sockets: datagrams and seqpacket records.

use std::rc::Rc;

use linux_abi::socket::{MSG_OOB, MSG_PEEK, SOCK_DGRAM, SOCK_SEQPACKET, SockAddr, UnixName};
use vm_rt::{Io, first_of};

use super::address::{bind_automatically, find};
use super::{Charge, Message, State, Unix};
use crate::net::protocol::{Incoming, Outgoing, Wanted, shut};
use crate::{Errno, Result, SyscallCx};

/// Whether two sockets are connected to each other.
pub(super) fn is_mutual(a: &Unix, b: &Unix) -> bool {
    b.peer.borrow().as_ref().is_some_and(|peer| std::ptr::eq(Rc::as_ptr(peer), a))
}

/// Whether as many messages wait as may.
pub(super) fn is_full(unix: &Unix) -> bool {
    unix.queue.borrow().len() > unix.backlog.get()
}

/// What a message of this length costs the send buffer: Linux's bookkeeping goes with the bytes.
fn cost(len: usize) -> usize {
    const HEAD: usize = 256;
    const TAIL: usize = 320;
    HEAD + if len < 16 * 1024 { (len + TAIL).next_power_of_two().max(512) } else { len + TAIL }
}

/// connect(2) of a datagram socket: sets where messages go and whose are taken.
pub(super) async fn connect(unix: &Unix, cx: &SyscallCx, address: SockAddr) -> Result<()> {
    let name = match address {
        SockAddr::Unspec => {
            drop(unix.peer.take());
            unix.state.set(State::Unconnected);
            return Ok(());
        }
        SockAddr::Unix(UnixName::Unnamed) => return Err(Errno::EINVAL),
        SockAddr::Unix(name) => name,
        _ => return Err(Errno::EINVAL),
    };
    if unix.common.passes_credentials.get() && *unix.name.borrow() == UnixName::Unnamed {
        bind_automatically(unix, cx)?;
    }
    let other = find(cx, &name).await?;
    check(unix, &other)?;
    // What the old peer sent is not what was asked for.
    let mutual = is_mutual(unix, &other);
    let old = unix.peer.replace(Some(other));
    if old.is_some() && !mutual {
        unix.queue.borrow_mut().clear();
    }
    unix.state.set(State::Connected);
    Ok(())
}

/// Whether messages may go from one to the other.
fn check(unix: &Unix, other: &Unix) -> Result<()> {
    if other.common.kind != unix.common.kind {
        return Err(Errno::EPROTOTYPE);
    }
    let taken = other.common.kind == SOCK_DGRAM
        && other.peer.borrow().as_ref().is_some_and(|peer| !std::ptr::eq(Rc::as_ptr(peer), unix));
    if taken { Err(Errno::EPERM) } else { Ok(()) }
}

async fn target(unix: &Unix, cx: &SyscallCx, to: Option<&SockAddr>) -> Result<Rc<Unix>> {
    if unix.common.kind == SOCK_SEQPACKET {
        return unix.peer_now().filter(|_| unix.state.get() == State::Connected).ok_or(Errno::ENOTCONN);
    }
    match to {
        None => unix.peer_now().ok_or(Errno::ENOTCONN),
        Some(SockAddr::Unix(UnixName::Unnamed)) => Err(Errno::EINVAL),
        Some(SockAddr::Unix(name)) => find(cx, name).await,
        Some(_) => Err(Errno::EINVAL),
    }
}

/// send(2).
pub(super) async fn send(unix: &Unix, cx: &SyscallCx, mut message: Outgoing<'_>) -> Result<usize> {
    if message.flags & MSG_OOB != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if unix.common.passes_credentials.get() && *unix.name.borrow() == UnixName::Unnamed {
        bind_automatically(unix, cx)?;
    }
    let buffer = &unix.common.send_buffer;
    if message.data.len() > buffer.limit.get().saturating_sub(32) {
        return Err(Errno::EMSGSIZE);
    }
    let cost = cost(message.data.len());
    loop {
        let other = target(unix, cx, message.to.as_ref()).await?;
        // Registered before looking, so that no change is missed.
        let (room, there) = (buffer.room.wait(), other.queue_room.wait());
        if unix.shut_has(shut::WRITE) {
            return Err(Errno::EPIPE);
        }
        if other.dead.get() {
            if unix.common.kind == SOCK_SEQPACKET {
                return Err(Errno::EPIPE);
            }
            if message.to.is_none() {
                drop(unix.peer.take());
                unix.state.set(State::Unconnected);
            }
            return Err(Errno::ECONNREFUSED);
        }
        check(unix, &other)?;
        if other.shut_has(shut::READ) {
            return Err(Errno::EPIPE);
        }
        let scarce = unix.net.allowance(buffer.limit.get()) < buffer.used().saturating_add(cost);
        let no_room = buffer.used() >= buffer.limit.get() || (scarce && buffer.used() > 0);
        let full = !is_mutual(unix, &other) && is_full(&other);
        if no_room || full {
            let change = async {
                first_of(room, there).await;
            };
            message.patience.wait(cx, change).await?;
            continue;
        }
        let mut ancillary = std::mem::take(&mut message.ancillary);
        if ancillary.creds.is_none() {
            ancillary.creds = unix.credentials_for(cx, &other);
        }
        other.enqueue(Message {
            data: message.data.to_vec(),
            taken: 0,
            from: unix.name.borrow().clone(),
            ancillary,
            charge: Charge::new(buffer, cost),
        });
        return Ok(message.data.len());
    }
}

fn take(unix: &Unix, wanted: Wanted) -> Option<Incoming> {
    let named = unix.common.kind == SOCK_DGRAM;
    let from = |name: &UnixName| (named && *name != UnixName::Unnamed).then(|| SockAddr::Unix(name.clone()));
    let mut queue = unix.queue.borrow_mut();
    if wanted.flags & MSG_PEEK != 0 {
        let message = queue.front()?;
        return Some(Incoming {
            data: message.data.get(..wanted.max).unwrap_or(&message.data).to_vec(),
            full_len: message.data.len(),
            from: from(&message.from),
            ancillary: message.ancillary.clone(),
            ..Incoming::default()
        });
    }
    let mut message = queue.pop_front()?;
    drop(queue);
    unix.queue_room.wake_all();
    let full_len = message.data.len();
    message.data.truncate(wanted.max);
    Some(Incoming {
        data: std::mem::take(&mut message.data),
        full_len,
        from: from(&message.from),
        ancillary: std::mem::take(&mut message.ancillary),
        ..Incoming::default()
    })
}

fn try_receive(unix: &Unix, wanted: Wanted) -> Option<Result<Incoming>> {
    if let Some(errno) = unix.error.take() {
        return Some(Err(errno));
    }
    if let Some(incoming) = take(unix, wanted) {
        return Some(Ok(incoming));
    }
    // A connection has an end; of a socket for datagrams only a call that waits is told.
    let told = unix.common.kind == SOCK_SEQPACKET || !wanted.patience.nonblock;
    (unix.shut_has(shut::READ) && told).then(|| Ok(Incoming::default()))
}

/// recv(2).
pub(super) fn receive<'a>(unix: &'a Unix, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>> {
    if unix.common.kind == SOCK_SEQPACKET && unix.state.get() != State::Connected {
        return Io::ready(Err(Errno::ENOTCONN));
    }
    if wanted.flags & MSG_OOB != 0 {
        return Io::ready(Err(Errno::EOPNOTSUPP));
    }
    if let Some(done) = try_receive(unix, wanted) {
        return Io::ready(done);
    }
    if wanted.patience.nonblock {
        return Io::ready(Err(Errno::EAGAIN));
    }
    Io::later(async move {
        loop {
            let change = unix.readable.wait();
            if let Some(done) = try_receive(unix, wanted) {
                return done;
            }
            wanted.patience.wait(cx, change).await?;
        }
    })
}
