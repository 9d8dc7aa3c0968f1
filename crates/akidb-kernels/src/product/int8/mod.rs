//! 8 bits with a scale for each row and each column, summed in i32.

use bytes::Bytes;

use crate::ShapeError;
use crate::precision::Precision;
use crate::product::format::{PackedWeight, all_parts};
use crate::product::gemm::Product;
use crate::product::rows::RowsOf;
use gemm::Integers;

mod gemm;
mod quantize;
mod rows;
mod weights;

pub use quantize::quantize_int8;
pub(super) use rows::RowScales;
#[cfg(test)]
pub(super) use weights::Int8;
pub use weights::{Int8Type, PackedInt8};

impl PackedWeight for PackedInt8 {
    const NAME: &'static str = "PackedInt8";
    type Parameters = ();
    type Encoding = RowScales;

    fn parameters(&self) {}

    fn precision((): ()) -> Precision {
        Precision::Int8
    }

    fn shape(&self) -> [usize; 2] {
        self.weights().shape()
    }

    fn parts(&self) -> Vec<&[u8]> {
        self.as_bytes().into()
    }

    fn from_parts([k, n]: [usize; 2], (): (), parts: Vec<Bytes>) -> Result<Self, ShapeError> {
        Self::from_bytes(k, n, all_parts(Self::NAME, parts)?)
    }

    fn product<'a>(&'a self, a: &'a RowsOf<RowScales>) -> Result<impl Product + 'a, ShapeError> {
        Ok(Integers { a, b: self })
    }
}
