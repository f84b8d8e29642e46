//! Processes that the host starts, and the built-in init that is their parent.

use std::rc::{Rc, Weak};

use linux_abi::signal::Signal;
use vm_cpu::Cpu;

use super::{Credentials, Rlimits, Session, Task, TaskParts, TaskState, ThreadGroup, WaitStatus, exec};
use crate::klog::level;
use crate::mm::OomOutcome;
use crate::signal::{SigHand, SigInfo};
use crate::tty::Tty;
use crate::vfs::{FdTable, Follow, FsContext, Path, open, walk};
use crate::{Errno, Kernel, Result, SyscallCx};

/// A session for a program of the host.
pub struct NewSession {
    /// Its controlling terminal.
    pub tty: Option<Rc<Tty>>,
}

/// A program for the host to start.
pub struct StartProgram {
    /// File name in the guest.
    pub file: Vec<u8>,
    /// Arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Open descriptors.
    pub files: Rc<FdTable>,
    /// The session it leads.
    pub session: NewSession,
}

impl Kernel {
    /// Makes the built-in init, process 1: the parent of what the host starts and of orphans. It runs no program, ignores
    /// signals and takes away its zombies at once. Called once, when the root file system is mounted.
    pub fn create_init(&self, root: Path) -> Result<()> {
        let pid = self.processes.allocate()?;
        let now = self.now_monotonic();
        let limits = Rlimits::new(self.processes.max_tasks as u64);
        let session = Rc::new(Session::new(pid));
        let group = Rc::new(ThreadGroup::new(pid, Weak::new(), pid, session, Rc::new(SigHand::default()), limits, now));
        group.unkillable.set(true);
        let task = Rc::new(Task::new(TaskParts {
            tid: pid,
            group: Rc::clone(&group),
            cpu: Cpu::default(),
            mm: None,
            creds: Rc::new(Credentials::new(0, 0)),
            files: FdTable::new(&self.vfs),
            fs: Rc::new(FsContext::new(root)),
            comm: b"init".to_vec(),
            started: now,
        }));
        task.state.set(TaskState::Sleeping);
        group.threads.borrow_mut().push(Rc::clone(&task));
        *group.leader.borrow_mut() = Rc::downgrade(&task);
        self.processes.insert_task(task);
        self.processes.insert_group(Rc::clone(&group));
        self.init.set(group).map_err(|_| Errno::EBUSY)
    }

    /// A context that acts as the built-in init: root, at the root of the tree.
    pub fn init_context(&self) -> Result<SyscallCx> {
        let task = self.init().and_then(|init| init.leader()).ok_or(Errno::ESRCH)?;
        Ok(SyscallCx { kernel: self.strong(), task })
    }

    /// Lets the next program that is started be process 1, for images that bring an init of their own (sysvinit, OpenRC):
    /// the built-in one is not seen from then on. EBUSY once something was started.
    pub fn replace_init(&self) -> Result<()> {
        let init = self.init().ok_or(Errno::ESRCH)?;
        if self.processes.task_count() != 1 || !self.processes.start_again() {
            return Err(Errno::EBUSY);
        }
        self.processes.remove_task(init.pid);
        self.processes.remove_group(init.pid);
        self.init_is_replaced.set(true);
        Ok(())
    }

