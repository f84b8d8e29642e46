//! The open file of a socket.

use std::any::Any;
use std::rc::Rc;

use linux_abi::poll::Ready;
use linux_abi::siginfo::SigInfo;
use linux_abi::signal::Signal;
use linux_abi::socket::*;
use linux_abi::{fcntl, ioctl, stat};
use vm_rt::Io;

use super::options::Common;
use super::protocol::{Ancillary, Outgoing, Protocol};
use super::unix::Unix;
use super::{inet, interface, netlink, unix};
use crate::vfs::{Anonymous, File, IoMode, OpenFile, OpenFlags};
use crate::{Errno, Result, SyscallCx};

/// A socket in use.
pub struct Socket {
    pub(crate) common: Rc<Common>,
    pub(crate) protocol: Rc<dyn Protocol>,
}

impl Socket {
    /// socket(2): a new socket of a family, type and protocol.
    pub(crate) fn create(
        cx: &SyscallCx,
        family: u64,
        kind: u32,
        protocol: u32,
    ) -> Result<(Rc<Common>, Rc<dyn Protocol>)> {
        if family >= AF_MAX || kind > SOCK_PACKET {
            return Err(if family >= AF_MAX { Errno::EAFNOSUPPORT } else { Errno::EINVAL });
        }
        let made = match family as u16 {
            AF_UNIX => unix::create(cx, kind, protocol)?,
            AF_INET | AF_INET6 => inet::create(cx, family as u16, kind, protocol)?,
            AF_NETLINK => netlink::create(cx, kind, protocol)?,
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        made.0.uid.set(cx.creds().fsuid);
        Ok(made)
    }

    /// Opens a file for a protocol. `flags` may have SOCK_NONBLOCK.
    pub(crate) fn open(cx: &SyscallCx, common: Rc<Common>, protocol: Rc<dyn Protocol>, flags: u32) -> Rc<OpenFile> {
        let socket = Rc::new(Self { common: Rc::clone(&common), protocol });
        let flags = OpenFlags(fcntl::O_RDWR | flags & SOCK_NONBLOCK);
        let file = cx.kernel.vfs.open_anonymous(cx, Anonymous::Socket, stat::S_IFSOCK | 0o777, socket, flags);
        common.ino.set(file.inode().metadata().ino);
        file
    }

    /// The protocol, if it is a Unix socket.
    pub(crate) fn as_unix(&self) -> Option<Rc<Unix>> {
        self.protocol.as_unix()
    }

    /// Sends, with the signal that goes with EPIPE.
    pub(crate) async fn send(&self, cx: &SyscallCx, message: Outgoing<'_>) -> Result<usize> {
        let quiet = message.flags & MSG_NOSIGNAL != 0;
        let result = self.protocol.send(cx, message).await;
        if result == Err(Errno::EPIPE) && !quiet && self.protocol.sends_sigpipe() {
            cx.kernel.send_signal_task(&cx.task, SigInfo::kernel(Signal::PIPE));
        }
        result
    }

    /// An option; the result may be longer than `room`.
    pub(crate) fn get_option(&self, cx: &SyscallCx, level: u32, name: u32, room: usize) -> Result<Vec<u8>> {
        if level == SOL_SOCKET {
            let word = |value: u32| Ok(value.to_le_bytes().to_vec());
            return match name {
                SO_ERROR => word(self.protocol.take_error().map_or(0, |errno| errno.number() as u32)),
                SO_ACCEPTCONN => word(u32::from(self.protocol.is_listening())),
                SO_PEERNAME => {
                    let peer = self.protocol.peer()?.encode();
                    if peer.len() < room { Err(Errno::EINVAL) } else { Ok(peer) }
                }
                _ => match self.protocol.get_option(cx, level, name, room)? {
                    Some(value) => Ok(value),
                    None => self.common.get(cx.width(), name).ok_or(Errno::ENOPROTOOPT),
                },
            };
        }
        self.protocol.get_option(cx, level, name, room)?.ok_or(self.unknown_option(level))
    }

    pub(crate) fn set_option(&self, cx: &SyscallCx, level: u32, name: u32, value: &[u8]) -> Result<()> {
        if let Some(done) = self.protocol.set_option(cx, level, name, value)? {
            return Ok(done);
        }
        if level != SOL_SOCKET {
            return Err(self.unknown_option(level));
        }
        self.common.set(cx, cx.width(), name, value)
    }

    /// A level that the family does not know is one thing, an option that a level does not know another.
    fn unknown_option(&self, level: u32) -> Errno {
        let known = match self.common.family {
            AF_INET => level == IPPROTO_IP || level == self.common.protocol,
            AF_INET6 => matches!(level, IPPROTO_IP | IPPROTO_IPV6) || level == self.common.protocol,
            AF_NETLINK => true,
            _ => false,
        };
        if known { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.protocol.release();
    }
}

impl File for Socket {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let wanted = self.common.wanted(cx, buf.len(), 0, mode.nonblock);
        let put = |data: &[u8], buf: &mut [u8]| {
            let count = data.len().min(buf.len());
            buf[..count].copy_from_slice(&data[..count]);
            count
        };
        match self.protocol.receive(cx, wanted) {
            Io::Ready(result) => Io::Ready(result.map(|result| result.map(|incoming| put(&incoming.data, buf)))),
            later => Io::later(async move { Ok(put(&later.await?.data, buf)) }),
        }
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        let patience = self.common.patience_to_send(cx, mode.nonblock);
        let ancillary = Ancillary::default();
        Io::later(self.send(cx, Outgoing { data, to: None, ancillary, flags: 0, patience }))
    }

    fn poll(&self, _interest: Ready) -> Ready {
        self.protocol.poll()
    }

    fn wait(&self, interest: Ready) -> Io<'static, ()> {
        self.protocol.wait(interest)
    }

    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        const SIOCOUTQ: u32 = 0x5411;
        const SIOCATMARK: u32 = 0x8905;
        let answer = match request {
            ioctl::FIONREAD => self.protocol.bytes_waiting(),
            SIOCOUTQ => self.protocol.bytes_sent(),
            SIOCATMARK => self.protocol.at_mark().map(usize::from),
            _ => return Io::later(interface::ioctl(cx, request, arg)),
        };
        Io::later(async move {
            cx.write_u32(arg, u32::try_from(answer?).unwrap_or(u32::MAX)).await?;
            Ok(0)
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
