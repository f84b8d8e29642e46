//! execve(2): another program in the same process.

use std::rc::Rc;

use linux_abi::fcntl::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW};
use linux_abi::siginfo::SigInfo;
use linux_abi::signal::Signal;
use linux_abi::stat::{S_ISGID, S_ISUID};
use vm_cpu::{Cpu, reg};

use super::{Credentials, Resource, Task, cap, exit};
use crate::loader::{self, Image, Program};
use crate::namespace::IdKind;
use crate::ptrace::{attach, event, options, stop};
use crate::signal::AltStack;
use crate::syscall::resource::memory_limits;
use crate::vfs::{Follow, OpenFile, mount, open};
use crate::{Errno, Result, SyscallCx};

/// Longest single argument (`MAX_ARG_STRLEN`).
const MAX_STRING: usize = 128 << 10;
/// Arguments and environment may always take this much (`ARG_MAX`).
const MIN_TOTAL: u64 = 128 << 10;
/// And never more, whatever the stack limit.
const MAX_TOTAL: u64 = 6 << 20;

/// The program as execveat(2) names it.
pub(crate) struct ExecPath {
    pub(crate) at: i32,
    pub(crate) name: Vec<u8>,
    /// AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW.
    pub(crate) flags: u32,
}

/// Replaces the program of the calling process.
pub(crate) async fn execve(cx: &SyscallCx, path: ExecPath, argv: u64, envp: u64) -> Result<()> {
    let file = open_program(cx, &path).await?;
    let mut room = argument_room(cx);
    let mut argv = read_strings(cx, argv, &mut room).await?;
    let envp = read_strings(cx, envp, &mut room).await?;
    if argv.is_empty() {
        // A program always finds its name.
        argv.push(Vec::new());
    }
    let name = shown_name(&path);
    run_program(cx, file, name, argv, envp).await
}

/// The rest of execve(2), for a program that is open already. An error leaves the process as it was.
pub(crate) async fn run_program(
    cx: &SyscallCx,
    file: Rc<OpenFile>,
    name: Vec<u8>,
    argv: Vec<Vec<u8>>,
    envp: Vec<Vec<u8>>,
) -> Result<()> {
    let comm = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let program = loader::resolve(cx, file, name, argv).await?;
    let (creds, secure) = new_credentials(cx, &program);
    let limits = memory_limits(&cx.task.group);
    let image = loader::load(cx, &program, &envp, &creds, secure, limits).await?;

    // The point of no return: the other threads end, and the old memory goes.
    let before = cx.task.tid();
    become_single(cx).await?;
    install(cx, &program, image, creds, &comm).await;
    tell_tracer(cx, before).await;
    Ok(())
}

/// A tracer that did not ask for the event gets a SIGTRAP.
async fn tell_tracer(cx: &SyscallCx, before: super::Pid) {
    let task = &cx.task;
    if task.trace.has(options::TRACEEXEC) {
        stop::event(cx, event::EXEC, before as u32).await;
    } else if task.trace.on() && !task.trace.seized.get() {
        let info = SigInfo::kill(Signal::TRAP, task.pid(), task.credentials().uid);
        cx.kernel.send_signal_task(task, info);
    }
}

async fn open_program(cx: &SyscallCx, path: &ExecPath) -> Result<Rc<OpenFile>> {
    if path.flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    if path.name.is_empty() && path.flags & AT_EMPTY_PATH != 0 {
        let place = cx.files().get_any(path.at)?.path().clone();
        return open::open_exec_path(cx, place).await;
    }
    let follow = if path.flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::No } else { Follow::Yes };
    open::open_exec(cx, path.at, &path.name, follow).await
}

/// The name that AT_EXECFN and scripts get: for a descriptor, one that leads to it.
fn shown_name(path: &ExecPath) -> Vec<u8> {
    if path.at == linux_abi::fcntl::AT_FDCWD || path.name.first() == Some(&b'/') {
        return path.name.clone();
    }
    let mut name = format!("/dev/fd/{}", path.at).into_bytes();
    if !path.name.is_empty() {
        name.push(b'/');
        name.extend_from_slice(&path.name);
    }
    name
}

/// A quarter of the stack limit is for arguments.
fn argument_room(cx: &SyscallCx) -> u64 {
    let stack = cx.task.group.rlimits.borrow().soft(Resource::Stack);
    (stack / 4).clamp(MIN_TOTAL, MAX_TOTAL)
}

async fn read_strings(cx: &SyscallCx, at: u64, room: &mut u64) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    if at == 0 {
        return Ok(strings);
    }
    loop {
        let pointer = cx.read_u32(at + 4 * strings.len() as u64).await?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = cx.read_cstr(u64::from(pointer), MAX_STRING - 1, Errno::E2BIG).await?;
        // The string, its NUL and the pointer to it.
        *room = room.checked_sub(string.len() as u64 + 5).ok_or(Errno::E2BIG)?;
        strings.push(string);
        if cx.task.fatal_signal_pending() {
            return Err(Errno::EINTR);
        }
    }
}

