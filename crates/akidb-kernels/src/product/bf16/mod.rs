//! bf16 weights with bf16 rows, summed in f32.

use crate::arch::{Operands, Target};
use crate::bf16::to_bf16;
use crate::lanes::{LANES, Lanes};
use crate::precision::Precision;
use crate::product::floats::{Float, PackedFloats};
use crate::product::weight_type::WeightType;

mod rows;

#[cfg(test)]
pub(super) use rows::Bf16Rows;

/// Weights of bf16, each panel `[K / 2][2][16 columns · 2 along K]`. What is written is rounded to
/// the nearest bf16, ties to even; NaN stays NaN.
pub type PackedBf16 = PackedFloats<Bf16>;

/// The type bf16 of weights.
#[derive(Debug, Clone, Copy)]
pub struct Bf16;

impl Float for Bf16 {
    const NAME: &'static str = "PackedBf16";
    const PRECISION: Precision = Precision::Bf16;
    type Encoding = rows::Bf16Rows;

    #[inline(always)]
    fn round(x: f32) -> u16 {
        to_bf16(x)
    }
}

impl WeightType for Bf16 {
    type Element = u16;
    const STEP: usize = 2;
    const OPERANDS: Operands = Operands::Bf16;
    type Vector = [u16; 2 * LANES];
    type Loaded<T: Target> = T::Pairs;
    type Sums<T: Target> = T::Vector;
    type Sum = f32;

    #[inline(always)]
    fn zero<T: Target>(target: T) -> T::Vector {
        target.splat(0.0)
    }

    #[inline(always)]
    fn load<T: Target>(target: T, vector: &[u16; 2 * LANES], part: usize) -> T::Pairs {
        target.load_pairs_part(vector, part)
    }

    #[inline(always)]
    fn dot<T: Target>(target: T, weights: T::Pairs, word: i32, sums: T::Vector) -> T::Vector {
        target.dot_pairs_part(weights, word.cast_unsigned(), sums)
    }

    #[inline(always)]
    fn store<T: Target>(target: T, sums: T::Vector) -> Lanes {
        target.store(sums)
    }
}
