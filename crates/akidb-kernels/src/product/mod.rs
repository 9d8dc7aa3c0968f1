//! Products of rows of activations with packed weights: a folder for each number format, and what
//! formats share.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Isa, Precision, ShapeError};
use format::{PackedWeight, formats};
use rows::RowsOf;

mod bf16;
mod blocks;
mod f32;
mod floats;
mod format;
mod gemm;
mod int8;
mod nbits;
mod panels;
mod quantized;
mod row_blocks;
mod rows;
mod storage;
mod tile;
mod weight_type;

#[cfg(test)]
mod panels_tests;
#[cfg(test)]
mod rows_tests;
#[cfg(test)]
mod tests;

pub(crate) use blocks::Blocks;
pub(crate) use tile::MAX_MR;

pub use bf16::PackedBf16;
pub use f32::PackedF32;
pub use gemm::Epilogue;
pub use int8::{Int8Type, PackedInt8, quantize_int8};
pub use nbits::{NBitsCodes, NBitsFormat, PackedNBits, quantize_int4};
pub use panels::NR;

// Every number format, a line each.
formats! {
    /// Multiplied with rows of f32.
    f32: F32 = PackedF32;
    /// Multiplied with rows of bf16.
    bf16: Bf16 = PackedBf16;
    /// 8 bits, one scale an output; multiplied with rows of 8 bits, one scale a row.
    int8: Int8 = PackedInt8;
    /// One scale a block; multiplied with rows of 8 bits, one scale a block.
    nbits: NBits(format: NBitsFormat) = PackedNBits;
}

impl Weight {
    /// Arithmetic of the product, never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.format().precision()
    }

    /// Number of panels, N / [`NR`] rounded up.
    pub fn panels(&self) -> usize {
        self.shape()[1].div_ceil(NR)
    }
}
