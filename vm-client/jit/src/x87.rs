//! Functions for x87 arithmetic that a module brings along where its regions want them.
//!
//! They are the common case of [`vm_cpu::assist::direct`] once more, in WebAssembly: a call inside a module that returns
//! number and exponent together costs a third of one to Rust, and n-body is mostly additions and multiplications. What is
//! not common (other control words, operands or results that are not normal) calls the Rust function and takes what it
//! left beside. Parameters and results are those of [`direct`]; `tests/isa` and the fuzzer hold both to the processor.
//!
//! [`direct`]: vm_cpu::assist::direct

use vm_cpu::assist::direct::Direct;
use wasm_encoder::{BlockType, InstructionSink, MemArg, ValType};

use crate::emit::{Function, Functions};
use crate::module;

/// The functions of a module, in this order.
pub const LOCAL: [Direct; 4] = [Direct::Add, Direct::Sub, Direct::Mul, Direct::ToDouble];

/// The number of a function among those a module brings along.
pub fn local_number(function: Direct) -> Option<u32> {
    LOCAL.iter().position(|f| *f == function).map(|i| i as u32)
}

/// The code of one of [`LOCAL`].
pub fn function(what: Direct, functions: &Functions) -> Function {
    let mut w = Writer { code: Vec::new(), functions };
    match what {
        Direct::ToDouble => w.narrow_to_double(),
        Direct::Mul => w.multiply(),
        _ => w.add(what == Direct::Sub),
    }
    use ValType::{I32, I64};
    let locals = match what {
        Direct::ToDouble => vec![I32, I64, I64, I32],
        _ => vec![I32, I32, I64, I64, I64, I64, I32, I32, I32],
    };
    Function { locals, code: w.code, ..Function::default() }
}

/// Locals of functions of two numbers.
mod two {
    pub(super) const A: u32 = 0;
    pub(super) const B: u32 = 1;
    pub(super) const EXPONENTS: u32 = 2;
    pub(super) const CONTROL: u32 = 3;
    /// Exponents without signs; the first becomes the result's.
    pub(super) const X: u32 = 4;
    pub(super) const Y: u32 = 5;
    /// The larger operand, the smaller one.
    pub(super) const LARGE: u32 = 6;
    pub(super) const SMALL: u32 = 7;
    /// The result before rounding.
    pub(super) const HIGH: u32 = 8;
    pub(super) const LOW: u32 = 9;
    pub(super) const SIGN: u32 = 10;
    pub(super) const BY: u32 = 11;
    /// Whether the smaller operand comes first.
    pub(super) const SWAP: u32 = 12;
}

struct Writer<'a> {
    code: Vec<u8>,
    functions: &'a Functions,
}

