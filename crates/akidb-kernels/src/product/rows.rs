//! Rows of activations, packed for the products with one number format.

use crate::product::blocks::RowPlace;
use crate::product::row_blocks::{Row, RowBlocks, sum};
use crate::{Isa, ShapeError};

/// How a number format holds rows: their words lie in [`RowBlocks`], what goes with them here.
pub(crate) trait Encoding: Default {
    /// The rows' name in errors.
    const NAME: &'static str;

    /// Values in a [`Group`](crate::product::row_blocks::Group).
    fn per_group(isa: Isa) -> usize;

    /// Rows of a tier's tallest tile.
    fn tallest(isa: Isa) -> usize;

    /// Makes room for what goes with `rows` rows of `k` values; `None` when memory runs out.
    fn reserve(&mut self, _rows: usize, _k: usize) -> Option<()> {
        Some(())
    }

    /// Writes the words of a row, and what goes with them.
    fn encode(&mut self, isa: Isa, row: Row<'_>);

    /// Gets ready for the rows of all `parts`. An error when they don't fit each other.
    fn join<'a>(&mut self, _parts: impl Iterator<Item = &'a Self>) -> Result<(), ShapeError>
    where
        Self: 'a,
    {
        Ok(())
    }

    /// Takes what goes with a row of `k` values, `at` a place of `from`.
    fn copy(&mut self, _from: &Self, _at: &RowPlace, _to: &RowPlace, _k: usize) {}
}

/// Rows of `A[M, K]` as the products with one number format read them, cut into blocks as tall as
/// the tier's tile; the memory is kept from one use to the next.
///
/// Blocks are balanced: 40 rows at 12 a tile are 4 blocks of 10.
#[derive(Debug, Clone)]
pub(crate) struct RowsOf<E> {
    blocks: RowBlocks,
    pub(super) encoding: E,
}

impl<E: Encoding> RowsOf<E> {
    /// No rows, for the kernels of `isa`.
    pub(crate) fn new(isa: Isa) -> Self {
        Self {
            blocks: RowBlocks::new(isa, E::tallest(isa), E::per_group(isa)),
            encoding: E::default(),
        }
    }

    /// Number of rows (M).
    pub(crate) fn rows(&self) -> usize {
        self.blocks.rows()
    }

    /// Width of a row (K).
    pub(crate) fn k(&self) -> usize {
        self.blocks.k()
    }

    /// The tier whose kernels read these rows.
    pub(crate) fn isa(&self) -> Isa {
        self.blocks.isa()
    }

    pub(crate) fn row_blocks(&self) -> &RowBlocks {
        &self.blocks
    }

    /// Takes `rows` rows of `k` values that `source` gives. An error, and no rows, when it fails, `k`
    /// is zero, a row has another length, or memory runs out.
    pub(super) fn pack_from<'a, F: From<ShapeError>>(
        &mut self,
        rows: usize,
        k: usize,
        source: impl FnMut(usize, &mut [f32]) -> Result<Option<&'a [f32]>, F>,
    ) -> Result<(), F> {
        self.reserve(rows, k)?;
        let (isa, encoding) = (self.isa(), &mut self.encoding);
        let encode = |row: Row<'_>| encoding.encode(isa, row);
        self.blocks.pack_from(E::NAME, rows, k, source, encode)
    }

    /// Takes the rows of all `parts`, one part after another. An error, and no rows, when parts
    /// differ in K or in what their encoding needs to know, or memory runs out.
    pub(crate) fn concat(&mut self, parts: &[&Self]) -> Result<(), ShapeError> {
        self.blocks.clear();
        let filled = || parts.iter().filter(|part| part.rows() > 0);
        let k = filled().next().map_or(self.k(), |part| part.k());
        self.encoding.join(filled().map(|part| &part.encoding))?;
        self.reserve(sum(parts.iter().map(|part| part.rows())), k)?;
        let encoding = &mut self.encoding;
        let copied = |part: usize, from: &RowPlace, to: &RowPlace| {
            encoding.copy(&parts[part].encoding, from, to, k);
        };
        let parts = parts.iter().map(|part| &part.blocks);
        self.blocks.concat(E::NAME, parts, copied)
    }

    /// No rows, and room for what goes with `rows` of them.
    fn reserve(&mut self, rows: usize, k: usize) -> Result<(), ShapeError> {
        self.blocks.clear();
        let room = self.encoding.reserve(rows, k);
        room.ok_or(ShapeError::size(E::NAME, "rows", rows))
    }
}

#[cfg(test)]
impl<E: Encoding> RowsOf<E> {
    /// Takes the rows of `a`, `[any, k]` row-major.
    pub(crate) fn pack(&mut self, a: &[f32], k: usize) -> Result<(), ShapeError> {
        self.pack_from(a.len() / k, k, crate::testing::row_of(a, k))
    }
}
