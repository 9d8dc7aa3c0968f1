//! Every product on every tier: right at every edge, and the same bits however it is cut.

use std::ops::Range;

use crate::bf16::to_bf16;
use crate::product::quantized::outliers::reference::{quantize, quantize_blocks};
use crate::testing::{LENGTHS, aligned, bits, for_each_isa, random, random_bytes, row_of};
use crate::{
    Epilogue, Gate, Int8Type, Isa, NBitsCodes, NBitsFormat, NR, PackedBf16, PackedF32, PackedInt8,
    PackedNBits, Rows, ShapeError, Tier, Weight, WeightFormat, glu,
};

const NBITS: NBitsFormat = NBitsFormat {
    codes: NBitsCodes::Int4,
    block_size: 32,
    zero_points: false,
};

/// A weight of each format, with the numbers `[K, N]` that it stands for.
fn weights(k: usize, n: usize) -> [(Weight, Vec<f32>); 4] {
    let kn = random((k + n) as u64, k * n);
    let mut f32 = PackedF32::zeros(k, n).unwrap();
    f32.write_kn(0, 0, n, &kn).unwrap();
    let mut bf16 = PackedBf16::zeros(k, n).unwrap();
    bf16.write_kn(0, 0, n, &kn).unwrap();
    let mut int8 = PackedInt8::zeros(k, n, Int8Type::U8).unwrap();
    let (bytes, zero_points) = (random_bytes(3, k * n), random_bytes(4, n));
    // Powers of two, so that a weight is exact in f32.
    let scales: Vec<f32> = (0..n).map(|i| [0.5, 0.25, 0.125][i % 3]).collect();
    int8.write_kn(0, 0, n, &bytes).unwrap();
    int8.write_quantization(0, &scales, &zero_points).unwrap();
    let mut nbits = PackedNBits::zeros(k, n, NBITS).unwrap();
    for (column, scale) in scales.iter().enumerate() {
        let codes: Vec<u8> = bytes[column..].iter().step_by(n).copied().collect();
        let scales = vec![*scale; k.div_ceil(NBITS.block_size)];
        nbits.write_column(column, &codes, &scales, None).unwrap();
    }
    let values = |steps: &dyn Fn(u8, usize) -> i32| -> Vec<f32> {
        let steps = |(i, byte): (usize, &u8)| steps(*byte, i % n) as f32 * scales[i % n];
        bytes.iter().enumerate().map(steps).collect()
    };
    let int8_kn = values(&|byte, column| i32::from(byte) - i32::from(zero_points[column]));
    // The low half of a byte counts.
    let nbits_kn = values(&|byte, _| i32::from(byte & 15) - 8);
    let bf16_kn = kn.iter().map(|x| rounded(*x)).collect();
    [
        (Weight::F32(f32), kn),
        (Weight::Bf16(bf16), bf16_kn),
        (Weight::Int8(int8), int8_kn),
        (Weight::NBits(nbits), nbits_kn),
    ]
}

impl Weight {
    fn n(&self) -> usize {
        self.shape()[1]
    }

    /// Some panels of the product with `a`, `[any, k]`.
    fn product(
        &self,
        isa: Isa,
        (a, k): (&[f32], usize),
        panels: Range<usize>,
        c: &mut [&mut [f32]],
        epilogue: Epilogue<'_>,
    ) -> Result<(), ShapeError> {
        let mut rows = Rows::new(isa);
        rows.pack_from(self, a.len() / k, row_of(a, k))?;
        assert_eq!(rows.count(self), a.len() / k);
        rows.multiply(self, panels, c, epilogue)
    }

    /// C of all panels, starting from `c`, whose rows are `width` wide.
    fn whole(
        &self,
        isa: Isa,
        (a, k): (&[f32], usize),
        (mut c, width): (Vec<f32>, usize),
        epilogue: Epilogue<'_>,
    ) -> Vec<f32> {
        let mut rows: Vec<&mut [f32]> = c.chunks_mut(width).collect();
        let done = self.product(isa, (a, k), 0..self.panels(), &mut rows, epilogue);
        done.unwrap();
        c
    }

