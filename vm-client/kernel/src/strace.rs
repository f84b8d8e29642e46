//! Tracing of system calls in the form of strace(1).
//!
//! The dispatcher calls [`enter`] before a call, which reads the arguments that go in, and [`Traced::leave`] after it, which
//! reads what came out and prints the line. Nothing is read or formatted while tracing is off.

mod args;
mod calls;
pub(crate) mod flags;

use std::fmt::Write as _;
use std::rc::Rc;

use self::args::Arg;
use crate::syscall::table::Args;
use crate::task::WaitStatus;
use crate::{Errno, Result, SyscallCx};

/// How many arguments a call has, as far as the formats tell.
pub(crate) fn argument_count(name: &str) -> usize {
    calls::formats(name).len()
}

/// Where lines go.
pub trait Output {
    /// Takes one line without its newline.
    fn line(&self, text: &str);
}

/// A call under way.
pub struct Traced {
    name: String,
    args: Args,
    formats: &'static [Arg],
    /// Text of the arguments that were known when the call began.
    before: Vec<Option<String>>,
    output: Rc<dyn Output>,
}

/// Begins tracing a call, if tracing is on.
pub async fn enter(cx: &SyscallCx, number: u32, args: Args) -> Option<Traced> {
    let output = cx.kernel.strace.borrow().clone()?;
    let name = linux_abi::nr::i386::name(number).map_or_else(|| format!("syscall_{number:#x}"), str::to_owned);
    let formats = calls::formats(&name);
    let mut before = Vec::with_capacity(formats.len());
    for (index, format) in formats.iter().enumerate() {
        before.push(if format.is_output() { None } else { Some(args::text(cx, *format, &args, index, None).await) });
    }
    let traced = Traced { name, args, formats, before, output };
    if matches!(traced.name.as_str(), "exit" | "exit_group") {
        traced.print(cx, &traced.joined(&[]), "?");
        return None;
    }
    Some(traced)
}

impl Traced {
    /// Prints the call with its result.
    pub async fn leave(self, cx: &SyscallCx, result: &Result<i64>) {
        let mut after = Vec::with_capacity(self.formats.len());
        for (index, format) in self.formats.iter().enumerate() {
            after.push(match &self.before[index] {
                Some(_) => None,
                None => Some(args::text(cx, *format, &self.args, index, Some(result)).await),
            });
        }
        let arguments = self.joined(&after);
        let result = match result {
            Ok(value) if returns_address(&self.name) => format!("{:#x}", *value as u32),
            Ok(value) => value.to_string(),
            Err(error) if error.number() >= Errno::ERESTARTSYS.number() => {
                format!("? {} ({})", error.name(), error.message())
            }
            Err(error) => format!("-1 {} ({})", error.name(), error.message()),
        };
        self.print(cx, &arguments, &result);
    }

    fn joined(&self, after: &[Option<String>]) -> String {
        let mut out = String::new();
        for (index, before) in self.before.iter().enumerate() {
            let text = before.as_ref().or_else(|| after.get(index).and_then(Option::as_ref));
            let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(text);
        }
        out
    }

    fn print(&self, cx: &SyscallCx, arguments: &str, result: &str) {
        let mut line = prefix(cx);
        let start = line.len();
        let _ = write!(line, "{}({arguments})", self.name);
        // strace lines the results up at column 40.
        while line.len() - start < 39 {
            line.push(' ');
        }
        let _ = write!(line, " = {result}");
        self.output.line(&line);
    }
}

/// Prints a signal that is about to be delivered.
pub fn signal(cx: &SyscallCx, text: &str) {
    let output = cx.kernel.strace.borrow().clone();
    if let Some(output) = output {
        output.line(&format!("{}--- {text} ---", prefix(cx)));
    }
}

/// Prints how a task ended.
pub fn ended(cx: &SyscallCx, status: WaitStatus) {
    let output = cx.kernel.strace.borrow().clone();
    let Some(output) = output else { return };
    let text = match status {
        WaitStatus::Signaled { signal, core } => {
            format!("killed by {signal}{}", if core { " (core dumped)" } else { "" })
        }
        status => format!("exited with {}", status.shell_code()),
    };
    output.line(&format!("{}+++ {text} +++", prefix(cx)));
}

/// strace names the process once there is more than one.
fn prefix(cx: &SyscallCx) -> String {
    if cx.kernel.processes.created() > 2 { format!("[pid {:5}] ", cx.task.tid()) } else { String::new() }
}

fn returns_address(name: &str) -> bool {
    matches!(name, "mmap" | "mmap2" | "brk" | "mremap" | "shmat")
}
