//! The x87 unit inside a function: which locals stand for it, and when they and memory meet.
//!
//! Registers are written to memory as they change, so that nothing but a few words has to be stored where code leaves; inside
//! a block their values are in locals as well. The words (top, tags, status, pointers) are locals from the first x87
//! instruction that is run until somebody else may look at them ([`Emitter::stack_to_memory`]).
//!
//! Registers are numbered from the top at the start of the block, which is known at run time only; how far the top has moved
//! since is known here. [`super::x87`] has the instructions.

use std::mem::{offset_of, size_of};

use vm_cpu::assist::{self, Effects};
use vm_cpu::ir::{Code, Op};
use vm_cpu::{Core, F80, Fpu};
use wasm_encoder::{MemArg, ValType};

use super::{Emitter, Why, state_offset};
use crate::host::Request;

/// What the locals and this emitter know of the unit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stack {
    /// Whether the region has x87 instructions; nothing else means anything where it has none.
    pub(super) used: bool,
    /// 1 while the locals below are newer than memory.
    loaded: u32,
    /// The top at the start of the block, and how far it has moved.
    base: u32,
    moved: u32,
    /// A bit for each register that is not empty, numbered from `base`.
    pub(super) valid: u32,
    /// The status word without the top; exceptions and C1 are in the next two.
    pub(super) status: u32,
    /// Exceptions raised, from bit 16.
    pub(super) raised: u32,
    /// The word whose bit 25 is C1.
    pub(super) last: u32,
    pub(super) control: u32,
    /// Address of the last operand in memory; of the last instruction, with its opcode above.
    pub(super) data: u32,
    pub(super) place: u32,
    /// For operands from memory and for results.
    pub(super) other: Pair,
    pub(super) side: u32,
    pub(super) bits: u32,
    pairs: [Pair; 8],
    /// Whether values are doubles, see `x87_fast`; their locals, and one for operands from memory.
    fast: bool,
    doubles: [u32; 8],
    pub(super) operand: u32,
    /// What is known here: whether the words are in locals, how far the top has moved.
    is_loaded: bool,
    top: u8,
    /// The pair of locals a register is in, and those that are up to date.
    at: [u8; 8],
    held: u8,
    /// Registers known to be in use, and known to be empty.
    full: u8,
    empty: u8,
    /// Registers whose doubles come from integers that are still in their pairs.
    integers: u8,
}

/// The locals of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pair {
    /// The significand.
    pub(super) significand: u32,
    /// Sign and exponent.
    pub(super) exponent: u32,
}

const REGISTERS: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, regs)) as u32;
const _: () = assert!(size_of::<F80>() == 16);
const TOP: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, top)) as u32;
const VALID: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, valid)) as u32;
const STATUS: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, status)) as u32;
const CONTROL: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, control)) as u32;
const LAST_OPCODE: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, last_opcode)) as u32;
const LAST_IP: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, last_ip)) as u32;
const LAST_DATA: u32 = (offset_of!(Core, fpu) + offset_of!(Fpu, last_data)) as u32;

/// C1 in the status word.
const C1: i32 = 0x200;
/// An exception is pending.
const PENDING: i32 = 0x80;

/// Whether an operation is an x87 instruction.
pub(super) fn is_x87(op: &Op) -> bool {
    op.code == Code::Assist && assist::row(op.assist_number()).name.starts_with("X87")
}

/// Whether an assist looks at the x87 unit, or leaves in a way that bypasses the exit code.
pub(super) fn meets_stack(op: &Op) -> bool {
    let row = assist::row(op.assist_number());
    ["X87", "Mmx", "Fx"].iter().any(|start| row.name.starts_with(start)) || row.effects.contains(Effects::REGISTERS)
}

