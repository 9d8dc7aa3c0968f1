//! Products of bf16 on AArch64.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Neon proves the features"
)]

use std::arch::aarch64::{
    uint32x4_t, vandq_u32, vdupq_n_u32, vfmaq_f32, vld1q_u16, vreinterpretq_f32_u32,
    vreinterpretq_u32_u16, vshlq_n_u32,
};

use super::super::target::Bf16Target;
use super::Neon;
use super::instructions::bfdot;
use crate::lanes::LANES;

impl<const DOT: bool, const I8MM: bool> Bf16Target for Neon<DOT, I8MM> {
    const BF16_VECTORS: &'static [usize] = if I8MM {
        &[0, 2, 2, 2, 1, 1, 1]
    } else {
        &[0, 2, 1, 1, 1]
    };
    type Pairs = [uint32x4_t; 4];

    #[inline(always)]
    fn load_pairs(self, pairs: &[u16; 2 * LANES]) -> Self::Pairs {
        let (quarters, _) = pairs.as_chunks::<8>();
        // SAFETY: `self` exists only where the CPU has Advanced SIMD; a quarter is 8 readable u16,
        // at any alignment.
        unsafe {
            [
                vreinterpretq_u32_u16(vld1q_u16(quarters[0].as_ptr())),
                vreinterpretq_u32_u16(vld1q_u16(quarters[1].as_ptr())),
                vreinterpretq_u32_u16(vld1q_u16(quarters[2].as_ptr())),
                vreinterpretq_u32_u16(vld1q_u16(quarters[3].as_ptr())),
            ]
        }
    }

    #[inline(always)]
    fn dot_pairs(self, pairs: Self::Pairs, activations: u32, sums: Self::Vector) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD, and with `I8MM` FEAT_BF16.
        unsafe {
            let a = vdupq_n_u32(activations);
            if I8MM {
                return [
                    bfdot(sums[0], pairs[0], a),
                    bfdot(sums[1], pairs[1], a),
                    bfdot(sums[2], pairs[2], a),
                    bfdot(sums[3], pairs[3], a),
                ];
            }
            let low = |x| vreinterpretq_f32_u32(vshlq_n_u32::<16>(x));
            let high = |x| vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xffff_0000)));
            let (a_low, a_high) = (low(a), high(a));
            let dot =
                |sums, pairs| vfmaq_f32(vfmaq_f32(sums, low(pairs), a_low), high(pairs), a_high);
            [
                dot(sums[0], pairs[0]),
                dot(sums[1], pairs[1]),
                dot(sums[2], pairs[2]),
                dot(sums[3], pairs[3]),
            ]
        }
    }
}
