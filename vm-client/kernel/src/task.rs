//! Tasks (guest threads), thread groups (processes), process groups and sessions.

mod credentials;
mod session;

pub use credentials::{Credentials, cap};
pub use session::Session;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use vm_cpu::Cpu;

use crate::Result;
use crate::mm::Mm;

/// A process, thread, process group or session number.
pub type Pid = i32;

/// A guest thread.
pub struct Task {
    /// Thread number (gettid(2)).
    pub tid: Pid,
    /// The process it belongs to.
    pub group: Rc<ThreadGroup>,
    /// Registers; lent to the engine only while it runs.
    pub cpu: RefCell<Cpu>,
    /// Address space.
    pub mm: RefCell<Rc<Mm>>,
    /// Who it acts as.
    pub creds: RefCell<Rc<Credentials>>,
}

/// A process: what its threads share whatever clone(2) flags they were made with.
pub struct ThreadGroup {
    /// Process number (getpid(2)).
    pub pid: Pid,
    /// Process group.
    pub pgrp: Cell<Pid>,
    /// Session.
    pub session: RefCell<Rc<Session>>,
}

impl Task {
    /// See [`crate::SyscallCx::interruptible`].
    pub async fn interruptible<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        Ok(wait.await)
    }
}
