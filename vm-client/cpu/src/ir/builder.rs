//! Appends operations to a block under construction.

use super::block::wrap;
use super::{Block, Code, ExitReason, Insn, Op, Size, Slot, VSlot};
use crate::Mode;
use crate::assist::AssistId;

/// A value as second operands take it: a slot plus a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Val {
    pub slot: Slot,
    pub imm: i64,
}

impl Val {
    /// A constant.
    pub(crate) fn constant(imm: i64) -> Val {
        Val { slot: Slot::ZERO, imm }
    }
}

impl From<Slot> for Val {
    fn from(slot: Slot) -> Val {
        Val { slot, imm: 0 }
    }
}

/// A guest address: `segment + base + (index << scale) + disp`, cut to the width of the mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Addr {
    pub segment: Slot,
    pub base: Slot,
    pub index: Slot,
    /// Log2 of the factor.
    pub scale: u8,
    pub disp: i64,
}

impl Addr {
    /// The address in a slot, plus a constant.
    pub(crate) fn at(base: Slot, disp: i64) -> Addr {
        Addr { segment: Slot::ZERO, base, index: Slot::ZERO, scale: 0, disp }
    }

    /// The address so many bytes further.
    pub(crate) fn plus(self, bytes: i64) -> Addr {
        Addr { disp: self.disp.wrapping_add(bytes), ..self }
    }

    fn is_simple(self) -> bool {
        self.index == Slot::ZERO && self.segment == Slot::ZERO
    }
}

/// Picks the code of a family by size.
macro_rules! sized {
    ($size:expr, $c8:ident $c16:ident $c32:ident $c64:ident) => {
        match $size {
            Size::B8 => $crate::ir::Code::$c8,
            Size::B16 => $crate::ir::Code::$c16,
            Size::B32 => $crate::ir::Code::$c32,
            Size::B64 => $crate::ir::Code::$c64,
        }
    };
    ($size:expr, $c16:ident $c32:ident $c64:ident) => {
        match $size {
            Size::B8 | Size::B16 => $crate::ir::Code::$c16,
            Size::B32 => $crate::ir::Code::$c32,
            Size::B64 => $crate::ir::Code::$c64,
        }
    };
}
pub(crate) use sized;

/// A block under construction.
pub(crate) struct Builder {
    block: Block,
    next_temp: u8,
    next_vtemp: u8,
    ip: u64,
    next_ip: u64,
    exited: bool,
    segments: Segments,
    /// The current instruction uses a segment it may not.
    refused: bool,
}

/// What is known of the segment registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// The bases of ES, CS, SS and DS are zero.
    pub flat: bool,
    /// A bit for each register that holds a null selector.
    pub null: u8,
}

impl Builder {
    /// Starts a block.
    pub(crate) fn new(start: u64, mode: Mode, segments: Segments) -> Builder {
        let block = Block { start, len: 0, mode, insns: Vec::with_capacity(16), ops: Vec::with_capacity(40) };
        Builder {
            block,
            next_temp: Slot::FIRST_TEMP,
            next_vtemp: VSlot::FIRST_TEMP,
            ip: start,
            next_ip: start,
            exited: false,
            segments,
            refused: false,
        }
    }

    /// Starts the next instruction.
    pub(crate) fn begin_insn(&mut self, len: usize) {
        self.ip = self.next_ip;
        self.next_ip = wrap(self.block.mode, self.ip.wrapping_add(len as u64));
        self.next_temp = Slot::FIRST_TEMP;
        self.next_vtemp = VSlot::FIRST_TEMP;
        self.block.insns.push(Insn { offset: self.block.len, first_op: self.block.ops.len() as u16 });
        self.block.len += len as u16;
    }

    /// Takes back what the current instruction emitted, because it turned out to be unsupported.
    pub(crate) fn abandon_insn(&mut self) {
        if let Some(insn) = self.block.insns.last() {
            self.block.ops.truncate(usize::from(insn.first_op));
        }
        self.exited = false;
        self.refused = false;
    }

    /// Whether the block has got its exit.
    pub(crate) fn is_finished(&self) -> bool {
        self.exited
    }

    /// Whether the block is long enough to be ended after the current instruction.
    pub(crate) fn is_full(&self) -> bool {
        self.block.insns.len() >= 64 || self.block.ops.len() >= 400
    }

    /// Ends the block, going on behind it unless an exit was emitted.
    pub(crate) fn finish(mut self) -> Block {
        if !self.exited {
            self.jump(self.next_ip);
        }
        self.block
    }

    /// The instruction set.
    pub(crate) fn mode(&self) -> Mode {
        self.block.mode
    }

