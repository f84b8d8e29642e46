//! Sessions (setsid(2), credentials(7)).

use std::cell::RefCell;
use std::rc::Rc;

use super::Pid;
use crate::tty::Tty;

/// A session and its controlling terminal.
pub struct Session {
    /// Session number: the pid of its leader.
    pub sid: Pid,
    /// Its controlling terminal, if it has one.
    pub tty: RefCell<Option<Rc<Tty>>>,
}

impl Session {
    /// A session without a terminal.
    pub fn new(sid: Pid) -> Self {
        Self { sid, tty: RefCell::new(None) }
    }

    /// The controlling terminal.
    pub fn tty(&self) -> Option<Rc<Tty>> {
        self.tty.borrow().clone()
    }
}
