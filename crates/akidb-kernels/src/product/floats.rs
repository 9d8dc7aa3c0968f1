//! Weights of f32 or bf16, and their products, whose sums are C's elements.

use std::ops::Range;

use bytemuck::Zeroable;
use bytes::Bytes;

use crate::ShapeError;
use crate::arch::{Operands, Target};
use crate::lanes::Lanes;
use crate::precision::Precision;
use crate::product::format::{PackedWeight, all_parts};
use crate::product::gemm::Product;
use crate::product::panels::{PanelRow, Panels};
use crate::product::row_blocks::RowBlocks;
use crate::product::rows::{Encoding, RowsOf};
use crate::product::tile::{Tile, multiply};
use crate::product::weight_type::WeightType;

/// A type of weights that are numbers by themselves.
pub(crate) trait Float: WeightType<Sum = f32> {
    /// Their name in errors.
    const NAME: &'static str;

    /// Arithmetic of the product.
    const PRECISION: Precision;

    /// Rows that they are multiplied with.
    type Encoding: Encoding;

    /// A weight, rounded to this type.
    fn round(x: f32) -> Self::Element;
}

/// A matrix `B[K, N]` of numbers cut into panels of [`NR`](crate::NR) columns, each contiguous and
/// filled up with zeros.
#[derive(Debug)]
pub struct PackedFloats<W> {
    weights: Panels<W>,
}

#[expect(private_bounds, reason = "only this crate has number formats")]
impl<W: Float> PackedFloats<W> {
    /// A matrix of zeros with `k` rows and `n` columns.
    ///
    /// # Errors
    /// When a size is zero, or the matrix can't be allocated.
    pub fn zeros(k: usize, n: usize) -> Result<Self, ShapeError> {
        let weights = Panels::new(W::NAME, k, n, W::Vector::zeroed())?;
        Ok(Self { weights })
    }

    /// Writes the rows from `k0` on at the columns from `n0` on. `rows` is `[any, width]`,
    /// row-major (ONNX `MatMul`).
    ///
    /// # Errors
    /// When `rows` is no multiple of `width`, or doesn't fit.
    pub fn write_kn(
        &mut self,
        k0: usize,
        n0: usize,
        width: usize,
        rows: &[f32],
    ) -> Result<(), ShapeError> {
        self.weights
            .write_kn(W::NAME, (k0, n0), width, rows, W::round)
    }

    /// Writes the columns from `n0` on. `columns` is `[any, k]`: all weights of one output, then
    /// of the next (PyTorch `nn.Linear`).
    ///
    /// # Errors
    /// When `columns` is no multiple of `k`, or doesn't fit.
    pub fn write_nk(&mut self, n0: usize, columns: &[f32]) -> Result<(), ShapeError> {
        self.weights.write_nk(W::NAME, n0, columns, W::round)
    }
}

impl<W: Float> PackedWeight for PackedFloats<W> {
    const NAME: &'static str = W::NAME;
    type Parameters = ();
    type Encoding = W::Encoding;

    fn parameters(&self) {}

    fn precision((): ()) -> Precision {
        W::PRECISION
    }

    fn shape(&self) -> [usize; 2] {
        self.weights.shape()
    }

    fn parts(&self) -> Vec<&[u8]> {
        vec![self.weights.as_bytes()]
    }

    fn from_parts([k, n]: [usize; 2], (): (), parts: Vec<Bytes>) -> Result<Self, ShapeError> {
        let [bytes] = all_parts(W::NAME, parts)?;
        let weights = Panels::from_bytes(W::NAME, k, n, bytes)?;
        Ok(Self { weights })
    }

    fn product<'a>(&'a self, a: &'a RowsOf<W::Encoding>) -> Result<impl Product + 'a, ShapeError> {
        Ok(Floats {
            a: a.row_blocks(),
            b: &self.weights,
        })
    }
}

struct Floats<'a, W: WeightType> {
    a: &'a RowBlocks,
    b: &'a Panels<W>,
}

impl<W: Float> Product for Floats<'_, W> {
    const INT8: bool = false;
    const BF16: bool = matches!(W::OPERANDS, Operands::Bf16);
    type Sum = f32;
    type PanelRow = PanelRow<W::Vector>;

    fn rows(&self) -> &RowBlocks {
        self.a
    }

    fn weight_shape(&self) -> [usize; 2] {
        self.b.shape()
    }

    #[inline(always)]
    fn panel(&self, index: usize) -> &[Self::PanelRow] {
        self.b.panel(index)
    }

    #[inline(always)]
    fn multiply<T: Target>(
        &self,
        target: T,
        rows: &Range<usize>,
        panel: usize,
        next: &[Self::PanelRow],
        out: &mut Tile<f32>,
    ) {
        let (a, panel) = (self.a.groups(rows), self.b.panel(panel));
        multiply::<T, W>(target, rows.len(), a, panel, next, out);
    }

    #[inline(always)]
    fn elements(
        &self,
        rows: &Range<usize>,
        _: usize,
        sums: &Tile<f32>,
        mut row: impl FnMut(usize, &[Lanes; 2]),
    ) {
        for (index, sums) in sums.iter().enumerate().take(rows.len()) {
            row(index, sums);
        }
    }
}
