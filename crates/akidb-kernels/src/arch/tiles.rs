//! How tall the tiles of a tier are.

use super::Kernel;
use super::target::{NBitsTarget, Target};
use crate::isa::Isa;

impl Isa {
    /// Tallest tiles of this tier.
    pub(crate) fn max_rows(self) -> MaxRows {
        let mut rows = MaxRows::default();
        self.run(&mut rows);
        rows
    }
}

/// What a product multiplies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operands {
    F32,
    Bf16,
    Int8,
}

impl Operands {
    /// How many 16-lane sums a row of a tile of `rows` rows has in flight: 1 is half a panel, 2 is
    /// a whole one. 0 when there is no tile so tall. A constant, so that such a tile isn't compiled.
    pub(crate) const fn vectors<T: Target>(self, rows: usize) -> usize {
        let vectors = self.all_vectors::<T>();
        if rows < vectors.len() {
            vectors[rows]
        } else {
            0
        }
    }

    /// Rows of the tallest tile.
    pub(crate) const fn tallest<T: Target>(self) -> usize {
        self.all_vectors::<T>().len() - 1
    }

    const fn all_vectors<T: Target>(self) -> &'static [usize] {
        match self {
            Self::F32 => T::VECTORS,
            Self::Bf16 => T::BF16_VECTORS,
            Self::Int8 => T::INT8_VECTORS,
        }
    }
}

/// Rows of the tallest tile, by the type of the weights.
#[derive(Default)]
pub(crate) struct MaxRows {
    pub(crate) f32: usize,
    pub(crate) int8: usize,
    pub(crate) bf16: usize,
}

impl Kernel for &mut MaxRows {
    const INT8: bool = true;
    const BF16: bool = true;

    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        self.f32 = Operands::F32.tallest::<T>();
        self.int8 = Operands::Int8.tallest::<T>();
        self.bf16 = Operands::Bf16.tallest::<T>();
    }
}

/// Tallest tile of a target's products of block-quantised weights, in rows.
pub(crate) const fn max_rows_nbits<T: NBitsTarget>() -> usize {
    T::NBITS_VECTORS.len() - 1
}
