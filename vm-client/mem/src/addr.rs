//! Addresses, pages and faults.

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: usize = 4096;

/// A guest-virtual address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct VirtAddr(pub u64);

/// The number of a guest-virtual page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Vpn(pub u64);

/// The number of a frame in the frame pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameId(pub u32);

/// An address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MmId(pub u32);

/// What an access wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Access {
    Read,
    Write,
    Execute,
}

/// Why an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultCause {
    /// No page is mapped there.
    NotMapped,
    /// A page is mapped but does not permit this access.
    Forbidden,
}

/// A failed access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// The first byte that could not be accessed.
    pub addr: VirtAddr,
    /// What was wanted.
    pub access: Access,
    /// Why it failed.
    pub cause: FaultCause,
}

/// What a mapping permits, as in the page table (a copy-on-write page is not writable here).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prot {
    /// Loads succeed.
    pub read: bool,
    /// Stores succeed.
    pub write: bool,
    /// Instruction fetches succeed.
    pub execute: bool,
}

impl VirtAddr {
    /// The page that holds this address.
    #[inline]
    pub fn page(self) -> Vpn {
        Vpn(self.0 / PAGE_SIZE as u64)
    }

    /// The offset within its page.
    #[inline]
    pub fn offset(self) -> usize {
        (self.0 % PAGE_SIZE as u64) as usize
    }
}

impl Vpn {
    /// The first address of the page.
    #[inline]
    pub fn start(self) -> VirtAddr {
        VirtAddr(self.0 * PAGE_SIZE as u64)
    }
}

/// A value that guest memory can hold, little-endian.
pub trait Scalar: Copy + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! scalar {
    ($($t:ty)*) => { $(impl sealed::Sealed for $t {} impl Scalar for $t {})* };
}
scalar!(u8 u16 u32 u64 u128);
