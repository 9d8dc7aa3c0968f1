//! Activations quantised to i8 with a scale for each block of a row.

use std::ops::Range;

use crate::arch::{Kernel, Target};
use crate::lanes::{LANES, load_partial};
use crate::product::blocks::Place;
use crate::product::int8::rows::{SMALLEST, quantize};
use crate::product::quantized::high_digits::{DIGIT, HighDigits, RowHighDigits};
use crate::product::quantized::outliers::{Magnitudes, Outlier, Outliers, magnitude};
use crate::product::row_blocks::{Group, Row, RowBlocks, copy, count_rows, grow, row_of, sum};
use crate::{Isa, ShapeError};

/// What the values of a row mean in a block along K.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockScale {
    /// Step between neighbouring i8.
    pub(crate) scale: f32,
    /// -128 · the sum of the i8: what unsigned weights, 128 above what they mean, give too much,
    /// negated.
    pub(crate) offset: i32,
}

/// As [`QuantizedRows`](crate::QuantizedRows), with a scale for each block of `block_size` values
/// along K. Which values are outliers is a question of the row, as there; top is the largest
/// magnitude of a block's other values, or 1/256 of its largest outlier, if that is more.
///
/// A block whose top is below 1.5e-36 (127 times the smallest normal f32) counts as zeros.
#[derive(Debug, Clone)]
pub struct BlockQuantizedRows {
    blocks: RowBlocks,
    block_size: usize,
    /// Interleaved as the groups are, `[K / block_size][rows]` for each block of rows.
    scales: Vec<BlockScale>,
    high: HighDigits,
}

impl BlockQuantizedRows {
    /// No rows, for the kernels of `isa`.
    pub fn new(isa: Isa) -> Self {
        Self {
            blocks: RowBlocks::new(isa, isa.max_rows().int8, LANES),
            block_size: LANES,
            scales: Vec::new(),
            high: HighDigits::default(),
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

    /// Values of a row that share a scale.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// The tier whose kernels read these rows.
    pub fn isa(&self) -> Isa {
        self.blocks.isa()
    }

    pub(crate) fn row_blocks(&self) -> &RowBlocks {
        &self.blocks
    }

    /// What the values of a block of rows mean, `[K / block_size][rows]`.
    #[inline(always)]
    pub(crate) fn scales(&self, rows: &Range<usize>) -> &[BlockScale] {
        let count = self.k().div_ceil(self.block_size);
        let places = rows.start * count..rows.end * count;
        self.scales.get(places).unwrap_or_default()
    }

    /// The digits that outliers have besides those among the groups.
    #[inline(always)]
    pub(crate) fn high_digits(&self) -> &HighDigits {
        &self.high
    }

    /// Takes the rows of `a`, `[any, k]` row-major.
    ///
    /// # Errors
    /// When `k` is zero or `a` is no multiple of it, `block_size` is no multiple of 16, or memory
    /// runs out.
    pub fn pack(&mut self, a: &[f32], k: usize, block_size: usize) -> Result<(), ShapeError> {
        let rows = count_rows("BlockQuantizedRows::pack", a, k)?;
        self.pack_from(rows, k, block_size, row_of(a, k))
    }

    /// Takes `rows` rows of `k` values that `source` gives: it is called with 0, 1, 2, … and room
    /// for a row, and returns another slice of length `k` where it doesn't use that.
    ///
    /// # Errors
    /// What `source` returns, and when `k` is zero, `block_size` is no multiple of 16, a row has
    /// another length, or memory runs out. There are no rows then.
    pub fn pack_from<'a, E: From<ShapeError>>(
        &mut self,
        rows: usize,
        k: usize,
        block_size: usize,
        source: impl FnMut(usize, &mut [f32]) -> Result<Option<&'a [f32]>, E>,
    ) -> Result<(), E> {
        let op = "BlockQuantizedRows::pack_from";
        let isa = self.isa();
        self.blocks.clear();
        if block_size == 0 || !block_size.is_multiple_of(LANES) {
            return Err(ShapeError::size(op, "block_size", block_size).into());
        }
        let count = self.reserve(op, rows, k, block_size)?;
        let (scales, high) = (&mut self.scales, &mut self.high);
        let encode = |row: Row<'_>| {
            isa.run(Quantize {
                block_size,
                scales: &mut scales[row.place.among(count)],
                high: high.row(row.place.index),
                row,
            });
        };
        self.blocks.pack_from(op, rows, k, source, encode)
    }

