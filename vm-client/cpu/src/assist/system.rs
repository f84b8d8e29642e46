//! Segments, CPUID and the conditional traps.

use vm_mem::Mmu;

use crate::core::{Core, Trap};
use crate::cpuid;
use crate::ir::{Op, Slot};
use crate::{Exception, Mode, TlsDescriptor, reg};

pub(super) fn cpuid(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    let leaf = core.get(reg::RAX as u8) as u32;
    let subleaf = core.get(reg::RCX as u8) as u32;
    let [a, b, c, d] = cpuid::query(core.mode, leaf, subleaf);
    for (r, value) in [(reg::RAX, a), (reg::RBX, b), (reg::RCX, c), (reg::RDX, d)] {
        core.set(r as u8, u64::from(value));
    }
    Ok(())
}

/// What a data selector refers to.
enum Descriptor {
    Null,
    /// The flat user data segment, or in 64-bit mode the code segments read as data.
    Flat,
    Tls(TlsDescriptor),
    /// The segment whose limit tells the processor's number, which is 0.
    Processor,
}

/// The user's selectors on an x86-64 kernel: flat data and the two code segments.
const USER_DATA: u16 = 0x2b;
const USER_CODE32: u16 = 0x23;
const USER_CODE64: u16 = 0x33;
const PROCESSOR: u16 = 0x7b;

fn look_up(core: &Core, selector: u16) -> Result<Descriptor, Exception> {
    if selector & !3 == 0 {
        return Ok(Descriptor::Null);
    }
    // Bit 2 asks for the LDT, which is empty. The requested privilege must not be above the segment's, 3, and cannot be.
    if selector & 4 != 0 {
        return Err(Exception::Protection);
    }
    match selector >> 3 {
        index @ 12..=14 => {
            let tls = core.tls[usize::from(index) - 12];
            if tls.present { Ok(Descriptor::Tls(tls)) } else { Err(Exception::Protection) }
        }
        _ if selector | 3 == PROCESSOR => Ok(Descriptor::Processor),
        _ if [USER_DATA, USER_CODE32, USER_CODE64].contains(&(selector | 3)) => Ok(Descriptor::Flat),
        _ => Err(Exception::Protection),
    }
}

/// Loads segment register `b` with the selector in `a`.
pub(super) fn load_segment(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    const SS: u8 = 2;
    let selector = core.get(op.a) as u16;
    let base = match look_up(core, selector)? {
        Descriptor::Null if op.b == SS && core.mode == Mode::I386 => return Err(Exception::Protection.into()),
        // The stack needs a writable data segment at exactly the current privilege.
        _ if op.b == SS && (selector & 3 != 3 || [USER_CODE32, USER_CODE64, PROCESSOR].contains(&selector)) => {
            return Err(Exception::Protection.into());
        }
        Descriptor::Null | Descriptor::Flat | Descriptor::Processor => 0,
        Descriptor::Tls(tls) => u64::from(tls.base),
    };
    core.selectors[usize::from(op.b % 6)] = selector;
    core.set(Slot::segment_base(usize::from(op.b % 6)).0, base);
    Ok(())
}

/// Traps unless `a` is the selector that code runs with already: far transfers stay within the flat code segment.
pub(super) fn check_flat_code(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let same = core.get(op.a) as u16 | 3 == core.selectors[1] | 3;
    if same { Ok(()) } else { Err(Exception::Protection.into()) }
}

/// `dst <- selector of segment register b`
pub(super) fn read_selector(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    core.set(op.dst, u64::from(core.selectors[usize::from(op.b % 6)]));
    Ok(())
}

pub(super) fn into(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    if core.flags.of() { Err(Trap::After(Exception::Overflow)) } else { Ok(()) }
}

/// Index `a`, bounds in `b` (lower in the low half), `c` bytes each.
pub(super) fn bound(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let bits = u32::from(op.c) * 8;
    let signed = |v: u64| ((v << (64 - bits)) as i64) >> (64 - bits);
    let index = signed(core.get(op.a));
    let bounds = core.get(op.b);
    if index < signed(bounds) || index > signed(bounds >> bits) {
        return Err(Exception::BoundRange.into());
    }
    Ok(())
}

/// `lsl` (`b` = 0), `lar` (1), `verr` (2), `verw` (3) of the selector in `a`: the zero flag tells whether it is valid, and
/// `dst` then holds the answer. Descriptors are those of an x86-64 Linux kernel.
pub(super) fn segment_limit(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let selector = core.get(op.a) as u16;
    let code = matches!(selector | 3, USER_CODE32 | USER_CODE64);
    // Access rights: present, privilege 3, then type; above them limit bits 16 to 19, granularity and size.
    let (limit, rights) = match look_up(core, selector) {
        Ok(Descriptor::Flat) if selector | 3 == USER_CODE64 => (0xffff_ffff, 0x00af_fb00),
        Ok(Descriptor::Flat) if code => (0xffff_ffff, 0x00cf_fb00),
        Ok(Descriptor::Flat) => (0xffff_ffff, 0x00cf_f300),
        Ok(Descriptor::Tls(tls)) => {
            let in_pages = tls.flags & 16 != 0;
            let limit = if in_pages { (tls.limit << 12) | 0xfff } else { tls.limit };
            (limit, 0x0040_f300 | (tls.limit & 0x000f_0000) | if in_pages { 0x0080_0000 } else { 0 })
        }
        Ok(Descriptor::Processor) => (0, 0x0040_f500),
        Ok(Descriptor::Null) | Err(_) => {
            core.flags.set_zf(false);
            return Ok(());
        }
    };
    if op.b == 3 && (code || selector | 3 == PROCESSOR) {
        core.flags.set_zf(false);
        return Ok(());
    }
    core.flags.set_zf(true);
    core.set(op.dst, u64::from(if op.b == 0 { limit } else { rights }));
    Ok(())
}
