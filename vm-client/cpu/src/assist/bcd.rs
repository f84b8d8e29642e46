//! Decimal arithmetic on AL and AX (Intel SDM volume 2, under each name).

use vm_mem::Mmu;

use crate::core::{Core, Trap};
use crate::flags::bit;
use crate::ir::Op;
use crate::{Exception, reg};

const AX: u8 = reg::RAX as u8;

fn al(core: &Core) -> u8 {
    core.get(AX) as u8
}

fn set_af_cf(core: &mut Core, af: bool, cf: bool) {
    let eflags = if af { bit::AF } else { 0 } | if cf { bit::CF } else { 0 };
    core.flags.write(eflags, bit::AF | bit::CF);
}

/// The flags of AL, with overflow clear, and the two carries.
fn decimal_flags(core: &mut Core, value: u8, af: bool, cf: bool) {
    core.set_sized(AX, 1, u64::from(value));
    core.flags.logic::<u8>(u64::from(value));
    set_af_cf(core, af, cf);
}

pub(super) fn daa(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    let old = al(core);
    let mut value = old;
    let af = (old & 15) > 9 || core.flags.af();
    if af {
        value = value.wrapping_add(6);
    }
    let cf = old > 0x99 || core.flags.cf();
    if cf {
        value = value.wrapping_add(0x60);
    }
    decimal_flags(core, value, af, cf);
    Ok(())
}

pub(super) fn das(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    let old = al(core);
    let old_cf = core.flags.cf();
    let mut value = old;
    let mut cf = false;
    let af = (old & 15) > 9 || core.flags.af();
    if af {
        cf = old_cf || value < 6;
        value = value.wrapping_sub(6);
    }
    if old > 0x99 || old_cf {
        value = value.wrapping_sub(0x60);
        cf = true;
    }
    decimal_flags(core, value, af, cf);
    Ok(())
}

/// Leaves AX with a clean low digit; the undefined flags follow AL.
fn ascii_adjust(core: &mut Core, ax: u16, adjust: bool) {
    let ax = ax & 0xff0f;
    core.set_sized(AX, 2, u64::from(ax));
    core.flags.logic::<u8>(u64::from(ax & 0xff));
    set_af_cf(core, adjust, adjust);
}

pub(super) fn aaa(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    let ax = core.get(AX) as u16;
    let adjust = (ax & 15) > 9 || core.flags.af();
    ascii_adjust(core, if adjust { ax.wrapping_add(0x106) } else { ax }, adjust);
    Ok(())
}

pub(super) fn aas(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    let ax = core.get(AX) as u16;
    let adjust = (ax & 15) > 9 || core.flags.af();
    ascii_adjust(core, if adjust { ax.wrapping_sub(0x106) } else { ax }, adjust);
    Ok(())
}

pub(super) fn aam(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let value = al(core);
    let high = value.checked_div(op.a).ok_or(Exception::DivideError)?;
    let low = value % op.a;
    core.set_sized(AX, 2, u64::from(low) | (u64::from(high) << 8));
    core.flags.logic::<u8>(u64::from(low));
    Ok(())
}

pub(super) fn aad(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let ax = core.get(AX);
    let value = (ax as u8).wrapping_add(((ax >> 8) as u8).wrapping_mul(op.a));
    core.set_sized(AX, 2, u64::from(value));
    core.flags.logic::<u8>(u64::from(value));
    Ok(())
}
