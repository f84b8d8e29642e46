//! open(2) and its relatives.

use linux_abi::fcntl::{AT_FDCWD, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_PATH, O_TMPFILE, O_TRUNC, O_WRONLY};

use super::table::{Args, Row, wait};
use crate::task::Resource;
use crate::vfs::{OnExec, OpenFile, OpenFlags, open};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(5, "open", sys_open),
    wait!(8, "creat", sys_creat),
    wait!(295, "openat", sys_openat),
    wait!(437, "openat2", sys_openat2, "no RESOLVE_ flags"),
];

impl SyscallCx {
    /// The caller's limit on descriptors.
    pub fn nofile_limit(&self) -> u64 {
        self.task.group.rlimits.borrow().soft(Resource::Nofile)
    }

    /// Gives an open file the lowest free descriptor.
    pub fn install(&self, file: std::rc::Rc<OpenFile>, on_exec: OnExec) -> Result<i32> {
        self.files().insert_from(0, file, on_exec, self.nofile_limit())
    }
}

/// Flags that open(2) knows; it ignores others.
const KNOWN: u32 = 0o37_777_703 | 0o100_000;

async fn do_open(cx: &SyscallCx, at: i32, name: u64, flags: u32, mode: u32) -> Result<i64> {
    let name = cx.read_path(name).await?;
    let mut flags = flags & KNOWN;
    if flags & O_PATH != 0 {
        flags &= O_PATH | O_CLOEXEC | O_DIRECTORY | linux_abi::fcntl::O_NOFOLLOW;
    }
    let flags = OpenFlags(flags);
    // What only kernels that know O_TMPFILE refuse keeps older ones from opening the directory instead.
    let unnamed = flags.0 & (O_TMPFILE & !O_DIRECTORY) != 0;
    if unnamed && (!flags.has(O_TMPFILE) || flags.has(O_CREAT) || !flags.writable()) {
        return Err(Errno::EINVAL);
    }
    let file = open::open(cx, at, &name, flags, mode).await?;
    Ok(i64::from(cx.install(file, OnExec::from_flag(flags.0, O_CLOEXEC))?))
}

async fn sys_open(cx: &SyscallCx, [name, flags, mode, ..]: Args) -> Result<i64> {
    do_open(cx, AT_FDCWD, name, flags as u32, mode as u32).await
}

async fn sys_creat(cx: &SyscallCx, [name, mode, ..]: Args) -> Result<i64> {
    do_open(cx, AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode as u32).await
}

async fn sys_openat(cx: &SyscallCx, [at, name, flags, mode, ..]: Args) -> Result<i64> {
    do_open(cx, at as i32, name, flags as u32, mode as u32).await
}

/// Size of the first `struct open_how`.
const OPEN_HOW_SIZE: u64 = 24;

async fn sys_openat2(cx: &SyscallCx, [at, name, how, size, ..]: Args) -> Result<i64> {
    if size < OPEN_HOW_SIZE {
        return Err(Errno::EINVAL);
    }
    let size = usize::try_from(size).ok().filter(|size| *size <= 4096).ok_or(Errno::E2BIG)?;
    let mut raw = vec![0; size];
    cx.read_user(how, &mut raw).await?;
    if raw.iter().skip(OPEN_HOW_SIZE as usize).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let how = linux_abi::layout::Reader::new(&raw);
    let (flags, mode, resolve) = (how.u64(0), how.u64(8), how.u64(16));
    let flags = u32::try_from(flags).ok().filter(|flags| flags & !KNOWN == 0).ok_or(Errno::EINVAL)?;
    let creates = flags & O_CREAT != 0 || OpenFlags(flags).has(O_TMPFILE);
    if mode & !0o7777 != 0 || (mode != 0 && !creates) {
        return Err(Errno::EINVAL);
    }
    if resolve != 0 {
        // Callers of openat2(2) that ask for a confined walk must not get an unconfined one.
        return Err(if resolve & !0x3f != 0 { Errno::EINVAL } else { Errno::ENOSYS });
    }
    do_open(cx, at as i32, name, flags, mode as u32).await
}
