//! Advanced SIMD of AArch64; with FEAT_DotProd or without; with FEAT_I8MM and FEAT_BF16 or without.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Neon proves the features"
)]

use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_f32, vld1q_f32, vst1q_f32};

use super::Kernel;
use super::target::F32Target;
use crate::lanes::{LANES, Lanes};

mod bf16;
mod instructions;
mod int8;
mod nbits;

use instructions::prefetch;

/// Exists only inside [`run`], with `DOT` [`run_dot`], and with both [`run_i8mm`]. 32 registers of
/// 4 lanes.
#[derive(Clone, Copy)]
pub(super) struct Neon<const DOT: bool, const I8MM: bool>(());

/// Runs `kernel` compiled for Advanced SIMD.
#[target_feature(enable = "neon")]
pub(super) fn run(kernel: impl Kernel) {
    kernel.run(Neon::<false, false>(()));
}

/// Runs `kernel` compiled for Advanced SIMD and FEAT_DotProd.
#[target_feature(enable = "dotprod,neon")]
pub(super) fn run_dot(kernel: impl Kernel) {
    kernel.run(Neon::<true, false>(()));
}

/// Runs `kernel` compiled for Advanced SIMD, FEAT_DotProd, FEAT_I8MM and FEAT_BF16.
#[target_feature(enable = "bf16,i8mm,dotprod,neon")]
pub(super) fn run_i8mm(kernel: impl Kernel) {
    kernel.run(Neon::<true, true>(()));
}

impl<const DOT: bool, const I8MM: bool> F32Target for Neon<DOT, I8MM> {
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
        // SAFETY: `self` exists only where the CPU has Advanced SIMD; a quarter is 4 readable f32,
        // at any alignment.
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
            // SAFETY: `self` exists only where the CPU has Advanced SIMD; a quarter is 4 writable
            // f32, at any alignment.
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
        for line in (0..size_of::<W>()).step_by(64) {
            prefetch(std::ptr::from_ref(weights).wrapping_byte_add(line).cast());
        }
    }
}