    /// Starts a program as a child of the built-in init, leading a session of its own; or as process 1, to which orphans
    /// go and which signals that it does not handle leave alone.
    pub async fn start(self: &Rc<Self>, program: StartProgram) -> Result<Rc<ThreadGroup>> {
        let init = self.init().cloned().ok_or(Errno::ESRCH)?;
        let parent = init.leader().ok_or(Errno::ESRCH)?;
        let pid = self.processes.allocate()?;
        let now = self.now_monotonic();
        let session = Rc::new(Session::new(pid));
        let limits = init.rlimits.borrow().clone();
        let sighand = Rc::new(SigHand::default());
        let is_init = self.init_is_replaced.get() && pid == init.pid;
        let father = if is_init { Weak::new() } else { Rc::downgrade(&init) };
        let group = Rc::new(ThreadGroup::new(pid, father, pid, Rc::clone(&session), sighand, limits, now));
        group.unkillable.set(is_init);
        group.child_subreaper.set(is_init);
        let task = Rc::new(Task::new(TaskParts {
            tid: pid,
            group: Rc::clone(&group),
            cpu: Cpu::default(),
            mm: None,
            creds: Rc::new(Credentials::new(program.uid, program.gid)),
            files: program.files,
            fs: Rc::new((*parent.fs_context()).clone()),
            comm: b"init".to_vec(),
            started: now,
        }));
        group.threads.borrow_mut().push(Rc::clone(&task));
        *group.leader.borrow_mut() = Rc::downgrade(&task);
        if !is_init {
            init.children.borrow_mut().push(Rc::clone(&group));
        }
        self.processes.insert_task(Rc::clone(&task));
        self.processes.insert_group(Rc::clone(&group));

        let cx = SyscallCx { kernel: Rc::clone(self), task: Rc::clone(&task) };
        let prepared = prepare(&cx, program.file, program.argv, program.envp, &program.cwd).await;
        if let Err(errno) = prepared {
            group.threads.borrow_mut().clear();
            super::exit::reap(self, &group);
            return Err(errno);
        }
        if let Some(tty) = program.session.tty {
            tty.take_session(&session, pid);
        }
        self.launch(&task);
        Ok(group)
    }

    /// Waits for the end of a process that the host started.
    pub async fn wait_host(&self, group: &Rc<ThreadGroup>) -> WaitStatus {
        loop {
            let ended = group.ended.wait();
            if let Some(status) = group.exit_status.get() {
                return status;
            }
            ended.await;
        }
    }

    /// Ends the process with the most memory, adjusted by oom_score_adj; what memory management calls when nothing is left.
    pub(crate) fn kill_for_memory(&self) -> OomOutcome {
        let groups = self.processes.groups();
        // Somebody who is ending already gives memory back soon.
        if groups.iter().any(|group| group.exiting.get().is_some() && !group.is_zombie()) {
            return OomOutcome::KilledOther;
        }
        let total = i64::from(self.memory.stats().total).max(1);
        let score = |group: &Rc<ThreadGroup>| {
            let adjust = i64::from(group.oom_score_adj.get());
            if group.unkillable.get() || adjust <= -1000 {
                return None;
            }
            let mm = group.threads.borrow().first().and_then(|task| task.mm())?;
            Some(i64::from(mm.resident_pages().0) + adjust * total / 1000)
        };
        let victim = groups.iter().filter_map(|group| Some((score(group)?, group))).max_by_key(|(score, _)| *score);
        let Some((_, victim)) = victim else { return OomOutcome::NoVictim };
        self.oom_kills.set(self.oom_kills.get() + 1);
        let name = victim.threads.borrow().first().map(|task| task.comm_text()).unwrap_or_default();
        self.log(level::ERR, &format!("Out of memory: Killed process {} ({name})", victim.pid));
        self.send_signal_group(victim, SigInfo::kernel(Signal::KILL));
        if self.running.get() == victim.pid { OomOutcome::KilledCaller } else { OomOutcome::KilledOther }
    }

    /// Ends every process, as reboot(2) does.
    pub(crate) fn power_off(&self) {
        for group in self.processes.groups() {
            if !self.is_builtin_init(&group) {
                group.unkillable.set(false);
                self.send_signal_group(&group, SigInfo::kernel(Signal::KILL));
            }
        }
    }
}

async fn prepare(cx: &SyscallCx, file: Vec<u8>, argv: Vec<Vec<u8>>, envp: Vec<Vec<u8>>, cwd: &[u8]) -> Result<()> {
    let place = walk::resolve(cx, linux_abi::fcntl::AT_FDCWD, cwd, Follow::Yes).await?;
    if !place.dentry.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    cx.fs().set_cwd(place);
    let opened = open::open_exec(cx, linux_abi::fcntl::AT_FDCWD, &file, Follow::Yes).await?;
    exec::run_program(cx, opened, file, argv, envp).await
}
