//! Weights in f32 made into codes of 4 bits.

use crate::arch::{Kernel, Target};
use crate::lanes::{LANES, Lanes, load_partial, sum};
use crate::product::nbits::format::{NBitsCodes, NBitsFormat};
use crate::product::quantized::steps::{extreme, round};
use crate::{Isa, ShapeError};

/// How many steps the largest magnitude of a block is away from zero, positive or negative: the
/// steps that are tried. Codes reach from -8 to 7, so more than 8 means that it is cut off.
const STEPS: [f32; 14] = [
    -8.0, 7.0, -7.5, 7.5, -7.0, 8.0, -8.5, 8.5, -9.0, 9.0, -9.5, 9.5, -10.0, 10.0,
];

/// Quantises a column of weights to [`NBitsCodes::Int4`]: `x` is about `(code - 8) · scale`, with
/// a scale for each block of `block_size`.
///
/// A block's scale is the one of several with the least squared error, fitted to its codes by
/// least squares: on normally distributed weights in blocks of 32 the error is 5 % smaller than
/// with the largest magnitude divided by -8. A block with a value that is not finite gets the
/// scale NaN.
///
/// ```
/// use akidb_kernels::{Isa, quantize_int4};
///
/// let x = [-0.5, 1.0, 2.0, -4.0];
/// let (mut codes, mut scales) = ([0; 4], [0.0]);
/// quantize_int4(Isa::detect(), &x, 32, &mut codes, &mut scales)?;
/// assert_eq!((codes, scales), ([7, 10, 12, 0], [0.5]));
/// # Ok::<(), akidb_kernels::ShapeError>(())
/// ```
///
/// # Errors
/// When the block size is none of [`NBitsFormat`], `codes` is not as long as `x`, or `scales` not
/// as long as `x` has blocks.
pub fn quantize_int4(
    isa: Isa,
    x: &[f32],
    block_size: usize,
    codes: &mut [u8],
    scales: &mut [f32],
) -> Result<(), ShapeError> {
    let op = "quantize_int4";
    let format = NBitsFormat {
        codes: NBitsCodes::Int4,
        block_size,
        zero_points: false,
    };
    format.check(op)?;
    ShapeError::length(op, "codes", x.len(), codes.len())?;
    ShapeError::length(op, "scales", x.len().div_ceil(block_size), scales.len())?;
    isa.run(QuantizeInt4 {
        x,
        block_size,
        codes,
        scales,
    });
    Ok(())
}

struct QuantizeInt4<'a> {
    x: &'a [f32],
    block_size: usize,
    codes: &'a mut [u8],
    scales: &'a mut [f32],
}

impl Kernel for QuantizeInt4<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let blocks = self.x.chunks(self.block_size);
        let codes = self.codes.chunks_mut(self.block_size);
        for ((x, codes), scale) in blocks.zip(codes).zip(self.scales) {
            *scale = block::<T>(x, codes);
        }
    }
}

/// Writes the codes of a block and gives its scale.
#[inline(always)]
fn block<T: Target>(x: &[f32], codes: &mut [u8]) -> f32 {
    let extreme = match extreme(x) {
        Ok(extreme) => extreme,
        Err(scale) => {
            codes.fill(8);
            return scale;
        }
    };
    let mut best = Fit::default();
    for steps in STEPS {
        let fit = Fit::new::<T>(x, extreme, steps);
        if fit.gain > best.gain {
            best = fit;
        }
    }
    let (full, rest) = x.as_chunks::<LANES>();
    let mut codes = codes.chunks_mut(LANES);
    for (x, codes) in full.iter().zip(&mut codes) {
        write(&nearest(x, best.inverse), codes);
    }
    if let Some(codes) = codes.next() {
        write(&nearest(&load_partial(rest, 0.0), best.inverse), codes);
    }
    best.scale
}

/// A block rounded to -8..=7 times a scale.
#[derive(Clone, Copy, Default)]
struct Fit {
    /// What a value is multiplied with before it is rounded.
    inverse: f32,
    /// The scale with the least squared error for these codes.
    scale: f32,
    /// Σ x² less the squared error with that scale, in squares of the extreme.
    gain: f32,
}

impl Fit {
    #[inline(always)]
    fn new<T: Target>(x: &[f32], extreme: f32, steps: f32) -> Self {
        let inverse = steps / extreme;
        let (mut xq, mut qq) = ([0.0; LANES], [0.0; LANES]);
        let (full, rest) = x.as_chunks::<LANES>();
        for x in full {
            Self::add::<T>(x, inverse, &mut xq, &mut qq);
        }
        if !rest.is_empty() {
            Self::add::<T>(&load_partial(rest, 0.0), inverse, &mut xq, &mut qq);
        }
        let (xq, qq) = (sum(&xq), sum(&qq));
        Self {
            inverse,
            scale: xq / qq * (extreme / steps),
            gain: xq / qq * xq / (steps * steps),
        }
    }

    /// Adds x · inverse · code and code², codes counting from -8.
    #[inline(always)]
    fn add<T: Target>(x: &Lanes, inverse: f32, xq: &mut Lanes, qq: &mut Lanes) {
        let q = nearest(x, inverse);
        let mut scaled = *x;
        for scaled in &mut scaled {
            *scaled *= inverse;
        }
        *xq = T::mul_add_lanes(&scaled, &q, xq);
        *qq = T::mul_add_lanes(&q, &q, qq);
    }
}

