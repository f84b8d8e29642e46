//! Connections of Unix sockets, and bytes over them.

use std::rc::Rc;

use linux_abi::socket::{MSG_OOB, MSG_PEEK, SockAddr};
use vm_rt::Io;

use super::address::{bind_automatically, find};
use super::{Charge, Message, PeerCredentials, State, Unix};
use crate::net::options::Common;
use crate::net::protocol::{Ancillary, Incoming, Outgoing, Patience, Protocol, Wanted, shut};
use crate::{Errno, Result, SyscallCx};

/// Small writes are put together into pieces of this size at most.
const PIECE: usize = 16 * 1024;

/// connect(2) of a stream or seqpacket socket.
pub(super) async fn connect(unix: &Unix, cx: &SyscallCx, address: SockAddr, patience: Patience) -> Result<()> {
    let SockAddr::Unix(name) = address else { return Err(Errno::EINVAL) };
    if name == linux_abi::socket::UnixName::Unnamed {
        return Err(Errno::EINVAL);
    }
    if unix.common.passes_credentials.get() && *unix.name.borrow() == linux_abi::socket::UnixName::Unnamed {
        bind_automatically(unix, cx)?;
    }
    let listener = loop {
        let listener = find(cx, &name).await?;
        if listener.common.kind != unix.common.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if listener.state.get() != State::Listening || listener.shut_has(shut::READ) {
            return Err(Errno::ECONNREFUSED);
        }
        if listener.pending.borrow().len() <= listener.backlog.get() {
            break listener;
        }
        let room = listener.queue_room.wait();
        patience.wait(cx, room).await?;
    };
    match unix.state.get() {
        State::Unconnected => {}
        State::Connected => return Err(Errno::EISCONN),
        State::Listening => return Err(Errno::EINVAL),
    }
    let net = &cx.kernel.net;
    let server = Unix::with(net, Common::new(unix.common.family, unix.common.kind, 0, &net.queued));
    server.common.uid.set(listener.common.uid.get());
    server.common.passes_credentials.set(listener.common.passes_credentials.get());
    let creds = PeerCredentials::of(cx, &cx.creds());
    *server.name.borrow_mut() = listener.name.borrow().clone();
    *server.place.borrow_mut() = listener.place.borrow().clone();
    *server.peer.borrow_mut() = Some(unix.strong());
    *server.peer_credentials.borrow_mut() = Some(creds.clone());
    server.state.set(State::Connected);
    *unix.own_credentials.borrow_mut() = Some(creds);
    unix.peer_credentials.borrow_mut().clone_from(&listener.own_credentials.borrow());
    *unix.peer.borrow_mut() = Some(Rc::clone(&server));
    unix.state.set(State::Connected);
    listener.pending.borrow_mut().push_back(server);
    listener.readable.wake_all();
    Ok(())
}

/// accept(2).
pub(super) async fn accept(unix: &Unix, cx: &SyscallCx, patience: Patience) -> Result<Rc<dyn Protocol>> {
    if unix.is_datagram() {
        return Err(Errno::EOPNOTSUPP);
    }
    loop {
        if unix.state.get() != State::Listening {
            return Err(Errno::EINVAL);
        }
        let next = unix.pending.borrow_mut().pop_front();
        if let Some(next) = next {
            unix.queue_room.wake_all();
            return Ok(next);
        }
        if unix.shut_has(shut::READ) {
            return Err(Errno::EINVAL);
        }
        let change = unix.readable.wait();
        patience.wait(cx, change).await?;
    }
}

fn peer_to_send(unix: &Unix, message: &Outgoing<'_>) -> Result<Rc<Unix>> {
    if message.flags & MSG_OOB != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if message.to.is_some() {
        return Err(if unix.state.get() == State::Connected { Errno::EISCONN } else { Errno::EOPNOTSUPP });
    }
    let peer = unix.peer_now().ok_or(Errno::ENOTCONN)?;
    if unix.shut_has(shut::WRITE) || peer.dead.get() || peer.shut_has(shut::READ) {
        return Err(Errno::EPIPE);
    }
    Ok(peer)
}

