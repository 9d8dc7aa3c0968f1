//! AVX-512 F, BW, VL and DQ; with VNNI or without; with BF16 or without.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Avx512 proves the features"
)]

use std::arch::x86_64::{
    __m128i, __m512, __m512bh, __m512i, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch,
    _mm256_loadu_si256, _mm512_add_epi32, _mm512_and_si512, _mm512_broadcast_i32x4,
    _mm512_castsi512_ps, _mm512_cmpgt_epu32_mask, _mm512_cvtepi16_epi32, _mm512_cvtepi32_ps,
    _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_madd_epi16, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_slli_epi16, _mm512_slli_epi32,
    _mm512_srai_epi16, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::Kernel;
use super::target::{Bf16Target, F32Target, Int8Target, NBitsTarget};
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
        // SAFETY: `self` exists only where the CPU has AVX-512 F; `lanes` is 16 readable f32, at
        // any alignment.
        unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512) -> Lanes {
        let mut lanes = [0.0; LANES];
        // SAFETY: `self` exists only where the CPU has AVX-512 F; `lanes` is 16 writable f32, at
        // any alignment.
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
        // SAFETY: `self` exists only where the CPU has AVX-512 F; `lanes` is 16 readable u32, at
        // any alignment.
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
            // SAFETY: every x86-64 CPU has the instruction, a hint that never faults, whatever the
            // address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
        }
    }
}

impl<const VNNI: bool, const BF16: bool> Int8Target for Avx512<VNNI, BF16> {
    const INT8_VECTORS: &'static [usize] = &[0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    const INT8_PARTS: usize = if VNNI { 1 } else { 2 };
    type Weights = __m512i;
    type Sums = __m512i;

    #[inline(always)]
    fn zero_sums(self) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn load_weights(self, weights: &[u8; 4 * LANES]) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F; `weights` is 64 readable bytes,
        // at any alignment.
        unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) }
    }

    #[inline(always)]
    fn dot(self, weights: __m512i, activations: i32, sums: __m512i) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F and BW, and with `VNNI` VNNI.
        unsafe {
            let a = _mm512_set1_epi32(activations);
            if VNNI {
                return _mm512_dpbusd_epi32(sums, weights, a);
            }
            // Products of pairs fit into i32 without saturation.
            let (even, odd) = (every_other(weights, 0), every_other(weights, 1));
            let a_even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(a));
            let a_odd = _mm512_srai_epi16::<8>(a);
            let sums = _mm512_add_epi32(sums, _mm512_madd_epi16(even, a_even));
            _mm512_add_epi32(sums, _mm512_madd_epi16(odd, a_odd))
        }
    }

    #[inline(always)]
    fn load_part(self, weights: &[u8; 4 * LANES], part: usize) -> __m512i {
        let weights = self.load_weights(weights);
        if VNNI {
            return weights;
        }
        // SAFETY: `self` exists only where the CPU has AVX-512 F and BW.
        unsafe { every_other(weights, part) }
    }

    #[inline(always)]
    fn dot_part(self, weights: __m512i, activations: i32, sums: __m512i) -> __m512i {
        if VNNI {
            return self.dot(weights, activations, sums);
        }
        // SAFETY: `self` exists only where the CPU has AVX-512 F and BW.
        unsafe {
            let a = _mm512_set1_epi32(activations);
            _mm512_add_epi32(sums, _mm512_madd_epi16(weights, a))
        }
    }

    #[inline(always)]
    fn store_sums(self, sums: __m512i) -> [i32; LANES] {
        let mut lanes = [0; LANES];
        // SAFETY: `self` exists only where the CPU has AVX-512 F; `lanes` is 16 writable i32, at
        // any alignment.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sums) };
        lanes
    }
}

impl<const VNNI: bool, const BF16: bool> Bf16Target for Avx512<VNNI, BF16> {
    const BF16_VECTORS: &'static [usize] = &[0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    const BF16_PARTS: usize = if BF16 { 1 } else { 2 };
    type Pairs = __m512i;

