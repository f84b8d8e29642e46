//! Sessions, foreground and background (credentials(7), tcsetpgrp(3)).

use std::rc::Rc;

use linux_abi::signal::Signal;

use super::Tty;
use crate::task::{Session, Task};
use crate::{Errno, Kernel, Result, SyscallCx};

impl Tty {
    /// Checks that the caller may do what background processes may not: reading (`SIGTTIN`) or changing the terminal and,
    /// with TOSTOP, writing (`SIGTTOU`). A background caller is signalled and its call restarted.
    pub(super) fn check_foreground(&self, cx: &SyscallCx, signal: Signal) -> Result<()> {
        let task = &cx.task;
        let is_ours = task.group.session.borrow().tty().is_some_and(|tty| std::ptr::eq(&*tty, self));
        let pgrp = task.group.pgrp.get();
        if !is_ours || self.pgrp.get() == 0 || self.pgrp.get() == pgrp {
            return Ok(());
        }
        let ignored = task.group.sighand.borrow().ignores(signal) || task.blocked.get().contains(signal);
        if ignored {
            return if signal == Signal::TTIN { Err(Errno::EIO) } else { Ok(()) };
        }
        if cx.kernel.is_orphaned_pgrp(pgrp) {
            return Err(Errno::EIO);
        }
        cx.kernel.signal_pgrp(pgrp, signal);
        Err(Errno::ERESTARTSYS)
    }

    /// Whether the terminal is the caller's controlling one.
    pub(super) fn is_controlling(self: &Rc<Self>, task: &Task) -> bool {
        task.group.session.borrow().tty().is_some_and(|tty| Rc::ptr_eq(&tty, self))
    }

    /// Makes it the controlling terminal of a session.
    pub(crate) fn take_session(self: &Rc<Self>, session: &Session, pgrp: crate::task::Pid) {
        self.sid.set(session.sid);
        self.pgrp.set(pgrp);
        *session.tty.borrow_mut() = Some(Rc::clone(self));
    }

    /// open(2): a session leader without a controlling terminal gets the first free one it opens without O_NOCTTY.
    pub(super) fn adopt_on_open(self: &Rc<Self>, task: &Task) {
        let session = Rc::clone(&task.group.session.borrow());
        if session.sid == task.pid() && session.tty().is_none() && self.sid.get() == 0 {
            self.take_session(&session, task.group.pgrp.get());
        }
    }

    /// ioctl TIOCSCTTY; `steal` is its argument.
    pub(super) fn set_controlling(self: &Rc<Self>, cx: &SyscallCx, steal: bool) -> Result<()> {
        let task = &cx.task;
        let session = Rc::clone(&task.group.session.borrow());
        if session.sid == task.pid() && self.sid.get() == session.sid {
            return Ok(());
        }
        if session.sid != task.pid() || session.tty().is_some() {
            return Err(Errno::EPERM);
        }
        if self.sid.get() != 0 {
            if !steal || !task.credentials().capable(crate::task::cap::SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            self.release_session(false);
        }
        self.take_session(&session, task.group.pgrp.get());
        Ok(())
    }

    /// ioctl TIOCSPGRP.
    pub(super) fn set_foreground(self: &Rc<Self>, cx: &SyscallCx, pgrp: i32) -> Result<()> {
        self.check_foreground(cx, Signal::TTOU)?;
        let sid = cx.task.group.session.borrow().sid;
        if !self.is_controlling(&cx.task) || self.sid.get() != sid {
            return Err(Errno::ENOTTY);
        }
        if pgrp < 0 {
            return Err(Errno::EINVAL);
        }
        if cx.kernel.processes.groups_of(pgrp).is_empty() {
            return Err(Errno::ESRCH);
        }
        if !cx.kernel.pgrp_in_session(pgrp, sid) {
            return Err(Errno::EPERM);
        }
        self.pgrp.set(pgrp);
        Ok(())
    }

    /// Ends its being a controlling terminal. With `hang_up`, the session leader gets SIGHUP and SIGCONT, and so does the
    /// foreground process group.
    pub(super) fn release_session(&self, hang_up: bool) {
        let sid = self.sid.replace(0);
        let pgrp = self.pgrp.replace(0);
        if sid == 0 {
            return;
        }
        let Some(kernel) = self.kernel.upgrade() else { return };
        let mut leader_pgrp = 0;
        for group in kernel.processes.groups() {
            let session = Rc::clone(&group.session.borrow());
            if session.sid == sid {
                *session.tty.borrow_mut() = None;
                if group.pid == sid && hang_up {
                    leader_pgrp = group.pgrp.get();
                    for signal in [Signal::HUP, Signal::CONT] {
                        kernel.send_signal_group(&group, linux_abi::siginfo::SigInfo::kernel(signal));
                    }
                }
            }
        }
        if hang_up && pgrp > 0 && pgrp != leader_pgrp {
            kernel.signal_pgrp(pgrp, Signal::HUP);
            kernel.signal_pgrp(pgrp, Signal::CONT);
        }
    }
}

impl Kernel {
    /// ioctl TIOCNOTTY, and what the end of a session leader does: the foreground process group gets SIGHUP and SIGCONT
    /// and the session has no terminal any more. A pseudoterminal's leader does not hang up the terminal itself.
    pub fn disassociate_tty(&self, session: &Session) {
        let Some(tty) = session.tty() else { return };
        let pgrp = tty.pgrp.get();
        tty.release_session(false);
        *session.tty.borrow_mut() = None;
        if pgrp > 0 {
            self.signal_pgrp(pgrp, Signal::HUP);
            self.signal_pgrp(pgrp, Signal::CONT);
        }
    }

    /// Called when a session leader ends.
    pub fn session_leader_exited(&self, session: &Session) {
        let Some(tty) = session.tty() else { return };
        match tty.name() {
            // tty_ioctl(4), TIOCNOTTY: a virtual terminal is hung up with its session.
            super::TtyName::Vt(_) => {
                let pgrp = tty.pgrp.get();
                tty.release_session(false);
                if pgrp > 0 {
                    self.signal_pgrp(pgrp, Signal::HUP);
                    self.signal_pgrp(pgrp, Signal::CONT);
                }
                tty.hang_up();
            }
            super::TtyName::Pts(_) => {
                let pgrp = tty.pgrp.get();
                tty.release_session(false);
                *session.tty.borrow_mut() = None;
                if pgrp > 0 {
                    self.signal_pgrp(pgrp, Signal::HUP);
                }
            }
        }
    }
}
