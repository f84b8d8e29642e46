//! x87 instructions on the register stack.
//!
//! One assist carries them all: `a` is the slot with the linear address of the memory operand, `b` the [`X87`] number, `c`
//! a small number of its own (a register, an operation), `imm` the address of the instruction with its opcode above it.
//! What an instruction computes is in [`super::fpu80`], which generated code also reaches by [`direct`]; here are empty and full registers, condition codes, pending
//! exceptions and memory. Memory is written before any register changes.

mod arithmetic;
mod control;
pub mod direct;
mod env;
mod transfer;

use vm_mem::{Mmu, VirtAddr};

use super::fpu80::{Context, INDEFINITE, exception};
use crate::core::{Core, Trap};
use crate::ir::Op;
use crate::{Exception, F80, Fpu};

pub(crate) use env::{frstor_image, fsave_image};

/// C1 in the status word.
const C1: u16 = 0x0200;
/// C0, C2, C3.
const CONDITIONS: u16 = 0x4500;
/// Error summary and busy.
const SUMMARY: u16 = 0x8080;

macro_rules! x87 {
    ($($name:ident)*) => {
        /// What an x87 instruction does. `c` of the operation is `i` for a register, or as said.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "the names are instructions")]
        #[repr(u8)]
        pub enum X87 { $($name),* }

        impl X87 {
            /// All of them by number.
            pub const ALL: &[X87] = &[$(X87::$name),*];
        }
    };
}

x87! {
    // Loads; the constant's number in c.
    LoadF32 LoadF64 LoadF80 LoadI16 LoadI32 LoadI64 LoadBcd LoadSt LoadConstant
    // Stores; 1 in c pops.
    StoreF32 StoreF64 StoreF80 StoreI16 StoreI32 StoreI64 StoreBcd TruncateI16 TruncateI32 TruncateI64
    // Register stores: i in c.
    StoreSt StoreStPop Exchange
    // ST(0) op source: the operation (add mul com comp sub subr div divr) in c, times eight plus i for registers.
    WithF32 WithF64 WithI16 WithI32 WithSt
    // ST(i) op ST(0): the same number.
    ToSt ToStPop
    // Comparisons with ST(i).
    CompareTwicePop Unordered UnorderedPop UnorderedTwicePop Test Examine
    // To EFLAGS.
    CompareFlags CompareFlagsPop UnorderedFlags UnorderedFlagsPop
    // On ST(0), and ST(1).
    ChangeSign Absolute SquareRoot RoundInt TwoToXMinusOne Sine Cosine SineCosine Tangent
    ArcTangent YLog2X YLog2X1 Remainder Remainder1 Scale Extract
    // Moves ST(i) if the condition holds: its number times eight plus i in c.
    ConditionalMove
    // Control.
    Init ClearExceptions Wait LoadControl StoreControl StoreStatus StatusToAx StoreEnvironment LoadEnvironment Save Restore
    Free FreePop IncrementTop DecrementTop Nop Emms
    // The 14-byte forms.
    StoreEnvironment16 LoadEnvironment16 Save16 Restore16
}

/// The register stack.
impl Fpu {
    fn index(&self, i: u8) -> usize {
        usize::from(self.top.wrapping_add(i) & 7)
    }

    fn is_empty(&self, i: u8) -> bool {
        self.valid & 1 << self.index(i) == 0
    }

    /// ST(i) unless it is empty.
    fn st(&self, i: u8) -> Option<F80> {
        (!self.is_empty(i)).then(|| self.regs[self.index(i)])
    }

    fn set_st(&mut self, i: u8, value: F80) {
        let index = self.index(i);
        self.regs[index] = value;
        self.valid |= 1 << index;
    }

    fn pop(&mut self) {
        self.valid &= !(1 << self.index(0));
        self.top = self.top.wrapping_add(1) & 7;
    }

    fn push(&mut self, value: F80) {
        self.top = self.top.wrapping_sub(1) & 7;
        self.set_st(0, value);
    }

    /// Merges what an instruction raised into the status word; whether its result may be written.
    fn settle(&mut self, cx: &Context) -> bool {
        self.status = self.status & !C1 | cx.raised;
        if cx.up {
            self.status |= C1;
        }
        self.summarise();
        !cx.prevented()
    }

    /// The same for the few instructions that leave C1 alone unless there was a stack fault.
    fn settle_keeping_c1(&mut self, cx: &Context) -> bool {
        let c1 = self.status & C1;
        let done = self.settle(cx);
        if cx.raised & exception::STACK == 0 {
            self.status = (self.status & !C1) | c1;
        }
        done
    }