/// Sends what there is room for now; `None` if there is none.
fn put(unix: &Unix, cx: &SyscallCx, peer: &Unix, data: &[u8], ancillary: &mut Ancillary) -> Option<usize> {
    let buffer = &unix.common.send_buffer;
    let room = unix.net.allowance(buffer.limit.get()).saturating_sub(buffer.used());
    if room == 0 && !data.is_empty() {
        return None;
    }
    let piece = data.get(..room.min(data.len())).unwrap_or(data);
    let mut going = std::mem::take(ancillary);
    if going.creds.is_none() {
        going.creds = unix.credentials_for(cx, peer);
    }
    let mut queue = peer.queue.borrow_mut();
    if let Some(last) = queue.back_mut()
        && going.rights.is_none()
        && last.ancillary.rights.is_none()
        && last.ancillary.creds == going.creds
        && last.charge.is_to(buffer)
        && last.data.len() + piece.len() <= PIECE
    {
        last.data.extend_from_slice(piece);
        last.charge.add(piece.len());
        drop(queue);
        peer.readable.wake_all();
        return Some(piece.len());
    }
    drop(queue);
    peer.enqueue(Message {
        data: piece.to_vec(),
        taken: 0,
        from: unix.name.borrow().clone(),
        ancillary: going,
        charge: Charge::new(buffer, piece.len()),
    });
    Some(piece.len())
}

/// send(2).
pub(super) fn send<'a>(unix: &'a Unix, cx: &'a SyscallCx, mut message: Outgoing<'a>) -> Io<'a, Result<usize>> {
    let peer = match peer_to_send(unix, &message) {
        Ok(peer) => peer,
        Err(errno) => return Io::ready(Err(errno)),
    };
    // Nothing to send sends nothing, with or without files.
    if message.data.is_empty() {
        return Io::ready(Ok(0));
    }
    let first = put(unix, cx, &peer, message.data, &mut message.ancillary).unwrap_or(0);
    if first == message.data.len() {
        return Io::ready(Ok(first));
    }
    Io::later(async move {
        let mut done = first;
        while let Some(rest) = message.data.get(done..).filter(|rest| !rest.is_empty()) {
            let room = unix.common.send_buffer.room.wait();
            let step = match peer_to_send(unix, &message) {
                Ok(peer) => Ok(put(unix, cx, &peer, rest, &mut message.ancillary)),
                Err(errno) => Err(errno),
            };
            let result = match step {
                Ok(Some(count)) => {
                    done += count;
                    Ok(())
                }
                Ok(None) => message.patience.wait(cx, room).await,
                Err(errno) => Err(errno),
            };
            match result {
                Ok(()) => {}
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    })
}

/// Takes bytes of messages that belong together: one sender's, and files only with the last of them.
fn take(unix: &Unix, max: usize, peek: bool) -> Option<Incoming> {
    let check_creds = unix.common.passes_credentials.get();
    let mut incoming = Incoming::default();
    let mut gone = Vec::new();
    let mut queue = unix.queue.borrow_mut();
    let mut index = 0;
    let mut any = false;
    while let Some(message) = queue.get_mut(index) {
        let room = max - incoming.data.len();
        if any && (room == 0 || (check_creds && message.ancillary.creds != incoming.ancillary.creds)) {
            break;
        }
        incoming.ancillary.creds = message.ancillary.creds;
        any = true;
        let rest = message.rest();
        let count = rest.len().min(room);
        incoming.data.extend_from_slice(rest.get(..count).unwrap_or_default());
        let whole = count == rest.len();
        if message.ancillary.rights.is_some() {
            incoming.ancillary.rights =
                if peek { message.ancillary.rights.clone() } else { message.ancillary.rights.take() };
        }
        if !peek {
            message.taken += count;
            message.charge.give_back(count);
        }
        if !whole {
            break;
        }
        if peek {
            index += 1;
        } else {
            gone.extend(queue.pop_front());
        }
        if incoming.ancillary.rights.is_some() {
            break;
        }
    }
    drop(queue);
    any.then(|| {
        incoming.full_len = incoming.data.len();
        incoming
    })
}

/// What receiving comes to now; `None` if something may still come.
fn try_receive(unix: &Unix, wanted: Wanted) -> Option<Result<Incoming>> {
    if let Some(incoming) = take(unix, wanted.max, wanted.flags & MSG_PEEK != 0) {
        return Some(Ok(incoming));
    }
    if let Some(errno) = unix.error.take() {
        return Some(Err(errno));
    }
    unix.shut_has(shut::READ).then(|| Ok(Incoming::default()))
}

/// recv(2).
pub(super) fn receive<'a>(unix: &'a Unix, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>> {
    if unix.state.get() != State::Connected {
        return Io::ready(Err(Errno::EINVAL));
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
