//! Activations quantised to i8, in the order in which the product reads them.

use std::ops::Range;

use crate::arch::{Kernel, Target};
use crate::lanes::{LANES, Lanes, load_partial};
use crate::product::blocks::Place;
use crate::product::quantized::high_digits::{DIGIT, HighDigits, RowHighDigits};
use crate::product::quantized::outliers::{Magnitudes, Outliers};
use crate::product::row_blocks::{Group, Row, RowBlocks, count_rows, grow, row_of, sum};
use crate::{Isa, ShapeError};

/// What the values of a row mean.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowScale {
    /// Step between neighbouring i8.
    pub(crate) scale: f32,
    /// Sum of the row in steps, which a zero point of the weights is multiplied with.
    pub(crate) sum: i32,
    /// The same without the high digits.
    pub(crate) low: i32,
}

/// Rows of `A[M, K]`, each quantised to i8 with a scale of its own, cut into blocks as tall as the
/// tier's tile, each block `[K / 16][rows][16]`; the memory is kept from one use to the next.
///
/// Values above 5 times the mean magnitude of their row, the 16 largest ones if there are more,
/// are outliers. The scale is top / 127, where top is the largest magnitude of the others (if that
/// is less, 1/256 of the largest one of all, up to which outliers reach); zero points are 0, and
/// x · (127 / top) is rounded to the nearest integer, ties to even: a row gives the same integers
/// on every tier. They are i8, but those of outliers have a second digit.
///
/// A row whose largest magnitude is below 1.5e-36 (127 times the smallest normal f32) counts as
/// zeros, and one below 3.8e-34 has no outliers. A row with an infinity or NaN has the scale NaN,
/// and so are its products.
#[derive(Debug, Clone)]
pub struct QuantizedRows {
    blocks: RowBlocks,
    scales: Vec<RowScale>,
    high: HighDigits,
}

impl QuantizedRows {
    /// No rows, for the kernels of `isa`.
    pub fn new(isa: Isa) -> Self {
        Self {
            blocks: RowBlocks::new(isa, isa.max_rows().int8, LANES),
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

    /// The tier whose kernels read these rows.
    pub fn isa(&self) -> Isa {
        self.blocks.isa()
    }

    pub(crate) fn row_blocks(&self) -> &RowBlocks {
        &self.blocks
    }

    /// What the values of rows mean.
    #[inline(always)]
    pub(crate) fn scales(&self, rows: &Range<usize>) -> &[RowScale] {
        self.scales.get(rows.clone()).unwrap_or_default()
    }

    /// The digits that outliers have besides those among the groups.
    #[inline(always)]
    pub(crate) fn high_digits(&self) -> &HighDigits {
        &self.high
    }

    /// Takes the rows of `a`, `[any, k]` row-major.
    ///
    /// # Errors
    /// When `k` is zero or `a` is no multiple of it, or memory runs out.
    pub fn pack(&mut self, a: &[f32], k: usize) -> Result<(), ShapeError> {
        let rows = count_rows("QuantizedRows::pack", a, k)?;
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
        let op = "QuantizedRows::pack_from";
        let isa = self.isa();
        self.reserve(op, rows)?;
        let (scales, high) = (&mut self.scales, &mut self.high);
        let encode = |row: Row<'_>| {
            isa.run(Quantize {
                scale: &mut scales[row.place.index],
                high: high.row(row.place.index),
                row,
            });
        };
        self.blocks.pack_from(op, rows, k, source, encode)
    }

    /// Takes the rows of all `parts`, one part after another.
    ///
    /// # Errors
    /// When parts differ in K, or memory runs out. There are no rows then.
    pub fn concat(&mut self, parts: &[&Self]) -> Result<(), ShapeError> {
        let op = "QuantizedRows::concat";
        self.reserve(op, sum(parts.iter().map(|part| part.rows())))?;
        let (scales, high) = (&mut self.scales, &mut self.high);
        let copied = |part: usize, from: &Place, to: &Place| {
            scales[to.index] = parts[part].scales[from.index];
            high.copy(&parts[part].high, from.index, to.index);
        };
        let parts = parts.iter().map(|part| &part.blocks);
        self.blocks.concat(op, parts, copied)
    }

    /// No rows, and room for what goes with `rows` of them.
    fn reserve(&mut self, op: &'static str, rows: usize) -> Result<(), ShapeError> {
        self.blocks.clear();
        let too_many = ShapeError::size(op, "rows", rows);
        grow(&mut self.scales, rows).map_err(|_| too_many)?;
        self.high.grow(rows).map_err(|_| too_many)
    }
}

struct Quantize<'a> {
    row: Row<'a>,
    scale: &'a mut RowScale,
    high: RowHighDigits<'a>,
}

impl Kernel for Quantize<'_> {
    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        let Row {
            values,
            groups,
            place,
        } = self.row;
        let magnitudes = Magnitudes::of(values);
        let largest = magnitudes.largest;
        let mut groups = groups.chunks_mut(place.block.len());
        if !largest.is_finite() || largest < SMALLEST {
            groups.for_each(|groups| groups[0] = Group::default());
            *self.scale = RowScale {
                scale: if largest.is_finite() { 0.0 } else { f32::NAN },
                ..RowScale::default()
            };
            return;
        }
        let outliers = Outliers::find(target, values, &magnitudes);
        let top = outliers.top(largest);
        let inverse = 127.0 / top;
        let sum = quantize(values, inverse, &mut groups);
        let digits = outliers.high_digits(values, inverse, self.high);
        *self.scale = RowScale {
            scale: top / 127.0,
            sum,
            low: sum - DIGIT * digits,
        };
    }
}

