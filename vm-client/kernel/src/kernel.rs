//! The kernel of one machine.

use std::cell::RefCell;
use std::rc::Rc;

use vm_cpu::Engine;
use vm_mem::Mmu;
use vm_rt::{Executor, Timers};

use crate::host::Host;

/// Everything the tasks of one machine share.
pub struct Kernel {
    /// The outside.
    pub host: Host,
    /// Guest memory.
    pub mmu: Rc<RefCell<Mmu>>,
    /// What runs guest code.
    pub engine: RefCell<Box<dyn Engine>>,
    /// Polls the tasks.
    pub executor: Executor,
    /// Deadlines on guest monotonic time.
    pub timers: Timers,
}
