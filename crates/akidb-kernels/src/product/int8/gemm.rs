//! Products of quantised operands.

use std::ops::Range;

use crate::arch::{Kernel, Target};
use crate::lanes::{Aligned, LANES, Lanes};
use crate::product::gemm::Product;
use crate::product::int8::rows::RowScales;
use crate::product::int8::weights::{Int8, PackedInt8};
use crate::product::panels::PanelRow;
use crate::product::quantized::high_digits::{DIGIT, HighDigit};
use crate::product::row_blocks::RowBlocks;
use crate::product::rows::RowsOf;
use crate::product::tile::{Tile, multiply};
use crate::product::weight_type::WeightType;

/// Each element is an exact sum of integers, rounded to f32 and multiplied with `scale of the row ·
/// scale of the column`. The bits are the same on every tier, too, save with
/// [`Epilogue::Gated`](crate::Epilogue::Gated).
pub(super) struct Integers<'a> {
    pub(super) a: &'a RowsOf<RowScales>,
    pub(super) b: &'a PackedInt8,
}

impl Product for Integers<'_> {
    const INT8: bool = true;
    const BF16: bool = false;
    type Sum = i32;
    type PanelRow = PanelRow<<Int8 as WeightType>::Vector>;

    fn rows(&self) -> &RowBlocks {
        self.a.row_blocks()
    }

    fn weight_shape(&self) -> [usize; 2] {
        self.b.weights().shape()
    }

    #[inline(always)]
    fn panel(&self, index: usize) -> &[Self::PanelRow] {
        self.b.weights().panel(index)
    }

    #[inline(always)]
    fn multiply<T: Target>(
        &self,
        target: T,
        rows: &Range<usize>,
        panel: usize,
        next: &[Self::PanelRow],
        out: &mut Tile<i32>,
    ) {
        let (a, panel) = (self.a.row_blocks().groups(rows), self.panel(panel));
        multiply::<T, Int8>(target, rows.len(), a, panel, next, out);
        if T::SHIFTED {
            for (a, sums) in self.a.scales(rows).iter().zip(out.iter_mut()) {
                for sum in sums.as_flattened_mut() {
                    *sum = sum.wrapping_add(128_i32.wrapping_mul(a.low));
                }
            }
        }
        if self.a.high_digits().any(rows) {
            self.a.isa().run(AddHighDigits {
                a: self.a,
                rows: rows.clone(),
                panel,
                out,
            });
        }
    }

    #[inline(always)]
    fn elements(
        &self,
        rows: &Range<usize>,
        panel: usize,
        sums: &Tile<i32>,
        mut row: impl FnMut(usize, &[Lanes; 2]),
    ) {
        let Some(columns) = self.b.quantization(panel) else {
            return;
        };
        for (index, (a, sums)) in self.a.scales(rows).iter().zip(sums).enumerate() {
            let mut elements = Aligned([[0.0; LANES]; 2]);
            for v in 0..2 {
                let (b, sums, out) = (&columns[v], &sums[v], &mut elements.0[v]);
                for l in 0..LANES {
                    // A partial result may wrap around, the whole fits into i32.
                    let offset = b.zero_points[l].wrapping_mul(a.sum);
                    let sum = sums[l].wrapping_sub(offset);
                    out[l] = sum as f32 * (a.scale * b.scales[l]);
                }
            }
            row(index, &elements.0);
        }
    }
}

/// Adds the products of the high digits of a block of rows to their sums. A kernel of its own,
/// which keeps the code of the whole product small.
struct AddHighDigits<'a> {
    a: &'a RowsOf<RowScales>,
    rows: Range<usize>,
    panel: &'a [PanelRow<<Int8 as WeightType>::Vector>],
    out: &'a mut Tile<i32>,
}

impl Kernel for AddHighDigits<'_> {
    const INT8: bool = true;

    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        for (row, digits) in self.a.high_digits().of(&self.rows) {
            let Some(sums) = self.out.get_mut(row) else {
                return;
            };
            // Every other one apart: a sum is ready some cycles later.
            let mut high = [[target.zero_sums(); 2]; 2];
            let (pairs, last) = digits.as_chunks::<2>();
            for [first, second] in pairs {
                add_high(target, self.panel, first, &mut high[0]);
                add_high(target, self.panel, second, &mut high[1]);
            }
            for digit in last {
                add_high(target, self.panel, digit, &mut high[0]);
            }
            for v in 0..2 {
                let high = target.store_sums(target.add_sums(high[0][v], high[1][v]));
                for l in 0..LANES {
                    sums[v][l] = sums[v][l].wrapping_add(high[l].wrapping_mul(DIGIT));
                }
            }
        }
    }
}

