//! Floating-point state as memory images: the 512 bytes of FXSAVE, the 108 bytes of FSAVE.
//!
//! The instructions use them, and so does the kernel for signal frames, ptrace and core dumps.

use crate::assist::{MXCSR_MASK, frstor_image, fsave_image};
use crate::{Cpu, F80, Fpu};

/// Bits are set in MXCSR that do not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReservedMxcsr;

impl std::fmt::Display for ReservedMxcsr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reserved bits of MXCSR are set")
    }
}

impl std::error::Error for ReservedMxcsr {}

/// The image of some state; `xmm` may be longer than the image has room for.
pub(crate) fn image(fpu: &Fpu, mxcsr: u32, xmm: &[u128]) -> [u8; 512] {
    let mut image = [0; 512];
    let status = (fpu.status & !0x3800) | (u16::from(fpu.top & 7) << 11);
    image[0..2].copy_from_slice(&fpu.control.to_le_bytes());
    image[2..4].copy_from_slice(&status.to_le_bytes());
    image[4] = fpu.valid;
    // Processors here fill the pointers only when an exception is pending.
    if fpu.status & 0x80 != 0 {
        image[6..8].copy_from_slice(&fpu.last_opcode.to_le_bytes());
        image[8..12].copy_from_slice(&(fpu.last_ip as u32).to_le_bytes());
        image[16..20].copy_from_slice(&(fpu.last_data as u32).to_le_bytes());
    }
    image[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    image[28..32].copy_from_slice(&MXCSR_MASK.to_le_bytes());
    for i in 0..8 {
        let value = fpu.regs[usize::from(fpu.top.wrapping_add(i as u8) & 7)];
        let at = 32 + 16 * i;
        image[at..at + 8].copy_from_slice(&value.mantissa.to_le_bytes());
        image[at + 8..at + 10].copy_from_slice(&value.sign_exponent.to_le_bytes());
    }
    for (chunk, value) in image[160..416].as_chunks_mut::<16>().0.iter_mut().zip(xmm) {
        *chunk = value.to_le_bytes();
    }
    image
}

/// Takes state from an image; nothing changes on an error.
pub(crate) fn restore(
    image: &[u8; 512],
    fpu: &mut Fpu,
    mxcsr: &mut u32,
    xmm: &mut [u128],
) -> Result<(), ReservedMxcsr> {
    let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
    let long = |at: usize| u32::from(word(at)) | (u32::from(word(at + 2)) << 16);
    if long(24) & !MXCSR_MASK != 0 {
        return Err(ReservedMxcsr);
    }
    *mxcsr = long(24);
    let status = word(2);
    fpu.control = (word(0) & 0x1f3f) | 0x40;
    fpu.status = status & !0x3800;
    fpu.top = ((status >> 11) & 7) as u8;
    fpu.valid = image[4];
    fpu.summarise();
    fpu.last_opcode = word(6) & 0x7ff;
    fpu.last_ip = u64::from(long(8));
    fpu.last_data = u64::from(long(16));
    for i in 0..8 {
        let at = 32 + 16 * i;
        let mantissa = u64::from(long(at)) | (u64::from(long(at + 4)) << 32);
        fpu.regs[usize::from(fpu.top.wrapping_add(i as u8) & 7)] = F80 { mantissa, sign_exponent: word(at + 8) };
    }
    for (value, chunk) in xmm.iter_mut().zip(image[160..416].as_chunks::<16>().0) {
        *value = u128::from_le_bytes(*chunk);
    }
    Ok(())
}

impl Cpu {
    /// The registers of the mode.
    fn xmm_count(&self) -> usize {
        match self.mode {
            crate::Mode::I386 => 8,
            crate::Mode::X86_64 => 16,
        }
    }

    /// The FXSAVE image of the floating-point state, reserved bytes zero.
    pub fn fxsave_image(&self) -> [u8; 512] {
        image(&self.fpu, self.mxcsr, &self.xmm[..self.xmm_count()])
    }

    /// Takes the floating-point state from an FXSAVE image; on an error nothing changes.
    pub fn set_fxsave_image(&mut self, image: &[u8; 512]) -> Result<(), ReservedMxcsr> {
        let count = self.xmm_count();
        restore(image, &mut self.fpu, &mut self.mxcsr, &mut self.xmm[..count])
    }

    /// The 108 bytes of FSAVE, as the old i386 signal frame holds them.
    pub fn fsave_image(&self) -> [u8; 108] {
        fsave_image(&self.fpu)
    }

    /// Takes the x87 state from the 108 bytes of FSAVE.
    pub fn set_fsave_image(&mut self, image: &[u8; 108]) {
        frstor_image(&mut self.fpu, image);
    }
}
