//! What every task is doing: the list that sysrq's `t` prints, and [`Kernel::diagnostics`] carries.
//!
//! A program that hangs waits in some call for something; this says in which, with which arguments, and for what.

use std::fmt;
use std::rc::Rc;

use linux_abi::nr::i386;
use vm_cpu::reg;

use crate::Kernel;
use crate::klog::level;
use crate::task::{Task, TaskState};

/// One task.
#[derive(Clone, Debug, Default)]
pub struct TaskReport {
    /// Thread number.
    pub tid: i32,
    /// Process number.
    pub pid: i32,
    /// Its parent's process number.
    pub ppid: i32,
    /// Name, as ps(1) shows it.
    pub name: String,
    /// Its state in a word.
    pub state: &'static str,
    /// The system call it is in, with its arguments.
    pub call: Option<String>,
    /// What it waits for, as far as the call tells.
    pub waits_for: String,
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "task {} ({}) of process {}, child of {}, is {}",
            self.tid, self.name, self.pid, self.ppid, self.state
        )?;
        if let Some(call) = &self.call {
            write!(f, " in {call}")?;
        }
        if !self.waits_for.is_empty() {
            write!(f, ", waits for {}", self.waits_for)?;
        }
        Ok(())
    }
}

impl Kernel {
    /// What each task is doing.
    pub fn task_reports(&self) -> Vec<TaskReport> {
        self.processes.tasks().iter().map(|task| self.task_report(task)).collect()
    }

    fn task_report(&self, task: &Rc<Task>) -> TaskReport {
        let state = task.state.get();
        let mut report = TaskReport {
            tid: task.tid(),
            pid: task.pid(),
            ppid: task.group.parent().map_or(0, |parent| parent.pid),
            name: task.comm_text(),
            state: state.word(),
            ..TaskReport::default()
        };
        let waits = matches!(state, TaskState::Sleeping | TaskState::DiskSleep);
        // The registers are lent to the engine while the task runs.
        let Ok(cpu) = task.cpu.try_borrow() else { return report };
        match task.in_syscall.get() {
            Some(number) => {
                let args = [reg::RBX, reg::RCX, reg::RDX, reg::RSI, reg::RDI, reg::RBP].map(|at| cpu.gpr[at] as u32);
                let name = i386::name(number).unwrap_or("?");
                let count = crate::strace::argument_count(name).min(args.len());
                let shown: Vec<String> = args.iter().take(count).map(|arg| format!("{arg:#x}")).collect();
                report.call = Some(format!("{name}({})", shown.join(", ")));
                if waits {
                    report.waits_for = self.awaited(task, name, args);
                }
            }
            None if waits && !self.is_builtin_init(&task.group) => {
                report.waits_for = format!("memory at {:#x}", task.last_fault.get().cr2)
            }
            None => {}
        }
        report
    }

    /// What a call waits for, from its arguments.
    fn awaited(&self, task: &Rc<Task>, name: &str, args: [u32; 6]) -> String {
        match name {
            "read" | "write" | "readv" | "writev" | "pread64" | "pwrite64" | "recvfrom" | "recvmsg" | "sendto"
            | "sendmsg" | "accept4" | "connect" | "fcntl" | "fcntl64" | "flock" | "ioctl" | "fsync" | "fdatasync"
            | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "sendfile" | "sendfile64" => describe(task, args[0]),
            "socketcall" => {
                let mut raw = [0; 4];
                let first =
                    task.mm().filter(|mm| mm.read_present(vm_mem::VirtAddr(u64::from(args[1])), &mut raw).is_ok());
                let file = first.map_or_else(String::new, |_| describe(task, u32::from_le_bytes(raw)));
                format!("call {} on {file}", args[0])
            }
            "futex" | "futex_time64" => format!("the futex at {:#x}", args[0]),
            "wait4" | "waitpid" | "waitid" => {
                let children: Vec<String> =
                    task.group.children.borrow().iter().map(|child| child.pid.to_string()).collect();
                format!("children {}", children.join(" "))
            }
            "poll" | "ppoll" | "ppoll_time64" => {
                let files: Vec<String> = polled(task, args).into_iter().map(|fd| describe(task, fd)).collect();
                files.join(", ")
            }
            "pause" | "rt_sigsuspend" | "sigsuspend" | "rt_sigtimedwait" | "rt_sigtimedwait_time64" => {
                "a signal".to_owned()
            }
            "nanosleep" | "clock_nanosleep" | "clock_nanosleep_time64" => "time to pass".to_owned(),
            "vfork" | "clone" | "clone3" => "its child to exec".to_owned(),
            _ => String::new(),
        }
    }

    /// Answers a key of sysrq: `t` lists all tasks in the kernel's log, `w` those that signals do not wake, `m` memory.
    pub(crate) fn sysrq(&self, key: u8) {
        self.log(level::INFO, &format!("sysrq: {}", char::from(key).escape_default()));
        match key {
            b't' | b'w' => {
                for report in self.task_reports() {
                    if key == b't' || report.state == TaskState::DiskSleep.word() {
                        self.log(level::INFO, &report.to_string());
                    }
                }
            }
            b'm' => {
                let stats = self.memory.stats();
                self.log(level::INFO, &format!("memory: {} of {} pages free", stats.free, stats.total));
            }
            _ => self.log(level::INFO, "sysrq: there are t (tasks), w (blocked tasks) and m (memory)"),
        }
    }
}

/// Descriptors of a poll(2), of those whose list is in memory.
fn polled(task: &Task, args: [u32; 6]) -> Vec<u32> {
    let Some(mm) = task.mm() else { return Vec::new() };
    let mut fds = Vec::new();
    for index in 0..u64::from(args[1].min(64)) {
        let mut raw = [0; 8];
        if mm.read_present(vm_mem::VirtAddr(u64::from(args[0]) + 8 * index), &mut raw).is_err() {
            break;
        }
        fds.push(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]));
    }
    fds
}

/// A descriptor and what is open behind it.
fn describe(task: &Task, fd: u32) -> String {
    let Ok(file) = task.fd_table().get_any(fd as i32) else { return format!("descriptor {}", fd as i32) };
    let shown = file.file().description().unwrap_or_else(|| {
        let kind = file.inode().metadata().file_type();
        format!("{kind:?} {}", String::from_utf8_lossy(&file.path().display_proc(&task.fs_context().root())))
    });
    format!("descriptor {fd} ({shown})")
}
