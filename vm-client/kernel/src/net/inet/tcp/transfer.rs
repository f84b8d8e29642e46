//! Bytes over a connection.

use linux_abi::socket::{MSG_OOB, MSG_PEEK, MSG_TRUNC, SO_OOBINLINE, SO_RCVLOWAT, SOL_SOCKET};
use vm_rt::Io;

use super::{State, Tcp};
use crate::net::protocol::{Incoming, Outgoing, Wanted, shut};
use crate::{Errno, Result, SyscallCx};

fn is_inline(tcp: &Tcp) -> bool {
    tcp.common.is_on(SOL_SOCKET, SO_OOBINLINE)
}

/// Bytes that can be read before the urgent mark.
pub(super) fn waiting(tcp: &Tcp) -> usize {
    let len = tcp.queue.borrow().len();
    match tcp.urgent.get() {
        Some((at, _)) if !is_inline(tcp) && at >= tcp.received.get() => len.min((at - tcp.received.get()) as usize),
        _ => len,
    }
}

/// As many bytes as a reader wants to be woken for.
fn low_mark(tcp: &Tcp) -> usize {
    tcp.common.value(SOL_SOCKET, SO_RCVLOWAT).max(1) as usize
}

/// Whether poll(2) calls the socket readable.
pub(super) fn is_readable(tcp: &Tcp) -> bool {
    has(tcp, low_mark(tcp))
}

/// Whether as many bytes wait, the urgent one aside.
fn has(tcp: &Tcp, low: usize) -> bool {
    let mut len = tcp.queue.borrow().len();
    if let Some((at, _)) = tcp.urgent.get()
        && at == tcp.received.get()
        && !is_inline(tcp)
    {
        len = len.saturating_sub(1);
    }
    len >= low
}

/// Whether the socket can be sent on now; `None` if the connection is not there yet.
fn check_send(tcp: &Tcp) -> Option<Result<()>> {
    let broken = || Err(tcp.error.take().unwrap_or(Errno::EPIPE));
    match tcp.state.get() {
        State::SynSent => return None,
        State::Established | State::CloseWait => {}
        _ => return Some(broken()),
    }
    Some(if tcp.error.get().is_some() || tcp.is_shut(shut::WRITE) { broken() } else { Ok(()) })
}

/// Sends what there is room for.
fn put(tcp: &Tcp, data: &[u8], urgent: bool) -> Result<usize> {
    let Some(peer) = tcp.peer_now() else {
        // The other end is closed: it answers with a RST, which the next call will see.
        tcp.reset_arrived();
        return Ok(data.len());
    };
    if peer.state.get() == State::FinWait2 && peer.is_shut(shut::READ) {
        // It neither sends nor receives any more.
        tcp.send_reset();
        tcp.error.set(Some(Errno::EPIPE));
        return Ok(data.len());
    }
    let buffer = &tcp.common.send_buffer;
    let room = tcp.net.allowance(buffer.limit.get()).saturating_sub(buffer.used());
    let piece = data.get(..room.min(data.len())).unwrap_or(data);
    if piece.is_empty() {
        return Ok(0);
    }
    let mut queue = peer.queue.borrow_mut();
    queue.try_reserve(piece.len()).map_err(|_| Errno::ENOBUFS)?;
    queue.extend(piece);
    let end = peer.received.get() + queue.len() as u64;
    drop(queue);
    if let Some(charge) = &mut *peer.charge.borrow_mut() {
        charge.add(piece.len());
    }
    tcp.sent.set(tcp.sent.get() + piece.len() as u64);
    tcp.net.loopback.count(piece.len() + 52);
    if urgent && piece.len() == data.len() {
        peer.urgent.set(Some((end - 1, piece.last().copied())));
    }
    peer.readable.wake_all();
    Ok(piece.len())
}

/// send(2).
pub(super) fn send<'a>(tcp: &'a Tcp, cx: &'a SyscallCx, message: Outgoing<'a>) -> Io<'a, Result<usize>> {
    let urgent = message.flags & MSG_OOB != 0;
    let mut done = 0;
    match check_send(tcp) {
        Some(Err(errno)) => return Io::ready(Err(errno)),
        Some(Ok(())) => match put(tcp, message.data, urgent) {
            Ok(count) if count == message.data.len() => return Io::ready(Ok(count)),
            Ok(count) => done = count,
            Err(errno) => return Io::ready(Err(errno)),
        },
        None => {}
    }
    Io::later(async move {
        loop {
            let (room, change) = (tcp.common.send_buffer.room.wait(), tcp.readable.wait());
            let rest = message.data.get(done..).unwrap_or_default();
            let step = match check_send(tcp) {
                None => Ok(0),
                Some(Ok(())) => put(tcp, rest, urgent),
                Some(Err(errno)) => Err(errno),
            };
            let result = match step {
                Ok(0) if tcp.state.get() == State::SynSent => message.patience.wait(cx, change).await,
                Ok(0) => message.patience.wait(cx, room).await,
                Ok(count) => {
                    done += count;
                    if done >= message.data.len() {
                        return Ok(done);
                    }
                    Ok(())
                }
                Err(errno) => Err(errno),
            };
            match result {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(errno) => return Err(errno),
            }
        }
    })
}

