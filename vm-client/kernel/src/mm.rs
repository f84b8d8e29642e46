//! Memory of processes. (Owned by the memory engineer; this is the contract the rest compiles against.)
pub mod page_cache;

use linux_abi::Errno;
use vm_mem::{Access, VirtAddr};

/// An address space.
pub struct Mm {}

impl Mm {
    /// Reads user memory, faulting pages in; EFAULT if any byte cannot be read.
    pub async fn read(&self, from: VirtAddr, to: &mut [u8]) -> Result<(), Errno> {
        let _ = (from, to);
        Err(Errno::EFAULT)
    }
    /// Writes user memory likewise.
    pub async fn write(&self, to: VirtAddr, from: &[u8]) -> Result<(), Errno> {
        let _ = (to, from);
        Err(Errno::EFAULT)
    }
    /// Makes a range present for an access; returns how many bytes from the start are.
    pub async fn populate(&self, from: VirtAddr, len: usize, access: Access) -> Result<usize, Errno> {
        let _ = (from, len, access);
        Err(Errno::EFAULT)
    }
}
