//! The line discipline (`N_TTY`, termios(3)), as pure data: bytes in, bytes and signals out.
//!
//! It knows nothing of tasks and waits. [`super::Tty`] owns one and acts on its [`Outcome`]s; tests replay traces recorded
//! from a real pseudoterminal.

use std::collections::VecDeque;

use linux_abi::signal::Signal;
use linux_abi::termios::*;

use super::latin1;
use super::output::OutputColumn;

/// Bytes of input kept for readers, as in Linux.
pub const BUFFER: usize = 4096;

/// What a control character slot holds when it is switched off.
const DISABLED: u8 = 0;

/// What the terminal must do after input was processed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Signals for the foreground process group, in order.
    pub signals: Vec<Signal>,
    /// Whether pending output to the other side is to be thrown away (INTR and its like, without NOFLSH).
    pub flush_output: bool,
    /// Whether output was stopped (`Some(true)`) or started again.
    pub stop: Option<bool>,
}

#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    /// Ends a line in canonical mode.
    ends_line: bool,
    /// Is an end-of-file mark, which ends a line but is not read.
    is_eof: bool,
}

/// The state of one line discipline.
pub struct LineDiscipline {
    termios: Termios,
    input: VecDeque<Unit>,
    /// How many units at the front belong to complete lines.
    complete: usize,
    /// Output position, for tabs and erasing.
    column: OutputColumn,
    /// The column before the echo that is being gathered.
    sent_column: OutputColumn,
    /// The next character is to be taken literally (after LNEXT).
    literal: bool,
    /// Inside an ECHOPRT erase sequence.
    erasing: bool,
    stopped: bool,
}

impl LineDiscipline {
    /// Creates a discipline with empty buffers.
    pub fn new(termios: Termios) -> Self {
        Self {
            termios,
            input: VecDeque::new(),
            complete: 0,
            column: OutputColumn::default(),
            sent_column: OutputColumn::default(),
            literal: false,
            erasing: false,
            stopped: false,
        }
    }

    /// The settings in force.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Whether output was stopped by STOP or TCOOFF.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Stops or starts output.
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Changes the settings. What was typed stays readable when canonical mode changes.
    pub fn set_termios(&mut self, termios: Termios) {
        let toggled = (self.termios.lflag ^ termios.lflag) & (ICANON | EXTPROC) != 0;
        self.termios = termios;
        if toggled {
            for unit in &mut self.input {
                unit.ends_line = false;
            }
            self.complete = 0;
            if self.canonical()
                && let Some(last) = self.input.back_mut()
            {
                last.ends_line = true;
                self.complete = self.input.len();
            }
            self.erasing = false;
            self.literal = false;
        }
        if termios.iflag & IXON == 0 {
            self.stopped = false;
        }
    }

