//! The pages of a file in memory. (Owned by the memory engineer.)

use linux_abi::Errno;
use vm_mem::PAGE_SIZE;
use vm_rt::Io;

/// Where the pages of a file come from and go to; implemented by the file systems.
pub trait PageSource {
    /// Length of the file in bytes.
    fn size(&self) -> u64;
    /// Reads a page; bytes beyond the end are zero.
    fn read_page<'a>(&'a self, index: u64, page: &'a mut [u8; PAGE_SIZE]) -> Io<'a, Result<(), Errno>>;
    /// Writes a page back that was stored to through a shared mapping; bytes beyond the end are ignored.
    fn write_page<'a>(&'a self, index: u64, page: &'a [u8; PAGE_SIZE]) -> Io<'a, Result<(), Errno>>;
}

/// The cache of one file.
pub struct PageCache {}
