//! f32 weights in the order in which the product reads them.

use bytes::Bytes;

use crate::ShapeError;
use crate::lanes::LANES;
use crate::product::panels::Panels;
use crate::product::weight_type::F32;

/// A matrix `B[K, N]` of f32 cut into panels of [`NR`](crate::NR) columns, each `[K][NR]` and
/// contiguous; the last panel is filled up with zeros.
///
/// ```
/// use akidb_kernels::{Epilogue, Isa, PackedF32, PackedRows, gemm};
///
/// // [1 2 3] · [[1 4], [2 5], [3 6]], the matrix given as two rows of K = 3 weights
/// let mut b = PackedF32::zeros(3, 2)?;
/// b.write_nk(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let mut a = PackedRows::new(Isa::detect());
/// a.pack(&[1.0, 2.0, 3.0], 3)?;
/// let mut c = [0.0; 2];
/// gemm(&a, &b, 0..b.panels(), &mut [&mut c], Epilogue::Store)?;
/// assert_eq!(c, [14.0, 32.0]);
/// # Ok::<(), akidb_kernels::ShapeError>(())
/// ```
#[derive(Debug)]
pub struct PackedF32 {
    weights: Panels<F32>,
}

impl PackedF32 {
    /// A matrix of zeros with `k` rows and `n` columns.
    ///
    /// # Errors
    /// When a size is zero, or the matrix can't be allocated.
    pub fn zeros(k: usize, n: usize) -> Result<Self, ShapeError> {
        let weights = Panels::new("PackedF32::zeros", k, n, [0.0; LANES])?;
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
        let weights = Panels::from_bytes("PackedF32::from_bytes", k, n, bytes)?;
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

    pub(crate) fn weights(&self) -> &Panels<F32> {
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
        let op = "PackedF32::write_kn";
        self.weights.write_kn(op, (k0, n0), width, rows, |x| x)
    }

    /// Writes the columns from `n0` on. `columns` is `[any, k]`: all weights of one output, then
    /// of the next (PyTorch `nn.Linear`).
    ///
    /// # Errors
    /// When `columns` is no multiple of `k`, or doesn't fit.
    pub fn write_nk(&mut self, n0: usize, columns: &[f32]) -> Result<(), ShapeError> {
        self.weights
            .write_nk("PackedF32::write_nk", n0, columns, |x| x)
    }
}
