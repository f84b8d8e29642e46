//! Process groups and sessions as terminals see them (credentials(7), setpgid(2)).

use std::rc::Rc;

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::Signal;

use super::{Pid, ThreadGroup};
use crate::Kernel;

impl Kernel {
    /// Whether no process of the group has a parent in the same session but another group: nobody is there who could
    /// continue it once stopped.
    pub fn is_orphaned_pgrp(&self, pgrp: Pid) -> bool {
        self.is_orphaned_without(pgrp, None)
    }

    /// The same, as if one process were not there.
    pub(crate) fn is_orphaned_without(&self, pgrp: Pid, ignored: Option<&Rc<ThreadGroup>>) -> bool {
        !self.processes.groups_of(pgrp).iter().any(|group| {
            if group.is_zombie() || ignored.is_some_and(|other| Rc::ptr_eq(other, group)) {
                return false;
            }
            group.parent().is_some_and(|parent| {
                !self.is_builtin_init(&parent)
                    && parent.pgrp.get() != pgrp
                    && parent.session.borrow().sid == group.session.borrow().sid
            })
        })
    }

    /// Sends a signal from the kernel to every process of a group; tells whether there was one.
    pub fn signal_pgrp(&self, pgrp: Pid, signal: Signal) -> bool {
        self.send_signal_pgrp(pgrp, SigInfo::kernel(signal))
    }

    /// Whether a process group with this number exists in the session.
    pub fn pgrp_in_session(&self, pgrp: Pid, sid: Pid) -> bool {
        self.processes.groups_of(pgrp).iter().any(|group| group.session.borrow().sid == sid)
    }

    /// SIGHUP and SIGCONT to a group that has become orphaned and has stopped processes.
    pub(crate) fn hang_up_orphans(&self, pgrp: Pid, ignored: Option<&Rc<ThreadGroup>>) {
        let stopped =
            self.processes.groups_of(pgrp).iter().any(|group| !group.is_exiting() && group.stop.get().is_some());
        if stopped && self.is_orphaned_without(pgrp, ignored) {
            self.signal_pgrp(pgrp, Signal::HUP);
            self.signal_pgrp(pgrp, Signal::CONT);
        }
    }

    /// The process may have been the last link between its process group and the rest of the session.
    pub(crate) fn hang_up_if_last_link(&self, group: &Rc<ThreadGroup>) {
        let linked = group.parent().is_some_and(|parent| {
            parent.pgrp.get() != group.pgrp.get() && parent.session.borrow().sid == group.session.borrow().sid
        });
        if linked {
            self.hang_up_orphans(group.pgrp.get(), Some(group));
        }
    }
}
