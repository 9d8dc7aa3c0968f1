//! Products of quantised rows and block-quantised weights.

use std::ops::Range;

use crate::arch::{Kernel, Target, max_rows_nbits};
use crate::lanes::{Aligned, LANES, Lanes};
use crate::product::blocks::Blocks;
use crate::product::gemm::Product;
use crate::product::nbits::format::NBitsCodes;
use crate::product::nbits::rows::BlockScales;
use crate::product::nbits::tile::{
    Bytes, Codes, Levels, Nibbles, Panel, TileRows, add_high_digits, multiply_nbits,
};
use crate::product::nbits::weights::{Line, PackedNBits};
use crate::product::row_blocks::RowBlocks;
use crate::product::rows::RowsOf;
use crate::product::tile::Tile;

/// Each element is for each block an exact sum of integers, times the block's scales in f32, one block
/// after the other along K, then what outliers add, one after the other.
pub(super) struct NBits<'a> {
    pub(super) a: &'a RowsOf<BlockScales>,
    pub(super) b: &'a PackedNBits,
}

impl Product for NBits<'_> {
    const INT8: bool = true;
    const BF16: bool = false;
    type Sum = f32;
    type PanelRow = Line;

    fn rows(&self) -> &RowBlocks {
        self.a.row_blocks()
    }

    fn weight_shape(&self) -> [usize; 2] {
        [self.b.k, self.b.n]
    }

    #[inline(always)]
    fn panel(&self, index: usize) -> &[Line] {
        self.b.panel(index)
    }

    #[inline(always)]
    fn multiply<T: Target>(
        &self,
        target: T,
        rows: &Range<usize>,
        panel: usize,
        next: &[Line],
        out: &mut Tile<f32>,
    ) {
        let height = rows.len();
        let values = self.a.row_blocks().groups(rows);
        let scales = self.a.scales(rows);
        let mut panel = Panel {
            lines: self.b.panel(panel),
            layout: self.b.layout(),
            next,
        };
        let tallest = max_rows_nbits::<T>();
        // Rows were packed for the taller tiles of int8.
        for rows in (Blocks {
            rows: height,
            tallest,
        })
        .iter()
        {
            let a = TileRows {
                values: values.get(rows.start..).unwrap_or_default(),
                scales: scales.get(rows.start..).unwrap_or_default(),
                height,
                rows: rows.len(),
            };
            let out = out.get_mut(rows).unwrap_or_default();
            match self.b.format().codes {
                NBitsCodes::Int4 => multiply_nbits(target, Nibbles, a, panel, out),
                NBitsCodes::Int8 => multiply_nbits(target, Bytes, a, panel, out),
                NBitsCodes::Levels(_) => {
                    let levels = Levels(target.load_table(self.b.levels()));
                    multiply_nbits(target, levels, a, panel, out);
                }
            }
            panel.next = &[];
        }
        if self.a.high_digits().any(rows) {
            self.a.isa().run(AddHighDigits {
                product: self,
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
        totals: &Tile<f32>,
        mut row: impl FnMut(usize, &[Lanes; 2]),
    ) {
        let Some(factors) = self.b.factors(panel) else {
            return;
        };
        for (index, totals) in totals.iter().take(rows.len()).enumerate() {
            let mut elements = Aligned([[0.0; LANES]; 2]);
            for v in 0..2 {
                for l in 0..LANES {
                    elements.0[v][l] = totals[v][l] * factors[v][l];
                }
            }
            row(index, &elements.0);
        }
    }
}

/// Adds the products of the high digits of a block of rows to their totals. A kernel of its own,
/// which keeps the code of the whole product small.
struct AddHighDigits<'a> {
    product: &'a NBits<'a>,
    rows: Range<usize>,
    panel: Panel<'a>,
    out: &'a mut Tile<f32>,
}

impl AddHighDigits<'_> {
    #[inline(always)]
    fn with<T: Target, C: Codes<T>>(self, target: T, codes: C) {
        let a = self.product.a;
        let scales = a.scales(&self.rows);
        for (row, digits) in a.high_digits().of(&self.rows) {
            let scale = |block: usize| {
                let scale = scales.get(block * self.rows.len() + row);
                scale.map_or(0.0, |scale| scale.scale)
            };
            if let Some(totals) = self.out.get_mut(row) {
                add_high_digits(target, codes, digits, scale, self.panel, totals);
            }
        }
    }
}

