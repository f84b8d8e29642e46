//! The terminal the command runs in, as the machine's console.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{self, OptionalActions, Termios};
use vm_kernel::host::Console;

/// Shows virtual terminal 1 on standard output.
pub struct TerminalConsole;

impl Console for TerminalConsole {
    fn write(&self, vt: usize, bytes: &[u8]) {
        if vt == 1 {
            let mut out = io::stdout().lock();
            // A terminal that went away cannot be told anything.
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        }
    }

    fn size(&self, _vt: usize) -> (u16, u16) {
        terminal_size().unwrap_or((80, 24))
    }
}

/// Columns and rows of the terminal, if there is one.
pub fn terminal_size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// The terminal in raw mode, until it is dropped: the guest does the line editing.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Puts the terminal into raw mode; `None` when standard input or output is none.
    pub fn enter() -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Drain, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
