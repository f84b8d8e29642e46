//! The Linux kernel layer: tasks, memory, signals, files, terminals and system calls for unmodified i386 programs.
//!
//! It sits on [`vm_cpu::Engine`] (which runs guest code and says why it stopped), [`vm_mem::Mmu`] (guest memory), `ext2` and
//! `vm-block` (disks) and `vm-rt` (waiting). It never sees the browser, the JIT or a real clock: those are traits in
//! [`host`]. Each guest thread is one future that loops "run, handle the exit, deliver signals" ([`task`]); system calls
//! are functions in [`syscall`] that get a [`SyscallCx`].

pub(crate) mod coredump;
pub(crate) mod dump;
pub mod fs;
pub mod host;
pub mod hot_code;
pub(crate) mod ipc;
pub mod kernel;
pub(crate) mod klog;
pub mod loader;
pub mod mm;
pub mod namespace;
pub mod net;
pub mod profile;
pub(crate) mod ptrace;
pub(crate) mod seccomp;
pub mod signal;
pub mod strace;
pub mod syscall;
pub mod task;
pub mod time;
pub mod tty;
pub mod vfs;

pub use dump::TaskReport;
pub use kernel::Kernel;
pub use linux_abi::Errno;
pub use syscall::SyscallCx;

/// The result of everything that can fail inside the kernel.
pub type Result<T> = std::result::Result<T, Errno>;
