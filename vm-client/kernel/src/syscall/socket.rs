//! Sockets, as far as a machine without a network has them (socket(2)).
//!
//! Programs ask before they talk: a Unix socket finds nobody listening, an Internet socket finds the network unreachable, at
//! once. Both doors of i386 lead here: socketcall(2), which glibc uses, and the direct calls.

use std::any::Any;
use std::rc::Rc;

use linux_abi::poll::Ready;
use vm_rt::Io;

use super::table::{Args, Row, wait};
use crate::task::Resource;
use crate::vfs::permission::{self, May};
use crate::vfs::{Anonymous, File, Follow, IoMode, OnExec, OpenFile, OpenFlags, walk};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(102, "socketcall", socketcall, "Unix and IPv4 sockets that nobody answers"),
    wait!(359, "socket", socket, "Unix and IPv4 sockets that nobody answers"),
    wait!(360, "socketpair", socketpair, "not yet: EOPNOTSUPP"),
    wait!(361, "bind", bind, "Internet addresses only"),
    wait!(362, "connect", connect, "nobody answers"),
    wait!(363, "listen", listen, "not yet: EOPNOTSUPP"),
    wait!(364, "accept4", accept4, "nobody connects: EINVAL"),
    wait!(365, "getsockopt", getsockopt, "the common options"),
    wait!(366, "setsockopt", setsockopt, "accepted, without effect"),
    wait!(367, "getsockname", getsockname, "never bound"),
    wait!(368, "getpeername", getpeername, "never connected"),
    wait!(369, "sendto", sendto, "nobody answers"),
    wait!(370, "sendmsg", sendmsg, "nobody answers"),
    wait!(371, "recvfrom", recvfrom, "nothing arrives"),
    wait!(372, "recvmsg", recvmsg, "nothing arrives"),
    wait!(373, "shutdown", shutdown, "never connected"),
];

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_SEQPACKET: u32 = 5;
const MSG_DONTWAIT: u64 = 0x40;

/// A socket without a peer.
struct Socket {
    family: u16,
    kind: u32,
    protocol: u32,
}

impl Socket {
    fn is_datagram(&self) -> bool {
        self.kind == SOCK_DGRAM
    }

    /// What sending without an address comes to.
    fn not_connected(&self) -> Errno {
        if self.family == AF_INET && self.is_datagram() { Errno::EDESTADDRREQ } else { Errno::ENOTCONN }
    }

    async fn receive(&self, cx: &SyscallCx, nonblock: bool) -> Result<usize> {
        if !self.is_datagram() {
            return Err(if self.family == AF_UNIX { Errno::EINVAL } else { Errno::ENOTCONN });
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        cx.interruptible(std::future::pending()).await
    }
}

impl File for Socket {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, _: &'a mut [u8]) -> Io<'a, Result<usize>> {
        Io::later(self.receive(cx, mode.nonblock))
    }

    fn write<'a>(&'a self, _: &'a SyscallCx, _: IoMode, _: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::ready(Err(self.not_connected()))
    }

    fn poll(&self, interest: Ready) -> Ready {
        let _ = interest;
        if self.is_datagram() { Ready::OUT | Ready::WRNORM } else { Ready::OUT | Ready::WRNORM | Ready::HUP }
    }

