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

    pub(crate) fn k(&self) -> usize {
        self.k
    }

    pub(crate) fn n(&self) -> usize {
        self.n
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::weight_type::{Bf16, F32, Int8};
    use crate::testing::{LENGTHS, random_bytes};

    const FILL: u8 = 7;

    /// Panels whose weights are those of `kn` written by rows, or by columns.
    fn written<W: WeightType>(
        (k, n): (usize, usize),
        kn: &[u8],
        fill: W::Vector,
        by_rows: bool,
        convert: impl Fn(u8) -> W::Element + Copy,
    ) -> Panels<W> {
        let mut panels = Panels::<W>::new("test", k, n, fill).unwrap();
        if by_rows {
            // Some rows, and some of their columns, at a time.
            for (k0, rows) in kn.chunks(3 * n).enumerate() {
                let split = n / 3;
                for (n0, end) in [(0, split), (split, n)] {
                    let part = rows.chunks(n).flat_map(|row| &row[n0..end]);
                    let part: Vec<u8> = part.copied().collect();
                    if !part.is_empty() {
                        let at = (3 * k0, n0);
                        let written = panels.write_kn("test", at, end - n0, &part, convert);
                        written.unwrap();
                    }
                }
            }
        } else {
            let nk: Vec<u8> = (0..k * n).map(|i| kn[i % k * n + i / k]).collect();
            for (n0, columns) in nk.chunks(5 * k).enumerate() {
                let written = panels.write_nk("test", 5 * n0, columns, convert);
                written.unwrap();
            }
        }
        panels
    }

    fn check<W: WeightType<Element: PartialEq + std::fmt::Debug>>(
        vector: W::Vector,
        convert: impl Fn(u8) -> W::Element + Copy,
    ) {
        let shapes = LENGTHS.map(|n| (7, n)).into_iter();
        for (k, n) in shapes.chain(LENGTHS.map(|k| (k, 33))) {
            let kn = random_bytes((k + n) as u64, k * n);
            for by_rows in [true, false] {
                let panels = written::<W>((k, n), &kn, vector, by_rows, convert);
                assert_eq!(panels.count(), n.div_ceil(NR));
                for n_at in 0..panels.count() * NR {
                    for k_at in 0..panels.rows() * W::STEP {
                        let row = &panels.panel(n_at / NR)[k_at / W::STEP];
                        let elements: &[W::Element] = bytemuck::cast_slice(row);
                        let element = elements[n_at % NR * W::STEP + k_at % W::STEP];
                        let inside = k_at < k && n_at < n;
                        let byte = if inside { kn[k_at * n + n_at] } else { FILL };
                        assert_eq!(element, convert(byte), "{k_at} {n_at} of {k}x{n}");
                    }
                }
            }
        }
    }

    #[test]
    fn both_orders_put_each_weight_where_products_read_it() {
        check::<F32>([f32::from(FILL); LANES], f32::from);
        check::<Bf16>([u16::from(FILL); 2 * LANES], u16::from);
        check::<Int8>([FILL; 4 * LANES], |x| x);
    }

    #[test]
    fn panels_start_cache_lines() {
        let panels = Panels::<Int8>::new("test", 5, 70, [0; 64]).unwrap();
        for index in 0..panels.count() {
            let panel = panels.panel(index);
            assert_eq!((panel.as_ptr() as usize % 64, panel.len()), (0, 2));
        }
        assert!(panels.panel(panels.count()).is_empty());
        assert!(panels.panel(usize::MAX).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let new = |k, n| Panels::<F32>::new("test", k, n, [0.0; LANES]);
        assert!(new(0, 1).is_err());
        assert!(new(1, 0).is_err());
        assert!(new(usize::MAX, usize::MAX).is_err());
        assert!(new(1 << 40, 1 << 20).is_err());
        let mut b = new(4, 40).unwrap();
        let mut kn = |k0, n0, width, len| {
            let rows = vec![1.0; len];
            b.write_kn("test", (k0, n0), width, &rows, |x| x)
        };
        assert!(kn(0, 0, 0, 0).is_err());
        assert!(kn(0, 0, 3, 4).is_err());
        assert!(kn(3, 0, 1, 2).is_err());
        assert!(kn(usize::MAX, 0, 1, 2).is_err());
        assert!(kn(0, 39, 2, 2).is_err());
        assert!(kn(0, usize::MAX, 2, 2).is_err());
        let mut nk = |n0, len| b.write_nk("test", n0, &vec![1.0; len], |x| x);
        assert!(nk(0, 5).is_err());
        assert!(nk(39, 8).is_err());
        assert!(nk(usize::MAX, 8).is_err());
        assert!(b.as_bytes().iter().all(|byte| *byte == 0));
    }
}
