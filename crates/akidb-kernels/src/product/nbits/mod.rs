//! 4 or 8 bits with a scale for each block along K.

use bytes::Bytes;

use crate::ShapeError;
use crate::precision::Precision;
use crate::product::format::{PackedWeight, all_parts};
use crate::product::gemm::Product;
use crate::product::rows::RowsOf;
use gemm::NBits;

mod format;
mod gemm;
mod quantize;
mod rows;
mod tile;
mod weights;

pub use format::{NBitsCodes, NBitsFormat};
pub use quantize::quantize_int4;
pub(super) use rows::BlockScales;
pub use weights::PackedNBits;

impl PackedWeight for PackedNBits {
    const NAME: &'static str = "PackedNBits";
    type Parameters = NBitsFormat;
    type Encoding = BlockScales;

    fn parameters(&self) -> NBitsFormat {
        *self.format()
    }

    fn precision(format: NBitsFormat) -> Precision {
        format.precision()
    }

    fn shape(&self) -> [usize; 2] {
        [self.k, self.n]
    }

    fn parts(&self) -> Vec<&[u8]> {
        self.as_bytes().into()
    }

    fn from_parts(
        [k, n]: [usize; 2],
        format: NBitsFormat,
        parts: Vec<Bytes>,
    ) -> Result<Self, ShapeError> {
        Self::from_bytes(k, n, format, all_parts(Self::NAME, parts)?)
    }

    fn prepare(&self, rows: &mut BlockScales) {
        rows.block_size = self.format().block_size;
    }

    fn product<'a>(&'a self, a: &'a RowsOf<BlockScales>) -> Result<impl Product + 'a, ShapeError> {
        if a.rows() > 0 {
            let block_size = self.format().block_size;
            ShapeError::length(Self::NAME, "a block of a", block_size, a.block_size())?;
        }
        Ok(NBits { a, b: self })
    }
}
