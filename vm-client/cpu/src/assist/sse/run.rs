//! The assists of SSE and MMX: operands from slots, results to slots.

use vm_mem::{Mmu, VirtAddr};

use super::convert::{self, To};
use super::float::{self, Nans};
use super::string::{self, Found, Lengths};
use super::{Context, Kind, MXCSR_MASK, packed};
use crate::assist::fpu80::compare::eflags;
use crate::assist::vector::{self, Vector};
use crate::core::{Core, Trap};
use crate::flags::bit;
use crate::ir::{Op, Slot};
use crate::{Exception, F80, reg};

/// The second operand, or where bit 8 of `imm` says so the immediate byte as a shift count.
fn second(core: &Core, op: Op) -> u128 {
    if op.imm & 0x100 != 0 { u128::from(op.imm as u8) } else { core.v(op.b) }
}

/// `dst <- a op b` on vectors: the operation in `c`, an immediate byte in `imm`.
pub(in crate::assist) fn vector(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let function = vector::function(op.c).ok_or(Exception::InvalidOpcode)?;
    let (a, b) = (core.v(op.a), second(core, op));
    function(&a, &b, op.imm as u8, &mut core.vec[usize::from(op.dst & 31)]);
    Ok(())
}

/// The same with MXCSR: floating-point operations.
pub(in crate::assist) fn float(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    if let Some(result) = packed::on_host(core.mxcsr, op.c, core.v(op.a), core.v(op.b)) {
        core.set_v(op.dst, result);
        return Ok(());
    }
    let mut cx = Context::new(core.mxcsr);
    let result = packed::compute(&mut cx, op.c, core.v(op.a), core.v(op.b), op.imm as u8);
    cx.settle(&mut core.mxcsr)?;
    core.set_v(op.dst, result);
    Ok(())
}

fn kind(number: u8) -> Kind {
    if number & 1 == 0 { Kind::Single } else { Kind::Double }
}

/// Sets ZF, PF and CF as lane 0 of `a` compares with lane 0 of `b`; `c` is 0 for single and 1 for double precision, plus 2
/// when only signaling NaNs are invalid.
pub(in crate::assist) fn compare(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let mut cx = Context::new(core.mxcsr);
    let kind = kind(op.c);
    let nans = if op.c & 2 != 0 { Nans::Quiet } else { Nans::Signal };
    let lane = |v: u128| if kind == Kind::Single { u64::from(v as u32) } else { v as u64 };
    let ordering = float::compare(&mut cx, kind, lane(core.v(op.a)), lane(core.v(op.b)), nans);
    cx.settle(&mut core.mxcsr)?;
    core.flags.write(eflags(ordering), bit::ARITHMETIC);
    Ok(())
}

/// `dst <- integer from lane 0 of b`; `c` is 0 for single and 1 for double precision, plus 2 to truncate, plus 4 for 64 bits.
pub(in crate::assist) fn to_int(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let mut cx = Context::new(core.mxcsr);
    let kind = kind(op.c);
    let to = if op.c & 2 != 0 { To::Truncated } else { To::Rounded };
    let bits = if op.c & 4 != 0 { 64 } else { 32 };
    let value = core.v(op.b) as u64;
    let value = if kind == Kind::Single { value & 0xffff_ffff } else { value };
    let result = convert::to_int(&mut cx, kind, value, bits, to);
    cx.settle(&mut core.mxcsr)?;
    core.set(op.dst, result);
    Ok(())
}

/// `dst <- a with lane 0 from integer b`; `c` is 0 for single and 1 for double precision, plus 4 for 64-bit integers.
pub(in crate::assist) fn from_int(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let mut cx = Context::new(core.mxcsr);
    let kind = kind(op.c);
    let value = core.get(op.b) as i64;
    let value = if op.c & 4 != 0 { value } else { i64::from(value as i32) };
    if kind == Kind::Double && i64::from(value as i32) == value {
        // Exact.
        let bits = f64::from(value as i32).to_bits();
        core.set_v(op.dst, core.v(op.a) >> 64 << 64 | u128::from(bits));
        return Ok(());
    }
    let lane = convert::from_int(&mut cx, kind, value);
    cx.settle(&mut core.mxcsr)?;
    let bits = kind.bits();
    let old = core.v(op.a) >> bits << bits;
    core.set_v(op.dst, old | u128::from(lane));
    Ok(())
}

