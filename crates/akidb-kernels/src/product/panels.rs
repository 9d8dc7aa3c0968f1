//! A weight matrix in the order in which the products read it.

use std::marker::PhantomData;

use bytes::Bytes;

use crate::ShapeError;
use crate::lanes::LANES;
use crate::product::storage::Storage;
use crate::product::weight_type::WeightType;

/// Columns of a panel.
pub const NR: usize = 2 * LANES;

/// One row of a panel: the words from some neighbouring inputs to [`NR`] neighbouring outputs.
pub(crate) type PanelRow<V> = [V; 2];

/// A matrix `B[K, N]` cut into panels of [`NR`] columns, each `[K / STEP][NR][STEP]` and
/// contiguous, filled up where K or N doesn't come out even.
#[derive(Debug)]
pub(crate) struct Panels<W> {
    k: usize,
    n: usize,
    /// Of `PanelRow`s.
    data: Storage,
    weight_type: PhantomData<W>,
}

impl<W: WeightType> Panels<W> {
    /// A matrix of `fill`. An error when a size is zero, or memory runs out.
    pub(crate) fn new(
        op: &'static str,
        k: usize,
        n: usize,
        fill: W::Vector,
    ) -> Result<Self, ShapeError> {
        let data = Storage::filled([fill; 2], Self::checked_rows(op, k, n)?);
        Ok(Self {
            k,
            n,
            data: data.ok_or(ShapeError::size(op, "n", n))?,
            weight_type: PhantomData,
        })
    }

    /// What [`Self::as_bytes`] gave for a matrix of the same sizes. An error when a size is zero,
    /// or the bytes have another length or no alignment to cache lines.
    pub(crate) fn from_bytes(
        op: &'static str,
        k: usize,
        n: usize,
        bytes: Bytes,
    ) -> Result<Self, ShapeError> {
        let rows = Self::checked_rows(op, k, n)?;
        Ok(Self {
            k,
            n,
            data: Storage::shared::<PanelRow<W::Vector>>(op, "weights", bytes, rows)?,
            weight_type: PhantomData,
        })
    }

    /// The rows of all panels.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.data.as_bytes()
    }

    /// Number of rows of all panels.
    fn checked_rows(op: &'static str, k: usize, n: usize) -> Result<usize, ShapeError> {
        if k == 0 {
            return Err(ShapeError::size(op, "k", k));
        }
        if n == 0 {
            return Err(ShapeError::size(op, "n", n));
        }
        let rows = n.div_ceil(NR).checked_mul(k.div_ceil(W::STEP));
        rows.ok_or(ShapeError::size(op, "n", n))
    }

    /// K and N.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.k, self.n]
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.n.div_ceil(NR)
    }

    /// Rows of a panel.
    fn rows(&self) -> usize {
        self.k.div_ceil(W::STEP)
    }

    /// The rows of a panel; empty when there is no such panel.
    pub(crate) fn panel(&self, index: usize) -> &[PanelRow<W::Vector>] {
        let mut panels = self.data.as_slice().chunks_exact(self.rows());
        panels.nth(index).unwrap_or_default()
    }

    /// Writes the rows from `k0` on at the columns from `n0` on. `rows` is `[any, width]`,
    /// row-major. An error when it is no multiple of `width`, or doesn't fit.
    pub(crate) fn write_kn<X: Copy>(
        &mut self,
        op: &'static str,
        (k0, n0): (usize, usize),
        width: usize,
        rows: &[X],
        convert: impl Fn(X) -> W::Element,
    ) -> Result<(), ShapeError> {
        if width == 0 {
            return Err(ShapeError::size(op, "width", width));
        }
        let count = rows.len() / width;
        ShapeError::length(op, "rows", count * width, rows.len())?;
        ShapeError::range(op, "rows", k0.saturating_add(count), self.k)?;
        ShapeError::range(op, "columns", n0.saturating_add(width), self.n)?;
        let mut done = 0;
        while done < width {
            let lane = (n0 + done) % NR;
            let len = (NR - lane).min(width - done);
            let panel = self.panel_mut(op, (n0 + done) / NR)?;
            for (k, row) in (k0..).zip(rows.chunks_exact(width)) {
                let words = std::slice::from_mut(&mut panel[k / W::STEP]);
                let words: &mut [W::Element] = bytemuck::cast_slice_mut(words);
                let words = &mut words[lane * W::STEP..];
                let columns = words.chunks_exact_mut(W::STEP);
                for (column, x) in columns.zip(&row[done..done + len]) {
                    column[k % W::STEP] = convert(*x);
                }
            }
            done += len;
        }
        Ok(())
    }

    /// Writes the columns from `n0` on. `columns` is `[any, k]`: all weights of one output, then
    /// of the next. An error when it is no multiple of `k`, or doesn't fit.
    pub(crate) fn write_nk<X: Copy>(
        &mut self,
        op: &'static str,
        n0: usize,
        columns: &[X],
        convert: impl Fn(X) -> W::Element,
    ) -> Result<(), ShapeError> {
        let k = self.k;
        let count = columns.len() / k;
        ShapeError::length(op, "columns", count * k, columns.len())?;
        ShapeError::range(op, "columns", n0.saturating_add(count), self.n)?;
        for (n, column) in (n0..).zip(columns.chunks_exact(k)) {
            let first = n % NR * W::STEP;
            let panel = self.panel_mut(op, n / NR)?;
            for (row, word) in panel.iter_mut().zip(column.chunks(W::STEP)) {
                let elements: &mut [W::Element] = bytemuck::cast_slice_mut(row);
                for (element, x) in elements[first..].iter_mut().zip(word) {
                    *element = convert(*x);
                }
            }
        }
        Ok(())
    }

    /// An existing panel, unless it lies in shared bytes.
    fn panel_mut(
        &mut self,
        op: &'static str,
        index: usize,
    ) -> Result<&mut [PanelRow<W::Vector>], ShapeError> {
        let rows = self.rows();
        let data = self.data.as_mut_slice();
        let data = data.ok_or(ShapeError::Shared { op })?;
        Ok(&mut data[index * rows..][..rows])
    }
}
