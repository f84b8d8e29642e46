//! Sockets (socket(2)): descriptors, addresses and options. Messages are in `message`.
//!
//! Both doors of i386 lead here: socketcall(2), which glibc uses, and the direct calls, which musl uses. What the caller's
//! structures look like is known to `linux_abi::socket` alone; behind this file there are only decoded values.

mod control;
mod message;

use std::rc::Rc;

use linux_abi::fcntl::O_CLOEXEC;
use linux_abi::socket::*;

use super::missing;
use super::table::{Args, Row, wait};
use crate::net::protocol::shut;
use crate::net::{Socket, unix};
use crate::vfs::{OnExec, OpenFile};
use crate::{Errno, Result, SyscallCx};

pub(super) use message::{read_socket, write_socket};

pub(super) const ROWS: &[Row] = &[
    wait!(102, "socketcall", socketcall),
    wait!(337, "recvmmsg", message::recvmmsg),
    wait!(345, "sendmmsg", message::sendmmsg),
    wait!(359, "socket", socket, "Unix, Internet and netlink sockets; the Internet is the loopback interface"),
    wait!(360, "socketpair", socketpair),
    wait!(361, "bind", bind),
    wait!(362, "connect", connect),
    wait!(363, "listen", listen),
    wait!(364, "accept4", accept4),
    wait!(365, "getsockopt", getsockopt),
    wait!(366, "setsockopt", setsockopt, "filters are accepted and let everything pass"),
    wait!(367, "getsockname", getsockname),
    wait!(368, "getpeername", getpeername),
    wait!(369, "sendto", message::sendto),
    wait!(370, "sendmsg", message::sendmsg),
    wait!(371, "recvfrom", message::recvfrom),
    wait!(372, "recvmsg", message::recvmsg),
    wait!(373, "shutdown", shutdown),
    wait!(417, "recvmmsg_time64", message::recvmmsg_time64),
];

/// The longest option value that is looked at.
const OPTION_MAX: usize = 4096;

/// The open file of a descriptor, if it is a socket.
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
    let mut raw = [0; 24];
    let raw = raw.get_mut(..4 * count).ok_or(Errno::EINVAL)?;
    cx.read_user(at, raw).await?;
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
        9 => message::sendto(cx, [args[0], args[1], args[2], args[3], 0, 0]).await,
        10 => message::recvfrom(cx, [args[0], args[1], args[2], args[3], 0, 0]).await,
        11 => message::sendto(cx, args).await,
        12 => message::recvfrom(cx, args).await,
        13 => shutdown(cx, args).await,
        14 => setsockopt(cx, args).await,
        15 => getsockopt(cx, args).await,
        16 => message::sendmsg(cx, args).await,
        17 => message::recvmsg(cx, args).await,
        18 => accept4(cx, args).await,
        19 => message::recvmmsg(cx, args).await,
        _ => message::sendmmsg(cx, args).await,
    }
}

/// Takes a type word apart: the type and its flags.
fn split_type(word: u64) -> Result<(u32, u32)> {
    let (kind, flags) = (word as u32 & 0xf, word as u32 & !0xf);
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 { Err(Errno::EINVAL) } else { Ok((kind, flags)) }
}

async fn socket(cx: &SyscallCx, [family, kind, protocol, ..]: Args) -> Result<i64> {
    let (kind, flags) = split_type(kind)?;
    let made = Socket::create(cx, family, kind, protocol as u32);
    missing::socket(cx, family, kind, protocol, &made);
    let (common, protocol) = made?;
    let file = Socket::open(cx, common, protocol, flags);
    cx.install(file, OnExec::from_flag(flags, O_CLOEXEC)).map(i64::from)
}

async fn socketpair(cx: &SyscallCx, [family, kind, protocol, to, ..]: Args) -> Result<i64> {
    let (kind, flags) = split_type(kind)?;
    if family != u64::from(AF_UNIX) {
        Socket::create(cx, family, kind, protocol as u32)?;
        return Err(Errno::EOPNOTSUPP);
    }
    let [a, b] = unix::pair(cx, kind, protocol as u32)?;
    let on_exec = OnExec::from_flag(flags, O_CLOEXEC);
    let open = |one: Rc<unix::Unix>| Socket::open(cx, Rc::clone(&one.common), one, flags);
    let (a, b) = (open(a), open(b));
    let files = cx.files();
    let first = cx.install(a, on_exec)?;
    let second = cx.install(b, on_exec).inspect_err(|_| drop(files.remove(first)))?;
    let mut raw = [0; 8];
    raw[..4].copy_from_slice(&first.to_le_bytes());
    raw[4..].copy_from_slice(&second.to_le_bytes());
    if let Err(errno) = cx.write_user(to, &raw).await {
        drop(files.remove(first));
        drop(files.remove(second));
        return Err(errno);
    }
    Ok(0)
}

