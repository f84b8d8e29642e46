//! The directory of a process, and of one of its threads.

use std::rc::Rc;

use super::{check_inspect, check_owner, decimal, fds, memory, mounts, net, parse_pid, status};
use crate::fs::generated::{Content, Directory, Entry, later, parse_number};
use crate::namespace::file::{self as namespace, Namespace};
use crate::namespace::{IdKind, UserNs};
use crate::task::{Pid, Task, cap};
use crate::vfs::{FileType, Path};
use crate::{Errno, Result, SyscallCx};

/// Whether a directory stands for the whole process or for one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Process,
    Thread,
}

/// The directory of a task.
pub(super) fn directory(task: &Rc<Task>, scope: Scope) -> Entry {
    Entry::Directory(Rc::new(ProcessDirectory { tid: task.tid(), scope }))
}

/// Holds the number only: a directory that is kept open does not keep the process.
struct ProcessDirectory {
    tid: Pid,
    scope: Scope,
}

/// The task with this number; ESRCH once it is gone.
pub(super) fn find(cx: &SyscallCx, tid: Pid) -> Result<Rc<Task>> {
    cx.kernel.processes.task(tid).ok_or(Errno::ESRCH)
}

type Show = fn(&SyscallCx, &Task) -> Result<Vec<u8>>;

/// Files that are read only: name, mode, content.
const TEXTS: &[(&str, u32, Show)] = &[
    ("auxv", 0o400, memory::auxv),
    ("cgroup", 0o444, cgroup),
    ("cpuset", 0o444, root_cpuset),
    ("io", 0o400, status::io),
    ("limits", 0o444, status::limits),
    ("maps", 0o444, memory::maps),
    ("mountinfo", 0o444, mounts::mountinfo),
    ("mounts", 0o444, mounts::mounts),
    ("mountstats", 0o400, mounts::mountstats),
    ("oom_score", 0o444, status::oom_score),
    ("personality", 0o400, status::personality),
    ("schedstat", 0o444, status::schedstat),
    ("sessionid", 0o444, unset_id),
    ("smaps", 0o444, memory::smaps),
    ("smaps_rollup", 0o444, memory::smaps_rollup),
    ("stat", 0o444, status::stat),
    ("statm", 0o444, status::statm),
    ("status", 0o444, status::status),
    ("syscall", 0o400, status::syscall),
    ("wchan", 0o444, status::wchan),
];

/// Everything else, with its type.
const OTHERS: &[(&str, FileType)] = &[
    ("cmdline", FileType::Regular),
    ("comm", FileType::Regular),
    ("coredump_filter", FileType::Regular),
    ("cwd", FileType::Symlink),
    ("environ", FileType::Regular),
    ("exe", FileType::Symlink),
    ("fd", FileType::Directory),
    ("fdinfo", FileType::Directory),
    ("gid_map", FileType::Regular),
    ("loginuid", FileType::Regular),
    ("mem", FileType::Regular),
    ("ns", FileType::Directory),
    ("oom_adj", FileType::Regular),
    ("oom_score_adj", FileType::Regular),
    ("root", FileType::Symlink),
    ("uid_map", FileType::Regular),
];