    /// The numbers that a row of A stands for once it is packed.
    fn row(&self, a: &[f32]) -> Vec<f64> {
        let values = |steps: Vec<i64>, scale: &dyn Fn(usize) -> f32| {
            let steps = steps.into_iter().enumerate();
            steps.map(|(i, q)| q as f64 * f64::from(scale(i))).collect()
        };
        match self {
            Self::F32(_) => a.iter().map(|x| f64::from(*x)).collect(),
            Self::Bf16(_) => a.iter().map(|x| f64::from(rounded(*x))).collect(),
            Self::Int8(_) => {
                let (steps, scale) = quantize(a);
                values(steps, &|_| scale)
            }
            Self::NBits(_) => {
                let (steps, scales) = quantize_blocks(a, NBITS.block_size);
                values(steps, &|i| scales[i / NBITS.block_size])
            }
        }
    }

    /// How far an element may be from the exact sum, given the sum of magnitudes.
    fn tolerance(&self, k: usize, sum: f64, size: f64) -> f64 {
        let half_ulp = f64::from(f32::EPSILON) / 2.0;
        match self {
            // Rounded when it becomes f32, and with each of two scales.
            Self::Int8(_) => sum.abs() * 3.01 * half_ulp,
            _ => (size + 1.0) * (k + 2) as f64 * half_ulp,
        }
    }
}

fn rounded(x: f32) -> f32 {
    f32::from_bits(u32::from(to_bf16(x)) << 16)
}

#[test]
fn agrees_with_f64_at_every_edge() {
    let shapes = LENGTHS
        .iter()
        .map(|&len| (len, 33, 40)) // rows
        .chain(LENGTHS.iter().map(|&len| (5, len, 33))) // K
        .chain(LENGTHS.iter().map(|&len| (3, 17, len))) // columns
        .chain(LENGTHS.iter().map(|&len| (1, 9, len)))
        .chain([(14, 300, 70), (25, 65, 129)]);
    for (m, k, n) in shapes {
        let a = random(m as u64, m * k);
        let (c0, bias) = (random(7, m * n), random(8, n));
        for (b, kn) in weights(k, n) {
            let rows: Vec<f64> = a.chunks(k).flat_map(|row| b.row(row)).collect();
            let exact: Vec<(f64, f64)> = (0..m * n)
                .map(|i| {
                    let column = kn[i % n..].iter().step_by(n);
                    let terms = rows[i / n * k..][..k].iter().zip(column);
                    let terms = terms.map(|(a, b)| a * f64::from(*b));
                    terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
                })
                .collect();
            for_each_isa(|isa| {
                let set = b.whole(isa, (&a, k), (c0.clone(), n), Epilogue::Store);
                let added = b.whole(isa, (&a, k), (c0.clone(), n), Epilogue::Add);
                let to = Epilogue::StoreBiased(&bias);
                let biased = b.whole(isa, (&a, k), (c0.clone(), n), to);
                let to = Epilogue::AddBiased(&bias);
                let added_biased = b.whole(isa, (&a, k), (c0.clone(), n), to);
                for (i, (sum, size)) in exact.iter().enumerate() {
                    let error = (f64::from(set[i]) - sum).abs();
                    let tolerance = b.tolerance(k, *sum, *size);
                    assert!(error <= tolerance, "{isa} {m}x{k}x{n} {sum} {error}");
                    assert_eq!(added[i].to_bits(), (c0[i] + set[i]).to_bits(), "{isa}");
                    let with_bias = set[i] + bias[i % n];
                    assert_eq!(biased[i].to_bits(), with_bias.to_bits(), "{isa}");
                    assert_eq!(
                        added_biased[i].to_bits(),
                        (c0[i] + with_bias).to_bits(),
                        "{isa}"
                    );
                }
            });
        }
    }
}

/// Columns of C that some panels give.
fn columns(panels: &Range<usize>, n: usize) -> Range<usize> {
    (panels.start * NR).min(n)..(panels.end * NR).min(n)
}

const SWIGLU: Epilogue<'_> = Epilogue::Gated(Gate::Silu);

