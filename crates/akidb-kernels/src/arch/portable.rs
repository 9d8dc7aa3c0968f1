//! Whatever the compiler makes of plain loops on every CPU of the architecture.

use super::{Int8Target, Target};
use crate::lanes::{LANES, Lanes};

/// No particular instructions. On x86-64 that is SSE2: 16 registers of 4 lanes.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Target for Portable {
    const FMA: bool = false;
    const VECTORS: &'static [usize] = &[0, 2, 1];
    type Vector = Lanes;

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Lanes {
        *lanes
    }

    #[inline(always)]
    fn store(self, vector: Lanes) -> Lanes {
        vector
    }

    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        let mut sum = c;
        for l in 0..LANES {
            sum[l] = a[l] * b[l] + c[l];
        }
        sum
    }
}

impl Int8Target for Portable {
    const INT8_VECTORS: &'static [usize] = &[0, 1, 1, 1];
    type Weights = [u8; 4 * LANES];
    type Sums = [i32; LANES];

    #[inline(always)]
    fn zero_sums(self) -> Self::Sums {
        [0; LANES]
    }

    #[inline(always)]
    fn load_weights(self, weights: &[u8; 4 * LANES]) -> Self::Weights {
        *weights
    }

    #[inline(always)]
    fn dot(self, weights: Self::Weights, activations: i32, sums: Self::Sums) -> Self::Sums {
        let a = activations.to_ne_bytes().map(|a| i32::from(a as i8));
        let mut columns = [0; LANES];
        for (column, weights) in columns.iter_mut().zip(weights.as_chunks().0) {
            *column = u32::from_le_bytes(*weights);
        }
        // Whole words, which need no shuffling of bytes between lanes.
        let mut sums = sums;
        for (i, a) in a.into_iter().enumerate() {
            for l in 0..LANES {
                let weight = (columns[l] >> (8 * i)) & 0xff;
                sums[l] = sums[l].wrapping_add(weight as i32 * a);
            }
        }
        sums
    }

    #[inline(always)]
    fn store_sums(self, sums: Self::Sums) -> [i32; LANES] {
        sums
    }

    #[inline(always)]
    fn prefetch(self, _: &[[u8; 4 * LANES]; 2]) {}
}