impl Directory for ProcessDirectory {
    fn process(&self) -> Option<Pid> {
        (self.scope == Scope::Process).then_some(self.tid)
    }

    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        let tid = self.tid;
        find(cx, tid).ok()?;
        if let Some((_, mode, show)) = TEXTS.iter().find(|(known, ..)| known.as_bytes() == name) {
            let show = *show;
            let make = move |cx: &SyscallCx| show(cx, &*find(cx, tid)?);
            return Some(Entry::File(*mode, Content::Text(Rc::new(make))));
        }
        Some(match name {
            b"cmdline" => Entry::File(0o444, later(move |cx| memory::cmdline(find(cx, tid)))),
            b"environ" => Entry::File(0o400, later(move |cx| memory::environ(inspect(cx, tid)))),
            b"comm" => Entry::writable(
                move |cx| status::comm(&*find(cx, tid)?),
                move |cx, data| {
                    let task = find(cx, tid)?;
                    if task.pid() != cx.task.pid() {
                        return Err(Errno::EINVAL);
                    }
                    task.set_comm(data.strip_suffix(b"\n").unwrap_or(data));
                    Ok(())
                },
            ),
            b"coredump_filter" => Entry::writable(|_| Ok(b"00000033\n".to_vec()), |_, data| check_filter(data)),
            b"loginuid" => Entry::writable(|_| Ok(b"4294967295".to_vec()), |cx, _| super::check_admin(cx)),
            b"oom_score_adj" => Entry::writable(
                move |cx| Ok(format!("{}\n", find(cx, tid)?.group.oom_score_adj.get()).into_bytes()),
                move |cx, data| set_oom_score_adj(cx, tid, parse_number(data)?),
            ),
            b"oom_adj" => Entry::writable(
                move |cx| Ok(format!("{}\n", find(cx, tid)?.group.oom_score_adj.get() * 17 / 1000).into_bytes()),
                move |cx, data| set_oom_score_adj(cx, tid, parse_number::<i32>(data)?.clamp(-17, 15) * 1000 / 17),
            ),
            b"mem" => Entry::File(0o600, Content::Special(Rc::new(move |cx| memory::open_mem(cx, &inspect(cx, tid)?)))),
            b"cwd" => place(tid, |task| Ok(task.fs_context().cwd())),
            b"root" => place(tid, |task| Ok(task.fs_context().root())),
            b"exe" => place(tid, |task| task.group.exe.borrow().clone().ok_or(Errno::ENOENT)),
            b"fd" => Entry::Directory(Rc::new(fds::Descriptors { tid })),
            b"fdinfo" => Entry::Directory(Rc::new(fds::Information { tid })),
            b"uid_map" => id_map(tid, IdKind::User),
            b"gid_map" => id_map(tid, IdKind::Group),
            b"setgroups" if self.scope == Scope::Process => setgroups(tid),
            b"ns" => Entry::Directory(Rc::new(Namespaces { tid })),
            b"net" if self.scope == Scope::Process => Entry::fixed(net::NET),
            b"task" if self.scope == Scope::Process => Entry::Directory(Rc::new(Threads { tid })),
            _ => return None,
        })
    }

    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        if find(cx, self.tid).is_err() {
            return Vec::new();
        }
        let texts = TEXTS.iter().map(|(name, ..)| (*name, FileType::Regular));
        let per_process: &[_] = match self.scope {
            Scope::Process => {
                &[("net", FileType::Directory), ("setgroups", FileType::Regular), ("task", FileType::Directory)]
            }
            Scope::Thread => &[],
        };
        let all = texts.chain(OTHERS.iter().copied()).chain(per_process.iter().copied());
        all.map(|(name, kind)| (name.as_bytes().to_vec(), kind)).collect()
    }

    fn owner(&self, cx: &SyscallCx) -> (u32, u32) {
        owner(cx, self.tid)
    }
}

/// Who owns the files of a process: nobody but root where it must not be looked into.
pub(super) fn owner(cx: &SyscallCx, tid: Pid) -> (u32, u32) {
    match find(cx, tid) {
        Ok(task) if task.group.dumpable.get() == 1 => {
            let creds = task.credentials();
            (creds.euid, creds.egid)
        }
        _ => (0, 0),
    }
}

/// The task, if the caller may look into it.
pub(super) fn inspect(cx: &SyscallCx, tid: Pid) -> Result<Rc<Task>> {
    let task = find(cx, tid)?;
    check_inspect(cx, &task)?;
    Ok(task)
}

/// A link to a place.
fn place(tid: Pid, get: fn(&Task) -> Result<Path>) -> Entry {
    let show = move |cx: &SyscallCx| {
        let root = cx.fs().root();
        Ok(get(&*inspect(cx, tid)?)?.display_proc(&root))
    };
    Entry::Link(0o777, Rc::new(show), Some(Rc::new(move |cx| get(&*inspect(cx, tid)?))))
}

