//! f32 weights with f32 rows.

use crate::arch::{Operands, Target};
use crate::lanes::Lanes;
use crate::precision::Precision;
use crate::product::floats::{Float, PackedFloats};
use crate::product::weight_type::WeightType;

mod rows;

#[cfg(test)]
pub(super) use rows::F32Rows;

/// Weights of f32, each panel `[K][NR]`.
pub type PackedF32 = PackedFloats<F32>;

/// The type f32 of weights.
#[derive(Debug, Clone, Copy)]
pub struct F32;

impl Float for F32 {
    const NAME: &'static str = "PackedF32";
    const PRECISION: Precision = Precision::F32;
    type Encoding = rows::F32Rows;

    #[inline(always)]
    fn round(x: f32) -> f32 {
        x
    }
}

impl WeightType for F32 {
    type Element = f32;
    const STEP: usize = 1;
    const OPERANDS: Operands = Operands::F32;
    type Vector = Lanes;
    type Loaded<T: Target> = T::Vector;
    type Sums<T: Target> = T::Vector;
    type Sum = f32;

    #[inline(always)]
    fn zero<T: Target>(target: T) -> T::Vector {
        target.splat(0.0)
    }

    #[inline(always)]
    fn load<T: Target>(target: T, vector: &Lanes, _: usize) -> T::Vector {
        target.load(vector)
    }

    #[inline(always)]
    fn dot<T: Target>(target: T, weights: T::Vector, word: i32, sums: T::Vector) -> T::Vector {
        let a = target.splat(f32::from_bits(word.cast_unsigned()));
        target.mul_add(a, weights, sums)
    }

    #[inline(always)]
    fn store<T: Target>(target: T, sums: T::Vector) -> Lanes {
        target.store(sums)
    }
}
