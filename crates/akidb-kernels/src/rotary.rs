//! What happens to heads before attention: `RMSNormalization`, where the model has it, then
//! `RotaryEmbedding` with the two halves of a head turned against each other (not interleaved).

use crate::arch::{Kernel, Target};
use crate::norm::inverse_rms;
use crate::{Isa, ShapeError};

/// Normalises heads at one position, as [`rms_norm`](crate::rms_norm()) does, and turns them: `x`
/// is `[heads, head_dim]`, `out` as long, `weight` is `[head_dim]`, `cos` and `sin` are the
/// position's `[head_dim / 2]`. Element `i` and element `head_dim / 2 + i` are turned by angle `i`.
///
/// # Errors
/// When `cos` is empty, `sin` is not as long, `weight` is not twice as long, `x` is no multiple of
/// that, or `out` is not as long as `x`.
pub fn norm_rotary(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    [cos, sin]: [&[f32]; 2],
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let op = "norm_rotary";
    if cos.is_empty() {
        return Err(ShapeError::size(op, "cos", 0));
    }
    ShapeError::length(op, "sin", cos.len(), sin.len())?;
    let head_dim = 2 * cos.len();
    ShapeError::length(op, "weight", head_dim, weight.len())?;
    ShapeError::length(op, "x", x.len() / head_dim * head_dim, x.len())?;
    ShapeError::length(op, "out", x.len(), out.len())?;
    isa.run(NormRotary {
        x,
        weight: weight.split_at(cos.len()),
        eps,
        cos,
        sin,
        out,
    });
    Ok(())
}

/// Turns heads as [`norm_rotary`] does, without normalising them.
///
/// # Errors
/// When `cos` is empty, `sin` is not as long, `x` is no multiple of twice that, or `out` is not as
/// long as `x`.
pub fn rotary(
    isa: Isa,
    x: &[f32],
    [cos, sin]: [&[f32]; 2],
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let op = "rotary";
    if cos.is_empty() {
        return Err(ShapeError::size(op, "cos", 0));
    }
    ShapeError::length(op, "sin", cos.len(), sin.len())?;
    let head_dim = 2 * cos.len();
    ShapeError::length(op, "x", x.len() / head_dim * head_dim, x.len())?;
    ShapeError::length(op, "out", x.len(), out.len())?;
    isa.run(Rotary { x, cos, sin, out });
    Ok(())
}

struct NormRotary<'a> {
    x: &'a [f32],
    /// Of both halves.
    weight: (&'a [f32], &'a [f32]),
    eps: f32,
    cos: &'a [f32],
    sin: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for NormRotary<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let half = self.cos.len();
        let heads = self.x.chunks_exact(2 * half);
        for (x, out) in heads.zip(self.out.chunks_exact_mut(2 * half)) {
            let inverse = inverse_rms::<T>(x, self.eps);
            let (first, second) = x.split_at(half);
            let (first_out, second_out) = out.split_at_mut(half);
            let x = first.iter().zip(second);
            let weights = self.weight.0.iter().zip(self.weight.1);
            let angles = self.cos.iter().zip(self.sin);
            let out = first_out.iter_mut().zip(second_out);
            for (((x, weights), (cos, sin)), out) in x.zip(weights).zip(angles).zip(out) {
                let a = *x.0 * inverse * *weights.0;
                let b = *x.1 * inverse * *weights.1;
                (*out.0, *out.1) = turned::<T>(a, b, *cos, *sin);
            }
        }
    }
}

struct Rotary<'a> {
    x: &'a [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Rotary<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let half = self.cos.len();
        let heads = self.x.chunks_exact(2 * half);
        for (x, out) in heads.zip(self.out.chunks_exact_mut(2 * half)) {
            let (first, second) = x.split_at(half);
            let (first_out, second_out) = out.split_at_mut(half);
            let angles = self.cos.iter().zip(self.sin);
            let out = first_out.iter_mut().zip(second_out);
            for (((a, b), (cos, sin)), out) in first.iter().zip(second).zip(angles).zip(out) {
                (*out.0, *out.1) = turned::<T>(*a, *b, *cos, *sin);
            }
        }
    }
}

