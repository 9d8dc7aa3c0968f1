//! AVX2 and FMA, with AVX-VNNI or without.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Avx2 proves the features"
)]

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm256_add_epi32,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi256_ps, _mm256_cmpgt_epi32,
    _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_movemask_ps, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_slli_epi32, _mm256_srai_epi16, _mm256_srli_epi16, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_xor_si256,
};

use super::Kernel;
use super::target::{Bf16Target, F32Target, Int8Target, NBitsTarget};
use crate::lanes::{LANES, Lanes};

/// Exists only inside [`run`] and, with `VNNI`, [`run_vnni`]. 16 registers of 8 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>(());

/// Runs `kernel` compiled for AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn run(kernel: impl Kernel) {
    kernel.run(Avx2::<false>(()));
}

/// Runs `kernel` compiled for AVX2, FMA and AVX-VNNI.
#[target_feature(enable = "avxvnni,avx2,fma")]
pub(super) fn run_vnni(kernel: impl Kernel) {
    kernel.run(Avx2::<true>(()));
}

impl<const VNNI: bool> F32Target for Avx2<VNNI> {
    const FMA: bool = true;
    const VECTORS: &'static [usize] = &[0, 2, 2, 2, 1, 1, 1];
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
        // SAFETY: `self` exists only where the CPU has AVX2; each half is 8 readable f32, at any
        // alignment.
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
        // SAFETY: `self` exists only where the CPU has AVX2; each half is 8 writable f32, at any
        // alignment.
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

