//! The machine.

#[cfg(all(test, feature = "native"))]
mod tests;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use vm_block::BlockDevice;
use vm_cpu::{Engine, Interpreter, Work};
use vm_kernel::fs::hosted::Tree;
use vm_kernel::host::Host;
use vm_kernel::hot_code::{HotCode, List, ListError};
use vm_kernel::kernel::Diagnostics;
use vm_kernel::profile::Report;
use vm_kernel::vfs::OpenFile;
use vm_kernel::{Kernel, Result, strace};
use vm_mem::{Mmu, PAGE_SIZE};
use vm_rt::Turn;

use crate::handout::Handout;
use crate::mounts::{self, MountError};
use crate::program::{self, Program, Running};

/// How a machine is made.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// Guest memory, bytes.
    pub memory: u64,
    /// Host name of the guest.
    pub hostname: String,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self { memory: 512 << 20, hostname: "skiff".to_owned() }
    }
}

/// What a machine is doing, for a status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Tasks made since the start.
    pub created: u64,
    /// Guest memory in use, bytes.
    pub memory_used: u64,
    /// Guest memory there is, bytes.
    pub memory_total: u64,
    /// Instructions executed since the start.
    pub retired: u64,
}

/// A virtual machine.
pub struct Machine {
    kernel: Rc<Kernel>,
    handout: Rc<Handout>,
    /// Each lets the file system of a disk go.
    unmounts: RefCell<Vec<Box<dyn FnOnce()>>>,
}

impl Machine {
    /// Makes a machine without disks. Fails with a message when the host does not have the memory.
    pub fn new(host: Host, options: &MachineOptions) -> std::result::Result<Rc<Self>, String> {
        Self::with_engine(host, options, Box::new(Interpreter::new()))
    }

    /// The same with an engine of the caller's choice.
    pub fn with_engine(
        host: Host,
        options: &MachineOptions,
        engine: Box<dyn Engine>,
    ) -> std::result::Result<Rc<Self>, String> {
        let frames = u32::try_from(options.memory / PAGE_SIZE as u64).map_err(|_| "memory is limited to 16 TiB")?;
        let mmu = Mmu::new(frames)
            .map_err(|error| format!("the host cannot provide {} MiB of memory: {error}", options.memory >> 20))?;
        let kernel = Kernel::new(host, mmu, engine);
        kernel.uts.borrow_mut().nodename = options.hostname.clone().into_bytes();
        Ok(Rc::new(Self { kernel, handout: Rc::default(), unmounts: RefCell::default() }))
    }

    /// The kernel inside.
    pub fn kernel(&self) -> &Rc<Kernel> {
        &self.kernel
    }

    /// Mounts the root disk (ext2) and everything Linux programs expect below it.
    pub async fn mount_root(&self, disk: impl BlockDevice + 'static) -> std::result::Result<(), MountError> {
        let unmount = mounts::mount_all(&self.kernel, &self.handout, disk).await?;
        self.unmounts.borrow_mut().push(unmount);
        Ok(())
    }

    /// Mounts files of the host as the root, which then is only read; `source` is what /proc/mounts says.
    pub async fn mount_root_tree(&self, source: &str, tree: Rc<dyn Tree>) -> std::result::Result<(), MountError> {
        mounts::mount_root_tree(&self.kernel, &self.handout, source, tree).await
    }

    /// Mounts another disk (ext2) at a path below a mounted root. A mount point that the image does not have is made.
    pub async fn mount_disk(
        &self,
        point: &str,
        disk: impl BlockDevice + 'static,
    ) -> std::result::Result<(), MountError> {
        let unmount = mounts::mount_disk(&self.kernel, point, disk).await?;
        self.unmounts.borrow_mut().push(unmount);
        Ok(())
    }

    /// Sets who takes the files that guest programs hand to the host by writing their names to /dev/skiff.
    pub fn on_handout(&self, taker: impl Fn(Rc<OpenFile>) + 'static) {
        self.handout.set_taker(Some(Box::new(taker)));
    }

