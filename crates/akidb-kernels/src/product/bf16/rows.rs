//! Activations rounded to bf16.

use crate::arch::{Kernel, Target};
use crate::bf16::to_bf16_pair;
use crate::product::blocks::Place;
use crate::product::row_blocks::{Group, Row, RowBlocks, WORDS, count_rows, row_of};
use crate::{Isa, ShapeError};

/// Values in a [`Group`].
const PER_GROUP: usize = 2 * WORDS;

/// Rows of `A[M, K]`, rounded to bf16 (to the nearest, ties to even), cut into blocks as tall as
/// the tier's tile, each block `[K / 8][rows][8]`; the memory is kept from one use to the next.
#[derive(Debug, Clone)]
pub struct Bf16Rows {
    blocks: RowBlocks,
}

impl Bf16Rows {
    /// No rows, for the kernels of `isa`.
    pub fn new(isa: Isa) -> Self {
        Self {
            blocks: RowBlocks::new(isa, isa.max_rows().bf16, PER_GROUP),
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
        let rows = count_rows("Bf16Rows::pack", a, k)?;
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
        let isa = self.isa();
        let encode = |row: Row<'_>| isa.run(Round(row));
        self.blocks
            .pack_from("Bf16Rows::pack_from", rows, k, source, encode)
    }

    /// Takes the rows of all `parts`, one part after another.
    ///
    /// # Errors
    /// When parts differ in K, or memory runs out. There are no rows then.
    pub fn concat(&mut self, parts: &[&Self]) -> Result<(), ShapeError> {
        let parts = parts.iter().map(|part| &part.blocks);
        let nothing_else = |_, _: &Place, _: &Place| {};
        self.blocks.concat("Bf16Rows::concat", parts, nothing_else)
    }
}

struct Round<'a>(Row<'a>);

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let row = self.0;
        let (full, rest) = row.values.as_chunks();
        let mut groups = row.groups.iter_mut().step_by(row.place.block.len());
        for (x, out) in full.iter().zip(&mut groups) {
            *out = group(x);
        }
        if let Some(out) = groups.next().filter(|_| !rest.is_empty()) {
            let mut x = [0.0; PER_GROUP];
            for (x, value) in x.iter_mut().zip(rest) {
                *x = *value;
            }
            *out = group(&x);
        }
    }
}

#[inline(always)]
fn group(x: &[f32; PER_GROUP]) -> Group {
    let mut group = Group::default();
    for w in 0..WORDS {
        group.0[w] = to_bf16_pair(x[2 * w], x[2 * w + 1]).cast_signed();
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::to_bf16;
    use crate::testing::{LENGTHS, for_each_isa, random};

    /// The bf16 of a row.
    fn row(packed: &Bf16Rows, index: usize) -> Vec<u16> {
        let block = packed.row_blocks().block_of(index);
        let groups = packed.row_blocks().groups(&block).chunks(block.len());
        let words = groups.flat_map(|groups| groups[index - block.start].0);
        words
            .flat_map(|word| [word as u16, (word >> 16) as u16])
            .collect()
    }

    #[test]
    fn every_value_is_rounded_and_the_rest_is_zero() {
        let shapes = LENGTHS.map(|rows| (rows, 17)).into_iter();
        for (rows, k) in shapes.chain(LENGTHS.map(|k| (2, k))) {
            let mut a = random(rows as u64, rows * k);
            a[rows * k / 2] = f32::NAN;
            for_each_isa(|isa| {
                let mut packed = Bf16Rows::new(isa);
                // What an earlier use left behind doesn't matter.
                packed.pack(&random(9, 3 * 200), 200).unwrap();
                packed.pack(&a, k).unwrap();
                for (index, x) in a.chunks(k).enumerate() {
                    let mut expected: Vec<u16> = x.iter().map(|x| to_bf16(*x)).collect();
                    expected.resize(k.next_multiple_of(PER_GROUP), 0);
                    assert_eq!(row(&packed, index), expected, "{isa} {rows}x{k}");
                }
            });
        }
    }
}
