//! `C = A · B` and `C += A · B` for packed A and B.

use std::ops::Range;

use crate::arch::{Kernel, Target};
use crate::lanes::{LANES, Lanes};
use crate::tile::{Panels, Sink, product};
use crate::{NR, PackedF32, PackedRows, ShapeError};

/// What happens to the values that C holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// They are overwritten.
    No,
    /// The product is added to them (a residual connection).
    Yes,
}

/// Multiplies the rows of `a` with the columns of `b` that lie in `panels`.
///
/// `c` holds one slice per row of `a`, as wide as `panels`: [`NR`] columns a panel, where the
/// last panel of `b` ends with column `b.n()`. Callers split work by giving each thread other
/// panels or other rows; the bits stay the same: each element is one sum over K, from zero
/// upwards, which is added to C at its end.
///
/// # Errors
/// When the widths of `a` and `b` differ, `panels` ends beyond `b`, or `c` has another shape.
pub fn gemm(
    a: &PackedRows,
    b: &PackedF32,
    panels: Range<usize>,
    c: &mut [&mut [f32]],
    accumulate: Accumulate,
) -> Result<(), ShapeError> {
    check_shapes("gemm", (a.rows(), a.k()), (b.k(), b.n()), &panels, c)?;
    a.isa().run(Gemm {
        a,
        b,
        panels,
        c,
        accumulate,
    });
    Ok(())
}

/// `Ok` when `a` of [M, K], `panels` of `b` of [K, N] and `c` fit each other. K doesn't count
/// without rows.
pub(crate) fn check_shapes(
    op: &'static str,
    (m, a_k): (usize, usize),
    (b_k, n): (usize, usize),
    panels: &Range<usize>,
    c: &[&mut [f32]],
) -> Result<(), ShapeError> {
    ShapeError::range(op, "panels", panels.end, n.div_ceil(NR))?;
    ShapeError::range(op, "panels", panels.start, panels.end)?;
    ShapeError::length(op, "c", m, c.len())?;
    if m == 0 {
        return Ok(());
    }
    ShapeError::length(op, "rows of a", b_k, a_k)?;
    let width = (panels.end * NR).min(n).saturating_sub(panels.start * NR);
    for row in c {
        ShapeError::length(op, "rows of c", width, row.len())?;
    }
    Ok(())
}

struct Gemm<'a, 'c, 'r> {
    a: &'a PackedRows,
    b: &'a PackedF32,
    panels: Range<usize>,
    c: &'c mut [&'r mut [f32]],
    accumulate: Accumulate,
}

impl Kernel for Gemm<'_, '_, '_> {
    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        let Range { start, end } = self.panels;
        // One block of rows takes several panels at a time, so that few rows have enough sums in
        // flight. Several blocks take turns with one panel, which stays in the cache.
        let step = if self.a.blocks().len() == 1 {
            end - start
        } else {
            1
        };
        let mut first = start;
        while first < end {
            let panels = Panels {
                rows: self.b.rows(first..first + step),
                stride: self.b.k(),
                k: self.b.k(),
            };
            for (rows, a) in self.a.blocks() {
                let mut sink = Columns {
                    c: &mut self.c[rows.clone()],
                    first: (first - start) * NR,
                    accumulate: self.accumulate,
                };
                product(target, rows.len(), a, panels, &mut sink);
            }
            first += step;
        }
    }
}

/// The columns of C from `first` on.
pub(crate) struct Columns<'c, 'r> {
    pub(crate) c: &'c mut [&'r mut [f32]],
    pub(crate) first: usize,
    pub(crate) accumulate: Accumulate,
}