/// Takes bytes up to the urgent mark, which is not passed by a read that has something.
fn take(tcp: &Tcp, max: usize, peek: bool) -> Vec<u8> {
    let mut queue = tcp.queue.borrow_mut();
    let mut skip = 0;
    let mut limit = queue.len();
    if let Some((at, _)) = tcp.urgent.get() {
        let ahead = at.saturating_sub(tcp.received.get()) as usize;
        if at == tcp.received.get() && !is_inline(tcp) && limit > 0 {
            skip = 1;
        } else if at > tcp.received.get() {
            limit = limit.min(ahead);
        }
    }
    let end = limit.min(skip + max);
    let data: Vec<u8> = {
        let (front, back) = queue.as_slices();
        let split = front.len();
        let one = front.get(skip.min(split)..end.min(split)).unwrap_or_default();
        let two = back.get(skip.saturating_sub(split)..end.saturating_sub(split)).unwrap_or_default();
        [one, two].concat()
    };
    // The byte at the mark goes only with something behind it.
    let gone = if peek || data.is_empty() { 0 } else { end };
    queue.drain(..gone);
    if queue.is_empty() && gone > 0 {
        // A connection at rest holds no memory.
        *queue = std::collections::VecDeque::new();
    }
    drop(queue);
    if gone > 0 {
        tcp.received.set(tcp.received.get() + gone as u64);
        if tcp.urgent.get().is_some_and(|(at, _)| at < tcp.received.get()) {
            tcp.urgent.set(None);
        }
        let charge = tcp.charge.take();
        if let Some(mut charge) = charge {
            charge.give_back(gone);
            *tcp.charge.borrow_mut() = Some(charge);
        }
    }
    data
}

fn take_urgent(tcp: &Tcp, wanted: Wanted) -> Result<Incoming> {
    let Some((at, byte)) = tcp.urgent.get().filter(|_| !is_inline(tcp)) else { return Err(Errno::EINVAL) };
    let Some(byte) = byte else { return Err(Errno::EINVAL) };
    if wanted.flags & MSG_PEEK == 0 {
        tcp.urgent.set(Some((at, None)));
    }
    let data = if wanted.max > 0 { vec![byte] } else { Vec::new() };
    let flags = MSG_OOB | if wanted.max > 0 { 0 } else { MSG_TRUNC };
    Ok(Incoming { full_len: data.len(), data, flags, ..Incoming::default() })
}

/// What receiving comes to now; `None` if something may still come.
fn try_receive(tcp: &Tcp, wanted: Wanted) -> Option<Result<Incoming>> {
    if tcp.state.get() == State::Listen {
        return Some(Err(Errno::ENOTCONN));
    }
    if wanted.flags & MSG_OOB != 0 {
        return Some(take_urgent(tcp, wanted));
    }
    let peek = wanted.flags & MSG_PEEK != 0;
    // Who does not wait takes what there is; who waits, as much as SO_RCVLOWAT says.
    let low = if wanted.patience.nonblock { 1 } else { low_mark(tcp).min(wanted.max) };
    if has(tcp, low) || tcp.is_shut(shut::READ) || wanted.max == 0 {
        let data = take(tcp, wanted.max, peek);
        if !data.is_empty() || wanted.max == 0 {
            return Some(Ok(Incoming::stream(data)));
        }
    }
    if tcp.finished.get() {
        return Some(Ok(Incoming::default()));
    }
    if let Some(errno) = tcp.error.take() {
        return Some(Err(errno));
    }
    if tcp.is_shut(shut::READ) {
        return Some(Ok(Incoming::default()));
    }
    if tcp.state.get() == State::Closed {
        return Some(Err(Errno::ENOTCONN));
    }
    None
}

/// recv(2).
pub(super) fn receive<'a>(tcp: &'a Tcp, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>> {
    if let Some(done) = try_receive(tcp, wanted) {
        return Io::ready(done);
    }
    if wanted.patience.nonblock {
        return Io::ready(Err(Errno::EAGAIN));
    }
    Io::later(async move {
        loop {
            let change = tcp.readable.wait();
            if let Some(done) = try_receive(tcp, wanted) {
                return done;
            }
            wanted.patience.wait(cx, change).await?;
        }
    })
}
