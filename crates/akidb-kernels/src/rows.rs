//! Activations in the order in which the product reads them.

use std::collections::TryReserveError;
use std::ops::Range;

use crate::blocks::Blocks;
use crate::lanes::LANES;
use crate::{Isa, ShapeError};

/// Rows of `A[M, K]` cut into blocks as tall as the tier's tile, each block `[K][rows]`; the
/// memory is kept from one use to the next.
///
/// Blocks are balanced: 40 rows at 12 a tile are 4 blocks of 10.
#[derive(Debug, Clone)]
pub struct PackedRows {
    isa: Isa,
    /// Rows of the tallest tile.
    tallest: usize,
    rows: usize,
    k: usize,
    data: Vec<f32>,
    /// Rows of one block before they are turned.
    staging: Vec<f32>,
}

impl PackedRows {
    /// No rows, for the kernels of `isa`.
    pub fn new(isa: Isa) -> Self {
        Self {
            isa,
            tallest: isa.max_rows().f32,
            rows: 0,
            k: 0,
            data: Vec::new(),
            staging: Vec::new(),
        }
    }

    /// Number of rows (M).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Width of a row (K).
    pub fn k(&self) -> usize {
        self.k
    }

    /// The tier whose kernels read these rows.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Takes the rows of `a`, `[any, k]` row-major.
    ///
    /// # Errors
    /// When `k` is zero or `a` is no multiple of it, or memory runs out.
    pub fn pack(&mut self, a: &[f32], k: usize) -> Result<(), ShapeError> {
        let op = "PackedRows::pack";
        if k == 0 {
            return Err(ShapeError::size(op, "k", k));
        }
        let rows = a.len() / k;
        ShapeError::length(op, "a", rows * k, a.len())?;
        let mut source = a.chunks_exact(k);
        self.pack_with(rows, k, |_, row| {
            if let Some(values) = source.next() {
                row.copy_from_slice(values);
            }
            Ok(())
        })
    }

    /// Takes `rows` rows of `k` values that `fill` writes: it is called with 0, 1, 2, … and a
    /// slice of length `k` that holds anything.
    ///
    /// # Errors
    /// What `fill` returns, and when `k` is zero or memory runs out. There are no rows then.
    pub fn pack_with<E: From<ShapeError>>(
        &mut self,
        rows: usize,
        k: usize,
        mut fill: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let op = "PackedRows::pack_with";
        self.rows = 0;
        if k == 0 {
            return Err(ShapeError::size(op, "k", k).into());
        }
        let len = rows
            .checked_mul(k)
            .ok_or(ShapeError::size(op, "rows", rows))?;
        let tallest = self.tallest;
        grow(&mut self.staging, tallest.min(rows) * k).map_err(|_| ShapeError::size(op, "k", k))?;
        grow(&mut self.data, len).map_err(|_| ShapeError::size(op, "rows", rows))?;
        for block in (Blocks { rows, tallest }).iter() {
            let staging = &mut self.staging[..block.len() * k];
            for (row, values) in block.clone().zip(staging.chunks_exact_mut(k)) {
                fill(row, values)?;
            }
            transpose(
                staging,
                k,
                &mut self.data[block.start * k..block.end * k],
                block.len(),
            );
        }
        self.rows = rows;
        self.k = k;
        Ok(())
    }

    /// Each block's rows and its `[K][rows]` values.
    pub(crate) fn blocks(&self) -> impl ExactSizeIterator<Item = (Range<usize>, &[f32])> {
        let Self { rows, tallest, .. } = *self;
        (Blocks { rows, tallest }).iter().map(|block| {
            let values = &self.data[block.start * self.k..block.end * self.k];
            (block, values)
        })
    }
}

/// Makes `buffer` at least `len` long.
pub(crate) fn grow<T: Clone + Default>(
    buffer: &mut Vec<T>,
    len: usize,
) -> Result<(), TryReserveError> {
    if buffer.len() < len {
        buffer.try_reserve_exact(len - buffer.len())?;
        buffer.resize(len, T::default());
    }
    Ok(())
}

/// `[rows][k]` to `[k][rows]`, a cache line of each row at a time.
fn transpose(source: &[f32], k: usize, target: &mut [f32], rows: usize) {
    for (chunk, target) in target.chunks_mut(LANES * rows).enumerate() {
        for (r, row) in source.chunks_exact(k).enumerate() {
            let row = &row[chunk * LANES..];
            for (target, value) in target.chunks_exact_mut(rows).zip(row) {
                target[r] = *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{for_each_isa, random};

    #[test]
    fn blocks_are_balanced_and_turned() {
        for_each_isa(|isa| {
            let mut packed = PackedRows::new(isa);
            for (rows, k) in [
                (1, 1),
                (2, 16),
                (5, 17),
                (12, 3),
                (13, 33),
                (40, 31),
                (0, 5),
            ] {
                let a = random(rows as u64, rows * k);
                packed.pack(&a, k).unwrap();
                assert_eq!((packed.rows(), packed.k()), (rows, k));
                let mut next = 0;
                let heights: Vec<usize> = packed.blocks().map(|(block, _)| block.len()).collect();
                for (block, values) in packed.blocks() {
                    assert_eq!(block.start, next);
                    next = block.end;
                    for (r, row) in block.clone().enumerate() {
                        for i in 0..k {
                            assert_eq!(values[i * block.len() + r], a[row * k + i]);
                        }
                    }
                }
                assert_eq!(next, rows);
                let (min, max) = (heights.iter().min(), heights.iter().max());
                assert!(max.unwrap_or(&0) - min.unwrap_or(&0) <= 1);
                assert!(*max.unwrap_or(&0) <= isa.max_rows().f32);
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut packed = PackedRows::new(Isa::detect());
        assert!(packed.pack(&[1.0], 0).is_err());
        assert!(packed.pack(&[1.0; 5], 2).is_err());
        let fill = |_: usize, _: &mut [f32]| Ok::<(), ShapeError>(());
        assert!(packed.pack_with(usize::MAX, 2, fill).is_err());
        assert!(packed.pack_with(usize::MAX / 64, 2, fill).is_err());
        assert!(packed.pack_with(1, usize::MAX, fill).is_err());
        assert_eq!(packed.rows(), 0);
    }
}
