//! `C = A · B` and `C += A · B` for quantised A and B.

use std::ops::Range;

use crate::arch::{Kernel, Target};
use crate::gemm::{Columns, check_shapes};
use crate::lanes::LANES;
use crate::packed_int8::Quantization;
use crate::quantized_rows::RowScale;
use crate::tile::Sink;
use crate::tile_int8::product_int8;
use crate::{Accumulate, NR, PackedInt8, QuantizedRows, ShapeError};

/// [`gemm`](crate::gemm()) of quantised operands: each element is an exact sum of integers,
/// rounded to f32 and multiplied with `scale of the row · scale of the column`. The bits are the
/// same on every tier, too.
///
/// # Errors
/// As [`gemm`](crate::gemm()).
pub fn gemm_int8(
    a: &QuantizedRows,
    b: &PackedInt8,
    panels: Range<usize>,
    c: &mut [&mut [f32]],
    accumulate: Accumulate,
) -> Result<(), ShapeError> {
    check_shapes("gemm_int8", (a.rows(), a.k()), (b.k(), b.n()), &panels, c)?;
    a.isa().run(GemmInt8 {
        a,
        b,
        panels,
        c,
        accumulate,
    });
    Ok(())
}

struct GemmInt8<'a, 'c, 'r> {
    a: &'a QuantizedRows,
    b: &'a PackedInt8,
    panels: Range<usize>,
    c: &'c mut [&'r mut [f32]],
    accumulate: Accumulate,
}

impl Kernel for GemmInt8<'_, '_, '_> {
    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        let Range { start, end } = self.panels;
        let mut panel = self.b.panel(start);
        for index in start..end {
            let quantization = self.b.quantization(index);
            let next = if index + 1 < end {
                self.b.panel(index + 1)
            } else {
                &[]
            };
            // Each block of rows asks for its share of the next panel.
            let blocks = self.a.blocks().len().max(1);
            let mut shares = next.chunks(next.len().div_ceil(blocks).max(1));
            for block in self.a.blocks() {
                let mut sink = Dequantize {
                    rows: block.scales,
                    columns: quantization,
                    c: Columns {
                        c: &mut self.c[block.rows.clone()],
                        first: (index - start) * NR,
                        accumulate: self.accumulate,
                    },
                };
                let next = shares.next().unwrap_or_default();
                let rows = block.rows.len();
                product_int8(target, rows, block.values, panel, next, &mut sink);
            }
            panel = next;
        }
    }
}

/// Turns sums of integers into the numbers that C takes.
struct Dequantize<'a, 'c, 'r> {
    rows: &'a [RowScale],
    columns: &'a [Quantization],
    c: Columns<'c, 'r>,
}