    fn wait(&self, interest: Ready) -> Io<'_, ()> {
        if self.poll(interest).intersects(interest | Ready::HUP) {
            return Io::ready(());
        }
        Io::later(std::future::pending())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn find(cx: &SyscallCx, fd: u64) -> Result<Rc<OpenFile>> {
    let file = cx.files().get(fd as i32)?;
    if file.downcast::<Socket>().is_some() { Ok(file) } else { Err(Errno::ENOTSOCK) }
}

fn as_socket(file: &OpenFile) -> Result<&Socket> {
    file.downcast::<Socket>().ok_or(Errno::ENOTSOCK)
}

async fn socketcall(cx: &SyscallCx, [call, at, ..]: Args) -> Result<i64> {
    const COUNTS: [usize; 21] = [0, 3, 3, 3, 2, 3, 3, 3, 4, 4, 4, 6, 6, 2, 5, 5, 3, 3, 4, 5, 4];
    let count = *COUNTS.get(call as usize).filter(|_| call > 0).ok_or(Errno::EINVAL)?;
    let mut raw = vec![0; 4 * count];
    cx.read_user(at, &mut raw).await?;
    let mut args: Args = [0; 6];
    for (arg, word) in args.iter_mut().zip(raw.chunks_exact(4)) {
        *arg = u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
    match call {
        1 => socket(cx, args).await,
        2 => bind(cx, args).await,
        3 => connect(cx, args).await,
        4 => listen(cx, args).await,
        5 => accept4(cx, [args[0], args[1], args[2], 0, 0, 0]).await,
        6 => getsockname(cx, args).await,
        7 => getpeername(cx, args).await,
        8 => socketpair(cx, args).await,
        9 => sendto(cx, [args[0], args[1], args[2], args[3], 0, 0]).await,
        10 => recvfrom(cx, [args[0], args[1], args[2], args[3], 0, 0]).await,
        11 => sendto(cx, args).await,
        12 => recvfrom(cx, args).await,
        13 => shutdown(cx, args).await,
        14 => setsockopt(cx, args).await,
        15 => getsockopt(cx, args).await,
        16 => sendmsg(cx, args).await,
        17 => recvmsg(cx, args).await,
        18 => accept4(cx, args).await,
        // recvmmsg and sendmmsg: one message at least is tried.
        19 => recvmsg(cx, [args[0], args[1], args[3], 0, 0, 0]).await,
        _ => sendmsg(cx, [args[0], args[1], args[3], 0, 0, 0]).await,
    }
}

async fn socket(cx: &SyscallCx, [family, kind, protocol, ..]: Args) -> Result<i64> {
    const SOCK_NONBLOCK: u32 = linux_abi::fcntl::O_NONBLOCK;
    const SOCK_CLOEXEC: u32 = linux_abi::fcntl::O_CLOEXEC;
    let (family, flags, protocol) = (family as u16, kind as u32 & !0xf, protocol as u32);
    let kind = kind as u32 & 0xf;
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    match (family, kind, protocol) {
        (AF_UNIX, SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET, 0 | 1) => {}
        (AF_UNIX, SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET, _) => return Err(Errno::EPROTONOSUPPORT),
        (AF_INET, SOCK_STREAM, 0 | 6) | (AF_INET, SOCK_DGRAM, 0 | 17) => {}
        (AF_INET, SOCK_STREAM | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
        (AF_UNIX | AF_INET, ..) => return Err(Errno::ESOCKTNOSUPPORT),
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    let socket = Rc::new(Socket { family, kind, protocol });
    let on_exec = OnExec::from_flag(flags, SOCK_CLOEXEC);
    let flags = OpenFlags(linux_abi::fcntl::O_RDWR | flags & SOCK_NONBLOCK);
    let mode = linux_abi::stat::S_IFSOCK | 0o777;
    let file = cx.kernel.vfs.open_anonymous(cx, Anonymous::Socket, mode, socket, flags);
    let limit = cx.task.group.rlimits.borrow().soft(Resource::Nofile);
    cx.files().insert_from(0, file, on_exec, limit).map(i64::from)
}

async fn socketpair(_: &SyscallCx, _: Args) -> Result<i64> {
    Err(Errno::EOPNOTSUPP)
}

/// Family and the bytes of an address.
async fn read_address(cx: &SyscallCx, at: u64, len: u64) -> Result<(u16, Vec<u8>)> {
    if !(2..=128).contains(&len) {
        return Err(Errno::EINVAL);
    }
    let mut raw = vec![0; len as usize];
    cx.read_user(at, &mut raw).await?;
    let family = u16::from_le_bytes([raw[0], raw[1]]);
    Ok((family, raw.split_off(2)))
}

async fn bind(cx: &SyscallCx, [fd, at, len, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let (family, rest) = read_address(cx, at, len).await?;
    match as_socket(&file)?.family {
        AF_UNIX => Err(Errno::EOPNOTSUPP),
        _ if family != AF_INET => Err(Errno::EAFNOSUPPORT),
        // Port, then address: only "any" is an address of this machine.
        _ if rest.get(2..6) == Some(&[0; 4]) => Ok(0),
        _ => Err(Errno::EADDRNOTAVAIL),
    }
}

async fn connect(cx: &SyscallCx, [fd, at, len, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let (family, rest) = read_address(cx, at, len).await?;
    reach(cx, as_socket(&file)?, family, &rest).await
}

/// What trying to reach an address comes to.
async fn reach(cx: &SyscallCx, socket: &Socket, family: u16, rest: &[u8]) -> Result<i64> {
    if socket.family == AF_INET {
        return Err(match family {
            // AF_UNSPEC dissolves an association that there is not.
            0 if socket.is_datagram() => return Ok(0),
            AF_INET if rest.len() < 6 => Errno::EINVAL,
            AF_INET => Errno::ENETUNREACH,
            _ => Errno::EAFNOSUPPORT,
        });
    }
    if family != AF_UNIX {
        return Err(Errno::EINVAL);
    }
    let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.is_empty() {
        // An abstract name.
        return Err(Errno::ECONNREFUSED);
    }
    let path = walk::resolve(cx, linux_abi::fcntl::AT_FDCWD, name, Follow::Yes).await?;
    permission::check(&path.inode().metadata(), &cx.creds(), May::WRITE)?;
    // A socket that nobody listens on, or no socket at all.
    Err(Errno::ECONNREFUSED)
}

async fn listen(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    find(cx, fd)?;
    Err(Errno::EOPNOTSUPP)
}

async fn accept4(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    Err(if as_socket(&file)?.is_datagram() { Errno::EOPNOTSUPP } else { Errno::EINVAL })
}

async fn write_option(cx: &SyscallCx, at: u64, len_at: u64, value: &[u8]) -> Result<i64> {
    let room = cx.read_u32(len_at).await?;
    if (room as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let len = value.len().min(room as usize);
    cx.write_user(at, &value[..len]).await?;
    cx.write_u32(len_at, len as u32).await?;
    Ok(0)
}

async fn getsockopt(cx: &SyscallCx, [fd, level, name, value, len, _]: Args) -> Result<i64> {
    const SOL_SOCKET: u64 = 1;
    let file = find(cx, fd)?;
    let socket = as_socket(&file)?;
    if level != SOL_SOCKET {
        return Err(if socket.family == AF_UNIX { Errno::EOPNOTSUPP } else { Errno::ENOPROTOOPT });
    }
    let word = match name {
        3 => socket.kind,
        // SO_ERROR, SO_REUSEADDR, SO_BROADCAST, SO_KEEPALIVE, SO_ACCEPTCONN
        2 | 4 | 6 | 9 | 30 => 0,
        7 | 8 => 212_992,
        38 => socket.protocol,
        39 => u32::from(socket.family),
        _ => return Err(Errno::ENOPROTOOPT),
    };
    write_option(cx, value, len, &word.to_le_bytes()).await
}

async fn setsockopt(cx: &SyscallCx, [fd, level, _, value, len, _]: Args) -> Result<i64> {
    const SOL_SOCKET: u64 = 1;
    let file = find(cx, fd)?;
    if level != SOL_SOCKET && as_socket(&file)?.family == AF_UNIX {
        return Err(Errno::EOPNOTSUPP);
    }
    if len < 4 {
        return Err(Errno::EINVAL);
    }
    cx.read_u32(value).await?;
    Ok(0)
}

async fn getsockname(cx: &SyscallCx, [fd, at, len, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let socket = as_socket(&file)?;
    let size = if socket.family == AF_UNIX { 2 } else { 16 };
    let mut raw = vec![0; size];
    raw[..2].copy_from_slice(&socket.family.to_le_bytes());
    let room = cx.read_u32(len).await?;
    if (room as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    cx.write_user(at, &raw[..size.min(room as usize)]).await?;
    cx.write_u32(len, size as u32).await?;
    Ok(0)
}

async fn getpeername(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    find(cx, fd)?;
    Err(Errno::ENOTCONN)
}

async fn sendto(cx: &SyscallCx, [fd, _, _, _, at, len]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let socket = as_socket(&file)?;
    if at == 0 || !socket.is_datagram() {
        return Err(socket.not_connected());
    }
    let (family, rest) = read_address(cx, at, len).await?;
    reach(cx, socket, family, &rest).await
}

async fn sendmsg(cx: &SyscallCx, [fd, header, flags, ..]: Args) -> Result<i64> {
    let (at, len) = (cx.read_u32(header).await?, cx.read_u32(header + 4).await?);
    sendto(cx, [fd, 0, 0, flags, u64::from(at), u64::from(len)]).await
}

async fn recvfrom(cx: &SyscallCx, [fd, _, _, flags, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let nonblock = file.nonblock() || flags & MSG_DONTWAIT != 0;
    as_socket(&file)?.receive(cx, nonblock).await.map(|count| count as i64)
}

async fn recvmsg(cx: &SyscallCx, [fd, _, flags, ..]: Args) -> Result<i64> {
    recvfrom(cx, [fd, 0, 0, flags, 0, 0]).await
}

async fn shutdown(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    find(cx, fd)?;
    Err(Errno::ENOTCONN)
}