/// The address at a place of the caller's memory.
async fn read_address(cx: &SyscallCx, at: u64, len: u64) -> Result<SockAddr> {
    let len = usize::try_from(len as u32 as i32).map_err(|_| Errno::EINVAL)?;
    if len > SOCKADDR_MAX {
        return Err(Errno::EINVAL);
    }
    let mut raw = [0; SOCKADDR_MAX];
    let raw = raw.get_mut(..len).ok_or(Errno::EINVAL)?;
    cx.read_user(at, raw).await?;
    SockAddr::decode(raw)
}

/// Writes an address, cut to the room that the word at `len_at` tells, and its length to that word.
async fn write_address(cx: &SyscallCx, at: u64, len_at: u64, address: &[u8]) -> Result<()> {
    let room = usize::try_from(cx.read_u32(len_at).await? as i32).map_err(|_| Errno::EINVAL)?;
    cx.write_user(at, address.get(..room).unwrap_or(address)).await?;
    cx.write_u32(len_at, address.len() as u32).await
}

async fn bind(cx: &SyscallCx, [fd, at, len, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let address = read_address(cx, at, len).await?;
    as_socket(&file)?.protocol.bind(cx, address).await?;
    Ok(0)
}

async fn connect(cx: &SyscallCx, [fd, at, len, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let address = read_address(cx, at, len).await?;
    let socket = as_socket(&file)?;
    let patience = socket.common.patience_to_send(cx, file.nonblock());
    socket.protocol.connect(cx, address, patience).await?;
    Ok(0)
}

async fn listen(cx: &SyscallCx, [fd, backlog, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let backlog = (backlog as u32 as usize).min(unix::SOMAXCONN);
    as_socket(&file)?.protocol.listen(cx, backlog)?;
    Ok(0)
}

async fn accept4(cx: &SyscallCx, [fd, at, len_at, flags, ..]: Args) -> Result<i64> {
    let flags = flags as u32;
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = find(cx, fd)?;
    let socket = as_socket(&file)?;
    let patience = socket.common.patience_to_receive(cx, file.nonblock());
    // Before a connection is taken: it must not be lost for want of a descriptor.
    cx.files().check_room(cx.nofile_limit())?;
    let protocol = socket.protocol.accept(cx, patience).await?;
    let accepted = Socket::open(cx, protocol.common(), Rc::clone(&protocol), flags);
    if at != 0 {
        let peer = protocol.accepted_peer().map_err(|_| Errno::ECONNABORTED)?;
        write_address(cx, at, len_at, &peer.encode()).await?;
    }
    cx.install(accepted, OnExec::from_flag(flags, O_CLOEXEC)).map(i64::from)
}

async fn getsockname(cx: &SyscallCx, [fd, at, len_at, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let address = as_socket(&file)?.protocol.local();
    write_address(cx, at, len_at, &address.encode()).await?;
    Ok(0)
}

async fn getpeername(cx: &SyscallCx, [fd, at, len_at, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let address = as_socket(&file)?.protocol.peer()?;
    write_address(cx, at, len_at, &address.encode()).await?;
    Ok(0)
}

async fn getsockopt(cx: &SyscallCx, [fd, level, name, at, len_at, _]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let room = usize::try_from(cx.read_u32(len_at).await? as i32).map_err(|_| Errno::EINVAL)?;
    let socket = as_socket(&file)?;
    let result = socket.get_option(cx, level as u32, name as u32, room);
    missing::socket_option(cx, "socket option (get)", level as u32, name as u32, &result);
    if result == Err(Errno::ERANGE) {
        // The size that would do comes out with the error (SO_PEERGROUPS).
        let needed = socket.get_option(cx, level as u32, name as u32, usize::MAX)?;
        cx.write_u32(len_at, needed.len() as u32).await?;
    }
    let value = result?;
    let value = value.get(..room).unwrap_or(&value);
    cx.write_user(at, value).await?;
    cx.write_u32(len_at, value.len() as u32).await?;
    Ok(0)
}

async fn setsockopt(cx: &SyscallCx, [fd, level, name, at, len, _]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let len = usize::try_from(len as u32 as i32).map_err(|_| Errno::EINVAL)?;
    let mut value = vec![0; len.min(OPTION_MAX)];
    cx.read_user(at, &mut value).await?;
    let result = as_socket(&file)?.set_option(cx, level as u32, name as u32, &value);
    missing::socket_option(cx, "socket option (set)", level as u32, name as u32, &result);
    result.map(|()| 0)
}

async fn shutdown(cx: &SyscallCx, [fd, how, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let how = match how as u32 {
        0 => shut::READ,
        1 => shut::WRITE,
        2 => shut::BOTH,
        _ => return Err(Errno::EINVAL),
    };
    as_socket(&file)?.protocol.shutdown(how)?;
    Ok(0)
}
