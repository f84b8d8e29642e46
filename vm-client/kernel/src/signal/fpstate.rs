//! The floating-point part of an i386 signal frame: the FSAVE header followed by the FXSAVE image.

use vm_cpu::{Cpu, F80, Fpu, Segment};

/// Bytes of the FSAVE header (`struct _fpstate_32` up to `_fxsr_env`).
pub(super) const HEADER_SIZE: usize = 112;
/// Bytes of the FXSAVE image.
pub(super) const FXSAVE_SIZE: usize = 512;
/// What the MXCSR may hold (MXCSR_MASK): the bits of SSE2 processors with denormals-are-zero.
const MXCSR_MASK: u32 = 0xffff;

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = out.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    if let Some(from) = bytes.get(at..at + 4) {
        raw.copy_from_slice(from);
    }
    u32::from_le_bytes(raw)
}

fn f80(bytes: &[u8], at: usize) -> F80 {
    let mut mantissa = [0; 8];
    if let Some(from) = bytes.get(at..at + 8) {
        mantissa.copy_from_slice(from);
    }
    F80 { mantissa: u64::from_le_bytes(mantissa), sign_exponent: word(bytes, at + 8) as u16 }
}

/// The status word with TOP.
fn status(fpu: &Fpu) -> u16 {
    (fpu.status & !0x3800) | u16::from(fpu.top & 7) << 11
}

/// The two bits a register of the full tag word has: 0 valid, 1 zero, 2 special, 3 empty.
fn tag(fpu: &Fpu, physical: usize) -> u16 {
    if fpu.valid & (1 << physical) == 0 {
        return 3;
    }
    let value = fpu.regs[physical];
    match value.sign_exponent & 0x7fff {
        0 if value.mantissa == 0 => 1,
        0 | 0x7fff => 2,
        _ if value.mantissa >> 63 == 0 => 2,
        _ => 0,
    }
}

/// The FSAVE header, the values as a 64-bit kernel gives them to a 32-bit program.
pub(super) fn encode_header(cpu: &Cpu) -> [u8; HEADER_SIZE] {
    let fpu = &cpu.fpu;
    let mut out = [0; HEADER_SIZE];
    let tags = (0..8).fold(0u32, |tags, register| tags | u32::from(tag(fpu, register)) << (2 * register));
    let code = u32::from(cpu.segments[Segment::Cs as usize].selector);
    let data = u32::from(cpu.segments[Segment::Ds as usize].selector);
    put(&mut out, 0, &(u32::from(fpu.control) | 0xffff_0000).to_le_bytes());
    put(&mut out, 4, &(u32::from(status(fpu)) | 0xffff_0000).to_le_bytes());
    put(&mut out, 8, &(tags | 0xffff_0000).to_le_bytes());
    put(&mut out, 12, &(fpu.last_ip as u32).to_le_bytes());
    put(&mut out, 16, &code.to_le_bytes());
    put(&mut out, 20, &(fpu.last_data as u32).to_le_bytes());
    put(&mut out, 24, &(data | 0xffff_0000).to_le_bytes());
    for number in 0..8 {
        let value = fpu.regs[(usize::from(fpu.top) + number) & 7];
        put(&mut out, 28 + 10 * number, &value.mantissa.to_le_bytes());
        put(&mut out, 36 + 10 * number, &value.sign_exponent.to_le_bytes());
    }
    put(&mut out, 108, &status(fpu).to_le_bytes());
    // X86_FXSR_MAGIC: an FXSAVE image follows.
    put(&mut out, 110, &0u16.to_le_bytes());
    out
}

/// The FXSAVE image.
pub(super) fn encode_fxsave(cpu: &Cpu) -> [u8; FXSAVE_SIZE] {
    let fpu = &cpu.fpu;
    let mut out = [0; FXSAVE_SIZE];
    put(&mut out, 0, &fpu.control.to_le_bytes());
    put(&mut out, 2, &status(fpu).to_le_bytes());
    put(&mut out, 4, &[fpu.valid, 0]);
    put(&mut out, 6, &fpu.last_opcode.to_le_bytes());
    put(&mut out, 8, &fpu.last_ip.to_le_bytes());
    put(&mut out, 16, &fpu.last_data.to_le_bytes());
    put(&mut out, 24, &cpu.mxcsr.to_le_bytes());
    put(&mut out, 28, &MXCSR_MASK.to_le_bytes());
    for number in 0..8 {
        let value = fpu.regs[(usize::from(fpu.top) + number) & 7];
        put(&mut out, 32 + 16 * number, &value.mantissa.to_le_bytes());
        put(&mut out, 40 + 16 * number, &value.sign_exponent.to_le_bytes());
    }
    for (number, value) in cpu.xmm.iter().enumerate() {
        put(&mut out, 160 + 16 * number, &value.to_le_bytes());
    }
    out
}

/// Takes over what a handler may have changed in the frame: x87 state from the header, SSE state from the image. `None` when
/// the image is one that the processor would refuse.
pub(super) fn decode(cpu: &mut Cpu, header: &[u8; HEADER_SIZE], image: &[u8; FXSAVE_SIZE]) -> Option<()> {
    let mxcsr = word(image, 24);
    if mxcsr & !MXCSR_MASK != 0 {
        return None;
    }
    let status = word(header, 4) as u16;
    let tags = word(header, 8);
    let top = (status >> 11 & 7) as u8;
    let fpu = &mut cpu.fpu;
    fpu.control = word(header, 0) as u16;
    fpu.status = status & !0x3800;
    fpu.top = top;
    fpu.valid = (0..8).fold(0, |valid, register| {
        let empty = tags >> (2 * register) & 3 == 3;
        valid | if empty { 0 } else { 1 << register }
    });
    fpu.last_ip = u64::from(word(header, 12));
    fpu.last_data = u64::from(word(header, 20));
    fpu.last_opcode = word(image, 6) as u16 & 0x7ff;
    for number in 0..8 {
        fpu.regs[(usize::from(top) + number) & 7] = f80(header, 28 + 10 * number);
    }
    cpu.mxcsr = mxcsr;
    for number in 0..8 {
        let mut raw = [0; 16];
        raw.copy_from_slice(&image[160 + 16 * number..176 + 16 * number]);
        cpu.xmm[number] = u128::from_le_bytes(raw);
    }
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
        let (header, image) = (encode_header(&cpu), encode_fxsave(&cpu));
        // Register 7 holds a zero, register 6 a number, the others are empty.
        assert_eq!(word(&header, 8), 0xffff_4fff);
        let mut back = Cpu::default();
        assert_eq!(decode(&mut back, &header, &image), Some(()));
        assert_eq!((back.fpu, back.mxcsr, back.xmm), (cpu.fpu, cpu.mxcsr, cpu.xmm));
    }
}
