//! AVX-512 F, BW, VL and DQ, with VNNI or without.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Avx512 proves the features"
)]

use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_epi32, _mm512_and_si512,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_madd_epi16,
    _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_slli_epi16,
    _mm512_srai_epi16, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::{Int8Target, Kernel, Target};
use crate::lanes::{LANES, Lanes};

/// Exists only inside [`run`] and, with `VNNI`, [`run_vnni`]. 32 registers of 16 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const VNNI: bool>(());

/// Runs `kernel` compiled for AVX-512 and what it implies.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) fn run(kernel: impl Kernel) {
    kernel.run(Avx512::<false>(()));
}

/// Runs `kernel` compiled for AVX-512, what it implies, and VNNI.
#[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) fn run_vnni(kernel: impl Kernel) {
    kernel.run(Avx512::<true>(()));
}

impl<const VNNI: bool> Target for Avx512<VNNI> {
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

impl<const VNNI: bool> Int8Target for Avx512<VNNI> {
    const INT8_VECTORS: &'static [usize] = &[0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    type Weights = __m512i;
    type Sums = __m512i;

    #[inline(always)]
    fn zero_sums(self) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn load_weights(self, weights: &[u8; 4 * LANES]) -> __m512i {
        // SAFETY: as above; `weights` is 64 readable bytes, at any alignment.
        unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) }
    }

    #[inline(always)]
    fn dot(self, weights: __m512i, activations: i32, sums: __m512i) -> __m512i {
        // SAFETY: as above for F and BW; with `VNNI`, `self` exists only where the CPU has VNNI.
        unsafe {
            let a = _mm512_set1_epi32(activations);
            if VNNI {
                return _mm512_dpbusd_epi32(sums, weights, a);
            }
            // Every other weight as i16. Products of pairs fit into i32 without saturation.
            let even = _mm512_and_si512(weights, _mm512_set1_epi16(0xff));
            let odd = _mm512_srli_epi16::<8>(weights);
            let a_even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(a));
            let a_odd = _mm512_srai_epi16::<8>(a);
            let sums = _mm512_add_epi32(sums, _mm512_madd_epi16(even, a_even));
            _mm512_add_epi32(sums, _mm512_madd_epi16(odd, a_odd))
        }
    }

    #[inline(always)]
    fn store_sums(self, sums: __m512i) -> [i32; LANES] {
        let mut lanes = [0; LANES];
        // SAFETY: as above for F; `lanes` is 16 writable i32, at any alignment.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sums) };
        lanes
    }

    #[inline(always)]
    fn prefetch(self, weights: &[[u8; 4 * LANES]; 2]) {
        for line in weights {
            // SAFETY: reads nothing that a program can see.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }
}
