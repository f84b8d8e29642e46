//! proc: processes and the machine as files (proc(5)).
//!
//! `machine` has the files that are about the whole machine, `sysctl` those below `sys`, `process` the directory of a
//! process or thread, `memory` what it shows of an address space, `fds` its descriptors, `mounts` the mount tables.

mod fds;
mod load;
mod machine;
mod memory;
mod mounts;
mod net;
mod process;
mod status;
mod sysctl;

pub(crate) use load::LoadAverage;

use std::rc::Rc;

use super::generated::{Directory, Entry, Fixed, GeneratedFs, directory, file};
use crate::ptrace;
use crate::task::{Pid, Task, cap};
use crate::vfs::{FileType, permission};
use crate::{Errno, Kernel, Result, SyscallCx};

const MAGIC: u32 = 0x9fa0;

/// Makes a proc file system of a kernel.
pub fn new(kernel: &Kernel) -> Rc<GeneratedFs> {
    load::start(kernel);
    GeneratedFs::new("proc", MAGIC, kernel.vfs.new_device_number(), Rc::new(Root), kernel.now_realtime())
}

/// Names in the root beside the processes.
const ROOT: &[Fixed] = &[
    file!("cmdline", machine::cmdline),
    file!("cpuinfo", machine::cpuinfo),
    file!("devices", machine::devices),
    file!("filesystems", machine::filesystems),
    file!("interrupts", machine::interrupts),
    file!("loadavg", load::loadavg),
    file!("locks", machine::locks),
    file!("meminfo", machine::meminfo),
    file!("misc", machine::empty),
    file!("modules", machine::empty),
    file!("partitions", machine::partitions),
    file!("stat", machine::stat),
    file!("swaps", machine::swaps),
    directory!("sys", sysctl::ROOT),
    file!("sysrq-trigger", machine::sysrq, machine::trigger_sysrq),
    directory!("sysvipc", machine::SYSVIPC),
    file!("uptime", machine::uptime),
    file!("version", machine::version),
    file!("vmstat", machine::vmstat),
    Fixed { name: "mounts", kind: FileType::Symlink, make: || Entry::link(|_| Ok(b"self/mounts".to_vec())) },
    Fixed { name: "net", kind: FileType::Symlink, make: || Entry::link(|_| Ok(b"self/net".to_vec())) },
    Fixed { name: "self", kind: FileType::Symlink, make: || Entry::link(|cx| Ok(decimal(cx.task.pid()))) },
    Fixed {
        name: "thread-self",
        kind: FileType::Symlink,
        make: || Entry::link(|cx| Ok(format!("{}/task/{}", cx.task.pid(), cx.task.tid()).into_bytes())),
    },
];

struct Root;

impl Directory for Root {
    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        if let Some(entry) = ROOT.iter().find(|entry| entry.name.as_bytes() == name) {
            return Some((entry.make)());
        }
        let pid = parse_pid(name)?;
        let task = cx.kernel.processes.task(pid)?;
        Some(process::directory(&task, process::Scope::Process))
    }

    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        let fixed = ROOT.iter().map(|entry| (entry.name.as_bytes().to_vec(), entry.kind));
        let processes = cx.kernel.processes.groups().into_iter().map(|group| (decimal(group.pid), FileType::Directory));
        fixed.chain(processes).collect()
    }
}

fn decimal(number: impl std::fmt::Display) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// A process number as the only way to write it; `007` is none.
fn parse_pid(name: &[u8]) -> Option<Pid> {
    let text = std::str::from_utf8(name).ok()?;
    text.parse::<Pid>().ok().filter(|pid| *pid > 0 && pid.to_string() == text)
}

/// EACCES unless the caller may look into a process.
fn check_inspect(cx: &SyscallCx, task: &Task) -> Result<()> {
    if ptrace::may_access(cx, task, ptrace::Identity::FileSystem) { Ok(()) } else { Err(Errno::EACCES) }
}

/// EPERM unless the caller is the superuser, for files that change the machine.
fn check_admin(cx: &SyscallCx) -> Result<()> {
    let creds = cx.creds();
    if creds.fsuid == 0 || creds.capable(cap::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether the caller owns a task, in the sense of a file's owner.
fn check_owner(cx: &SyscallCx, task: &Task) -> Result<()> {
    let meta = crate::vfs::Metadata { uid: task.credentials().euid, ..Default::default() };
    permission::check_owner(&meta, &cx.creds())
}
