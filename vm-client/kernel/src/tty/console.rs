//! The virtual terminals, /dev/tty1 and so on, shown by the host.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use linux_abi::termios::Winsize;

use super::{Sink, Tty, TtyName};
use crate::Kernel;
use crate::host::Console;

/// Output taken from writers at a time.
const PIECE: usize = 32 * 1024;

struct ConsoleSink {
    vt: usize,
    console: Rc<dyn Console>,
}

impl Sink for ConsoleSink {
    fn put(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.console.write(self.vt, bytes);
        }
    }

    fn room(&self) -> usize {
        if self.console.congested(self.vt) { 0 } else { PIECE }
    }

    fn queued(&self) -> usize {
        // What the host has taken counts as seen.
        0
    }

    fn flush(&self) {}
}

/// The virtual terminals of a machine.
pub struct Consoles {
    terminals: RefCell<Vec<Rc<Tty>>>,
    active: Cell<usize>,
}

/// How many virtual terminals there are.
pub const COUNT: usize = 6;

impl Consoles {
    /// Makes the terminals with the sizes the host says.
    pub fn new(kernel: &Weak<Kernel>, console: &Rc<dyn Console>) -> Self {
        let terminals = (1..=COUNT)
            .map(|vt| {
                let sink = ConsoleSink { vt, console: Rc::clone(console) };
                let tty = Tty::new(kernel, TtyName::Vt(vt as u32), Box::new(sink));
                let (cols, rows) = console.size(vt);
                tty.winsize.set(Winsize { rows, cols, ..Winsize::default() });
                tty.set_utf8();
                tty
            })
            .collect();
        Self { terminals: RefCell::new(terminals), active: Cell::new(1) }
    }

    /// Virtual terminal `vt`, from 1; 0 is the active one.
    pub fn get(&self, vt: usize) -> Option<Rc<Tty>> {
        let vt = if vt == 0 { self.active.get() } else { vt };
        self.terminals.borrow().get(vt.checked_sub(1)?).cloned()
    }
}

impl Tty {
    /// Erases whole UTF-8 characters, as virtual terminals do since they show UTF-8.
    fn set_utf8(&self) {
        let mut ldisc = self.ldisc.borrow_mut();
        let mut termios = *ldisc.termios();
        termios.iflag |= linux_abi::termios::IUTF8;
        ldisc.set_termios(termios);
    }
}

impl Kernel {
    /// Takes what was typed on a virtual terminal.
    pub fn console_input(&self, vt: usize, bytes: &[u8]) {
        if let Some(tty) = self.consoles.get(vt) {
            tty.input(bytes);
        }
    }

    /// Tells that the host shows another number of columns and rows.
    pub fn console_resized(&self, vt: usize, cols: u16, rows: u16) {
        if let Some(tty) = self.consoles.get(vt) {
            tty.set_winsize(Winsize { rows, cols, ..tty.winsize() });
        }
    }

    /// Tells that the host can take output again.
    pub fn console_drained(&self, vt: usize) {
        if let Some(tty) = self.consoles.get(vt) {
            tty.output_drained();
        }
    }
}
