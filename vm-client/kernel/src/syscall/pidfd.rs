//! Processes as descriptors: pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).

use std::rc::Rc;

use linux_abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_RDWR};
use linux_abi::siginfo::SigInfo;

use super::event_files::install;
use super::signal::{check_forgery, may_kill, number, read_info};
use super::table::{Args, Row, now, wait};
use crate::fs::generated::process_of;
use crate::fs::pidfd::PidFd;
use crate::task::{ThreadGroup, cap};
use crate::vfs::OnExec;
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(424, "pidfd_send_signal", pidfd_send_signal),
    now!(434, "pidfd_open", pidfd_open),
    now!(438, "pidfd_getfd", pidfd_getfd),
];

fn pidfd_open(cx: &SyscallCx, [pid, flags, ..]: Args) -> Result<i64> {
    let (pid, flags) = (pid as i32, flags as u32);
    if pid <= 0 || flags & !O_NONBLOCK != 0 {
        return Err(Errno::EINVAL);
    }
    if let Some(group) = cx.kernel.processes.group(pid) {
        return open(cx, &group, flags);
    }
    // A thread has a number, but is no process.
    Err(if cx.kernel.processes.task(pid).is_some() { Errno::EINVAL } else { Errno::ESRCH })
}

/// Gives a process a descriptor in the caller's table; it is always closed at execve(2).
pub(crate) fn open(cx: &SyscallCx, group: &Rc<ThreadGroup>, flags: u32) -> Result<i64> {
    install(cx, PidFd::new(group), O_RDWR, flags & O_NONBLOCK | O_CLOEXEC)
}

/// The process behind a descriptor.
pub(super) fn process(cx: &SyscallCx, fd: u64) -> Result<Rc<ThreadGroup>> {
    let file = cx.files().get(fd as i32)?;
    file.downcast::<PidFd>().map(|pidfd| Rc::clone(pidfd.group())).ok_or(Errno::EBADF)
}

/// The same; a directory of /proc will do too.
fn process_or_its_directory(cx: &SyscallCx, fd: u64) -> Result<Rc<ThreadGroup>> {
    let file = cx.files().get(fd as i32)?;
    match process_of(&**file.inode()) {
        Some(pid) => cx.kernel.processes.group(pid).ok_or(Errno::ESRCH),
        None => process(cx, fd),
    }
}

async fn pidfd_send_signal(cx: &SyscallCx, [fd, signal, info, flags, ..]: Args) -> Result<i64> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let group = process_or_its_directory(cx, fd)?;
    let wanted = number(signal)?;
    let info = if info == 0 {
        wanted.map(|signal| SigInfo::kill(signal, cx.task.pid(), cx.creds().uid))
    } else {
        let info = read_info(cx, signal, info).await?;
        check_forgery(cx, group.pid, &info)?;
        Some(info)
    };
    let known = cx.kernel.processes.group(group.pid).is_some_and(|known| Rc::ptr_eq(&known, &group));
    if !known {
        return Err(Errno::ESRCH);
    }
    if !may_kill(cx, &group, wanted) {
        return Err(Errno::EPERM);
    }
    if let Some(info) = info.filter(|_| wanted.is_some()) {
        cx.kernel.send_signal_group(&group, info);
    }
    Ok(0)
}

fn pidfd_getfd(cx: &SyscallCx, [pidfd, fd, flags, ..]: Args) -> Result<i64> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let group = process(cx, pidfd)?;
    let task = group.leader().filter(|_| !group.is_zombie()).ok_or(Errno::ESRCH)?;
    let (mine, theirs) = (cx.creds(), task.credentials());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|uid| *uid == mine.fsuid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|gid| *gid == mine.fsgid)
        && group.dumpable.get() == 1;
    if !same && !mine.capable(cap::SYS_PTRACE) && !Rc::ptr_eq(&group, &cx.task.group) {
        return Err(Errno::EPERM);
    }
    let file = task.fd_table().get_any(fd as i32)?;
    cx.install(file, OnExec::Close).map(i64::from)
}
