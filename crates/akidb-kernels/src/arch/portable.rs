//! Whatever the compiler makes of plain loops on every CPU of the architecture.

use super::target::{Bf16Target, F32Target, Int8Target, NBitsTarget};
use crate::lanes::{LANES, Lanes};

/// No particular instructions. On x86-64 that is SSE2: 16 registers of 4 lanes.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl F32Target for Portable {
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

    #[inline(always)]
    fn prefetch<W>(self, _: &W) {}
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
}

impl Bf16Target for Portable {
    const BF16_VECTORS: &'static [usize] = &[0, 1, 1];
    type Pairs = [u32; LANES];

    #[inline(always)]
    fn load_pairs(self, pairs: &[u16; 2 * LANES]) -> Self::Pairs {
        let mut words = [0; LANES];
        for (word, pair) in words.iter_mut().zip(pairs.as_chunks().0) {
            let [low, high]: [u16; 2] = *pair;
            *word = u32::from(low) | u32::from(high) << 16;
        }
        words
    }

    #[inline(always)]
    fn dot_pairs(self, pairs: Self::Pairs, activations: u32, sums: Lanes) -> Lanes {
        let [a_low, a_high] = widen(activations);
        let mut sums = sums;
        for l in 0..LANES {
            let [low, high] = widen(pairs[l]);
            sums[l] = high * a_high + (low * a_low + sums[l]);
        }
        sums
    }
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

/// The bytes that nibbles choose, one after the other.
#[inline(always)]
fn look_up<const HIGH: bool>(table: [u8; 16], codes: &[u8; 4 * LANES]) -> [u8; 4 * LANES] {
    let mut bytes = *codes;
    for byte in &mut bytes {
        *byte = table[usize::from(if HIGH { *byte >> 4 } else { *byte & 15 })];
    }
    bytes
}

/// The two bf16 of a word, low half first.
#[inline(always)]
fn widen(pair: u32) -> [f32; 2] {
    [
        f32::from_bits(pair << 16),
        f32::from_bits(pair & 0xffff_0000),
    ]
}