    /// Takes the rows of all `parts`, one part after another.
    ///
    /// # Errors
    /// When parts differ in K or in `block_size`, or memory runs out. There are no rows then.
    pub fn concat(&mut self, parts: &[&Self]) -> Result<(), ShapeError> {
        let op = "BlockQuantizedRows::concat";
        self.blocks.clear();
        let mut filled = parts.iter().filter(|part| part.rows() > 0);
        let Some(first) = filled.next() else {
            return Ok(());
        };
        let block_size = first.block_size;
        for part in filled {
            ShapeError::length(op, "a block of a part", block_size, part.block_size)?;
        }
        let rows = sum(parts.iter().map(|part| part.rows()));
        let count = self.reserve(op, rows, first.k(), block_size)?;
        let (scales, high) = (&mut self.scales, &mut self.high);
        let copied = |part: usize, from: &Place, to: &Place| {
            copy(&parts[part].scales, from, scales, to, count);
            high.copy(&parts[part].high, from.index, to.index);
        };
        let parts = parts.iter().map(|part| &part.blocks);
        self.blocks.concat(op, parts, copied)
    }

    /// Room for what goes with `rows` rows. Returns the number of blocks of each.
    fn reserve(
        &mut self,
        op: &'static str,
        rows: usize,
        k: usize,
        block_size: usize,
    ) -> Result<usize, ShapeError> {
        let too_many = ShapeError::size(op, "rows", rows);
        let count = k.div_ceil(block_size);
        grow(&mut self.scales, rows.checked_mul(count).ok_or(too_many)?).map_err(|_| too_many)?;
        self.high.grow(rows).map_err(|_| too_many)?;
        self.block_size = block_size;
        Ok(count)
    }
}

struct Quantize<'a> {
    row: Row<'a>,
    block_size: usize,
    /// From its first one on: every so-many-th is this row's, as of the groups.
    scales: &'a mut [BlockScale],
    high: RowHighDigits<'a>,
}

impl Kernel for Quantize<'_> {
    #[inline(always)]
    fn run<T: Target>(mut self, target: T) {
        let Row {
            values,
            groups,
            place,
        } = self.row;
        let magnitudes = Magnitudes::of(values);
        let largest = magnitudes.largest;
        let mut groups = groups.chunks_mut(place.block.len());
        let scales = self.scales.chunks_mut(place.block.len());
        if !largest.is_finite() {
            groups.for_each(|groups| groups[0] = Group::default());
            for scales in scales {
                scales[0] = BlockScale {
                    scale: f32::NAN,
                    offset: 0,
                };
            }
            return;
        }
        let outliers = Outliers::find(target, values, &magnitudes);
        let mut outliers = outliers.found();
        let blocks = values.chunks(self.block_size).enumerate();
        for ((index, values), scales) in blocks.zip(scales) {
            let first = index * self.block_size;
            let end = first + values.len();
            let count = outliers.iter().take_while(|(at, _)| *at < end).count();
            let own;
            (own, outliers) = outliers.split_at(count);
            let top = if own.is_empty() {
                largest_of(values)
            } else {
                top_beside(values, first, own)
            };
            let (top, inverse) = if top < SMALLEST {
                (0.0, 0.0)
            } else {
                (top, 127.0 / top)
            };
            let mut low = quantize(values, inverse, &mut groups);
            for (at, _) in own {
                low -= DIGIT * self.high.add(*at, values[at - first], inverse);
            }
            scales[0] = BlockScale {
                scale: top / 127.0,
                offset: -128 * low,
            };
        }
    }
}

/// The largest magnitude of finite values.
#[inline(always)]
fn largest_of(values: &[f32]) -> f32 {
    let mut largest = [0; LANES];
    let (full, rest) = values.as_chunks::<LANES>();
    for x in full.iter().chain([&load_partial(rest, 0.0)]) {
        for l in 0..LANES {
            largest[l] = largest[l].max(magnitude(x[l]));
        }
    }
    f32::from_bits(largest.into_iter().fold(0, u32::max))
}

