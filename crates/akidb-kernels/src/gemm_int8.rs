//! Products of quantised operands.

use std::ops::Range;

use crate::arch::Target;
use crate::gemm::{Epilogue, Product, run};
use crate::lanes::{LANES, Lanes};
use crate::packed::PanelRow;
use crate::row_blocks::RowBlocks;
use crate::tile::{Tile, multiply};
use crate::weight_type::{Int8, WeightType};
use crate::{PackedInt8, QuantizedRows, ShapeError};

/// [`gemm`](crate::gemm()) of quantised operands: each element is an exact sum of integers,
/// rounded to f32 and multiplied with `scale of the row · scale of the column`. The bits are the
/// same on every tier, too, save with [`Epilogue::SwiGlu`].
///
/// # Errors
/// As [`gemm`](crate::gemm()).
pub fn gemm_int8(
    a: &QuantizedRows,
    b: &PackedInt8,
    panels: Range<usize>,
    c: &mut [&mut [f32]],
    epilogue: Epilogue,
) -> Result<(), ShapeError> {
    run("gemm_int8", &Integers { a, b }, panels, c, epilogue)
}

struct Integers<'a> {
    a: &'a QuantizedRows,
    b: &'a PackedInt8,
}

impl Product for Integers<'_> {
    type Sum = i32;
    type PanelRow = PanelRow<<Int8 as WeightType>::Vector>;

    fn rows(&self) -> &RowBlocks {
        self.a.row_blocks()
    }

    fn weight_shape(&self) -> [usize; 2] {
        [self.b.k(), self.b.n()]
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
    }

    #[inline(always)]
    fn elements(&self, row: usize, panel: usize, sums: &[[i32; LANES]; 2]) -> [Lanes; 2] {
        let mut elements = [[0.0; LANES]; 2];
        let (Some(a), columns) = (self.a.scale(row), self.b.quantization(panel)) else {
            return elements;
        };
        for (v, b) in columns.iter().enumerate().take(2) {
            for l in 0..LANES {
                // A partial result may wrap around, the whole fits into i32.
                let offset = b.zero_points[l].wrapping_mul(a.sum);
                let sum = sums[v][l].wrapping_sub(offset);
                elements[v][l] = sum as f32 * (a.scale * b.scales[l]);
            }
        }
        elements
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
    fn whole(a: &QuantizedRows, b: &PackedInt8, mut c: Vec<f32>, epilogue: Epilogue) -> Vec<f32> {
        let mut rows: Vec<&mut [f32]> = c.chunks_mut(b.n()).collect();
        gemm_int8(a, b, 0..b.panels(), &mut rows, epilogue).unwrap();
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
        let k = 66_311;
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
