//! The Linux ABI as data: error numbers, system call numbers, flags and struct layouts of i386 (and x86-64).
//!
//! No behaviour and no state; the kernel crate gives these meaning. Layouts are encoded and decoded by explicit offsets,
//! never by casting memory.

pub mod auxv;
pub mod epoll;
pub mod errno;
pub mod fcntl;
pub mod flock;
pub mod getdents;
pub mod ioctl;
pub mod layout;
pub mod mman;
pub mod nr;
pub mod poll;
pub mod siginfo;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod termios;
pub mod time;

pub use errno::Errno;