    /// Forgets unread input (TCIFLUSH).
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.complete = 0;
        self.erasing = false;
        self.literal = false;
    }

    /// Bytes that more input may still add before the sender has to wait.
    pub fn room(&self) -> usize {
        if self.canonical() && self.complete == 0 {
            // An overlong line must not block the terminal for ever: its newline always fits.
            return BUFFER.saturating_sub(self.input.len() + 1).max(1);
        }
        BUFFER.saturating_sub(self.input.len() + 1)
    }

    /// Bytes a read would return at most (FIONREAD).
    pub fn readable(&self) -> usize {
        if self.canonical() {
            self.input.iter().take(self.complete).filter(|unit| !unit.is_eof).count()
        } else {
            self.input.len()
        }
    }

    /// Whether a reader that wants `min` bytes has something to return; in canonical mode, whether a line is complete.
    pub fn input_available(&self, min: usize) -> bool {
        if self.canonical() { self.complete > 0 } else { self.input.len() >= min.max(1) }
    }

    /// Whether lines are edited before they are read.
    pub fn canonical(&self) -> bool {
        self.termios.lflag & ICANON != 0
    }

    /// Takes input for a reader. `None` when there is none; `Some(0)` is the end of the file.
    pub fn read(&mut self, buf: &mut [u8]) -> Option<usize> {
        if buf.is_empty() {
            return Some(0);
        }
        if !self.canonical() {
            if self.input.is_empty() {
                return None;
            }
            let count = buf.len().min(self.input.len());
            for (slot, unit) in buf.iter_mut().zip(self.input.drain(..count)) {
                *slot = unit.byte;
            }
            return Some(count);
        }
        if self.complete == 0 {
            return None;
        }
        let mut count = 0;
        while self.complete > 0 {
            let Some(unit) = self.input.front().copied() else { break };
            if count == buf.len() && !unit.is_eof {
                break;
            }
            // An end-of-file mark right behind a read that was filled belongs to that read.
            self.input.pop_front();
            self.complete -= 1;
            if !unit.is_eof {
                buf[count] = unit.byte;
                count += 1;
            }
            if unit.ends_line {
                break;
            }
        }
        Some(count)
    }

    /// Processes what was typed. Echo goes to `echo`, ready to be sent.
    pub fn receive(&mut self, bytes: &[u8], echo: &mut Vec<u8>) -> Outcome {
        let mut outcome = Outcome::default();
        self.sent_column = self.column;
        for byte in bytes {
            self.receive_byte(*byte, echo, &mut outcome);
        }
        outcome
    }

    /// Processes what a program wrote; returns the bytes to send.
    pub fn process_output(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 16);
        for byte in bytes {
            self.put(*byte, &mut out);
        }
        out
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.column.put(byte, &self.termios, out);
    }

    fn is_char(&self, index: usize, byte: u8) -> bool {
        byte != DISABLED && self.termios.cc[index] == byte
    }

    fn has(&self, lflag: u32) -> bool {
        self.termios.lflag & lflag == lflag
    }

    fn receive_byte(&mut self, mut byte: u8, echo: &mut Vec<u8>, outcome: &mut Outcome) {
        let iflag = self.termios.iflag;
        if iflag & ISTRIP != 0 {
            byte &= 0x7f;
        }
        if iflag & IUCLC != 0 && self.has(IEXTEN) {
            byte = latin1::to_lower(byte);
        }
        if self.has(EXTPROC) {
            self.store(byte);
            return;
        }
        if self.literal {
            self.literal = false;
            self.take_literally(byte, echo);
            return;
        }
        if iflag & IXON != 0 {
            if self.is_char(VSTART, byte) {
                self.stopped = false;
                outcome.stop = Some(false);
                return;
            }
            if self.is_char(VSTOP, byte) {
                self.stopped = true;
                outcome.stop = Some(true);
                return;
            }
        }
        if self.has(ISIG) {
            for (index, signal) in [(VINTR, Signal::INT), (VQUIT, Signal::QUIT), (VSUSP, Signal::TSTP)] {
                if self.is_char(index, byte) {
                    self.signal(byte, signal, echo, outcome);
                    return;
                }
            }
        }
        if self.stopped && iflag & IXON != 0 && iflag & IXANY != 0 {
            self.stopped = false;
            outcome.stop = Some(false);
        }
        let typed = byte;
        match byte {
            b'\r' if iflag & IGNCR != 0 => return,
            b'\r' if iflag & ICRNL != 0 => byte = b'\n',
            b'\n' if iflag & INLCR != 0 => byte = b'\r',
            _ => {}
        }
        if self.canonical() && self.edit(byte, echo) {
            return;
        }
        if self.has(ECHO) {
            self.finish_erasing(echo);
            if byte == b'\n' && typed == b'\r' {
                self.put(byte, echo);
            } else {
                if self.at_line_start() {
                    self.column.begin_line();
                }
                self.echo_byte(byte, echo);
            }
        }
        self.store_marked(byte);
    }

    fn signal(&mut self, byte: u8, signal: Signal, echo: &mut Vec<u8>, outcome: &mut Outcome) {
        if !self.has(NOFLSH) {
            self.flush_input();
            // Echo that was not sent yet never moved the cursor.
            echo.clear();
            self.column = self.sent_column;
            outcome.flush_output = true;
        }
        outcome.signals.push(signal);
        if self.termios.iflag & IXON != 0 && self.stopped {
            self.stopped = false;
            outcome.stop = Some(false);
        }
        if self.has(ECHO) {
            self.echo_byte(byte, echo);
        }
    }

    /// Handles the characters that have a meaning in canonical mode; tells whether `byte` was one.
    fn edit(&mut self, byte: u8, echo: &mut Vec<u8>) -> bool {
        let extended = self.has(IEXTEN);
        if self.is_char(VERASE, byte) || self.is_char(VKILL, byte) || (extended && self.is_char(VWERASE, byte)) {
            self.erase(byte, echo);
            return true;
        }
        if extended && self.is_char(VLNEXT, byte) {
            self.literal = true;
            if self.has(ECHO) {
                self.finish_erasing(echo);
                if self.has(ECHOCTL) {
                    // A caret that the literal character will overwrite.
                    for byte in *b"^\x08" {
                        self.put_raw(byte, echo);
                    }
                }
            }
            return true;
        }
        if extended && self.has(ECHO) && self.is_char(VREPRINT, byte) {
            self.finish_erasing(echo);
            self.echo_byte(byte, echo);
            self.put(b'\n', echo);
            let line: Vec<u8> = self.input.iter().skip(self.complete).map(|unit| unit.byte).collect();
            for byte in line {
                self.echo_byte(byte, echo);
            }
            return true;
        }
        if byte == b'\n' {
            if self.has(ECHO) || self.has(ECHONL) {
                self.put(b'\n', echo);
            }
            self.end_line(byte, false);
            return true;
        }
        if self.is_char(VEOF, byte) {
            self.end_line(0, true);
            return true;
        }
        if self.is_char(VEOL, byte) || (extended && self.is_char(VEOL2, byte)) {
            if self.has(ECHO) {
                if self.at_line_start() {
                    self.column.begin_line();
                }
                self.echo_byte(byte, echo);
            }
            if byte == 0xff && self.termios.iflag & PARMRK != 0 {
                self.store(byte);
            }
            self.end_line(byte, false);
            return true;
        }
        false
    }

    fn take_literally(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if self.has(ECHO) {
            self.finish_erasing(echo);
            if self.at_line_start() {
                self.column.begin_line();
            }
            self.echo_byte(byte, echo);
        }
        self.store_marked(byte);
    }

    fn at_line_start(&self) -> bool {
        self.input.len() == self.complete
    }

    fn end_line(&mut self, byte: u8, is_eof: bool) {
        // The last slot is kept free for exactly this.
        if self.input.len() < BUFFER {
            self.input.push_back(Unit { byte, ends_line: true, is_eof });
        } else if let Some(last) = self.input.back_mut() {
            *last = Unit { byte, ends_line: true, is_eof };
        }
        self.complete = self.input.len();
    }

    fn store(&mut self, byte: u8) {
        if self.input.len() + 1 < BUFFER {
            self.input.push_back(Unit { byte, ends_line: false, is_eof: false });
        }
    }

    fn store_marked(&mut self, byte: u8) {
        // termios(3): with PARMRK a valid 0xff is doubled to tell it from an error mark.
        if byte == 0xff && self.termios.iflag & PARMRK != 0 {
            self.store(byte);
        }
        self.store(byte);
    }

    fn finish_erasing(&mut self, echo: &mut Vec<u8>) {
        if std::mem::take(&mut self.erasing) {
            self.put(b'/', echo);
        }
    }

    fn put_raw(&mut self, byte: u8, echo: &mut Vec<u8>) {
        self.column.put(byte, &self.termios, echo);
    }

    /// Echoes a byte, control characters in caret notation if the settings say so.
    fn echo_byte(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if self.has(ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            self.put_raw(b'^', echo);
            self.put_raw(byte ^ 0o100, echo);
        } else {
            self.put(byte, echo);
        }
    }

    fn erase(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if self.at_line_start() {
            return;
        }
        let whole_line = self.is_char(VKILL, byte);
        let word = !whole_line && !self.is_char(VERASE, byte);
        if whole_line {
            if !self.has(ECHO) {
                self.input.truncate(self.complete);
                return;
            }
            if !self.has(ECHOK) || !self.has(ECHOKE) || !self.has(ECHOE) {
                self.input.truncate(self.complete);
                self.finish_erasing(echo);
                self.echo_byte(byte, echo);
                if self.has(ECHOK) {
                    self.put(b'\n', echo);
                }
                return;
            }
        }
        let mut seen_word = false;
        while let Some(erased) = self.last_character() {
            if word {
                if latin1::is_alphanumeric(erased[0]) || erased[0] == b'_' {
                    seen_word = true;
                } else if seen_word {
                    break;
                }
            }
            let keep = self.input.len() - erased.len();
            self.input.truncate(keep);
            if self.has(ECHO) {
                self.echo_erase(byte, &erased, echo);
            }
            if !whole_line && !word {
                break;
            }
        }
        if self.at_line_start() && self.has(ECHO) {
            self.finish_erasing(echo);
        }
    }

    /// The bytes of the last character of the line being typed; with IUTF8 these may be several.
    fn last_character(&self) -> Option<Vec<u8>> {
        let line: Vec<u8> = self.input.iter().skip(self.complete).map(|unit| unit.byte).collect();
        let mut start = line.len().checked_sub(1)?;
        if self.termios.iflag & IUTF8 != 0 {
            while start > 0 && line[start] & 0xc0 == 0x80 {
                start -= 1;
            }
            // Only continuation bytes: Linux leaves such a broken character alone.
            if line[start] & 0xc0 == 0x80 {
                return None;
            }
        }
        Some(line[start..].to_vec())
    }

    fn echo_erase(&mut self, by: u8, erased: &[u8], echo: &mut Vec<u8>) {
        let first = erased[0];
        if self.has(ECHOPRT) {
            if !self.erasing {
                self.put(b'\\', echo);
                self.erasing = true;
            }
            self.echo_byte(first, echo);
            for byte in &erased[1..] {
                self.put_raw(*byte, echo);
            }
        } else if self.is_char(VERASE, by) && !self.has(ECHOE) {
            let erase = self.termios.cc[VERASE];
            self.echo_byte(erase, echo);
        } else if first == b'\t' {
            let back = self.tab_width();
            for _ in 0..back {
                self.put_raw(0x08, echo);
            }
        } else {
            let mut width = 0;
            if first.is_ascii_control() {
                width = if self.has(ECHOCTL) { 2 } else { 0 };
            } else {
                width += 1;
            }
            for _ in 0..width {
                for byte in *b"\x08 \x08" {
                    self.put_raw(byte, echo);
                }
            }
        }
    }

    /// Columns a tab took that has just been removed from the end of the line being typed.
    fn tab_width(&self) -> usize {
        let mut columns = 0;
        let mut after_tab = false;
        for unit in self.input.iter().skip(self.complete).rev() {
            if unit.byte == b'\t' {
                after_tab = true;
                break;
            }
            if unit.byte.is_ascii_control() {
                if self.has(ECHOCTL) {
                    columns += 2;
                }
            } else if self.termios.iflag & IUTF8 == 0 || unit.byte & 0xc0 != 0x80 {
                columns += 1;
            }
        }
        if !after_tab {
            columns += self.column.line_start();
        }
        8 - columns % 8
    }
}

#[cfg(test)]
mod tests;
