//! Runs operations: the one loop everything waits for.

use vm_mem::{Mmu, VirtAddr};

use super::cache::{BlockId, Cache, Cached, Stamps};
use crate::assist;
use crate::core::{Core, Trap};
use crate::flags::{self, Int};
use crate::ir::{Code, Op};
use crate::{Exception, reg};

/// Why the loop ended.
pub(super) enum Stop {
    /// `core.rip` is where to go on. If `from` is given, that block should be linked, on that side.
    Next { from: Option<(BlockId, usize)> },
    /// The operation at this index failed.
    Trap { block: BlockId, op: usize, trap: Trap },
    /// The operation at this index is done and has changed bytes of frames that hold code.
    CodeWritten { block: BlockId, op: usize },
    /// An exit operation.
    Exit { block: BlockId, op: usize },
}

const RSP: u8 = reg::RSP as u8;

/// The side of a block's links for going on behind it.
const BEHIND: usize = 0;
/// The side for its target.
const TARGET: usize = 1;

/// Replaces a slot by the size of the operation.
#[inline(always)]
fn put<T: Int>(core: &mut Core, slot: u8, value: u64) {
    let value = match T::BITS {
        8 => (core.get(slot) & !0xff) | (value & 0xff),
        16 => (core.get(slot) & !0xffff) | (value & 0xffff),
        32 => value & 0xffff_ffff,
        _ => value,
    };
    core.set(slot, value);
}

/// The second operand.
#[inline(always)]
fn second(core: &Core, op: &Op) -> u64 {
    core.get(op.b).wrapping_add(op.imm as u64)
}

fn plain_adc(core: &Core, op: &Op) -> u64 {
    core.get(op.a).wrapping_add(second(core, op)).wrapping_add(u64::from(core.flags.cf()))
}

fn plain_sbb(core: &Core, op: &Op) -> u64 {
    core.get(op.a).wrapping_sub(second(core, op)).wrapping_sub(u64::from(core.flags.cf()))
}

#[inline(always)]
fn simple_address(core: &Core, op: &Op) -> VirtAddr {
    VirtAddr(core.get(op.a).wrapping_add(op.imm as u64) & core.address_mask)
}

#[inline(always)]
fn indexed_address(core: &Core, op: &Op, disp: i64) -> VirtAddr {
    let sum = core.get(op.d).wrapping_add(core.get(op.a)).wrapping_add(core.get(op.b) << (op.c & 3));
    VirtAddr(sum.wrapping_add(disp as u64) & core.address_mask)
}

#[inline(always)]
fn aligned(core: &Core, op: &Op) -> Result<VirtAddr, Trap> {
    let addr = indexed_address(core, op, op.imm);
    if addr.0 & 15 == 0 { Ok(addr) } else { Err(Trap::Exception(Exception::Protection)) }
}

#[inline(always)]
fn load<T: vm_mem::Scalar + Into<u64>>(core: &mut Core, mmu: &mut Mmu, dst: u8, addr: VirtAddr) -> Result<(), Trap> {
    let value: T = mmu.load(addr)?;
    core.set(dst, value.into());
    Ok(())
}

