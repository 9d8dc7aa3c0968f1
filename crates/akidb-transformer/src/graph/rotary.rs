//! The base of the rotary embedding, from its tables of cosines and sines.

use crate::config::MAX_HEAD_DIM;
use akidb_onnx::Error;
use akidb_onnx::tensor::{DataType, Tensor};

/// `cos_cache` and `sin_cache`: `[positions, head_dim / 2]`, where row p holds the cosine and
/// sine of `p * theta^(-2i / head_dim)`.
#[derive(Debug)]
pub(crate) struct RotaryCache {
    cos: Tensor,
    sin: Tensor,
}

impl RotaryCache {
    /// # Errors
    /// When the tables are not `[positions, head_dim / 2]` both, or too wide to be looked at.
    pub(super) fn new(cos: Tensor, sin: Tensor, head_dim: usize) -> Result<Self, Error> {
        match (cos.dims(), sin.dims()) {
            (&[rows, columns], sin_dims)
                if rows > 0
                    && columns * 2 == head_dim
                    && head_dim <= MAX_HEAD_DIM
                    && sin_dims == [rows, columns] =>
            {
                Ok(Self { cos, sin })
            }
            _ => {
                let why = format!(
                    "shape {:?}, with {:?} of shape {:?} and heads {head_dim} wide",
                    cos.dims(),
                    sin.name(),
                    sin.dims()
                );
                Err(Error::tensor(cos.name(), why))
            }
        }
    }

    /// Number of positions.
    pub(crate) fn positions(&self) -> usize {
        self.cos.dims()[0]
    }

    fn columns(&self) -> usize {
        self.cos.dims()[1]
    }