#[test]
fn a_gate_has_the_bits_of_two_products() {
    for (m, k, width) in [
        (2_usize, 3_usize, 64_usize),
        (1, 9, 1),
        (5, 17, 31),
        (13, 40, 32),
        (26, 33, 33),
        (40, 5, 100),
    ] {
        let (a, pairs) = (random(m as u64, m * k), width.div_ceil(NR));
        for (b, _) in weights(k, 2 * pairs * NR) {
            for_each_isa(|isa| {
                let stored = vec![0.0; m * b.n()];
                let stored = b.whole(isa, (&a, k), (stored, b.n()), Epilogue::Store);
                for act in [Gate::Silu, Gate::GeluErf, Gate::GeluTanh] {
                    let gated = vec![9.0; m * width];
                    let gated = b.whole(isa, (&a, k), (gated, width), Epilogue::Gated(act));
                    for (stored, gated) in stored.chunks(b.n()).zip(gated.chunks(width)) {
                        let (gate, up): (Vec<_>, Vec<_>) = stored
                            .chunks(2 * NR)
                            .flat_map(|pair| pair[..NR].iter().zip(&pair[NR..]))
                            .unzip();
                        let mut expected = vec![0.0; gate.len()];
                        glu(isa, act, &gate, &up, &mut expected).unwrap();
                        assert_eq!(bits(gated), bits(&expected[..width]), "{isa} {m} {b:?}");
                    }
                }
            });
        }
    }
}

#[test]
fn bits_do_not_depend_on_rows_or_panels() {
    let (m, k) = (40, 77);
    let a = random(1, m * k);
    let bias = random(2, 203);
    let single = [
        Epilogue::Store,
        Epilogue::Add,
        Epilogue::StoreBiased(&bias),
        Epilogue::AddBiased(&bias),
    ];
    // The last panel is not full, save in pairs.
    for (n, epilogues) in [(203, &single[..]), (256, &[SWIGLU])] {
        for ((b, _), epilogue) in weights(k, n)
            .iter()
            .flat_map(|b| epilogues.iter().map(move |epilogue| (b, *epilogue)))
        {
            let group = epilogue.panels();
            let n = n / group;
            for_each_isa(|isa| {
                let expected = b.whole(isa, (&a, k), (vec![1.0; m * n], n), epilogue);
                for count in 1..m {
                    let part = &a[(m - count) * k..];
                    let c = b.whole(isa, (part, k), (vec![1.0; count * n], n), epilogue);
                    let whole = &expected[(m - count) * n..];
                    assert_eq!(bits(&c), bits(whole), "{isa} {count} rows");
                }
                let panels = n.div_ceil(NR);
                let cuts = (0..=panels).flat_map(|end| (0..=end).map(move |first| first..end));
                for (rows, cut) in cuts.flat_map(|cut| [1, 5, 40].map(|rows| (rows, cut.clone()))) {
                    let columns = columns(&cut, n);
                    let mut c = vec![1.0; rows * n];
                    let mut c: Vec<&mut [f32]> = c
                        .chunks_mut(n)
                        .map(|row| &mut row[columns.clone()])
                        .collect();
                    let panels = cut.start * group..cut.end * group;
                    let done = b.product(isa, (&a[..rows * k], k), panels, &mut c, epilogue);
                    done.unwrap();
                    for (row, c) in c.iter().enumerate() {
                        let whole = &expected[row * n..][..n][columns.clone()];
                        assert_eq!(bits(c), bits(whole), "{isa} {rows} rows {cut:?}");
                    }
                }
            });
        }
    }
}

#[test]
fn weights_from_bytes_give_the_same_bits_and_are_not_written() {
    let (m, k, n) = (5, 77, 70);
    let a = random(1, m * k);
    let isa = Isa::detect();
    for (b, _) in weights(k, n) {
        let parts = b.parts().into_iter().map(aligned).collect();
        let mut mapped = Weight::from_parts(b.format(), b.shape(), parts).unwrap();
        assert!(Weight::from_parts(b.format(), b.shape(), Vec::new()).is_err());
        let c = |b: &Weight| b.whole(isa, (&a, k), (vec![0.0; m * n], n), Epilogue::Store);
        let expected = bits(&c(&b));
        assert_eq!(bits(&c(&mapped)), expected);
        let written = match &mut mapped {
            Weight::F32(b) => b.write_nk(0, &vec![1.0; k]),
            Weight::Bf16(b) => b.write_kn(0, 0, n, &vec![1.0; n]),
            Weight::NBits(b) => b.write_column(0, &vec![1; k], &[1.0; 3], None),
            Weight::Int8(b) => {
                assert!(b.write_quantization(0, &[1.0], &[3]).is_err());
                b.write_nk(0, &vec![1; k])
            }
        };
        assert!(matches!(written, Err(ShapeError::Shared { .. })));
        assert_eq!(bits(&c(&mapped)), expected);
    }
}

