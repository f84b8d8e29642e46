//! One virtual machine, assembled: CPU engine, memory, kernel, file systems, terminals and the programs the host starts.
//!
//! It puts the crates below together and adds nothing of its own to them: [`Machine`] builds a kernel over a host and a
//! root disk, [`Machine::mount_tree`] adds files of the host, [`Machine::start`] runs a program on a console or on streams,
//! [`Machine::turn`] lets everything go on. It is used by the browser front (`vm-browser`) and, natively, by the `vmrun`
//! command.

mod disk;
mod files;
mod handout;
mod machine;
mod mounts;
#[cfg(feature = "native")]
pub mod native;
mod program;
mod stream;
mod trees;

pub use disk::{DiskOptions, ImageDisk, OpenDiskError};
pub use files::{Entry, FileWatch, Place};
pub use machine::{Machine, MachineOptions, Status};
pub use mounts::MountError;
pub use program::{Program, Running, Stdio};
pub use stream::StreamSink;
pub use trees::{DataTree, WebTree};
pub use vm_cpu::{Engine, Interpreter};
pub use vm_jit as jit;