    #[inline(always)]
    fn above(self, lanes: &[u32; LANES], bar: u32) -> u32 {
        let (low, high) = lanes.split_at(LANES / 2);
        let above = |half: &[u32]| {
            // SAFETY: `self` exists only where the CPU has AVX2; each half is 8 readable u32, at any
            // alignment.
            unsafe {
                // Comparison is signed.
                let flip = _mm256_set1_epi32(i32::MIN);
                let bar = _mm256_xor_si256(_mm256_set1_epi32(bar.cast_signed()), flip);
                let lanes = _mm256_xor_si256(_mm256_loadu_si256(half.as_ptr().cast()), flip);
                let above = _mm256_cmpgt_epi32(lanes, bar);
                _mm256_movemask_ps(_mm256_castsi256_ps(above)).cast_unsigned()
            }
        };
        above(low) | above(high) << (LANES / 2)
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

impl<const VNNI: bool> Int8Target for Avx2<VNNI> {
    const INT8_VECTORS: &'static [usize] = &[0, 2, 2, 1, 1, 1];
    const INT8_PARTS: usize = if VNNI { 1 } else { 2 };
    type Weights = [__m256i; 2];
    type Sums = [__m256i; 2];

    #[inline(always)]
    fn zero_sums(self) -> Self::Sums {
        // SAFETY: `self` exists only where the CPU has AVX2.
        let zero = unsafe { _mm256_setzero_si256() };
        [zero; 2]
    }

    #[inline(always)]
    fn load_weights(self, weights: &[u8; 4 * LANES]) -> Self::Weights {
        let (low, high) = weights.split_at(2 * LANES);
        // SAFETY: `self` exists only where the CPU has AVX2; each half is 32 readable bytes, at any
        // alignment.
        unsafe {
            [
                _mm256_loadu_si256(low.as_ptr().cast()),
                _mm256_loadu_si256(high.as_ptr().cast()),
            ]
        }
    }

    #[inline(always)]
    fn dot(self, weights: Self::Weights, activations: i32, sums: Self::Sums) -> Self::Sums {
        // SAFETY: `self` exists only where the CPU has AVX2.
        let a = unsafe { _mm256_set1_epi32(activations) };
        [
            self.dot_half(weights[0], a, sums[0]),
            self.dot_half(weights[1], a, sums[1]),
        ]
    }

    #[inline(always)]
    fn load_part(self, weights: &[u8; 4 * LANES], part: usize) -> Self::Weights {
        let weights = self.load_weights(weights);
        if VNNI {
            return weights;
        }
        // SAFETY: `self` exists only where the CPU has AVX2.
        weights.map(|weights| unsafe { every_other(weights, part) })
    }

    #[inline(always)]
    fn dot_part(self, weights: Self::Weights, activations: i32, sums: Self::Sums) -> Self::Sums {
        if VNNI {
            return self.dot(weights, activations, sums);
        }
        // SAFETY: `self` exists only where the CPU has AVX2.
        unsafe {
            let a = _mm256_set1_epi32(activations);
            [
                add_in_order(sums[0], _mm256_madd_epi16(weights[0], a)),
                add_in_order(sums[1], _mm256_madd_epi16(weights[1], a)),
            ]
        }
    }

    #[inline(always)]
    fn store_sums(self, sums: Self::Sums) -> [i32; LANES] {
        let mut lanes = [0; LANES];
        let (low, high) = lanes.split_at_mut(LANES / 2);
        // SAFETY: `self` exists only where the CPU has AVX2; each half is 8 writable i32, at any
        // alignment.
        unsafe {
            _mm256_storeu_si256(low.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(high.as_mut_ptr().cast(), sums[1]);
        }
        lanes
    }
}

impl<const VNNI: bool> Bf16Target for Avx2<VNNI> {
    const BF16_VECTORS: &'static [usize] = &[0, 2, 2, 1, 1, 1];
    const BF16_PARTS: usize = 2;
    type Pairs = [__m256i; 2];

    #[inline(always)]
    fn load_pairs(self, pairs: &[u16; 2 * LANES]) -> Self::Pairs {
        let (low, high) = pairs.split_at(LANES);
        // SAFETY: `self` exists only where the CPU has AVX2; each half is 32 readable bytes, at any
        // alignment.
        unsafe {
            [
                _mm256_loadu_si256(low.as_ptr().cast()),
                _mm256_loadu_si256(high.as_ptr().cast()),
            ]
        }
    }

    #[inline(always)]
    fn dot_pairs(self, pairs: Self::Pairs, activations: u32, sums: Self::Vector) -> Self::Vector {
        let mut sums = sums;
        for (part, a) in [activations << 16, activations & UPPER]
            .into_iter()
            .enumerate()
        {
            // SAFETY: `self` exists only where the CPU has AVX2.
            let widened = pairs.map(|pairs| unsafe { widen(pairs, part) });
            sums = self.dot_pairs_part(widened, a, sums);
        }
        sums
    }

    #[inline(always)]
    fn load_pairs_part(self, pairs: &[u16; 2 * LANES], part: usize) -> Self::Pairs {
        // SAFETY: `self` exists only where the CPU has AVX2.
        self.load_pairs(pairs)
            .map(|pairs| unsafe { widen(pairs, part) })
    }

    #[inline(always)]
    fn dot_pairs_part(
        self,
        pairs: Self::Pairs,
        activations: u32,
        sums: Self::Vector,
    ) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has AVX2 and FMA.
        unsafe {
            let a = _mm256_set1_ps(f32::from_bits(activations));
            [
                _mm256_fmadd_ps(_mm256_castsi256_ps(pairs[0]), a, sums[0]),
                _mm256_fmadd_ps(_mm256_castsi256_ps(pairs[1]), a, sums[1]),
            ]
        }
    }
}

impl<const VNNI: bool> NBitsTarget for Avx2<VNNI> {
    const NBITS_VECTORS: &'static [usize] = &[0, 2, 1];
    type Table = __m256i;

    #[inline(always)]
    fn load_table(self, bytes: &[u8; 16]) -> __m256i {
        // SAFETY: `self` exists only where the CPU has AVX2; `bytes` is 16 readable bytes, at any
        // alignment.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast::<__m128i>())) }
    }

    #[inline(always)]
    fn splat_sums(self, x: i32) -> Self::Sums {
        // SAFETY: `self` exists only where the CPU has AVX2.
        [unsafe { _mm256_set1_epi32(x) }; 2]
    }

    #[inline(always)]
    fn add_sums(self, a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: `self` exists only where the CPU has AVX2.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn look_up<const HIGH: bool>(self, table: __m256i, codes: &[u8; 4 * LANES]) -> Self::Weights {
        let mut halves = self.load_weights(codes);
        for half in &mut halves {
            // SAFETY: `self` exists only where the CPU has AVX2.
            *half = unsafe {
                let codes = if HIGH {
                    _mm256_srli_epi16::<4>(*half)
                } else {
                    *half
                };
                _mm256_shuffle_epi8(table, _mm256_and_si256(codes, _mm256_set1_epi8(15)))
            };
        }
        halves
    }

    #[inline(always)]
    fn nibbles<const HIGH: bool>(self, codes: &[u8; 4 * LANES]) -> Self::Weights {
        let mut halves = self.load_weights(codes);
        for half in &mut halves {
            // SAFETY: `self` exists only where the CPU has AVX2.
            *half = unsafe {
                let codes = if HIGH {
                    *half
                } else {
                    _mm256_slli_epi16::<4>(*half)
                };
                _mm256_and_si256(codes, _mm256_set1_epi8(-16))
            };
        }
        halves
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: Self::Sums) -> Self::Vector {
        // SAFETY: `self` exists only where the CPU has AVX2.
        unsafe { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
    }
}

/// The upper half of a word.
const UPPER: u32 = 0xffff_0000;

/// The lower or upper bf16 of each word as f32.
#[inline(always)]
unsafe fn widen(pairs: __m256i, part: usize) -> __m256i {
    // SAFETY: the caller has a value of `Avx2`, which exists only where the CPU has AVX2.
    unsafe {
        if part == 0 {
            _mm256_slli_epi32::<16>(pairs)
        } else {
            _mm256_and_si256(pairs, _mm256_set1_epi32(UPPER.cast_signed()))
        }
    }
}

/// `sums + products`. A compiler that knows what this is adds the products to each other first, which
/// takes more registers than there are.
#[inline]
#[target_feature(enable = "avx2")]
fn add_in_order(sums: __m256i, products: __m256i) -> __m256i {
    let mut sums = sums;
    // SAFETY: one instruction of AVX2, which this function is compiled for, on registers alone.
    unsafe {
        asm!(
            "vpaddd {sums}, {sums}, {products}",
            sums = inout(ymm_reg) sums,
            products = in(ymm_reg) products,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The lower or upper byte of each 16 bits.
#[inline(always)]
unsafe fn every_other(bytes: __m256i, part: usize) -> __m256i {
    // SAFETY: the caller has a value of `Avx2`, which exists only where the CPU has AVX2.
    unsafe {
        if part == 0 {
            _mm256_and_si256(bytes, _mm256_set1_epi16(0xff))
        } else {
            _mm256_srli_epi16::<8>(bytes)
        }
    }
}

impl<const VNNI: bool> Avx2<VNNI> {
    /// [`Int8Target::dot`] of 8 columns, `a` being the activations 8 times.
    #[inline(always)]
    fn dot_half(self, weights: __m256i, a: __m256i, sums: __m256i) -> __m256i {
        // SAFETY: `self` exists only where the CPU has AVX2, and with `VNNI` AVX-VNNI.
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sums, weights, a);
            }
            // Products of pairs fit into i32 without saturation.
            let (even, odd) = (every_other(weights, 0), every_other(weights, 1));
            let a_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a));
            let a_odd = _mm256_srai_epi16::<8>(a);
            let sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, a_even));
            _mm256_add_epi32(sums, _mm256_madd_epi16(odd, a_odd))
        }
    }
}
