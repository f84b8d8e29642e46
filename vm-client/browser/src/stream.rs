//! Output of programs that have streams instead of a terminal.

use vm_machine::StreamSink;

use crate::host::Host;

/// A program this far ahead of its reader waits.
const BACKLOG: u32 = 64 * 1024;

/// Hands a program's output to JavaScript.
pub struct BrowserSink {
    host: Host,
    process: u32,
}

impl BrowserSink {
    /// The streams of one program.
    pub fn new(host: &Host, process: u32) -> Self {
        Self { host: host.clone(), process }
    }
}

impl StreamSink for BrowserSink {
    fn write(&self, fd: i32, bytes: &[u8]) {
        self.host.stream_write(self.process, fd, bytes);
    }

    fn congested(&self, fd: i32) -> bool {
        self.host.stream_backlog(self.process, fd) > BACKLOG
    }
}