/// `x · inverse` rounded to -8..=7.
#[inline(always)]
fn nearest(x: &Lanes, inverse: f32) -> Lanes {
    let mut q = *x;
    for q in &mut q {
        *q = round((*q * inverse).clamp(-8.0, 7.0));
    }
    q
}

/// Writes codes that count from -8.
#[inline(always)]
fn write(q: &Lanes, codes: &mut [u8]) {
    let mut bytes = [0; LANES];
    for (byte, q) in bytes.iter_mut().zip(q) {
        *byte = (*q as i32 + 8) as u8;
    }
    for (code, byte) in codes.iter_mut().zip(bytes) {
        *code = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, for_each_isa, random};

    /// Numbers that are about normally distributed.
    fn normal(seed: u64, len: usize) -> Vec<f32> {
        let uniform = random(seed, 12 * len);
        uniform
            .chunks(12)
            .map(|x| x.iter().sum::<f32>() / 2.0)
            .collect()
    }

    fn int4(isa: Isa, x: &[f32], block_size: usize) -> (Vec<u8>, Vec<f32>) {
        let mut codes = vec![99; x.len()];
        let mut scales = vec![99.0; x.len().div_ceil(block_size)];
        quantize_int4(isa, x, block_size, &mut codes, &mut scales).unwrap();
        (codes, scales)
    }

    /// Σ (x - (code - 8) · scale)².
    fn error(x: &[f32], codes: &[u8], scale: f32) -> f64 {
        let errors = x.iter().zip(codes);
        let errors = errors.map(|(x, code)| f64::from(x - (f32::from(*code) - 8.0) * scale));
        errors.map(|error| error * error).sum()
    }

    /// Codes for a scale.
    fn codes(x: &[f32], scale: f32) -> Vec<u8> {
        let code = |x: &f32| ((x / scale).round() + 8.0).clamp(0.0, 15.0) as u8;
        x.iter().map(code).collect()
    }

    #[test]
    fn no_scale_that_is_tried_fits_better() {
        for block_size in [16, 32, 64, 256] {
            for len in LENGTHS {
                let x = normal(len as u64, len);
                for_each_isa(|isa| {
                    let (found, scales) = int4(isa, &x, block_size);
                    assert!(found.iter().all(|code| *code < 16));
                    let blocks = x.chunks(block_size).zip(found.chunks(block_size));
                    for ((x, found), scale) in blocks.zip(scales) {
                        let least = error(x, found, scale);
                        let extreme = x
                            .iter()
                            .fold(0.0, |m: f32, x| if x.abs() > m.abs() { *x } else { m });
                        for steps in STEPS {
                            let scale = extreme / steps;
                            let tried = error(x, &codes(x, scale), scale);
                            assert!(least <= tried * 1.0001 + 1e-9, "{isa} {least} {tried}");
                        }
                    }
                });
            }
        }
    }

    #[test]
    fn normal_weights_lose_less_than_with_the_largest_magnitude_alone() {
        let x = normal(1, 32 * 1000);
        let (found, scales) = int4(Isa::detect(), &x, 32);
        let (mut ours, mut plain) = (0.0, 0.0);
        for ((x, found), scale) in x.chunks(32).zip(found.chunks(32)).zip(scales) {
            ours += error(x, found, scale);
            let extreme = x
                .iter()
                .fold(0.0, |m: f32, x| if x.abs() > m.abs() { *x } else { m });
            plain += error(x, &codes(x, extreme / -8.0), extreme / -8.0);
        }
        let gain = 1.0 - (ours / plain).sqrt();
        assert!((0.05..0.2).contains(&gain), "{gain}");
    }

    #[test]
    fn tiers_agree_on_most_codes() {
        let x = normal(2, 4096);
        let portable = Isa::new(crate::Tier::Portable).unwrap();
        let (expected, _) = int4(portable, &x, 32);
        for_each_isa(|isa| {
            let (found, _) = int4(isa, &x, 32);
            let other = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert!(other < 64, "{isa}: {other}");
        });
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            for zero in [0.0, -0.0, 1e-45, -1e-37] {
                assert_eq!(
                    int4(isa, &[zero; 20], 16),
                    (vec![8; 20], vec![0.0; 2]),
                    "{isa}"
                );
            }
            for large in [1e-35, 1.0, 1e18, 3e38] {
                let (codes, scales) = int4(isa, &[large, -large], 16);
                assert_eq!(codes, [15, 1], "{isa}");
                assert!(
                    (scales[0] * 7.0 / large - 1.0).abs() < 1e-6,
                    "{isa} {large} {scales:?}"
                );
            }
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (codes, scales) = int4(isa, &[value, 1.0], 16);
                assert_eq!(codes, [8; 2]);
                assert!(scales[0].is_nan(), "{isa}");
            }
            assert_eq!(int4(isa, &[], 16), (vec![], vec![]));
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let isa = Isa::detect();
        let x = [1.0; 33];
        let mut codes = [0; 33];
        assert!(quantize_int4(isa, &x, 32, &mut codes, &mut [0.0]).is_err());
        assert!(quantize_int4(isa, &x, 32, &mut codes[1..], &mut [0.0; 2]).is_err());
        assert!(quantize_int4(isa, &x, 0, &mut codes, &mut [0.0; 2]).is_err());
        assert!(quantize_int4(isa, &x, 20, &mut codes, &mut [0.0; 2]).is_err());
        assert!(quantize_int4(isa, &x, 32, &mut codes, &mut [0.0; 2]).is_ok());
    }
}
