//! Multiplication and division with the implicit registers AX, DX:AX, EDX:EAX, RDX:RAX. `a` is the operand, `b` its size
//! in bytes.

use vm_mem::Mmu;

use crate::core::{Core, Trap};
use crate::ir::Op;
use crate::{Exception, reg};

const AX: u8 = reg::RAX as u8;
const DX: u8 = reg::RDX as u8;

fn mask(bytes: u8) -> u128 {
    (1u128 << (u32::from(bytes) * 8)) - 1
}

fn sign_extend(value: u128, bits: u32) -> i128 {
    ((value << (128 - bits)) as i128) >> (128 - bits)
}

/// Writes a double-width result to its registers.
fn put_wide(core: &mut Core, bytes: u8, value: u128) {
    if bytes == 1 {
        core.set_sized(AX, 2, value as u64);
    } else {
        core.set_sized(AX, bytes, (value & mask(bytes)) as u64);
        core.set_sized(DX, bytes, ((value >> (u32::from(bytes) * 8)) & mask(bytes)) as u64);
    }
}

/// Reads a double-width dividend from its registers.
fn get_wide(core: &Core, bytes: u8) -> u128 {
    let low = u128::from(core.get(AX));
    if bytes == 1 {
        return low & 0xffff;
    }
    (low & mask(bytes)) | ((u128::from(core.get(DX)) & mask(bytes)) << (u32::from(bytes) * 8))
}

/// Sets flags after a multiplication: carry and overflow as `cut`, the undefined ones from the low half.
fn mul_flags(core: &mut Core, bytes: u8, low: u64, cut: bool) {
    match bytes {
        1 => core.flags.logic::<u8>(low),
        2 => core.flags.logic::<u16>(low),
        4 => core.flags.logic::<u32>(low),
        _ => core.flags.logic::<u64>(low),
    };
    core.flags.set_cf_of(cut, cut);
}

pub(super) fn mul_wide(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bytes = op.b;
    let m = mask(bytes);
    let product = (u128::from(core.get(AX)) & m) * (u128::from(core.get(op.a)) & m);
    put_wide(core, bytes, product);
    mul_flags(core, bytes, product as u64, product > m);
    Ok(())
}

pub(super) fn imul_wide(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bytes = op.b;
    let bits = u32::from(bytes) * 8;
    let extend = |v: u64| sign_extend(u128::from(v), bits);
    let product = extend(core.get(AX)) * extend(core.get(op.a));
    put_wide(core, bytes, product as u128);
    mul_flags(core, bytes, product as u64, sign_extend(product as u128, bits) != product);
    Ok(())
}

/// Writes quotient and remainder.
fn put_division(core: &mut Core, bytes: u8, quotient: u64, remainder: u64) {
    if bytes == 1 {
        core.set_sized(AX, 2, (quotient & 0xff) | ((remainder & 0xff) << 8));
    } else {
        core.set_sized(AX, bytes, quotient);
        core.set_sized(DX, bytes, remainder);
    }
}

pub(super) fn div(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bytes = op.b;
    if bytes == 4 {
        // By far the most frequent size, without 128-bit division.
        let divisor = core.get(op.a) & 0xffff_ffff;
        let dividend = (core.get(AX) & 0xffff_ffff) | (core.get(DX) << 32);
        let quotient = dividend.checked_div(divisor).ok_or(Exception::DivideError)?;
        if quotient > 0xffff_ffff {
            return Err(Exception::DivideError.into());
        }
        put_division(core, bytes, quotient, dividend % divisor);
        return Ok(());
    }
    let divisor = u128::from(core.get(op.a)) & mask(bytes);
    let dividend = get_wide(core, bytes);
    let quotient = dividend.checked_div(divisor).ok_or(Exception::DivideError)?;
    if quotient > mask(bytes) {
        return Err(Exception::DivideError.into());
    }
    put_division(core, bytes, quotient as u64, (dividend % divisor) as u64);
    Ok(())
}

pub(super) fn idiv(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bytes = op.b;
    if bytes == 4 {
        let divisor = i64::from(core.get(op.a) as i32);
        let dividend = ((core.get(AX) & 0xffff_ffff) | (core.get(DX) << 32)) as i64;
        let quotient = dividend.checked_div(divisor).ok_or(Exception::DivideError)?;
        if i64::from(quotient as i32) != quotient {
            return Err(Exception::DivideError.into());
        }
        put_division(core, bytes, quotient as u64, (dividend % divisor) as u64);
        return Ok(());
    }
    let bits = u32::from(bytes) * 8;
    let divisor = sign_extend(u128::from(core.get(op.a)), bits);
    let dividend = sign_extend(get_wide(core, bytes), 2 * bits);
    let quotient = dividend.checked_div(divisor).ok_or(Exception::DivideError)?;
    if sign_extend(quotient as u128, bits) != quotient {
        return Err(Exception::DivideError.into());
    }
    put_division(core, bytes, quotient as u64, (dividend % divisor) as u64);
    Ok(())
}
