//! pidfd_open(2): a process as something to wait for and to send signals to.

use std::any::Any;
use std::rc::Rc;

use linux_abi::poll::Ready;
use vm_rt::Io;

use crate::SyscallCx;
use crate::task::ThreadGroup;
use crate::vfs::File;

/// A process. It stays the same one, even when its number is given to another.
pub struct PidFd {
    group: Rc<ThreadGroup>,
}

impl PidFd {
    /// A descriptor for a process.
    pub fn new(group: &Rc<ThreadGroup>) -> Rc<Self> {
        Rc::new(Self { group: Rc::clone(group) })
    }

    /// The process.
    pub fn group(&self) -> &Rc<ThreadGroup> {
        &self.group
    }

    fn is_reaped(&self, cx: &SyscallCx) -> bool {
        !cx.kernel.processes.group(self.group.pid).is_some_and(|group| Rc::ptr_eq(&group, &self.group))
    }
}

impl File for PidFd {
    fn poll(&self, _interest: Ready) -> Ready {
        if self.group.is_zombie() { Ready::IN | Ready::RDNORM } else { Ready::NONE }
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.group.ended.wait())
    }

    fn description(&self) -> Option<String> {
        Some("anon_inode:[pidfd]".to_owned())
    }

    fn fdinfo(&self, cx: &SyscallCx) -> String {
        let pid = if self.is_reaped(cx) { -1 } else { self.group.pid };
        format!("Pid:\t{pid}\nNSpid:\t{pid}\n")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
