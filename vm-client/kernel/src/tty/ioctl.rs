//! ioctl(2) on terminals (tty_ioctl(4)).

use std::rc::Rc;

use linux_abi::signal::Signal;
use linux_abi::termios::*;

use super::Tty;
use crate::{Errno, Result, SyscallCx};

/// When changed settings take effect.
enum When {
    Now,
    /// After pending output was seen.
    Drained,
    /// The same, and unread input is thrown away.
    Flushed,
}

impl Tty {
    /// Handles the requests that both sides of a terminal know.
    pub(super) async fn ioctl(self: &Rc<Self>, cx: &SyscallCx, request: u32, arg: u64) -> Result<i64> {
        match request {
            TCGETS => {
                let bytes = self.ldisc.borrow().termios().encode();
                cx.write_user(arg, &bytes[..Termios::SIZE]).await?;
            }
            TCGETS2 => {
                let bytes = self.ldisc.borrow().termios().encode();
                cx.write_user(arg, &bytes).await?;
            }
            TCGETA => {
                let bytes = self.ldisc.borrow().termios().encode_termio();
                cx.write_user(arg, &bytes).await?;
            }
            TCSETS | TCSETS2 => self.set_termios(cx, request, arg, When::Now).await?,
            TCSETSW | TCSETSW2 => self.set_termios(cx, request, arg, When::Drained).await?,
            TCSETSF | TCSETSF2 => self.set_termios(cx, request, arg, When::Flushed).await?,
            TCSETA => self.set_termios(cx, request, arg, When::Now).await?,
            TCSETAW => self.set_termios(cx, request, arg, When::Drained).await?,
            TCSETAF => self.set_termios(cx, request, arg, When::Flushed).await?,
            TIOCGLCKTRMIOS => {
                let bytes = self.locked.get().encode();
                cx.write_user(arg, &bytes[..Termios::SIZE]).await?;
            }
            TIOCSLCKTRMIOS => {
                if !cx.task.credentials().capable(crate::task::cap::SYS_ADMIN) {
                    return Err(Errno::EPERM);
                }
                let mut bytes = [0; Termios::SIZE];
                cx.read_user(arg, &mut bytes).await?;
                self.locked.set(self.locked.get().decode(&bytes));
            }
            TIOCGWINSZ => cx.write_user(arg, &self.winsize.get().encode()).await?,
            TIOCSWINSZ => {
                let mut bytes = [0; 8];
                cx.read_user(arg, &mut bytes).await?;
                self.set_winsize(Winsize::decode(&bytes));
            }
            TIOCGPGRP => {
                if !self.is_controlling(&cx.task) {
                    return Err(Errno::ENOTTY);
                }
                cx.write_u32(arg, self.pgrp.get() as u32).await?;
            }
            TIOCSPGRP => {
                let pgrp = cx.read_u32(arg).await? as i32;
                self.set_foreground(cx, pgrp)?;
            }
            TIOCGSID => {
                if !self.is_controlling(&cx.task) {
                    return Err(Errno::ENOTTY);
                }
                cx.write_u32(arg, self.sid.get() as u32).await?;
            }
            TIOCSCTTY => self.set_controlling(cx, arg == 1)?,
            TIOCNOTTY => {
                if !self.is_controlling(&cx.task) {
                    return Err(Errno::ENOTTY);
                }
                let session = Rc::clone(&cx.task.group.session.borrow());
                if session.sid == cx.task.pid() {
                    cx.kernel.disassociate_tty(&session);
                }
            }
            FIONREAD => {
                let readable = self.ldisc.borrow().readable();
                cx.write_u32(arg, readable as u32).await?;
            }
            TIOCOUTQ => cx.write_u32(arg, self.sink.queued() as u32).await?,
            TCFLSH => self.flush(cx, arg)?,
            TCXONC => self.flow(cx, arg)?,
            TCSBRK | TCSBRKP => {
                self.check_foreground(cx, Signal::TTOU)?;
                self.drain(cx).await?;
            }
            TIOCSBRK | TIOCCBRK => {}
            TIOCEXCL => self.exclusive.set(true),
            TIOCNXCL => self.exclusive.set(false),
            TIOCGEXCL => cx.write_u32(arg, u32::from(self.exclusive.get())).await?,
            TIOCGETD => cx.write_u32(arg, 0).await?,
            TIOCSETD => {
                // N_TTY is the only line discipline.
                if cx.read_u32(arg).await? != 0 {
                    return Err(Errno::EINVAL);
                }
            }
            TIOCGDEV => cx.write_u32(arg, self.name.rdev() as u32).await?,
            TIOCSTI => {
                let privileged = cx.task.credentials().capable(crate::task::cap::SYS_ADMIN);
                if !privileged && !self.is_controlling(&cx.task) {
                    return Err(Errno::EPERM);
                }
                let mut byte = [0];
                cx.read_user(arg, &mut byte).await?;
                self.input(&byte);
            }
            TIOCVHANGUP => {
                if !cx.task.credentials().capable(crate::task::cap::SYS_ADMIN) {
                    return Err(Errno::EPERM);
                }
                self.hang_up();
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    async fn set_termios(&self, cx: &SyscallCx, request: u32, arg: u64, when: When) -> Result<()> {
        self.check_foreground(cx, Signal::TTOU)?;
        let old = *self.ldisc.borrow().termios();
        let new = match request {
            TCSETA | TCSETAW | TCSETAF => {
                let mut bytes = [0; Termios::SIZE_TERMIO];
                cx.read_user(arg, &mut bytes).await?;
                old.decode_termio(&bytes)
            }
            TCSETS2 | TCSETSW2 | TCSETSF2 => {
                let mut bytes = [0; Termios::SIZE2];
                cx.read_user(arg, &mut bytes).await?;
                let (settings, speeds) = bytes.split_at(Termios::SIZE);
                let mut first = [0; Termios::SIZE];
                first.copy_from_slice(settings);
                let word = |at: usize| u32::from_le_bytes([speeds[at], speeds[at + 1], speeds[at + 2], speeds[at + 3]]);
                Termios { ispeed: word(0), ospeed: word(4), ..old.decode(&first) }
            }
            _ => {
                let mut bytes = [0; Termios::SIZE];
                cx.read_user(arg, &mut bytes).await?;
                old.decode(&bytes)
            }
        };
        let new = new.keeping(&self.locked.get(), &old);
        if !matches!(when, When::Now) {
            self.drain(cx).await?;
        }
        {
            let mut ldisc = self.ldisc.borrow_mut();
            if matches!(when, When::Flushed) {
                ldisc.flush_input();
                self.backlog.borrow_mut().clear();
            }
            ldisc.set_termios(new);
        }
        // Readers may have something to return in the new mode, writers may go on if flow control went off.
        self.process_backlog();
        self.writable.wake_all();
        self.sink.changed();
        Ok(())
    }

    /// Waits until the other side has seen all output. A pseudoterminal's master may never read: it does not count.
    async fn drain(&self, cx: &SyscallCx) -> Result<()> {
        if matches!(self.name, super::TtyName::Pts(_)) {
            return Ok(());
        }
        while self.sink.queued() > 0 && !self.closed.get() {
            let drained = self.writable.wait();
            cx.interruptible(drained).await?;
        }
        Ok(())
    }

    fn flush(&self, cx: &SyscallCx, queue: u64) -> Result<()> {
        const TCIFLUSH: u64 = 0;
        const TCOFLUSH: u64 = 1;
        const TCIOFLUSH: u64 = 2;
        self.check_foreground(cx, Signal::TTOU)?;
        if queue > TCIOFLUSH {
            return Err(Errno::EINVAL);
        }
        if queue == TCIFLUSH || queue == TCIOFLUSH {
            self.ldisc.borrow_mut().flush_input();
            self.backlog.borrow_mut().clear();
            self.input_room.wake_all();
        }
        if queue == TCOFLUSH || queue == TCIOFLUSH {
            self.sink.flush();
            self.writable.wake_all();
        }
        Ok(())
    }

    fn flow(&self, cx: &SyscallCx, action: u64) -> Result<()> {
        self.check_foreground(cx, Signal::TTOU)?;
        let cc = self.ldisc.borrow().termios().cc;
        match action {
            // TCOOFF, TCOON
            0 => self.ldisc.borrow_mut().set_stopped(true),
            1 => {
                self.ldisc.borrow_mut().set_stopped(false);
                self.writable.wake_all();
            }
            // TCIOFF, TCION: ask the other side to stop or go on.
            2 => self.sink.put(&[cc[VSTOP]]),
            3 => self.sink.put(&[cc[VSTART]]),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}