    /// What is known of the segment registers.
    pub(crate) fn segments(&self) -> Segments {
        self.segments
    }

    /// Notes that the current instruction uses a segment it may not, and so comes to #GP.
    pub(crate) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Whether the current instruction was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The size of an address and of the stack pointer.
    pub(crate) fn address_size(&self) -> Size {
        match self.block.mode {
            Mode::I386 => Size::B32,
            Mode::X86_64 => Size::B64,
        }
    }

    /// The address of the current instruction.
    pub(crate) fn ip(&self) -> u64 {
        self.ip
    }

    /// The address behind the current instruction.
    pub(crate) fn next_ip(&self) -> u64 {
        self.next_ip
    }

    /// A new temporary, valid until the instruction ends.
    pub(crate) fn temp(&mut self) -> Slot {
        let slot = Slot(self.next_temp);
        self.next_temp =
            self.next_temp.checked_add(1).expect("an instruction needs far fewer temporaries than there are");
        slot
    }

    /// A new vector temporary, valid until the instruction ends.
    pub(crate) fn vtemp(&mut self) -> VSlot {
        let slot = VSlot(self.next_vtemp);
        self.next_vtemp += 1;
        debug_assert!(self.next_vtemp <= VSlot::COUNT);
        slot
    }

    /// Appends an operation as it is.
    pub(crate) fn emit(&mut self, op: Op) {
        debug_assert!(!self.exited, "nothing follows the exit of a block");
        self.block.ops.push(op);
    }

    /// `dst <- a, b`
    pub(crate) fn binary(&mut self, code: Code, dst: Slot, a: Slot, b: impl Into<Val>) {
        let b = b.into();
        self.emit(Op { dst: dst.0, a: a.0, b: b.slot.0, imm: b.imm, ..Op::new(code) });
    }

    /// A new temporary with the result of a binary operation.
    pub(crate) fn binary_temp(&mut self, code: Code, a: Slot, b: impl Into<Val>) -> Slot {
        let t = self.temp();
        self.binary(code, t, a, b);
        t
    }

    /// `a, b` for flags only.
    pub(crate) fn compare(&mut self, code: Code, a: Slot, b: impl Into<Val>) {
        let b = b.into();
        self.emit(Op { a: a.0, b: b.slot.0, imm: b.imm, ..Op::new(code) });
    }

    /// `dst <- a`
    pub(crate) fn unary(&mut self, code: Code, dst: Slot, a: Slot) {
        self.emit(Op { dst: dst.0, a: a.0, ..Op::new(code) });
    }

    /// A new temporary with the result of a unary operation.
    pub(crate) fn unary_temp(&mut self, code: Code, a: Slot) -> Slot {
        let t = self.temp();
        self.unary(code, t, a);
        t
    }

    /// `dst <- value`, replacing as many bits as the size says (32 bits clear the upper half).
    pub(crate) fn mov(&mut self, size: Size, dst: Slot, value: impl Into<Val>) {
        let v = value.into();
        let code = sized!(size, Mov8 Mov16 Mov32 Mov64);
        self.emit(Op { dst: dst.0, b: v.slot.0, imm: v.imm, ..Op::new(code) });
    }

    /// The value in a slot of its own, for operands that take no constant.
    pub(crate) fn slot(&mut self, value: impl Into<Val>) -> Slot {
        let v = value.into();
        if v.imm == 0 {
            return v.slot;
        }
        let t = self.temp();
        self.mov(Size::B64, t, v);
        t
    }

    /// `dst <- a, b, shifted by count`
    pub(crate) fn double(&mut self, code: Code, dst: Slot, a: Slot, b: Slot, count: Val) {
        self.emit(Op { dst: dst.0, a: a.0, b: b.0, c: count.slot.0, imm: count.imm, ..Op::new(code) });
    }

    /// `dst <- (choice != 0) ? a : b`
    pub(crate) fn select(&mut self, dst: Slot, choice: Slot, a: Slot, b: Slot) {
        self.emit(Op { dst: dst.0, a: a.0, b: b.0, c: choice.0, ..Op::new(Code::Select) });
    }

    /// `dst.8 <- condition`
    pub(crate) fn set(&mut self, dst: Slot, cond: u8) {
        self.emit(Op { dst: dst.0, c: cond & 15, ..Op::new(Code::SetCc) });
    }

    /// `dst <- condition ? a : dst`
    pub(crate) fn cond_move(&mut self, size: Size, dst: Slot, cond: u8, a: Slot) {
        let code = sized!(size, Cmov16 Cmov32 Cmov64);
        self.emit(Op { dst: dst.0, a: a.0, c: cond & 15, ..Op::new(code) });
    }