/// `dst <- sign bits of the lanes of b`, lanes of `c` bytes.
pub(in crate::assist) fn sign_mask(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let v = core.v(op.b);
    let mask = match op.c {
        1 => vector::byte_mask(v),
        4 => (0..4).fold(0, |m, i| m | ((v >> (32 * i + 31)) as u32 & 1) << i),
        _ => (0..2).fold(0, |m, i| m | ((v >> (64 * i + 63)) as u32 & 1) << i),
    };
    core.set(op.dst, u64::from(mask));
    Ok(())
}

/// `dst <- lane imm of b`, lanes of `c` bytes.
pub(in crate::assist) fn extract(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bits = u32::from(op.c) * 8;
    let lanes = 128 / bits.max(8);
    let value = (core.v(op.b) >> (bits * (op.imm as u32 & (lanes - 1)))) as u64;
    core.set(op.dst, if bits == 64 { value } else { value & ((1 << bits) - 1) });
    Ok(())
}

/// `dst <- a with lane imm replaced by slot b`, lanes of `c` bytes.
pub(in crate::assist) fn insert(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bits = u32::from(op.c) * 8;
    let lanes = 128 / bits.max(8);
    let at = bits * (op.imm as u32 & (lanes - 1));
    let mask = ((1u128 << bits) - 1) << at;
    let value = u128::from(core.get(op.b)) << at & mask;
    core.set_v(op.dst, core.v(op.a) & !mask | value);
    Ok(())
}

/// `dst <- a or b by the top bit of each lane of c`, lanes of `imm` bytes.
pub(in crate::assist) fn blend(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bits = (op.imm as u32 * 8).clamp(8, 64);
    let ones = (1u128 << bits) - 1;
    let selector = core.v(op.c);
    let mask = (0..128 / bits).fold(0, |m, i| {
        let at = bits * i;
        if selector >> (at + bits - 1) & 1 != 0 { m | ones << at } else { m }
    });
    core.set_v(op.dst, core.v(op.a) & !mask | core.v(op.b) & mask);
    Ok(())
}

/// `ptest a, b`.
pub(in crate::assist) fn test(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let (a, b) = (core.v(op.a), core.v(op.b));
    let zf = if a & b == 0 { bit::ZF } else { 0 };
    let cf = if !a & b == 0 { bit::CF } else { 0 };
    core.flags.write(zf | cf, bit::ARITHMETIC);
    Ok(())
}

/// The string comparison that `imm` describes, with its flags. Bit 8 of `imm` says that lengths are explicit, bit 9 that
/// they are 64-bit.
fn string_compare(core: &mut Core, op: Op) -> Found {
    let imm = op.imm as u8;
    let lengths = if op.imm & 0x100 == 0 {
        Lengths::Implicit
    } else {
        let cut = |v: u64| if op.imm & 0x200 != 0 { v as i64 } else { i64::from(v as i32) };
        Lengths::Explicit(cut(core.get(reg::RAX as u8)), cut(core.get(reg::RDX as u8)))
    };
    let found = string::compare(core.v(op.a), core.v(op.b), imm, lengths);
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    let flags = flag(found.bits != 0, bit::CF)
        | flag(found.second_ends, bit::ZF)
        | flag(found.first_ends, bit::SF)
        | flag(found.bits & 1 != 0, bit::OF);
    core.flags.write(flags, bit::ARITHMETIC);
    found
}

/// `dst <- index` of a string comparison of `a` and `b`.
pub(in crate::assist) fn string_index(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let index = string_compare(core, op).index(op.imm as u8);
    core.set(op.dst, u64::from(index));
    Ok(())
}

/// `dst <- mask` of a string comparison of `a` and `b`.
pub(in crate::assist) fn string_mask(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let mask = string_compare(core, op).mask(op.imm as u8);
    core.set_v(op.dst, mask);
    Ok(())
}

/// `dst <- CRC-32C of c bytes of b, continuing a`.
pub(in crate::assist) fn crc32(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let crc = string::crc32(core.get(op.a) as u32, core.get(op.b), op.c);
    core.set(op.dst, u64::from(crc));
    Ok(())
}

/// Stores the bytes of `b` whose byte in `c` has its top bit set at the address in slot `a`; `imm` bytes at most.
pub(in crate::assist) fn masked_store(core: &mut Core, mmu: &mut Mmu, op: Op) -> Result<(), Trap> {
    let (value, selector) = (core.v(op.b).to_le_bytes(), vector::byte_mask(core.v(op.c)));
    let at = |i: u32| VirtAddr(core.get(op.a).wrapping_add(u64::from(i)) & core.address_mask);
    let chosen = || (0..(op.imm as u32).min(16)).filter(|i| selector >> i & 1 != 0);
    // Processors here ask for all the bytes, chosen or not, as soon as one is.
    if chosen().next().is_some() {
        mmu.check_store(at(0), (op.imm as usize).min(16))?;
    }
    for i in chosen() {
        mmu.store(at(i), value[i as usize])?;
    }
    Ok(())
}

