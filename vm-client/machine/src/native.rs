//! The native host: the machine's clock, random bytes, console and loop on the operating system it runs on.

mod console;
mod disk;
mod host;
mod pump;

pub use console::{RawTerminal, TerminalConsole};
pub use disk::{mount_file, mount_file_at, mount_image};
pub use host::{OsClock, OsEntropy};
pub use pump::Pump;
