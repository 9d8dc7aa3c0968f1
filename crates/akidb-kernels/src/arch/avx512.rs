//! AVX-512 F, BW, VL and DQ; with VNNI or without; with BF16 or without.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Avx512 proves the features"
)]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_epi32, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_cmpgt_epu32_mask, _mm512_dpbf16_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_set1_epi16,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_slli_epi16, _mm512_slli_epi32,
    _mm512_srai_epi16, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::{Bf16Target, F32Target, Int8Target, Kernel};
use crate::lanes::{LANES, Lanes};

/// Exists only inside [`run`], with `VNNI` [`run_vnni`], and with both [`run_bf16`]. 32 registers
/// of 16 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const VNNI: bool, const BF16: bool>(());

/// Runs `kernel` compiled for AVX-512 and what it implies.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) fn run(kernel: impl Kernel) {
    kernel.run(Avx512::<false, false>(()));
}

/// Runs `kernel` compiled for AVX-512, what it implies, and VNNI.
#[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) fn run_vnni(kernel: impl Kernel) {
    kernel.run(Avx512::<true, false>(()));
}

/// Runs `kernel` compiled for AVX-512, what it implies, VNNI and BF16.
#[target_feature(enable = "avx512bf16,avx512vnni,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) fn run_bf16(kernel: impl Kernel) {
    kernel.run(Avx512::<true, true>(()));
}

impl<const VNNI: bool, const BF16: bool> F32Target for Avx512<VNNI, BF16> {
    const FMA: bool = true;
    const VECTORS: &'static [usize] = &[0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
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

    #[inline(always)]
    fn above(self, lanes: &[u32; LANES], bar: u32) -> u32 {
        // SAFETY: as above; `lanes` is 16 readable u32, at any alignment.
        unsafe {
            let lanes = _mm512_loadu_si512(lanes.as_ptr().cast());
            let bar = _mm512_set1_epi32(bar.cast_signed());
            u32::from(_mm512_cmpgt_epu32_mask(lanes, bar))
        }
    }

    #[inline(always)]
    fn prefetch<W>(self, weights: &W) {
        for line in (0..size_of::<W>()).step_by(64) {
            let line = std::ptr::from_ref(weights).wrapping_byte_add(line);
            // SAFETY: reads nothing that a program can see.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
        }
    }
}

impl<const VNNI: bool, const BF16: bool> Int8Target for Avx512<VNNI, BF16> {
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
}

impl<const VNNI: bool, const BF16: bool> Bf16Target for Avx512<VNNI, BF16> {
    const BF16_VECTORS: &'static [usize] = &[0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    type Pairs = __m512i;

    #[inline(always)]
    fn load_pairs(self, pairs: &[u16; 2 * LANES]) -> __m512i {
        // SAFETY: as above; `pairs` is 64 readable bytes, at any alignment.
        unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) }
    }

    #[inline(always)]
    fn dot_pairs(self, pairs: __m512i, activations: u32, sums: __m512) -> __m512 {
        // SAFETY: as above for F; with `BF16`, `self` exists only where the CPU has BF16. The two
        // vector types are the same 64 bytes.
        unsafe {
            let a = _mm512_set1_epi32(activations.cast_signed());
            if BF16 {
                let pairs = std::mem::transmute::<__m512i, __m512bh>(pairs);
                return _mm512_dpbf16_ps(sums, pairs, std::mem::transmute::<__m512i, __m512bh>(a));
            }
            let low = |x| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x));
            let high = |x| {
                let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
                _mm512_castsi512_ps(_mm512_and_si512(x, upper))
            };
            let sums = _mm512_fmadd_ps(low(pairs), low(a), sums);
            _mm512_fmadd_ps(high(pairs), high(a), sums)
        }
    }
}