/// Credentials after set-user-ID and set-group-ID bits, and whether the new program must distrust its environment.
fn new_credentials(cx: &SyscallCx, program: &Program) -> (Rc<Credentials>, bool) {
    let old = cx.creds();
    let mut new = (*old).clone();
    let meta = program.file.inode().metadata();
    // Who may trace anybody may trace a program with more rights than its own.
    let watched =
        cx.task.trace.tracer().is_some_and(|tracer| !tracer.credentials().capable_in(&old.user_ns, cap::SYS_PTRACE));
    let honoured =
        program.file.path().mount.flags() & mount::flags::NOSUID == 0 && !cx.task.no_new_privs.get() && !watched;
    let (users, groups) = (old.user_ns.inside(IdKind::User, meta.uid), old.user_ns.inside(IdKind::Group, meta.gid));
    let honoured = honoured && users.is_some() && groups.is_some();
    if honoured && meta.mode & S_ISUID != 0 {
        new.euid = meta.uid;
    }
    // Without group execution the bit once meant mandatory locking.
    if honoured && meta.mode & (S_ISGID | 0o010) == S_ISGID | 0o010 {
        new.egid = meta.gid;
    }
    let changed = new.euid != old.euid || new.egid != old.egid;
    (new.suid, new.fsuid, new.sgid, new.fsgid) = (new.euid, new.euid, new.egid, new.egid);
    if changed {
        new.cap_ambient = 0;
    }
    // capabilities(7), "Transformation of capabilities during execve()", with root's files taken to have all.
    let root = old.user_ns.root();
    let file_caps = if new.euid == root || new.uid == root { u64::MAX } else { 0 };
    new.cap_permitted = (old.cap_inheritable & file_caps) | (old.cap_bounding & file_caps) | new.cap_ambient;
    new.cap_effective = if new.euid == root { new.cap_permitted } else { new.cap_ambient };
    let secure = changed || new.uid != new.euid || new.gid != new.egid;
    (Rc::new(new), secure)
}

/// Ends the other threads of the process and takes over the leader's number.
async fn become_single(cx: &SyscallCx) -> Result<()> {
    let (task, group) = (&cx.task, &cx.task.group);
    if task.fatal_signal_pending() {
        return Err(Errno::EINTR);
    }
    loop {
        let ended = group.thread_ended.wait();
        let others: Vec<Rc<Task>> =
            group.threads.borrow().iter().filter(|other| !Rc::ptr_eq(other, task)).cloned().collect();
        if others.is_empty() {
            break;
        }
        for other in &others {
            other.dying.set(true);
            other.kick();
        }
        group.continued.wake_all();
        // Two threads may exec at once: the one that is told to die first loses.
        task.killable(ended).await?;
    }
    if !task.is_leader() {
        if let Some(leader) = cx.kernel.processes.task(group.pid) {
            attach::untie(&leader);
        }
        cx.kernel.processes.remove_task(group.pid);
        cx.kernel.processes.renumber(task, group.pid);
        *group.leader.borrow_mut() = Rc::downgrade(task);
    }
    Ok(())
}

async fn install(cx: &SyscallCx, program: &Program, image: Image, creds: Rc<Credentials>, comm: &[u8]) {
    let (task, group) = (&cx.task, &cx.task.group);
    exit::release_memory(cx).await;
    *task.mm.borrow_mut() = Some(Rc::clone(&image.mm));
    {
        let mut cpu = task.cpu.borrow_mut();
        let retired = cpu.retired;
        *cpu = Cpu { retired, ..Cpu::default() };
        task.trace.forced_step.set(false);
        cpu.rip = image.entry;
        cpu.gpr[reg::RSP] = image.stack;
    }

    // Descriptors shared with another process stay its own.
    let files = cx.files();
    if Rc::strong_count(&files) > 2 {
        *task.files.borrow_mut() = files.fork();
    }
    drop(files);
    cx.files().close_on_exec();

    let own = group.sighand.borrow().duplicate();
    own.reset_for_exec();
    *group.sighand.borrow_mut() = Rc::new(own);
    task.altstack.set(AltStack::default());
    task.restart.borrow_mut().take();
    for timer in std::mem::take(&mut *group.posix_timers.borrow_mut()).into_values() {
        timer.disarm();
        group.shared_pending.borrow_mut().discard_timer(timer.id);
        task.pending.borrow_mut().discard_timer(timer.id);
    }

    let old = task.creds.replace(Rc::clone(&creds));
    let changed = old.euid != creds.euid || old.egid != creds.egid;
    task.keep_caps.set(false);
    if changed {
        task.parent_death_signal.set(0);
    }
    let readable =
        crate::vfs::permission::check(&program.file.inode().metadata(), &creds, crate::vfs::permission::May::READ);
    group.dumpable.set(u32::from(!changed && readable.is_ok()));
    group.did_exec.set(true);
    if group.exit_signal.get().is_some() {
        group.exit_signal.set(Some(Signal::CHLD));
    }
    *group.exe.borrow_mut() = Some(program.file.path().clone());
    task.set_comm(comm);
}
