//! Control instructions: words, environment, stack pointer.

use vm_mem::{Mmu, VirtAddr};

use super::X87;
use super::env::{self, Layout};
use crate::core::{Core, Trap};
use crate::{Fpu, reg};

pub(super) fn run(core: &mut Core, mmu: &mut Mmu, what: X87, addr: VirtAddr, c: u8) -> Result<(), Trap> {
    let fpu = &mut core.fpu;
    match what {
        X87::Init => {
            let regs = fpu.regs;
            *fpu = Fpu { regs, ..Fpu::default() };
        }
        X87::ClearExceptions => fpu.status &= 0x7f00,
        X87::LoadControl => {
            fpu.control = mmu.load::<u16>(addr)? & 0x1f3f | 0x40;
            fpu.summarise();
        }
        X87::StoreControl => mmu.store(addr, fpu.control)?,
        X87::StoreStatus => mmu.store(addr, env::status_word(fpu))?,
        X87::StatusToAx => {
            let status = env::status_word(fpu);
            core.set_sized(reg::RAX as u8, 2, u64::from(status));
        }
        X87::StoreEnvironment => {
            env::store_environment(fpu, mmu, addr, Layout::Wide)?;
            mask_all(fpu);
        }
        X87::StoreEnvironment16 => {
            env::store_environment(fpu, mmu, addr, Layout::Narrow)?;
            mask_all(fpu);
        }
        X87::LoadEnvironment => env::load_environment(fpu, mmu, addr, Layout::Wide)?,
        X87::LoadEnvironment16 => env::load_environment(fpu, mmu, addr, Layout::Narrow)?,
        X87::Save | X87::Save16 => {
            let layout = if what == X87::Save { Layout::Wide } else { Layout::Narrow };
            env::save(fpu, mmu, addr, layout)?;
            let regs = fpu.regs;
            *fpu = Fpu { regs, ..Fpu::default() };
        }
        X87::Restore => env::restore(fpu, mmu, addr, Layout::Wide)?,
        X87::Restore16 => env::restore(fpu, mmu, addr, Layout::Narrow)?,
        X87::Free => {
            fpu.valid &= !(1 << fpu.index(c));
            fpu.status &= !super::C1;
        }
        X87::FreePop => {
            fpu.valid &= !(1 << fpu.index(c));
            fpu.status &= !super::C1;
            fpu.pop();
        }
        X87::IncrementTop => {
            fpu.top = fpu.top.wrapping_add(1) & 7;
            fpu.status &= !super::C1;
        }
        X87::DecrementTop => {
            fpu.top = fpu.top.wrapping_sub(1) & 7;
            fpu.status &= !super::C1;
        }
        X87::Emms => {
            fpu.valid = 0;
            fpu.top = 0;
        }
        // Waiting was all.
        _ => {}
    }
    Ok(())
}

/// `fnstenv` masks all exceptions after it stored.
fn mask_all(fpu: &mut Fpu) {
    fpu.control |= 0x3f;
    fpu.summarise();
}