impl Sink<i32> for Dequantize<'_, '_, '_> {
    #[inline(always)]
    fn put(&mut self, row: usize, vector: usize, sums: &[i32; LANES]) {
        let (Some(a), Some(b)) = (self.rows.get(row), self.columns.get(vector)) else {
            return;
        };
        let mut out = [0.0; LANES];
        for l in 0..LANES {
            // A partial result may wrap around, the whole fits into i32.
            let offset = b.zero_points[l].wrapping_mul(a.sum);
            out[l] = sums[l].wrapping_sub(offset) as f32 * (a.scale * b.scales[l]);
        }
        self.c.put(row, vector, &out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random, random_bytes};
    use crate::{Int8Type, Isa};

    fn pack(isa: Isa, a: &[f32], k: usize) -> QuantizedRows {
        let mut packed = QuantizedRows::new(isa);
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
            let largest = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            let inverse = 127.0 / largest;
            let q: Vec<i64> = a
                .iter()
                .map(|x| (x * inverse).round_ties_even() as i64)
                .collect();
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
                .map(|col| sum(col) as f32 * (largest / 127.0 * self.scales[col]))
                .collect()
        }
    }

    /// C of a whole product, starting from `c`.
    fn whole(
        a: &QuantizedRows,
        b: &PackedInt8,
        mut c: Vec<f32>,
        accumulate: Accumulate,
    ) -> Vec<f32> {
        let mut rows: Vec<&mut [f32]> = c.chunks_mut(b.n()).collect();
        gemm_int8(a, b, 0..b.panels(), &mut rows, accumulate).unwrap();
        c
    }

    #[test]
    fn exact_at_every_edge_on_every_tier() {
        let shapes = LENGTHS
            .iter()
            .map(|&len| (len, 33, 40)) // rows
            .chain(LENGTHS.iter().map(|&len| (5, len, 33))) // K
            .chain(LENGTHS.iter().map(|&len| (3, 17, len))) // columns
            .chain(LENGTHS.iter().map(|&len| (1, 9, len)))
            .chain([(14, 300, 70), (25, 65, 129), (2, 4097, 3)]);
        for (m, k, n) in shapes {
            for int8_type in [Int8Type::I8, Int8Type::U8] {
                let a = random(m as u64, m * k);
                let b = Weights::new(int8_type, k, n, random_bytes(n as u64 + 1, k * n));
                let c0 = random(7, m * n);
                let expected: Vec<f32> = a.chunks(k).flat_map(|a| b.reference(a)).collect();
                let expected_added: Vec<f32> =
                    c0.iter().zip(&expected).map(|(c0, c)| c0 + c).collect();
                for_each_isa(|isa| {
                    let rows = pack(isa, &a, k);
                    let set = whole(&rows, &b.packed, c0.clone(), Accumulate::No);
                    assert_eq!(bits(&set), bits(&expected), "{isa} {m}x{k}x{n}");
                    let added = whole(&rows, &b.packed, c0.clone(), Accumulate::Yes);
                    assert_eq!(bits(&added), bits(&expected_added), "{isa} {m}x{k}x{n}");
                });
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_rows_panels_or_tier() {
        let (m, k, n) = (40, 77, 203);
        let a = random(1, m * k);
        let b = Weights::new(Int8Type::I8, k, n, random_bytes(2, k * n)).packed;
        let portable = Isa::new(crate::Tier::Portable).unwrap();
        let expected = whole(&pack(portable, &a, k), &b, vec![0.0; m * n], Accumulate::No);
        for_each_isa(|isa| {
            for count in 1..=m {
                let part = pack(isa, &a[(m - count) * k..], k);
                let c = whole(&part, &b, vec![0.0; count * n], Accumulate::No);
                let whole = &expected[(m - count) * n..];
                assert_eq!(bits(&c), bits(whole), "{isa} {count} rows");
            }
            for rows in [1, 5, 40] {
                let part = pack(isa, &a[..rows * k], k);
                for first in 0..b.panels() {
                    for end in first + 1..=b.panels() {
                        let columns = first * NR..(end * NR).min(n);
                        let mut c = vec![0.0; rows * columns.len()];
                        let mut c_rows: Vec<&mut [f32]> = c.chunks_mut(columns.len()).collect();
                        gemm_int8(&part, &b, first..end, &mut c_rows, Accumulate::No).unwrap();
                        for (row, c) in c_rows.iter().enumerate() {
                            let whole = &expected[row * n..][..n][columns.clone()];
                            assert_eq!(bits(c), bits(whole), "{isa} {rows} rows {first}..{end}");
                        }
                    }
                }
            }
        });
    }

    #[test]
    fn largest_sums_do_not_overflow() {
        let k = 66_311;
        for_each_isa(|isa| {
            for (weight, zero_point) in [(255, 0), (0, 255), (255, 255), (0, 0)] {
                for a in [-1.0, 1.0] {
                    let mut b = PackedInt8::zeros(k, 3, Int8Type::U8).unwrap();
                    b.write_nk(0, &vec![weight; 3 * k]).unwrap();
                    b.write_quantization(0, &[1.0; 3], &[zero_point; 3])
                        .unwrap();
                    let rows = pack(isa, &vec![a; 2 * k], k);
                    let c = whole(&rows, &b, vec![0.0; 6], Accumulate::No);
                    let weight = i64::from(weight) - i64::from(zero_point);
                    let sum = 127 * a as i64 * weight * k as i64;
                    assert_eq!(c, [sum as f32 * (1.0 / 127.0); 6], "{isa}");
                }
            }
        });
    }

    #[test]
    fn neighbouring_products_do_not_saturate() {
        // 2 · 255 · 127 is beyond i16.
        for_each_isa(|isa| {
            let mut b = PackedInt8::zeros(4, 1, Int8Type::U8).unwrap();
            b.write_nk(0, &[255; 4]).unwrap();
            let c = whole(&pack(isa, &[-127.0; 4], 4), &b, vec![0.0], Accumulate::No);
            assert_eq!(c, [-129_540.0], "{isa}");
        });
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            let mut b = PackedInt8::zeros(20, 3, Int8Type::I8).unwrap();
            b.write_nk(0, &[3; 60]).unwrap();
            b.write_quantization(0, &[1.0, 0.0, 1e30], &[0; 3]).unwrap();
            let product = |a: &[f32]| whole(&pack(isa, a, 20), &b, vec![9.0; 3], Accumulate::No);
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

    #[test]
    fn what_does_not_fit_is_refused() {
        let a = pack(Isa::detect(), &[1.0; 8], 4);
        let b = PackedInt8::zeros(4, 40, Int8Type::I8).unwrap();
        let (mut c, mut d) = ([0.0; 40], [0.0; 40]);
        let no = Accumulate::No;
        assert!(gemm_int8(&a, &b, 0..2, &mut [&mut c], no).is_err());
        assert!(gemm_int8(&a, &b, 0..2, &mut [&mut c, &mut d[1..]], no).is_err());
        assert!(gemm_int8(&a, &b, 0..3, &mut [&mut c, &mut d], no).is_err());
        let b = PackedInt8::zeros(5, 40, Int8Type::I8).unwrap();
        assert!(gemm_int8(&a, &b, 0..2, &mut [&mut c, &mut d], no).is_err());
        assert!(gemm_int8(&pack(Isa::detect(), &[], 4), &b, 0..2, &mut [], no).is_ok());
    }
}
