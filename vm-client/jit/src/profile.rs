//! What the engine counts.

use std::collections::HashSet;

use vm_cpu::{Exit, Work};
use vm_mem::FrameId;

/// Why compiled code came back to the dispatcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// No fuel is left.
    Fuel,
    /// It goes on elsewhere: at code that is not compiled or not linked, or behind calls that were too deep.
    Elsewhere,
    /// The next instruction is for the interpreter.
    Interpreted,
    /// A system call.
    Syscall,
    /// A page fault.
    Fault,
    /// Another exception.
    Exception,
    /// The time stamp counter.
    TimeStamp,
}

impl Left {
    /// All with what a profile calls them, in order.
    const NAMES: [(Left, &'static str); 7] = [
        (Left::Fuel, "end of fuel"),
        (Left::Elsewhere, "code elsewhere"),
        (Left::Interpreted, "an instruction for the interpreter"),
        (Left::Syscall, "system call"),
        (Left::Fault, "fault"),
        (Left::Exception, "exception"),
        (Left::TimeStamp, "time stamp"),
    ];

    /// What a stop in the middle of code means.
    pub fn of(stopped: Option<Exit>) -> Left {
        match stopped {
            None => Left::Interpreted,
            Some(Exit::Syscall(_)) => Left::Syscall,
            Some(Exit::Fault(_)) => Left::Fault,
            Some(Exit::Exception(_)) => Left::Exception,
            Some(Exit::ReadTsc { .. }) => Left::TimeStamp,
            Some(Exit::OutOfFuel) => Left::Fuel,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "`figures` says what they are")]
pub struct Profile {
    pub runs: u64,
    pub entries: u64,
    pub interpreted: u64,
    pub interpreted_insns: u64,
    pub interpreter_ms: f64,
    pub compiled: u64,
    pub expected: u64,
    pub guest_bytes: u64,
    pub wasm_bytes: u64,
    pub compile_ms: f64,
    pub install_ms: f64,
    pub longest_compile_ms: f64,
    pub beside: u64,
    pub beside_ms: f64,
    pub invalidated: u64,
    pub evicted: u64,
    pub merged: u64,
    pub slow_loads: u64,
    pub slow_stores: u64,
    pub code_stores: u64,
    pub assists: u64,
    pub operations: u64,
    pub flag_requests: u64,
    pub windows: u64,
    pub windows_missed: u64,
    pub install_errors: u64,
    pub last_error: String,
    /// Why compiled code was left, in the order of [`Left`].
    pub left: [u64; Left::NAMES.len()],
    /// How often each operation was requested, by its number, and what it is.
    pub requested: Vec<u64>,
    /// How often flags of each kind were requested.
    pub flag_kinds: std::collections::BTreeMap<u32, u64>,
    /// Where compiling failed; not tried again.
    pub refused: HashSet<(FrameId, u32)>,
}

impl Profile {
    /// Counts that compiled code was left.
    pub fn leave(&mut self, why: Left) {
        self.left[why as usize] += 1;
    }

    /// What a profile of the guest wants to know.
    pub fn work(&self) -> Work {
        let ns = |ms: f64| (ms * 1e6) as u64;
        Work {
            interpreting_ns: ns(self.interpreter_ms),
            compiling_ns: ns(self.compile_ms),
            interpreted: self.interpreted_insns,
            left: Left::NAMES.iter().map(|&(why, name)| (name, self.left[why as usize])).collect(),
        }
    }

    /// Counts a request for the operation with this number.
    pub fn request(&mut self, number: usize) {
        if self.requested.len() <= number {
            self.requested.resize(number + 1, 0);
        }
        self.requested[number] += 1;
    }

    /// All figures with their names.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let counts = [
            ("runs of the engine", self.runs),
            ("entries of compiled code", self.entries),
            ("entries of the interpreter", self.interpreted),
            ("instructions interpreted", self.interpreted_insns),
            ("regions compiled", self.compiled),
            ("regions that were expected", self.expected),
            ("guest bytes compiled", self.guest_bytes),
            ("wasm bytes emitted", self.wasm_bytes),
            ("regions invalidated", self.invalidated),
            ("regions evicted", self.evicted),
            ("modules put together", self.merged),
            ("slow loads", self.slow_loads),
            ("slow stores", self.slow_stores),
            ("stores to code", self.code_stores),
            ("assists", self.assists),
            ("operations left to the interpreter", self.operations),
            ("flags computed by request", self.flag_requests),
            ("windows moved", self.windows),
            ("windows not to be had", self.windows_missed),
            ("modules refused", self.install_errors),
            ("modules compiled beside the guest", self.beside),
        ];
        let mut figures: Vec<(String, f64)> = counts.iter().map(|(name, n)| ((*name).to_owned(), *n as f64)).collect();
        let left = Left::NAMES.iter().map(|&(why, name)| (format!("left for {name}"), self.left[why as usize] as f64));
        figures.extend(left);
        figures.push(("interpreter ms, sampled".to_owned(), self.interpreter_ms));
        figures.push(("compile ms".to_owned(), self.compile_ms));
        figures.push(("of which the host's".to_owned(), self.install_ms));
        figures.push(("longest compile ms".to_owned(), self.longest_compile_ms));
        figures.push(("ms until modules beside the guest were there".to_owned(), self.beside_ms));
        figures
    }
}