/// What has less magnitude counts as zero where the largest magnitude is meant: steps stay normal
/// numbers.
pub(crate) const SMALLEST: f32 = 127.0 * f32::MIN_POSITIVE;

/// Writes values in steps of 1 / `inverse`, the low 8 bits of each as i8, to the first one of each
/// of `groups`. Returns the sum of the steps, with all their bits.
#[inline(always)]
pub(crate) fn quantize<'a>(
    values: &[f32],
    inverse: f32,
    groups: &mut impl Iterator<Item = &'a mut [Group]>,
) -> i32 {
    let mut sums = [0; LANES];
    let (full, rest) = values.as_chunks::<LANES>();
    for (x, groups) in full.iter().zip(&mut *groups) {
        groups[0] = quantize_group(x, inverse, &mut sums);
    }
    if !rest.is_empty()
        && let Some(groups) = groups.next()
    {
        groups[0] = quantize_group(&load_partial(rest, 0.0), inverse, &mut sums);
    }
    let count = values.len().next_multiple_of(LANES) as i32;
    let rounds = ROUND.to_bits().cast_signed().wrapping_mul(count);
    let sum = sums.into_iter().fold(0, i32::wrapping_add);
    sum.wrapping_sub(rounds)
}

/// Added to a number below 2^22 in magnitude, it leaves the nearest integer in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Adds values in steps, and the bits of [`ROUND`] to each, to `sums`.
#[inline(always)]
fn quantize_group(x: &Lanes, inverse: f32, sums: &mut [i32; LANES]) -> Group {
    let mut bytes = [0_u8; LANES];
    for l in 0..LANES {
        let bits = (x[l] * inverse + ROUND).to_bits().cast_signed();
        bytes[l] = bits as u8;
        sums[l] = sums[l].wrapping_add(bits);
    }
    Group(bytemuck::cast(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::quantized::outliers::reference::{self, rows_with_outliers};
    use crate::testing::{LENGTHS, for_each_isa, random};

    /// The integers of a row, its scale and sum.
    fn row(packed: &QuantizedRows, index: usize) -> (Vec<i64>, f32, i32) {
        let mut values = packed.row_blocks().bytes(index);
        let rows = index..index + 1;
        let RowScale { scale, sum, low } = packed.scales(&rows)[0];
        assert_eq!(values.iter().sum::<i64>(), i64::from(low));
        packed.high_digits().add_to(index, &mut values);
        (values, scale, sum)
    }

    #[test]
    fn agrees_with_the_definition_at_every_edge() {
        let shapes = LENGTHS.map(|rows| (rows, 90)).into_iter();
        for (rows, k) in shapes
            .chain(LENGTHS.map(|k| (8, k)))
            .chain([(0, 5), (8, 1000)])
        {
            let a = rows_with_outliers(rows as u64, rows, k);
            for_each_isa(|isa| {
                let mut packed = QuantizedRows::new(isa);
                // What an earlier use left behind doesn't matter.
                packed.pack(&random(9, 3 * 200), 200).unwrap();
                packed.pack(&a, k).unwrap();
                assert_eq!((packed.rows(), packed.k()), (rows, k));
                for (index, x) in a.chunks(k).enumerate() {
                    let (mut expected, scale) = reference::quantize(x);
                    let sum = expected.iter().sum::<i64>() as i32;
                    expected.resize(k.next_multiple_of(LANES), 0);
                    let expected = (expected, scale, sum);
                    assert_eq!(row(&packed, index), expected, "{isa} {rows}x{k}");
                }
            });
        }
    }

    #[test]
    fn ties_go_to_even() {
        for_each_isa(|isa| {
            let mut packed = QuantizedRows::new(isa);
            let x = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 125.5, -127.0];
            packed.pack(&x, x.len()).unwrap();
            let (values, scale, _) = row(&packed, 0);
            assert_eq!(values[..9], [0, 2, 2, 0, -2, -2, 126, 126, -127], "{isa}");
            assert_eq!(scale, 1.0);
        });
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            let quantized = |x: &[f32]| {
                let mut packed = QuantizedRows::new(isa);
                packed.pack(x, x.len()).unwrap();
                row(&packed, 0)
            };
            for zero in [0.0, -0.0, 1e-45, -1e-38, 1.49e-36] {
                assert_eq!(quantized(&[zero; 20]), (vec![0; 32], 0.0, 0), "{isa}");
            }
            for large in [1.5e-36, 1.0, f32::MAX] {
                let (values, scale, sum) = quantized(&[large, -large]);
                assert_eq!((values[..2].to_vec(), sum), (vec![127, -127], 0), "{isa}");
                assert_eq!(scale, large / 127.0);
            }
            for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for at in 0..33 {
                    let mut x = [1.0; 33];
                    x[at] = value;
                    let (values, scale, sum) = quantized(&x);
                    assert!(scale.is_nan(), "{isa}");
                    assert_eq!((values, sum), (vec![0; 48], 0), "{isa}");
                }
            }
        });
    }
}
