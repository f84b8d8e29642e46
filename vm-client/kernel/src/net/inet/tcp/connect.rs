//! Listening, connecting, accepting.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use linux_abi::socket::SockAddr;

use super::{SEND_BUFFER_CONNECTED, State, Tcp};
use crate::net::flow::Charge;
use crate::net::inet::{any, canonical, route, source_for};
use crate::net::protocol::{Patience, Protocol, shut};
use crate::{Errno, Result, SyscallCx};

/// How long Linux goes on asking a listener that has no room (six retries of the first segment).
const ASKING: Duration = Duration::from_secs(127);

/// listen(2).
pub(super) fn listen(tcp: &Tcp, backlog: usize) -> Result<()> {
    match tcp.state.get() {
        State::Listen => {
            tcp.backlog.set(backlog);
            admit(tcp);
            return Ok(());
        }
        State::Closed if tcp.remote.get().is_none() => {}
        _ => return Err(Errno::EINVAL),
    }
    let table = &tcp.net.inet.tcp;
    match tcp.local.get() {
        None => {
            let taken = table.take(&tcp.strong(), SocketAddr::new(any(tcp.common.family), 0))?;
            tcp.local.set(Some(taken));
        }
        Some(local) if table.conflicts(tcp, local) => return Err(Errno::EADDRINUSE),
        Some(_) => {}
    }
    tcp.shut.set(shut::NONE);
    tcp.finished.set(false);
    tcp.backlog.set(backlog);
    tcp.state.set(State::Listen);
    Ok(())
}

/// accept(2).
pub(super) async fn accept(tcp: &Tcp, cx: &SyscallCx, patience: Patience) -> Result<Rc<dyn Protocol>> {
    loop {
        if tcp.state.get() != State::Listen {
            return Err(Errno::EINVAL);
        }
        let next = tcp.pending.borrow_mut().pop_front();
        if let Some(next) = next {
            admit(tcp);
            return Ok(next);
        }
        let change = tcp.readable.wait();
        patience.wait(cx, change).await?;
    }
}

fn has_room(listener: &Tcp) -> bool {
    listener.pending.borrow().len() <= listener.backlog.get()
}

/// Lets in those who wait for room.
fn admit(listener: &Tcp) {
    while has_room(listener) {
        let next = listener.waiting.borrow_mut().pop_front();
        let Some(next) = next else { return };
        let Some(client) = next.upgrade() else { continue };
        if client.state.get() == State::SynSent {
            establish(&client, listener);
            client.changed();
        }
    }
}

/// Makes the connection: the client's end and a new one for whoever accepts it.
fn establish(client: &Tcp, listener: &Tcp) {
    let net = &client.net;
    let common = listener.common.inherited(&net.queued);
    let server = Tcp::with(net, common);
    server.local.set(client.remote.get());
    server.remote.set(client.local.get());
    server.state.set(State::Established);
    client.state.set(State::Established);
    for end in [client, &server] {
        if !end.common.send_buffer_set.get() {
            end.common.send_buffer.limit.set(SEND_BUFFER_CONNECTED);
        }
    }
    *server.charge.borrow_mut() = Some(Charge::new(&client.common.send_buffer, 0));
    *client.charge.borrow_mut() = Some(Charge::new(&server.common.send_buffer, 0));
    *server.peer.borrow_mut() = Some(client.strong());
    *client.peer.borrow_mut() = Some(Rc::clone(&server));
    if let Some(local) = server.local.get() {
        net.inet.tcp.insert(&server, local.port());
    }
    listener.pending.borrow_mut().push_back(server);
    listener.readable.wake_all();
}

/// Undoes connect(2) and listen(2); a port that bind(2) named stays.
pub(super) fn disconnect(tcp: &Tcp) {
    match tcp.state.get() {
        State::Listen => {
            tcp.state.set(State::Closed);
            let pending = std::mem::take(&mut *tcp.pending.borrow_mut());
            for embryo in pending {
                embryo.send_reset();
                embryo.clear_queue();
                embryo.give_up_port();
            }
            let waiting = std::mem::take(&mut *tcp.waiting.borrow_mut());
            for client in waiting.into_iter().filter_map(|client| client.upgrade()) {
                client.reset_arrived();
            }
        }
        State::Closed => {}
        _ => tcp.send_reset(),
    }
    tcp.state.set(State::Closed);
    tcp.error.set(None);
    tcp.remote.set(None);
    tcp.shut.set(shut::NONE);
    tcp.finished.set(false);
    tcp.connecting.set(false);
    tcp.clear_queue();
    if !tcp.bound.get() {
        tcp.give_up_port();
    }
    tcp.changed();
}

