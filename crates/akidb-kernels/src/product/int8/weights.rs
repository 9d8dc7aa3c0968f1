//! 8-bit weights in the order in which the product reads them.

use bytemuck::{Pod, Zeroable};
use bytes::Bytes;

use crate::ShapeError;
use crate::arch::{Operands, Target};
use crate::lanes::LANES;
use crate::product::panels::Panels;
use crate::product::quantized::high_digits::{DIGIT, MAX_OUTLIERS};
use crate::product::storage::Storage;
use crate::product::weight_type::WeightType;

/// Largest K: 255 · 127 · K, with an outlier counting for 256 others, fits into the i32 that a
/// product is summed in.
const MAX_K: usize = (i32::MAX / (255 * 127)) as usize - DIGIT as usize * MAX_OUTLIERS;

/// How the bytes of 8-bit weights and zero points count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int8Type {
    /// -128 to 127 (ONNX `INT8`).
    I8,
    /// 0 to 255 (ONNX `UINT8`).
    U8,
}

impl Int8Type {
    /// What makes a byte unsigned: i8 + 128 is i8 with its sign bit turned.
    fn flip(self) -> u8 {
        match self {
            Self::I8 => 0x80,
            Self::U8 => 0,
        }
    }
}

/// A matrix `B[K, N]` of 8-bit weights `(byte - zero point) · scale`, a scale and a zero point for
/// each column, cut into panels of [`NR`](crate::NR) columns, each `[K / 4][2][16 columns · 4 along K]` and
/// contiguous.
#[derive(Debug)]
pub struct PackedInt8 {
    /// Unsigned.
    weights: Panels<Int8>,
    flip: u8,
    /// A [`Quantization`] of each 16 columns, filled up to whole panels.
    quantization: Storage,
}

/// What the weights of 16 columns mean.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Quantization {
    pub(crate) scales: [f32; LANES],
    /// Of unsigned weights.
    pub(crate) zero_points: [i32; LANES],
}

impl PackedInt8 {
    /// A matrix of zeros with `k` rows and `n` columns, every scale 1 and every zero point 0.
    ///
    /// # Errors
    /// When a size is zero, `k` is above 62 215 (a sum could overflow), or the matrix can't be
    /// allocated.
    pub fn zeros(k: usize, n: usize, int8_type: Int8Type) -> Result<Self, ShapeError> {
        let op = "PackedInt8::zeros";
        ShapeError::range(op, "k", k, MAX_K)?;
        let flip = int8_type.flip();
        let weights = Panels::new(op, k, n, [flip; 4 * LANES])?;
        let neutral = Quantization {
            scales: [1.0; LANES],
            zero_points: [i32::from(flip); LANES],
        };
        let quantization = Storage::filled(neutral, 2 * weights.count());
        Ok(Self {
            weights,
            flip,
            quantization: quantization.ok_or(ShapeError::size(op, "n", n))?,
        })
    }

    /// Weights, and scales with zero points, as they lie in memory.
    pub(super) fn as_bytes(&self) -> [&[u8]; 2] {
        [self.weights.as_bytes(), self.quantization.as_bytes()]
    }

    /// What [`Self::as_bytes`] gave for a matrix of the same sizes.
    pub(super) fn from_bytes(
        k: usize,
        n: usize,
        [weights, quantization]: [Bytes; 2],
    ) -> Result<Self, ShapeError> {
        let op = "PackedInt8::from_bytes";
        ShapeError::range(op, "k", k, MAX_K)?;
        let weights = Panels::from_bytes(op, k, n, weights)?;
        let len = 2 * weights.count();
        let quantization = Storage::shared::<Quantization>(op, "scales", quantization, len)?;
        Ok(Self {
            weights,
            // The type says how bytes are written, and these are.
            flip: Int8Type::U8.flip(),
            quantization,
        })
    }

    pub(crate) fn weights(&self) -> &Panels<Int8> {
        &self.weights
    }

    /// What the weights of a panel mean.
    pub(crate) fn quantization(&self, panel: usize) -> Option<&[Quantization; 2]> {
        self.quantization.as_slice().get(panel)
    }

    /// Writes scale and zero point of the columns from `n0` on, one of each a column. Zero points
    /// are bytes of the same type as the weights.
    ///
    /// # Errors
    /// When there are more scales than zero points, or fewer, or they don't fit.
    pub fn write_quantization(
        &mut self,
        n0: usize,
        scales: &[f32],
        zero_points: &[u8],
    ) -> Result<(), ShapeError> {
        let op = "PackedInt8::write_quantization";
        ShapeError::length(op, "zero points", scales.len(), zero_points.len())?;
        ShapeError::range(
            op,
            "columns",
            n0.saturating_add(scales.len()),
            self.weights.shape()[1],
        )?;
        let flip = self.flip;
        let targets = self.quantization.as_mut_slice::<Quantization>();
        let targets = targets.ok_or(ShapeError::Shared { op })?;
        for ((n, scale), zero_point) in (n0..).zip(scales).zip(zero_points) {
            let target = &mut targets[n / LANES];
            target.scales[n % LANES] = *scale;
            target.zero_points[n % LANES] = i32::from(zero_point ^ flip);
        }
        Ok(())
    }

