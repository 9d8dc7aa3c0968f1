//! What products of weights with a scale for each block need on top of [`Int8Target`].
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of a target proves the features"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm256_add_epi32, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_cvtepi32_ps, _mm256_loadu_si256, _mm256_set1_epi8,
    _mm256_set1_epi32, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm512_add_epi32,
    _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_cvtepi16_epi32, _mm512_cvtepi32_ps,
    _mm512_loadu_si512, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_shuffle_epi8,
    _mm512_slli_epi16, _mm512_srli_epi16,
};

use super::Int8Target;
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::portable::Portable;
use crate::lanes::LANES;

/// The part of a [`Target`](super::Target) for weights of 4 or 8 bits with a scale for each block.
pub(crate) trait NBitsTarget: Int8Target {
    /// As [`Int8Target::INT8_VECTORS`]; each sum of integers has a total in f32 at its side.
    const NBITS_VECTORS: &'static [usize];

    /// Sixteen bytes to look up, in a register.
    type Table: Copy;

    /// A table from memory.
    fn load_table(self, bytes: &[u8; 16]) -> Self::Table;

    /// `x` in all lanes.
    fn splat_sums(self, x: i32) -> Self::Sums;

    /// `a + b`.
    fn add_sums(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;

    /// Entries of the table that the low or `HIGH` nibbles of `codes` choose.
    fn look_up<const HIGH: bool>(
        self,
        table: Self::Table,
        codes: &[u8; 4 * LANES],
    ) -> Self::Weights;

    /// 16 · the low or `HIGH` nibbles of `codes`: in the upper half of a byte, a nibble needs one
    /// instruction less than in the lower one.
    #[inline(always)]
    fn nibbles<const HIGH: bool>(self, codes: &[u8; 4 * LANES]) -> Self::Weights {
        let mut bytes = *codes;
        for byte in &mut bytes {
            *byte = if HIGH { *byte & 0xf0 } else { *byte << 4 };
        }
        self.load_weights(&bytes)
    }

    /// Sixteen little-endian i16 from memory.
    #[inline(always)]
    fn load_i16(self, values: &[u8; 2 * LANES]) -> Self::Vector {
        let mut lanes = [0.0; LANES];
        for (lane, bytes) in lanes.iter_mut().zip(values.as_chunks().0) {
            *lane = f32::from(i16::from_le_bytes(*bytes));
        }
        self.load(&lanes)
    }

    /// Sums rounded to f32.
    #[inline(always)]
    fn sums_to_f32(self, sums: Self::Sums) -> Self::Vector {
        let sums = self.store_sums(sums);
        let mut lanes = [0.0; LANES];
        for l in 0..LANES {
            lanes[l] = sums[l] as f32;
        }
        self.load(&lanes)
    }
}

/// The bytes that nibbles choose, one after the other.
#[inline(always)]
fn look_up<const HIGH: bool>(table: [u8; 16], codes: &[u8; 4 * LANES]) -> [u8; 4 * LANES] {
    let mut bytes = *codes;
    for byte in &mut bytes {
        *byte = table[usize::from(if HIGH { *byte >> 4 } else { *byte & 15 })];
    }
    bytes
}

impl NBitsTarget for Portable {
    const NBITS_VECTORS: &'static [usize] = &[0, 1];
    type Table = [u8; 16];

    #[inline(always)]
    fn load_table(self, bytes: &[u8; 16]) -> [u8; 16] {
        *bytes
    }

    #[inline(always)]
    fn splat_sums(self, x: i32) -> Self::Sums {
        [x; LANES]
    }

    #[inline(always)]
    fn add_sums(self, a: Self::Sums, b: Self::Sums) -> Self::Sums {
        let mut sums = a;
        for l in 0..LANES {
            sums[l] = a[l].wrapping_add(b[l]);
        }
        sums
    }

    #[inline(always)]
    fn look_up<const HIGH: bool>(self, table: [u8; 16], codes: &[u8; 4 * LANES]) -> Self::Weights {
        self.load_weights(&look_up::<HIGH>(table, codes))
    }
}

#[cfg(target_arch = "x86_64")]
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
        // SAFETY: as above.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn look_up<const HIGH: bool>(self, table: __m256i, codes: &[u8; 4 * LANES]) -> Self::Weights {
        let mut halves = self.load_weights(codes);
        for half in &mut halves {
            // SAFETY: as above.
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
            // SAFETY: as above.
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
        // SAFETY: as above.
        unsafe { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
    }
}

#[cfg(target_arch = "x86_64")]
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
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn look_up<const HIGH: bool>(self, table: __m512i, codes: &[u8; 4 * LANES]) -> __m512i {
        // SAFETY: as above for F and BW; `codes` is 64 readable bytes, at any alignment.
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
        // SAFETY: as above.
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
        // SAFETY: as above for F; `values` is 32 readable bytes, at any alignment.
        unsafe {
            let values = _mm256_loadu_si256(values.as_ptr().cast());
            _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(values))
        }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: __m512i) -> Self::Vector {
        // SAFETY: as above for F.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
}

/// Tallest tile of a target's products of block-quantised weights, in rows.
pub(crate) const fn max_rows_nbits<T: NBitsTarget>() -> usize {
    T::NBITS_VECTORS.len() - 1
}