/// Adds the products of a high digit with a panel.
#[inline(always)]
fn add_high<T: Target>(
    target: T,
    panel: &[PanelRow<<Int8 as WeightType>::Vector>],
    digit: &HighDigit,
    sums: &mut [T::Sums; 2],
) {
    if let Some(weights) = panel.get(digit.word) {
        for v in 0..2 {
            sums[v] = target.dot(target.load_weights(&weights[v]), digit.digits, sums[v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::format::PackedWeight;
    use crate::product::quantized::outliers::reference::{quantize, rows_with_outliers};
    use crate::testing::{LENGTHS, bits, for_each_isa, random, random_bytes};
    use crate::{Epilogue, Int8Type, Isa, NR};

    fn pack(isa: Isa, a: &[f32], k: usize) -> RowsOf<RowScales> {
        let mut packed = RowsOf::<RowScales>::new(isa);
        packed.pack(a, k).unwrap();
        packed
    }

    /// A weight matrix, packed and not.
    struct Weights {
        int8_type: Int8Type,
        kn: Vec<u8>,
        scales: Vec<f32>,
        zero_points: Vec<u8>,
        packed: PackedInt8,
    }

    impl Weights {
        fn new(int8_type: Int8Type, k: usize, n: usize, kn: Vec<u8>) -> Self {
            let scales = random(3, n);
            let zero_points = random_bytes(4, n);
            let mut packed = PackedInt8::zeros(k, n, int8_type).unwrap();
            packed.write_kn(0, 0, n, &kn).unwrap();
            packed.write_quantization(0, &scales, &zero_points).unwrap();
            Self {
                int8_type,
                kn,
                scales,
                zero_points,
                packed,
            }
        }

        fn value(&self, byte: u8) -> i64 {
            match self.int8_type {
                Int8Type::I8 => i64::from(byte as i8),
                Int8Type::U8 => i64::from(byte),
            }
        }

        /// The row of C for a row of A, from exact sums.
        fn reference(&self, a: &[f32]) -> Vec<f32> {
            let (q, scale) = quantize(a);
            let n = self.scales.len();
            let sum = |col: usize| {
                let zero_point = self.value(self.zero_points[col]);
                let weights = self.kn[col..].iter().step_by(n);
                let terms = q.iter().zip(weights);
                terms
                    .map(|(q, w)| q * (self.value(*w) - zero_point))
                    .sum::<i64>()
            };
            (0..n)
                .map(|col| sum(col) as f32 * (scale * self.scales[col]))
                .collect()
        }
    }

    /// C of a whole product, starting from `c`.
    fn whole(
        a: &RowsOf<RowScales>,
        b: &PackedInt8,
        mut c: Vec<f32>,
        epilogue: Epilogue<'_>,
    ) -> Vec<f32> {
        let mut rows: Vec<&mut [f32]> = c.chunks_mut(b.shape()[1]).collect();
        b.multiply(a, 0..b.weights().count(), &mut rows, epilogue)
            .unwrap();
        c
    }

    #[test]
    fn exact_at_every_edge_on_every_tier() {
        let shapes = LENGTHS
            .iter()
            .map(|&len| (len, 33, 40)) // rows
            .chain(LENGTHS.iter().map(|&len| (8, len, 33))) // K
            .chain(LENGTHS.iter().map(|&len| (3, 17, len))) // columns
            .chain(LENGTHS.iter().map(|&len| (1, 9, len)))
            .chain([(14, 300, 70), (25, 65, 129), (4, 4097, 3)]);
        for (m, k, n) in shapes {
            for int8_type in [Int8Type::I8, Int8Type::U8] {
                let a = rows_with_outliers(m as u64, m, k);
                let b = Weights::new(int8_type, k, n, random_bytes(n as u64 + 1, k * n));
                let c0 = random(7, m * n);
                let expected: Vec<f32> = a.chunks(k).flat_map(|a| b.reference(a)).collect();
                let expected_added: Vec<f32> =
                    c0.iter().zip(&expected).map(|(c0, c)| c0 + c).collect();
                for_each_isa(|isa| {
                    let rows = pack(isa, &a, k);
                    let set = whole(&rows, &b.packed, c0.clone(), Epilogue::Store);
                    assert_eq!(bits(&set), bits(&expected), "{isa} {m}x{k}x{n}");
                    let added = whole(&rows, &b.packed, c0.clone(), Epilogue::Add);
                    assert_eq!(bits(&added), bits(&expected_added), "{isa} {m}x{k}x{n}");
                });
            }
        }
    }

    #[test]
    fn largest_sums_do_not_overflow() {
        let k = 62_215;
        for_each_isa(|isa| {
            for (weight, zero_point) in [(255, 0), (0, 255), (255, 255), (0, 0)] {
                for a in [-1.0, 1.0] {
                    let mut b = PackedInt8::zeros(k, 3, Int8Type::U8).unwrap();
                    b.write_nk(0, &vec![weight; 3 * k]).unwrap();
                    b.write_quantization(0, &[1.0; 3], &[zero_point; 3])
                        .unwrap();
                    let rows = pack(isa, &vec![a; 2 * k], k);
                    let c = whole(&rows, &b, vec![0.0; 6], Epilogue::Store);
                    let weight = i64::from(weight) - i64::from(zero_point);
                    let sum = 127 * a as i64 * weight * k as i64;
                    assert_eq!(c, [sum as f32 * (1.0 / 127.0); 6], "{isa}");
                }
            }
        });
    }

    #[test]
    fn bits_do_not_depend_on_rows_or_panels_that_have_outliers() {
        let (m, k, n) = (40, 150, 100);
        let a = rows_with_outliers(1, m, k);
        let b = Weights::new(Int8Type::U8, k, n, random_bytes(2, k * n)).packed;
        for_each_isa(|isa| {
            let expected = whole(&pack(isa, &a, k), &b, vec![0.0; m * n], Epilogue::Store);
            for count in [1, 2, 3, 7, 13, 25] {
                let part = pack(isa, &a[(m - count) * k..], k);
                let c = whole(&part, &b, vec![0.0; count * n], Epilogue::Store);
                assert_eq!(
                    bits(&c),
                    bits(&expected[(m - count) * n..]),
                    "{isa} {count}"
                );
                let mut c = vec![0.0; count * NR];
                let mut c: Vec<&mut [f32]> = c.chunks_mut(NR).collect();
                b.multiply(&part, 1..2, &mut c, Epilogue::Store).unwrap();
                for (c, whole) in c.iter().zip(expected[(m - count) * n..].chunks(n)) {
                    assert_eq!(bits(c), bits(&whole[NR..2 * NR]), "{isa} {count}");
                }
            }
        });
    }

    #[test]
    fn an_outlier_does_not_take_the_others_resolution() {
        let (k, n) = (512, 64);
        let mut a = random(1, k);
        a[100] = 100.0;
        let kn = random_bytes(2, k * n);
        let b = Weights::new(Int8Type::I8, k, n, kn);
        let exact = |steps: &dyn Fn(f32) -> f32, col: usize| {
            let zero_point = b.value(b.zero_points[col]);
            let weights = b.kn[col..].iter().step_by(n);
            let terms = a.iter().zip(weights);
            let terms =
                terms.map(|(a, w)| f64::from(steps(*a)) * (b.value(*w) - zero_point) as f64);
            terms.sum::<f64>() * f64::from(b.scales[col])
        };
        // One step for all.
        let step = 100.0 / 127.0;
        let coarse = |x: f32| (x / step).round_ties_even() * step;
        for_each_isa(|isa| {
            let c = whole(&pack(isa, &a, k), &b.packed, vec![0.0; n], Epilogue::Store);
            let (mut error, mut without) = (0.0, 0.0);
            for (col, c) in c.iter().enumerate() {
                let x = exact(&|x| x, col);
                error += (f64::from(*c) - x).powi(2);
                without += (exact(&coarse, col) - x).powi(2);
            }
            let ratio = (error / without).sqrt();
            assert!(ratio < 0.02, "{isa} {ratio}");
        });
    }

    #[test]
    fn neighbouring_products_do_not_saturate() {
        // 2 · 255 · 127 is beyond i16.
        for_each_isa(|isa| {
            let mut b = PackedInt8::zeros(4, 1, Int8Type::U8).unwrap();
            b.write_nk(0, &[255; 4]).unwrap();
            let c = whole(&pack(isa, &[-127.0; 4], 4), &b, vec![0.0], Epilogue::Store);
            assert_eq!(c, [-129_540.0], "{isa}");
        });
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            let mut b = PackedInt8::zeros(20, 3, Int8Type::I8).unwrap();
            b.write_nk(0, &[3; 60]).unwrap();
            b.write_quantization(0, &[1.0, 0.0, 1e30], &[0; 3]).unwrap();
            let product = |a: &[f32]| whole(&pack(isa, a, 20), &b, vec![9.0; 3], Epilogue::Store);
            assert_eq!(product(&[0.0; 20]), [0.0; 3]);
            assert_eq!(product(&[1e-45; 20]), [0.0; 3]);
            let large = product(&[3e38; 20]);
            assert_eq!(large, [f32::INFINITY, 0.0, f32::INFINITY]);
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut a = [1.0; 20];
                a[19] = value;
                assert!(product(&a).iter().all(|c| c.is_nan()), "{isa}");
            }
        });
    }
}
