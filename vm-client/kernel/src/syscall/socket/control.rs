//! Control messages: files and credentials that go with a message (cmsg(3), unix(7)).

use linux_abi::fcntl::O_CLOEXEC;
use linux_abi::socket::*;

use crate::net::Socket;
use crate::net::protocol::{Ancillary, Incoming};
use crate::task::cap;
use crate::vfs::OnExec;
use crate::{Errno, Result, SyscallCx};

/// Files that one message may take along (SCM_MAX_FD).
const FILES_MAX: usize = 253;
/// Bytes of control messages that are taken (net.core.optmem_max).
const CONTROL_MAX: u64 = 20_480;

/// The control messages in the caller's memory.
pub(super) async fn read(cx: &SyscallCx, at: u64, len: u64) -> Result<Vec<ControlMessage>> {
    if len > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let mut raw = vec![0; len as usize];
    cx.read_user(at, &mut raw).await?;
    ControlMessage::decode_all(cx.width(), &raw)
}

/// Looks up what control messages name. Those that choose among interfaces and addresses change
/// nothing; there is one.
pub(super) fn prepare(cx: &SyscallCx, socket: &Socket, messages: Vec<ControlMessage>) -> Result<Ancillary> {
    let is_unix = socket.common.family == AF_UNIX;
    let mut ancillary = Ancillary::default();
    let mut files = Vec::new();
    for message in messages {
        match (message.level, message.kind) {
            (SOL_SOCKET, SCM_RIGHTS | SCM_CREDENTIALS) if !is_unix && socket.common.family != AF_NETLINK => {}
            (SOL_SOCKET, SCM_RIGHTS) => {
                if !is_unix {
                    return Err(Errno::EINVAL);
                }
                for fd in message.data.chunks_exact(4) {
                    let fd = i32::from_le_bytes([fd[0], fd[1], fd[2], fd[3]]);
                    files.push(cx.files().get_any(fd)?);
                }
                if files.len() > FILES_MAX {
                    return Err(Errno::EINVAL);
                }
            }
            (SOL_SOCKET, SCM_CREDENTIALS) => {
                if message.data.len() != Ucred::SIZE {
                    return Err(Errno::EINVAL);
                }
                let claimed = Ucred::decode(&message.data);
                check_credentials(cx, claimed)?;
                ancillary.creds = Some(claimed);
            }
            (SOL_SOCKET, _) => return Err(Errno::EINVAL),
            (IPPROTO_IP | IPPROTO_IPV6, _) if !is_unix => ancillary.header.push(message),
            _ => {}
        }
    }
    if !files.is_empty() {
        let rights = &cx.kernel.net.rights;
        let privileged = cx.creds().capable(cap::SYS_RESOURCE) || cx.creds().capable(cap::SYS_ADMIN);
        if !privileged && rights.len() as u64 > cx.nofile_limit() {
            return Err(Errno::ETOOMANYREFS);
        }
        ancillary.rights = Some(rights.send(files));
    }
    Ok(ancillary)
}

/// EPERM unless the caller may say this of itself.
fn check_credentials(cx: &SyscallCx, claimed: Ucred) -> Result<()> {
    let creds = cx.creds();
    let pid = claimed.pid == cx.task.pid() || creds.capable(cap::SYS_ADMIN);
    let uid = [creds.uid, creds.euid, creds.suid].contains(&claimed.uid) || creds.capable(cap::SETUID);
    let gid = [creds.gid, creds.egid, creds.sgid].contains(&claimed.gid) || creds.capable(cap::SETGID);
    if !(pid && uid && gid) {
        return Err(Errno::EPERM);
    }
    if claimed.pid != cx.task.pid() && cx.kernel.processes.group(claimed.pid).is_none() {
        return Err(Errno::ESRCH);
    }
    Ok(())
}

/// The caller's control buffer while it is filled.
struct Room {
    at: u64,
    left: u64,
    used: u64,
    cut: bool,
}

impl Room {
    async fn put(&mut self, cx: &SyscallCx, message: &ControlMessage) -> Result<()> {
        let width = cx.width();
        let header = ControlMessage::header_size(width);
        if self.left < header as u64 {
            self.cut = true;
            return Ok(());
        }
        let len = header + message.data.len();
        let mut raw = message.encode(width);
        if self.left < len as u64 {
            // What does not fit is cut, and so is the length in its header.
            self.cut = true;
            let room = self.left as usize;
            linux_abi::layout::Writer::new(&mut raw).word(width, 0, room as u64);
            raw.truncate(room);
        } else {
            raw.truncate(len);
        }
        cx.write_user(self.at, &raw).await?;
        let step = (len.next_multiple_of(width.bytes()) as u64).min(self.left);
        self.at += step;
        self.left -= step;
        self.used += step;
        Ok(())
    }
}

/// Writes what came with a message. Gives the bytes used, and whether something did not fit.
pub(super) async fn write(
    cx: &SyscallCx,
    socket: &Socket,
    incoming: &mut Incoming,
    at: u64,
    len: u64,
    flags: u32,
) -> Result<(u64, bool)> {
    let mut room = Room { at, left: if at == 0 { 0 } else { len }, used: 0, cut: false };
    for message in &incoming.control {
        room.put(cx, message).await?;
    }
    if socket.common.passes_credentials.get() {
        let overflow = Ucred { pid: 0, uid: 65_534, gid: 65_534 };
        let data = incoming.ancillary.creds.unwrap_or(overflow).encode();
        room.put(cx, &ControlMessage { level: SOL_SOCKET, kind: SCM_CREDENTIALS, data }).await?;
    }
    let Some(rights) = incoming.ancillary.rights.take() else { return Ok((room.used, room.cut)) };
    let fitting = (room.left as usize).saturating_sub(ControlMessage::header_size(cx.width())) / 4;
    let on_exec = if flags & MSG_CMSG_CLOEXEC != 0 { OnExec::Close } else { OnExec::from_flag(0, O_CLOEXEC) };
    let mut data = Vec::new();
    for file in rights.files().iter().take(fitting) {
        let Ok(fd) = cx.install(file.clone(), on_exec) else { break };
        data.extend_from_slice(&fd.to_le_bytes());
    }
    room.cut |= data.len() / 4 < rights.files().len();
    if !data.is_empty() {
        room.put(cx, &ControlMessage { level: SOL_SOCKET, kind: SCM_RIGHTS, data }).await?;
    }
    Ok((room.used, room.cut))
}
