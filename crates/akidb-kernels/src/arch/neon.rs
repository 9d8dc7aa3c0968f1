//! Advanced SIMD of AArch64.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Neon proves the features"
)]

use std::arch::aarch64::{
    float32x4_t, uint32x4_t, vandq_u32, vdupq_n_f32, vdupq_n_u32, vfmaq_f32, vld1q_f32, vld1q_u16,
    vreinterpretq_f32_u32, vreinterpretq_u32_u16, vshlq_n_u32, vst1q_f32,
};

use super::portable::Portable;
use super::{Bf16Target, F32Target, Int8Target, Kernel};
use crate::lanes::{LANES, Lanes};

/// Exists only inside [`run`]. 32 registers of 4 lanes.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

/// Runs `kernel` compiled for Advanced SIMD.
#[target_feature(enable = "neon")]
pub(super) fn run(kernel: impl Kernel) {
    kernel.run(Neon(()));
}

impl F32Target for Neon {
    const FMA: bool = true;
    const VECTORS: &'static [usize] = &[0, 2, 2, 2, 1, 1, 1];
    type Vector = [float32x4_t; 4];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        let x = unsafe { vdupq_n_f32(x) };
        [x; 4]
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Self::Vector {
        let (quarters, _) = lanes.as_chunks::<4>();
        // SAFETY: as above; a quarter is 4 readable f32, at any alignment.
        unsafe {
            [
                vld1q_f32(quarters[0].as_ptr()),
                vld1q_f32(quarters[1].as_ptr()),
                vld1q_f32(quarters[2].as_ptr()),
                vld1q_f32(quarters[3].as_ptr()),
            ]
        }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector) -> Lanes {
        let mut lanes = [0.0; LANES];
        let (quarters, _) = lanes.as_chunks_mut::<4>();
        for (quarter, vector) in quarters.iter_mut().zip(vector) {
            // SAFETY: as above; a quarter is 4 writable f32, at any alignment.
            unsafe { vst1q_f32(quarter.as_mut_ptr(), vector) };
        }
        lanes
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        unsafe {
            [
                vfmaq_f32(c[0], a[0], b[0]),
                vfmaq_f32(c[1], a[1], b[1]),
                vfmaq_f32(c[2], a[2], b[2]),
                vfmaq_f32(c[3], a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn prefetch<W>(self, weights: &W) {
        Portable.prefetch(weights);
    }
}

/// What the compiler makes of plain loops.
impl Int8Target for Neon {
    const INT8_VECTORS: &'static [usize] = &[0, 2, 1, 1, 1];
    type Weights = [u8; 4 * LANES];
    type Sums = [i32; LANES];

    #[inline(always)]
    fn zero_sums(self) -> Self::Sums {
        Portable.zero_sums()
    }

    #[inline(always)]
    fn load_weights(self, weights: &[u8; 4 * LANES]) -> Self::Weights {
        Portable.load_weights(weights)
    }

    #[inline(always)]
    fn dot(self, weights: Self::Weights, activations: i32, sums: Self::Sums) -> Self::Sums {
        Portable.dot(weights, activations, sums)
    }

    #[inline(always)]
    fn store_sums(self, sums: Self::Sums) -> [i32; LANES] {
        Portable.store_sums(sums)
    }
}

impl Bf16Target for Neon {
    const BF16_VECTORS: &'static [usize] = &[0, 2, 1, 1, 1];
    type Pairs = [uint32x4_t; 4];

    #[inline(always)]
    fn load_pairs(self, pairs: &[u16; 2 * LANES]) -> Self::Pairs {
        let (quarters, _) = pairs.as_chunks::<8>();
        // SAFETY: `self` exists only where the CPU has Advanced SIMD; a quarter is 8 readable
        // u16, at any alignment.
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
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        unsafe {
            let low = |x| vreinterpretq_f32_u32(vshlq_n_u32::<16>(x));
            let high = |x| vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xffff_0000)));
            let a = vdupq_n_u32(activations);
            let (a_low, a_high) = (low(a), high(a));
            let mut sums = sums;
            for (sums, pairs) in sums.iter_mut().zip(pairs) {
                *sums = vfmaq_f32(*sums, low(pairs), a_low);
                *sums = vfmaq_f32(*sums, high(pairs), a_high);
            }
            sums
        }
    }
}
