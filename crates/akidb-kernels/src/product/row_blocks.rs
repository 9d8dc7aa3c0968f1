//! Activations in the order in which the products read them.

use std::collections::TryReserveError;
use std::ops::Range;

use crate::product::blocks::{Blocks, RowPlace};
use crate::{Isa, ShapeError};

/// Words in a [`Group`].
pub(crate) const WORDS: usize = 4;

/// Four words of one row, neighbours along K: 4 f32, 8 bf16 or 16 i8 in the order of memory.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub(crate) struct Group(pub(crate) [i32; WORDS]);

/// Rows of `A[M, K]` cut into blocks as tall as a tile, each block `[groups of a row][rows]`; the
/// memory is kept from one use to the next.
#[derive(Debug, Clone)]
pub(crate) struct RowBlocks {
    isa: Isa,
    /// Rows of the tallest tile.
    tallest: usize,
    /// Values in a group.
    per_group: usize,
    rows: usize,
    k: usize,
    data: Vec<Group>,
    /// One row before it is encoded.
    staging: Vec<f32>,
}

impl RowBlocks {
    pub(crate) fn new(isa: Isa, tallest: usize, per_group: usize) -> Self {
        Self {
            isa,
            tallest,
            per_group,
            rows: 0,
            k: 0,
            data: Vec::new(),
            staging: Vec::new(),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn k(&self) -> usize {
        self.k
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// No rows.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
    }

    /// Takes `rows` rows of `k` values that `source` gives. `encode` turns each into groups.
    pub(crate) fn pack_from<'a, E: From<ShapeError>>(
        &mut self,
        op: &'static str,
        rows: usize,
        k: usize,
        mut source: impl FnMut(usize, &mut [f32]) -> Result<Option<&'a [f32]>, E>,
        mut encode: impl FnMut(Row<'_>),
    ) -> Result<(), E> {
        self.clear();
        if k == 0 {
            return Err(ShapeError::size(op, "k", k).into());
        }
        let too_many = ShapeError::size(op, "rows", rows);
        let groups = k.div_ceil(self.per_group);
        let len = rows.checked_mul(groups).ok_or(too_many)?;
        grow(&mut self.staging, k).map_err(|_| ShapeError::size(op, "k", k))?;
        grow(&mut self.data, len).map_err(|_| too_many)?;
        let blocks = self.cut(rows);
        let staging = &mut self.staging[..k];
        for place in blocks.places() {
            let values = source(place.index, staging)?.unwrap_or(staging);
            ShapeError::length(op, "a row", k, values.len())?;
            encode(Row {
                values,
                groups: &mut self.data[place.among(groups)],
                place,
            });
        }
        self.rows = rows;
        self.k = k;
        Ok(())
    }

    /// Takes the rows of all `parts`, one part after another. `copied` is told the part of each, its
    /// place there and here.
    pub(crate) fn concat<'a>(
        &mut self,
        op: &'static str,
        parts: impl Iterator<Item = &'a Self> + Clone,
        mut copied: impl FnMut(usize, &RowPlace, &RowPlace),
    ) -> Result<(), ShapeError> {
        self.clear();
        let mut filled = parts.clone().filter(|part| part.rows > 0);
        self.k = filled.next().map_or(self.k, Self::k);
        for part in filled {
            ShapeError::length(op, "rows of a part", self.k, part.k)?;
        }
        let rows = sum(parts.clone().map(Self::rows));
        let too_many = ShapeError::size(op, "rows", rows);
        let groups = self.k.div_ceil(self.per_group);
        let len = rows.checked_mul(groups).ok_or(too_many)?;
        grow(&mut self.data, len).map_err(|_| too_many)?;
        let from = parts.enumerate().flat_map(|(index, part)| {
            let places = part.blocks().places();
            places.map(move |place| (index, part, place))
        });
        for (to, (index, part, from)) in self.cut(rows).places().zip(from) {
            copy(&part.data, &from, &mut self.data, &to, groups);
            copied(index, &from, &to);
        }
        self.rows = rows;
        Ok(())
    }

    /// The rows of each block.
    pub(crate) fn blocks(&self) -> Blocks {
        self.cut(self.rows)
    }

    /// So many rows in blocks as tall as a tile.
    fn cut(&self, rows: usize) -> Blocks {
        let tallest = self.tallest;
        Blocks { rows, tallest }
    }

    /// The block of a row.
    #[cfg(test)]
    pub(crate) fn block_of(&self, row: usize) -> Range<usize> {
        let mut blocks = self.blocks().iter();
        blocks.find(|block| block.contains(&row)).unwrap()
    }

    /// The values of a row, which are i8, or i16 of which every other one is apart.
    #[cfg(test)]
    pub(crate) fn integers(&self, row: usize) -> Vec<i64> {
        let block = self.block_of(row);
        let groups = self.groups(&block).chunks(block.len());
        let words: Vec<i32> = groups
            .flat_map(|groups| groups[row - block.start].0)
            .collect();
        if self.per_group == 4 * WORDS {
            let bytes = words.into_iter().flat_map(i32::to_ne_bytes);
            return bytes.map(|byte| i64::from(byte as i8)).collect();
        }
        let pairs = words.as_chunks::<2>().0.iter();
        let values =
            pairs.flat_map(|[a, b]| [*a as i16, *b as i16, (a >> 16) as i16, (b >> 16) as i16]);
        values.map(i64::from).collect()
    }

    /// The groups of a block that [`Self::blocks`] gave.
    #[inline(always)]
    pub(crate) fn groups(&self, block: &Range<usize>) -> &[Group] {
        let groups = self.k.div_ceil(self.per_group);
        &self.data[block.start * groups..block.end * groups]
    }
}

/// A row on its way into a block.
pub(crate) struct Row<'a> {
    pub(crate) values: &'a [f32],
    /// From its first one on: every so-many-th, as the block has rows, is this row's.
    pub(crate) groups: &'a mut [Group],
    pub(crate) place: RowPlace,
}