    fn indexed(code: Code, dst: u8, addr: Addr) -> Op {
        Op { dst, a: addr.base.0, b: addr.index.0, c: addr.scale, d: addr.segment.0, imm: addr.disp, ..Op::new(code) }
    }

    /// `dst <- memory`, zero-extended to 64 bits.
    pub(crate) fn load_to(&mut self, size: Size, dst: Slot, addr: Addr) {
        if addr.is_simple() {
            let code = sized!(size, Load8 Load16 Load32 Load64);
            self.emit(Op { dst: dst.0, a: addr.base.0, imm: addr.disp, ..Op::new(code) });
        } else {
            let code = sized!(size, LoadX8 LoadX16 LoadX32 LoadX64);
            self.emit(Self::indexed(code, dst.0, addr));
        }
    }

    /// A new temporary with a value from memory, zero-extended to 64 bits.
    pub(crate) fn load(&mut self, size: Size, addr: Addr) -> Slot {
        let t = self.temp();
        self.load_to(size, t, addr);
        t
    }

    /// `memory <- value`
    pub(crate) fn store(&mut self, size: Size, addr: Addr, value: impl Into<Val>) {
        let v = value.into();
        let disp = i32::try_from(addr.disp).or_else(|_| u32::try_from(addr.disp).map(|d| d as i32));
        // The displacement is sign-extended, which only comes to the same where addresses have 32 bits.
        let disp_fits = disp.is_ok_and(|d| i64::from(d) == addr.disp || self.mode() == Mode::I386);
        let value_fits = i64::from(v.imm as i32) == v.imm || size <= Size::B32;
        if v.slot == Slot::ZERO && disp_fits && value_fits {
            let code = sized!(size, StoreI8 StoreI16 StoreI32 StoreI64);
            let mut op = Self::indexed(code, Slot::ZERO.0, addr);
            op.imm = (v.imm << 32) | (addr.disp & 0xffff_ffff);
            self.emit(op);
            return;
        }
        let value = self.slot(v);
        if addr.is_simple() {
            let code = sized!(size, Store8 Store16 Store32 Store64);
            self.emit(Op { dst: value.0, a: addr.base.0, imm: addr.disp, ..Op::new(code) });
        } else {
            let code = sized!(size, StoreX8 StoreX16 StoreX32 StoreX64);
            self.emit(Self::indexed(code, value.0, addr));
        }
    }

    /// Traps unless so many bytes can be stored to; later stores there cannot trap.
    pub(crate) fn check_store(&mut self, bytes: u8, addr: Addr) {
        self.emit(Self::indexed(Code::CheckStore, bytes, addr));
    }

    /// A new temporary with an effective address of the given width, without segment base.
    pub(crate) fn effective(&mut self, width: Size, addr: Addr) -> Slot {
        let t = self.temp();
        let code = sized!(width, Lea16 Lea32 Lea64);
        self.emit(Self::indexed(code, t.0, addr));
        t
    }

    /// A new temporary with the linear address, segment base included; for assists that access memory themselves.
    pub(crate) fn linear(&mut self, addr: Addr) -> Slot {
        let width = self.address_size();
        let t = self.effective(width, addr);
        if addr.segment == Slot::ZERO {
            return t;
        }
        let code = sized!(width, Add8 Add16 Add32 Add64);
        self.binary_temp(code, t, addr.segment)
    }

    /// A new vector temporary with 1, 2, 4, 8 or 16 bytes from memory, zero-extended.
    pub(crate) fn vload(&mut self, bytes: u8, addr: Addr) -> VSlot {
        let code = match bytes {
            1 => Code::VLoad8,
            2 => Code::VLoad16,
            4 => Code::VLoad32,
            8 => Code::VLoad64,
            _ => Code::VLoad128,
        };
        self.vload_as(code, addr)
    }

    /// A new vector temporary with 16 bytes from memory at an address that must be a multiple of 16 (#GP otherwise).
    pub(crate) fn vload_aligned(&mut self, addr: Addr) -> VSlot {
        self.vload_as(Code::VLoadA128, addr)
    }

    fn vload_as(&mut self, code: Code, addr: Addr) -> VSlot {
        let t = self.vtemp();
        self.emit(Self::indexed(code, t.0, addr));
        t
    }

    /// Stores the low 4, 8 or 16 bytes of a vector.
    pub(crate) fn vstore(&mut self, bytes: u8, addr: Addr, value: VSlot) {
        let code = match bytes {
            4 => Code::VStore32,
            8 => Code::VStore64,
            _ => Code::VStore128,
        };
        self.emit(Self::indexed(code, value.0, addr));
    }