/// The result of a connection that was begun.
fn outcome(tcp: &Tcp) -> Result<()> {
    tcp.connecting.set(false);
    if tcp.state.get() != State::Closed || tcp.finished.get() {
        return Ok(());
    }
    let errno = tcp.error.take().unwrap_or(Errno::ECONNABORTED);
    disconnect(tcp);
    Err(errno)
}

/// connect(2).
pub(super) async fn connect(tcp: &Tcp, cx: &SyscallCx, address: SockAddr, patience: Patience) -> Result<()> {
    if address == SockAddr::Unspec {
        disconnect(tcp);
        return Ok(());
    }
    if tcp.connecting.get() {
        if tcp.state.get() != State::SynSent {
            return outcome(tcp);
        }
        if patience.nonblock {
            return Err(Errno::EALREADY);
        }
    } else {
        if tcp.state.get() != State::Closed || tcp.remote.get().is_some() {
            return Err(Errno::EISCONN);
        }
        begin(tcp, &address)?;
        tcp.connecting.set(true);
        if patience.nonblock {
            expire(tcp, cx);
            return Err(Errno::EINPROGRESS);
        }
    }
    let give_up = cx.kernel.now_monotonic().saturating_add(ASKING);
    let deadline = Some(patience.deadline.map_or(give_up, |deadline| deadline.min(give_up)));
    while tcp.state.get() == State::SynSent {
        let change = tcp.readable.wait();
        let waited = Patience { nonblock: false, deadline }.wait(cx, change).await;
        match waited {
            Ok(()) => {}
            // SO_SNDTIMEO only ends the wait; the connection goes on.
            Err(Errno::EAGAIN) if patience.deadline.is_some_and(|deadline| deadline < give_up) => {
                return Err(Errno::EINPROGRESS);
            }
            Err(Errno::EAGAIN) => {
                disconnect(tcp);
                return Err(Errno::ETIMEDOUT);
            }
            // Only a timeout of the caller's keeps the call from being restarted.
            Err(Errno::EINTR) if patience.deadline.is_none() => return Err(Errno::ERESTARTSYS),
            Err(errno) => return Err(errno),
        }
    }
    outcome(tcp)
}

/// Ends an attempt that nobody waits for when Linux would.
fn expire(tcp: &Tcp, cx: &SyscallCx) {
    if tcp.state.get() != State::SynSent {
        return;
    }
    let (socket, sleep) =
        (std::rc::Weak::clone(&tcp.this), cx.kernel.timers.sleep_until(cx.kernel.now_monotonic() + ASKING));
    cx.kernel.executor.spawn(async move {
        sleep.await;
        let Some(tcp) = socket.upgrade().filter(|tcp| tcp.state.get() == State::SynSent) else { return };
        tcp.error.set(Some(Errno::ETIMEDOUT));
        tcp.finish();
        tcp.changed();
    });
}

/// Sends the first segment: afterwards the socket is connected, refused, or waits for room in the listener's queue.
fn begin(tcp: &Tcp, address: &SockAddr) -> Result<()> {
    let to = canonical(&tcp.common, address)?;
    let to = SocketAddr::new(route(to.ip())?, to.port());
    let table = &tcp.net.inet.tcp;
    match tcp.local.get() {
        None => {
            let unique = |other: &Tcp| other.remote.get() != Some(to);
            let local = table.take_for(&tcp.strong(), source_for(to.ip()), unique)?;
            tcp.local.set(Some(local));
        }
        Some(local) if local.ip().is_unspecified() => {
            tcp.local.set(Some(SocketAddr::new(source_for(to.ip()), local.port())));
        }
        Some(local) if local.is_ipv4() != to.is_ipv4() => return Err(Errno::ENETUNREACH),
        Some(_) => {}
    }
    tcp.remote.set(Some(to));
    tcp.shut.set(shut::NONE);
    tcp.finished.set(false);
    tcp.error.set(None);
    tcp.state.set(State::SynSent);
    let hash = tcp.local.get().map_or(0, |local| u64::from(local.port()));
    let listener = table.find(to, hash, |other| u32::from(other.state.get() == State::Listen));
    match listener {
        None => tcp.reset_arrived(),
        Some(listener) if has_room(&listener) => establish(tcp, &listener),
        Some(listener) => listener.waiting.borrow_mut().push_back(std::rc::Weak::clone(&tcp.this)),
    }
    Ok(())
}
