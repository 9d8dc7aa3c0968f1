//! How tall the tiles of a tier are.

use super::Kernel;
use super::target::{NBitsTarget, Target};
use crate::isa::Isa;

impl Isa {
    /// Tiles of this tier.
    pub(crate) fn tiles(self) -> Tiles {
        let mut tiles = Tiles::default();
        self.run(&mut tiles);
        tiles
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

    /// Words of a row of A that a word of weights is multiplied with, one after the other.
    pub(crate) const fn parts<T: Target>(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => T::BF16_PARTS,
            Self::Int8 => T::INT8_PARTS,
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

/// Tiles of a tier, by the type of the weights.
#[derive(Default)]
pub(crate) struct Tiles {
    pub(crate) f32: TileSize,
    pub(crate) int8: TileSize,
    pub(crate) bf16: TileSize,
}

/// What rows of A need to know of tiles.
#[derive(Default)]
pub(crate) struct TileSize {
    /// Rows of the tallest one.
    pub(crate) rows: usize,
    /// As [`Operands::parts`].
    pub(crate) parts: usize,
}

impl TileSize {
    fn of<T: Target>(operands: Operands) -> Self {
        Self {
            rows: operands.tallest::<T>(),
            parts: operands.parts::<T>(),
        }
    }
}

impl Kernel for &mut Tiles {
    const INT8: bool = true;
    const BF16: bool = true;

    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        self.f32 = TileSize::of::<T>(Operands::F32);
        self.int8 = TileSize::of::<T>(Operands::Int8);
        self.bf16 = TileSize::of::<T>(Operands::Bf16);
    }
}

/// Tallest tile of a target's products of block-quantised weights, in rows.
pub(crate) const fn max_rows_nbits<T: NBitsTarget>() -> usize {
    T::NBITS_VECTORS.len() - 1
}
