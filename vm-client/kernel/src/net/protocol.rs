//! What a family of sockets does: the trait, and what goes in and out.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use linux_abi::poll::Ready;
use linux_abi::socket::{ControlMessage, SockAddr, Ucred};
use vm_rt::{Io, first_of};

use super::options::Common;
use super::rights::Rights;
use super::unix::Unix;
use crate::{Errno, Result, SyscallCx};

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Not at all: EAGAIN.
    pub(crate) nonblock: bool,
    /// Until then (SO_RCVTIMEO, SO_SNDTIMEO), on guest monotonic time.
    pub(crate) deadline: Option<Duration>,
}

impl Patience {
    /// Waits for a change; EAGAIN if that takes too long.
    pub(crate) async fn wait(self, cx: &SyscallCx, change: impl Future<Output = ()>) -> Result<()> {
        if self.nonblock {
            return Err(Errno::EAGAIN);
        }
        let Some(deadline) = self.deadline else { return cx.interruptible(change).await };
        if deadline <= cx.kernel.now_monotonic() {
            return Err(Errno::EAGAIN);
        }
        let sleep = cx.kernel.timers.sleep_until(deadline);
        // With a timeout, calls are not restarted (signal(7)).
        cx.interruptible(first_of(change, sleep)).await.map(|_| ()).map_err(|_| Errno::EINTR)
    }
}

/// What goes along with the bytes of a message.
#[derive(Clone, Default)]
pub(crate) struct Ancillary {
    /// Files (SCM_RIGHTS).
    pub(crate) rights: Option<Rc<Rights>>,
    /// Who sent it (SCM_CREDENTIALS), if it was asked for when it was sent.
    pub(crate) creds: Option<Ucred>,
    /// What is said of the header of this one datagram (ip(7), ipv6(7)).
    pub(crate) header: Vec<ControlMessage>,
}

/// A message to send.
pub(crate) struct Outgoing<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) to: Option<SockAddr>,
    pub(crate) ancillary: Ancillary,
    /// MSG_ flags.
    pub(crate) flags: u32,
    pub(crate) patience: Patience,
}

/// What is to be received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Bytes at most.
    pub(crate) max: usize,
    /// MSG_ flags.
    pub(crate) flags: u32,
    pub(crate) patience: Patience,
}

/// A message that was received.
#[derive(Default)]
pub(crate) struct Incoming {
    pub(crate) data: Vec<u8>,
    /// Length of the whole message, which may be more than was asked for.
    pub(crate) full_len: usize,
    pub(crate) from: Option<SockAddr>,
    pub(crate) ancillary: Ancillary,
    /// Control messages of other levels, ready to be given out.
    pub(crate) control: Vec<ControlMessage>,
    /// MSG_ flags beyond MSG_TRUNC.
    pub(crate) flags: u32,
}

impl Incoming {
    /// Bytes of a stream.
    pub(crate) fn stream(data: Vec<u8>) -> Self {
        Self { full_len: data.len(), data, ..Self::default() }
    }
}

/// Which direction shutdown(2) closes, as bits.
pub(crate) mod shut {
    pub(crate) const NONE: u8 = 0;
    /// Nothing more is received.
    pub(crate) const READ: u8 = 1;
    /// Nothing more is sent.
    pub(crate) const WRITE: u8 = 2;
    pub(crate) const BOTH: u8 = READ | WRITE;
}

/// The work of a socket of one family and type. Defaults answer as `sock_no_*` of Linux.
pub(crate) trait Protocol {
    fn bind<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr) -> Io<'a, Result<()>> {
        let _ = (cx, address);
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    fn connect<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr, patience: Patience) -> Io<'a, Result<()>> {
        let _ = (cx, address, patience);
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    fn listen(&self, cx: &SyscallCx, backlog: usize) -> Result<()> {
        let _ = (cx, backlog);
        Err(Errno::EOPNOTSUPP)
    }

    /// The next connection: a protocol for a new socket.
    fn accept<'a>(&'a self, cx: &'a SyscallCx, patience: Patience) -> Io<'a, Result<Rc<dyn Protocol>>> {
        let _ = (cx, patience);
        Io::ready(Err(Errno::EOPNOTSUPP))
    }

    fn send<'a>(&'a self, cx: &'a SyscallCx, message: Outgoing<'a>) -> Io<'a, Result<usize>>;

    fn receive<'a>(&'a self, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>>;

    /// `how` is bits of [`shut`].
    fn shutdown(&self, how: u8) -> Result<()> {
        let _ = how;
        Err(Errno::EOPNOTSUPP)
    }

    fn local(&self) -> SockAddr;

    /// ENOTCONN if there is none.
    fn peer(&self) -> Result<SockAddr>;

    /// The address that accept(2) tells.
    fn accepted_peer(&self) -> Result<SockAddr> {
        self.peer()
    }

    fn poll(&self) -> Ready;

    fn wait(&self, interest: Ready) -> Io<'static, ()>;

    /// Takes the pending error (SO_ERROR).
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// Whether listen(2) was called (SO_ACCEPTCONN).
    fn is_listening(&self) -> bool {
        false
    }

    /// The value of an option of this family; `None` if there is none by this number.
    fn get_option(&self, cx: &SyscallCx, level: u32, name: u32, room: usize) -> Result<Option<Vec<u8>>> {
        let _ = (cx, level, name, room);
        Ok(None)
    }

    /// Sets an option; `None` if there is none by this number.
    fn set_option(&self, cx: &SyscallCx, level: u32, name: u32, value: &[u8]) -> Result<Option<()>> {
        let _ = (cx, level, name, value);
        Ok(None)
    }

    /// Bytes that could be received now (SIOCINQ).
    fn bytes_waiting(&self) -> Result<usize>;

    /// Bytes sent that were not received (SIOCOUTQ).
    fn bytes_sent(&self) -> Result<usize> {
        Ok(0)
    }

    /// Whether a reader is at the urgent mark (SIOCATMARK).
    fn at_mark(&self) -> Result<bool> {
        Err(Errno::ENOTTY)
    }

    /// Whether writing to the closed socket of another sends SIGPIPE.
    fn sends_sigpipe(&self) -> bool {
        false
    }

    /// Whether messages have borders.
    fn keeps_borders(&self) -> bool;

    /// What all sockets have.
    fn common(&self) -> Rc<Common>;

    /// Itself, if it is a Unix socket.
    fn as_unix(&self) -> Option<Rc<Unix>> {
        None
    }

    /// The last descriptor of the socket is gone.
    fn release(&self);
}
