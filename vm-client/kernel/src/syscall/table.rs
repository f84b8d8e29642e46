//! The shape of the system call table.
//!
//! Each topic file beside this one has a `ROWS` list; a table of an architecture is made of those lists. A handler is either
//! `fn(&SyscallCx, Args) -> Result<i64>`, for calls that never wait, or an `async fn` of the same shape.

use std::future::Future;
use std::pin::Pin;

use crate::{Result, SyscallCx};

/// The argument registers, zero-extended.
pub type Args = [u64; 6];

/// How much of a call works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// All of it, for what this kernel has.
    Full,
    /// Some of it; the note says what is missing.
    Partial(&'static str),
}

/// A handler.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Never waits.
    Now(fn(&SyscallCx, Args) -> Result<i64>),
    /// May wait.
    Wait(for<'a> fn(&'a SyscallCx, Args) -> Pending<'a>),
}

/// A call that may wait.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Result<i64>> + 'a>>;

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Row {
    /// i386 number.
    pub number: u32,
    /// Name as in syscalls(2).
    pub name: &'static str,
    /// How much works.
    pub support: Support,
    /// What runs.
    pub handler: Handler,
}

/// A row whose handler never waits: `now!(20, "getpid", getpid)` or `now!(20, "getpid", getpid, "what is missing")`.
macro_rules! now {
    ($number:literal, $name:literal, $handler:path) => {
        $crate::syscall::table::Row {
            number: $number,
            name: $name,
            support: $crate::syscall::table::Support::Full,
            handler: $crate::syscall::table::Handler::Now($handler),
        }
    };
    ($number:literal, $name:literal, $handler:path, $missing:literal) => {
        $crate::syscall::table::Row {
            support: $crate::syscall::table::Support::Partial($missing),
            ..$crate::syscall::table::now!($number, $name, $handler)
        }
    };
}

/// A row whose handler is an `async fn`: `wait!(3, "read", read)`.
macro_rules! wait {
    ($number:literal, $name:literal, $handler:path) => {
        $crate::syscall::table::Row {
            number: $number,
            name: $name,
            support: $crate::syscall::table::Support::Full,
            handler: $crate::syscall::table::Handler::Wait(|cx, args| Box::pin($handler(cx, args))),
        }
    };
    ($number:literal, $name:literal, $handler:path, $missing:literal) => {
        $crate::syscall::table::Row {
            support: $crate::syscall::table::Support::Partial($missing),
            ..$crate::syscall::table::wait!($number, $name, $handler)
        }
    };
}

pub(crate) use {now, wait};

/// Puts the lists of the topics into one table indexed by number.
pub(crate) fn build(topics: &[&[Row]]) -> Vec<Option<Row>> {
    let last = topics.iter().flat_map(|rows| rows.iter()).map(|row| row.number).max().unwrap_or(0);
    let mut table = vec![None; last as usize + 1];
    for row in topics.iter().flat_map(|rows| rows.iter()) {
        table[row.number as usize] = Some(*row);
    }
    table
}
