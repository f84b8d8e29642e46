//! Shifts and shuffles of vectors.

use vm_cpu::assist::Vector;
use vm_cpu::ir::{Op, VSlot};
use wasm_encoder::ValType;

use super::Emitter;

/// Numbers of bytes for shuffles, from lanes of some size: 0 to 15 are the first operand's, 16 to 31 the second's.
pub(super) fn lanes<const N: usize>(picks: [u8; N]) -> [u8; 16] {
    let size = 16 / N;
    std::array::from_fn(|i| picks[i / size] * size as u8 + (i % size) as u8)
}

fn pick(imm: u8, i: u32) -> u8 {
    imm >> (2 * i) & 3
}

impl Emitter<'_> {
    /// Shifts of lanes, by a constant or by the low half of a vector.
    pub(super) fn shift(&mut self, op: &Op, what: Vector) -> bool {
        use Vector::*;
        let bits = match what {
            Psllw | Psrlw | Psraw => 16,
            Pslld | Psrld | Psrad => 32,
            Psllq | Psrlq => 64,
            _ => return false,
        };
        let arithmetic = matches!(what, Psraw | Psrad);
        let (dst, a, b) = (VSlot(op.dst), VSlot(op.a), VSlot(op.b));
        let emit = |e: &mut Self| {
            match what {
                Psllw => e.w().i16x8_shl(),
                Psrlw => e.w().i16x8_shr_u(),
                Psraw => e.w().i16x8_shr_s(),
                Pslld => e.w().i32x4_shl(),
                Psrld => e.w().i32x4_shr_u(),
                Psrad => e.w().i32x4_shr_s(),
                Psllq => e.w().i64x2_shl(),
                _ => e.w().i64x2_shr_u(),
            };
        };
        if op.imm & 0x100 != 0 {
            let count = (op.imm & 0xff) as i32;
            if count >= bits && !arithmetic {
                self.w().v128_const(0);
            } else {
                self.get_vector(a);
                self.w().i32_const(count.min(bits - 1));
                emit(self);
            }
        } else {
            let count = self.temp_local(1, ValType::I64);
            self.get_vector(b);
            self.w().i64x2_extract_lane(0).local_set(count);
            self.get_vector(a);
            if arithmetic {
                let most = i64::from(bits - 1);
                self.w().local_get(count).i64_const(most).local_get(count).i64_const(most).i64_lt_u().select();
                self.w().i32_wrap_i64();
                emit(self);
            } else {
                self.w().local_get(count).i32_wrap_i64();
                emit(self);
                self.w().v128_const(0).local_get(count).i64_const(i64::from(bits)).i64_lt_u().select();
            }
        }
        self.set_vector(dst);
        true
    }

    /// Operations that only move bytes.
    pub(super) fn shuffle(&mut self, op: &Op, what: Vector) -> bool {
        use Vector::*;
        let (dst, mut a, mut b) = (VSlot(op.dst), VSlot(op.a), VSlot(op.b));
        let imm = op.imm as u8;
        let mut zero_second = false;
        let table = match what {
            Punpcklbw => std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u8),
            Punpckhbw => std::array::from_fn(|i| (8 + i / 2 + i % 2 * 16) as u8),
            Punpcklwd => lanes([0, 8, 1, 9, 2, 10, 3, 11]),
            Punpckhwd => lanes([4, 12, 5, 13, 6, 14, 7, 15]),
            Punpckldq => lanes([0, 4, 1, 5]),
            Punpckhdq => lanes([2, 6, 3, 7]),
            Punpcklqdq | Movlhps => lanes([0, 2]),
            Punpckhqdq => lanes([1, 3]),
            Movhlps => lanes([3, 1]),
            Movss => lanes([4, 1, 2, 3]),
            Movsd => lanes([2, 1]),
            Pshufd => {
                a = b;
                lanes([pick(imm, 0), pick(imm, 1), pick(imm, 2), pick(imm, 3)])
            }
            Pshuflw => {
                a = b;
                lanes([pick(imm, 0), pick(imm, 1), pick(imm, 2), pick(imm, 3), 4, 5, 6, 7])
            }
            Pshufhw => {
                a = b;
                lanes([0, 1, 2, 3, 4 + pick(imm, 0), 4 + pick(imm, 1), 4 + pick(imm, 2), 4 + pick(imm, 3)])
            }
            Shufps => lanes([pick(imm, 0), pick(imm, 1), 4 + pick(imm, 2), 4 + pick(imm, 3)]),
            Shufpd => lanes([imm & 1, 2 + (imm >> 1 & 1)]),
            Movsldup => {
                a = b;
                lanes([0, 0, 2, 2])
            }
            Movshdup => {
                a = b;
                lanes([1, 1, 3, 3])
            }
            Movddup => {
                a = b;
                lanes([0, 0])
            }
            Blendps => std::array::from_fn(|i| (i + 16 * usize::from(imm >> (i / 4) & 1)) as u8),
            Blendpd => std::array::from_fn(|i| (i + 16 * usize::from(imm >> (i / 8) & 1)) as u8),
            Pblendw => std::array::from_fn(|i| (i + 16 * usize::from(imm >> (i / 2) & 1)) as u8),
            Movq => {
                a = b;
                zero_second = true;
                lanes([0, 2])
            }
            Palignr if imm <= 16 => {
                std::mem::swap(&mut a, &mut b);
                std::array::from_fn(|i| i as u8 + imm)
            }
            Pslldq if op.imm & 0x100 != 0 => {
                zero_second = true;
                let by = usize::from(imm.min(16));
                std::array::from_fn(|i| if i < by { 16 } else { (i - by) as u8 })
            }
            Psrldq if op.imm & 0x100 != 0 => {
                zero_second = true;
                let by = imm.min(16);
                std::array::from_fn(|i| (i as u8 + by).min(16))
            }
            _ => return false,
        };
        self.get_vector(a);
        if zero_second {
            self.w().v128_const(0);
        } else {
            self.get_vector(b);
        }
        self.w().i8x16_shuffle(table);
        self.set_vector(dst);
        true
    }
}
