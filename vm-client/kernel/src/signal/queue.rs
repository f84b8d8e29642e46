//! Signals that were sent and not yet delivered.

use std::collections::VecDeque;

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::{SigSet, Signal};

/// Signals caused by an instruction of the task itself go first.
const SYNCHRONOUS: u64 = 1 << (4 - 1) | 1 << (5 - 1) | 1 << (7 - 1) | 1 << (8 - 1) | 1 << (11 - 1) | 1 << (31 - 1);

/// The pending signals of a thread or a process.
#[derive(Default)]
pub struct SigQueue {
    entries: VecDeque<SigInfo>,
    set: SigSet,
}

impl SigQueue {
    /// Which signals are pending.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self) -> Vec<SigInfo> {
        self.entries.iter().copied().collect()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a signal. Standard signals are pending once at most; of real-time signals every one is kept, while there are
    /// fewer than `limit`. Tells whether it was added.
    pub(crate) fn push(&mut self, info: SigInfo, limit: u64) -> bool {
        let standard = info.signal < Signal::RTMIN;
        if standard && self.set.contains(info.signal) {
            return false;
        }
        if !standard && self.entries.len() as u64 >= limit {
            return false;
        }
        self.entries.push_back(info);
        self.set.insert(info.signal);
        true
    }

    /// The signal that would be taken next among those in `wanted`.
    pub(crate) fn next(&self, wanted: SigSet) -> Option<Signal> {
        let ready = self.set.0 & wanted.0;
        let first = if ready & SYNCHRONOUS != 0 { ready & SYNCHRONOUS } else { ready };
        Signal::new(first.trailing_zeros() + 1).filter(|_| first != 0)
    }

    /// Takes the next signal among those in `wanted`.
    pub(crate) fn take(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let signal = self.next(wanted)?;
        let at = self.entries.iter().position(|info| info.signal == signal)?;
        let info = self.entries.remove(at)?;
        if !self.entries.iter().any(|other| other.signal == signal) {
            self.set.remove(signal);
        }
        Some(info)
    }

    /// Forgets signals.
    pub(crate) fn discard(&mut self, unwanted: SigSet) {
        self.entries.retain(|info| !unwanted.contains(info.signal));
        self.set.0 &= !unwanted.0;
    }

    /// Forgets the signals of a deleted timer.
    pub(crate) fn discard_timer(&mut self, timer: i32) {
        use linux_abi::siginfo::SigFields;
        self.entries.retain(|info| !matches!(info.fields, SigFields::Timer { id, .. } if id == timer));
        self.set = SigSet(self.entries.iter().fold(0, |set, info| set | info.signal.bit()));
    }

    /// Whether a signal of this timer is pending; if so adds to its overrun count.
    pub(crate) fn add_overrun(&mut self, timer: i32, more: i32) -> bool {
        use linux_abi::siginfo::SigFields;
        for info in &mut self.entries {
            if let SigFields::Timer { id, overrun, .. } = &mut info.fields
                && *id == timer
            {
                *overrun = overrun.saturating_add(more);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(number: u32) -> SigInfo {
        SigInfo::kernel(Signal::new(number).expect("a signal number"))
    }

    #[test]
    fn standard_signals_are_pending_once_and_real_time_ones_queue() {
        let mut queue = SigQueue::default();
        assert!(queue.push(info(10), 100));
        assert!(!queue.push(info(10), 100));
        assert!(queue.push(info(40), 100));
        assert!(queue.push(info(40), 100));
        assert_eq!(queue.len(), 3);
        let all = SigSet(u64::MAX);
        assert_eq!(queue.take(all).map(|i| i.signal.number()), Some(10));
        assert_eq!(queue.take(all).map(|i| i.signal.number()), Some(40));
        assert!(queue.set().contains(Signal::new(40).expect("valid")));
        assert_eq!(queue.take(all).map(|i| i.signal.number()), Some(40));
        assert!(queue.is_empty() && queue.set().0 == 0);
    }

    #[test]
    fn faults_go_before_lower_numbers() {
        let mut queue = SigQueue::default();
        queue.push(info(1), 100);
        queue.push(info(11), 100);
        assert_eq!(queue.next(SigSet(u64::MAX)), Some(Signal::SEGV));
        assert_eq!(queue.next(SigSet(!Signal::SEGV.bit())), Some(Signal::HUP));
    }
}
