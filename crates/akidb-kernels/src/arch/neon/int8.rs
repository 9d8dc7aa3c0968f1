//! Products of u8 weights with i8 activations on AArch64.
#![allow(
    unsafe_code,
    reason = "intrinsics; a value of Neon proves the features"
)]

use std::arch::aarch64::{
    int8x16_t, int32x4_t, uint8x16_t, uint16x8_t, vaddq_s32, vcreate_s8, vdupq_n_s8, vdupq_n_s32,
    vdupq_n_u8, veorq_u8, vget_low_s16, vget_low_u8, vld1q_u8, vld4q_u8, vmlal_high_lane_s16,
    vmlal_lane_s16, vmovl_high_u8, vmovl_s8, vmovl_u8, vreinterpretq_s8_s32, vreinterpretq_s8_u8,
    vreinterpretq_s16_u16, vshlq_n_s32, vst1q_s32,
};

use super::super::target::Int8Target;
use super::Neon;
use super::instructions::{sdot, usdot};
use crate::lanes::LANES;

/// As [`Int8Target::Sums`].
pub(super) type Sums = [int32x4_t; 4];

/// What differs between the products of the tiers.
pub(in crate::arch) trait Products: Copy {
    /// As [`Int8Target::INT8_VECTORS`].
    const INT8_VECTORS: &'static [usize];

    /// As [`NBitsTarget::NBITS_VECTORS`](super::super::target::NBitsTarget::NBITS_VECTORS).
    const NBITS_VECTORS: &'static [usize];

    /// As [`Int8Target::SHIFTED`].
    const SHIFTED: bool = false;

    /// As [`Int8Target::Weights`].
    type Weights: Copy;

    /// Bytes in the order in which [`Self::weights`] takes them.
    fn load(self, bytes: &[u8; 4 * LANES]) -> [uint8x16_t; 4];

    /// What [`Self::dot`] takes.
    fn weights(self, bytes: [uint8x16_t; 4]) -> Self::Weights;

    /// As [`Int8Target::dot_shifted`].
    fn dot_shifted(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums;

    /// As [`Int8Target::dot`].
    #[inline(always)]
    fn dot(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums {
        self.dot_shifted(weights, activations, sums)
    }
}

/// Products of 16 bits, widened.
impl Products for Neon<false, false> {
    const INT8_VECTORS: &'static [usize] = &[0, 2, 1, 1, 1];
    const NBITS_VECTORS: &'static [usize] = &[0, 2, 1];
    /// By place along K: 16 columns.
    type Weights = [[uint16x8_t; 2]; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; 4 * LANES]) -> [uint8x16_t; 4] {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD; `bytes` is 64 readable bytes,
        // at any alignment.
        let places = unsafe { vld4q_u8(bytes.as_ptr()) };
        [places.0, places.1, places.2, places.3]
    }

    #[inline(always)]
    fn weights(self, bytes: [uint8x16_t; 4]) -> Self::Weights {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        let widen = |bytes| unsafe { [vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)] };
        [
            widen(bytes[0]),
            widen(bytes[1]),
            widen(bytes[2]),
            widen(bytes[3]),
        ]
    }

    #[inline(always)]
    fn dot_shifted(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums {
        let mut sums = sums;
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        unsafe {
            let a = vcreate_s8(u64::from(activations.cast_unsigned()));
            let a = vget_low_s16(vmovl_s8(a));
            macro_rules! places {
                ($($place:literal)*) => {$(
                    let low = vreinterpretq_s16_u16(weights[$place][0]);
                    let high = vreinterpretq_s16_u16(weights[$place][1]);
                    sums = [
                        vmlal_lane_s16::<$place>(sums[0], vget_low_s16(low), a),
                        vmlal_high_lane_s16::<$place>(sums[1], low, a),
                        vmlal_lane_s16::<$place>(sums[2], vget_low_s16(high), a),
                        vmlal_high_lane_s16::<$place>(sums[3], high, a),
                    ];
                )*};
            }
            places!(0 1 2 3);
        }
        sums
    }
}

/// `sdot`, which takes signed weights.
impl Products for Neon<true, false> {
    const INT8_VECTORS: &'static [usize] = &[0, 2, 2, 2, 1, 1, 1];
    const NBITS_VECTORS: &'static [usize] = &[0, 2, 1, 1];
    const SHIFTED: bool = true;
    type Weights = [int8x16_t; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; 4 * LANES]) -> [uint8x16_t; 4] {
        self.load_in_order(bytes)
    }