/// Copies what a row has `count` of from its place among those of other rows to another one.
pub(crate) fn copy<T: Copy>(from: &[T], at: &RowPlace, to: &mut [T], new: &RowPlace, count: usize) {
    let from = from[at.among(count)].iter().step_by(at.block.len());
    let to = to[new.among(count)].iter_mut().step_by(new.block.len());
    for (to, from) in to.zip(from) {
        *to = *from;
    }
}

/// The sum of numbers of rows.
pub(crate) fn sum(rows: impl Iterator<Item = usize>) -> usize {
    rows.fold(0, usize::saturating_add)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_balanced() {
        for tallest in [1, 3, 12] {
            let mut packed = RowBlocks::new(Isa::detect(), tallest, 4);
            for (rows, k) in [(1, 1), (2, 16), (5, 17), (12, 3), (13, 4), (40, 5), (0, 5)] {
                let fill = |index, row: &mut [f32]| {
                    row.fill(index as f32);
                    Ok::<_, ShapeError>(None)
                };
                let encode = |row: Row<'_>| {
                    let places = row.place.among(usize::div_ceil(k, 4));
                    assert_eq!(places.len(), row.groups.len());
                    let groups = row.groups.iter_mut().step_by(row.place.block.len());
                    for (group, values) in groups.zip(row.values.chunks(4)) {
                        let place = [row.place.index, places.start, values.len()].map(|x| x as i32);
                        *group = Group([values[0] as i32, place[0], place[1], place[2]]);
                    }
                };
                packed.pack_from("test", rows, k, fill, encode).unwrap();
                assert_eq!((packed.rows(), packed.k()), (rows, k));
                let (mut next, mut heights) = (0, Vec::new());
                for block in packed.blocks().iter() {
                    assert_eq!(block.start, next);
                    next = block.end;
                    heights.push(block.len());
                    let groups = packed.groups(&block);
                    assert_eq!(groups.len(), k.div_ceil(4) * block.len());
                    for (i, group) in groups.iter().enumerate() {
                        let row = block.start + i % block.len();
                        let at = block.start * k.div_ceil(4) + i % block.len();
                        let len = (k - 4 * (i / block.len())).min(4);
                        assert_eq!(group.0, [row, row, at, len].map(|x| x as i32));
                    }
                }
                assert_eq!(next, rows);
                let (min, max) = (heights.iter().min(), heights.iter().max());
                assert!(max.unwrap_or(&0) - min.unwrap_or(&0) <= 1);
                assert!(*max.unwrap_or(&0) <= tallest);
            }
        }
    }
}
