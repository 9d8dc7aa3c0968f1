//! `RotaryEmbedding` with the two halves of a head turned against each other (not interleaved).

use crate::arch::{Kernel, Target};
use crate::{Isa, ShapeError};

/// Turns heads at one position: `x` is `[heads, head_dim]`, `cos` and `sin` are the position's
/// `[head_dim / 2]`. Element `i` and element `head_dim / 2 + i` are turned by angle `i`.
///
/// # Errors
/// When `cos` is empty, `sin` is not as long, or `x` is no multiple of twice their length.
pub fn rotary(isa: Isa, x: &mut [f32], cos: &[f32], sin: &[f32]) -> Result<(), ShapeError> {
    let op = "rotary";
    if cos.is_empty() {
        return Err(ShapeError::size(op, "cos", 0));
    }
    ShapeError::length(op, "sin", cos.len(), sin.len())?;
    let head_dim = 2 * cos.len();
    ShapeError::length(op, "x", x.len() / head_dim * head_dim, x.len())?;
    isa.run(Rotary { x, cos, sin });
    Ok(())
}

struct Rotary<'a> {
    x: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Rotary<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        for head in self.x.chunks_exact_mut(2 * self.cos.len()) {
            let (first, second) = head.split_at_mut(self.cos.len());
            let angles = self.cos.iter().zip(self.sin);
            for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(angles) {
                let turned = T::mul_add_f32(*a, *cos, -(*b * *sin));
                *b = T::mul_add_f32(*b, *cos, *a * *sin);
                *a = turned;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random};

    #[test]
    fn agrees_with_f64_at_every_edge() {
        for half in LENGTHS {
            let x = random(1, 3 * 2 * half);
            let angles = random(2, half);
            let cos: Vec<f32> = angles.iter().map(|a| (9.0 * a).cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|a| (9.0 * a).sin()).collect();
            for_each_isa(|isa| {
                let mut out = x.clone();
                rotary(isa, &mut out, &cos, &sin).unwrap();
                for (x, out) in x.chunks(2 * half).zip(out.chunks(2 * half)) {
                    for i in 0..half {
                        let [a, b, cos, sin] = [x[i], x[half + i], cos[i], sin[i]].map(f64::from);
                        let first = f64::from(out[i]) - (a * cos - b * sin);
                        let second = f64::from(out[half + i]) - (b * cos + a * sin);
                        assert!(first.abs() <= 2e-7 && second.abs() <= 2e-7, "{isa}");
                    }
                }
                let mut alone = x[2 * half..4 * half].to_vec();
                rotary(isa, &mut alone, &cos, &sin).unwrap();
                assert_eq!(bits(&alone), bits(&out[2 * half..4 * half]), "{isa}");
            });
        }
    }

    #[test]
    fn position_zero_changes_nothing() {
        for_each_isa(|isa| {
            let x = [0.0, 1e-45, 3e38, -1.5, f32::MIN_POSITIVE, -3e38];
            let mut out = x;
            rotary(isa, &mut out, &[1.0; 3], &[0.0; 3]).unwrap();
            assert_eq!(out, x, "{isa}");
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let isa = Isa::detect();
        assert!(rotary(isa, &mut [1.0; 2], &[], &[]).is_err());
        assert!(rotary(isa, &mut [1.0; 4], &[1.0; 2], &[0.0]).is_err());
        assert!(rotary(isa, &mut [1.0; 6], &[1.0; 2], &[0.0; 2]).is_err());
    }
}