#[test]
fn bytes_of_other_sizes_are_refused() {
    let bytes = aligned(&[0; 4 * 64 * 4]);
    let from = |format, k, n, lens: &[usize]| {
        let parts = lens.iter().map(|len| bytes.slice(..*len)).collect();
        Weight::from_parts(format, [k, n], parts).is_ok()
    };
    let f32 = |k, n, len| from(WeightFormat::F32, k, n, &[len]);
    assert!(f32(8, 32, 1024) && !f32(8, 33, 1024) && !f32(7, 32, 1024) && !f32(8, 32, 960));
    assert!(!f32(0, 32, 0) && !f32(8, 0, 0) && !f32(usize::MAX, usize::MAX, 1024));
    let bf16 = |k, n, len| from(WeightFormat::Bf16, k, n, &[len]);
    assert!(bf16(15, 32, 1024) && bf16(16, 1, 1024) && !bf16(17, 32, 1024));
    let int8 = |k, n, len, quantization| from(WeightFormat::Int8, k, n, &[len, quantization]);
    assert!(int8(32, 32, 1024, 256) && !int8(32, 32, 1024, 128) && !int8(33, 32, 1024, 256));
    assert!(!int8(66_312, 32, 1024, 256) && !int8(32, 0, 0, 0));
}

/// Instructions of one type are no part of the other types' products.
#[test]
fn tiers_that_differ_elsewhere_give_the_same_bits() {
    let (m, k, n) = (14, 77, 70);
    let a = random(1, m * k);
    for [with, without] in [
        [Tier::AvxVnni, Tier::Avx2],
        [Tier::Avx512Vnni, Tier::Avx512],
        [Tier::Avx512Bf16, Tier::Avx512Vnni],
        [Tier::NeonDot, Tier::Neon],
        [Tier::NeonI8mm, Tier::NeonDot],
    ] {
        let (Some(with), Some(without)) = (Isa::new(with), Isa::new(without)) else {
            akidb_testing::skip(&format!("bits of {with}: this CPU lacks it"));
            continue;
        };
        for (b, _) in weights(k, n) {
            let new_instructions = with.has_bf16() && matches!(b, Weight::Bf16(_));
            if !new_instructions {
                let c = |isa| b.whole(isa, (&a, k), (vec![0.0; m * n], n), Epilogue::Store);
                assert_eq!(bits(&c(with)), bits(&c(without)), "{with}");
            }
        }
    }
}

