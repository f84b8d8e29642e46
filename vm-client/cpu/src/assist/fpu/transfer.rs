//! Loads, stores, exchanges and conditional moves.

use vm_mem::{Mmu, VirtAddr};

use super::{X87, overflow, underflow};
use crate::assist::fpu80::{Context, INDEFINITE, arith, convert, exception};
use crate::assist::soft::Rounding;
use crate::core::Trap;
use crate::{F80, Fpu};

/// Reads an 80-bit number.
pub(super) fn read_f80(mmu: &mut Mmu, addr: VirtAddr) -> Result<F80, Trap> {
    let mantissa = mmu.load::<u64>(addr)?;
    let sign_exponent = mmu.load::<u16>(offset(addr, 8))?;
    Ok(F80 { mantissa, sign_exponent })
}

/// Writes ten bytes, all or none.
fn write_ten(mmu: &mut Mmu, addr: VirtAddr, low: u64, high: u16) -> Result<(), Trap> {
    mmu.check_store(addr, 10)?;
    mmu.store(addr, low)?;
    mmu.store(offset(addr, 8), high)?;
    Ok(())
}

/// An address so many bytes on. Guests with 32-bit addresses wrap around.
pub(super) fn offset(addr: VirtAddr, by: u64) -> VirtAddr {
    let sum = addr.0.wrapping_add(by);
    VirtAddr(if addr.0 >> 32 == 0 { sum & 0xffff_ffff } else { sum })
}

pub(super) fn load(fpu: &mut Fpu, mmu: &mut Mmu, what: X87, addr: VirtAddr) -> Result<(), Trap> {
    let mut cx = Context::new(fpu.control);
    let value = match what {
        X87::LoadF32 => {
            let value = convert::from_f32(&mut cx, mmu.load(addr)?);
            convert::quiet(&mut cx, value)
        }
        X87::LoadF64 => {
            let value = convert::from_f64(&mut cx, mmu.load(addr)?);
            convert::quiet(&mut cx, value)
        }
        X87::LoadI16 => arith::integer(i64::from(mmu.load::<u16>(addr)? as i16)),
        X87::LoadI32 => arith::integer(i64::from(mmu.load::<u32>(addr)? as i32)),
        X87::LoadI64 => arith::integer(mmu.load::<u64>(addr)? as i64),
        X87::LoadF80 => read_f80(mmu, addr)?,
        _ => {
            let raw = read_f80(mmu, addr)?;
            let mut bytes = [0; 10];
            bytes[..8].copy_from_slice(&raw.mantissa.to_le_bytes());
            bytes[8..].copy_from_slice(&raw.sign_exponent.to_le_bytes());
            convert::from_bcd(bytes)
        }
    };
    push(fpu, cx, value);
    Ok(())
}

/// Pushes unless ST(7) is in use, which comes before anything the value itself raised.
fn push(fpu: &mut Fpu, mut cx: Context, value: F80) {
    let value = if fpu.is_empty(7) {
        value
    } else {
        cx.raised = 0;
        overflow(&mut cx)
    };
    // A denormal is loaded even when that exception is not masked.
    if fpu.settle(&cx) || cx.raised == exception::DENORMAL {
        fpu.push(value);
    }
}

pub(super) fn load_st(fpu: &mut Fpu, i: u8) {
    let mut cx = Context::new(fpu.control);
    match fpu.st(i) {
        Some(value) => push(fpu, cx, value),
        None => {
            // An empty source comes before a full stack, and clears C1.
            let value = underflow(&mut cx);
            if fpu.settle(&cx) {
                fpu.push(value);
            }
        }
    }
}

/// `fld1`, `fldl2t`, `fldl2e`, `fldpi`, `fldlg2`, `fldln2`, `fldz`.
pub(super) fn load_constant(fpu: &mut Fpu, number: u8) {
    // The constants cut off at 64 bits, and whether the rest is above half a unit.
    const CONSTANTS: [(u64, u16, bool); 7] = [
        (0x8000_0000_0000_0000, 0x3fff, false),
        (0xd49a_784b_cd1b_8afe, 0x4000, false),
        (0xb8aa_3b29_5c17_f0bb, 0x3fff, true),
        (0xc90f_daa2_2168_c234, 0x4000, true),
        (0x9a20_9a84_fbcf_f798, 0x3ffd, true),
        (0xb172_17f7_d1cf_79ab, 0x3ffe, true),
        (0, 0, false),
    ];
    let Some(&(mantissa, sign_exponent, above_half)) = CONSTANTS.get(usize::from(number)) else {
        return;
    };
    let cx = Context::new(fpu.control);
    let inexact = !(number == 0 || number == 6);
    let up = match cx.rounding {
        Rounding::Nearest => above_half,
        Rounding::Up => inexact,
        Rounding::Down | Rounding::Zero => false,
    };
    push(fpu, cx, F80 { mantissa: mantissa + u64::from(up), sign_exponent });
}

