//! What differs between products with f32, bf16 and int8 weights.

use bytemuck::Pod;

use crate::arch::{Operands, Target};
use crate::lanes::{LANES, Lanes};

/// Neighbours along K lie together in words of four bytes: one f32, two bf16 or four int8. A
/// product takes a word of each of 16 columns and multiplies them with one word of a row.
pub(crate) trait WeightType {
    /// One weight.
    type Element: Pod;

    /// Weights in a word.
    const STEP: usize;

    /// What is multiplied.
    const OPERANDS: Operands;

    /// A word of each of 16 columns, in memory.
    type Vector: Pod + PartialEq;

    /// The same in registers.
    type Loaded<T: Target>: Copy;

    /// Sixteen sums in registers.
    type Sums<T: Target>: Copy;

    /// One of them.
    type Sum: Copy + Default;

    /// Sums of nothing.
    fn zero<T: Target>(target: T) -> Self::Sums<T>;

    /// Weights from memory.
    fn load<T: Target>(target: T, vector: &Self::Vector) -> Self::Loaded<T>;

    /// Adds to each column's sum the product of its word with `word`.
    fn dot<T: Target>(
        target: T,
        weights: Self::Loaded<T>,
        word: i32,
        sums: Self::Sums<T>,
    ) -> Self::Sums<T>;

    /// Sums to memory.
    fn store<T: Target>(target: T, sums: Self::Sums<T>) -> [Self::Sum; LANES];
}

/// f32 weights with f32 rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F32;

/// bf16 weights with bf16 rows, summed in f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bf16;

/// Unsigned 8-bit weights, 128 less where [`Int8Target::SHIFTED`](crate::arch::Int8Target::SHIFTED),
/// with signed 8-bit rows, summed in i32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Int8;

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
    fn load<T: Target>(target: T, vector: &Lanes) -> T::Vector {
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
    fn load<T: Target>(target: T, vector: &[u16; 2 * LANES]) -> T::Pairs {
        target.load_pairs(vector)
    }

    #[inline(always)]
    fn dot<T: Target>(target: T, weights: T::Pairs, word: i32, sums: T::Vector) -> T::Vector {
        target.dot_pairs(weights, word.cast_unsigned(), sums)
    }

    #[inline(always)]
    fn store<T: Target>(target: T, sums: T::Vector) -> Lanes {
        target.store(sums)
    }
}

impl WeightType for Int8 {
    type Element = u8;
    const STEP: usize = 4;
    const OPERANDS: Operands = Operands::Int8;
    type Vector = [u8; 4 * LANES];
    type Loaded<T: Target> = T::Weights;
    type Sums<T: Target> = T::Sums;
    type Sum = i32;

    #[inline(always)]
    fn zero<T: Target>(target: T) -> T::Sums {
        target.zero_sums()
    }

    #[inline(always)]
    fn load<T: Target>(target: T, vector: &[u8; 4 * LANES]) -> T::Weights {
        target.load_weights(vector)
    }

    #[inline(always)]
    fn dot<T: Target>(target: T, weights: T::Weights, word: i32, sums: T::Sums) -> T::Sums {
        target.dot_shifted(weights, word, sums)
    }

    #[inline(always)]
    fn store<T: Target>(target: T, sums: T::Sums) -> [i32; LANES] {
        target.store_sums(sums)
    }
}
