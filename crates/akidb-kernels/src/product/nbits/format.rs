//! What the codes of block-quantised weights mean.

use serde::{Deserialize, Serialize};

use crate::lanes::LANES;
use crate::{Precision, ShapeError};

/// How a weight is written down: as a code, whose meaning a block of neighbours along K shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NBitsFormat {
    /// What a code stands for.
    pub codes: NBitsCodes,
    /// Neighbours along K with one scale: 16, or a multiple of 32 up to 65 536. The last block of
    /// a column may be shorter.
    pub block_size: usize,
    /// Whether each block has a zero point of its own instead of the middle one. Costs a little
    /// time and 2 bytes a block.
    pub zero_points: bool,
}

/// What a code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum NBitsCodes {
    /// 4 bits, `(code - zero point) · scale`; without zero points it is 8.
    Int4,
    /// 8 bits, `(code - zero point) · scale`; without zero points it is 128.
    Int8,
    /// 4 bits, `levels[code] · scale`, levels in -1..=1 (anything beyond counts as the nearest of
    /// these). Products use the levels rounded to a multiple of 1/127 or of a step up to twice
    /// that, whichever fits them best. Has no zero points.
    Levels(#[serde(with = "level_bits")] [f32; 16]),
}

impl NBitsCodes {
    /// NF4 of bitsandbytes, `quant_type` 1 of ONNX `MatMulBnb4` (Dettmers et al., "QLoRA", 2023).
    pub const NF4: Self = Self::Levels([
        -1.0,
        -0.696_192_8,
        -0.525_073_05,
        -0.394_917_5,
        -0.284_441_38,
        -0.184_773_43,
        -0.091_050_036,
        0.0,
        0.079_580_3,
        0.160_930_2,
        0.246_112_3,
        0.337_915_24,
        0.440_709_83,
        0.562_617,
        0.722_956_84,
        1.0,
    ]);

    /// FP4 of bitsandbytes, `quant_type` 0 of ONNX `MatMulBnb4`.
    pub const FP4: Self = Self::Levels([
        0.0,
        0.005_208_333_3,
        0.666_666_7,
        1.0,
        0.333_333_33,
        0.5,
        0.166_666_67,
        0.25,
        0.0,
        -0.005_208_333_3,
        -0.666_666_7,
        -1.0,
        -0.333_333_33,
        -0.5,
        -0.166_666_67,
        -0.25,
    ]);

    /// The code of zero without zero points.
    pub(crate) fn middle(&self) -> f32 {
        match self {
            Self::Int4 => 8.0,
            Self::Int8 | Self::Levels(_) => 128.0,
        }
    }

    /// What a difference of 1 between the bytes that the product multiplies with is worth, in
    /// scales.
    pub(crate) fn unit(&self) -> f32 {
        match self {
            Self::Int4 => 1.0 / 16.0,
            Self::Int8 => 1.0,
            Self::Levels(levels) => 1.0 / best_steps(levels),
        }
    }
}

/// Levels by their bits, which any text keeps as they are.
mod level_bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(levels: &[f32; 16], to: S) -> Result<S::Ok, S::Error> {
        levels.map(f32::to_bits).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[f32; 16], D::Error> {
        <[u32; 16]>::deserialize(from).map(|levels| levels.map(f32::from_bits))
    }
}

/// The byte of each level, 128 being zero.
pub(crate) fn level_bytes(levels: &[f32; 16]) -> [u8; 16] {
    let steps = best_steps(levels);
    levels.map(|level| (round(level, steps) + 128.0) as u8)
}

/// A level in steps, as a whole number.
fn round(level: f32, steps: f32) -> f32 {
    (level.clamp(-1.0, 1.0) * steps).round_ties_even()
}

/// In how many steps, 64 to 127, to cut 0 to 1, so that the levels lie next to whole numbers.
fn best_steps(levels: &[f32; 16]) -> f32 {
    let error = |steps: f32| {
        let errors = levels.map(|level| round(level, steps) / steps - level.clamp(-1.0, 1.0));
        errors.iter().map(|error| error * error).sum::<f32>()
    };
    let candidates = (64_u8..=127).rev().map(f32::from);
    let best = candidates.min_by(|a, b| error(*a).total_cmp(&error(*b)));
    best.unwrap_or(127.0)
}

impl NBitsFormat {
    /// Arithmetic of products with such weights.
    pub fn precision(&self) -> Precision {
        match self.codes {
            NBitsCodes::Int8 => Precision::Int8,
            NBitsCodes::Int4 | NBitsCodes::Levels(_) => Precision::Int4,
        }
    }

    /// `Ok` when products know the block size, and zero points mean something.
    pub(crate) fn check(&self, op: &'static str) -> Result<(), ShapeError> {
        let size = self.block_size;
        let known =
            size == LANES || size.is_multiple_of(2 * LANES) && (1..=1 << 16).contains(&size);
        if !known {
            return Err(ShapeError::size(op, "block_size", size));
        }
        if self.zero_points && matches!(self.codes, NBitsCodes::Levels(_)) {
            return Err(ShapeError::size(op, "zero points of levels", 1));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_levels_are_close() {
        for (codes, tolerance) in [(NBitsCodes::NF4, 0.005), (NBitsCodes::FP4, 0.0055)] {
            let NBitsCodes::Levels(levels) = codes else {
                unreachable!()
            };
            for (byte, level) in level_bytes(&levels).into_iter().zip(levels) {
                let rounded = (f32::from(byte) - 128.0) * codes.unit();
                assert!(
                    (rounded - level).abs() < tolerance,
                    "{level} became {rounded}"
                );
            }
        }
    }

    #[test]
    fn levels_that_are_no_numbers_do_no_harm() {
        let bytes = level_bytes(&[f32::NAN; 16]);
        assert!(bytes.iter().all(|byte| *byte == 0 || *byte == 128));
        let bytes = level_bytes(&[1e30; 16]);
        assert!(bytes.iter().all(|byte| *byte > 128));
    }
}