#[test]
fn edge_values() {
    let k = 20;
    let kn = |b: f32| [b; 60];
    for_each_isa(|isa| {
        let f32 = |a: &[f32; 20], b: f32| {
            let mut packed = PackedF32::zeros(k, 3).unwrap();
            packed.write_kn(0, 0, 3, &kn(b)).unwrap();
            Weight::F32(packed).whole(isa, (a, k), (vec![9.0; 3], 3), Epilogue::Store)
        };
        let bf16 = |a: &[f32; 20], b: f32| {
            let mut packed = PackedBf16::zeros(k, 3).unwrap();
            packed.write_kn(0, 0, 3, &kn(b)).unwrap();
            Weight::Bf16(packed).whole(isa, (a, k), (vec![9.0; 3], 3), Epilogue::Store)
        };
        assert_eq!(f32(&[1e-45; 20], 1.0), [f32::from_bits(20); 3]);
        assert!(
            bf16(&[1e-39; 20], 1.0)
                .iter()
                .all(|c| (0.0..3e-38).contains(c))
        );
        for product in [&f32 as &dyn Fn(&[f32; 20], f32) -> Vec<f32>, &bf16] {
            assert_eq!(product(&[0.0; 20], 3.0), [0.0; 3], "{isa}");
            assert_eq!(product(&[3.0; 20], -2.0), [-120.0; 3], "{isa}");
            assert_eq!(product(&[1e38; 20], 1e38), [f32::INFINITY; 3], "{isa}");
            for (place, value) in [(0, f32::NAN), (19, -f32::NAN), (18, f32::INFINITY)] {
                let mut a = [1.0; 20];
                a[place] = value;
                assert!(product(&a, 0.0).iter().all(|c| c.is_nan()), "{isa}");
            }
            let mut a = [1.0; 20];
            a[19] = f32::INFINITY;
            assert_eq!(product(&a, -1.0), [f32::NEG_INFINITY; 3], "{isa}");
            assert!(product(&a, f32::NAN).iter().all(|c| c.is_nan()), "{isa}");
        }
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let isa = Isa::detect();
    let a = [1.0; 8];
    for (b, _) in weights(4, 100) {
        let (bias, others) = ([0.0; 100], [vec![0.0; 99], vec![0.0; 101]]);
        let run = |k, panels: Range<usize>, widths: &[usize], epilogue| {
            let mut c = vec![vec![0.0; 128]; widths.len()];
            let rows = c.iter_mut().zip(widths);
            let mut rows: Vec<&mut [f32]> = rows.map(|(row, width)| &mut row[..*width]).collect();
            let done = b.product(isa, (&a, k), panels, &mut rows, epilogue);
            if done.is_err() {
                assert_eq!(c, vec![vec![0.0; 128]; widths.len()]);
            }
            done.is_ok()
        };
        for bias in &others {
            assert!(!run(4, 0..4, &[100, 100], Epilogue::StoreBiased(bias)));
            assert!(!run(4, 1..3, &[64, 64], Epilogue::AddBiased(bias)));
        }
        let biased = [Epilogue::store(Some(&bias)), Epilogue::add(Some(&bias))];
        for epilogue in [Epilogue::store(None), Epilogue::add(None)]
            .into_iter()
            .chain(biased)
        {
            assert!(run(4, 0..4, &[100, 100], epilogue));
            assert!(run(4, 1..3, &[64, 64], epilogue));
            assert!(run(4, 2..2, &[0, 0], epilogue));
            assert!(!run(4, 0..4, &[100], epilogue));
            assert!(!run(4, 0..4, &[100, 99], epilogue));
            assert!(!run(4, 0..3, &[100, 100], epilogue));
            assert!(!run(4, 0..5, &[100, 100], epilogue));
            assert!(!run(8, 0..4, &[100], epilogue));
        }
        let pairs = |panels, widths: &[usize]| run(4, panels, widths, SWIGLU);
        assert!(pairs(0..4, &[64, 64]));
        assert!(pairs(0..4, &[33, 64]));
        assert!(pairs(2..4, &[1, 32]));
        assert!(pairs(2..2, &[0, 0]));
        assert!(!pairs(0..4, &[65, 65]));
        assert!(!pairs(0..4, &[32, 32]));
        assert!(!pairs(0..4, &[0, 0]));
        assert!(!pairs(2..2, &[1, 1]));
        assert!(!pairs(0..3, &[64, 64]));
        assert!(!pairs(1..3, &[32, 32]));
        #[expect(clippy::reversed_empty_ranges, reason = "that is what must be refused")]
        let reversed = 2..1;
        assert!(!run(4, reversed, &[0, 0], Epilogue::Store));
        let no_rows = b.product(isa, (&[], 7), 0..4, &mut [], Epilogue::Store);
        assert!(no_rows.is_ok());
    }
}

/// Packs on disk say it in these words.
#[test]
fn formats_are_written_down_as_ever() {
    let levels = NBitsFormat {
        codes: NBitsCodes::Levels([-0.1; 16]),
        ..NBITS
    };
    let bits = vec!["3184315597"; 16].join(",");
    let nbits = |codes: &str| {
        format!(r#"{{"NBits":{{"codes":{codes},"block_size":32,"zero_points":false}}}}"#)
    };
    for (format, expected) in [
        (WeightFormat::F32, r#""F32""#.to_owned()),
        (WeightFormat::Bf16, r#""Bf16""#.to_owned()),
        (WeightFormat::Int8, r#""Int8""#.to_owned()),
        (WeightFormat::NBits(NBITS), nbits(r#""Int4""#)),
        (
            WeightFormat::NBits(levels),
            nbits(&format!(r#"{{"Levels":[{bits}]}}"#)),
        ),
    ] {
        assert_eq!(serde_json::to_string(&format).unwrap(), expected);
        assert_eq!(
            serde_json::from_str::<WeightFormat>(&expected).unwrap(),
            format
        );
    }
}
