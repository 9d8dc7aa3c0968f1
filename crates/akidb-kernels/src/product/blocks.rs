//! Rows cut into blocks as tall as a tile.

use std::ops::Range;

/// Blocks of `rows` rows, of at most `tallest` each, balanced: 40 rows at 12 a tile are 4 blocks
/// of 10.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    pub(crate) rows: usize,
    pub(crate) tallest: usize,
}

impl Blocks {
    /// Number of blocks.
    pub(crate) fn count(self) -> usize {
        self.rows.div_ceil(self.tallest)
    }

    /// Rows of each block: the first blocks are one row taller where it doesn't come out even.
    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let count = self.count();
        (0..count).map(move |index| {
            let (height, taller) = (self.rows / count, self.rows % count);
            let start = index * height + index.min(taller);
            start..start + height + usize::from(index < taller)
        })
    }

    /// The place of each row.
    pub(crate) fn places(self) -> impl Iterator<Item = RowPlace> {
        self.iter().flat_map(|block| {
            block.clone().map(move |index| RowPlace {
                index,
                block: block.clone(),
            })
        })
    }
}

/// A row and its block.
#[derive(Debug, Clone)]
pub(crate) struct RowPlace {
    pub(crate) index: usize,
    /// Rows of its block.
    pub(crate) block: Range<usize>,
}

impl RowPlace {
    /// Where what a row has `count` of is, among those of all rows, which take turns in each block:
    /// every so-many-th from the first one on.
    pub(crate) fn among(&self, count: usize) -> Range<usize> {
        let Range { start, end } = self.block;
        start * count + self.index - start..end * count
    }
}