    /// Stores 16 bytes at an address that must be a multiple of 16 (#GP otherwise).
    pub(crate) fn vstore_aligned(&mut self, addr: Addr, value: VSlot) {
        self.emit(Self::indexed(Code::VStoreA128, value.0, addr));
    }

    /// `dst <- a`, all 128 bits.
    pub(crate) fn vmov(&mut self, dst: VSlot, a: VSlot) {
        self.emit(Op { dst: dst.0, a: a.0, ..Op::new(Code::VMov) });
    }

    /// A new temporary with the low 32 or 64 bits of a vector.
    pub(crate) fn vget(&mut self, size: Size, a: VSlot) -> Slot {
        let code = if size == Size::B64 { Code::VGet64 } else { Code::VGet32 };
        let t = self.temp();
        self.emit(Op { dst: t.0, a: a.0, ..Op::new(code) });
        t
    }

    /// `dst <- a`, the low 32 or 64 bits, the rest zero.
    pub(crate) fn vput(&mut self, size: Size, dst: VSlot, a: Slot) {
        let code = if size == Size::B64 { Code::VPut64 } else { Code::VPut32 };
        self.emit(Op { dst: dst.0, a: a.0, ..Op::new(code) });
    }

    /// Calls an assist. What the four small operands mean is the assist's row in its table.
    pub(crate) fn assist(&mut self, id: AssistId, operands: [u8; 4], imm: i64) {
        let [dst, a, b, c] = operands;
        let [d, e] = (id as u16).to_le_bytes();
        self.emit(Op { code: Code::Assist, dst, a, b, c, d, e, imm });
    }

    /// A new temporary with the flags register in architectural layout.
    pub(crate) fn read_flags(&mut self) -> Slot {
        let t = self.temp();
        self.emit(Op { dst: t.0, ..Op::new(Code::ReadFlags) });
        t
    }

    /// Replaces the flags under a mask.
    pub(crate) fn write_flags(&mut self, mask: u32, a: impl Into<Val>) {
        let a = self.slot(a);
        self.emit(Op { a: a.0, imm: i64::from(mask), ..Op::new(Code::WriteFlags) });
    }

    /// Sets one flag (`SetCf`, `SetZf`) from the lowest bit of a value.
    pub(crate) fn flag_bit(&mut self, code: Code, a: Slot) {
        self.emit(Op { a: a.0, ..Op::new(code) });
    }

    /// Ends the block, going on at an address.
    pub(crate) fn jump(&mut self, target: u64) {
        self.exit_op(Op { imm: wrap(self.block.mode, target) as i64, ..Op::new(Code::Jump) });
    }

    /// Ends the block, going on at the address in a slot.
    pub(crate) fn jump_slot(&mut self, target: Slot) {
        self.exit_op(Op { a: target.0, ..Op::new(Code::JumpReg) });
    }

    /// Ends the block, going on at an address if a condition holds, else behind the instruction.
    pub(crate) fn branch(&mut self, cond: u8, target: u64) {
        const CODES: [Code; 16] = [
            Code::BrO,
            Code::BrNo,
            Code::BrB,
            Code::BrAe,
            Code::BrE,
            Code::BrNe,
            Code::BrBe,
            Code::BrA,
            Code::BrS,
            Code::BrNs,
            Code::BrP,
            Code::BrNp,
            Code::BrL,
            Code::BrGe,
            Code::BrLe,
            Code::BrG,
        ];
        let code = CODES[usize::from(cond & 15)];
        self.exit_op(Op { imm: wrap(self.block.mode, target) as i64, ..Op::new(code) });
    }

    /// Ends the block, going on at an address if a slot is not zero (`BrNz`) or zero (`BrZ`), else behind the instruction.
    pub(crate) fn branch_slot(&mut self, code: Code, a: Slot, target: u64) {
        self.exit_op(Op { a: a.0, imm: wrap(self.block.mode, target) as i64, ..Op::new(code) });
    }

    /// Ends the block, leaving the engine; the instruction pointer stays on a fault and is behind the instruction otherwise.
    pub(crate) fn leave(&mut self, reason: ExitReason) {
        let rip = if reason.is_fault() { self.ip } else { self.next_ip };
        self.exit_op(Op { c: reason as u8, imm: rip as i64, ..Op::new(Code::Exit) });
    }

    fn exit_op(&mut self, op: Op) {
        self.emit(op);
        self.exited = true;
    }
}