impl Sink<f32> for Columns<'_, '_> {
    #[inline(always)]
    fn put(&mut self, row: usize, vector: usize, sums: &Lanes) {
        let from = self.first + vector * LANES;
        let Some(c) = self.c.get_mut(row).and_then(|c| c.get_mut(from..)) else {
            return; // A panel's columns beyond N.
        };
        match (c.first_chunk_mut::<LANES>(), self.accumulate) {
            (Some(c), Accumulate::No) => *c = *sums,
            (Some(c), Accumulate::Yes) => {
                for l in 0..LANES {
                    c[l] += sums[l];
                }
            }
            (None, Accumulate::No) => {
                for (c, sum) in c.iter_mut().zip(sums) {
                    *c = *sum;
                }
            }
            (None, Accumulate::Yes) => {
                for (c, sum) in c.iter_mut().zip(sums) {
                    *c += *sum;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random};
    use crate::{Isa, Tier};

    fn pack(isa: Isa, a: &[f32], k: usize) -> PackedRows {
        let mut packed = PackedRows::new(isa);
        packed.pack(a, k).unwrap();
        packed
    }

    fn weights(k: usize, n: usize, kn: &[f32]) -> PackedF32 {
        let mut packed = PackedF32::zeros(k, n).unwrap();
        packed.write_kn(0, 0, n, kn).unwrap();
        packed
    }

    /// C of a whole product, starting from `c`.
    fn whole(a: &PackedRows, b: &PackedF32, mut c: Vec<f32>, accumulate: Accumulate) -> Vec<f32> {
        let mut rows: Vec<&mut [f32]> = c.chunks_mut(b.n()).collect();
        gemm(a, b, 0..b.panels(), &mut rows, accumulate).unwrap();
        c
    }

    /// In f64: the sum, and the sum of magnitudes that its rounding error is measured by.
    fn reference(a: &[f32], b: &[f32], k: usize, n: usize, row: usize, col: usize) -> (f64, f64) {
        let terms = (0..k).map(|i| f64::from(a[row * k + i]) * f64::from(b[i * n + col]));
        terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
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
            let (a, b) = (random(m as u64, m * k), random(n as u64 + 1, k * n));
            let c0 = random(7, m * n);
            let packed = weights(k, n, &b);
            for_each_isa(|isa| {
                let rows = pack(isa, &a, k);
                let set = whole(&rows, &packed, c0.clone(), Accumulate::No);
                let added = whole(&rows, &packed, c0.clone(), Accumulate::Yes);
                for i in 0..m * n {
                    let (sum, size) = reference(&a, &b, k, n, i / n, i % n);
                    let tolerance = (size + 1.0) * (k + 2) as f64 * f64::from(f32::EPSILON) / 2.0;
                    assert!(
                        (f64::from(set[i]) - sum).abs() <= tolerance,
                        "{isa} {m}x{k}x{n}"
                    );
                    assert_eq!(added[i].to_bits(), (c0[i] + set[i]).to_bits(), "{isa}");
                }
            });
        }
    }

    #[test]
    fn bits_do_not_depend_on_rows_or_panels() {
        let (m, k, n) = (40, 77, 203);
        let (a, b) = (random(1, m * k), weights(k, n, &random(2, k * n)));
        for_each_isa(|isa| {
            let expected = whole(&pack(isa, &a, k), &b, vec![0.0; m * n], Accumulate::No);
            for count in 1..m {
                let part = pack(isa, &a[(m - count) * k..], k);
                let c = whole(&part, &b, vec![0.0; count * n], Accumulate::No);
                assert_eq!(
                    bits(&c),
                    bits(&expected[(m - count) * n..]),
                    "{isa} {count} rows"
                );
            }
            for rows in [1, 5, 40] {
                let part = pack(isa, &a[..rows * k], k);
                for first in 0..=b.panels() {
                    for end in first..=b.panels() {
                        let columns = (first * NR).min(n)..(end * NR).min(n);
                        let mut c = vec![0.0; rows * columns.len()];
                        let mut c_rows: Vec<&mut [f32]> = if columns.is_empty() {
                            (0..rows).map(|_| [].as_mut_slice()).collect()
                        } else {
                            c.chunks_mut(columns.len()).collect()
                        };
                        gemm(&part, &b, first..end, &mut c_rows, Accumulate::No).unwrap();
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
    fn vnni_changes_nothing() {
        let (m, k, n) = (14, 77, 70);
        let (a, b) = (random(1, m * k), weights(k, n, &random(2, k * n)));
        let product = |isa| whole(&pack(isa, &a, k), &b, vec![0.0; m * n], Accumulate::No);
        for (with, without) in [
            (Tier::AvxVnni, Tier::Avx2),
            (Tier::Avx512Vnni, Tier::Avx512),
        ] {
            match (Isa::new(with), Isa::new(without)) {
                (Some(with), Some(without)) => {
                    assert_eq!(bits(&product(with)), bits(&product(without)), "{with}");
                }
                _ => akidb_testing::skip(&format!("bits of {with}: this CPU lacks it")),
            }
        }
    }

    #[test]
    fn edge_values() {
        let k = 20;
        for_each_isa(|isa| {
            let product = |a: &[f32], b: f32| {
                whole(
                    &pack(isa, a, k),
                    &weights(k, 3, &[b; 60]),
                    vec![0.0; 3],
                    Accumulate::No,
                )
            };
            assert_eq!(product(&[0.0; 20], 3.0), [0.0; 3]);
            assert_eq!(product(&[1e-45; 20], 1.0), [f32::from_bits(20); 3]);
            assert_eq!(product(&[1e38; 20], 1e-30), [2e9; 3]);
            assert_eq!(product(&[1e38; 20], 1e38), [f32::INFINITY; 3]);
            let mut a = [1.0; 20];
            a[19] = f32::NAN;
            assert!(product(&a, 0.0).iter().all(|c| c.is_nan()));
            a[19] = f32::INFINITY;
            assert!(product(&a, 0.0).iter().all(|c| c.is_nan()));
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let a = pack(Isa::detect(), &[1.0; 8], 4);
        let b = weights(4, 40, &[1.0; 160]);
        let (mut c, mut d) = ([0.0; 40], [0.0; 40]);
        let no = Accumulate::No;
        assert!(gemm(&a, &b, 0..2, &mut [&mut c], no).is_err());
        assert!(gemm(&a, &b, 0..2, &mut [&mut c, &mut d[1..]], no).is_err());
        assert!(gemm(&a, &b, 0..1, &mut [&mut c, &mut d], no).is_err());
        assert!(gemm(&a, &b, 0..3, &mut [&mut c, &mut d], no).is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "that is what must be refused")]
        let reversed = 2..1;
        assert!(gemm(&a, &b, reversed, &mut [&mut c, &mut d], no).is_err());
        let b = weights(5, 40, &[1.0; 200]);
        assert!(gemm(&a, &b, 0..2, &mut [&mut c, &mut d], no).is_err());
        assert_eq!((c, d), ([0.0; 40], [0.0; 40]));
    }
}
