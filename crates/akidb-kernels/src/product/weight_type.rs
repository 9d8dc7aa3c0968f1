//! What differs between products with f32, bf16 and int8 weights.

use bytemuck::Pod;

use crate::arch::{Operands, Target};
use crate::lanes::LANES;

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

    /// Weights of a part, of as many as [`Operands::parts`] says, from memory.
    fn load<T: Target>(target: T, vector: &Self::Vector, part: usize) -> Self::Loaded<T>;

    /// Adds to each column's sum the product of what its word has in this part with `word`.
    fn dot<T: Target>(
        target: T,
        weights: Self::Loaded<T>,
        word: i32,
        sums: Self::Sums<T>,
    ) -> Self::Sums<T>;

    /// Sums to memory.
    fn store<T: Target>(target: T, sums: Self::Sums<T>) -> [Self::Sum; LANES];
}