    #[inline(always)]
    fn weights(self, bytes: [uint8x16_t; 4]) -> Self::Weights {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        let signed = |bytes| unsafe { vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80))) };
        [
            signed(bytes[0]),
            signed(bytes[1]),
            signed(bytes[2]),
            signed(bytes[3]),
        ]
    }

    #[inline(always)]
    fn dot_shifted(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums {
        // SAFETY: `self` exists only where the CPU has FEAT_DotProd.
        unsafe {
            let a = vreinterpretq_s8_s32(vdupq_n_s32(activations));
            [
                sdot(sums[0], weights[0], a),
                sdot(sums[1], weights[1], a),
                sdot(sums[2], weights[2], a),
                sdot(sums[3], weights[3], a),
            ]
        }
    }

    #[inline(always)]
    fn dot(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums {
        // SAFETY: `self` exists only where the CPU has FEAT_DotProd.
        let lacking = unsafe {
            let a = vreinterpretq_s8_s32(vdupq_n_s32(activations));
            vshlq_n_s32::<7>(sdot(vdupq_n_s32(0), a, vdupq_n_s8(1)))
        };
        Products::dot_shifted(self, weights, activations, self.add(sums, [lacking; 4]))
    }
}

/// `usdot`.
impl Products for Neon<true, true> {
    const INT8_VECTORS: &'static [usize] = &[0, 2, 2, 2, 1, 1, 1];
    const NBITS_VECTORS: &'static [usize] = &[0, 2, 1, 1];
    type Weights = [uint8x16_t; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; 4 * LANES]) -> [uint8x16_t; 4] {
        self.load_in_order(bytes)
    }

    #[inline(always)]
    fn weights(self, bytes: [uint8x16_t; 4]) -> Self::Weights {
        bytes
    }

    #[inline(always)]
    fn dot_shifted(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums {
        // SAFETY: `self` exists only where the CPU has FEAT_I8MM.
        unsafe {
            let a = vreinterpretq_s8_s32(vdupq_n_s32(activations));
            [
                usdot(sums[0], weights[0], a),
                usdot(sums[1], weights[1], a),
                usdot(sums[2], weights[2], a),
                usdot(sums[3], weights[3], a),
            ]
        }
    }
}

impl<const DOT: bool, const I8MM: bool> Neon<DOT, I8MM> {
    #[inline(always)]
    fn load_in_order(self, bytes: &[u8; 4 * LANES]) -> [uint8x16_t; 4] {
        let (quarters, _) = bytes.as_chunks::<LANES>();
        // SAFETY: `self` exists only where the CPU has Advanced SIMD; a quarter is 16 readable
        // bytes, at any alignment.
        unsafe {
            [
                vld1q_u8(quarters[0].as_ptr()),
                vld1q_u8(quarters[1].as_ptr()),
                vld1q_u8(quarters[2].as_ptr()),
                vld1q_u8(quarters[3].as_ptr()),
            ]
        }
    }

    /// `a + b`.
    #[inline(always)]
    pub(super) fn add(self, a: Sums, b: Sums) -> Sums {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        unsafe {
            [
                vaddq_s32(a[0], b[0]),
                vaddq_s32(a[1], b[1]),
                vaddq_s32(a[2], b[2]),
                vaddq_s32(a[3], b[3]),
            ]
        }
    }
}

impl<const DOT: bool, const I8MM: bool> Int8Target for Neon<DOT, I8MM>
where
    Self: Products,
{
    const INT8_VECTORS: &'static [usize] = <Self as Products>::INT8_VECTORS;
    const SHIFTED: bool = <Self as Products>::SHIFTED;
    type Weights = <Self as Products>::Weights;
    type Sums = Sums;

    #[inline(always)]
    fn zero_sums(self) -> Sums {
        // SAFETY: `self` exists only where the CPU has Advanced SIMD.
        [unsafe { vdupq_n_s32(0) }; 4]
    }

    #[inline(always)]
    fn load_weights(self, weights: &[u8; 4 * LANES]) -> Self::Weights {
        self.weights(Products::load(self, weights))
    }

    #[inline(always)]
    fn dot(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums {
        Products::dot(self, weights, activations, sums)
    }

    #[inline(always)]
    fn dot_shifted(self, weights: Self::Weights, activations: i32, sums: Sums) -> Sums {
        Products::dot_shifted(self, weights, activations, sums)
    }

    #[inline(always)]
    fn store_sums(self, sums: Sums) -> [i32; LANES] {
        let mut lanes = [0; LANES];
        let (quarters, _) = lanes.as_chunks_mut::<4>();
        for (quarter, sums) in quarters.iter_mut().zip(sums) {
            // SAFETY: `self` exists only where the CPU has Advanced SIMD; a quarter is 4 writable
            // i32, at any alignment.
            unsafe { vst1q_s32(quarter.as_mut_ptr(), sums) };
        }
        lanes
    }
}
