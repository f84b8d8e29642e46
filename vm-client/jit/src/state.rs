//! What generated code and this crate tell each other through memory, beside `vm_cpu::Core`.

use vm_mem::Run;

use crate::lazy::Record;

/// How deep guest calls may nest as calls of WebAssembly.
pub const DEPTH: u32 = 200;

/// Entries of the table that indirect jumps look up.
pub const LOOKUP_ENTRIES: usize = 1 << 13;

/// Cells for direct links.
pub const CELLS: usize = 1 << 14;

/// See the module.
#[derive(Debug, Default)]
#[repr(C, align(16))]
pub struct State {
    /// Sixteen bytes for stores on the slow path.
    pub bounce: [u8; 16],
    /// The x87 registers by number, each in the first of two, while generated code has them as doubles.
    pub x87: [[f64; 2]; 8],
    /// The flags, when their kind is not `MEMORY`; else they are in `Core::flags`.
    pub record: Record,
    /// The flags a request is about.
    pub args: Record,
    /// The exit at which a function stopped, and the region it belongs to.
    pub exit: u32,
    /// See above.
    pub region: u32,
    /// The address of the flat table.
    pub flat: u32,
    /// The address of the cells.
    pub cells: u32,
    /// The address of the table for indirect jumps.
    pub lookup: u32,
    /// The first address of the window, its bytes, and what to add to an address in it for the offset from the first frame.
    pub window: u32,
    /// See above.
    pub window_len: u32,
    /// See above.
    pub distance: u32,
}

impl State {
    /// Makes a run of pages the window.
    pub fn take_window(&mut self, run: Run) {
        (self.window, self.window_len, self.distance) = (run.start, run.len, run.distance);
    }
}

/// The entry of the table for indirect jumps that an address has.
pub fn lookup_entry(address: u32) -> usize {
    ((address ^ (address >> 13)) as usize) & (LOOKUP_ENTRIES - 1)
}