/// A pair of elements, turned by an angle.
#[inline(always)]
fn turned<T: Target>(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (
        T::mul_add_f32(a, cos, -(b * sin)),
        T::mul_add_f32(b, cos, a * sin),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random};

    #[test]
    fn agrees_with_f64_at_every_edge() {
        for half in LENGTHS {
            let x = random(1, 3 * 2 * half);
            let weight = random(3, 2 * half);
            let angles = random(2, half);
            let cos: Vec<f32> = angles.iter().map(|a| (9.0 * a).cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|a| (9.0 * a).sin()).collect();
            for_each_isa(|isa| {
                let run = |x: &[f32]| {
                    let mut out = vec![0.0; x.len()];
                    norm_rotary(isa, x, &weight, 1e-6, [&cos, &sin], &mut out).unwrap();
                    out
                };
                let out = run(&x);
                for (x, out) in x.chunks(2 * half).zip(out.chunks(2 * half)) {
                    let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
                    let rms = (squares / x.len() as f64 + 1e-6).sqrt();
                    let normal = |i: usize| f64::from(x[i]) / rms * f64::from(weight[i]);
                    for i in 0..half {
                        let (a, b) = (normal(i), normal(half + i));
                        let [cos, sin] = [cos[i], sin[i]].map(f64::from);
                        let first = f64::from(out[i]) - (a * cos - b * sin);
                        let second = f64::from(out[half + i]) - (b * cos + a * sin);
                        let most = 1e-6 * (a.abs() + b.abs());
                        assert!(first.abs() <= most && second.abs() <= most, "{isa}");
                    }
                }
                let alone = run(&x[2 * half..4 * half]);
                assert_eq!(bits(&alone), bits(&out[2 * half..4 * half]), "{isa}");
            });
        }
    }

    #[test]
    fn without_a_norm_heads_are_only_turned() {
        for half in LENGTHS {
            let x = random(6, 3 * 2 * half);
            let angles = random(7, half);
            let cos: Vec<f32> = angles.iter().map(|a| (9.0 * a).cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|a| (9.0 * a).sin()).collect();
            for_each_isa(|isa| {
                let run = |x: &[f32]| {
                    let mut out = vec![0.0; x.len()];
                    rotary(isa, x, [&cos, &sin], &mut out).unwrap();
                    out
                };
                let out = run(&x);
                for (x, out) in x.chunks(2 * half).zip(out.chunks(2 * half)) {
                    for i in 0..half {
                        let [a, b, cos, sin] = [x[i], x[half + i], cos[i], sin[i]].map(f64::from);
                        let first = f64::from(out[i]) - (a * cos - b * sin);
                        let second = f64::from(out[half + i]) - (b * cos + a * sin);
                        let most = 3e-7 * (a.abs() + b.abs());
                        assert!(first.abs() <= most && second.abs() <= most, "{isa}");
                    }
                }
                let alone = run(&x[2 * half..4 * half]);
                assert_eq!(bits(&alone), bits(&out[2 * half..4 * half]), "{isa}");
            });
        }
        let run = |x: usize, cos: usize, sin: usize, out: usize| {
            let (cos, sin) = (vec![1.0; cos], vec![0.0; sin]);
            rotary(
                Isa::detect(),
                &vec![1.0; x],
                [&cos, &sin],
                &mut vec![0.0; out],
            )
        };
        assert!(run(8, 2, 2, 8).is_ok());
        assert!(run(0, 0, 0, 0).is_err());
        assert!(run(4, 2, 1, 4).is_err());
        assert!(run(6, 2, 2, 6).is_err());
        assert!(run(4, 2, 2, 8).is_err());
    }

    #[test]
    fn position_zero_turns_nothing() {
        for_each_isa(|isa| {
            let (x, weight) = (random(4, 6), random(5, 6));
            let mut normal = x.clone();
            crate::rms_norm(isa, &mut normal, &weight, 1e-6).unwrap();
            let mut out = [0.0; 6];
            norm_rotary(isa, &x, &weight, 1e-6, [&[1.0; 3], &[0.0; 3]], &mut out).unwrap();
            assert_eq!(bits(&out), bits(&normal), "{isa}");
        });
    }

    #[test]
    fn squares_that_overflow_make_no_zeros() {
        for_each_isa(|isa| {
            let mut out = [0.0; 6];
            let x = [1.0, 2.0, -1e20, 3.0, 4.0, 5.0];
            norm_rotary(isa, &x, &[1.0; 6], 1e-6, [&[1.0; 3], &[0.0; 3]], &mut out).unwrap();
            assert!(out.iter().all(|x| x.is_nan()), "{isa}");
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let run = |x: usize, weight: usize, cos: usize, sin: usize, out: usize| {
            let (cos, sin) = (vec![1.0; cos], vec![0.0; sin]);
            let (x, weight, mut out) = (vec![1.0; x], vec![1.0; weight], vec![0.0; out]);
            norm_rotary(Isa::detect(), &x, &weight, 1e-6, [&cos, &sin], &mut out)
        };
        assert!(run(8, 4, 2, 2, 8).is_ok());
        assert!(run(2, 0, 0, 0, 2).is_err());
        assert!(run(4, 4, 2, 1, 4).is_err());
        assert!(run(4, 2, 2, 2, 4).is_err());
        assert!(run(6, 4, 2, 2, 6).is_err());
        assert!(run(4, 4, 2, 2, 8).is_err());
    }
}
