//! AVX2 and FMA.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Avx2 proves the features"
)]

use std::arch::x86_64::{
    __m256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
};

use super::{Kernel, Target};
use crate::lanes::{LANES, Lanes};

/// Exists only inside [`run`]. 16 registers of 8 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Runs `kernel` compiled for AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn run(kernel: impl Kernel) {
    kernel.run(Avx2(()));
}

impl Target for Avx2 {
    const FMA: bool = true;
    const VECTORS: &'static [usize] = &[0, 4, 2, 2, 1, 1, 1];
    type Vector = [__m256; 2];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has AVX2.
        let x = unsafe { _mm256_set1_ps(x) };
        [x; 2]
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Self::Vector {
        let (low, high) = lanes.split_at(LANES / 2);
        // SAFETY: as above; each half is 8 readable f32, at any alignment.
        unsafe {
            [
                _mm256_loadu_ps(low.as_ptr()),
                _mm256_loadu_ps(high.as_ptr()),
            ]
        }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector) -> Lanes {
        let mut lanes = [0.0; LANES];
        let (low, high) = lanes.split_at_mut(LANES / 2);
        // SAFETY: as above; each half is 8 writable f32, at any alignment.
        unsafe {
            _mm256_storeu_ps(low.as_mut_ptr(), vector[0]);
            _mm256_storeu_ps(high.as_mut_ptr(), vector[1]);
        }
        lanes
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has FMA.
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }
}
