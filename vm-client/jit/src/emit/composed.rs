//! Integer operations on vectors that take several instructions of WebAssembly.

use vm_cpu::assist::Vector;
use vm_cpu::ir::{Op, VSlot};

use super::Emitter;
use super::shuffle::lanes;

impl Emitter<'_> {
    /// Operations that take several instructions.
    pub(super) fn composed(&mut self, op: &Op, what: Vector) -> bool {
        use Vector::*;
        let (dst, a, b) = (VSlot(op.dst), VSlot(op.a), VSlot(op.b));
        let signed = matches!(what, Pmulhw | Pmuldq);
        match what {
            // The even lanes, made neighbours, times each other.
            Pmuludq | Pmuldq => {
                for operand in [a, b] {
                    self.get_vector(operand);
                    self.get_vector(operand);
                    self.w().i8x16_shuffle(lanes([0, 2, 0, 2]));
                }
                if signed {
                    self.w().i64x2_extmul_low_i32x4_s();
                } else {
                    self.w().i64x2_extmul_low_i32x4_u();
                }
            }
            // The upper halves of the products of words.
            Pmulhw | Pmulhuw => {
                self.get_vector(a);
                self.get_vector(b);
                if signed {
                    self.w().i32x4_extmul_low_i16x8_s();
                } else {
                    self.w().i32x4_extmul_low_i16x8_u();
                }
                self.get_vector(a);
                self.get_vector(b);
                if signed {
                    self.w().i32x4_extmul_high_i16x8_s();
                } else {
                    self.w().i32x4_extmul_high_i16x8_u();
                }
                self.w().i8x16_shuffle(lanes([1, 3, 5, 7, 9, 11, 13, 15]));
            }
            // Of absolute differences the sums of each half.
            Psadbw => {
                for larger in [true, false] {
                    self.get_vector(a);
                    self.get_vector(b);
                    if larger {
                        self.w().i8x16_max_u();
                    } else {
                        self.w().i8x16_min_u();
                    }
                }
                let sums = self.vector_scratch(0);
                self.w().i8x16_sub().i16x8_extadd_pairwise_i8x16_u().i32x4_extadd_pairwise_i16x8_u().local_tee(sums);
                self.w().i32_const(32).i64x2_shr_u().local_get(sums).i64x2_add();
                self.w().v128_const(0x0000_0000_ffff_ffff_0000_0000_ffff_ffff).v128_and();
            }
            // Rounded: one bit more than wanted, plus one, without that bit.
            Pmulhrsw => {
                for high in [false, true] {
                    self.get_vector(a);
                    self.get_vector(b);
                    if high {
                        self.w().i32x4_extmul_high_i16x8_s();
                    } else {
                        self.w().i32x4_extmul_low_i16x8_s();
                    }
                    self.w().i32_const(14).i32x4_shr_s().i32_const(1).i32x4_splat().i32x4_add();
                    self.w().i32_const(1).i32x4_shr_s();
                }
                self.w().i8x16_shuffle(lanes([0, 2, 4, 6, 8, 10, 12, 14]));
            }
            // Unsigned bytes times signed ones, neighbours added.
            Pmaddubsw => {
                self.get_vector(a);
                self.w().i32_const(8).i16x8_shr_u();
                self.get_vector(b);
                self.w().i32_const(8).i16x8_shr_s().i16x8_mul();
                self.get_vector(a);
                self.w().i32_const(0xff).i16x8_splat().v128_and();
                self.get_vector(b);
                self.w().i32_const(8).i16x8_shl().i32_const(8).i16x8_shr_s().i16x8_mul().i16x8_add_sat_s();
            }
            Phaddw | Phaddd | Phaddsw | Phsubw | Phsubd | Phsubsw => {
                let wide = matches!(what, Phaddd | Phsubd);
                for odd in 0..2 {
                    self.get_vector(a);
                    self.get_vector(b);
                    let picks = if wide {
                        lanes([odd, 2 + odd, 4 + odd, 6 + odd])
                    } else {
                        lanes(std::array::from_fn::<u8, 8, _>(|i| 2 * i as u8 + odd))
                    };
                    self.w().i8x16_shuffle(picks);
                }
                match what {
                    Phaddw => self.w().i16x8_add(),
                    Phaddd => self.w().i32x4_add(),
                    Phaddsw => self.w().i16x8_add_sat_s(),
                    Phsubw => self.w().i16x8_sub(),
                    Phsubd => self.w().i32x4_sub(),
                    _ => self.w().i16x8_sub_sat_s(),
                };
            }
            // With `m` all ones where the second is negative: `(a ^ m) - m`; nothing where it is zero.
            Psignb | Psignw | Psignd => {
                let mask = self.vector_scratch(0);
                self.get_vector(a);
                self.get_vector(b);
                match what {
                    Psignb => self.w().i32_const(7).i8x16_shr_s(),
                    Psignw => self.w().i32_const(15).i16x8_shr_s(),
                    _ => self.w().i32_const(31).i32x4_shr_s(),
                };
                self.w().local_tee(mask).v128_xor().local_get(mask);
                match what {
                    Psignb => self.w().i8x16_sub(),
                    Psignw => self.w().i16x8_sub(),
                    _ => self.w().i32x4_sub(),
                };
                self.get_vector(b);
                self.w().v128_const(0);
                match what {
                    Psignb => self.w().i8x16_ne(),
                    Psignw => self.w().i16x8_ne(),
                    _ => self.w().i32x4_ne(),
                };
                self.w().v128_and();
            }
            _ => return false,
        }
        self.set_vector(dst);
        true
    }
}
