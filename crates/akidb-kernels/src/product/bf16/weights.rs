//! bf16 weights in the order in which the product reads them.

use bytes::Bytes;

use crate::ShapeError;
use crate::bf16::to_bf16;
use crate::lanes::LANES;
use crate::product::panels::Panels;
use crate::product::weight_type::Bf16;

/// A matrix `B[K, N]` of bf16 cut into panels of [`NR`](crate::NR) columns, each
/// `[K / 2][2][16 columns · 2 along K]` and contiguous, filled up with zeros. What is written is
/// rounded to the nearest bf16, ties to even; NaN stays NaN.
///
/// ```
/// use akidb_kernels::{Epilogue, Isa, PackedBf16, Bf16Rows, gemm_bf16};
///
/// // [1 2 3] · [[1 4], [2 5], [3 6]], the matrix given as two rows of K = 3 weights
/// let mut b = PackedBf16::zeros(3, 2)?;
/// b.write_nk(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let mut a = Bf16Rows::new(Isa::detect());
/// a.pack(&[1.0, 2.0, 3.0], 3)?;
/// let mut c = [0.0; 2];
/// gemm_bf16(&a, &b, 0..b.panels(), &mut [&mut c], Epilogue::Store)?;
/// assert_eq!(c, [14.0, 32.0]);
/// # Ok::<(), akidb_kernels::ShapeError>(())
/// ```
#[derive(Debug)]
pub struct PackedBf16 {
    weights: Panels<Bf16>,
}

impl PackedBf16 {
    /// A matrix of zeros with `k` rows and `n` columns.
    ///
    /// # Errors
    /// When a size is zero, or the matrix can't be allocated.
    pub fn zeros(k: usize, n: usize) -> Result<Self, ShapeError> {
        let weights = Panels::new("PackedBf16::zeros", k, n, [0; 2 * LANES])?;
        Ok(Self { weights })
    }

    /// The weights as they lie in memory, which [`Self::from_bytes`] takes on a machine of the same
    /// byte order.
    pub fn as_bytes(&self) -> &[u8] {
        self.weights.as_bytes()
    }

    /// A matrix with `k` rows and `n` columns of what [`Self::as_bytes`] gave, without a copy: for
    /// example a mapped file. It can't be written.
    ///
    /// # Errors
    /// When a size is zero, or `bytes` has another length or doesn't start at a multiple of 64.
    pub fn from_bytes(k: usize, n: usize, bytes: Bytes) -> Result<Self, ShapeError> {
        let weights = Panels::from_bytes("PackedBf16::from_bytes", k, n, bytes)?;
        Ok(Self { weights })
    }

    /// Number of rows, the width of the input.
    pub fn k(&self) -> usize {
        self.weights.k()
    }

    /// Number of columns, the width of the output.
    pub fn n(&self) -> usize {
        self.weights.n()
    }

    /// Number of panels, `n` / [`NR`](crate::NR) rounded up.
    pub fn panels(&self) -> usize {
        self.weights.count()
    }

    pub(crate) fn weights(&self) -> &Panels<Bf16> {
        &self.weights
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
        let op = "PackedBf16::write_kn";
        self.weights.write_kn(op, (k0, n0), width, rows, to_bf16)
    }

    /// Writes the columns from `n0` on. `columns` is `[any, k]`: all weights of one output, then
    /// of the next (PyTorch `nn.Linear`).
    ///
    /// # Errors
    /// When `columns` is no multiple of `k`, or doesn't fit.
    pub fn write_nk(&mut self, n0: usize, columns: &[f32]) -> Result<(), ShapeError> {
        self.weights
            .write_nk("PackedBf16::write_nk", n0, columns, to_bf16)
    }
}
