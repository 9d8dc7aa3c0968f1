//! Activations quantised to i8 with a scale for each block of a row.

use std::ops::Range;

use crate::arch::{Kernel, Target};
use crate::lanes::{LANES, load_partial};
use crate::product::blocks::RowPlace;
use crate::product::quantized::high_digits::{DIGIT, HighDigits, RowHighDigits};
use crate::product::quantized::outliers::{Magnitudes, Outlier, Outliers, magnitude};
use crate::product::quantized::steps::{SMALLEST, quantize};
use crate::product::row_blocks::{Group, Row, copy, grow};
use crate::product::rows::{Encoding, RowsOf};
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

/// As [`RowScales`](crate::product::int8::RowScales), with a scale for each block of `block_size` values
/// along K. Which values are outliers is a question of the row, as there; top is the largest
/// magnitude of a block's other values, or 1/256 of its largest outlier, if that is more.
///
/// A block whose top is below 1.5e-36 (127 times the smallest normal f32) counts as zeros.
#[derive(Debug, Clone)]
pub(crate) struct BlockScales {
    /// A multiple of 16.
    pub(crate) block_size: usize,
    /// Interleaved as the groups are, `[K / block_size][rows]` for each block of rows.
    scales: Vec<BlockScale>,
    high: HighDigits,
}

impl Default for BlockScales {
    fn default() -> Self {
        Self {
            block_size: LANES,
            scales: Vec::new(),
            high: HighDigits::default(),
        }
    }
}

impl RowsOf<BlockScales> {
    /// Values of a row that share a scale.
    pub(crate) fn block_size(&self) -> usize {
        self.encoding.block_size
    }

    /// What the values of a block of rows mean, `[K / block_size][rows]`.
    #[inline(always)]
    pub(crate) fn scales(&self, rows: &Range<usize>) -> &[BlockScale] {
        let count = self.k().div_ceil(self.block_size());
        let places = rows.start * count..rows.end * count;
        self.encoding.scales.get(places).unwrap_or_default()
    }

    /// The digits that outliers have besides those among the groups.
    #[inline(always)]
    pub(crate) fn high_digits(&self) -> &HighDigits {
        &self.encoding.high
    }
}

impl Encoding for BlockScales {
    const NAME: &'static str = "rows of int8 blocks";

    fn per_group(_: Isa) -> usize {
        LANES
    }

    fn tallest(isa: Isa) -> usize {
        isa.tiles().int8.rows
    }

    fn reserve(&mut self, rows: usize, k: usize) -> Option<()> {
        let count = rows.checked_mul(k.div_ceil(self.block_size))?;
        grow(&mut self.scales, count).ok()?;
        self.high.grow(rows).ok()
    }

    fn encode(&mut self, isa: Isa, row: Row<'_>) {
        let count = row.values.len().div_ceil(self.block_size);
        isa.run(Quantize {
            block_size: self.block_size,
            scales: &mut self.scales[row.place.among(count)],
            high: self.high.row(row.place.index),
            row,
        });
    }

    fn join<'a>(&mut self, parts: impl Iterator<Item = &'a Self>) -> Result<(), ShapeError> {
        for (index, part) in parts.enumerate() {
            if index == 0 {
                self.block_size = part.block_size;
            }
            ShapeError::length(
                Self::NAME,
                "a block of a part",
                self.block_size,
                part.block_size,
            )?;
        }
        Ok(())
    }

    fn copy(&mut self, from: &Self, at: &RowPlace, to: &RowPlace, k: usize) {
        let count = k.div_ceil(self.block_size);
        copy(&from.scales, at, &mut self.scales, to, count);
        self.high.copy(&from.high, at.index, to.index);
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
    fn row(packed: &RowsOf<BlockScales>, index: usize) -> (Vec<i64>, Vec<f32>) {
        let mut values = packed.row_blocks().integers(index);
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
                    let mut packed = RowsOf::<BlockScales>::new(isa);
                    // What an earlier use left behind doesn't matter.
                    packed.pack(&random(9, 3 * 200), 200).unwrap();
                    packed.encoding.block_size = block_size;
                    packed.pack(&a, k).unwrap();
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
                let mut packed = RowsOf::<BlockScales>::new(isa);
                packed.pack(x, x.len()).unwrap();
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
        let mut packed = RowsOf::<BlockScales>::new(Isa::detect());
        let fill = |_: usize, _: &mut [f32]| Ok::<Option<&[f32]>, ShapeError>(None);
        assert!(packed.pack_from(usize::MAX, 20, fill).is_err());
        assert!(packed.pack_from(usize::MAX / 32, 2, fill).is_err());
        assert_eq!(packed.rows(), 0);
        packed.encoding.block_size = 32;
        packed.pack(&[1.0; 4], 2).unwrap();
        assert_eq!((packed.rows(), packed.k(), packed.block_size()), (2, 2, 32));
    }
}
