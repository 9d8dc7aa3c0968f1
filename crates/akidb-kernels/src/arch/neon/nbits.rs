//! Products of weights with a scale for each block on AArch64.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Neon proves the features"
)]

use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vcvtq_f32_s32, vdupq_n_s32, vdupq_n_u8, vget_low_s16, vld1q_s16,
    vld1q_u8, vmovl_high_s16, vmovl_s16, vqtbl1q_u8, vshlq_n_u8, vshrq_n_u8,
};

use super::super::target::{Int8Target, NBitsTarget};
use super::Neon;
use super::int8::{Products, Sums};
use crate::lanes::LANES;

impl<const DOT: bool, const I8MM: bool> NBitsTarget for Neon<DOT, I8MM>
where
    Self: Products,
{
    const NBITS_VECTORS: &'static [usize] = <Self as Products>::NBITS_VECTORS;
    type Table = uint8x16_t;

    #[inline(always)]
    fn load_table(self, bytes: &[u8; 16]) -> uint8x16_t {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD; `bytes` is 16 readable bytes,
        // at any alignment.
        unsafe { vld1q_u8(bytes.as_ptr()) }
    }

    #[inline(always)]
    fn splat_sums(self, x: i32) -> Sums {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        [unsafe { vdupq_n_s32(x) }; 4]
    }

    #[inline(always)]
    fn add_sums(self, a: Sums, b: Sums) -> Sums {
        self.add(a, b)
    }

    #[inline(always)]
    fn look_up<const HIGH: bool>(
        self,
        table: uint8x16_t,
        codes: &[u8; 4 * LANES],
    ) -> <Self as Int8Target>::Weights {
        let [a, b, c, d] = Products::load(self, codes);
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        let entries = |codes| unsafe {
            let codes = if HIGH {
                vshrq_n_u8::<4>(codes)
            } else {
                vandq_u8(codes, vdupq_n_u8(15))
            };
            vqtbl1q_u8(table, codes)
        };
        self.weights([entries(a), entries(b), entries(c), entries(d)])
    }

    #[inline(always)]
    fn nibbles<const HIGH: bool>(self, codes: &[u8; 4 * LANES]) -> <Self as Int8Target>::Weights {
        let [a, b, c, d] = Products::load(self, codes);
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        let nibbles = |codes| unsafe {
            if HIGH {
                vandq_u8(codes, vdupq_n_u8(0xf0))
            } else {
                vshlq_n_u8::<4>(codes)
            }
        };
        self.weights([nibbles(a), nibbles(b), nibbles(c), nibbles(d)])
    }

    #[inline(always)]
    fn load_i16(self, values: &[u8; 2 * LANES]) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD; `values` is 16 readable i16,
        // at any alignment.
        unsafe {
            let values = values.as_ptr().cast::<i16>();
            let [low, high] = [vld1q_s16(values), vld1q_s16(values.add(LANES / 2))];
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: Sums) -> Self::Vector {
        let [a, b, c, d] = sums;
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        unsafe {
            [
                vcvtq_f32_s32(a),
                vcvtq_f32_s32(b),
                vcvtq_f32_s32(c),
                vcvtq_f32_s32(d),
            ]
        }
    }
}