impl Kernel for AddHighDigits<'_> {
    const INT8: bool = true;

    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        let b = self.product.b;
        match b.format().codes {
            NBitsCodes::Int4 => self.with(target, Nibbles),
            NBitsCodes::Int8 => self.with(target, Bytes),
            NBitsCodes::Levels(_) => self.with(target, Levels(target.load_table(b.levels()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::format::PackedWeight;
    use crate::product::nbits::format::level_bytes;
    use crate::product::quantized::outliers::reference::{quantize_blocks, rows_with_outliers};
    use crate::testing::{LENGTHS, bits, for_each_isa, random, random_bytes};
    use crate::{Epilogue, Isa, NBitsFormat, NR};

    fn pack(isa: Isa, a: &[f32], b: &PackedNBits) -> RowsOf<BlockScales> {
        let mut packed = RowsOf::new(isa);
        b.prepare(&mut packed.encoding);
        packed.pack(a, b.k).unwrap();
        packed
    }

    /// Every kind of code, block size and zero point.
    fn formats() -> Vec<NBitsFormat> {
        let mut formats = Vec::new();
        for codes in [NBitsCodes::Int4, NBitsCodes::Int8, NBitsCodes::NF4] {
            for block_size in [16, 32, 64, 128, 256, 1024] {
                for zero_points in [false, true] {
                    if !zero_points || !matches!(codes, NBitsCodes::Levels(_)) {
                        formats.push(NBitsFormat {
                            codes,
                            block_size,
                            zero_points,
                        });
                    }
                }
            }
        }
        formats
    }

    /// A weight matrix, packed and not.
    struct Weights {
        format: NBitsFormat,
        /// `[n][k]`.
        codes: Vec<u8>,
        /// `[n][blocks]`.
        scales: Vec<f32>,
        zero_points: Vec<f32>,
        /// What the codes of [`NBitsCodes::Levels`] stand for.
        levels: [f64; 16],
        packed: PackedNBits,
    }

    impl Weights {
        fn new(format: NBitsFormat, k: usize, n: usize) -> Self {
            let mask = if format.codes == NBitsCodes::Int8 {
                255
            } else {
                15
            };
            let codes = random_bytes(n as u64 + 1, k * n)
                .into_iter()
                .map(|c| c & mask);
            let codes: Vec<u8> = codes.collect();
            let blocks = k.div_ceil(format.block_size);
            // What is kept exactly: scales up to 1/2 in 2⁻¹⁵, zero points in 1/64.
            let scales = random(3, blocks * n).into_iter();
            let scales: Vec<f32> = scales.map(|x| (x * 16384.0).round() / 32768.0).collect();
            let zero_points = random(4, blocks * n).into_iter();
            let middle = format.codes.middle();
            let zero_points = zero_points.map(|x| ((1.0 + x) * middle * 64.0).round() / 64.0);
            let mut zero_points: Vec<f32> = zero_points.collect();
            // Some are whole.
            for zero_point in zero_points.iter_mut().step_by(3) {
                *zero_point = zero_point.floor();
            }
            let mut packed = PackedNBits::zeros(k, n, format).unwrap();
            for (column, codes) in codes.chunks(k).enumerate() {
                let range = column * blocks..(column + 1) * blocks;
                let zero_points = format.zero_points.then_some(&zero_points[range.clone()]);
                packed
                    .write_column(column, codes, &scales[range], zero_points)
                    .unwrap();
            }
            let levels = match &format.codes {
                NBitsCodes::Levels(levels) => {
                    let unit = f64::from(format.codes.unit());
                    level_bytes(levels).map(|byte| (f64::from(byte) - 128.0) * unit)
                }
                _ => [0.0; 16],
            };
            Self {
                format,
                codes,
                scales,
                zero_points,
                levels,
                packed,
            }
        }

        /// What a code stands for in a block, without its scale.
        fn value(&self, code: u8, block: usize) -> f64 {
            match self.format.codes {
                NBitsCodes::Levels(_) => self.levels[usize::from(code)],
                _ if self.format.zero_points => {
                    f64::from(code) - f64::from(self.zero_points[block])
                }
                NBitsCodes::Int4 => f64::from(code) - 8.0,
                NBitsCodes::Int8 => f64::from(code) - 128.0,
            }
        }

        /// The row of C for a row of A, and how large its terms are together.
        fn reference(&self, a: &[f32]) -> Vec<(f64, f64)> {
            let (q, scales_of_a) = quantize_blocks(a, self.format.block_size);
            let q: Vec<f64> = q.into_iter().map(|q| q as f64).collect();
            let k = a.len();
            let blocks = k.div_ceil(self.format.block_size);
            let column = |(column, codes): (usize, &[u8])| {
                let (mut total, mut size) = (0.0, 0.0);
                for (i, (q, code)) in q.iter().zip(codes).enumerate() {
                    let block = i / self.format.block_size;
                    let scale_of_a = f64::from(scales_of_a[block]);
                    let block = column * blocks + block;
                    let scale = scale_of_a * f64::from(self.scales[block]);
                    total += q * self.value(*code, block) * scale;
                    size += (q * scale).abs() * f64::from(self.format.codes.middle());
                }
                (total, size)
            };
            self.codes.chunks(k).enumerate().map(column).collect()
        }
    }

    /// C of a whole product, starting from `c`.
    fn whole(
        a: &RowsOf<BlockScales>,
        b: &PackedNBits,
        mut c: Vec<f32>,
        to: Epilogue<'_>,
    ) -> Vec<f32> {
        let mut rows: Vec<&mut [f32]> = c.chunks_mut(b.n).collect();
        b.multiply(a, 0..b.n.div_ceil(NR), &mut rows, to).unwrap();
        c
    }

    #[test]
    fn agrees_with_f64_at_every_edge_on_every_tier() {
        let shapes = LENGTHS
            .iter()
            .map(|&len| (len, 33, 40)) // rows
            .chain(LENGTHS.iter().map(|&len| (8, len, 33))) // K
            .chain(LENGTHS.iter().map(|&len| (3, 49, len))) // columns
            .chain([(14, 300, 70), (7, 256, 32), (13, 1025, 33), (4, 4097, 3)]);
        for (index, (m, k, n)) in shapes.enumerate() {
            let a = rows_with_outliers(m as u64, m, k);
            let c0 = random(7, m * n);
            // Each shape meets a few formats, and each format shapes of every kind.
            for format in formats().into_iter().skip(index % 11).step_by(11) {
                let b = Weights::new(format, k, n);
                let expected: Vec<_> = a.chunks(k).flat_map(|a| b.reference(a)).collect();
                for_each_isa(|isa| {
                    let rows = pack(isa, &a, &b.packed);
                    let set = whole(&rows, &b.packed, c0.clone(), Epilogue::Store);
                    let added = whole(&rows, &b.packed, c0.clone(), Epilogue::Add);
                    for ((set, added), (c0, (expected, size))) in
                        set.iter().zip(&added).zip(c0.iter().zip(&expected))
                    {
                        let error = (f64::from(*set) - expected).abs();
                        let tolerance = 1e-6 * size + 1e-30;
                        assert!(error <= tolerance, "{isa} {m}x{k}x{n} {format:?} {error}");
                        assert_eq!(*added, c0 + set, "{isa} {m}x{k}x{n} {format:?}");
                    }
                });
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_rows_or_panels() {
        let (m, k, n) = (40, 77, 203);
        let a = rows_with_outliers(1, m, k);
        let formats = formats().into_iter();
        for format in formats.filter(|format| [16, 64].contains(&format.block_size)) {
            let b = Weights::new(format, k, n).packed;
            for_each_isa(|isa| {
                let expected = whole(&pack(isa, &a, &b), &b, vec![0.0; m * n], Epilogue::Store);
                for count in (1..=14).chain([25, m]) {
                    let part = pack(isa, &a[(m - count) * k..], &b);
                    let c = whole(&part, &b, vec![0.0; count * n], Epilogue::Store);
                    let whole = &expected[(m - count) * n..];
                    assert_eq!(bits(&c), bits(whole), "{isa} {count} rows {format:?}");
                }
                for rows in [1, 5, 40] {
                    let part = pack(isa, &a[..rows * k], &b);
                    let panels = n.div_ceil(NR);
                    for first in 0..panels {
                        for end in first + 1..=panels {
                            let columns = first * NR..(end * NR).min(n);
                            let mut c = vec![0.0; rows * columns.len()];
                            let mut c: Vec<&mut [f32]> = c.chunks_mut(columns.len()).collect();
                            b.multiply(&part, first..end, &mut c, Epilogue::Store)
                                .unwrap();
                            for (row, c) in c.iter().enumerate() {
                                let whole = &expected[row * n..][..n][columns.clone()];
                                assert_eq!(bits(c), bits(whole), "{isa} {rows} {format:?}");
                            }
                        }
                    }
                }
            });
        }
    }

    #[test]
    fn largest_sums_do_not_overflow() {
        let k = 1 << 16;
        let format = NBitsFormat {
            codes: NBitsCodes::Int8,
            block_size: k,
            zero_points: true,
        };
        for_each_isa(|isa| {
            for (code, zero_point) in [(255, 0.0), (0, 255.0), (255, 255.0), (0, 0.0)] {
                for a in [-1.0, 1.0] {
                    let mut b = PackedNBits::zeros(k, 1, format).unwrap();
                    b.write_column(0, &vec![code; k], &[1.0], Some(&[zero_point]))
                        .unwrap();
                    let c = whole(&pack(isa, &vec![a; k], &b), &b, vec![0.0], Epilogue::Store);
                    let expected = a * (f32::from(code) - zero_point) * k as f32;
                    assert!((c[0] - expected).abs() < 8.0, "{isa} {c:?} {expected}");
                }
            }
        });
    }

    #[test]
    fn edge_values() {
        let format = NBitsFormat {
            codes: NBitsCodes::Int4,
            block_size: 16,
            zero_points: true,
        };
        for_each_isa(|isa| {
            let mut b = PackedNBits::zeros(20, 5, format).unwrap();
            let mut write = |n, scale, zero_point| {
                let zero_points = [8.0, zero_point];
                b.write_column(n, &[9; 20], &[1.0, scale], Some(&zero_points))
                    .unwrap();
            };
            write(0, 1.0, 8.0);
            write(1, f32::NAN, 8.0);
            write(2, f32::INFINITY, 8.0);
            write(3, 1.0, f32::NAN);
            write(4, 0.0, 1e9);
            let product = |a: &[f32]| whole(&pack(isa, a, &b), &b, vec![9.0; 5], Epilogue::Store);
            let ones = product(&[1.0; 20]);
            assert!((ones[0] - 20.0).abs() < 1e-5, "{isa} {ones:?}");
            assert!(ones[1..].iter().all(|c| c.is_nan()), "{isa} {ones:?}");
            assert_eq!(product(&[0.0; 20])[0], 0.0);
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut a = [1.0; 20];
                a[19] = value;
                assert!(product(&a).iter().all(|c| c.is_nan()), "{isa}");
            }
            let zeros = PackedNBits::zeros(20, 5, format).unwrap();
            let rows = pack(isa, &[1.0; 20], &b);
            assert_eq!(
                whole(&rows, &zeros, vec![9.0; 5], Epilogue::Store),
                [0.0; 5]
            );
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let format = NBitsFormat {
            codes: NBitsCodes::Int4,
            block_size: 32,
            zero_points: false,
        };
        let b = PackedNBits::zeros(4, 40, format).unwrap();
        let a = pack(Isa::detect(), &[1.0; 8], &b);
        let (mut c, mut d) = ([0.0; 40], [0.0; 40]);
        let no = Epilogue::Store;
        assert!(b.multiply(&a, 0..2, &mut [&mut c], no).is_err());
        assert!(
            b.multiply(&a, 0..2, &mut [&mut c, &mut d[1..]], no)
                .is_err()
        );
        assert!(b.multiply(&a, 0..3, &mut [&mut c, &mut d], no).is_err());
        assert!(b.multiply(&a, 0..2, &mut [&mut c, &mut d], no).is_ok());
        let mut other = a.clone();
        other.encoding.block_size = 16;
        other.pack(&[1.0; 8], 4).unwrap();
        assert!(b.multiply(&other, 0..2, &mut [&mut c, &mut d], no).is_err());
        let b = PackedNBits::zeros(5, 40, format).unwrap();
        assert!(b.multiply(&a, 0..2, &mut [&mut c, &mut d], no).is_err());
        assert!(
            b.multiply(&pack(Isa::detect(), &[], &b), 0..2, &mut [], no)
                .is_ok()
        );
    }
}
