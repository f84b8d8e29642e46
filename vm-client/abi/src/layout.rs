//! Putting values at offsets of a struct, and getting them out, little-endian.

/// The size of a pointer and of `long` in the programs whose structures these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// i386.
    Bits32,
    /// x86-64.
    Bits64,
}

impl Width {
    /// Bytes of a pointer.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }
}

/// Writes fields into the bytes of a struct. Offsets are ours, so one beyond the end is a bug and panics.
pub struct Writer<'a> {
    bytes: &'a mut [u8],
}

impl<'a> Writer<'a> {
    /// Writes into these bytes.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// Puts bytes at an offset.
    pub fn bytes(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    /// Puts a value at an offset.
    pub fn u16(&mut self, at: usize, value: u16) {
        self.bytes(at, &value.to_le_bytes());
    }

    /// Puts a value at an offset.
    pub fn u32(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_le_bytes());
    }

    /// Puts a value at an offset.
    pub fn u64(&mut self, at: usize, value: u64) {
        self.bytes(at, &value.to_le_bytes());
    }

    /// Puts a pointer or `long` at an offset, cut to its size.
    pub fn word(&mut self, width: Width, at: usize, value: u64) {
        match width {
            Width::Bits32 => self.u32(at, value as u32),
            Width::Bits64 => self.u64(at, value),
        }
    }
}

/// Reads fields of a struct; beyond the end there are zeros.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(self.bytes.iter().skip(at)) {
            *to = *from;
        }
        out
    }

    /// The value at an offset.
    pub fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    /// The value at an offset.
    pub fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    /// The value at an offset.
    pub fn i32(self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }

    /// The value at an offset.
    pub fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    /// The pointer or unsigned `long` at an offset.
    pub fn word(self, width: Width, at: usize) -> u64 {
        match width {
            Width::Bits32 => u64::from(self.u32(at)),
            Width::Bits64 => self.u64(at),
        }
    }

    /// The value at an offset.
    pub fn i64(self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }
}
