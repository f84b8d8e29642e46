//! One machine, as JavaScript sees it.

use wasm_bindgen::prelude::*;

use crate::host::{Host, PageStore};
use crate::later;

/// A machine. Calls that finish later name themselves by a number and are answered by `Host.finished` or `Host.failed`.
#[wasm_bindgen]
pub struct Vm {
    host: Host,
}

#[wasm_bindgen]
impl Vm {
    /// Makes a machine without disks that has `memory` bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(host: Host, memory: f64) -> Vm {
        let _ = memory;
        later::set_event_loop(&host);
        Self { host }
    }
    /// mount
    pub fn mount(&self, call: u32, pages: Option<PageStore>) {
        let _ = (call, pages, &self.host);
    }
}