impl Writer<'_> {
    fn w(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    /// Leaves the block if the control word, in a local, is another than the usual one in these bits.
    fn require_control(&mut self, local: u32, bits: i32, usual: i32) {
        self.w().local_get(local).i32_const(bits).i32_and().i32_const(usual).i32_ne().br_if(0);
    }

    /// Takes the exponents apart; leaves the block unless both operands are normal.
    fn require_normal(&mut self) {
        use two::{A, B, EXPONENTS, X, Y};
        self.w().local_get(A).local_get(B).i64_and().i64_const(0).i64_ge_s().br_if(0);
        self.w().local_get(EXPONENTS).i32_const(0x7fff).i32_and().local_tee(X);
        self.w().i32_const(1).i32_sub().i32_const(0x7ffe).i32_ge_u().br_if(0);
        self.w().local_get(EXPONENTS).i32_const(16).i32_shr_u().i32_const(0x7fff).i32_and().local_tee(Y);
        self.w().i32_const(1).i32_sub().i32_const(0x7ffe).i32_ge_u().br_if(0);
    }

    /// Rounds `HIGH` and `LOW`, whose exponent is `X`, to nearest and returns; leaves the block at either end of exponents.
    fn round_and_return(&mut self) {
        use two::{BY, HIGH, LOW, SIGN, X};
        // Up: more than half, or half and odd.
        self.w().local_get(LOW).local_get(HIGH).i64_const(1).i64_and().i64_or().i64_const(i64::MIN).i64_gt_u();
        self.w().local_tee(BY).i64_extend_i32_u().local_get(HIGH).i64_add().local_tee(HIGH).i64_eqz();
        self.w().if_(BlockType::Empty).i64_const(i64::MIN).local_set(HIGH);
        self.w().local_get(X).i32_const(1).i32_add().local_set(X).end();
        self.w().local_get(X).i32_const(1).i32_sub().i32_const(0x7ffe).i32_ge_u().br_if(0);
        self.w().local_get(HIGH).local_get(X).local_get(SIGN).i32_or();
        self.w().local_get(LOW).i64_const(0).i64_ne().i32_const(21).i32_shl().i32_or();
        self.w().local_get(BY).i32_const(25).i32_shl().i32_or().return_();
    }

    /// Behind the block: the Rust function does it.
    fn otherwise(&mut self, function: Direct, parameters: u32) {
        for parameter in 0..parameters {
            self.w().local_get(parameter);
        }
        let ty = if function.is_binary() { module::BINARY_TYPE } else { module::UNARY_TYPE };
        let slot = self.functions.slots[function as usize];
        let side = MemArg { offset: u64::from(self.functions.side), align: 2, memory_index: 0 };
        self.w().i32_const(slot as i32).call_indirect(0, ty).i32_const(0).i32_load(side).end();
    }

    fn multiply(&mut self) {
        use two::{A, B, CONTROL, EXPONENTS, HIGH, LARGE, LOW, SIGN, SMALL, X, Y};
        self.w().block(BlockType::Empty);
        self.require_control(CONTROL, 0xf3f, 0x33f);
        self.require_normal();
        self.w().local_get(EXPONENTS).i32_const(16).i32_shr_u().local_get(EXPONENTS).i32_xor();
        self.w().i32_const(0x8000).i32_and().local_set(SIGN);
        self.w().local_get(X).local_get(Y).i32_add().i32_const(16383 - 1).i32_sub().local_set(X);
        // Halves: the products of the lower, of the crossed and of the upper ones.
        let (low_mask, half) = (0xffff_ffff, 32);
        let product = |w: &mut Self, a_high: bool, b_high: bool| {
            for (operand, high) in [(A, a_high), (B, b_high)] {
                if high {
                    w.w().local_get(operand).i64_const(half).i64_shr_u();
                } else {
                    w.w().local_get(operand).i64_const(low_mask).i64_and();
                }
            }
            w.w().i64_mul();
        };
        product(self, false, false);
        self.w().local_tee(LOW).i64_const(half).i64_shr_u();
        product(self, true, false);
        self.w().i64_add().local_set(LARGE);
        product(self, false, true);
        self.w().local_get(LARGE).i64_const(low_mask).i64_and().i64_add().local_set(SMALL);
        product(self, true, true);
        self.w().local_get(LARGE).i64_const(half).i64_shr_u().i64_add();
        self.w().local_get(SMALL).i64_const(half).i64_shr_u().i64_add().local_set(HIGH);
        self.w().local_get(SMALL).i64_const(half).i64_shl();
        self.w().local_get(LOW).i64_const(low_mask).i64_and().i64_or().local_set(LOW);
        self.w().local_get(HIGH).i64_const(0).i64_ge_s().if_(BlockType::Empty);
        self.w()
            .local_get(HIGH)
            .i64_const(1)
            .i64_shl()
            .local_get(LOW)
            .i64_const(63)
            .i64_shr_u()
            .i64_or()
            .local_set(HIGH);
        self.w().local_get(LOW).i64_const(1).i64_shl().local_set(LOW);
        self.w().local_get(X).i32_const(1).i32_sub().local_set(X).end();
        self.round_and_return();
        self.w().end();
        self.otherwise(Direct::Mul, 4);
    }

    /// A sum, or with `subtracts` a difference.
    fn add(&mut self, subtracts: bool) {
        use two::{A, B, BY, CONTROL, EXPONENTS, HIGH, LARGE, LOW, SIGN, SMALL, SWAP, X, Y};
        self.w().block(BlockType::Empty);
        self.require_control(CONTROL, 0xf3f, 0x33f);
        self.require_normal();
        // The larger operand first.
        self.w().local_get(X).local_get(Y).i32_lt_s();
        self.w().local_get(X).local_get(Y).i32_eq().local_get(A).local_get(B).i64_lt_u().i32_and().i32_or();
        self.w().local_set(SWAP);
        self.w().local_get(B).local_get(A).local_get(SWAP).select().local_set(LARGE);
        self.w().local_get(A).local_get(B).local_get(SWAP).select().local_set(SMALL);
        // Its sign: of the second operand it is turned in a difference.
        self.w().local_get(EXPONENTS).i32_const(16).i32_shr_u();
        if subtracts {
            self.w().i32_const(0x8000).i32_xor();
        }
        self.w().local_tee(SIGN).local_get(EXPONENTS).local_get(SWAP).select().i32_const(0x8000).i32_and();
        // Whether the signs differ, in SWAP from here on.
        self.w().local_get(SIGN).local_get(EXPONENTS).i32_xor().i32_const(0x8000).i32_and();
        self.w().local_get(SWAP).local_set(BY).local_set(SWAP).local_set(SIGN);
        // The distance, and the larger exponent.
        self.w().local_get(Y).local_get(X).local_get(BY).select();
        self.w().local_get(X).local_get(Y).local_get(BY).select().local_set(Y).local_tee(X);
        self.w().local_get(Y).i32_sub().local_tee(BY).i32_const(64).i32_lt_u();
        self.w().if_(BlockType::Empty);
        self.w().local_get(SMALL).local_get(BY).i64_extend_i32_u().i64_shr_u().local_set(HIGH);
        self.w().local_get(SMALL).i64_const(1).i64_shl().i32_const(63).local_get(BY).i32_sub().i64_extend_i32_u();
        self.w().i64_shl().local_set(LOW).else_();
        // At two places below there is doubt only about two distances.
        self.w().local_get(BY).i32_const(66).i32_lt_u().br_if(1);
        self.w().i64_const(0).local_set(HIGH).i64_const(1).local_set(LOW).end();
        self.w().local_get(SWAP).i32_eqz().if_(BlockType::Empty);
        self.w().local_get(LARGE).local_get(HIGH).i64_add().local_tee(HIGH).local_get(LARGE).i64_lt_u();
        self.w().if_(BlockType::Empty);
        self.w().local_get(HIGH).i64_const(63).i64_shl().local_get(LOW).i64_const(1).i64_shr_u().i64_or();
        self.w().local_get(LOW).i64_const(1).i64_and().i64_or().local_set(LOW);
        self.w().local_get(HIGH).i64_const(1).i64_shr_u().i64_const(i64::MIN).i64_or().local_set(HIGH);
        self.w().local_get(X).i32_const(1).i32_add().local_set(X).end().else_();
        self.w().local_get(LARGE).local_get(HIGH).i64_sub();
        self.w().local_get(LOW).i64_const(0).i64_ne().i64_extend_i32_u().i64_sub().local_set(HIGH);
        self.w().i64_const(0).local_get(LOW).i64_sub().local_set(LOW);
        self.w().local_get(HIGH).i64_const(0).i64_ge_s().if_(BlockType::Empty);
        // Only small differences of neighbours lose all of the upper half; zero is among them.
        self.w().local_get(HIGH).i64_eqz().br_if(2);
        self.w().local_get(X).local_get(HIGH).i64_clz().i32_wrap_i64().local_tee(BY).i32_sub().local_set(X);
        self.w().local_get(HIGH).local_get(BY).i64_extend_i32_u().i64_shl();
        self.w().local_get(LOW).i64_const(1).i64_shr_u().i32_const(63).local_get(BY).i32_sub().i64_extend_i32_u();
        self.w().i64_shr_u().i64_or().local_set(HIGH);
        self.w().local_get(LOW).local_get(BY).i64_extend_i32_u().i64_shl().local_set(LOW);
        self.w().end().end();
        self.round_and_return();
        self.w().end();
        self.otherwise(if subtracts { Direct::Sub } else { Direct::Add }, 4);
    }

    fn narrow_to_double(&mut self) {
        const SIGNIFICAND: u32 = 0;
        const EXPONENT: u32 = 1;
        const CONTROL: u32 = 2;
        const X: u32 = 3;
        const KEPT: u32 = 4;
        const LOST: u32 = 5;
        const UP: u32 = 6;
        self.w().block(BlockType::Empty);
        self.require_control(CONTROL, 0xc3f, 0x3f);
        self.w().local_get(SIGNIFICAND).i64_const(0).i64_ge_s().br_if(0);
        // Away from both ends, where rounding cannot lead to another kind of number.
        self.w().local_get(EXPONENT).i32_const(0x7fff).i32_and().i32_const(16383 - 1023).i32_sub().local_tee(X);
        self.w().i32_const(2).i32_sub().i32_const(2044).i32_ge_u().br_if(0);
        self.w().local_get(SIGNIFICAND).i64_const(11).i64_shr_u().local_set(KEPT);
        self.w().local_get(SIGNIFICAND).i64_const(53).i64_shl().local_tee(LOST);
        self.w().local_get(KEPT).i64_const(1).i64_and().i64_or().i64_const(i64::MIN).i64_gt_u().local_set(UP);
        // The integer bit adds one to an exponent that is one too small.
        self.w().local_get(X).i32_const(1).i32_sub().i64_extend_i32_u().i64_const(52).i64_shl();
        self.w().local_get(KEPT).i64_add().local_get(UP).i64_extend_i32_u().i64_add();
        self.w().local_get(EXPONENT).i32_const(0x8000).i32_and().i64_extend_i32_u().i64_const(48).i64_shl().i64_or();
        self.w().local_get(LOST).i64_const(0).i64_ne().i32_const(21).i32_shl();
        self.w().local_get(UP).i32_const(25).i32_shl().i32_or().return_();
        self.w().end();
        self.otherwise(Direct::ToDouble, 3);
    }
}
