//! Integer operations.

use vm_cpu::ir::{Code, Form, Op, Size, Slot};
use wasm_encoder::{BlockType, ValType};

use super::{Emitter, local};
use crate::flow::{self, FlagState, is_foreign, keeps_overflow, kept_carry};
use crate::lazy::Carry;

/// The plain part of operations that take two numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Mul,
}

impl Emitter<'_> {
    /// Emits one operation that is no exit.
    pub(super) fn operation(&mut self, op: &Op) {
        use Code::*;
        if is_foreign(op) {
            return self.foreign(op);
        }
        let size = op.code.info().size;
        let before = self.flags;
        match op.code {
            Mov8 | Mov16 | Mov32 => {
                self.second32(op);
                self.put(op.dst, size);
            }
            Mov64 => self.mov64(op),
            Add8 | Add16 | Add32 | Add64 => self.plain(op, Plain::Add),
            Sub8 | Sub16 | Sub32 | Sub64 => self.plain(op, Plain::Sub),
            And8 | And16 | And32 | And64 => self.plain(op, Plain::And),
            Or8 | Or16 | Or32 | Or64 => self.plain(op, Plain::Or),
            Xor8 | Xor16 | Xor32 | Xor64 => self.plain(op, Plain::Xor),
            Mul16 | Mul32 | Mul64 => self.plain(op, Plain::Mul),
            Adc8 | Adc16 | Adc32 | Sbb8 | Sbb16 | Sbb32 => {
                let add = matches!(op.code, Adc8 | Adc16 | Adc32);
                self.get32(op.a);
                self.second32(op);
                if add {
                    self.w().i32_add();
                } else {
                    self.w().i32_sub();
                }
                self.any_carry();
                if add {
                    self.w().i32_add();
                } else {
                    self.w().i32_sub();
                }
                self.put(op.dst, size);
            }
            Shl8 | Shl16 | Shl32 | Shr8 | Shr16 | Shr32 | Sar8 | Sar16 | Sar32 => {
                self.second32(op);
                self.w().local_set(local::SCRATCH);
                self.shifted(op, size);
                self.put(op.dst, size);
            }
            Shl64 | Shr64 | Sar64 => {
                self.get64(op.a);
                self.second64(op);
                match op.code {
                    Shl64 => self.w().i64_shl(),
                    Shr64 => self.w().i64_shr_u(),
                    _ => self.w().i64_shr_s(),
                };
                self.set64(op.dst);
            }
            Rol8 | Rol16 | Rol32 | Ror8 | Ror16 | Ror32 => {
                self.rotated(op, size);
                self.put(op.dst, size);
            }
            Rol64 | Ror64 => {
                self.get64(op.a);
                self.second64(op);
                if op.code == Rol64 {
                    self.w().i64_rotl();
                } else {
                    self.w().i64_rotr();
                }
                self.set64(op.dst);
            }

            AddF8 | AddF16 | AddF32 => self.flagged(op, Some(Plain::Add)),
            SubF8 | SubF16 | SubF32 => self.flagged(op, Some(Plain::Sub)),
            CmpF8 | CmpF16 | CmpF32 => self.flagged(op, None),
            AndF8 | AndF16 | AndF32 => self.logic(op, Plain::And, true),
            OrF8 | OrF16 | OrF32 => self.logic(op, Plain::Or, true),
            XorF8 | XorF16 | XorF32 => self.logic(op, Plain::Xor, true),
            TestF8 | TestF16 | TestF32 => self.logic(op, Plain::And, false),
            AdcF8 | AdcF16 | AdcF32 | SbbF8 | SbbF16 | SbbF32 => self.with_carry(op),
            IncF8 | IncF16 | IncF32 | DecF8 | DecF16 | DecF32 => self.inc_dec(op),
            ShlF8 | ShlF16 | ShlF32 | ShrF8 | ShrF16 | ShrF32 | SarF8 | SarF16 | SarF32 => self.shift_flags(op),
            RolF8 | RolF16 | RolF32 | RorF8 | RorF16 | RorF32 => self.rotate_flags(op),
            MulF16 | MulF32 => {
                self.get32(op.a);
                self.second32(op);
                self.w().local_set(local::FLAG_B).local_set(local::FLAG_A);
                self.w().local_get(local::FLAG_A).local_get(local::FLAG_B).i32_mul();
                self.put(op.dst, size);
            }
            Shld32 | Shrd32 => {
                self.double_count(op);
                self.double(op);
                self.set32(op.dst);
            }
            ShldF32 | ShrdF32 => self.double_flags(op),
            BsfF16 | BsfF32 | BsrF16 | BsrF32 => self.scan(op),
            PopcntF16 | PopcntF32 => {
                self.get32(op.a);
                if size == Size::B16 {
                    self.w().i32_const(0xffff).i32_and();
                }
                self.w().local_tee(local::SCRATCH).i32_eqz().i32_const(6).i32_shl().local_set(local::FLAG_A);
                self.w().local_get(local::SCRATCH).i32_popcnt();
                self.put(op.dst, size);
            }
            Bswap32 => self.bswap(op),
            Eq8 | Eq16 | Eq32 => {
                self.get32(op.a);
                self.second32(op);
                self.w().i32_xor();
                match size {
                    Size::B8 => self.w().i32_const(0xff).i32_and(),
                    Size::B16 => self.w().i32_const(0xffff).i32_and(),
                    _ => self.w().nop(),
                };
                self.w().i32_eqz();
                self.set32(op.dst);
            }
            Eq64 => {
                self.get64(op.a);
                self.second64(op);
                self.w().i64_eq();
                self.set32(op.dst);
            }
            Zx8 => {
                self.get32(op.a);
                self.w().i32_const(0xff).i32_and();
                self.set32(op.dst);
            }
            Zx16 => {
                self.get32(op.a);
                self.w().i32_const(0xffff).i32_and();
                self.set32(op.dst);
            }
            Sx8To16 | Sx8To32 => {
                self.get32(op.a);
                self.w().i32_extend8_s();
                self.put(op.dst, size);
            }
            Sx16To32 => {
                self.get32(op.a);
                self.w().i32_extend16_s();
                self.set32(op.dst);
            }
            Sx8To64 | Sx16To64 | Sx32To64 => {
                self.get64(op.a);
                match op.code {
                    Sx8To64 => self.w().i64_extend8_s(),
                    Sx16To64 => self.w().i64_extend16_s(),
                    _ => self.w().i64_extend32_s(),
                };
                self.set64(op.dst);
            }
            WriteFlags => {
                let (at, mask) = (self.other_flags_at(), op.imm as i32);
                self.w().i32_const(0).i32_const(0).i32_load(at).i32_const(!mask).i32_and();
                self.get32(op.a);
                self.w().i32_const(mask).i32_and().i32_or().i32_store(at);
            }
            GetH => {
                self.get32(op.a);
                self.w().i32_const(8).i32_shr_u().i32_const(0xff).i32_and();
                self.set32(op.dst);
            }
            SetH => {
                self.get32(op.a);
                self.w().i32_const(0xff).i32_and().i32_const(8).i32_shl();
                self.get32(op.dst);
                self.w().i32_const(!0xff00).i32_and().i32_or();
                self.set32(op.dst);
            }
            Select => {
                self.get64(op.a);
                self.get64(op.b);
                self.get64(op.c);
                self.w().i64_const(0).i64_ne().select();
                self.set64(op.dst);
            }
            SetCc => {
                self.condition(op.c);
                self.put(op.dst, Size::B8);
            }
            Cmov16 | Cmov32 => {
                self.get32(op.a);
                self.get32(op.dst);
                self.condition(op.c);
                self.w().select();
                self.put(op.dst, size);
            }
            Lea16 | Lea32 => self.lea(op),
            Load8 | Load16 | Load32 | Load64 | LoadX8 | LoadX16 | LoadX32 | LoadX64 => self.load(op),
            Store8 | Store16 | Store32 | Store64 | StoreX8 | StoreX16 | StoreX32 | StoreX64 | StoreI8 | StoreI16
            | StoreI32 | StoreI64 => self.store(op),
            CheckStore => self.check(op),
            SetCf => self.set_carry(op),
            Assist => self.assist(op),
            _ => self.vector_or_foreign(op),
        }
        // Calls of the runtime have set the state themselves, to the same.
        self.flags = flow::after(op, before);
    }

    fn mov64(&mut self, op: &Op) {
        let narrow = op.imm == 0 && self.temps.get(&op.b) != Some(&ValType::I64);
        if narrow || (op.b == Slot::ZERO.0 && u32::try_from(op.imm).is_ok()) {
            self.second32(op);
            self.set32(op.dst);
        } else {
            self.second64(op);
            self.set64(op.dst);
        }
    }

    fn plain32(&mut self, what: Plain) {
        match what {
            Plain::Add => self.w().i32_add(),
            Plain::Sub => self.w().i32_sub(),
            Plain::And => self.w().i32_and(),
            Plain::Or => self.w().i32_or(),
            Plain::Xor => self.w().i32_xor(),
            Plain::Mul => self.w().i32_mul(),
        };
    }

    fn plain(&mut self, op: &Op, what: Plain) {
        let size = op.code.info().size;
        if size == Size::B64 {
            self.get64(op.a);
            self.second64(op);
            match what {
                Plain::Add => self.w().i64_add(),
                Plain::Sub => self.w().i64_sub(),
                Plain::And => self.w().i64_and(),
                Plain::Or => self.w().i64_or(),
                Plain::Xor => self.w().i64_xor(),
                Plain::Mul => self.w().i64_mul(),
            };
            return self.set64(op.dst);
        }
        self.get32(op.a);
        self.second32(op);
        self.plain32(what);
        self.put(op.dst, size);
    }

    /// An operation whose flags come from both inputs.
    fn flagged(&mut self, op: &Op, what: Option<Plain>) {
        self.get32(op.a);
        self.second32(op);
        self.w().local_set(local::FLAG_B).local_set(local::FLAG_A);
        if let Some(what) = what {
            self.w().local_get(local::FLAG_A).local_get(local::FLAG_B);
            self.plain32(what);
            self.put(op.dst, op.code.info().size);
        }
    }

    /// An operation whose flags come from its result.
    fn logic(&mut self, op: &Op, what: Plain, keeps: bool) {
        if op.a == op.b && op.imm == 0 && what == Plain::And {
            self.get32(op.a);
        } else if op.a == op.b && op.imm == 0 && what == Plain::Xor {
            self.w().i32_const(0);
        } else {
            self.get32(op.a);
            self.second32(op);
            self.plain32(what);
        }
        self.w().local_set(local::FLAG_A);
        if keeps {
            self.w().local_get(local::FLAG_A);
            self.put(op.dst, op.code.info().size);
        }
    }

    fn with_carry(&mut self, op: &Op) {
        use Code::*;
        let add = matches!(op.code, AdcF8 | AdcF16 | AdcF32);
        self.any_carry();
        self.get32(op.a);
        self.second32(op);
        self.w().local_set(local::FLAG_B).local_set(local::FLAG_A).local_set(local::FLAG_C);
        self.w().local_get(local::FLAG_A).local_get(local::FLAG_B);
        if add {
            self.w().i32_add();
        } else {
            self.w().i32_sub();
        }
        self.w().local_get(local::FLAG_C);
        if add {
            self.w().i32_add();
        } else {
            self.w().i32_sub();
        }
        self.put(op.dst, op.code.info().size);
    }

    fn inc_dec(&mut self, op: &Op) {
        use Code::*;
        let by = if matches!(op.code, IncF8 | IncF16 | IncF32) { 1 } else { -1 };
        let known = match self.flags {
            FlagState::DynamicCarry => true,
            // The carry is where it has to be already.
            FlagState::Static(kind) => {
                matches!(kind.carry(), Carry::Only | Carry::Both) || kept_carry(self.flags) == Carry::Memory
            }
            FlagState::Dynamic => false,
        };
        if !known {
            self.any_carry();
            self.w().local_set(local::FLAG_D);
        }
        self.get32(op.a);
        self.w().local_tee(local::FLAG_A).i32_const(by).i32_add();
        self.put(op.dst, op.code.info().size);
    }

    fn scan(&mut self, op: &Op) {
        let size = op.code.info().size;
        self.second32(op);
        if size == Size::B16 {
            self.w().i32_const(0xffff).i32_and();
        }
        self.w().local_set(local::FLAG_A);
        if matches!(op.code, Code::BsfF16 | Code::BsfF32) {
            self.w().local_get(local::FLAG_A).i32_ctz();
        } else {
            self.w().i32_const(31).local_get(local::FLAG_A).i32_clz().i32_sub();
        }
        self.get32(op.a);
        self.w().local_get(local::FLAG_A).select();
        self.put(op.dst, size);
    }

    fn bswap(&mut self, op: &Op) {
        self.get32(op.a);
        self.w().local_tee(local::SCRATCH).i32_const(8).i32_rotl().i32_const(0x00ff_00ff).i32_and();
        self.w().local_get(local::SCRATCH).i32_const(8).i32_rotr().i32_const(0xff00_ff00_u32 as i32).i32_and().i32_or();
        self.set32(op.dst);
    }

    fn lea(&mut self, op: &Op) {
        let mut terms = 0;
        if op.a != Slot::ZERO.0 {
            self.get32(op.a);
            terms += 1;
        }
        if op.b != Slot::ZERO.0 {
            self.get32(op.b);
            if op.c & 3 != 0 {
                self.w().i32_const(i32::from(op.c & 3)).i32_shl();
            }
            terms += 1;
        }
        if terms == 0 || op.imm as i32 != 0 {
            self.w().i32_const(op.imm as i32);
            terms += 1;
        }
        for _ in 1..terms {
            self.w().i32_add();
        }
        if op.code == Code::Lea16 {
            self.w().i32_const(0xffff).i32_and();
        }
        self.set32(op.dst);
    }

    fn set_carry(&mut self, op: &Op) {
        match self.flags {
            FlagState::Static(kind) if keeps_overflow(kind) => {}
            _ => self.flags_to_eflags(),
        }
        self.get32(op.a);
        self.w().i32_const(1).i32_and().local_set(local::FLAG_D);
    }

    /// Pushes whether the branch of a block's last operation is taken.
    pub(super) fn branch_taken(&mut self, op: &Op) {
        if op.code.info().form == Form::Branch {
            let number = op.code as u16 - Code::BrO as u16;
            return self.condition(number as u8);
        }
        if self.temps.get(&op.a) == Some(&ValType::I64) {
            self.get64(op.a);
            self.w().i64_const(0).i64_ne();
        } else {
            self.get32(op.a);
        }
        if op.code == Code::BrZ {
            self.w().i32_eqz();
        }
    }

    pub(super) fn open_block(&mut self, label: super::Label) {
        self.w().block(BlockType::Empty);
        self.labels.push(label);
    }
}
