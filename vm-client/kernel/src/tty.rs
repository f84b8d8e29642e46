//! Terminals: pseudoterminals and the console's virtual terminals.
//!
//! - [`ldisc`]: the line discipline, pure, tested against recorded traces.
//! - [`Tty`]: a terminal as its programs see it: line discipline, waiting, job control, settings.
//! - [`pty`]: the master side of a pseudoterminal and the table of all of them (devpts).
//! - [`console`]: the virtual terminals shown by the host.
//!
//! Input flows host -> [`Tty::input`] -> line discipline -> reader; output flows writer -> line discipline -> [`Sink`].

pub mod console;
pub mod file;
mod ioctl;
mod job_control;
mod latin1;
pub mod ldisc;
mod output;
pub mod pty;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use linux_abi::signal::Signal;
use linux_abi::termios::{Termios, Winsize};
use vm_rt::WaitQueue;

use self::ldisc::LineDiscipline;
use crate::Kernel;
use crate::task::Pid;

/// The other side of a terminal: who sees its output.
pub trait Sink {
    /// Takes processed output.
    fn put(&self, bytes: &[u8]);
    /// How many bytes it would take now; 0 makes writers wait until [`Tty::output_drained`].
    fn room(&self) -> usize;
    /// Bytes taken but not yet seen (TIOCOUTQ).
    fn queued(&self) -> usize;
    /// Throws away what is still on the way to the other side; what has reached it stays.
    fn flush(&self);
    /// Told when the number of open slave files becomes zero or leaves it, and when settings change.
    fn changed(&self) {}
}

/// Which terminal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtyName {
    /// /dev/pts/N
    Pts(u32),
    /// /dev/ttyN
    Vt(u32),
}

impl TtyName {
    /// Device number of the terminal.
    pub fn rdev(self) -> u64 {
        match self {
            // Unix98 pseudoterminal slaves have majors 136 to 143, 256 minors each.
            Self::Pts(index) => linux_abi::stat::makedev(136 + index / 256, index % 256),
            Self::Vt(index) => linux_abi::stat::makedev(4, index),
        }
    }

    /// Path of its device file.
    pub fn path(self) -> String {
        match self {
            Self::Pts(index) => format!("/dev/pts/{index}"),
            Self::Vt(index) => format!("/dev/tty{index}"),
        }
    }
}

/// A terminal.
pub struct Tty {
    name: TtyName,
    ldisc: RefCell<LineDiscipline>,
    sink: Box<dyn Sink>,
    kernel: Weak<Kernel>,
    winsize: Cell<Winsize>,
    /// Settings that stay as they are (TIOCSLCKTRMIOS).
    locked: Cell<Termios>,
    /// Foreground process group; 0 is none.
    pgrp: Cell<Pid>,
    /// The session whose controlling terminal it is; 0 is none.
    sid: Cell<Pid>,
    /// Files that have it open.
    opens: Cell<usize>,
    /// Counts hang-ups: a file opened before the last one is dead.
    generation: Cell<u64>,
    /// The other side is gone.
    closed: Cell<bool>,
    exclusive: Cell<bool>,
    /// Input that did not fit into the line discipline yet.
    backlog: RefCell<Vec<u8>>,
    /// Input came, or the terminal was hung up.
    readable: WaitQueue,
    /// Output can go on.
    writable: WaitQueue,
    /// The line discipline has room again.
    input_room: WaitQueue,
}

impl Tty {
    /// Creates a terminal with standard settings.
    pub fn new(kernel: &Weak<Kernel>, name: TtyName, sink: Box<dyn Sink>) -> Rc<Self> {
        Rc::new(Self {
            name,
            ldisc: RefCell::new(LineDiscipline::new(Termios::default())),
            sink,
            kernel: Weak::clone(kernel),
            winsize: Cell::default(),
            locked: Cell::new(Termios::NONE),
            pgrp: Cell::new(0),
            sid: Cell::new(0),
            opens: Cell::new(0),
            generation: Cell::new(0),
            closed: Cell::new(false),
            exclusive: Cell::new(false),
            backlog: RefCell::default(),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
            input_room: WaitQueue::new(),
        })
    }

    /// Which terminal it is.
    pub fn name(&self) -> TtyName {
        self.name
    }

    /// The foreground process group; 0 is none.
    pub fn foreground(&self) -> Pid {
        self.pgrp.get()
    }

    /// The session whose controlling terminal it is; 0 is none.
    pub fn session(&self) -> Pid {
        self.sid.get()
    }

    /// The size.
    pub fn winsize(&self) -> Winsize {
        self.winsize.get()
    }

    /// Changes the size; the foreground process group gets SIGWINCH if it really changed.
    pub fn set_winsize(&self, size: Winsize) {
        if self.winsize.replace(size) != size {
            self.signal_foreground(Signal::WINCH);
        }
    }

    /// Takes what was typed or, for a pseudoterminal, what the master wrote. What does not fit waits for readers.
    pub fn input(&self, bytes: &[u8]) {
        self.backlog.borrow_mut().extend_from_slice(bytes);
        self.process_backlog();
    }

    /// Bytes that were given to [`Tty::input`] and wait for room.
    pub fn backlog_len(&self) -> usize {
        self.backlog.borrow().len()
    }

    /// Told by the sink's owner that there is room for output again.
    pub fn output_drained(&self) {
        self.writable.wake_all();
    }

    /// Whether programs have it open.
    pub fn is_open(&self) -> bool {
        self.opens.get() > 0
    }

    /// Ends every use of the terminal, as when a modem line drops: the session gets SIGHUP, reads give end of file, writes
    /// EIO.
    pub fn hang_up(&self) {
        self.generation.set(self.generation.get() + 1);
        self.ldisc.borrow_mut().flush_input();
        self.backlog.borrow_mut().clear();
        self.release_session(true);
        self.readable.wake_all();
        self.writable.wake_all();
        self.input_room.wake_all();
        self.sink.changed();
    }

    fn process_backlog(&self) {
        loop {
            let piece: Vec<u8> = {
                let mut backlog = self.backlog.borrow_mut();
                let count = backlog.len().min(self.ldisc.borrow().room());
                backlog.drain(..count).collect()
            };
            if piece.is_empty() {
                break;
            }
            let mut echo = Vec::new();
            let outcome = self.ldisc.borrow_mut().receive(&piece, &mut echo);
            if outcome.flush_output {
                self.sink.flush();
            }
            self.sink.put(&echo);
            for signal in outcome.signals {
                self.signal_foreground(signal);
            }
            if outcome.stop == Some(false) || outcome.flush_output {
                self.writable.wake_all();
            }
        }
        self.readable.wake_all();
        if self.backlog.borrow().is_empty() {
            self.input_room.wake_all();
        }
    }

    fn signal_foreground(&self, signal: Signal) {
        let pgrp = self.pgrp.get();
        if pgrp > 0
            && let Some(kernel) = self.kernel.upgrade()
        {
            kernel.signal_pgrp(pgrp, signal);
        }
    }
}
