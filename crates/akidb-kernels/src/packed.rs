//! Weights in the order in which the product reads them.

use std::ops::Range;

use crate::ShapeError;
use crate::lanes::{LANES, Lanes};

/// Columns of a panel.
pub const NR: usize = 2 * LANES;

/// One row of a panel: the weights from one input to [`NR`] neighbouring outputs.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct PanelRow(pub(crate) [Lanes; 2]);

/// A matrix `B[K, N]` of f32 cut into panels of [`NR`] columns, each `[K][NR]` and contiguous;
/// the last panel is filled up with zeros.
///
/// ```
/// use akidb_kernels::{Accumulate, Isa, PackedF32, PackedRows, gemm};
///
/// // [1 2 3] · [[1 4], [2 5], [3 6]], the matrix given as two rows of K = 3 weights
/// let mut b = PackedF32::zeros(3, 2)?;
/// b.write_nk(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let mut a = PackedRows::new(Isa::detect());
/// a.pack(&[1.0, 2.0, 3.0], 3)?;
/// let mut c = [0.0; 2];
/// gemm(&a, &b, 0..b.panels(), &mut [&mut c], Accumulate::No)?;
/// assert_eq!(c, [14.0, 32.0]);
/// # Ok::<(), akidb_kernels::ShapeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PackedF32 {
    k: usize,
    n: usize,
    data: Vec<PanelRow>,
}

impl PackedF32 {
    /// A matrix of zeros with `k` rows and `n` columns.
    ///
    /// # Errors
    /// When a size is zero, or the matrix can't be allocated.
    pub fn zeros(k: usize, n: usize) -> Result<Self, ShapeError> {
        let op = "PackedF32::zeros";
        if k == 0 {
            return Err(ShapeError::size(op, "k", k));
        }
        if n == 0 {
            return Err(ShapeError::size(op, "n", n));
        }
        let too_large = ShapeError::size(op, "n", n);
        let rows = n.div_ceil(NR).checked_mul(k).ok_or(too_large)?;
        let mut data = Vec::new();
        data.try_reserve_exact(rows).map_err(|_| too_large)?;
        data.resize(rows, PanelRow::default());
        Ok(Self { k, n, data })
    }

    /// Number of rows, the width of the input.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of columns, the width of the output.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of panels, `n` / [`NR`] rounded up.
    pub fn panels(&self) -> usize {
        self.n.div_ceil(NR)
    }

    /// Rows of the panels in `panels`, `[panels][k]`; empty when there are no such panels.
    pub(crate) fn rows(&self, panels: Range<usize>) -> &[PanelRow] {
        let rows = panels.start * self.k..panels.end * self.k;
        self.data.get(rows).unwrap_or_default()
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
        if width == 0 {
            return Err(ShapeError::size(op, "width", width));
        }
        let count = rows.len() / width;
        ShapeError::length(op, "rows", count * width, rows.len())?;
        ShapeError::range(op, "rows", k0.saturating_add(count), self.k)?;
        ShapeError::range(op, "columns", n0.saturating_add(width), self.n)?;
        let mut done = 0;
        while done < width {
            let (panel, lane) = ((n0 + done) / NR, (n0 + done) % NR);
            let len = (NR - lane).min(width - done);
            let first = panel * self.k + k0;
            let targets = &mut self.data[first..first + count];
            for (target, row) in targets.iter_mut().zip(rows.chunks_exact(width)) {
                target.0.as_flattened_mut()[lane..lane + len]
                    .copy_from_slice(&row[done..done + len]);
            }
            done += len;
        }
        Ok(())
    }

    /// Writes the columns from `n0` on. `columns` is `[any, k]`: all weights of one output, then
    /// of the next (PyTorch `nn.Linear`).
    ///
    /// # Errors
    /// When `columns` is no multiple of `k`, or doesn't fit.
    pub fn write_nk(&mut self, n0: usize, columns: &[f32]) -> Result<(), ShapeError> {
        let op = "PackedF32::write_nk";
        let count = columns.len() / self.k;
        ShapeError::length(op, "columns", count * self.k, columns.len())?;
        ShapeError::range(op, "columns", n0.saturating_add(count), self.n)?;
        for (n, column) in (n0..).zip(columns.chunks_exact(self.k)) {
            let first = n / NR * self.k;
            let lane = n % NR;
            let targets = &mut self.data[first..first + self.k];
            for (target, value) in targets.iter_mut().zip(column) {
                target.0[lane / LANES][lane % LANES] = *value;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, random};

    /// Element `[k, n]` of the matrix.
    fn element(b: &PackedF32, k: usize, n: usize) -> f32 {
        b.data[n / NR * b.k + k].0.as_flattened()[n % NR]
    }

    #[test]
    fn both_orders_give_the_same_panels() {
        for n in LENGTHS {
            let k = 7;
            let kn = random(n as u64, k * n);
            let nk: Vec<f32> = (0..k * n).map(|i| kn[i % k * n + i / k]).collect();
            let mut from_kn = PackedF32::zeros(k, n).unwrap();
            for (k0, rows) in kn.chunks(3 * n).enumerate() {
                from_kn.write_kn(3 * k0, 0, n, rows).unwrap();
            }
            let mut from_nk = PackedF32::zeros(k, n).unwrap();
            for (n0, columns) in nk.chunks(5 * k).enumerate() {
                from_nk.write_nk(5 * n0, columns).unwrap();
            }
            for (i, value) in kn.iter().enumerate() {
                assert_eq!(element(&from_kn, i / n, i % n), *value);
                assert_eq!(element(&from_nk, i / n, i % n), *value);
            }
        }
    }

    #[test]
    fn columns_of_two_matrices_side_by_side() {
        let mut b = PackedF32::zeros(2, 50).unwrap();
        b.write_kn(0, 0, 20, &[1.0; 40]).unwrap();
        b.write_kn(0, 20, 30, &[2.0; 60]).unwrap();
        for n in 0..50 {
            assert_eq!(element(&b, 1, n), if n < 20 { 1.0 } else { 2.0 });
        }
        assert_eq!((b.k(), b.n(), b.panels()), (2, 50, 2));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(PackedF32::zeros(0, 1).is_err());
        assert!(PackedF32::zeros(1, 0).is_err());
        assert!(PackedF32::zeros(usize::MAX, usize::MAX).is_err());
        assert!(PackedF32::zeros(1 << 40, 1 << 20).is_err());
        let mut b = PackedF32::zeros(4, 40).unwrap();
        assert!(b.write_kn(0, 0, 0, &[]).is_err());
        assert!(b.write_kn(0, 0, 3, &[0.0; 4]).is_err());
        assert!(b.write_kn(3, 0, 1, &[0.0; 2]).is_err());
        assert!(b.write_kn(usize::MAX, 0, 1, &[0.0; 2]).is_err());
        assert!(b.write_kn(0, 39, 2, &[0.0; 2]).is_err());
        assert!(b.write_nk(0, &[0.0; 5]).is_err());
        assert!(b.write_nk(39, &[0.0; 8]).is_err());
        assert!(b.write_nk(usize::MAX, &[0.0; 8]).is_err());
    }
}
