//! Terminals.

mod latin1;
pub mod ldisc;
mod output;

/// A terminal.
pub struct Tty {}
