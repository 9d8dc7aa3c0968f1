//! AVX-512 F, BW, VL and DQ.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Avx512 proves the features"
)]

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
};

use super::{Kernel, Target};
use crate::lanes::{LANES, Lanes};

/// Exists only inside [`run`]. 32 registers of 16 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// Runs `kernel` compiled for AVX-512 and what it implies.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) fn run(kernel: impl Kernel) {
    kernel.run(Avx512(()));
}

impl Target for Avx512 {
    const FMA: bool = true;
    const VECTORS: &'static [usize] = &[0, 8, 8, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2];
    type Vector = __m512;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> __m512 {
        // SAFETY: as above; `lanes` is 16 readable f32, at any alignment.
        unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512) -> Lanes {
        let mut lanes = [0.0; LANES];
        // SAFETY: as above; `lanes` is 16 writable f32, at any alignment.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), vector) };
        lanes
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}
