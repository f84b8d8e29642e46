//! The file systems.

mod cpuinfo;
pub mod dev;
pub mod devpts;
pub mod epoll;
pub mod eventfd;
pub mod ext2;
pub(crate) mod generated;
pub mod hosted;
pub mod inotify;
pub mod memfd;
pub mod overlay;
pub mod pidfd;
pub mod pipe;
pub mod proc;
pub mod signalfd;
pub mod sysfs;
pub mod timerfd;
pub mod tmpfs;