    /// Writes the rows from `k0` on at the columns from `n0` on. `rows` is `[any, width]` bytes,
    /// row-major (ONNX `MatMulInteger`).
    ///
    /// # Errors
    /// When `rows` is no multiple of `width`, or doesn't fit.
    pub fn write_kn(
        &mut self,
        k0: usize,
        n0: usize,
        width: usize,
        rows: &[u8],
    ) -> Result<(), ShapeError> {
        let (op, flip) = ("PackedInt8::write_kn", self.flip);
        self.weights
            .write_kn(op, (k0, n0), width, rows, |byte: u8| byte ^ flip)
    }

    /// Writes the columns from `n0` on. `columns` is `[any, k]` bytes: all weights of one output,
    /// then of the next (PyTorch `nn.Linear`).
    ///
    /// # Errors
    /// When `columns` is no multiple of `k`, or doesn't fit.
    pub fn write_nk(&mut self, n0: usize, columns: &[u8]) -> Result<(), ShapeError> {
        let (op, flip) = ("PackedInt8::write_nk", self.flip);
        self.weights
            .write_nk(op, n0, columns, |byte: u8| byte ^ flip)
    }
}

/// Unsigned 8-bit weights, 128 less where [`Int8Target::SHIFTED`](crate::arch::Int8Target::SHIFTED),
/// with signed 8-bit rows, summed in i32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Int8;

impl WeightType for Int8 {
    type Element = u8;
    const STEP: usize = 4;
    const OPERANDS: Operands = Operands::Int8;
    type Vector = [u8; 4 * LANES];
    type Loaded<T: Target> = T::Weights;
    type Sums<T: Target> = T::Sums;
    type Sum = i32;

    #[inline(always)]
    fn zero<T: Target>(target: T) -> T::Sums {
        target.zero_sums()
    }

    #[inline(always)]
    fn load<T: Target>(target: T, vector: &[u8; 4 * LANES], part: usize) -> T::Weights {
        target.load_part(vector, part)
    }

    #[inline(always)]
    fn dot<T: Target>(target: T, weights: T::Weights, word: i32, sums: T::Sums) -> T::Sums {
        target.dot_part(weights, word, sums)
    }

    #[inline(always)]
    fn store<T: Target>(target: T, sums: T::Sums) -> [i32; LANES] {
        target.store_sums(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NR;

    #[test]
    fn bytes_become_unsigned_and_columns_keep_their_quantization() {
        for (int8_type, flip) in [(Int8Type::I8, 0x80), (Int8Type::U8, 0)] {
            let mut b = PackedInt8::zeros(3, 50, int8_type).unwrap();
            b.write_kn(0, 0, 20, &[1; 60]).unwrap();
            b.write_nk(20, &[0xfe; 90]).unwrap();
            b.write_quantization(20, &[0.5; 30], &[0x81; 30]).unwrap();
            for n in 0..64 {
                let word = &b.weights().panel(n / NR)[0].as_flattened()[n % NR * 4..][..4];
                let quantization = &b.quantization(n / NR).unwrap()[n % NR / LANES];
                let scale = quantization.scales[n % LANES];
                let zero_point = quantization.zero_points[n % LANES];
                let (byte, expected_scale, expected_zero_point) = match n {
                    0..20 => (1, 1.0, 0),
                    20..50 => (0xfe, 0.5, 0x81),
                    _ => (0, 1.0, 0),
                };
                let byte = byte ^ flip;
                assert_eq!(word, [byte, byte, byte, flip], "{n}");
                let expected = (expected_scale, i32::from(expected_zero_point ^ flip));
                assert_eq!((scale, zero_point), expected, "{n}");
            }
            assert_eq!((b.weights().shape(), b.weights().count()), ([3, 50], 2));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let zeros = |k, n| PackedInt8::zeros(k, n, Int8Type::I8);
        assert!(zeros(0, 1).is_err());
        assert!(zeros(1, 0).is_err());
        assert!(zeros(MAX_K, 1).is_ok());
        assert!(zeros(MAX_K + 1, 1).is_err());
        assert!(zeros(1, usize::MAX).is_err());
        assert!(zeros(1 << 16, 1 << 50).is_err());
        let mut b = zeros(4, 40).unwrap();
        assert!(b.write_quantization(0, &[1.0; 2], &[0]).is_err());
        assert!(b.write_quantization(39, &[1.0; 2], &[0; 2]).is_err());
        assert!(b.write_quantization(usize::MAX, &[1.0], &[0]).is_err());
    }
}
