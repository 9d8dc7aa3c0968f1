//! A matrix whose columns are shared out among threads.

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::buffer::{Buffer, grow};

/// A row-major matrix for each thread's columns, behind a lock: written by its thread, read by all
/// once they have met.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    parts: Vec<RwLock<Buffer>>,
    /// The columns of each part.
    ranges: Vec<Range<usize>>,
}

impl Columns {
    /// Makes room for `rows` rows of parts with these columns, which follow each other from 0 on.
    pub(crate) fn reserve(&mut self, rows: usize, ranges: Vec<Range<usize>>) {
        self.parts.resize_with(ranges.len(), RwLock::default);
        for (part, range) in self.parts.iter_mut().zip(&ranges) {
            let part = part.get_mut().unwrap_or_else(PoisonError::into_inner);
            grow(part, rows * range.len());
        }
        self.ranges = ranges;
    }

    /// Columns of a part.
    pub(crate) fn range(&self, part: usize) -> Range<usize> {
        self.ranges.get(part).cloned().unwrap_or_default()
    }

    /// A part, `[rows, its columns]` and anything behind.
    pub(crate) fn write(&self, part: usize) -> Option<RwLockWriteGuard<'_, Buffer>> {
        let part = self.parts.get(part)?;
        Some(part.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// All parts. Nobody may be writing.
    pub(crate) fn read(&self) -> ColumnsView<'_> {
        self.read_parts(0..self.parts.len())
    }

    /// Some parts, which nobody may be writing.
    pub(crate) fn read_parts(&self, parts: Range<usize>) -> ColumnsView<'_> {
        let ranges = self.ranges.get(parts.clone()).unwrap_or_default();
        let parts = self.parts.get(parts).unwrap_or_default().iter();
        let parts = parts.map(|part| part.read().unwrap_or_else(PoisonError::into_inner));
        ColumnsView {
            parts: parts.collect(),
            ranges,
        }
    }
}

/// Columns of some parts.
pub(crate) struct ColumnsView<'a> {
    parts: Vec<RwLockReadGuard<'a, Buffer>>,
    ranges: &'a [Range<usize>],
}

impl ColumnsView<'_> {
    /// The columns from `first` on of a row, if they lie in one part.
    pub(crate) fn part(&self, row: usize, first: usize, len: usize) -> Option<&[f32]> {
        let whole = |range: &Range<usize>| range.start <= first && first + len <= range.end;
        let index = self.ranges.iter().position(whole)?;
        let range = self.ranges.get(index)?;
        let start = row * range.len() + first - range.start;
        self.parts.get(index)?.get(start..start + len)
    }

    /// Copies the columns from `first` on of a row to `out`.
    pub(crate) fn copy(&self, row: usize, first: usize, out: &mut [f32]) {
        let end = first + out.len();
        for (part, range) in self.parts.iter().zip(self.ranges) {
            let (from, to) = (range.start.max(first), range.end.min(end));
            if from < to {
                let start = row * range.len() + from - range.start;
                out[from - first..to - first].copy_from_slice(&part[start..start + to - from]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_from_every_part() {
        let mut columns = Columns::default();
        columns.reserve(2, vec![0..3, 3..3, 3..7]);
        for (part, first) in [(0, 0), (2, 3)] {
            let width = columns.range(part).len();
            for (i, value) in columns.write(part).unwrap().iter_mut().enumerate() {
                *value = (i / width * 10 + first + i % width) as f32;
            }
        }
        let view = columns.read();
        for (first, end) in [(0, 7), (2, 4), (3, 7), (5, 6)] {
            let mut out = vec![0.0; end - first];
            view.copy(1, first, &mut out);
            let expected: Vec<f32> = (first..end).map(|column| (10 + column) as f32).collect();
            assert_eq!(out, expected);
            let part = view.part(1, first, end - first);
            assert_eq!(part, (first >= 3).then_some(&*expected));
        }
    }
}