pub(super) fn store(fpu: &mut Fpu, mmu: &mut Mmu, what: X87, addr: VirtAddr, pop: u8) -> Result<(), Trap> {
    let mut cx = Context::new(fpu.control);
    let empty = fpu.is_empty(0);
    let value = fpu.st(0).unwrap_or(INDEFINITE);
    let rounding = match what {
        X87::TruncateI16 | X87::TruncateI32 | X87::TruncateI64 => Rounding::Zero,
        _ => cx.rounding,
    };
    // The memory image, computed first because raising nothing is what a fault must leave behind.
    let (low, high, len) = match what {
        X87::StoreF32 => (u64::from(convert::to_f32(&mut cx, value).unwrap_or(0)), 0, 4),
        X87::StoreF64 => (convert::to_f64(&mut cx, value).unwrap_or(0), 0, 8),
        X87::StoreI16 | X87::TruncateI16 => (convert::to_int(&mut cx, value, 16, rounding) as u64, 0, 2),
        X87::StoreI32 | X87::TruncateI32 => (convert::to_int(&mut cx, value, 32, rounding) as u64, 0, 4),
        X87::StoreI64 | X87::TruncateI64 => (convert::to_int(&mut cx, value, 64, rounding) as u64, 0, 8),
        X87::StoreF80 => (value.mantissa, value.sign_exponent, 10),
        _ => {
            let bytes = convert::to_bcd(&mut cx, value);
            let (low, high) = bytes.split_at(8);
            let low = low.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
            (low, u16::from_le_bytes([high[0], high[1]]), 10)
        }
    };
    if empty {
        cx.raised = 0;
        underflow(&mut cx);
    }
    // Unmasked overflow and underflow also leave memory and the stack alone.
    let narrows = matches!(what, X87::StoreF32 | X87::StoreF64);
    let stays = cx.prevented() || narrows && cx.raised & !cx.masks & (exception::OVERFLOW | exception::UNDERFLOW) != 0;
    if stays {
        mmu.check_store(addr, len)?;
        fpu.settle(&cx);
        return Ok(());
    }
    match len {
        2 => mmu.store(addr, low as u16)?,
        4 => mmu.store(addr, low as u32)?,
        8 => mmu.store(addr, low)?,
        _ => write_ten(mmu, addr, low, high)?,
    }
    fpu.settle(&cx);
    if pop != 0 {
        fpu.pop();
    }
    Ok(())
}

pub(super) fn store_st(fpu: &mut Fpu, i: u8, pop: bool) {
    let mut cx = Context::new(fpu.control);
    let value = match fpu.st(0) {
        Some(value) => value,
        None => underflow(&mut cx),
    };
    if fpu.settle(&cx) {
        fpu.set_st(i, value);
        if pop {
            fpu.pop();
        }
    }
}

pub(super) fn exchange(fpu: &mut Fpu, i: u8) {
    let mut cx = Context::new(fpu.control);
    let (a, b) = (fpu.st(0), fpu.st(i));
    if a.is_none() || b.is_none() {
        underflow(&mut cx);
    }
    if fpu.settle(&cx) {
        fpu.set_st(0, b.unwrap_or(INDEFINITE));
        fpu.set_st(i, a.unwrap_or(INDEFINITE));
    }
}

pub(super) fn conditional_move(fpu: &mut Fpu, i: u8, holds: bool) {
    let mut cx = Context::new(fpu.control);
    let value = match (fpu.st(0), fpu.st(i)) {
        (Some(old), Some(new)) => {
            if holds {
                new
            } else {
                old
            }
        }
        _ => underflow(&mut cx),
    };
    if fpu.settle_keeping_c1(&cx) {
        fpu.set_st(0, value);
    }
}