    #[inline(always)]
    fn load_pairs(self, pairs: &[u16; 2 * LANES]) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F; `pairs` is 64 readable bytes, at
        // any alignment.
        unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) }
    }

    #[inline(always)]
    fn dot_pairs(self, pairs: __m512i, activations: u32, sums: __m512) -> __m512 {
        // SAFETY: `self` exists only where the CPU has AVX-512 F, and with `BF16` BF16; the two
        // vector types are the same 64 bytes, any of which will do.
        unsafe {
            let a = _mm512_set1_epi32(activations.cast_signed());
            if BF16 {
                let pairs = std::mem::transmute::<__m512i, __m512bh>(pairs);
                return _mm512_dpbf16_ps(sums, pairs, std::mem::transmute::<__m512i, __m512bh>(a));
            }
            let mut sums = sums;
            for part in 0..2 {
                let [pairs, a] = [pairs, a].map(|pairs| _mm512_castsi512_ps(widen(pairs, part)));
                sums = _mm512_fmadd_ps(pairs, a, sums);
            }
            sums
        }
    }

    #[inline(always)]
    fn load_pairs_part(self, pairs: &[u16; 2 * LANES], part: usize) -> __m512i {
        let pairs = self.load_pairs(pairs);
        if BF16 {
            return pairs;
        }
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { widen(pairs, part) }
    }

    #[inline(always)]
    fn dot_pairs_part(self, pairs: __m512i, activations: u32, sums: __m512) -> __m512 {
        if BF16 {
            return self.dot_pairs(pairs, activations, sums);
        }
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe {
            let a = _mm512_set1_ps(f32::from_bits(activations));
            _mm512_fmadd_ps(_mm512_castsi512_ps(pairs), a, sums)
        }
    }
}

/// The lower or upper bf16 of each word as f32.
#[inline(always)]
unsafe fn widen(pairs: __m512i, part: usize) -> __m512i {
    // SAFETY: the caller has a value of `Avx512`, which exists only where the CPU has AVX-512 F.
    unsafe {
        if part == 0 {
            _mm512_slli_epi32::<16>(pairs)
        } else {
            let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            _mm512_and_si512(pairs, upper)
        }
    }
}

/// The lower or upper byte of each 16 bits.
#[inline(always)]
unsafe fn every_other(bytes: __m512i, part: usize) -> __m512i {
    // SAFETY: the caller has a value of `Avx512`, which exists only where the CPU has AVX-512 F and
    // BW.
    unsafe {
        if part == 0 {
            _mm512_and_si512(bytes, _mm512_set1_epi16(0xff))
        } else {
            _mm512_srli_epi16::<8>(bytes)
        }
    }
}

impl<const VNNI: bool, const BF16: bool> NBitsTarget for Avx512<VNNI, BF16> {
    const NBITS_VECTORS: &'static [usize] = &[0, 2, 2, 2, 2, 2, 2];
    type Table = __m512i;

    #[inline(always)]
    fn load_table(self, bytes: &[u8; 16]) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F; `bytes` is 16 readable bytes, at
        // any alignment.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast::<__m128i>())) }
    }

    #[inline(always)]
    fn splat_sums(self, x: i32) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { _mm512_set1_epi32(x) }
    }

    #[inline(always)]
    fn add_sums(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn look_up<const HIGH: bool>(self, table: __m512i, codes: &[u8; 4 * LANES]) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F and BW; `codes` is 64 readable
        // bytes, at any alignment.
        unsafe {
            let codes = _mm512_loadu_si512(codes.as_ptr().cast());
            let codes = if HIGH {
                _mm512_srli_epi16::<4>(codes)
            } else {
                codes
            };
            _mm512_shuffle_epi8(table, _mm512_and_si512(codes, _mm512_set1_epi8(15)))
        }
    }

    #[inline(always)]
    fn nibbles<const HIGH: bool>(self, codes: &[u8; 4 * LANES]) -> __m512i {
        // SAFETY: `self` exists only where the CPU has AVX-512 F and BW; `codes` is 64 readable
        // bytes, at any alignment.
        unsafe {
            let codes = _mm512_loadu_si512(codes.as_ptr().cast());
            let codes = if HIGH {
                codes
            } else {
                _mm512_slli_epi16::<4>(codes)
            };
            _mm512_and_si512(codes, _mm512_set1_epi8(-16))
        }
    }

    #[inline(always)]
    fn load_i16(self, values: &[u8; 2 * LANES]) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has AVX-512 F and AVX2; `values` is 32 readable
        // bytes, at any alignment.
        unsafe {
            let values = _mm256_loadu_si256(values.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(values))
        }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: __m512i) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has AVX-512 F.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
}
