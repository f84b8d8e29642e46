//! What the kernel wants from its host.

use std::rc::Rc;

use vm_rt::Clock;

/// Everything outside the machine.
#[derive(Clone)]
pub struct Host {
    /// Real time.
    pub clock: Rc<dyn Clock>,
    /// Random bytes.
    pub entropy: Rc<dyn Entropy>,
    /// The text console (`/dev/console`, `/dev/tty1` and so on).
    pub console: Rc<dyn Console>,
}

/// A source of random bytes fit for cryptography.
pub trait Entropy {
    /// Fills the buffer.
    fn fill(&self, buf: &mut [u8]);
}

/// The screen side of the consoles. Input comes the other way, through `Kernel::console_input`.
pub trait Console {
    /// Shows output of virtual terminal `vt` (1 is the first).
    fn write(&self, vt: usize, bytes: &[u8]);
    /// Columns and rows of virtual terminal `vt`.
    fn size(&self, vt: usize) -> (u16, u16);
    /// Whether output should wait because the host is behind; the kernel is told again with `Kernel::console_drained`.
    fn congested(&self, vt: usize) -> bool {
        let _ = vt;
        false
    }
}