/// `ldmxcsr` from slot `a`.
pub(in crate::assist) fn load_mxcsr(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let value = core.get(op.a) as u32;
    if value & !MXCSR_MASK != 0 {
        return Err(Exception::Protection.into());
    }
    core.mxcsr = value;
    Ok(())
}

/// `dst <- MXCSR`
pub(in crate::assist) fn store_mxcsr(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    core.set(op.dst, u64::from(core.mxcsr));
    Ok(())
}

fn no_exception_pending(core: &Core) -> Result<(), Exception> {
    if core.fpu.exception_pending() { Err(Exception::FloatingPoint) } else { Ok(()) }
}

/// `vector dst <- MMX register b`, after the check for pending x87 exceptions; the stack becomes MMX's at the write.
pub(in crate::assist) fn mmx_get(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    no_exception_pending(core)?;
    let value = core.fpu.regs[usize::from(op.b & 7)].mantissa;
    core.set_v(op.dst, u128::from(value));
    Ok(())
}

/// Faults if an x87 exception is pending: the first step of MMX instructions that read no register before memory.
pub(in crate::assist) fn mmx_check(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    Ok(no_exception_pending(core)?)
}

/// `MMX register c <- low half of vector b`, all registers becoming valid; with `imm` nothing is written.
pub(in crate::assist) fn mmx_put(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    core.fpu.enter_mmx();
    if op.imm == 0 {
        let mantissa = core.v(op.b) as u64;
        core.fpu.regs[usize::from(op.c & 7)] = F80 { mantissa, sign_exponent: 0xffff };
    }
    Ok(())
}

/// `dst <- a op b` on the low halves of vectors, as MMX defines the operation.
pub(in crate::assist) fn vector_64(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let operation = Vector::from_number(op.c).ok_or(Exception::InvalidOpcode)?;
    let result = vector::compute_64(operation, core.v(op.a) as u64, second(core, op) as u64, op.imm as u8);
    core.set_v(op.dst, u128::from(result));
    Ok(())
}

/// `dst <- two 32-bit integers from the lanes of b`; `c` as for [`to_int`].
pub(in crate::assist) fn to_int_pair(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let mut cx = Context::new(core.mxcsr);
    let to = if op.c & 2 != 0 { To::Truncated } else { To::Rounded };
    let result = packed::to_ints(&mut cx, kind(op.c), core.v(op.b), to, 2);
    cx.settle(&mut core.mxcsr)?;
    core.set_v(op.dst, result);
    Ok(())
}

/// Bytes of an FXSAVE image that hold registers; the rest is reserved and left alone.
const FXSAVE_USED: usize = 416;

/// `fxsave` at the address in slot `a`.
pub(in crate::assist) fn fxsave(core: &mut Core, mmu: &mut Mmu, op: Op) -> Result<(), Trap> {
    let addr = core.get(op.a);
    if addr & 15 != 0 {
        return Err(Exception::Protection.into());
    }
    mmu.check_store(VirtAddr(addr), 512)?;
    let image = crate::fxsave::image(&core.fpu, core.mxcsr, &core.vec);
    for (i, chunk) in image[..FXSAVE_USED].as_chunks::<16>().0.iter().enumerate() {
        // The registers that 32-bit mode does not have are not written.
        if (18..26).contains(&i) && core.mode == crate::Mode::I386 {
            continue;
        }
        mmu.store(VirtAddr(addr + 16 * i as u64), u128::from_le_bytes(*chunk))?;
    }
    Ok(())
}

/// `fxrstor` from the address in slot `a`.
pub(in crate::assist) fn fxrstor(core: &mut Core, mmu: &mut Mmu, op: Op) -> Result<(), Trap> {
    let addr = core.get(op.a);
    if addr & 15 != 0 {
        return Err(Exception::Protection.into());
    }
    let mut image = [0; 512];
    for (i, chunk) in image.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        *chunk = mmu.load::<u128>(VirtAddr(addr + 16 * i as u64))?.to_le_bytes();
    }
    let registers = if core.mode == crate::Mode::I386 { 8 } else { 16 };
    crate::fxsave::restore(&image, &mut core.fpu, &mut core.mxcsr, &mut core.vec[..registers])
        .map_err(|_| Exception::Protection)?;
    debug_assert_eq!(core.get(Slot::ZERO.0), 0);
    Ok(())
}
