//! Activations quantised to i8, in the order in which the product reads them.

use std::ops::Range;

use crate::Isa;
use crate::arch::{Kernel, Target};
use crate::lanes::LANES;
use crate::product::blocks::RowPlace;
use crate::product::quantized::high_digits::{DIGIT, HighDigits, RowHighDigits};
use crate::product::quantized::outliers::{Magnitudes, Outliers};
use crate::product::quantized::steps::{SMALLEST, quantize, quantize_apart};
use crate::product::row_blocks::{Group, Row, grow};
use crate::product::rows::{Encoding, RowsOf};

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

/// Rows quantised to i8 with a scale of its own for each, each block `[K / 16][rows][16]`, or, where
/// products have parts, i16 and `[K / 8][rows][8]`.
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
#[derive(Debug, Clone, Default)]
pub(crate) struct RowScales {
    scales: Vec<RowScale>,
    high: HighDigits,
}

impl RowsOf<RowScales> {
    /// What the values of rows mean.
    #[inline(always)]
    pub(crate) fn scales(&self, rows: &Range<usize>) -> &[RowScale] {
        self.encoding.scales.get(rows.clone()).unwrap_or_default()
    }

    /// The digits that outliers have besides those among the groups.
    #[inline(always)]
    pub(crate) fn high_digits(&self) -> &HighDigits {
        &self.encoding.high
    }
}

impl Encoding for RowScales {
    const NAME: &'static str = "rows of int8";

    fn per_group(isa: Isa) -> usize {
        LANES / isa.tiles().int8.parts
    }

    fn tallest(isa: Isa) -> usize {
        isa.tiles().int8.rows
    }

    fn reserve(&mut self, rows: usize, _: usize) -> Option<()> {
        grow(&mut self.scales, rows).ok()?;
        self.high.grow(rows).ok()
    }

    fn encode(&mut self, isa: Isa, row: Row<'_>) {
        isa.run(Quantize {
            scale: &mut self.scales[row.place.index],
            high: self.high.row(row.place.index),
            row,
        });
    }

    fn copy(&mut self, from: &Self, at: &RowPlace, to: &RowPlace, _: usize) {
        self.scales[to.index] = from.scales[at.index];
        self.high.copy(&from.high, at.index, to.index);
    }
}

struct Quantize<'a> {
    row: Row<'a>,
    scale: &'a mut RowScale,
    high: RowHighDigits<'a>,
}

impl Kernel for Quantize<'_> {
    const INT8: bool = true;

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
        let sum = if T::INT8_PARTS == 1 {
            quantize(values, inverse, &mut groups)
        } else {
            quantize_apart(values, inverse, &mut groups)
        };
        let digits = outliers.high_digits(values, inverse, self.high);
        *self.scale = RowScale {
            scale: top / 127.0,
            sum,
            low: sum - DIGIT * digits,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::quantized::outliers::reference::{self, rows_with_outliers};
    use crate::testing::{LENGTHS, for_each_isa, random};

    /// The integers of a row, its scale and sum.
    fn row(packed: &RowsOf<RowScales>, index: usize) -> (Vec<i64>, f32, i32) {
        let mut values = packed.row_blocks().integers(index);
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
                let mut packed = RowsOf::<RowScales>::new(isa);
                // What an earlier use left behind doesn't matter.
                packed.pack(&random(9, 3 * 200), 200).unwrap();
                packed.pack(&a, k).unwrap();
                assert_eq!((packed.rows(), packed.k()), (rows, k));
                for (index, x) in a.chunks(k).enumerate() {
                    let (mut expected, scale) = reference::quantize(x);
                    let sum = expected.iter().sum::<i64>() as i32;
                    expected.resize(k.next_multiple_of(RowScales::per_group(isa)), 0);
                    let expected = (expected, scale, sum);
                    assert_eq!(row(&packed, index), expected, "{isa} {rows}x{k}");
                }
            });
        }
    }

    #[test]
    fn ties_go_to_even() {
        for_each_isa(|isa| {
            let mut packed = RowsOf::<RowScales>::new(isa);
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
                let mut packed = RowsOf::<RowScales>::new(isa);
                packed.pack(x, x.len()).unwrap();
                row(&packed, 0)
            };
            let zeros = |k: usize| vec![0; k.next_multiple_of(RowScales::per_group(isa))];
            for zero in [0.0, -0.0, 1e-45, -1e-38, 1.49e-36] {
                assert_eq!(quantized(&[zero; 20]), (zeros(20), 0.0, 0), "{isa}");
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
                    assert_eq!((values, sum), (zeros(33), 0), "{isa}");
                }
            }
        });
    }
}