impl Emitter<'_> {
    /// Gives locals to the unit.
    pub(super) fn use_stack(&mut self) {
        use ValType::{F64, I32, I64};
        let mut pair = || Pair { significand: self.new_local(I64), exponent: self.new_local(I32) };
        let pairs = std::array::from_fn(|_| pair());
        let other = pair();
        let fast = self.config.x87_fast;
        let (mut doubles, mut operand) = ([0; 8], 0);
        if fast {
            doubles = std::array::from_fn(|_| self.new_local(F64));
            operand = self.new_local(F64);
        }
        self.stack = Stack {
            used: true,
            loaded: self.new_local(I32),
            base: self.new_local(I32),
            moved: self.new_local(I32),
            valid: self.new_local(I32),
            status: self.new_local(I32),
            raised: self.new_local(I32),
            last: self.new_local(I32),
            control: self.new_local(I32),
            data: self.new_local(I32),
            place: self.new_local(I64),
            side: self.new_local(I32),
            bits: self.new_local(I64),
            other,
            pairs,
            fast,
            doubles,
            operand,
            ..Stack::default()
        };
        self.forget_stack();
    }

    /// Nothing is known of the unit here, not even whether it is in locals. The top has not moved.
    pub(super) fn forget_stack(&mut self) {
        let stack = &mut self.stack;
        stack.is_loaded = false;
        stack.top = 0;
        stack.at = [0, 1, 2, 3, 4, 5, 6, 7];
        (stack.held, stack.full, stack.empty, stack.integers) = (0, 0, 0, 0);
    }

    fn core_at(&self, offset: u32, align: u32) -> MemArg {
        self.at(self.config.core + offset, align)
    }

    /// Has the words in locals from here on. Stops if an exception is pending.
    pub(super) fn enter_stack(&mut self) {
        if self.stack.is_loaded {
            return;
        }
        let s = self.stack;
        let at = [TOP, VALID, STATUS, CONTROL, LAST_OPCODE, LAST_IP, LAST_DATA].map(|offset| self.core_at(offset, 0));
        let [top, valid, status, control, opcode, ip, data] = at;
        self.w().local_get(s.loaded).i32_eqz();
        self.open_if(None);
        self.w().i32_const(0).i32_load16_u(status).local_tee(s.status).i32_const(PENDING).i32_and();
        self.open_unlikely_if();
        self.stop(Why::Refused { stores_back: false });
        self.close();
        self.w().i32_const(0).i32_load8_u(top).local_set(s.base);
        self.w().i32_const(0).local_set(s.moved);
        self.w().i32_const(0).i32_load8_u(valid).i32_const(0x101).i32_mul().local_get(s.base).i32_shr_u();
        self.w().i32_const(0xff).i32_and().local_set(s.valid);
        self.w().i32_const(0).local_set(s.raised);
        self.w().local_get(s.status).i32_const(16).i32_shl().local_set(s.last);
        self.w().i32_const(0).i32_load16_u(control).local_set(s.control);
        self.w().i32_const(0).i64_load16_u(opcode).i64_const(48).i64_shl();
        self.w().i32_const(0).i64_load(ip).i64_or().local_set(s.place);
        self.w().i32_const(0).i32_load(data).local_set(s.data);
        self.w().i32_const(1).local_set(s.loaded);
        self.convert_registers(Request::ToDoubles);
        self.close();
        self.stack.is_loaded = true;
    }

    /// Brings memory up to date, on a way that leaves.
    pub(super) fn store_stack(&mut self) {
        let s = self.stack;
        if !s.used {
            return;
        }
        let at = [TOP, VALID, STATUS, LAST_OPCODE, LAST_IP, LAST_DATA].map(|offset| self.core_at(offset, 0));
        let [top, valid, status, opcode, ip, data] = at;
        self.w().local_get(s.loaded);
        self.open_if(None);
        self.w().i32_const(0).local_get(s.base).local_get(s.moved).i32_add().i32_const(7).i32_and().i32_store8(top);
        self.w().i32_const(0).local_get(s.valid).i32_const(0x101).i32_mul().local_get(s.base).i32_shl();
        self.w().i32_const(8).i32_shr_u().i32_store8(valid);
        self.w().i32_const(0);
        self.push_status();
        self.w().i32_store16(status);
        self.w().i32_const(0).local_get(s.place).i64_const(48).i64_shr_u().i64_const(0x7ff).i64_and();
        self.w().i64_store16(opcode);
        self.w().i32_const(0).local_get(s.place).i64_const(0xffff_ffff_ffff).i64_and().i64_store(ip);
        self.w().i32_const(0).local_get(s.data).i64_extend_i32_u().i64_store(data);
        self.convert_registers(Request::FromDoubles);
        self.close();
    }

    /// Has registers that are in use converted, where values are doubles.
    fn convert_registers(&mut self, how: Request) {
        let s = self.stack;
        if s.fast {
            self.w().local_get(s.valid);
            self.open_if(None);
            self.w().i32_const(how as i32).i32_const(0).i32_const(0);
            self.request();
            self.w().drop();
            self.close();
        }
    }

    /// Brings memory up to date for somebody who looks at it or changes it.
    pub(super) fn stack_to_memory(&mut self) {
        if self.stack.used {
            self.store_stack();
            let loaded = self.stack.loaded;
            self.w().i32_const(0).local_set(loaded);
            self.forget_stack();
        }
    }

    /// Pushes the status word without the top.
    pub(super) fn push_status(&mut self) {
        let s = self.stack;
        self.w().local_get(s.status).i32_const(!C1).i32_and();
        self.w().local_get(s.raised).i32_const(16).i32_shr_u().i32_const(0x3f).i32_and().i32_or();
        self.w().local_get(s.last).i32_const(16).i32_shr_u().i32_const(C1).i32_and().i32_or();
    }

    /// Pushes the top's number, in its place in the status word.
    pub(super) fn push_top(&mut self) {
        let s = self.stack;
        self.w().local_get(s.base).i32_const(i32::from(s.top)).i32_add().i32_const(7).i32_and();
        self.w().i32_const(11).i32_shl();
    }

    /// Sets the control word, which is pushed.
    pub(super) fn set_control(&mut self) {
        let (at, local) = (self.core_at(CONTROL, 1), self.stack.control);
        self.w().local_set(local).i32_const(0).local_get(local).i32_store16(at);
    }

    /// At the end of a block: registers are numbered from the top again.
    pub(super) fn end_stack_block(&mut self) {
        let s = self.stack;
        if s.used && s.top != 0 {
            let by = i32::from(s.top);
            self.w().local_get(s.base).i32_const(by).i32_add().i32_const(7).i32_and().local_set(s.base);
            self.w().local_get(s.valid).i32_const(0x101).i32_mul().i32_const(by).i32_shr_u();
            self.w().i32_const(0xff).i32_and().local_set(s.valid);
            self.w().i32_const(0).local_set(s.moved);
        }
        self.forget_stack();
    }

    // ---- registers ----

    /// The register that ST(i) is.
    pub(super) fn register_of(&self, i: u8) -> u8 {
        (self.stack.top + i) & 7
    }

    /// The locals of a register.
    pub(super) fn pair_of(&self, register: u8) -> Pair {
        let s = &self.stack;
        s.pairs[usize::from(s.at[usize::from(register & 7)] & 7)]
    }

    /// Stops unless a register is in use.
    pub(super) fn require_full(&mut self, register: u8) {
        let (valid, bit) = (self.stack.valid, 1u8 << register);
        if self.stack.full & bit == 0 {
            self.w().local_get(valid).i32_const(i32::from(bit)).i32_and().i32_eqz();
            self.stop_if(Why::Refused { stores_back: false });
            self.stack.full |= bit;
            self.stack.empty &= !bit;
        }
    }

    /// Stops unless the register below the top is empty; returns it.
    pub(super) fn require_room(&mut self) -> u8 {
        let register = self.register_of(7);
        let (valid, bit) = (self.stack.valid, 1u8 << register);
        if self.stack.empty & bit == 0 {
            self.w().local_get(valid).i32_const(i32::from(bit)).i32_and();
            self.stop_if(Why::Refused { stores_back: false });
            self.stack.empty |= bit;
            self.stack.full &= !bit;
        }
        register
    }

    /// Pushes the offset of a register, which goes with [`REGISTERS`].
    fn push_register_offset(&mut self, register: u8) {
        let base = self.stack.base;
        self.w().local_get(base);
        if register != 0 {
            self.w().i32_const(i32::from(register)).i32_add();
        }
        self.w().i32_const(7).i32_and().i32_const(4).i32_shl();
    }

    /// The locals of ST(i), with its value; stops if it is empty.
    pub(super) fn value_of(&mut self, i: u8) -> Pair {
        let register = self.register_of(i);
        self.require_full(register);
        let pair = self.pair_of(register);
        if self.stack.held & 1 << register == 0 {
            let significand = self.core_at(REGISTERS + offset_of!(F80, mantissa) as u32, 3);
            let exponent = self.core_at(REGISTERS + offset_of!(F80, sign_exponent) as u32, 1);
            self.push_register_offset(register);
            self.w().i64_load(significand).local_set(pair.significand);
            self.push_register_offset(register);
            self.w().i32_load16_u(exponent).local_set(pair.exponent);
            self.stack.held |= 1 << register;
        }
        pair
    }

    /// Takes what is in a register's locals for its value.
    pub(super) fn commit(&mut self, register: u8) {
        if self.stack.fast {
            let (at, double) = (self.state_at(state_offset::X87), self.local_of_double(register));
            self.push_register_offset(register);
            self.w().local_get(double).f64_store(MemArg { align: 3, ..at });
            self.stack.integers &= !(1 << register);
        } else {
            let significand = self.core_at(REGISTERS + offset_of!(F80, mantissa) as u32, 3);
            let pair = self.pair_of(register);
            self.push_register_offset(register);
            self.w().local_get(pair.significand).i64_store(significand);
            self.commit_exponent(register);
        }
        let (valid, bit) = (self.stack.valid, 1u8 << register);
        if self.stack.full & bit == 0 {
            self.w().local_get(valid).i32_const(i32::from(bit)).i32_or().local_set(valid);
            self.stack.full |= bit;
            self.stack.empty &= !bit;
        }
        self.stack.held |= bit;
    }

    /// The same where only sign or exponent have changed.
    pub(super) fn commit_exponent(&mut self, register: u8) {
        let exponent = self.core_at(REGISTERS + offset_of!(F80, sign_exponent) as u32, 1);
        let pair = self.pair_of(register);
        self.push_register_offset(register);
        self.w().local_get(pair.exponent).i32_store16(exponent);
    }

    /// Exchanges two registers whose values are in locals.
    pub(super) fn exchange(&mut self, a: u8, b: u8) {
        self.stack.at.swap(usize::from(a & 7), usize::from(b & 7));
        self.commit(a);
        self.commit(b);
    }

    fn local_of_double(&self, register: u8) -> u32 {
        let s = &self.stack;
        s.doubles[usize::from(s.at[usize::from(register & 7)] & 7)]
    }

    /// The local of ST(i), with its value as a double; stops if it is empty.
    pub(super) fn double_of(&mut self, i: u8) -> u32 {
        let register = self.register_of(i);
        self.require_full(register);
        let local = self.local_of_double(register);
        if self.stack.held & 1 << register == 0 {
            let at = self.state_at(state_offset::X87);
            self.push_register_offset(register);
            self.w().f64_load(MemArg { align: 3, ..at }).local_set(local);
            self.stack.held |= 1 << register;
        }
        local
    }

    /// Pops a double for a register, which is to be committed.
    pub(super) fn set_double(&mut self, register: u8) {
        let local = self.local_of_double(register);
        self.w().local_set(local);
    }

    /// Notes that the integer which a register's double comes from is in its pair.
    pub(super) fn note_integer(&mut self, register: u8) {
        self.stack.integers |= 1 << register;
    }

    /// Whether it is.
    pub(super) fn is_integer(&self, register: u8) -> bool {
        self.stack.integers & 1 << register != 0
    }

    fn move_top(&mut self, by: u8) {
        self.stack.top = (self.stack.top + by) & 7;
        let (moved, top) = (self.stack.moved, self.stack.top);
        self.w().i32_const(i32::from(top)).local_set(moved);
    }

    /// Moves the top to the register below, whose locals have the value.
    pub(super) fn push_register(&mut self) {
        self.move_top(7);
        let register = self.register_of(0);
        self.commit(register);
    }

    /// Empties the top.
    pub(super) fn pop_register(&mut self) {
        let register = self.register_of(0);
        let (valid, bit) = (self.stack.valid, 1u8 << register);
        self.w().local_get(valid).i32_const(!i32::from(bit)).i32_and().local_set(valid);
        self.stack.full &= !bit;
        self.stack.empty |= bit;
        self.stack.held &= !bit;
        self.move_top(1);
    }
}