    /// Cosines and sines of one position.
    fn row(&self, position: usize) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let columns = self.columns();
        let (mut cos, mut sin) = (vec![0.0; columns], vec![0.0; columns]);
        self.cos.read_f32(position * columns, &mut cos)?;
        self.sin.read_f32(position * columns, &mut sin)?;
        Ok((cos, sin))
    }

    /// True when the tables are those of base `theta`, looked at in a few rows.
    pub(crate) fn has_base(&self, theta: f64) -> Result<bool, Error> {
        let last = self.positions() - 1;
        let powers = (0..usize::BITS).map(|shift| 1 << shift);
        for position in [0, 3]
            .into_iter()
            .chain(powers)
            .filter(|&p| p < last)
            .chain([last])
        {
            // Tables are made in f32: the angle has an error that grows with the position.
            let tolerance = rounding(self.cos.dtype()) + 3e-7 * position as f64;
            let (cos, sin) = self.row(position)?;
            for (i, (&cos, &sin)) in cos.iter().zip(&sin).enumerate() {
                let angle = position as f64 * self.frequency(theta, i);
                let error = (angle.cos() - f64::from(cos)).abs();
                let error = error.max((angle.sin() - f64::from(sin)).abs());
                if error.is_nan() || error > tolerance {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The base with the fewest digits that the tables fit, if any.
    pub(crate) fn base(&self) -> Result<Option<f64>, Error> {
        // Half-way along the columns the frequency is about theta^(-1/2): neither so near to 1
        // that theta drowns in rounding, nor so small that a half float can't hold its sine.
        let column = self.columns() / 2;
        if column == 0 || self.positions() < 2 {
            return Ok(None);
        }
        let (cos, sin) = self.row(1)?;
        let frequency = f64::from(sin[column]).atan2(f64::from(cos[column]));
        let estimate = frequency.powf(-(self.columns() as f64) / column as f64);
        if !(estimate.is_finite() && estimate > 1.0) {
            return Ok(None);
        }
        for digits in 1..=7 {
            let theta = round_to(estimate, digits);
            if self.has_base(theta)? {
                return Ok(Some(theta));
            }
        }
        Ok(None)
    }

    fn frequency(&self, theta: f64, column: usize) -> f64 {
        theta.powf(-(column as f64) / self.columns() as f64)
    }
}

/// Largest rounding error of a number between -1 and 1, and the f32 cosine's own.
fn rounding(dtype: DataType) -> f64 {
    match dtype {
        DataType::F16 => 3e-4,
        DataType::BF16 => 2.2e-3,
        _ => 1e-6,
    }
}

fn round_to(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(value.log10().floor() as i32 + 1 - digits);
    (value / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn cache(dtype: DataType, rows: usize, columns: usize, theta: f32) -> RotaryCache {
        let table = |name: &str, f: fn(f32) -> f32| {
            let mut data = Vec::new();
            for position in 0..rows {
                for i in 0..columns {
                    // As torch makes them: in f32 throughout.
                    let inverse = 1.0 / theta.powf((2 * i) as f32 / (2 * columns) as f32);
                    let value = f(position as f32 * inverse);
                    match dtype {
                        DataType::F16 => data.extend(f16::from_f32(value).to_le_bytes()),
                        DataType::BF16 => data.extend(bf16::from_f32(value).to_le_bytes()),
                        _ => data.extend(value.to_le_bytes()),
                    }
                }
            }
            Tensor::new(name, dtype, vec![rows, columns], data.into()).unwrap()
        };
        RotaryCache::new(table("cos", f32::cos), table("sin", f32::sin), 2 * columns).unwrap()
    }

    #[test]
    fn the_base_is_found_whatever_the_precision() {
        for dtype in [DataType::F32, DataType::F16, DataType::BF16] {
            for (rows, columns, theta) in [
                (40960, 64, 1e6),
                (2048, 32, 1e6),
                (64, 8, 1e4),
                (512, 64, 5e5),
                (2, 4, 1e4),
            ] {
                let cache = cache(dtype, rows, columns, theta);
                let base = cache.base().unwrap();
                assert_eq!(base, Some(f64::from(theta)), "{dtype} {rows} {columns}");
            }
        }
        assert_eq!(
            cache(DataType::F32, 4096, 64, 123_400.0).base().unwrap(),
            Some(123_400.0)
        );
    }

    #[test]
    fn another_base_is_told_apart() {
        for dtype in [DataType::F32, DataType::F16] {
            let cache = cache(dtype, 2048, 32, 1e6);
            assert!(cache.has_base(1e6).unwrap());
            assert!(!cache.has_base(1e4).unwrap());
            assert!(!cache.has_base(1.01e6).unwrap());
            assert!(!cache.has_base(f64::NAN).unwrap());
        }
    }

    #[test]
    fn scaled_frequencies_have_no_base() {
        let whole = cache(DataType::F32, 512, 16, 1e4);
        let rows = |t: &Tensor| {
            // Every second position only: frequencies doubled, as position interpolation does.
            let values = t.to_f32_vec().unwrap();
            let kept: Vec<u8> = values
                .chunks(16)
                .step_by(2)
                .flatten()
                .flat_map(|v| v.to_le_bytes())
                .collect();
            Tensor::new("t", DataType::F32, vec![256, 16], kept.into()).unwrap()
        };
        let scaled = RotaryCache::new(rows(&whole.cos), rows(&whole.sin), 32).unwrap();
        assert_eq!(scaled.base().unwrap(), None);
    }

    #[test]
    fn one_column_says_nothing_of_the_base() {
        let cache = cache(DataType::F32, 16, 1, 1e4);
        assert_eq!(cache.base().unwrap(), None);
        assert!(cache.has_base(1e4).unwrap());
    }

    #[test]
    fn tables_of_other_shapes_are_refused() {
        let table = |dims: &[usize]| {
            let len = 4 * dims.iter().product::<usize>();
            Tensor::new("t", DataType::F32, dims.to_vec(), vec![0; len].into()).unwrap()
        };
        RotaryCache::new(table(&[4, 8]), table(&[4, 8]), 16).unwrap();
        for (cos, sin, head_dim) in [
            (&[4, 8][..], &[4, 8][..], 8),
            (&[4, 8], &[5, 8], 16),
            (&[4, 8], &[32], 16),
            (&[32], &[32], 16),
            (&[0, 8], &[0, 8], 16),
        ] {
            RotaryCache::new(table(cos), table(sin), head_dim).unwrap_err();
        }
    }
}
