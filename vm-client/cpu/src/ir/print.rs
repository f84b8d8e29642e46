//! The text form of the IR, one operation a line.

use std::fmt;

use super::{Block, Cond, ExitReason, Form, Op, Slot, VSlot};
use crate::assist;

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GPR: [&str; 16] = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
            "r15",
        ];
        const OTHER: [&str; 7] = ["0", "es.base", "cs.base", "ss.base", "ds.base", "fs.base", "gs.base"];
        match self.0 {
            n @ 0..16 => f.write_str(GPR[usize::from(n)]),
            n @ 16..23 => f.write_str(OTHER[usize::from(n - 16)]),
            n @ 23..32 => write!(f, "slot{n}?"),
            n => write!(f, "t{}", n - Slot::FIRST_TEMP),
        }
    }
}

impl fmt::Display for VSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 0..16 => write!(f, "xmm{n}"),
            n => write!(f, "v{}", n - VSlot::FIRST_TEMP),
        }
    }
}

/// A slot plus a constant.
struct Sum(Slot, i64);

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sum(slot, imm) = *self;
        match (slot, imm) {
            (Slot::ZERO, imm) => write!(f, "{imm:#x}"),
            (slot, 0) => write!(f, "{slot}"),
            (slot, imm) if imm < 0 => write!(f, "{slot} - {:#x}", imm.unsigned_abs()),
            (slot, imm) => write!(f, "{slot} + {imm:#x}"),
        }
    }
}

/// The address of an indexed access.
struct Address(Op, i64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address(op, disp) = *self;
        f.write_str("[")?;
        if Slot(op.d) != Slot::ZERO {
            write!(f, "{} + ", Slot(op.d))?;
        }
        if Slot(op.b) != Slot::ZERO {
            write!(f, "{} << {} + ", Slot(op.b), op.c)?;
        }
        write!(f, "{}]", Sum(Slot(op.a), disp))
    }
}

fn cond(c: u8) -> String {
    Cond::ALL.get(usize::from(c)).map_or_else(|| format!("cond{c}?"), |c| format!("{c:?}").to_lowercase())
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = *self;
        let info = op.code.info();
        let (dst, a, b, c) = (Slot(op.dst), Slot(op.a), Slot(op.b), Slot(op.c));
        let bits = info.size.bits();
        let name = info.name;
        let (vdst, va) = (VSlot(op.dst), VSlot(op.a));
        match info.form {
            Form::Move => write!(f, "{dst} = {name}.{bits} {}", Sum(b, op.imm)),
            Form::Binary => write!(f, "{dst} = {name}.{bits} {a}, {}", Sum(b, op.imm)),
            Form::Compare => write!(f, "{name}.{bits} {a}, {}", Sum(b, op.imm)),
            Form::Unary => write!(f, "{dst} = {name}.{bits} {a}"),
            Form::Double => write!(f, "{dst} = {name}.{bits} {a}, {b}, {}", Sum(c, op.imm)),
            Form::Select => write!(f, "{dst} = {name}.{bits} {c} ? {a} : {b}"),
            Form::Set => write!(f, "{dst} = {name}.{bits} {}", cond(op.c)),
            Form::CondMove => write!(f, "{dst} = {name}.{bits} {} ? {a} : {dst}", cond(op.c)),
            Form::Load => write!(f, "{dst} = {name}.{bits} [{}]", Sum(a, op.imm)),
            Form::LoadIndexed => write!(f, "{dst} = {name}.{bits} {}", Address(op, op.imm)),
            Form::Store => write!(f, "{name}.{bits} [{}], {dst}", Sum(a, op.imm)),
            Form::StoreIndexed => write!(f, "{name}.{bits} {}, {dst}", Address(op, op.imm)),
            Form::StoreImm => write!(f, "{name}.{bits} {}, {:#x}", Address(op, op.store_disp()), op.store_value()),
            Form::Address => write!(f, "{dst} = {name}.{bits} {}", Address(op, op.imm)),
            Form::Check => write!(f, "{name} {} bytes {}", op.dst, Address(op, op.imm)),
            Form::VMove => write!(f, "{vdst} = {name} {va}"),
            Form::VLoad => write!(f, "{vdst} = {name} {}", Address(op, op.imm)),
            Form::VStore => write!(f, "{name} {}, {vdst}", Address(op, op.imm)),
            Form::VGet => write!(f, "{dst} = {name}.{bits} {va}"),
            Form::VPut => write!(f, "{vdst} = {name}.{bits} {a}"),
            Form::ReadFlags => write!(f, "{dst} = {name}"),
            Form::WriteFlags => write!(f, "{name} {a} under {:#x}", op.imm),
            Form::FlagBit => write!(f, "{name} {a}"),
            Form::Assist => {
                let row = assist::row(op.assist_number());
                write!(f, "assist {}", row.name)?;
                for (kind, field) in row.operands.bytes().zip([op.dst, op.a, op.b, op.c]) {
                    match kind {
                        b'r' | b'w' => write!(f, " {}", Slot(field))?,
                        b'v' => write!(f, " {}", VSlot(field))?,
                        b'i' => write!(f, " {field}")?,
                        _ => {}
                    }
                }
                if op.imm != 0 { write!(f, " {:#x}", op.imm) } else { Ok(()) }
            }
            Form::Fused => write!(f, "{name} {dst} {a} {b} {:#x}", op.imm),
            Form::Jump | Form::Branch => write!(f, "{name} {:#x}", op.imm),
            Form::JumpReg => write!(f, "{name} {a}"),
            Form::BranchReg => write!(f, "{name} {a}, {:#x}", op.imm),
            Form::Exit => match ExitReason::ALL.get(usize::from(op.c)) {
                Some(reason) => write!(f, "{name} {reason:?} at {:#x}", op.imm),
                None => write!(f, "{name} {}? at {:#x}", op.c, op.imm),
            },
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "block {:#x} to {:#x}", self.start, self.end())?;
        for (i, insn) in self.insns.iter().enumerate() {
            writeln!(f, "{:#x}:", self.start.wrapping_add(u64::from(insn.offset)))?;
            for op in self.ops.get(self.ops_of(i)).unwrap_or_default() {
                writeln!(f, "    {op}")?;
            }
        }
        Ok(())
    }
}
