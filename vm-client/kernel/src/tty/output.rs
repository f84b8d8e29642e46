//! Output processing (the OPOST flags of termios(3)).

use linux_abi::termios::*;

use super::latin1;

/// The column the next byte goes to, kept for tabs and erasing.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputColumn {
    column: usize,
    /// Where the line being typed began.
    line_start: usize,
}

impl OutputColumn {
    /// Where the line being typed began: set by [`Self::begin_line`], and by every line end that is put out.
    pub fn line_start(&self) -> usize {
        self.line_start
    }

    /// Says that the next byte is the first of a line being typed.
    pub fn begin_line(&mut self) {
        self.line_start = self.column;
    }

    /// Appends what a byte becomes under these settings and moves the column.
    pub fn put(&mut self, byte: u8, termios: &Termios, out: &mut Vec<u8>) {
        let oflag = termios.oflag;
        if oflag & OPOST == 0 {
            out.push(byte);
            return;
        }
        match byte {
            b'\n' => {
                if oflag & ONLRET != 0 {
                    self.column = 0;
                }
                if oflag & ONLCR != 0 {
                    out.push(b'\r');
                    self.column = 0;
                }
                self.line_start = self.column;
                out.push(b'\n');
            }
            b'\r' => {
                if oflag & ONOCR != 0 && self.column == 0 {
                    return;
                }
                if oflag & OCRNL != 0 {
                    if oflag & ONLRET != 0 {
                        self.column = 0;
                    }
                    out.push(b'\n');
                    return;
                }
                self.column = 0;
                self.line_start = 0;
                out.push(b'\r');
            }
            b'\t' => {
                let spaces = 8 - self.column % 8;
                self.column += spaces;
                if oflag & TABDLY == XTABS {
                    out.extend(std::iter::repeat_n(b' ', spaces));
                } else {
                    out.push(b'\t');
                }
            }
            0x08 => {
                self.column = self.column.saturating_sub(1);
                out.push(byte);
            }
            _ => {
                let byte = if oflag & OLCUC != 0 { latin1::to_upper(byte) } else { byte };
                let continuation = termios.iflag & IUTF8 != 0 && byte & 0xc0 == 0x80;
                if !byte.is_ascii_control() && !continuation {
                    self.column += 1;
                }
                out.push(byte);
            }
        }
    }
}
