//! `RMSNormalization`: x / √(mean(x²) + ε) · weight.

use crate::arch::{Kernel, Target};
use crate::lanes::{LANES, Lanes, load_partial, mul_add, sum};
use crate::{Isa, ShapeError};

/// Normalises rows: `x` is `[rows, weight.len()]`, `out` as long.
///
/// The squares of a row are summed in 4 × 16 lanes, then pairwise: the order depends on the width
/// alone.
///
/// # Errors
/// When `weight` is empty, `x` is no multiple of it, or `out` is not as long as `x`.
pub fn rms_norm(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let op = "rms_norm";
    check(op, x, weight)?;
    ShapeError::length(op, "out", x.len(), out.len())?;
    isa.run(RmsNorm {
        x,
        weight,
        eps,
        out,
    });
    Ok(())
}

/// [`rms_norm`] of `x` over itself.
///
/// # Errors
/// When `weight` is empty, or `x` is no multiple of it.
pub fn rms_norm_in_place(
    isa: Isa,
    x: &mut [f32],
    weight: &[f32],
    eps: f32,
) -> Result<(), ShapeError> {
    check("rms_norm_in_place", x, weight)?;
    isa.run(RmsNormInPlace { x, weight, eps });
    Ok(())
}

fn check(op: &'static str, x: &[f32], weight: &[f32]) -> Result<(), ShapeError> {
    if weight.is_empty() {
        return Err(ShapeError::size(op, "weight", 0));
    }
    let expected = x.len() / weight.len() * weight.len();
    ShapeError::length(op, "x", expected, x.len())
}

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let width = self.weight.len();
        let rows = self.x.chunks_exact(width);
        for (x, out) in rows.zip(self.out.chunks_exact_mut(width)) {
            let inverse = inverse_rms::<T>(x, self.eps);
            for ((out, x), weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = *x * inverse * *weight;
            }
        }
    }
}

struct RmsNormInPlace<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for RmsNormInPlace<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        for x in self.x.chunks_exact_mut(self.weight.len()) {
            let inverse = inverse_rms::<T>(x, self.eps);
            for (x, weight) in x.iter_mut().zip(self.weight) {
                *x = *x * inverse * *weight;
            }
        }
    }
}

#[inline(always)]
fn inverse_rms<T: Target>(x: &[f32], eps: f32) -> f32 {
    let mean = sum_of_squares::<T>(x) / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

#[inline(always)]
fn sum_of_squares<T: Target>(x: &[f32]) -> f32 {
    let mut sums: [Lanes; 4] = [[0.0; LANES]; 4];
    let (groups, rest) = x.as_chunks::<{ 4 * LANES }>();
    for group in groups {
        for v in 0..4 {
            for l in 0..LANES {
                let x = group[v * LANES + l];
                sums[v][l] = T::mul_add_f32(x, x, sums[v][l]);
            }
        }
    }
    for (sums, x) in sums.iter_mut().zip(rest.chunks(LANES)) {
        let x = load_partial(x, 0.0);
        *sums = mul_add::<T>(&x, &x, sums);
    }
    let mut total = [0.0; LANES];
    for l in 0..LANES {
        total[l] = (sums[0][l] + sums[1][l]) + (sums[2][l] + sums[3][l]);
    }
    sum(&total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random};

    fn check(isa: Isa, x: &[f32], weight: &[f32], eps: f32) {
        let mut out = vec![0.0; x.len()];
        rms_norm(isa, x, weight, eps, &mut out).unwrap();
        for (x, out) in x.chunks(weight.len()).zip(out.chunks(weight.len())) {
            let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            let rms = (squares / x.len() as f64 + f64::from(eps)).sqrt();
            for ((x, weight), out) in x.iter().zip(weight).zip(out) {
                let exact = f64::from(*x) / rms * f64::from(*weight);
                let error = (f64::from(*out) - exact).abs();
                assert!(error <= 1e-6 * exact.abs() + 1e-45, "{isa} {out} {exact}");
            }
        }
    }

    #[test]
    fn agrees_with_f64_at_every_edge() {
        for len in LENGTHS {
            let (x, weight) = (random(1, 3 * len), random(2, len));
            for_each_isa(|isa| check(isa, &x, &weight, 1e-6));
        }
    }

    #[test]
    fn edge_values() {
        let weight = random(3, 65);
        for_each_isa(|isa| {
            for value in [0.0, -0.0, 1e-45, 1e-38, 1e-3, 1e18, -1e18] {
                check(isa, &[value; 65], &weight, 1e-6);
            }
            for value in [f32::NAN, f32::INFINITY] {
                let mut x = [1.0; 65];
                x[64] = value;
                rms_norm_in_place(isa, &mut x, &weight, 1e-6).unwrap();
                assert!(x[64].is_nan(), "{isa}");
            }
        });
    }

    #[test]
    fn bits_do_not_depend_on_rows() {
        let (x, weight) = (random(4, 7 * 77), random(5, 77));
        for_each_isa(|isa| {
            let mut all = x.clone();
            rms_norm_in_place(isa, &mut all, &weight, 1e-6).unwrap();
            for (x, all) in x.chunks(77).zip(all.chunks(77)) {
                let mut alone = vec![0.0; 77];
                rms_norm(isa, x, &weight, 1e-6, &mut alone).unwrap();
                assert_eq!(bits(&alone), bits(all), "{isa}");
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let isa = Isa::detect();
        assert!(rms_norm_in_place(isa, &mut [1.0], &[], 1e-6).is_err());
        assert!(rms_norm_in_place(isa, &mut [1.0; 3], &[1.0; 2], 1e-6).is_err());
        assert!(rms_norm(isa, &[1.0; 2], &[1.0; 2], 1e-6, &mut [0.0; 4]).is_err());
    }
}
