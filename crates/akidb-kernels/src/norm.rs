//! `RMSNormalization`: x / √(mean(x²) + ε) · weight.

use crate::arch::{Kernel, Target};
use crate::lanes::{LANES, Lanes, load_partial, sum};
use crate::{Isa, ShapeError};

/// Normalises rows in place: `x` is `[rows, weight.len()]`.
///
/// The squares of a row are summed in 4 × 16 lanes, then pairwise: the order depends on the width
/// alone.
///
/// # Errors
/// When `weight` is empty, or `x` is no multiple of it.
pub fn rms_norm(isa: Isa, x: &mut [f32], weight: &[f32], eps: f32) -> Result<(), ShapeError> {
    let op = "rms_norm";
    if weight.is_empty() {
        return Err(ShapeError::size(op, "weight", 0));
    }
    let expected = x.len() / weight.len() * weight.len();
    ShapeError::length(op, "x", expected, x.len())?;
    isa.run(RmsNorm { x, weight, eps });
    Ok(())
}

struct RmsNorm<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for RmsNorm<'_> {
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

/// 1 / √(mean(x²) + ε).
#[inline(always)]
pub(crate) fn inverse_rms<T: Target>(x: &[f32], eps: f32) -> f32 {
    let squares = sum_over(x, 0.0, |x, sum| T::mul_add_f32(x, x, sum));
    inverse_root(squares / x.len() as f32 + eps)
}

/// 1 / √x; NaN where x has overflowed, as 1 / ∞ would make zeros of a row.
#[inline(always)]
pub(crate) fn inverse_root(x: f32) -> f32 {
    let inverse = 1.0 / x.sqrt();
    if inverse == 0.0 { f32::NAN } else { inverse }
}

/// `add` over a row, from zero on, in 4 × 16 lanes, then pairwise. What fills up the last vector is
/// `fill`, of which `add` must make nothing.
#[inline(always)]
pub(crate) fn sum_over(x: &[f32], fill: f32, add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums: [Lanes; 4] = [[0.0; LANES]; 4];
    let (groups, rest) = x.as_chunks::<{ 4 * LANES }>();
    for group in groups {
        for v in 0..4 {
            for l in 0..LANES {
                sums[v][l] = add(group[v * LANES + l], sums[v][l]);
            }
        }
    }
    for (sums, x) in sums.iter_mut().zip(rest.chunks(LANES)) {
        let x = load_partial(x, fill);
        for l in 0..LANES {
            sums[l] = add(x[l], sums[l]);
        }
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
        let mut out = x.to_vec();
        rms_norm(isa, &mut out, weight, eps).unwrap();
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
                rms_norm(isa, &mut x, &weight, 1e-6).unwrap();
                assert!(x[64].is_nan(), "{isa}");
            }
        });
    }

    #[test]
    fn squares_that_overflow_make_no_zeros() {
        for len in [1, 65, 200] {
            for_each_isa(|isa| {
                let mut x = vec![1.0; 2 * len];
                x[len - 1] = 1e20;
                rms_norm(isa, &mut x, &vec![1.0; len], 1e-6).unwrap();
                let (overflows, sound) = x.split_at(len);
                assert!(overflows.iter().all(|x| x.is_nan()), "{isa}");
                assert!(sound.iter().all(|x| (x - 1.0).abs() < 1e-5), "{isa}");
            });
        }
    }

    #[test]
    fn bits_do_not_depend_on_rows() {
        let (x, weight) = (random(4, 7 * 77), random(5, 77));
        for_each_isa(|isa| {
            let mut all = x.clone();
            rms_norm(isa, &mut all, &weight, 1e-6).unwrap();
            for (x, all) in x.chunks(77).zip(all.chunks(77)) {
                let mut alone = x.to_vec();
                rms_norm(isa, &mut alone, &weight, 1e-6).unwrap();
                assert_eq!(bits(&alone), bits(all), "{isa}");
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let isa = Isa::detect();
        assert!(rms_norm(isa, &mut [1.0], &[], 1e-6).is_err());
        assert!(rms_norm(isa, &mut [1.0; 3], &[1.0; 2], 1e-6).is_err());
    }
}