    /// Mounts files of the host at a path, read-only, below a mounted root; `source` is what /proc/mounts says. Files of a
    /// tree that is not `executable` cannot be run.
    pub async fn mount_tree(
        &self,
        point: &str,
        source: &str,
        tree: Rc<dyn Tree>,
        executable: bool,
    ) -> std::result::Result<(), MountError> {
        mounts::mount_tree(&self.kernel, point, source, tree, executable).await
    }

    /// Starts a program; on a console it leads a session of its own.
    pub async fn start(&self, program: Program) -> Result<Running> {
        program::start(&self.kernel, program).await
    }

    /// Lets the machine run for about `budget` of host time and says when to come again.
    pub fn turn(&self, budget: Duration) -> Turn {
        self.kernel.turn(budget)
    }

    /// Runs a future of the host together with the machine.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.kernel.executor.spawn(future);
    }

    /// Sets what is called, on any thread, when a turn has something to do again.
    pub fn on_wake(&self, notify: impl Fn() + Send + Sync + 'static) {
        self.kernel.executor.on_wake(notify);
    }

    /// Takes what was typed on a virtual terminal (1 is the first).
    pub fn console_input(&self, vt: usize, bytes: &[u8]) {
        self.kernel.console_input(vt, bytes);
    }

    /// Tells that a virtual terminal has another size.
    pub fn console_resized(&self, vt: usize, cols: u16, rows: u16) {
        self.kernel.console_resized(vt, cols, rows);
    }

    /// Tells that a virtual terminal that was congested takes output again.
    pub fn console_drained(&self, vt: usize) {
        self.kernel.console_drained(vt);
    }

    /// Waits until everything written is durable.
    pub async fn sync(&self) -> Result<()> {
        self.kernel.vfs.sync_all().await
    }

    /// Prints system calls from now on, or no more.
    pub fn trace(&self, output: Option<Rc<dyn strace::Output>>) {
        *self.kernel.strace.borrow_mut() = output;
    }

    /// Ends every task and all background work at once, without storing anything, and lets go of the disk. Needed before the
    /// last reference is dropped when futures given to [`Machine::spawn`] hold the machine.
    pub fn shut_down(&self) {
        self.handout.set_taker(None);
        // Tasks hold the kernel and the kernel holds them.
        self.kernel.executor.clear();
        self.kernel.processes.clear();
        let unmounts = self.unmounts.take();
        for unmount in unmounts {
            unmount();
        }
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        let (free, total) = self.kernel.mmu.borrow().free_frames();
        let bytes = |frames: u32| u64::from(frames) * PAGE_SIZE as u64;
        Status {
            tasks: self.kernel.processes.task_count(),
            created: self.kernel.processes.created(),
            memory_used: bytes(total - free),
            memory_total: bytes(total),
            retired: self.kernel.clock.retired(),
        }
    }

    /// What the engine counts, with names.
    pub fn engine_figures(&self) -> Vec<(String, f64)> {
        // While the engine runs there is nobody to ask.
        self.kernel.engine.try_borrow().map(|engine| engine.figures()).unwrap_or_default()
    }

    /// Begins to measure where guest time goes, from nothing.
    pub fn profile_start(&self) {
        self.kernel.profile.start(self.work());
    }

    /// Where guest time went since [`Machine::profile_start`]. Reads the names of functions, so it may wait.
    pub async fn profile(&self) -> Report {
        self.kernel.profile.report(self.work()).await
    }

    fn work(&self) -> Option<Work> {
        // While the engine runs there is nobody to ask.
        self.kernel.engine.try_borrow().ok().and_then(|engine| engine.work())
    }

    /// Keeps a list of the code that is hot, to be stored for later machines. With such a list of an earlier one, hot code is
    /// compiled early; one that cannot be read changes nothing and is an error.
    pub fn keep_hot_code(&self, earlier: Option<&[u8]>) -> std::result::Result<(), ListError> {
        let list = earlier.map(List::parse).transpose();
        self.kernel.hot_code.start(list.as_ref().ok().cloned().flatten().unwrap_or_default());
        list.map(drop)
    }

    /// The list of hot code: how many times it changed, how it is made, and what became of the earlier one.
    pub fn hot_code(&self) -> &HotCode {
        &self.kernel.hot_code
    }

    /// What to show when something does not work.
    pub fn diagnostics(&self) -> Diagnostics {
        self.kernel.diagnostics()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shut_down();
    }
}
