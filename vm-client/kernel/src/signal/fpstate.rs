//! The floating-point part of an i386 signal frame: the FSAVE header followed by the FXSAVE image.

use vm_cpu::{Cpu, Fpu, Segment};

/// Bytes of the FSAVE header (`struct _fpstate_32` up to `_fxsr_env`).
pub(super) const HEADER_SIZE: usize = 112;
/// Bytes of the FXSAVE image.
pub(super) const FXSAVE_SIZE: usize = 512;
/// Bytes of the header that FSAVE itself writes.
const FSAVE_SIZE: usize = 108;

/// The FSAVE header, the values as a 64-bit kernel gives them to a 32-bit program.
pub(super) fn encode_header(cpu: &Cpu) -> [u8; HEADER_SIZE] {
    let mut out = [0; HEADER_SIZE];
    let saved = cpu.fsave_image();
    out[..FSAVE_SIZE].copy_from_slice(&saved);
    let selector = |segment: Segment| cpu.segments[segment as usize].selector.to_le_bytes();
    out[16..18].copy_from_slice(&selector(Segment::Cs));
    out[24..26].copy_from_slice(&selector(Segment::Ds));
    // The status word once more, then X86_FXSR_MAGIC (zero): an FXSAVE image follows.
    out.copy_within(4..6, FSAVE_SIZE);
    out
}

/// Takes over what a handler may have changed in the frame: x87 state from the header, SSE state from the image. `None` when
/// the image is one that the processor would refuse.
pub(super) fn decode(cpu: &mut Cpu, header: &[u8; HEADER_SIZE], image: &[u8; FXSAVE_SIZE]) -> Option<()> {
    cpu.set_fxsave_image(image).ok()?;
    let mut saved = [0; FSAVE_SIZE];
    saved.copy_from_slice(&header[..FSAVE_SIZE]);
    cpu.set_fsave_image(&saved);
    Some(())
}

/// What a handler starts with, and what a frame without floating-point state means.
pub(super) fn reset(cpu: &mut Cpu) {
    cpu.fpu = Fpu::default();
    cpu.xmm = [0; 16];
    cpu.mxcsr = 0x1f80;
}

#[cfg(test)]
mod tests {
    use vm_cpu::F80;

    use super::*;

    #[test]
    fn a_frame_gives_back_the_state_it_was_made_of() {
        let mut cpu = Cpu::default();
        cpu.fpu.top = 6;
        cpu.fpu.status = 0x4100;
        cpu.fpu.valid = 0b1100_0000;
        cpu.fpu.regs[6] = F80 { mantissa: 1 << 63, sign_exponent: 0x3fff };
        cpu.fpu.regs[7] = F80 { mantissa: 0, sign_exponent: 0x8000 };
        cpu.xmm[3] = 0x1234_5678_9abc_def0;
        cpu.mxcsr = 0x1fa0;
        let (header, image) = (encode_header(&cpu), cpu.fxsave_image());
        // Register 7 holds a zero, register 6 a number, the others are empty.
        assert_eq!(header[8..12], 0xffff_4fffu32.to_le_bytes());
        let mut back = Cpu::default();
        assert_eq!(decode(&mut back, &header, &image), Some(()));
        assert_eq!((back.fpu, back.mxcsr, back.xmm), (cpu.fpu, cpu.mxcsr, cpu.xmm));
    }
}
