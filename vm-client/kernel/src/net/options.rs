//! What every socket has, whatever its family: type, buffers, timeouts and the options of socket(7).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use linux_abi::layout::{Reader, Width, Writer};
use linux_abi::socket::*;

use super::flow::SendBuffer;
use super::protocol::{Patience, Wanted};
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

/// SO_SNDBUF and SO_RCVBUF of a new socket, and the most a program may ask for (before Linux doubles it).
pub(crate) const BUFFER_DEFAULT: usize = 212_992;
const SEND_BUFFER_MIN: usize = 4608;
const RECEIVE_BUFFER_MIN: usize = 2304;

/// What all sockets have.
pub(crate) struct Common {
    pub(crate) family: u16,
    pub(crate) kind: u32,
    pub(crate) protocol: u32,
    /// Inode number, 0 while nobody accepted it.
    pub(crate) ino: Cell<u64>,
    /// Who made it.
    pub(crate) uid: Cell<u32>,
    /// SO_LINGER, in seconds.
    pub(crate) linger: Cell<Option<u32>>,
    pub(crate) receive_timeout: Cell<Option<Duration>>,
    pub(crate) send_timeout: Cell<Option<Duration>>,
    /// SO_PASSCRED.
    pub(crate) passes_credentials: Cell<bool>,
    /// SO_RCVBUF, as getsockopt(2) shows it.
    pub(crate) receive_buffer: Cell<usize>,
    /// SO_SNDBUF and SO_RCVBUF were set, so that they do not grow by themselves (TCP).
    pub(crate) send_buffer_set: Cell<bool>,
    pub(crate) send_buffer: Rc<SendBuffer>,
    /// Options that are numbers, by level and name.
    values: RefCell<BTreeMap<(u32, u32), i32>>,
}

/// Which numbers an option takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// Zero or not.
    Bool,
    /// Anything.
    Any,
    /// A range, else EINVAL.
    Range(i32, i32),
    /// It can only be read.
    ReadOnly,
}

/// An option that is a number.
pub(crate) struct Plain {
    pub(crate) level: u32,
    pub(crate) name: u32,
    pub(crate) default: i32,
    pub(crate) check: Check,
}

/// One row of a table of options.
pub(crate) const fn plain(level: u32, name: u32, default: i32, check: Check) -> Plain {
    Plain { level, name, default, check }
}

/// Numbers at level SOL_SOCKET.
const PLAIN: &[Plain] = &[
    plain(SOL_SOCKET, SO_DEBUG, 0, Check::Bool),
    plain(SOL_SOCKET, SO_REUSEADDR, 0, Check::Bool),
    plain(SOL_SOCKET, SO_DONTROUTE, 0, Check::Bool),
    plain(SOL_SOCKET, SO_BROADCAST, 0, Check::Bool),
    plain(SOL_SOCKET, SO_KEEPALIVE, 0, Check::Bool),
    plain(SOL_SOCKET, SO_OOBINLINE, 0, Check::Bool),
    plain(SOL_SOCKET, SO_NO_CHECK, 0, Check::Bool),
    plain(SOL_SOCKET, SO_PRIORITY, 0, Check::Any),
    plain(SOL_SOCKET, SO_BSDCOMPAT, 0, Check::Any),
    plain(SOL_SOCKET, SO_REUSEPORT, 0, Check::Bool),
    plain(SOL_SOCKET, SO_RCVLOWAT, 1, Check::Range(0, i32::MAX)),
    plain(SOL_SOCKET, SO_SNDLOWAT, 1, Check::ReadOnly),
    plain(SOL_SOCKET, SO_TIMESTAMP_OLD, 0, Check::Bool),
    plain(SOL_SOCKET, SO_TIMESTAMPNS_OLD, 0, Check::Bool),
    plain(SOL_SOCKET, SO_TIMESTAMP_NEW, 0, Check::Bool),
    plain(SOL_SOCKET, SO_TIMESTAMPNS_NEW, 0, Check::Bool),
    plain(SOL_SOCKET, SO_TIMESTAMPING_OLD, 0, Check::Any),
    plain(SOL_SOCKET, SO_PASSSEC, 0, Check::Bool),
    plain(SOL_SOCKET, SO_MARK, 0, Check::Any),
    plain(SOL_SOCKET, SO_RXQ_OVFL, 0, Check::Bool),
    plain(SOL_SOCKET, SO_WIFI_STATUS, 0, Check::Bool),
    plain(SOL_SOCKET, SO_NOFCS, 0, Check::Bool),
    plain(SOL_SOCKET, SO_LOCK_FILTER, 0, Check::Bool),
    plain(SOL_SOCKET, SO_SELECT_ERR_QUEUE, 0, Check::Bool),
    plain(SOL_SOCKET, SO_BUSY_POLL, 0, Check::Range(0, i32::MAX)),
    plain(SOL_SOCKET, SO_INCOMING_CPU, -1, Check::Any),
    plain(SOL_SOCKET, SO_BINDTOIFINDEX, 0, Check::Range(0, i32::MAX)),
];

