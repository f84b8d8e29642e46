//! The kernel's log: what dmesg(1), syslog(2) and /dev/kmsg show.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use vm_rt::WaitQueue;

use crate::Kernel;

/// Bytes of text that are kept.
pub(crate) const CAPACITY: usize = 1 << 17;
/// Longest record.
const LONGEST: usize = 1000;

/// Priorities of syslog(3), with the facility above them.
pub(crate) mod level {
    pub(crate) const ERR: u32 = 3;
    pub(crate) const WARNING: u32 = 4;
    pub(crate) const INFO: u32 = 6;
    /// What programs write counts as coming from user processes.
    pub(crate) const USER: u32 = 1 << 3;
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) level: u32,
    pub(crate) time: Duration,
    pub(crate) text: String,
}

impl Record {
    /// As a reader of /dev/kmsg gets it.
    pub(crate) fn extended(&self) -> String {
        let escaped = self.text.replace('\\', "\\x5c").replace('\n', "\\x0a");
        format!("{},{},{},-;{escaped}\n", self.level, self.seq, self.time.as_micros())
    }

    /// As syslog(2) gives it.
    pub(crate) fn plain(&self) -> String {
        let (sec, micros) = (self.time.as_secs(), self.time.subsec_micros());
        let line = |text: &str| format!("<{}>[{sec:5}.{micros:06}] {text}\n", self.level);
        self.text.split('\n').map(line).collect()
    }
}

/// All messages that are kept.
#[derive(Default)]
pub(crate) struct KernelLog {
    records: RefCell<VecDeque<Record>>,
    bytes: Cell<usize>,
    next: Cell<u64>,
    /// Those before it were cleared (syslog(2) SYSLOG_ACTION_CLEAR).
    cleared: Cell<u64>,
    /// The next one for SYSLOG_ACTION_READ.
    unread: Cell<u64>,
    added: WaitQueue,
}

impl KernelLog {
    /// Adds a message.
    pub(crate) fn add(&self, level: u32, time: Duration, text: &str) {
        let mut text: String = text.chars().take(LONGEST).collect();
        text.truncate(text.trim_end_matches('\n').len());
        let record = Record { seq: self.next.get(), level, time, text };
        self.next.set(record.seq + 1);
        self.bytes.set(self.bytes.get() + record.text.len());
        let mut records = self.records.borrow_mut();
        records.push_back(record);
        while self.bytes.get() > CAPACITY {
            let Some(oldest) = records.pop_front() else { break };
            self.bytes.set(self.bytes.get().saturating_sub(oldest.text.len()));
        }
        drop(records);
        self.added.wake_all();
    }

    /// The oldest record from this number on.
    pub(crate) fn from(&self, seq: u64) -> Option<Record> {
        self.records.borrow().iter().find(|record| record.seq >= seq).cloned()
    }

    /// The number of the oldest record that is kept, and of the next one that comes.
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.records.borrow().front().map_or(self.next.get(), |record| record.seq), self.next.get())
    }

    /// Waits for a message.
    pub(crate) fn wait(&self) -> vm_rt::Wait {
        self.added.wait()
    }

    /// The last messages that fit, since the log was cleared.
    pub(crate) fn tail(&self, room: usize) -> String {
        let mut pieces = Vec::new();
        let mut left = room;
        for record in self.records.borrow().iter().rev().take_while(|record| record.seq >= self.cleared.get()) {
            let text = record.plain();
            let Some(rest) = left.checked_sub(text.len()) else { break };
            left = rest;
            pieces.push(text);
        }
        pieces.reverse();
        pieces.concat()
    }

    /// The first unread messages that fit; they are read then.
    pub(crate) fn take_unread(&self, room: usize) -> String {
        let mut out = String::new();
        while let Some(record) = self.from(self.unread.get()) {
            let text = record.plain();
            if out.len() + text.len() > room {
                break;
            }
            out.push_str(&text);
            self.unread.set(record.seq + 1);
        }
        out
    }

    /// Bytes of unread messages.
    pub(crate) fn unread_bytes(&self) -> usize {
        let records = self.records.borrow();
        records.iter().filter(|record| record.seq >= self.unread.get()).map(|record| record.plain().len()).sum()
    }

    /// Forgets what was there, for [`KernelLog::tail`].
    pub(crate) fn clear(&self) {
        self.cleared.set(self.next.get());
    }
}

impl Kernel {
    /// Adds a message to the kernel's log.
    pub(crate) fn log(&self, level: u32, text: &str) {
        self.klog.add(level, self.now_monotonic(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_once_and_shown_until_cleared() {
        let log = KernelLog::default();
        log.add(level::INFO, Duration::from_micros(1_500_000), "first");
        log.add(level::WARNING, Duration::from_secs(2), "second\n");
        assert_eq!(log.take_unread(30), "<6>[    1.500000] first\n");
        assert_eq!(log.unread_bytes(), "<4>[    2.000000] second\n".len());
        assert_eq!(log.tail(1000), "<6>[    1.500000] first\n<4>[    2.000000] second\n");
        assert_eq!(log.tail(30), "<4>[    2.000000] second\n");
        log.clear();
        assert_eq!(log.tail(1000), "");
        assert_eq!(log.from(1).map(|record| record.extended()).as_deref(), Some("4,1,2000000,-;second\n"));
    }

    #[test]
    fn the_log_keeps_only_so_much() {
        let log = KernelLog::default();
        for _ in 0..1000 {
            log.add(level::INFO, Duration::ZERO, &"x".repeat(900));
        }
        let (oldest, next) = log.range();
        assert_eq!(next, 1000);
        assert!(next - oldest <= (CAPACITY / 900) as u64);
    }
}
