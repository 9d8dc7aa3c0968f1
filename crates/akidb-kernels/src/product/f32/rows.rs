//! Activations in f32.

use crate::product::blocks::Place;
use crate::product::row_blocks::{Group, Row, RowBlocks, WORDS, count_rows, row_of};
use crate::{Isa, ShapeError};

/// Rows of `A[M, K]` cut into blocks as tall as the tier's tile, each block `[K / 4][rows][4]`;
/// the memory is kept from one use to the next.
///
/// Blocks are balanced: 40 rows at 12 a tile are 4 blocks of 10.
#[derive(Debug, Clone)]
pub struct PackedRows {
    blocks: RowBlocks,
}

impl PackedRows {
    /// No rows, for the kernels of `isa`.
    pub fn new(isa: Isa) -> Self {
        Self {
            blocks: RowBlocks::new(isa, isa.max_rows().f32, WORDS),
        }
    }

    /// Number of rows (M).
    pub fn rows(&self) -> usize {
        self.blocks.rows()
    }

    /// Width of a row (K).
    pub fn k(&self) -> usize {
        self.blocks.k()
    }

    /// The tier whose kernels read these rows.
    pub fn isa(&self) -> Isa {
        self.blocks.isa()
    }

    pub(crate) fn row_blocks(&self) -> &RowBlocks {
        &self.blocks
    }

    /// Takes the rows of `a`, `[any, k]` row-major.
    ///
    /// # Errors
    /// When `k` is zero or `a` is no multiple of it, or memory runs out.
    pub fn pack(&mut self, a: &[f32], k: usize) -> Result<(), ShapeError> {
        let rows = count_rows("PackedRows::pack", a, k)?;
        self.pack_from(rows, k, row_of(a, k))
    }

    /// Takes `rows` rows of `k` values that `source` gives: it is called with 0, 1, 2, … and room
    /// for a row, and returns another slice of length `k` where it doesn't use that.
    ///
    /// # Errors
    /// What `source` returns, and when `k` is zero, a row has another length, or memory runs out.
    /// There are no rows then.
    pub fn pack_from<'a, E: From<ShapeError>>(
        &mut self,
        rows: usize,
        k: usize,
        source: impl FnMut(usize, &mut [f32]) -> Result<Option<&'a [f32]>, E>,
    ) -> Result<(), E> {
        let op = "PackedRows::pack_from";
        let encode = |row: Row<'_>| {
            let (full, rest) = row.values.as_chunks::<WORDS>();
            let mut groups = row.groups.iter_mut().step_by(row.place.block.len());
            for (values, out) in full.iter().zip(&mut groups) {
                *out = group(values);
            }
            if let Some(out) = groups.next().filter(|_| !rest.is_empty()) {
                let mut values = [0.0; WORDS];
                values[..rest.len()].copy_from_slice(rest);
                *out = group(&values);
            }
        };
        self.blocks.pack_from(op, rows, k, source, encode)
    }

    /// Takes the rows of all `parts`, one part after another.
    ///
    /// # Errors
    /// When parts differ in K, or memory runs out. There are no rows then.
    pub fn concat(&mut self, parts: &[&Self]) -> Result<(), ShapeError> {
        let parts = parts.iter().map(|part| &part.blocks);
        let nothing_else = |_, _: &Place, _: &Place| {};
        self.blocks
            .concat("PackedRows::concat", parts, nothing_else)
    }
}

#[inline(always)]
fn group(values: &[f32; WORDS]) -> Group {
    Group(values.map(|x| x.to_bits().cast_signed()))
}