fn cgroup(_: &SyscallCx, _: &Task) -> Result<Vec<u8>> {
    Ok(b"0::/\n".to_vec())
}

fn root_cpuset(_: &SyscallCx, _: &Task) -> Result<Vec<u8>> {
    Ok(b"/\n".to_vec())
}

fn unset_id(_: &SyscallCx, _: &Task) -> Result<Vec<u8>> {
    Ok(b"4294967295".to_vec())
}

fn check_filter(data: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?.trim();
    u32::from_str_radix(text.trim_start_matches("0x"), 16).map(|_| ()).map_err(|_| Errno::EINVAL)
}

fn set_oom_score_adj(cx: &SyscallCx, tid: Pid, value: i32) -> Result<()> {
    let task = find(cx, tid)?;
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::EINVAL);
    }
    check_owner(cx, &task)?;
    if value < task.group.oom_score_adj.get() && !cx.creds().capable(cap::SYS_RESOURCE) {
        return Err(Errno::EACCES);
    }
    task.group.oom_score_adj.set(value);
    Ok(())
}

/// /proc/PID/task
struct Threads {
    tid: Pid,
}

impl Directory for Threads {
    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        let process = find(cx, self.tid).ok()?;
        let thread = cx.kernel.processes.task(parse_pid(name)?)?;
        Rc::ptr_eq(&process.group, &thread.group).then(|| directory(&thread, Scope::Thread))
    }

    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        let Ok(process) = find(cx, self.tid) else { return Vec::new() };
        let mut tids: Vec<_> = process.group.threads.borrow().iter().map(|thread| thread.tid()).collect();
        if tids.is_empty() {
            tids.push(self.tid);
        }
        tids.into_iter().map(|tid| (decimal(tid), FileType::Directory)).collect()
    }

    fn owner(&self, cx: &SyscallCx) -> (u32, u32) {
        owner(cx, self.tid)
    }
}

/// /proc/PID/ns
struct Namespaces {
    tid: Pid,
}

impl Directory for Namespaces {
    fn lookup(&self, _cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        let name = *namespace::NAMES.iter().find(|known| known.as_bytes() == name)?;
        let tid = self.tid;
        let get = move |cx: &SyscallCx| Namespace::of(&*inspect(cx, tid)?, name).ok_or(Errno::ENOENT);
        let show = move |cx: &SyscallCx| Ok(get(cx)?.label().into_bytes());
        Some(Entry::Link(0o777, Rc::new(show), Some(Rc::new(move |cx| Ok(get(cx)?.place(cx))))))
    }

    fn names(&self, _cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        namespace::NAMES.iter().map(|name| (name.as_bytes().to_vec(), FileType::Symlink)).collect()
    }

    fn owner(&self, cx: &SyscallCx) -> (u32, u32) {
        owner(cx, self.tid)
    }
}

/// /proc/PID/uid_map and gid_map.
fn id_map(tid: Pid, kind: IdKind) -> Entry {
    let of = move |cx: &SyscallCx| -> Result<UserNs> { Ok(find(cx, tid)?.credentials().user_ns.clone()) };
    Entry::writable(
        move |cx| Ok(of(cx)?.show_map(kind, &cx.creds().user_ns)),
        move |cx, data| of(cx)?.set_map(kind, &cx.creds(), data),
    )
}

/// /proc/PID/setgroups
fn setgroups(tid: Pid) -> Entry {
    let of = move |cx: &SyscallCx| -> Result<UserNs> { Ok(find(cx, tid)?.credentials().user_ns.clone()) };
    Entry::writable(
        move |cx| Ok(if of(cx)?.denies_setgroups() { b"deny\n".to_vec() } else { b"allow\n".to_vec() }),
        move |cx, data| {
            let ns = of(cx)?;
            if !cx.creds().capable_in(&ns, cap::SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            ns.set_setgroups(data)
        },
    )
}
