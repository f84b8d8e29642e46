//! Multiplication and division with EDX:EAX.

use vm_cpu::assist::AssistId;
use vm_cpu::ir::Op;
use vm_cpu::{Exception, reg};
use wasm_encoder::{BlockType, ValType};

use super::{Emitter, Label, Why, local};
use crate::flow::{is_division, is_wide_multiplication};

const EAX: u8 = reg::RAX as u8;
const EDX: u8 = reg::RDX as u8;

impl Emitter<'_> {
    /// Emits an assist that is one of these, if it is.
    pub(super) fn wide(&mut self, op: &Op) -> bool {
        if is_wide_multiplication(op) {
            self.multiply(op);
            return true;
        }
        if is_division(op) {
            if op.assist_number() == AssistId::Div as u16 {
                self.divide(op)
            } else {
                self.divide_signed(op)
            }
            return true;
        }
        false
    }

    fn multiply(&mut self, op: &Op) {
        let signed = op.assist_number() == AssistId::ImulWide as u16;
        let product = self.temp_local(1, ValType::I64);
        for slot in [EAX, op.a] {
            self.get32(slot);
            if signed {
                self.w().i64_extend_i32_s();
            } else {
                self.w().i64_extend_i32_u();
            }
        }
        self.w().i64_mul().local_tee(product).i32_wrap_i64().local_tee(local::FLAG_A);
        self.set32(EAX);
        self.w().local_get(product).i64_const(32).i64_shr_u().i32_wrap_i64();
        self.set32(EDX);
        // Carry and overflow: the upper half is more than the extension of the lower one.
        self.get32(EDX);
        if signed {
            self.get32(EAX);
            self.w().i32_const(31).i32_shr_s().i32_ne();
        } else {
            self.w().i32_const(0).i32_ne();
        }
        self.w().i32_const(3).i32_mul().local_set(local::FLAG_D);
    }

    fn raise_if(&mut self) {
        self.open_unlikely_if();
        self.stop(Why::Raise(Exception::DivideError));
        self.close();
    }

    fn push_dividend(&mut self) {
        self.get32(EDX);
        self.w().i64_extend_i32_u().i64_const(32).i64_shl();
        self.get32(EAX);
        self.w().i64_extend_i32_u().i64_or();
    }

    fn begin_else(&mut self) {
        self.w().else_();
    }

    fn open_plain_if(&mut self) {
        self.w().if_(BlockType::Empty);
        self.labels.push(Label::Plain);
    }

    fn divide(&mut self, op: &Op) {
        let dividend = self.temp_local(1, ValType::I64);
        self.get32(op.a);
        self.w().local_set(local::SCRATCH);
        // The quotient fits if the upper half is below the divisor, which then is not zero.
        self.get32(EDX);
        self.w().local_get(local::SCRATCH).i32_ge_u();
        self.raise_if();
        self.get32(EDX);
        self.w().i32_eqz();
        self.open_plain_if();
        // One division: what is left is cheaper by multiplication.
        self.get32(EAX);
        self.get32(EAX);
        self.w().local_get(local::SCRATCH).i32_div_u();
        self.set32(EAX);
        self.get32(EAX);
        self.w().local_get(local::SCRATCH).i32_mul().i32_sub();
        self.set32(EDX);
        self.begin_else();
        self.push_dividend();
        self.w().local_tee(dividend).local_get(local::SCRATCH).i64_extend_i32_u().i64_div_u().i32_wrap_i64();
        self.set32(EAX);
        self.w().local_get(dividend).i32_wrap_i64();
        self.get32(EAX);
        self.w().local_get(local::SCRATCH).i32_mul().i32_sub();
        self.set32(EDX);
        self.close();
    }

    fn divide_signed(&mut self, op: &Op) {
        let dividend = self.temp_local(1, ValType::I64);
        let quotient = self.temp_local(2, ValType::I64);
        self.get32(op.a);
        self.w().local_tee(local::SCRATCH).i32_eqz();
        self.raise_if();
        // The usual case: the dividend is the extension of EAX, and is not the one number whose negative does not fit.
        self.get32(EDX);
        self.get32(EAX);
        self.w().i32_const(31).i32_shr_s().i32_eq();
        self.get32(EAX);
        self.w().i32_const(i32::MIN).i32_ne().i32_and();
        self.open_plain_if();
        self.get32(EAX);
        self.get32(EAX);
        self.w().local_get(local::SCRATCH).i32_div_s();
        self.set32(EAX);
        self.get32(EAX);
        self.w().local_get(local::SCRATCH).i32_mul().i32_sub();
        self.set32(EDX);
        self.begin_else();
        self.push_dividend();
        self.w().local_tee(dividend).i64_const(i64::MIN).i64_eq();
        self.raise_if();
        self.w().local_get(dividend).local_get(local::SCRATCH).i64_extend_i32_s().i64_div_s().local_tee(quotient);
        self.w().local_get(quotient).i64_extend32_s().i64_ne();
        self.raise_if();
        self.w().local_get(dividend).local_get(quotient).local_get(local::SCRATCH).i64_extend_i32_s().i64_mul();
        self.w().i64_sub().i32_wrap_i64();
        self.set32(EDX);
        self.w().local_get(quotient).i32_wrap_i64();
        self.set32(EAX);
        self.close();
    }
}
