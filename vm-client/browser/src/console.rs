//! The screen side of the text consoles.

use std::cell::RefCell;
use std::collections::HashMap;

use vm_kernel::host::Console;

use crate::host::Host;

/// Output beyond this many bytes not shown yet makes the guest wait, so that `yes` can be interrupted.
const BACKLOG: u32 = 64 * 1024;

/// Virtual terminals whose output goes to JavaScript.
pub struct BrowserConsole {
    host: Host,
    sizes: RefCell<HashMap<usize, (u16, u16)>>,
}

impl BrowserConsole {
    /// Consoles of 80 columns and 24 rows.
    pub fn new(host: &Host) -> Self {
        Self { host: host.clone(), sizes: RefCell::default() }
    }

    /// Sets columns and rows.
    pub fn resize(&self, vt: usize, columns: u16, rows: u16) {
        self.sizes.borrow_mut().insert(vt, (columns, rows));
    }
}

impl Console for BrowserConsole {
    fn write(&self, vt: usize, bytes: &[u8]) {
        self.host.console_write(vt_number(vt), bytes);
    }

    fn size(&self, vt: usize) -> (u16, u16) {
        self.sizes.borrow().get(&vt).copied().unwrap_or((80, 24))
    }

    fn congested(&self, vt: usize) -> bool {
        self.host.console_backlog(vt_number(vt)) > BACKLOG
    }
}

fn vt_number(vt: usize) -> u32 {
    u32::try_from(vt).unwrap_or(u32::MAX)
}