    /// Makes the error summary fit the exceptions and masks.
    pub(crate) fn summarise(&mut self) {
        if self.status & !self.control & 0x3f != 0 {
            self.status |= SUMMARY;
        } else {
            self.status &= !SUMMARY;
        }
    }

    /// Whether the next waiting instruction must fault.
    pub(crate) fn exception_pending(&self) -> bool {
        self.status & 0x80 != 0
    }

    fn set_conditions(&mut self, codes: u16) {
        self.status = self.status & !CONDITIONS | codes & CONDITIONS;
    }

    /// What every MMX instruction does to the stack: all registers valid, the top at register 0.
    pub(crate) fn enter_mmx(&mut self) {
        self.top = 0;
        self.valid = 0xff;
    }
}

/// Raises a stack underflow and gives its masked answer.
fn underflow(cx: &mut Context) -> F80 {
    cx.raise(exception::INVALID | exception::STACK);
    cx.up = false;
    INDEFINITE
}

/// Raises a stack overflow and gives its masked answer.
fn overflow(cx: &mut Context) -> F80 {
    cx.raise(exception::INVALID | exception::STACK);
    cx.up = true;
    INDEFINITE
}

/// Runs an x87 instruction.
pub(super) fn run(core: &mut Core, mmu: &mut Mmu, op: Op) -> Result<(), Trap> {
    let Some(&what) = X87::ALL.get(usize::from(op.b)) else {
        return Err(Exception::InvalidOpcode.into());
    };
    let waits = !matches!(
        what,
        X87::Init
            | X87::ClearExceptions
            | X87::StoreControl
            | X87::StoreStatus
            | X87::StatusToAx
            | X87::StoreEnvironment
            | X87::StoreEnvironment16
            | X87::Save
            | X87::Save16
    );
    if waits && core.fpu.exception_pending() {
        return Err(Exception::FloatingPoint.into());
    }
    let addr = VirtAddr(core.get(op.a));
    if what < X87::Init {
        let old = (core.fpu.last_ip, core.fpu.last_opcode, core.fpu.last_data);
        core.fpu.last_ip = op.imm as u64 & 0xffff_ffff_ffff;
        core.fpu.last_opcode = (op.imm >> 48) as u16 & 0x7ff;
        if what.uses_memory() {
            core.fpu.last_data = addr.0;
        }
        let done = transfer_or_compute(core, mmu, what, addr, op.c);
        if done.is_err() {
            (core.fpu.last_ip, core.fpu.last_opcode, core.fpu.last_data) = old;
        }
        return done;
    }
    control::run(core, mmu, what, addr, op.c)
}

fn transfer_or_compute(core: &mut Core, mmu: &mut Mmu, what: X87, addr: VirtAddr, c: u8) -> Result<(), Trap> {
    match what {
        X87::LoadF32 | X87::LoadF64 | X87::LoadF80 | X87::LoadI16 | X87::LoadI32 | X87::LoadI64 | X87::LoadBcd => {
            transfer::load(&mut core.fpu, mmu, what, addr)
        }
        X87::StoreF32
        | X87::StoreF64
        | X87::StoreF80
        | X87::StoreI16
        | X87::StoreI32
        | X87::StoreI64
        | X87::StoreBcd
        | X87::TruncateI16
        | X87::TruncateI32
        | X87::TruncateI64 => transfer::store(&mut core.fpu, mmu, what, addr, c),
        X87::WithF32 | X87::WithF64 | X87::WithI16 | X87::WithI32 => {
            arithmetic::with_memory(&mut core.fpu, mmu, what, addr, c)
        }
        X87::CompareFlags | X87::CompareFlagsPop | X87::UnorderedFlags | X87::UnorderedFlagsPop => {
            arithmetic::compare_flags(core, what, c);
            Ok(())
        }
        X87::ConditionalMove => {
            let holds = core.flags.condition(c >> 3);
            transfer::conditional_move(&mut core.fpu, c & 7, holds);
            Ok(())
        }
        _ => {
            registers(&mut core.fpu, what, c);
            Ok(())
        }
    }
}

/// Instructions that touch nothing but x87 registers.
fn registers(fpu: &mut Fpu, what: X87, c: u8) {
    match what {
        X87::LoadSt => transfer::load_st(fpu, c),
        X87::LoadConstant => transfer::load_constant(fpu, c),
        X87::StoreSt => transfer::store_st(fpu, c, false),
        X87::StoreStPop => transfer::store_st(fpu, c, true),
        X87::Exchange => transfer::exchange(fpu, c),
        _ => arithmetic::run(fpu, what, c),
    }
}

impl PartialOrd for X87 {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}

impl X87 {
    fn uses_memory(self) -> bool {
        self < X87::LoadSt || X87::StoreF32 <= self && self < X87::StoreSt || X87::WithF32 <= self && self < X87::WithSt
    }
}
