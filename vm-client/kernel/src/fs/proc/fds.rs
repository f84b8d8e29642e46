//! /proc/PID/fd and /proc/PID/fdinfo.

use std::rc::Rc;

use super::decimal;
use super::process::{inspect, owner};
use crate::fs::generated::{Directory, Entry};
use crate::task::Pid;
use crate::vfs::{FileType, OnExec, OpenFile};
use crate::{Result, SyscallCx};

/// Links to what is open.
pub(super) struct Descriptors {
    pub(super) tid: Pid,
}

/// Position and flags of what is open.
pub(super) struct Information {
    pub(super) tid: Pid,
}

fn parse(name: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(name).ok()?;
    text.parse::<i32>().ok().filter(|fd| *fd >= 0 && fd.to_string() == text)
}

fn open_file(cx: &SyscallCx, tid: Pid, fd: i32) -> Result<Rc<OpenFile>> {
    inspect(cx, tid)?.fd_table().get_any(fd)
}

fn numbers(cx: &SyscallCx, tid: Pid, kind: FileType) -> Vec<(Vec<u8>, FileType)> {
    let Ok(task) = inspect(cx, tid) else { return Vec::new() };
    task.fd_table().numbers().into_iter().map(|fd| (decimal(fd), kind)).collect()
}

/// What the link of an open file shows.
pub(super) fn shown(cx: &SyscallCx, file: &OpenFile) -> Vec<u8> {
    if let Some(text) = file.file().description() {
        return text.into_bytes();
    }
    let meta = file.inode().metadata();
    if file.path().dentry.parent().is_none() && file.path().mount.point().is_none() {
        match meta.file_type() {
            FileType::Fifo => return format!("pipe:[{}]", meta.ino).into_bytes(),
            FileType::Socket => return format!("socket:[{}]", meta.ino).into_bytes(),
            _ => {}
        }
    }
    file.path().display_proc(&cx.fs().root())
}

impl Directory for Descriptors {
    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        let (tid, fd) = (self.tid, parse(name)?);
        let flags = open_file(cx, tid, fd).ok()?.flags();
        let mode = if flags.readable() { 0o500 } else { 0 } | if flags.writable() { 0o300 } else { 0 };
        let show = move |cx: &SyscallCx| Ok(shown(cx, &*open_file(cx, tid, fd)?));
        let jump = move |cx: &SyscallCx| Ok(open_file(cx, tid, fd)?.path().clone());
        Some(Entry::Link(mode, Rc::new(show), Some(Rc::new(jump))))
    }

    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        numbers(cx, self.tid, FileType::Symlink)
    }

    fn mode(&self) -> u32 {
        0o500
    }

    fn owner(&self, cx: &SyscallCx) -> (u32, u32) {
        owner(cx, self.tid)
    }
}

impl Directory for Information {
    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        let (tid, fd) = (self.tid, parse(name)?);
        open_file(cx, tid, fd).ok()?;
        Some(Entry::text(move |cx| {
            let file = open_file(cx, tid, fd)?;
            let cloexec = match inspect(cx, tid)?.fd_table().on_exec(fd)? {
                OnExec::Close => linux_abi::fcntl::O_CLOEXEC,
                OnExec::Keep => 0,
            };
            let (position, flags) = (file.position_now(), file.flags().0 | cloexec);
            let (mount, ino) = (file.path().mount.id, file.inode().metadata().ino);
            let more = file.file().fdinfo(cx);
            Ok(format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n{more}").into_bytes())
        }))
    }

    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        numbers(cx, self.tid, FileType::Regular)
    }

    fn owner(&self, cx: &SyscallCx) -> (u32, u32) {
        owner(cx, self.tid)
    }
}
