//! Segments, CPUID and the conditional traps.

use vm_mem::Mmu;

use crate::core::{Core, Trap};
use crate::cpuid;
use crate::ir::{Op, Slot};
use crate::{Exception, Ldt, Mode, Segment, TlsDescriptor, reg};

pub(super) fn cpuid(core: &mut Core, _: &mut Mmu, _: Op) -> Result<(), Trap> {
    let leaf = core.get(reg::RAX as u8) as u32;
    let subleaf = core.get(reg::RCX as u8) as u32;
    let [a, b, c, d] = cpuid::query(core.mode, leaf, subleaf);
    for (r, value) in [(reg::RAX, a), (reg::RBX, b), (reg::RCX, c), (reg::RDX, d)] {
        core.set(r as u8, u64::from(value));
    }
    Ok(())
}

/// What a selector refers to.
enum Descriptor {
    Null,
    /// The flat user data segment, or in 64-bit mode the code segments read as data.
    Flat,
    /// A thread-local or local one, present or not.
    Own(TlsDescriptor),
    /// The segment whose limit tells the processor's number, which is 0.
    Processor,
}

/// The user's selectors on an x86-64 kernel: flat data and the two code segments.
const USER_DATA: u16 = 0x2b;
const USER_CODE32: u16 = 0x23;
const USER_CODE64: u16 = 0x33;
const PROCESSOR: u16 = 0x7b;

/// The error code of an exception about a selector.
fn code_of(selector: u16) -> u16 {
    selector & !3
}

/// What a selector refers to; nothing if there is no such descriptor.
fn look_up(core: &Core, selector: u16) -> Option<Descriptor> {
    // The requested privilege must not be above the segment's, 3, and cannot be.
    if selector & !3 == 0 {
        return Some(Descriptor::Null);
    }
    if selector & Ldt::INDICATOR != 0 {
        return core.ldt.as_ref()?.get(usize::from(selector >> 3)).map(Descriptor::Own);
    }
    match selector >> 3 {
        index @ 12..=14 => {
            let tls = core.tls[usize::from(index) - 12];
            (tls != TlsDescriptor::default()).then_some(Descriptor::Own(tls))
        }
        _ if selector | 3 == PROCESSOR => Some(Descriptor::Processor),
        _ if [USER_DATA, USER_CODE32, USER_CODE64].contains(&(selector | 3)) => Some(Descriptor::Flat),
        _ => None,
    }
}

/// Loads segment register `b` with the selector in `a`; `c` is 1 where that loads a pointer with it.
pub(super) fn load_segment(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let stack = op.b == Segment::Ss as u8;
    let selector = core.get(op.a) as u16;
    let refused = Exception::ProtectionOf(code_of(selector));
    let base = match look_up(core, selector).ok_or(refused)? {
        Descriptor::Null if stack && core.mode == Mode::I386 => return Err(refused.into()),
        // The stack needs a writable data segment at exactly the current privilege.
        _ if stack && (selector & 3 != 3 || [USER_CODE32, USER_CODE64, PROCESSOR].contains(&selector)) => {
            return Err(refused.into());
        }
        Descriptor::Null | Descriptor::Flat | Descriptor::Processor => 0,
        Descriptor::Own(own) if stack && !own.is_writable() || !own.is_readable() => return Err(refused.into()),
        Descriptor::Own(own) if !own.present && stack => return Err(Exception::StackFault(code_of(selector)).into()),
        Descriptor::Own(own) if !own.present => return Err(Exception::SegmentNotPresent(code_of(selector)).into()),
        Descriptor::Own(own) => u64::from(own.base),
    };
    core.selectors[usize::from(op.b % 6)] = selector;
    core.set(Slot::segment_base(usize::from(op.b % 6)).0, base);
    core.stack_loaded = stack && op.c == 0;
    Ok(())
}

/// Traps unless a far transfer may go through the selector in `a`: to the flat code segment, or to a local one.
pub(super) fn check_code(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let selector = core.get(op.a) as u16;
    if selector | 3 == core.selectors[Segment::Cs as usize] | 3 || selector | 3 == flat_code(core) {
        return Ok(());
    }
    let refused = Exception::ProtectionOf(code_of(selector));
    match look_up(core, selector).ok_or(refused)? {
        Descriptor::Own(own) if own.is_code() && core.mode == Mode::I386 && selector & Ldt::INDICATOR != 0 => {
            if own.present { Ok(()) } else { Err(Exception::SegmentNotPresent(code_of(selector)).into()) }
        }
        _ => Err(refused.into()),
    }
}

fn flat_code(core: &Core) -> u16 {
    if core.mode == Mode::I386 { USER_CODE32 } else { USER_CODE64 }
}

/// The end of a far transfer that was checked: if the selector in `a` is another code segment than the present one, it is
/// loaded and code goes on at the offset in `b`.
pub(super) fn transfer(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let selector = core.get(op.a) as u16 | 3;
    if selector == core.selectors[Segment::Cs as usize] {
        return Ok(());
    }
    let base = match look_up(core, selector) {
        Some(Descriptor::Own(own)) => u64::from(own.base),
        _ => 0,
    };
    core.selectors[Segment::Cs as usize] = selector;
    core.set(Slot::segment_base(Segment::Cs as usize).0, base);
    Err(Trap::Transferred(core.get(op.b) & core.address_mask))
}

/// `int` with a number that is neither the kernel's gate nor a breakpoint: `a` is the number. The gate of #OF is the user's.
pub(super) fn interrupt(_: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    if op.a == 4 {
        return Err(Trap::After(Exception::Overflow));
    }
    Err(Exception::ProtectionOf(u16::from(op.a) << 3 | 2).into())
}

/// `dst` is the selector in `a` with a privilege at least as low as that of the one in `b`; the zero flag tells whether it
/// was changed.
pub(super) fn arpl(core: &mut Core, _: &mut Mmu, op: Op) -> Result<(), Trap> {
    let (selector, asked) = (core.get(op.a), core.get(op.b) & 3);
    let lower = selector & 3 < asked;
    core.flags.set_zf(lower);
    core.set(op.dst, if lower { selector & !3 | asked } else { selector });
    Ok(())
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
    let writes = op.b == 3;
    let invalid = |core: &mut Core| {
        core.flags.set_zf(false);
        Ok(())
    };
    // Access rights: present, privilege 3, then type; above them limit bits 16 to 19, granularity and size.
    let (limit, rights, writable) = match look_up(core, selector) {
        Some(Descriptor::Flat) if selector | 3 == USER_CODE64 => (0xffff_ffff, 0x00af_fb00, false),
        Some(Descriptor::Flat) if selector | 3 == USER_CODE32 => (0xffff_ffff, 0x00cf_fb00, false),
        Some(Descriptor::Flat) => (0xffff_ffff, 0x00cf_f300, true),
        Some(Descriptor::Own(own)) if op.b == 2 && !own.is_readable() => return invalid(core),
        Some(Descriptor::Own(own)) => (own.byte_limit(), own.attributes(), own.is_writable()),
        Some(Descriptor::Processor) => (0, 0x0040_f500, false),
        Some(Descriptor::Null) | None => return invalid(core),
    };
    if writes && !writable {
        return invalid(core);
    }
    core.flags.set_zf(true);
    core.set(op.dst, u64::from(if op.b == 0 { limit } else { rights }));
    Ok(())
}
