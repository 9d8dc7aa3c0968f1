//! What differs between attention in f32 and in bf16.

use super::key_values::{KeyValueTile, Pairs, Panels, Row};
use crate::arch::{Operands, Target};
use crate::bf16::to_bf16;
use crate::lanes::{LANES, Lanes};

/// Factors of a row that lie side by side.
pub(super) const CHUNK: usize = 64;

/// Factors of one row of queries or weights.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Chunk<F>(pub(super) [F; CHUNK]);

/// A type of keys and values.
pub(super) trait Operand {
    /// Neighbours along K that are multiplied at a time.
    const STEP: usize;

    /// What is multiplied.
    const OPERANDS: Operands;

    /// `STEP` times 16 columns in memory.
    type Vector: Copy;

    /// `STEP` queries or weights, which are multiplied with all columns.
    type Factor: Copy + Default;

    /// A vector in registers.
    type Loaded<T: Target>: Copy;

    /// Panels of a tile of this type.
    fn panels(tile: &KeyValueTile) -> Option<&Panels<Self::Vector>>;

    /// A vector from memory.
    fn load<T: Target>(target: T, vector: &Self::Vector) -> Self::Loaded<T>;

    /// `sums` and the products of each column with `factor`.
    fn mul_add<T: Target>(
        target: T,
        vector: Self::Loaded<T>,
        factor: Self::Factor,
        sums: T::Vector,
    ) -> T::Vector;

    /// Makes 16 values the factors from `16 · part / STEP` on, and rounds the values to what they
    /// are as factors.
    fn put(values: &mut Lanes, chunk: &mut Chunk<Self::Factor>, part: usize);

    /// The row without all but the first of the neighbours.
    fn only_first(row: &Row<Self::Vector>) -> Row<Self::Vector>;
}

/// f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct F32;

/// bf16, summed in f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bf16;

impl Operand for F32 {
    const STEP: usize = 1;
    const OPERANDS: Operands = Operands::F32;
    type Vector = Lanes;
    type Factor = f32;
    type Loaded<T: Target> = T::Vector;

    #[inline(always)]
    fn panels(tile: &KeyValueTile) -> Option<&Panels<Lanes>> {
        tile.f32()
    }

    #[inline(always)]
    fn load<T: Target>(target: T, vector: &Lanes) -> T::Vector {
        target.load(vector)
    }

    #[inline(always)]
    fn mul_add<T: Target>(target: T, vector: T::Vector, factor: f32, sums: T::Vector) -> T::Vector {
        target.mul_add(target.splat(factor), vector, sums)
    }

    #[inline(always)]
    fn put(values: &mut Lanes, chunk: &mut Chunk<f32>, part: usize) {
        if let Some(factors) = chunk.0.as_chunks_mut().0.get_mut(part) {
            *factors = *values;
        }
    }

    #[inline(always)]
    fn only_first(row: &Row<Lanes>) -> Row<Lanes> {
        *row
    }
}

impl Operand for Bf16 {
    const STEP: usize = 2;
    const OPERANDS: Operands = Operands::Bf16;
    type Vector = Pairs;
    type Factor = [u16; 2];
    type Loaded<T: Target> = T::Pairs;

    #[inline(always)]
    fn panels(tile: &KeyValueTile) -> Option<&Panels<Pairs>> {
        tile.bf16()
    }

    #[inline(always)]
    fn load<T: Target>(target: T, vector: &Pairs) -> T::Pairs {
        target.load_pairs(vector)
    }

    #[inline(always)]
    fn mul_add<T: Target>(
        target: T,
        vector: T::Pairs,
        [first, second]: [u16; 2],
        sums: T::Vector,
    ) -> T::Vector {
        target.dot_pairs(vector, u32::from(first) | u32::from(second) << 16, sums)
    }

    #[inline(always)]
    fn put(values: &mut Lanes, chunk: &mut Chunk<[u16; 2]>, part: usize) {
        // In 32 bits first, which makes whole vectors.
        let (mut rounded, mut narrow) = ([0; LANES], [0; LANES]);
        for l in 0..LANES {
            rounded[l] = u32::from(to_bf16(values[l]));
        }
        for l in 0..LANES {
            values[l] = f32::from_bits(rounded[l] << 16);
            narrow[l] = rounded[l] as u16;
        }
        let factors = chunk.0.as_flattened_mut().as_chunks_mut();
        if let Some(factors) = factors.0.get_mut(part) {
            *factors = narrow;
        }
    }

    #[inline(always)]
    fn only_first(row: &Row<Pairs>) -> Row<Pairs> {
        let mut row = *row;
        for pair in row.0.as_flattened_mut().as_chunks_mut::<2>().0 {
            pair[1] = 0;
        }
        row
    }
}