/// Largest magnitude that steps of 127 need to reach, so that two digits reach the `outliers`, in
/// values that start at index `first` of the row.
#[inline(never)]
fn top_beside(values: &[f32], first: usize, outliers: &[Outlier]) -> f32 {
    let mut top = 0.0_f32;
    for (index, x) in values.iter().enumerate() {
        let outlier = outliers.iter().any(|(at, _)| *at == first + index);
        top = top.max(x.abs() / if outlier { DIGIT as f32 } else { 1.0 });
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::quantized::outliers::reference::{quantize_blocks, rows_with_outliers};
    use crate::testing::{LENGTHS, for_each_isa, random};

    /// The integers of a row and its scales.
    fn row(packed: &BlockQuantizedRows, index: usize) -> (Vec<i64>, Vec<f32>) {
        let mut values = packed.row_blocks().bytes(index);
        let block = packed.row_blocks().block_of(index);
        let scales = packed.scales(&block).chunks(block.len());
        let scales = scales.map(|scales| scales[index - block.start]);
        let sums = values.chunks(packed.block_size());
        let check = |(scale, values): (BlockScale, &[i64])| {
            assert_eq!(i64::from(scale.offset), -128 * values.iter().sum::<i64>());
            scale.scale
        };
        let scales = scales.zip(sums).map(check).collect();
        packed.high_digits().add_to(index, &mut values);
        (values, scales)
    }

    #[test]
    fn agrees_with_the_definition_at_every_edge() {
        let shapes = LENGTHS.map(|rows| (rows, 90)).into_iter();
        for (rows, k) in shapes
            .chain(LENGTHS.map(|k| (8, k)))
            .chain([(0, 5), (8, 1000)])
        {
            let a = rows_with_outliers(rows as u64, rows, k);
            for block_size in [16, 32, 64, 256, 1024] {
                for_each_isa(|isa| {
                    let mut packed = BlockQuantizedRows::new(isa);
                    // What an earlier use left behind doesn't matter.
                    packed.pack(&random(9, 3 * 200), 200, 16).unwrap();
                    packed.pack(&a, k, block_size).unwrap();
                    assert_eq!((packed.rows(), packed.k()), (rows, k));
                    for (index, x) in a.chunks(k).enumerate() {
                        let (mut steps, scales) = quantize_blocks(x, block_size);
                        steps.resize(k.next_multiple_of(LANES), 0);
                        let found = row(&packed, index);
                        assert_eq!(found, (steps, scales), "{isa} {rows}x{k} {block_size}");
                    }
                });
            }
        }
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            let quantized = |x: &[f32]| {
                let mut packed = BlockQuantizedRows::new(isa);
                packed.pack(x, x.len(), 16).unwrap();
                row(&packed, 0)
            };
            for zero in [0.0, -0.0, 1e-45, -1e-38, 1.49e-36] {
                let mut x = [zero; 20];
                assert_eq!(quantized(&x), (vec![0; 32], vec![0.0; 2]), "{isa}");
                // A block of zeros beside one of others.
                x[17] = f32::MAX;
                let (values, scales) = quantized(&x);
                assert_eq!((&values[..16], scales[0]), (&[0; 16][..], 0.0), "{isa}");
                assert!(values[17] >= 127 && scales[1] > 0.0, "{isa}");
            }
            for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for at in 0..33 {
                    let mut x = [1.0; 33];
                    x[at] = value;
                    let (values, scales) = quantized(&x);
                    assert_eq!(values, vec![0; 48], "{isa}");
                    assert!(scales.iter().all(|scale| scale.is_nan()), "{isa}");
                }
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut packed = BlockQuantizedRows::new(Isa::detect());
        for block_size in [0, 1, 8, 24, usize::MAX] {
            assert!(packed.pack(&[1.0; 4], 2, block_size).is_err());
        }
        assert!(packed.pack(&[1.0], 0, 16).is_err());
        assert!(packed.pack(&[1.0; 5], 2, 16).is_err());
        let fill = |_: usize, _: &mut [f32]| Ok::<Option<&[f32]>, ShapeError>(None);
        assert!(packed.pack_from(usize::MAX, 20, 16, fill).is_err());
        assert!(packed.pack_from(usize::MAX / 32, 2, 16, fill).is_err());
        assert_eq!(packed.rows(), 0);
        packed.pack(&[1.0; 4], 2, 32).unwrap();
        assert_eq!((packed.rows(), packed.k(), packed.block_size()), (2, 2, 32));
    }
}