/// The row of an option.
pub(crate) fn find(table: &'static [Plain], level: u32, name: u32) -> Option<&'static Plain> {
    table.iter().find(|row| row.level == level && row.name == name)
}

/// The number in an option value; EINVAL if there is not enough of it.
pub(crate) fn number(value: &[u8]) -> Result<i32> {
    if value.len() < 4 { Err(Errno::EINVAL) } else { Ok(Reader::new(value).i32(0)) }
}

impl Common {
    /// What a new socket has. `queued` counts the bytes of all sockets.
    pub(crate) fn new(family: u16, kind: u32, protocol: u32, queued: &Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            family,
            kind,
            protocol,
            ino: Cell::new(0),
            uid: Cell::new(0),
            linger: Cell::default(),
            receive_timeout: Cell::default(),
            send_timeout: Cell::default(),
            passes_credentials: Cell::default(),
            receive_buffer: Cell::new(BUFFER_DEFAULT),
            send_buffer_set: Cell::new(false),
            send_buffer: SendBuffer::new(BUFFER_DEFAULT, queued),
            values: RefCell::default(),
        })
    }

    /// What a connection gets from the socket that listened.
    pub(crate) fn inherited(&self, queued: &Rc<Cell<usize>>) -> Rc<Self> {
        let new = Self::new(self.family, self.kind, self.protocol, queued);
        new.uid.set(self.uid.get());
        new.linger.set(self.linger.get());
        new.receive_timeout.set(self.receive_timeout.get());
        new.send_timeout.set(self.send_timeout.get());
        new.receive_buffer.set(self.receive_buffer.get());
        new.send_buffer_set.set(self.send_buffer_set.get());
        new.send_buffer.limit.set(self.send_buffer.limit.get());
        new.values.borrow_mut().clone_from(&self.values.borrow());
        new
    }

    /// How long a call that receives may wait.
    pub(crate) fn patience_to_receive(&self, cx: &SyscallCx, nonblock: bool) -> Patience {
        Self::patience(cx, nonblock, self.receive_timeout.get())
    }

    /// How long a call that sends or connects may wait.
    pub(crate) fn patience_to_send(&self, cx: &SyscallCx, nonblock: bool) -> Patience {
        Self::patience(cx, nonblock, self.send_timeout.get())
    }

    fn patience(cx: &SyscallCx, nonblock: bool, timeout: Option<Duration>) -> Patience {
        let deadline = timeout.map(|timeout| cx.kernel.now_monotonic().saturating_add(timeout));
        Patience { nonblock, deadline }
    }

    /// A request to receive.
    pub(crate) fn wanted(&self, cx: &SyscallCx, max: usize, flags: u32, nonblock: bool) -> Wanted {
        Wanted { max, flags, patience: self.patience_to_receive(cx, nonblock || flags & MSG_DONTWAIT != 0) }
    }

    /// The number of an option at a level; 0 if it was never set.
    pub(crate) fn value(&self, level: u32, name: u32) -> i32 {
        self.values.borrow().get(&(level, name)).copied().unwrap_or(0)
    }

    /// Whether an option is on.
    pub(crate) fn is_on(&self, level: u32, name: u32) -> bool {
        self.value(level, name) != 0
    }

    pub(crate) fn set_value(&self, level: u32, name: u32, value: i32) {
        self.values.borrow_mut().insert((level, name), value);
    }

    /// The number of an option of a table, as bytes.
    pub(crate) fn get_plain(&self, row: &Plain) -> Vec<u8> {
        let value = self.values.borrow().get(&(row.level, row.name)).copied().unwrap_or(row.default);
        value.to_le_bytes().to_vec()
    }

    /// Sets an option of a table.
    pub(crate) fn set_plain(&self, row: &Plain, value: i32) -> Result<()> {
        let value = match row.check {
            Check::Bool => i32::from(value != 0),
            Check::Any => value,
            Check::Range(low, high) if (low..=high).contains(&value) => value,
            Check::Range(..) => return Err(Errno::EINVAL),
            Check::ReadOnly => return Err(Errno::ENOPROTOOPT),
        };
        self.set_value(row.level, row.name, value);
        Ok(())
    }

    /// An option of SOL_SOCKET that depends on the socket alone; `None` for those that do not and those that do not exist.
    pub(crate) fn get(&self, width: Width, name: u32) -> Option<Vec<u8>> {
        let word = |value: u32| Some(value.to_le_bytes().to_vec());
        match name {
            SO_TYPE => word(self.kind),
            SO_PROTOCOL => word(self.protocol),
            SO_DOMAIN => word(u32::from(self.family)),
            SO_SNDBUF => word(self.send_buffer.limit.get() as u32),
            SO_RCVBUF => word(self.receive_buffer.get() as u32),
            SO_PASSCRED => word(u32::from(self.passes_credentials.get())),
            SO_LINGER => {
                let mut raw = vec![0; 8];
                let mut writer = Writer::new(&mut raw);
                writer.u32(0, u32::from(self.linger.get().is_some()));
                writer.u32(4, self.linger.get().unwrap_or(0));
                Some(raw)
            }
            SO_RCVTIMEO_OLD => Some(encode_timeout(self.receive_timeout.get(), width)),
            SO_SNDTIMEO_OLD => Some(encode_timeout(self.send_timeout.get(), width)),
            SO_RCVTIMEO_NEW => Some(encode_timeout(self.receive_timeout.get(), Width::Bits64)),
            SO_SNDTIMEO_NEW => Some(encode_timeout(self.send_timeout.get(), Width::Bits64)),
            SO_BINDTODEVICE => {
                Some(if self.value(SOL_SOCKET, SO_BINDTODEVICE) != 0 { b"lo\0".to_vec() } else { Vec::new() })
            }
            _ => find(PLAIN, SOL_SOCKET, name).map(|row| self.get_plain(row)),
        }
    }

    /// Sets an option of SOL_SOCKET; ENOPROTOOPT if there is none by this number.
    pub(crate) fn set(&self, cx: &SyscallCx, width: Width, name: u32, value: &[u8]) -> Result<()> {
        if name == SO_BINDTODEVICE {
            let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
            let index = match name {
                b"" => 0,
                b"lo" => 1,
                _ => return Err(Errno::ENODEV),
            };
            self.set_value(SOL_SOCKET, SO_BINDTODEVICE, index);
            return Ok(());
        }
        let word = number(value)?;
        let privileged = || if cx.creds().capable(cap::NET_ADMIN) { Ok(()) } else { Err(Errno::EPERM) };
        match name {
            SO_TYPE | SO_PROTOCOL | SO_DOMAIN | SO_ERROR | SO_SNDLOWAT => return Err(Errno::ENOPROTOOPT),
            SO_SNDBUF => self.set_send_buffer((word.max(0) as usize).min(BUFFER_DEFAULT)),
            SO_RCVBUF => self.set_receive_buffer((word.max(0) as usize).min(BUFFER_DEFAULT)),
            SO_SNDBUFFORCE => {
                privileged()?;
                self.set_send_buffer(word.max(0) as usize);
            }
            SO_RCVBUFFORCE => {
                privileged()?;
                self.set_receive_buffer(word.max(0) as usize);
            }
            SO_LINGER => {
                if value.len() < 8 {
                    return Err(Errno::EINVAL);
                }
                self.linger.set((word != 0).then(|| Reader::new(value).u32(4)));
            }
            SO_PASSCRED => self.passes_credentials.set(word != 0),
            SO_RCVTIMEO_OLD => self.receive_timeout.set(decode_timeout(value, width)?),
            SO_SNDTIMEO_OLD => self.send_timeout.set(decode_timeout(value, width)?),
            SO_RCVTIMEO_NEW => self.receive_timeout.set(decode_timeout(value, Width::Bits64)?),
            SO_SNDTIMEO_NEW => self.send_timeout.set(decode_timeout(value, Width::Bits64)?),
            SO_PRIORITY if !(0..=6).contains(&word) => {
                privileged()?;
                self.set_value(SOL_SOCKET, name, word);
            }
            SO_MARK => {
                privileged()?;
                self.set_value(SOL_SOCKET, name, word);
            }
            // Filters choose among messages of other machines; a program that attaches one looks at what it gets as well.
            SO_ATTACH_FILTER if value.len() != 4 + width.bytes() => return Err(Errno::EINVAL),
            SO_ATTACH_FILTER | SO_ATTACH_BPF => self.set_value(SOL_SOCKET, SO_ATTACH_FILTER, 1),
            SO_DETACH_FILTER if !self.is_on(SOL_SOCKET, SO_ATTACH_FILTER) => return Err(Errno::ENOENT),
            SO_DETACH_FILTER => self.set_value(SOL_SOCKET, SO_ATTACH_FILTER, 0),
            _ => {
                let row = find(PLAIN, SOL_SOCKET, name).ok_or(Errno::ENOPROTOOPT)?;
                self.set_plain(row, word)?;
            }
        }
        Ok(())
    }

    fn set_send_buffer(&self, wanted: usize) {
        let limit = wanted.saturating_mul(2).clamp(SEND_BUFFER_MIN, i32::MAX as usize);
        self.send_buffer_set.set(true);
        self.send_buffer.limit.set(limit);
        self.send_buffer.room.wake_all();
    }

    fn set_receive_buffer(&self, wanted: usize) {
        let limit = wanted.saturating_mul(2).clamp(RECEIVE_BUFFER_MIN, i32::MAX as usize);
        self.receive_buffer.set(limit);
    }
}

fn encode_timeout(timeout: Option<Duration>, width: Width) -> Vec<u8> {
    let timeout = timeout.unwrap_or_default();
    let mut raw = vec![0; 2 * width.bytes()];
    let mut writer = Writer::new(&mut raw);
    writer.word(width, 0, timeout.as_secs());
    writer.word(width, width.bytes(), u64::from(timeout.subsec_micros()));
    raw
}

/// A timeout in `struct timeval`; zero is none.
fn decode_timeout(value: &[u8], width: Width) -> Result<Option<Duration>> {
    if value.len() < 2 * width.bytes() {
        return Err(Errno::EINVAL);
    }
    let reader = Reader::new(value);
    let (sec, usec) = match width {
        Width::Bits32 => (i64::from(reader.i32(0)), i64::from(reader.i32(4))),
        Width::Bits64 => (reader.i64(0), reader.i64(8)),
    };
    if !(0..1_000_000).contains(&usec) {
        return Err(Errno::EDOM);
    }
    if sec < 0 {
        return Ok(Some(Duration::ZERO));
    }
    let timeout = Duration::new(sec as u64, usec as u32 * 1000);
    Ok((!timeout.is_zero()).then_some(timeout))
}
