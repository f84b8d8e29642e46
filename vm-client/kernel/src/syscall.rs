//! System calls: the context they run in, the tables, and the handlers by topic.

mod cx;
mod poll;
pub mod table;
pub mod table_i386;

pub use cx::SyscallCx;
