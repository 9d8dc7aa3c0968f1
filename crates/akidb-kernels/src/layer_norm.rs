//! `LayerNormalization`: (x - mean) / √(variance + ε) · weight + bias.

use crate::arch::{Kernel, Target};
use crate::norm::{inverse_root, sum_over};
use crate::{Isa, ShapeError};

/// Normalises rows in place: `x` is `[rows, weight.len()]`, `bias` as long as `weight`.
///
/// The variance is that of the differences from the mean. Sums run in 4 × 16 lanes, then pairwise:
/// the order depends on the width alone.
///
/// # Errors
/// When `weight` is empty, `bias` has another length, or `x` is no multiple of it.
pub fn layer_norm(
    isa: Isa,
    x: &mut [f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
) -> Result<(), ShapeError> {
    let op = "layer_norm";
    if weight.is_empty() {
        return Err(ShapeError::size(op, "weight", 0));
    }
    if let Some(bias) = bias {
        ShapeError::length(op, "bias", weight.len(), bias.len())?;
    }
    let expected = x.len() / weight.len() * weight.len();
    ShapeError::length(op, "x", expected, x.len())?;
    isa.run(LayerNorm {
        x,
        weight,
        bias,
        eps,
    });
    Ok(())
}

struct LayerNorm<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    eps: f32,
}

impl Kernel for LayerNorm<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let width = self.weight.len();
        for x in self.x.chunks_exact_mut(width) {
            let mean = sum_over(x, 0.0, |x, sum| sum + x) / width as f32;
            let squares = |x: f32, sum| {
                let difference = x - mean;
                T::mul_add_f32(difference, difference, sum)
            };
            let variance = sum_over(x, mean, squares) / width as f32;
            let inverse = inverse_root(variance + self.eps);
            match self.bias {
                Some(bias) => {
                    for ((x, weight), bias) in x.iter_mut().zip(self.weight).zip(bias) {
                        *x = T::mul_add_f32((*x - mean) * inverse, *weight, *bias);
                    }
                }
                None => {
                    for (x, weight) in x.iter_mut().zip(self.weight) {
                        *x = (*x - mean) * inverse * *weight;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random};

    fn check(isa: Isa, x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
        let mut out = x.to_vec();
        layer_norm(isa, &mut out, weight, bias, eps).unwrap();
        let n = weight.len() as f64;
        for (x, out) in x.chunks(weight.len()).zip(out.chunks(weight.len())) {
            let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
            let squares = x.iter().map(|x| (f64::from(*x) - mean).powi(2));
            let deviation = (squares.sum::<f64>() / n + f64::from(eps)).sqrt();
            let largest = x.iter().fold(0.0, |a: f64, x| a.max(f64::from(x.abs())));
            for (i, out) in out.iter().enumerate() {
                let bias = bias.map_or(0.0, |bias| f64::from(bias[i]));
                let exact = (f64::from(x[i]) - mean) / deviation * f64::from(weight[i]) + bias;
                let error = (f64::from(*out) - exact).abs();
                // The mean is off by its rounding.
                let tolerance = 2e-6 * (exact.abs() + bias.abs()) + 4e-7 * largest / deviation;
                assert!(error <= tolerance, "{isa} {out} {exact}");
            }
        }
    }

    #[test]
    fn agrees_with_f64_at_every_edge() {
        for len in LENGTHS {
            let (x, weight, bias) = (random(1, 3 * len), random(2, len), random(3, len));
            for_each_isa(|isa| {
                check(isa, &x, &weight, Some(&bias), 1e-12);
                check(isa, &x, &weight, None, 1e-5);
            });
        }
    }

    #[test]
    fn a_mean_far_from_zero_costs_no_accuracy_of_the_variance() {
        let x: Vec<f32> = random(1, 384).iter().map(|x| 1000.0 + x).collect();
        for_each_isa(|isa| check(isa, &x, &vec![1.0; 384], None, 1e-12));
    }

    #[test]
    fn edge_values() {
        let (weight, bias) = (random(3, 65), random(4, 65));
        for_each_isa(|isa| {
            // All the same: only the bias is left, whatever the width.
            for value in [0.0, 1.0, -1e18] {
                let mut x = [value; 65];
                layer_norm(isa, &mut x, &weight, Some(&bias), 1e-6).unwrap();
                let near = |(x, bias): (&f32, &f32)| (x - bias).abs() < 1e-3 || value == -1e18;
                assert!(x.iter().zip(&bias).all(near), "{isa} {value}");
            }
            for value in [f32::NAN, f32::INFINITY, 1e20] {
                let mut x = [1.0; 65];
                x[64] = value;
                layer_norm(isa, &mut x, &weight, Some(&bias), 1e-6).unwrap();
                assert!(x[64].is_nan(), "{isa}");
            }
        });
    }

    #[test]
    fn bits_do_not_depend_on_rows() {
        let (x, weight, bias) = (random(4, 7 * 77), random(5, 77), random(6, 77));
        for_each_isa(|isa| {
            let mut all = x.clone();
            layer_norm(isa, &mut all, &weight, Some(&bias), 1e-12).unwrap();
            for (x, all) in x.chunks(77).zip(all.chunks(77)) {
                let mut alone = x.to_vec();
                layer_norm(isa, &mut alone, &weight, Some(&bias), 1e-12).unwrap();
                assert_eq!(bits(&alone), bits(all), "{isa}");
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let isa = Isa::detect();
        assert!(layer_norm(isa, &mut [1.0], &[], None, 1e-6).is_err());
        assert!(layer_norm(isa, &mut [1.0; 3], &[1.0; 2], None, 1e-6).is_err());
        assert!(layer_norm(isa, &mut [1.0; 2], &[1.0; 2], Some(&[1.0]), 1e-6).is_err());
    }
}
