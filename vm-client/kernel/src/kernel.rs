//! The kernel of one machine.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use linux_abi::time::Timespec;
use vm_cpu::Engine;
use vm_mem::Mmu;
use vm_rt::{Executor, Timers, Turn, WaitQueue};

use crate::dump::TaskReport;
use crate::fs::dev::loop_device::LoopDevices;
use crate::host::Host;
use crate::hot_code::HotCode;
use crate::ipc::Ipc;
use crate::klog::{KernelLog, level};
use crate::loader::vdso::Vdso;
use crate::mm::{self, Memory, OomOutcome};
use crate::net::Net;
use crate::profile::Profile;
use crate::syscall::aio::Contexts;
use crate::syscall::futex::FutexTable;
use crate::syscall::table::Row;
use crate::syscall::table_i386;
use crate::task::{Pid, ProcessTable, TaskState, ThreadGroup};
use crate::time::GuestClock;
use crate::tty::console::Consoles;
use crate::tty::pty::PtyTable;
use crate::vfs::Vfs;
use crate::{Errno, Result};

/// Everything the tasks of one machine share.
pub struct Kernel {
    this: Weak<Kernel>,
    /// The outside.
    pub host: Host,
    /// Guest memory.
    pub mmu: Rc<RefCell<Mmu>>,
    vdso: OnceCell<Vdso>,
    /// Who has it: address spaces and page caches.
    pub memory: Rc<Memory>,
    /// What runs guest code.
    pub engine: RefCell<Box<dyn Engine>>,
    /// Polls the tasks.
    pub executor: Executor,
    /// Deadlines on guest monotonic time.
    pub timers: Timers,
    /// Guest time.
    pub clock: GuestClock,
    /// Tasks and processes by number.
    pub processes: ProcessTable,
    /// The virtual terminals.
    pub consoles: Consoles,
    /// The pseudoterminals.
    pub ptys: Rc<PtyTable>,
    /// Files.
    pub vfs: Rc<Vfs>,
    /// Sockets.
    pub net: Rc<Net>,
    /// Where traced system calls are printed; `None` while tracing is off.
    pub strace: RefCell<Option<Rc<dyn crate::strace::Output>>>,
    /// Where guest time goes, while somebody wants to know.
    pub profile: Profile,
    /// What was compiled, for later machines.
    pub hot_code: HotCode,
    /// uname(2).
    pub uts: RefCell<Uts>,
    /// System V IPC and POSIX message queues.
    pub(crate) ipc: Ipc,
    /// Contexts of io_setup(2).
    pub(crate) aio: Contexts,
    /// What dmesg(1) shows.
    pub(crate) klog: KernelLog,
    /// Woken whenever a signal was sent to anybody, for sigtimedwait(2) and signalfd(2).
    pub signal_arrived: WaitQueue,
    /// Waiters of futex(2).
    pub(crate) futexes: FutexTable,
    /// Files that epoll(7) instances watch, together.
    pub(crate) epoll_watches: Rc<Cell<usize>>,
    /// Woken when the real time was set.
    pub realtime_moved: WaitQueue,
    /// The i386 system calls.
    pub(crate) calls: Vec<Option<Row>>,
    /// The built-in init, parent of what the host starts and of orphans.
    pub(crate) init: OnceCell<Rc<ThreadGroup>>,
    /// Whether a program takes its place as process 1.
    pub(crate) init_is_replaced: Cell<bool>,
    /// Calls of system calls that do not exist here: by number and program, how often.
    unknown: RefCell<BTreeMap<(u32, String), u64>>,
    /// Other things that do not exist here: what and its name, program, how often.
    missing: RefCell<BTreeMap<(&'static str, String, String), u64>>,
    /// Time at which the host clock was last compared with its real time.
    followed: Cell<Duration>,
    /// Host time at which the poll of the present task began, until its first run of guest code.
    pub(crate) poll_began: Cell<u64>,
    /// The process that runs now.
    pub(crate) running: Cell<Pid>,
    /// How often the guest ran out of memory and a process was ended for it.
    pub(crate) oom_kills: Cell<u64>,
    loads: Cell<[f64; 3]>,
    loads_at: Cell<Duration>,
    /// Host time at which the task that runs now got its turn.
    pub(crate) turn_of_task: Cell<u64>,
    /// Files that are used as disks.
    pub(crate) loops: LoopDevices,
    /// The number of the newest namespace.
    last_namespace: Cell<u32>,
    /// Host time that tasks have run since boot.
    pub(crate) busy_ns: Cell<u64>,
}

/// The strings of uname(2) that can change.
#[derive(Clone, Debug)]
pub struct Uts {
    /// `nodename`
    pub nodename: Vec<u8>,
    /// `domainname`
    pub domainname: Vec<u8>,
}

/// `release` of uname(2): the kernel whose behaviour is followed.
pub const RELEASE: &str = "6.1.0-skiff";
/// `version` of uname(2).
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC Skiff 0.1";

/// Most rows of a count: programs choose the numbers.
const MOST_COUNTED: usize = 1000;

/// What the kernel has to say about itself when something does not work.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    /// System calls that do not exist here: number, name, program, how often.
    pub unknown_calls: Vec<(u32, &'static str, String, u64)>,
    /// Other things programs asked for that do not exist here: what, its name, program, how often.
    pub missing: Vec<(&'static str, String, String, u64)>,
    /// Instructions that the engine does not know: name, and how often a block with one was made.
    pub unknown_instructions: Vec<(String, u64)>,
    /// Each task: what it is doing and what it waits for.
    pub tasks: Vec<TaskReport>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name, program, count) in &self.unknown_calls {
            writeln!(f, "unknown system call {number} ({name}) by {program}: {count} times")?;
        }
        for (what, name, program, count) in &self.missing {
            writeln!(f, "unknown {what} {name} by {program}: {count} times")?;
        }
        for (name, count) in &self.unknown_instructions {
            writeln!(f, "unknown instruction {name}: {count} times")?;
        }
        for task in &self.tasks {
            writeln!(f, "{task}")?;
        }
        Ok(())
    }
}

