//! Sending and receiving: send(2), sendmsg(2), sendmmsg(2), recv(2), recvmsg(2), recvmmsg(2), and read(2) and write(2) of
//! sockets.

use std::rc::Rc;
use std::time::Duration;

use linux_abi::layout::Reader;
use linux_abi::socket::*;
use linux_abi::time::Timespec;

use super::control;
use super::{as_socket, find, read_address};
use crate::net::Socket;
use crate::net::protocol::{Ancillary, Incoming, Outgoing};
use crate::syscall::table::Args;
use crate::syscall::user_buffer::UserBuffer;
use crate::vfs::OpenFile;
use crate::{Errno, Result, SyscallCx};

/// Bytes of a stream that are moved at once.
const PIECE: usize = 64 * 1024;
/// The longest message with borders that anybody could send.
const RECORD_MAX: usize = 4 * 1024 * 1024;
/// Messages that one call sends or receives at most (UIO_MAXIOV).
const VECTOR_MAX: usize = 1024;

/// What goes with the bytes of a message, decoded.
#[derive(Default)]
struct Extra {
    to: Option<SockAddr>,
    ancillary: Ancillary,
}

async fn send(cx: &SyscallCx, file: &OpenFile, mut buffer: UserBuffer, flags: u32, extra: Extra) -> Result<usize> {
    let socket = as_socket(file)?;
    let patience = socket.common.patience_to_send(cx, file.nonblock() || flags & MSG_DONTWAIT != 0);
    let total = buffer.len();
    let Extra { to, ancillary } = extra;
    if socket.protocol.keeps_borders() {
        if total > RECORD_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let data = buffer.take(cx, total).await?;
        if data.len() < total {
            return Err(Errno::EFAULT);
        }
        return socket.send(cx, Outgoing { data: &data, to, ancillary, flags, patience }).await;
    }
    let mut first = Some((to, ancillary));
    let mut done = 0;
    loop {
        let (to, ancillary) = first.take().unwrap_or_default();
        let more = done > 0;
        let step = async {
            let data = buffer.take(cx, PIECE).await?;
            // Nothing came of the first piece if the signal is to be sent.
            let flags = if more { flags | MSG_NOSIGNAL } else { flags };
            let sent = socket.send(cx, Outgoing { data: &data, to, ancillary, flags, patience }).await?;
            Ok((sent, sent < data.len()))
        };
        match step.await {
            Ok((sent, short)) => {
                done += sent;
                if short || done >= total {
                    return Ok(done);
                }
            }
            Err(_) if more => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives into the caller's memory. The result has everything but the bytes, which are counted.
async fn receive(cx: &SyscallCx, file: &OpenFile, mut buffer: UserBuffer, flags: u32) -> Result<(Incoming, usize)> {
    let socket = as_socket(file)?;
    let total = buffer.len();
    let nonblock = file.nonblock();
    buffer.check_writable(cx).await?;
    let borders = socket.protocol.keeps_borders() || flags & (MSG_OOB | MSG_ERRQUEUE) != 0;
    let piece = if borders { RECORD_MAX } else { PIECE };
    let mut wanted = socket.common.wanted(cx, total.min(piece), flags, nonblock);
    let mut incoming = socket.protocol.receive(cx, wanted).await?;
    let mut data = std::mem::take(&mut incoming.data);
    let mut done = data.len();
    buffer.put(cx, &data).await?;
    // A full piece may be followed by more; MSG_WAITALL waits for it.
    let patient = flags & MSG_WAITALL != 0 && !nonblock && flags & MSG_DONTWAIT == 0;
    while !borders && flags & MSG_PEEK == 0 && done < total && incoming.ancillary.rights.is_none() && !data.is_empty() {
        if !patient && data.len() < wanted.max {
            break;
        }
        wanted.max = (total - done).min(PIECE);
        wanted.patience.nonblock = !patient;
        let Ok(mut next) = socket.protocol.receive(cx, wanted).await else { break };
        data = std::mem::take(&mut next.data);
        done += data.len();
        buffer.put(cx, &data).await?;
        incoming.ancillary.rights = next.ancillary.rights.take();
        incoming.full_len += data.len();
    }
    Ok((incoming, done))
}

/// read(2) of a socket.
pub(in crate::syscall) async fn read_socket(cx: &SyscallCx, file: &OpenFile, buffer: UserBuffer) -> Result<usize> {
    if buffer.len() == 0 {
        return Ok(0);
    }
    receive(cx, file, buffer, 0).await.map(|(_, done)| done)
}

/// write(2) of a socket.
pub(in crate::syscall) async fn write_socket(cx: &SyscallCx, file: &OpenFile, buffer: UserBuffer) -> Result<usize> {
    send(cx, file, buffer, 0, Extra::default()).await
}

pub(super) async fn sendto(cx: &SyscallCx, [fd, at, len, flags, to, to_len]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let to = if to == 0 || to_len == 0 { None } else { Some(read_address(cx, to, to_len).await?) };
    let extra = Extra { to, ..Extra::default() };
    Ok(send(cx, &file, UserBuffer::one(at, len), flags as u32, extra).await? as i64)
}

async fn send_message(cx: &SyscallCx, file: &Rc<OpenFile>, at: u64, flags: u32) -> Result<usize> {
    let width = cx.width();
    let mut raw = [0; 56];
    let raw = raw.get_mut(..MessageHeader::size(width)).ok_or(Errno::EINVAL)?;
    cx.read_user(at, raw).await?;
    let header = MessageHeader::decode(width, raw);
    let socket: &Socket = as_socket(file)?;
    let to = if header.name == 0 || header.name_len == 0 {
        None
    } else {
        let len = header.name_len.min(SOCKADDR_MAX as u32);
        Some(read_address(cx, header.name, u64::from(if (header.name_len as i32) < 0 { u32::MAX } else { len })).await?)
    };
    let buffer = UserBuffer::iovec(cx, header.iov, header.iov_len).await.map_err(too_many)?;
    let mut extra = Extra { to, ..Extra::default() };
    if header.control != 0 && header.control_len > 0 {
        let messages = control::read(cx, header.control, header.control_len).await?;
        extra.ancillary = control::prepare(cx, socket, messages)?;
    }
    send(cx, file, buffer, flags, extra).await
}

/// A vector of messages with too many parts is EMSGSIZE, unlike readv(2)'s.
fn too_many(errno: Errno) -> Errno {
    if errno == Errno::EINVAL { Errno::EMSGSIZE } else { errno }
}

pub(super) async fn sendmsg(cx: &SyscallCx, [fd, at, flags, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    Ok(send_message(cx, &file, at, flags as u32).await? as i64)
}

pub(super) async fn sendmmsg(cx: &SyscallCx, [fd, at, count, flags, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let size = MessageHeader::size_in_vector(cx.width()) as u64;
    let mut done = 0;
    while done < (count as u32 as usize).min(VECTOR_MAX) {
        let header = at + done as u64 * size;
        let sent = match send_message(cx, &file, header, flags as u32).await {
            Ok(sent) => sent,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        };
        cx.write_u32(header + MessageHeader::size(cx.width()) as u64, sent as u32).await?;
        done += 1;
    }
    Ok(done as i64)
}

pub(super) async fn recvfrom(cx: &SyscallCx, [fd, at, len, flags, from, from_len]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    let flags = flags as u32;
    let (incoming, done) = receive(cx, &file, UserBuffer::one(at, len), flags).await?;
    if from != 0 {
        let address = incoming.from.as_ref().map(SockAddr::encode).unwrap_or_default();
        super::write_address(cx, from, from_len, &address).await?;
    }
    let borders = as_socket(&file)?.protocol.keeps_borders();
    Ok(if flags & MSG_TRUNC != 0 && borders { incoming.full_len } else { done } as i64)
}

async fn receive_message(cx: &SyscallCx, file: &Rc<OpenFile>, at: u64, flags: u32) -> Result<usize> {
    let width = cx.width();
    let mut raw = [0; 56];
    let raw = raw.get_mut(..MessageHeader::size(width)).ok_or(Errno::EINVAL)?;
    cx.read_user(at, raw).await?;
    let header = MessageHeader::decode(width, raw);
    if header.name != 0 && (header.name_len as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let buffer = UserBuffer::iovec(cx, header.iov, header.iov_len).await.map_err(too_many)?;
    let (mut incoming, done) = receive(cx, file, buffer, flags).await?;
    let socket = as_socket(file)?;
    let borders = socket.protocol.keeps_borders();
    let [name_len_at, control_len_at, flags_at] = MessageHeader::output_offsets(width);
    if header.name != 0 {
        let address = incoming.from.as_ref().map(SockAddr::encode).unwrap_or_default();
        let room = header.name_len as usize;
        cx.write_user(header.name, address.get(..room).unwrap_or(&address)).await?;
        cx.write_u32(at + name_len_at, address.len() as u32).await?;
    }
    let mut out_flags = incoming.flags | flags & MSG_CMSG_CLOEXEC;
    if borders && incoming.full_len > done {
        out_flags |= MSG_TRUNC;
    }
    let (used, cut) = control::write(cx, socket, &mut incoming, header.control, header.control_len, flags).await?;
    if cut {
        out_flags |= MSG_CTRUNC;
    }
    cx.write_u32(at + flags_at, out_flags).await?;
    cx.write_word(at + control_len_at, used).await?;
    Ok(if flags & MSG_TRUNC != 0 && borders { incoming.full_len } else { done })
}

pub(super) async fn recvmsg(cx: &SyscallCx, [fd, at, flags, ..]: Args) -> Result<i64> {
    let file = find(cx, fd)?;
    Ok(receive_message(cx, &file, at, flags as u32).await? as i64)
}

async fn receive_many(cx: &SyscallCx, [fd, at, count, flags, ..]: Args, until: Option<Duration>) -> Result<i64> {
    let file = find(cx, fd)?;
    let size = MessageHeader::size_in_vector(cx.width()) as u64;
    let mut flags = flags as u32;
    let mut done = 0;
    while done < (count as u32 as usize).min(VECTOR_MAX) {
        let header = at + done as u64 * size;
        let received = match receive_message(cx, &file, header, flags & !MSG_WAITFORONE).await {
            Ok(received) => received,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        };
        cx.write_u32(header + MessageHeader::size(cx.width()) as u64, received as u32).await?;
        done += 1;
        if flags & MSG_WAITFORONE != 0 {
            flags |= MSG_DONTWAIT;
        }
        if until.is_some_and(|until| until <= cx.kernel.now_monotonic()) {
            break;
        }
    }
    Ok(done as i64)
}

fn timeout(cx: &SyscallCx, sec: i64, nsec: i64) -> Result<Option<Duration>> {
    if sec < 0 || !(0..1_000_000_000).contains(&nsec) {
        return Err(Errno::EINVAL);
    }
    let timeout = Timespec { sec, nsec: nsec as u32 }.to_duration();
    Ok(Some(cx.kernel.now_monotonic().saturating_add(timeout)))
}

pub(super) async fn recvmmsg(cx: &SyscallCx, args: Args) -> Result<i64> {
    let until = if args[4] == 0 {
        None
    } else {
        let mut raw = [0; 8];
        cx.read_user(args[4], &mut raw).await?;
        let reader = Reader::new(&raw);
        timeout(cx, i64::from(reader.i32(0)), i64::from(reader.i32(4)))?
    };
    receive_many(cx, args, until).await
}

pub(super) async fn recvmmsg_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let until = if args[4] == 0 {
        None
    } else {
        let mut raw = [0; 16];
        cx.read_user(args[4], &mut raw).await?;
        let reader = Reader::new(&raw);
        timeout(cx, reader.i64(0), i64::from(reader.i32(8)))?
    };
    receive_many(cx, args, until).await
}