/// Runs from an operation of a block, through linked blocks, until there is something to tell. `ops` are the operations
/// of all blocks, or of a lone instruction (`alone`) whose links must not be followed.
pub(super) fn run(
    core: &mut Core,
    mmu: &mut Mmu,
    cache: &Cache,
    ops: &[Op],
    (mut id, mut at): (BlockId, usize),
    stamps: Stamps,
) -> Stop {
    let mut block: &Cached = &cache.blocks[id as usize];

    // Finishes a block and goes on with a linked one, or leaves.
    macro_rules! follow {
        ($side:expr, $target:expr) => {{
            core.fuel -= i64::from(block.insns);
            let link = block.links[$side];
            if (link.stamp == stamps.far || link.stamp == stamps.near) && core.fuel > 0 {
                let next = &cache.blocks[link.block as usize];
                if !next.is_hot() {
                    id = link.block;
                    block = next;
                    at = block.first as usize;
                    continue;
                }
            }
            core.rip = $target;
            return Stop::Next { from: Some((id, $side)) };
        }};
    }
    macro_rules! branch {
        ($op:expr, $taken:expr) => {{ if $taken { follow!(TARGET, $op.imm as u64) } else { follow!(BEHIND, block.end) } }};
    }
    // Finishes a block and goes on at an address only known now.
    macro_rules! jump_to {
        ($target:expr) => {{
            let target = $target;
            core.fuel -= i64::from(block.insns);
            core.rip = target;
            if block.jumps {
                cache.note_jump(block.end, target);
            }
            match cache.quick(target, stamps.far) {
                Some(next) if core.fuel > 0 && !cache.blocks[next as usize].is_hot() => {
                    id = next;
                    block = &cache.blocks[id as usize];
                    at = block.first as usize;
                    continue;
                }
                _ => return Stop::Next { from: None },
            }
        }};
    }
    // A fused comparison and branch: the constant is the low half of the immediate, the target the high one.
    macro_rules! compare_branch {
        ($op:expr, $holds:expr) => {{
            let (a, b) = (core.get($op.a) as u32, (core.get($op.b) as u32).wrapping_add($op.imm as u32));
            core.flags.sub::<u32>(u64::from(a), u64::from(b), 0);
            let holds: fn(u32, u32) -> bool = $holds;
            if holds(a, b) {
                follow!(TARGET, $op.store_value() as u64 & 0xffff_ffff)
            } else {
                follow!(BEHIND, block.end)
            }
        }};
    }
    macro_rules! test_branch {
        ($op:expr, $holds:expr) => {{
            let r = core.get($op.a) as u32 & (core.get($op.b) as u32).wrapping_add($op.imm as u32);
            core.flags.logic::<u32>(u64::from(r));
            let holds: fn(u32) -> bool = $holds;
            if holds(r) { follow!(TARGET, $op.store_value() as u64 & 0xffff_ffff) } else { follow!(BEHIND, block.end) }
        }};
    }
    macro_rules! attempt {
        ($result:expr) => {
            match $result {
                Ok(value) => value,
                Err(error) => return Stop::Trap { block: id, op: at, trap: Trap::from(error) },
            }
        };
    }
    macro_rules! after_store {
        () => {
            if mmu.has_code_writes() {
                return Stop::CodeWritten { block: id, op: at };
            }
        };
    }
    // dst <- f(a, b + imm)
    macro_rules! binary {
        ($t:ty, $op:expr, $f:expr) => {{
            let (a, b) = (core.get($op.a), second(core, $op));
            let f: fn(u64, u64) -> u64 = $f;
            put::<$t>(core, $op.dst, f(a, b));
        }};
    }
    // The same, with flags.
    macro_rules! flagged {
        ($t:ty, $op:expr, $method:ident $($carry:expr)?) => {{
            let (a, b) = (core.get($op.a), second(core, $op));
            let r = core.flags.$method::<$t>(a, b $(, $carry)?);
            put::<$t>(core, $op.dst, r);
        }};
    }
    macro_rules! logic {
        ($t:ty, $op:expr, $operator:tt) => {{
            let r = core.get($op.a) $operator second(core, $op);
            core.flags.logic::<$t>(r);
            put::<$t>(core, $op.dst, r);
        }};
    }
    macro_rules! store {
        ($t:ty, $addr:expr, $value:expr) => {{
            let addr = $addr;
            attempt!(mmu.store(addr, $value as $t));
            after_store!();
        }};
    }
    macro_rules! double {
        ($t:ty, $op:expr, $method:ident) => {{
            let count = core.get($op.c).wrapping_add($op.imm as u64);
            let r = core.flags.$method::<$t>(core.get($op.a), core.get($op.b), count);
            put::<$t>(core, $op.dst, r);
        }};
        (plain $t:ty, $op:expr, $function:ident) => {{
            let mask = if <$t>::BITS == 64 { 63 } else { 31 };
            let count = core.get($op.c).wrapping_add($op.imm as u64) & mask;
            let r = flags::$function::<$t>(core.get($op.a), core.get($op.b), count as u32);
            put::<$t>(core, $op.dst, r);
        }};
    }
    macro_rules! scan {
        ($t:ty, $op:expr, $f:expr) => {{
            let source = <$t as Int>::low(second(core, $op));
            let f: fn(u64) -> u32 = $f;
            let r = if source == 0 { core.get($op.a) } else { u64::from(f(source)) };
            core.flags.logic::<$t>(source);
            put::<$t>(core, $op.dst, r);
        }};
    }
    macro_rules! vload {
        ($t:ty, $op:expr) => {{
            let value: $t = attempt!(mmu.load(indexed_address(core, $op, $op.imm)));
            core.set_v($op.dst, u128::from(value));
        }};
    }

    loop {
        let op = &ops[at];
        match op.code {
            Code::Mov8 => put::<u8>(core, op.dst, second(core, op)),
            Code::Mov16 => put::<u16>(core, op.dst, second(core, op)),
            Code::Mov32 => put::<u32>(core, op.dst, second(core, op)),
            Code::Mov64 => core.set(op.dst, second(core, op)),

            Code::Add8 => binary!(u8, op, u64::wrapping_add),
            Code::Add16 => binary!(u16, op, u64::wrapping_add),
            Code::Add32 => binary!(u32, op, u64::wrapping_add),
            Code::Add64 => binary!(u64, op, u64::wrapping_add),
            Code::Sub8 => binary!(u8, op, u64::wrapping_sub),
            Code::Sub16 => binary!(u16, op, u64::wrapping_sub),
            Code::Sub32 => binary!(u32, op, u64::wrapping_sub),
            Code::Sub64 => binary!(u64, op, u64::wrapping_sub),
            Code::And8 => binary!(u8, op, |a, b| a & b),
            Code::And16 => binary!(u16, op, |a, b| a & b),
            Code::And32 => binary!(u32, op, |a, b| a & b),
            Code::And64 => binary!(u64, op, |a, b| a & b),
            Code::Or8 => binary!(u8, op, |a, b| a | b),
            Code::Or16 => binary!(u16, op, |a, b| a | b),
            Code::Or32 => binary!(u32, op, |a, b| a | b),
            Code::Or64 => binary!(u64, op, |a, b| a | b),
            Code::Xor8 => binary!(u8, op, |a, b| a ^ b),
            Code::Xor16 => binary!(u16, op, |a, b| a ^ b),
            Code::Xor32 => binary!(u32, op, |a, b| a ^ b),
            Code::Xor64 => binary!(u64, op, |a, b| a ^ b),
            Code::Adc8 => put::<u8>(core, op.dst, plain_adc(core, op)),
            Code::Adc16 => put::<u16>(core, op.dst, plain_adc(core, op)),
            Code::Adc32 => put::<u32>(core, op.dst, plain_adc(core, op)),
            Code::Adc64 => core.set(op.dst, plain_adc(core, op)),
            Code::Sbb8 => put::<u8>(core, op.dst, plain_sbb(core, op)),
            Code::Sbb16 => put::<u16>(core, op.dst, plain_sbb(core, op)),
            Code::Sbb32 => put::<u32>(core, op.dst, plain_sbb(core, op)),
            Code::Sbb64 => core.set(op.dst, plain_sbb(core, op)),
            Code::Shl8 => binary!(u8, op, |a, b| a << (b & 31)),
            Code::Shl16 => binary!(u16, op, |a, b| a << (b & 31)),
            Code::Shl32 => binary!(u32, op, |a, b| a << (b & 31)),
            Code::Shl64 => binary!(u64, op, |a, b| a << (b & 63)),
            Code::Shr8 => binary!(u8, op, |a, b| u8::low(a) >> (b & 31)),
            Code::Shr16 => binary!(u16, op, |a, b| u16::low(a) >> (b & 31)),
            Code::Shr32 => binary!(u32, op, |a, b| u32::low(a) >> (b & 31)),
            Code::Shr64 => binary!(u64, op, |a, b| a >> (b & 63)),
            Code::Sar8 => binary!(u8, op, |a, b| ((u8::signed(a) as i64) >> (b & 31)) as u64),
            Code::Sar16 => binary!(u16, op, |a, b| ((u16::signed(a) as i64) >> (b & 31)) as u64),
            Code::Sar32 => binary!(u32, op, |a, b| ((u32::signed(a) as i64) >> (b & 31)) as u64),
            Code::Sar64 => binary!(u64, op, |a, b| ((a as i64) >> (b & 63)) as u64),
            Code::Rol8 => binary!(u8, op, flags::rotate_left::<u8>),
            Code::Rol16 => binary!(u16, op, flags::rotate_left::<u16>),
            Code::Rol32 => binary!(u32, op, flags::rotate_left::<u32>),
            Code::Rol64 => binary!(u64, op, flags::rotate_left::<u64>),
            Code::Ror8 => binary!(u8, op, flags::rotate_right::<u8>),
            Code::Ror16 => binary!(u16, op, flags::rotate_right::<u16>),
            Code::Ror32 => binary!(u32, op, flags::rotate_right::<u32>),
            Code::Ror64 => binary!(u64, op, flags::rotate_right::<u64>),
            Code::Mul16 => binary!(u16, op, u64::wrapping_mul),
            Code::Mul32 => binary!(u32, op, u64::wrapping_mul),
            Code::Mul64 => binary!(u64, op, u64::wrapping_mul),

            Code::AddF8 => flagged!(u8, op, add 0),
            Code::AddF16 => flagged!(u16, op, add 0),
            Code::AddF32 => flagged!(u32, op, add 0),
            Code::AddF64 => flagged!(u64, op, add 0),
            Code::SubF8 => flagged!(u8, op, sub 0),
            Code::SubF16 => flagged!(u16, op, sub 0),
            Code::SubF32 => flagged!(u32, op, sub 0),
            Code::SubF64 => flagged!(u64, op, sub 0),
            Code::AndF8 => logic!(u8, op, &),
            Code::AndF16 => logic!(u16, op, &),
            Code::AndF32 => logic!(u32, op, &),
            Code::AndF64 => logic!(u64, op, &),
            Code::OrF8 => logic!(u8, op, |),
            Code::OrF16 => logic!(u16, op, |),
            Code::OrF32 => logic!(u32, op, |),
            Code::OrF64 => logic!(u64, op, |),
            Code::XorF8 => logic!(u8, op, ^),
            Code::XorF16 => logic!(u16, op, ^),
            Code::XorF32 => logic!(u32, op, ^),
            Code::XorF64 => logic!(u64, op, ^),
            Code::CmpF8 => {
                core.flags.sub::<u8>(core.get(op.a), second(core, op), 0);
            }
            Code::CmpF16 => {
                core.flags.sub::<u16>(core.get(op.a), second(core, op), 0);
            }
            Code::CmpF32 => {
                core.flags.sub::<u32>(core.get(op.a), second(core, op), 0);
            }
            Code::CmpF64 => {
                core.flags.sub::<u64>(core.get(op.a), second(core, op), 0);
            }
            Code::TestF8 => {
                core.flags.logic::<u8>(core.get(op.a) & second(core, op));
            }
            Code::TestF16 => {
                core.flags.logic::<u16>(core.get(op.a) & second(core, op));
            }
            Code::TestF32 => {
                core.flags.logic::<u32>(core.get(op.a) & second(core, op));
            }
            Code::TestF64 => {
                core.flags.logic::<u64>(core.get(op.a) & second(core, op));
            }
            Code::AdcF8 => flagged!(u8, op, add u64::from(core.flags.cf())),
            Code::AdcF16 => flagged!(u16, op, add u64::from(core.flags.cf())),
            Code::AdcF32 => flagged!(u32, op, add u64::from(core.flags.cf())),
            Code::AdcF64 => flagged!(u64, op, add u64::from(core.flags.cf())),
            Code::SbbF8 => flagged!(u8, op, sub u64::from(core.flags.cf())),
            Code::SbbF16 => flagged!(u16, op, sub u64::from(core.flags.cf())),
            Code::SbbF32 => flagged!(u32, op, sub u64::from(core.flags.cf())),
            Code::SbbF64 => flagged!(u64, op, sub u64::from(core.flags.cf())),
            Code::IncF8 => {
                let r = core.flags.inc::<u8>(core.get(op.a));
                put::<u8>(core, op.dst, r);
            }
            Code::IncF16 => {
                let r = core.flags.inc::<u16>(core.get(op.a));
                put::<u16>(core, op.dst, r);
            }
            Code::IncF32 => {
                let r = core.flags.inc::<u32>(core.get(op.a));
                put::<u32>(core, op.dst, r);
            }
            Code::IncF64 => {
                let r = core.flags.inc::<u64>(core.get(op.a));
                put::<u64>(core, op.dst, r);
            }
            Code::DecF8 => {
                let r = core.flags.dec::<u8>(core.get(op.a));
                put::<u8>(core, op.dst, r);
            }
            Code::DecF16 => {
                let r = core.flags.dec::<u16>(core.get(op.a));
                put::<u16>(core, op.dst, r);
            }
            Code::DecF32 => {
                let r = core.flags.dec::<u32>(core.get(op.a));
                put::<u32>(core, op.dst, r);
            }
            Code::DecF64 => {
                let r = core.flags.dec::<u64>(core.get(op.a));
                put::<u64>(core, op.dst, r);
            }
            Code::ShlF8 => flagged!(u8, op, shl),
            Code::ShlF16 => flagged!(u16, op, shl),
            Code::ShlF32 => flagged!(u32, op, shl),
            Code::ShlF64 => flagged!(u64, op, shl),
            Code::ShrF8 => flagged!(u8, op, shr),
            Code::ShrF16 => flagged!(u16, op, shr),
            Code::ShrF32 => flagged!(u32, op, shr),
            Code::ShrF64 => flagged!(u64, op, shr),
            Code::SarF8 => flagged!(u8, op, sar),
            Code::SarF16 => flagged!(u16, op, sar),
            Code::SarF32 => flagged!(u32, op, sar),
            Code::SarF64 => flagged!(u64, op, sar),
            Code::RolF8 => flagged!(u8, op, rol),
            Code::RolF16 => flagged!(u16, op, rol),
            Code::RolF32 => flagged!(u32, op, rol),
            Code::RolF64 => flagged!(u64, op, rol),
            Code::RorF8 => flagged!(u8, op, ror),
            Code::RorF16 => flagged!(u16, op, ror),
            Code::RorF32 => flagged!(u32, op, ror),
            Code::RorF64 => flagged!(u64, op, ror),
            Code::RclF8 => flagged!(u8, op, rcl),
            Code::RclF16 => flagged!(u16, op, rcl),
            Code::RclF32 => flagged!(u32, op, rcl),
            Code::RclF64 => flagged!(u64, op, rcl),
            Code::RcrF8 => flagged!(u8, op, rcr),
            Code::RcrF16 => flagged!(u16, op, rcr),
            Code::RcrF32 => flagged!(u32, op, rcr),
            Code::RcrF64 => flagged!(u64, op, rcr),
            Code::Rcl8 => {
                let r = flags::rotate_through::<u8>(core.get(op.a), core.flags.cf(), second(core, op), false).0;
                put::<u8>(core, op.dst, r);
            }
            Code::Rcl16 => {
                let r = flags::rotate_through::<u16>(core.get(op.a), core.flags.cf(), second(core, op), false).0;
                put::<u16>(core, op.dst, r);
            }
            Code::Rcl32 => {
                let r = flags::rotate_through::<u32>(core.get(op.a), core.flags.cf(), second(core, op), false).0;
                put::<u32>(core, op.dst, r);
            }
            Code::Rcl64 => {
                let r = flags::rotate_through::<u64>(core.get(op.a), core.flags.cf(), second(core, op), false).0;
                put::<u64>(core, op.dst, r);
            }
            Code::Rcr8 => {
                let r = flags::rotate_through::<u8>(core.get(op.a), core.flags.cf(), second(core, op), true).0;
                put::<u8>(core, op.dst, r);
            }
            Code::Rcr16 => {
                let r = flags::rotate_through::<u16>(core.get(op.a), core.flags.cf(), second(core, op), true).0;
                put::<u16>(core, op.dst, r);
            }
            Code::Rcr32 => {
                let r = flags::rotate_through::<u32>(core.get(op.a), core.flags.cf(), second(core, op), true).0;
                put::<u32>(core, op.dst, r);
            }
            Code::Rcr64 => {
                let r = flags::rotate_through::<u64>(core.get(op.a), core.flags.cf(), second(core, op), true).0;
                put::<u64>(core, op.dst, r);
            }
            Code::MulF16 => flagged!(u16, op, mul),
            Code::MulF32 => flagged!(u32, op, mul),
            Code::MulF64 => flagged!(u64, op, mul),
            Code::ShldF16 => double!(u16, op, shld),
            Code::ShldF32 => double!(u32, op, shld),
            Code::ShldF64 => double!(u64, op, shld),
            Code::ShrdF16 => double!(u16, op, shrd),
            Code::ShrdF32 => double!(u32, op, shrd),
            Code::ShrdF64 => double!(u64, op, shrd),
            Code::Shld16 => double!(plain u16, op, double_left),
            Code::Shld32 => double!(plain u32, op, double_left),
            Code::Shld64 => double!(plain u64, op, double_left),
            Code::Shrd16 => double!(plain u16, op, double_right),
            Code::Shrd32 => double!(plain u32, op, double_right),
            Code::Shrd64 => double!(plain u64, op, double_right),
            Code::BsfF16 => scan!(u16, op, u64::trailing_zeros),
            Code::BsfF32 => scan!(u32, op, u64::trailing_zeros),
            Code::BsfF64 => scan!(u64, op, u64::trailing_zeros),
            Code::BsrF16 => scan!(u16, op, |v| 63 - v.leading_zeros()),
            Code::BsrF32 => scan!(u32, op, |v| 63 - v.leading_zeros()),
            Code::BsrF64 => scan!(u64, op, |v| 63 - v.leading_zeros()),
            Code::PopcntF16 | Code::PopcntF32 | Code::PopcntF64 => {
                let size = op.code.info().size;
                let source = core.get(op.a) & (u64::MAX >> (64 - size.bits()));
                core.set_sized(op.dst, size.bytes(), u64::from(source.count_ones()));
                // Only the zero flag may be set: a positive result of odd parity otherwise.
                core.flags.write(if source == 0 { flags::bit::ZF } else { 0 }, flags::bit::ARITHMETIC);
            }
            // What hardware makes of the undefined 16-bit form.
            Code::Bswap16 => put::<u16>(core, op.dst, 0),
            Code::Bswap32 => put::<u32>(core, op.dst, u64::from((core.get(op.a) as u32).swap_bytes())),
            Code::Bswap64 => core.set(op.dst, core.get(op.a).swap_bytes()),
            Code::Eq8 => core.set(op.dst, u64::from(u8::low(core.get(op.a)) == u8::low(second(core, op)))),
            Code::Eq16 => core.set(op.dst, u64::from(u16::low(core.get(op.a)) == u16::low(second(core, op)))),
            Code::Eq32 => core.set(op.dst, u64::from(u32::low(core.get(op.a)) == u32::low(second(core, op)))),
            Code::Eq64 => core.set(op.dst, u64::from(core.get(op.a) == second(core, op))),
            Code::Zx8 => core.set(op.dst, u8::low(core.get(op.a))),
            Code::Zx16 => core.set(op.dst, u16::low(core.get(op.a))),
            Code::Sx8To16 => put::<u16>(core, op.dst, u8::signed(core.get(op.a))),
            Code::Sx8To32 => put::<u32>(core, op.dst, u8::signed(core.get(op.a))),
            Code::Sx8To64 => core.set(op.dst, u8::signed(core.get(op.a))),
            Code::Sx16To32 => put::<u32>(core, op.dst, u16::signed(core.get(op.a))),
            Code::Sx16To64 => core.set(op.dst, u16::signed(core.get(op.a))),
            Code::Sx32To64 => core.set(op.dst, u32::signed(core.get(op.a))),
            Code::GetH => core.set(op.dst, (core.get(op.a) >> 8) & 0xff),
            Code::SetH => core.set(op.dst, (core.get(op.dst) & !0xff00) | ((core.get(op.a) & 0xff) << 8)),
            Code::Select => core.set(op.dst, core.get(if core.get(op.c) != 0 { op.a } else { op.b })),
            Code::SetCc => put::<u8>(core, op.dst, u64::from(core.flags.condition(op.c))),
            Code::Cmov16 => {
                let r = core.get(if core.flags.condition(op.c) { op.a } else { op.dst });
                put::<u16>(core, op.dst, r);
            }
            Code::Cmov32 => {
                let r = core.get(if core.flags.condition(op.c) { op.a } else { op.dst });
                put::<u32>(core, op.dst, r);
            }
            Code::Cmov64 => core.set(op.dst, core.get(if core.flags.condition(op.c) { op.a } else { op.dst })),

            Code::Load8 => attempt!(load::<u8>(core, mmu, op.dst, simple_address(core, op))),
            Code::Load16 => attempt!(load::<u16>(core, mmu, op.dst, simple_address(core, op))),
            Code::Load32 => attempt!(load::<u32>(core, mmu, op.dst, simple_address(core, op))),
            Code::Load64 => attempt!(load::<u64>(core, mmu, op.dst, simple_address(core, op))),
            Code::LoadX8 => attempt!(load::<u8>(core, mmu, op.dst, indexed_address(core, op, op.imm))),
            Code::LoadX16 => attempt!(load::<u16>(core, mmu, op.dst, indexed_address(core, op, op.imm))),
            Code::LoadX32 => attempt!(load::<u32>(core, mmu, op.dst, indexed_address(core, op, op.imm))),
            Code::LoadX64 => attempt!(load::<u64>(core, mmu, op.dst, indexed_address(core, op, op.imm))),
            Code::Store8 => store!(u8, simple_address(core, op), core.get(op.dst)),
            Code::Store16 => store!(u16, simple_address(core, op), core.get(op.dst)),
            Code::Store32 => store!(u32, simple_address(core, op), core.get(op.dst)),
            Code::Store64 => store!(u64, simple_address(core, op), core.get(op.dst)),
            Code::StoreX8 => store!(u8, indexed_address(core, op, op.imm), core.get(op.dst)),
            Code::StoreX16 => store!(u16, indexed_address(core, op, op.imm), core.get(op.dst)),
            Code::StoreX32 => store!(u32, indexed_address(core, op, op.imm), core.get(op.dst)),
            Code::StoreX64 => store!(u64, indexed_address(core, op, op.imm), core.get(op.dst)),
            Code::StoreI8 => store!(u8, indexed_address(core, op, op.store_disp()), op.store_value()),
            Code::StoreI16 => store!(u16, indexed_address(core, op, op.store_disp()), op.store_value()),
            Code::StoreI32 => store!(u32, indexed_address(core, op, op.store_disp()), op.store_value()),
            Code::StoreI64 => store!(u64, indexed_address(core, op, op.store_disp()), op.store_value()),
            Code::Lea16 | Code::Lea32 | Code::Lea64 => {
                let sum = core.get(op.a).wrapping_add(core.get(op.b) << (op.c & 3)).wrapping_add(op.imm as u64);
                let mask = match op.code {
                    Code::Lea16 => 0xffff,
                    Code::Lea32 => 0xffff_ffff,
                    _ => u64::MAX,
                };
                core.set(op.dst, sum & mask);
            }
            Code::CheckStore => {
                attempt!(mmu.check_store(indexed_address(core, op, op.imm), usize::from(op.dst)));
            }

            Code::VMov => core.set_v(op.dst, core.v(op.a)),
            Code::VLoad8 => vload!(u8, op),
            Code::VLoad16 => vload!(u16, op),
            Code::VLoad32 => vload!(u32, op),
            Code::VLoad64 => vload!(u64, op),
            Code::VLoad128 => vload!(u128, op),
            Code::VLoadA128 => {
                let addr = attempt!(aligned(core, op));
                let value: u128 = attempt!(mmu.load(addr));
                core.set_v(op.dst, value);
            }
            Code::VStore32 => store!(u32, indexed_address(core, op, op.imm), core.v(op.dst)),
            Code::VStore64 => store!(u64, indexed_address(core, op, op.imm), core.v(op.dst)),
            Code::VStore128 => store!(u128, indexed_address(core, op, op.imm), core.v(op.dst)),
            Code::VStoreA128 => store!(u128, attempt!(aligned(core, op)), core.v(op.dst)),
            Code::VGet32 => core.set(op.dst, core.v(op.a) as u64 & 0xffff_ffff),
            Code::VGet64 => core.set(op.dst, core.v(op.a) as u64),
            Code::VGetHi64 => core.set(op.dst, (core.v(op.a) >> 64) as u64),
            Code::VPut32 => core.set_v(op.dst, u128::from(core.get(op.a) & 0xffff_ffff)),
            Code::VPut64 => core.set_v(op.dst, u128::from(core.get(op.a))),

            Code::ReadFlags => core.set(op.dst, u64::from(core.flags.to_eflags())),
            Code::WriteFlags => core.flags.write(core.get(op.a) as u32, op.imm as u32),
            Code::SetCf => core.flags.set_cf(core.get(op.a) & 1 != 0),
            Code::SetZf => core.flags.set_zf(core.get(op.a) & 1 != 0),
            Code::Assist => {
                attempt!((assist::row(op.assist_number()).run)(core, mmu, *op));
                after_store!();
            }

            Code::Jump => follow!(TARGET, op.imm as u64),
            Code::JumpReg => jump_to!(core.get(op.a) & core.address_mask),
            Code::BrO => branch!(op, core.flags.of()),
            Code::BrNo => branch!(op, !core.flags.of()),
            Code::BrB => branch!(op, core.flags.cf()),
            Code::BrAe => branch!(op, !core.flags.cf()),
            Code::BrE => branch!(op, core.flags.zf()),
            Code::BrNe => branch!(op, !core.flags.zf()),
            Code::BrBe => branch!(op, core.flags.cf() || core.flags.zf()),
            Code::BrA => branch!(op, !(core.flags.cf() || core.flags.zf())),
            Code::BrS => branch!(op, core.flags.sf()),
            Code::BrNs => branch!(op, !core.flags.sf()),
            Code::BrP => branch!(op, core.flags.pf()),
            Code::BrNp => branch!(op, !core.flags.pf()),
            Code::BrL => branch!(op, core.flags.less()),
            Code::BrGe => branch!(op, !core.flags.less()),
            Code::BrLe => branch!(op, core.flags.less() || core.flags.zf()),
            Code::BrG => branch!(op, !(core.flags.less() || core.flags.zf())),
            Code::BrNz => branch!(op, core.get(op.a) != 0),
            Code::BrZ => branch!(op, core.get(op.a) == 0),
            Code::Exit => return Stop::Exit { block: id, op: at },

            Code::Push => {
                let sp = core.get(RSP).wrapping_sub(4) & 0xffff_ffff;
                let value = core.get(op.a).wrapping_add(op.imm as u64) as u32;
                attempt!(mmu.store(VirtAddr(sp), value));
                core.set(RSP, sp);
                after_store!();
            }
            Code::Pop => {
                let sp = core.get(RSP);
                let value: u32 = attempt!(mmu.load(VirtAddr(sp & 0xffff_ffff)));
                core.set(RSP, sp.wrapping_add(4) & 0xffff_ffff);
                core.set(op.dst, u64::from(value));
            }
            Code::Call => {
                let sp = core.get(RSP).wrapping_sub(4) & 0xffff_ffff;
                attempt!(mmu.store(VirtAddr(sp), op.imm as u32));
                core.set(RSP, sp);
                let target = op.store_value() as u64 & 0xffff_ffff;
                if mmu.has_code_writes() {
                    core.fuel -= i64::from(block.insns);
                    core.rip = target;
                    return Stop::Next { from: None };
                }
                follow!(TARGET, target)
            }
            Code::Return => {
                let sp = core.get(RSP);
                let target: u32 = attempt!(mmu.load(VirtAddr(sp & 0xffff_ffff)));
                core.set(RSP, sp.wrapping_add(op.imm as u64) & 0xffff_ffff);
                jump_to!(u64::from(target))
            }
            Code::CmpBrE => compare_branch!(op, |a, b| a == b),
            Code::CmpBrNe => compare_branch!(op, |a, b| a != b),
            Code::CmpBrB => compare_branch!(op, |a, b| a < b),
            Code::CmpBrAe => compare_branch!(op, |a, b| a >= b),
            Code::CmpBrBe => compare_branch!(op, |a, b| a <= b),
            Code::CmpBrA => compare_branch!(op, |a, b| a > b),
            Code::CmpBrL => compare_branch!(op, |a, b| (a as i32) < (b as i32)),
            Code::CmpBrGe => compare_branch!(op, |a, b| (a as i32) >= (b as i32)),
            Code::CmpBrLe => compare_branch!(op, |a, b| (a as i32) <= (b as i32)),
            Code::CmpBrG => compare_branch!(op, |a, b| (a as i32) > (b as i32)),
            Code::TestBrE => test_branch!(op, |r| r == 0),
            Code::TestBrNe => test_branch!(op, |r| r != 0),
            Code::TestBrS => test_branch!(op, |r| (r as i32) < 0),
            Code::TestBrNs => test_branch!(op, |r| (r as i32) >= 0),
            Code::TestBrLe => test_branch!(op, |r| (r as i32) <= 0),
            Code::TestBrG => test_branch!(op, |r| (r as i32) > 0),
        }
        at += 1;
    }
}
