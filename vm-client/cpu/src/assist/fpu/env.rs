//! The x87 environment and state in memory: `fnstenv`, `fldenv`, `fnsave`, `frstor`, with 32-bit and 16-bit operand size.

use vm_mem::{Mmu, VirtAddr};

use super::transfer::offset;
use crate::assist::fpu80::Class;
use crate::core::Trap;
use crate::{F80, Fpu};

/// The operand size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// 28 bytes of environment.
    Wide,
    /// 14 bytes.
    Narrow,
}

impl Layout {
    fn environment_len(self) -> usize {
        match self {
            Layout::Wide => 28,
            Layout::Narrow => 14,
        }
    }
}

/// The status word with TOP.
pub(crate) fn status_word(fpu: &Fpu) -> u16 {
    fpu.status & !0x3800 | u16::from(fpu.top & 7) << 11
}

fn set_status_word(fpu: &mut Fpu, word: u16) {
    fpu.status = word & !0x3800;
    fpu.top = (word >> 11 & 7) as u8;
}

/// The full tag word: two bits a register.
pub(crate) fn tag_word(fpu: &Fpu) -> u16 {
    (0..8).fold(0, |word, i| {
        let tag = if fpu.valid & 1 << i == 0 {
            3
        } else {
            match fpu.regs[i].class() {
                Class::Normal => 0,
                Class::Zero => 1,
                _ => 2,
            }
        };
        word | tag << (2 * i)
    })
}

fn set_tag_word(fpu: &mut Fpu, word: u16) {
    fpu.valid = (0..8).fold(0, |valid, i| valid | u8::from(word >> (2 * i) & 3 != 3) << i);
}

fn environment(fpu: &Fpu, layout: Layout) -> [u8; 28] {
    let mut bytes = [0; 28];
    let words = [fpu.control, status_word(fpu), tag_word(fpu)];
    match layout {
        Layout::Wide => {
            for (i, word) in words.into_iter().enumerate() {
                bytes[4 * i..4 * i + 4].copy_from_slice(&(u32::from(word) | 0xffff_0000).to_le_bytes());
            }
            let rest =
                [fpu.last_ip as u32, u32::from(fpu.last_opcode & 0x7ff) << 16, fpu.last_data as u32, 0xffff_0000];
            for (i, word) in rest.into_iter().enumerate() {
                bytes[12 + 4 * i..16 + 4 * i].copy_from_slice(&word.to_le_bytes());
            }
        }
        Layout::Narrow => {
            let rest = [fpu.last_ip as u16, 0, fpu.last_data as u16, 0];
            for (i, word) in words.into_iter().chain(rest).enumerate() {
                bytes[2 * i..2 * i + 2].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    bytes
}

fn set_environment(fpu: &mut Fpu, bytes: &[u8], layout: Layout) {
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 2)) << 16;
    let step = match layout {
        Layout::Wide => {
            fpu.last_ip = long(12);
            fpu.last_opcode = word(18) & 0x7ff;
            fpu.last_data = long(20);
            4
        }
        Layout::Narrow => {
            fpu.last_ip = u64::from(word(6));
            fpu.last_data = u64::from(word(10));
            2
        }
    };
    fpu.control = word(0) & 0x1f3f | 0x40;
    set_status_word(fpu, word(step));
    set_tag_word(fpu, word(2 * step));
    fpu.summarise();
}

fn image(fpu: &Fpu, layout: Layout) -> Vec<u8> {
    let mut bytes = environment(fpu, layout)[..layout.environment_len()].to_vec();
    for i in 0..8 {
        let value = fpu.regs[fpu.index(i)];
        bytes.extend(value.mantissa.to_le_bytes());
        bytes.extend(value.sign_exponent.to_le_bytes());
    }
    bytes
}

fn set_image(fpu: &mut Fpu, bytes: &[u8], layout: Layout) {
    let (head, registers) = bytes.split_at(layout.environment_len());
    set_environment(fpu, head, layout);
    for (i, value) in registers.as_chunks::<10>().0.iter().enumerate() {
        let mantissa = value[..8].iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
        let index = fpu.index(i as u8);
        fpu.regs[index] = F80 { mantissa, sign_exponent: u16::from_le_bytes([value[8], value[9]]) };
    }
}

/// The 108 bytes of `fnsave`, as old signal frames hold them (`struct _fpstate`).
pub(crate) fn fsave_image(fpu: &Fpu) -> [u8; 108] {
    let mut bytes = [0; 108];
    bytes.copy_from_slice(&image(fpu, Layout::Wide));
    bytes
}

/// Takes the x87 state from the 108 bytes of `fnsave`.
pub(crate) fn frstor_image(fpu: &mut Fpu, bytes: &[u8; 108]) {
    set_image(fpu, bytes, Layout::Wide);
}

fn store(mmu: &mut Mmu, addr: VirtAddr, bytes: &[u8]) -> Result<(), Trap> {
    mmu.check_store(addr, bytes.len())?;
    for (i, byte) in bytes.iter().enumerate() {
        mmu.store(offset(addr, i as u64), *byte)?;
    }
    Ok(())
}

fn load(mmu: &mut Mmu, addr: VirtAddr, bytes: &mut [u8]) -> Result<(), Trap> {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = mmu.load(offset(addr, i as u64))?;
    }
    Ok(())
}

pub(super) fn store_environment(fpu: &Fpu, mmu: &mut Mmu, addr: VirtAddr, layout: Layout) -> Result<(), Trap> {
    store(mmu, addr, &environment(fpu, layout)[..layout.environment_len()])
}

pub(super) fn load_environment(fpu: &mut Fpu, mmu: &mut Mmu, addr: VirtAddr, layout: Layout) -> Result<(), Trap> {
    let mut bytes = [0; 28];
    let bytes = &mut bytes[..layout.environment_len()];
    load(mmu, addr, bytes)?;
    set_environment(fpu, bytes, layout);
    Ok(())
}

pub(super) fn save(fpu: &Fpu, mmu: &mut Mmu, addr: VirtAddr, layout: Layout) -> Result<(), Trap> {
    store(mmu, addr, &image(fpu, layout))
}

pub(super) fn restore(fpu: &mut Fpu, mmu: &mut Mmu, addr: VirtAddr, layout: Layout) -> Result<(), Trap> {
    let mut bytes = [0; 108];
    let bytes = &mut bytes[..layout.environment_len() + 80];
    load(mmu, addr, bytes)?;
    set_image(fpu, bytes, layout);
    Ok(())
}