impl Kernel {
    /// A kernel without processes and file systems.
    pub fn new(host: Host, mmu: Mmu, engine: Box<dyn Engine>) -> Rc<Self> {
        let frames = mmu.free_frames().1;
        let clock = GuestClock::new(Rc::clone(&host.clock));
        // One task for 32 frames, as many as Linux would allow with this much memory.
        let max_tasks = (frames as usize / 32).clamp(64, 16_384);
        let mmu = Rc::new(RefCell::new(mmu));
        let kernel = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            consoles: Consoles::new(this, &host.console),
            ptys: PtyTable::new(this),
            host,
            memory: Memory::new(Rc::clone(&mmu)),
            mmu,
            vdso: OnceCell::new(),
            engine: RefCell::new(engine),
            executor: Executor::new(),
            timers: Timers::new(),
            clock,
            processes: ProcessTable::new(max_tasks),
            vfs: Vfs::new(),
            net: Rc::default(),
            strace: RefCell::default(),
            profile: Profile::default(),
            hot_code: HotCode::default(),
            uts: RefCell::new(Uts { nodename: b"skiff".to_vec(), domainname: b"(none)".to_vec() }),
            ipc: Ipc::default(),
            aio: Contexts::default(),
            klog: KernelLog::default(),
            signal_arrived: WaitQueue::new(),
            futexes: FutexTable::default(),
            epoll_watches: Rc::default(),
            realtime_moved: WaitQueue::new(),
            calls: table_i386::table(),
            init: OnceCell::new(),
            init_is_replaced: Cell::default(),
            unknown: RefCell::default(),
            missing: RefCell::default(),
            followed: Cell::default(),
            poll_began: Cell::new(u64::MAX),
            running: Cell::default(),
            oom_kills: Cell::default(),
            loads: Cell::default(),
            loads_at: Cell::default(),
            turn_of_task: Cell::default(),
            loops: LoopDevices::default(),
            last_namespace: Cell::new(0xf000_0100),
            busy_ns: Cell::default(),
        });
        let weak = kernel.weak();
        kernel
            .memory
            .set_oom_killer(move || weak.upgrade().map_or(OomOutcome::NoVictim, |kernel| kernel.kill_for_memory()));
        kernel.executor.spawn(mm::memory::write_back_periodically(kernel.weak()));
        kernel
    }

    /// The number of a new namespace.
    pub(crate) fn new_namespace_number(&self) -> u32 {
        let number = self.last_namespace.get().wrapping_add(1);
        self.last_namespace.set(number);
        number
    }

    /// A reference that does not keep the kernel alive.
    pub fn weak(&self) -> Weak<Kernel> {
        Weak::clone(&self.this)
    }

    /// Another reference to the same kernel.
    pub fn strong(&self) -> Rc<Kernel> {
        self.this.upgrade().expect("a kernel lives in the Rc that its constructor made")
    }

    /// Time since boot.
    pub fn now_monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Time since the Unix epoch.
    pub fn now_realtime(&self) -> Timespec {
        self.clock.realtime()
    }

    /// Host time that tasks have run since boot.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_ns.get())
    }

    /// Load averages over 1, 5 and 15 minutes.
    pub fn load_average(&self) -> [f64; 3] {
        self.update_load();
        self.loads.get()
    }

    /// Samples the number of runnable tasks every five seconds, as Linux does.
    fn update_load(&self) {
        const PERIOD: Duration = Duration::from_secs(5);
        let now = self.now_monotonic();
        let periods = (now.saturating_sub(self.loads_at.get()).as_secs() / PERIOD.as_secs()).min(1000) as i32;
        if periods == 0 {
            return;
        }
        self.loads_at.set(self.loads_at.get().max(now.saturating_sub(PERIOD * 1000)) + PERIOD * periods as u32);
        let active = |state| matches!(state, TaskState::Running | TaskState::DiskSleep);
        let running = self.processes.tasks().iter().filter(|task| active(task.state.get())).count() as f64;
        let mut loads = self.loads.get();
        for (load, minutes) in loads.iter_mut().zip([1.0, 5.0, 15.0]) {
            let keep = (-PERIOD.as_secs_f64() / (60.0 * minutes)).exp().powi(periods);
            *load = *load * keep + running * (1.0 - keep);
        }
        self.loads.set(loads);
    }

    /// How long the task that runs now has been running since it got its turn.
    pub(crate) fn running_for(&self) -> Duration {
        Duration::from_nanos(self.clock.host_ns().saturating_sub(self.turn_of_task.get()))
    }

    /// Tells everybody who depends on it that the real time was set.
    pub(crate) fn realtime_changed(&self) {
        self.publish_time();
        self.realtime_moved.wake_all();
    }

    /// The built-in init.
    pub fn init(&self) -> Option<&Rc<ThreadGroup>> {
        self.init.get()
    }

    /// Whether this is the built-in init.
    pub fn is_builtin_init(&self, group: &Rc<ThreadGroup>) -> bool {
        self.init.get().is_some_and(|init| Rc::ptr_eq(init, group))
    }

    /// Runs tasks for about `budget` of host time and says when to come again.
    pub fn turn(&self, budget: Duration) -> Turn {
        let start = self.clock.host_ns();
        let end = start + budget.as_nanos() as u64;
        if self.now_monotonic().saturating_sub(self.followed.get()) > Duration::from_secs(1) {
            self.followed.set(self.now_monotonic());
            self.update_load();
            if self.clock.follow_host() {
                self.realtime_changed();
            }
        }
        loop {
            self.timers.fire(self.now_monotonic());
            if !self.executor.poll_one() {
                let until = self.timers.next_deadline().map(|deadline| self.clock.to_host(deadline));
                return Turn::Idle { until };
            }
            if self.clock.host_ns() >= end {
                return Turn::Again;
            }
        }
    }

    /// The vDSO, made when the first program is loaded.
    pub(crate) fn vdso(&self) -> Result<&Vdso> {
        if self.vdso.get().is_none() {
            let _ = self.vdso.set(Vdso::new(&self.memory)?);
            self.publish_time();
        }
        self.vdso.get().ok_or(Errno::ENOMEM)
    }

    /// Tells the vDSO's clocks when real time was set.
    pub(crate) fn publish_time(&self) {
        if let Some(vdso) = self.vdso.get() {
            vdso.set_realtime_offset(self.clock.realtime_offset_ns());
        }
    }

    /// Counts a call of a system call that does not exist here; the first is told in the log.
    pub(crate) fn count_unknown(&self, number: u32, program: String) {
        let mut unknown = self.unknown.borrow_mut();
        if unknown.len() >= MOST_COUNTED && !unknown.contains_key(&(number, program.clone())) {
            return;
        }
        let count = unknown.entry((number, program.clone())).or_default();
        *count += 1;
        if *count == 1 {
            let name = linux_abi::nr::i386::name(number).unwrap_or("?");
            self.log(level::WARNING, &format!("{program}: unknown system call {number} ({name})"));
        }
    }

    /// Counts something else that does not exist here: an ioctl, an option, a request.
    pub(crate) fn count_missing(&self, what: &'static str, name: impl fmt::Display, program: String) {
        let key = (what, name.to_string(), program);
        let mut missing = self.missing.borrow_mut();
        if missing.len() >= MOST_COUNTED && !missing.contains_key(&key) {
            return;
        }
        let text = format!("{}: unknown {what} {}", key.2, key.1);
        let count = missing.entry(key).or_default();
        *count += 1;
        if *count == 1 {
            self.log(level::WARNING, &text);
        }
    }

    /// What to show when something does not work.
    pub fn diagnostics(&self) -> Diagnostics {
        let name = |number: u32| linux_abi::nr::i386::name(number).unwrap_or("?");
        let unknown_calls = self
            .unknown
            .borrow()
            .iter()
            .map(|((number, program), count)| (*number, name(*number), program.clone(), *count))
            .collect();
        let missing = self.missing.borrow();
        let missing = missing
            .iter()
            .map(|((what, name, program), count)| (*what, name.clone(), program.clone(), *count))
            .collect();
        let tasks = self.task_reports();
        Diagnostics { unknown_calls, missing, unknown_instructions: self.engine.borrow().unknown_instructions(), tasks }
    }
}
