//! Weights in f32 made into bytes.

use crate::arch::{Kernel, Target};
use crate::product::quantized::steps::{extreme, round};
use crate::{Isa, ShapeError};

/// Quantises a column of weights to signed bytes ([`Int8Type::I8`](crate::Int8Type::I8)): `x` is
/// about `byte · scale` with the scale that is returned, max|x| / 127. It is NaN when a value is
/// not finite.
///
/// # Errors
/// When `codes` is not as long as `x`.
pub fn quantize_int8(isa: Isa, x: &[f32], codes: &mut [u8]) -> Result<f32, ShapeError> {
    ShapeError::length("quantize_int8", "codes", x.len(), codes.len())?;
    let mut scale = 0.0;
    isa.run(QuantizeInt8 {
        x,
        codes,
        scale: &mut scale,
    });
    Ok(scale)
}

struct QuantizeInt8<'a> {
    x: &'a [f32],
    codes: &'a mut [u8],
    scale: &'a mut f32,
}

impl Kernel for QuantizeInt8<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let inverse;
        (*self.scale, inverse) = match extreme(self.x) {
            Ok(extreme) => (extreme.abs() / 127.0, 127.0 / extreme.abs()),
            Err(scale) => {
                self.codes.fill(0);
                *self.scale = scale;
                return;
            }
        };
        for (code, x) in self.codes.iter_mut().zip(self.x) {
            *code = round(x * inverse) as i32 as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, for_each_isa, random};

    #[test]
    fn bytes_are_the_nearest() {
        for len in LENGTHS {
            let x = random(len as u64, len);
            for_each_isa(|isa| {
                let mut codes = vec![0; len];
                let scale = quantize_int8(isa, &x, &mut codes).unwrap();
                for (x, code) in x.iter().zip(codes) {
                    let error = x - f32::from(code as i8) * scale;
                    assert!(error.abs() <= scale * 0.5001, "{isa} {x}");
                }
            });
        }
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            for large in [1e-35, 1.0, 1e18, 3e38] {
                let mut bytes = [0; 2];
                let scale = quantize_int8(isa, &[large, -large / 4.0], &mut bytes).unwrap();
                assert_eq!((bytes[0], bytes[1] as i8, scale), (127, -32, large / 127.0));
            }
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut bytes = [9; 2];
                let scale = quantize_int8(isa, &[1.0, value], &mut bytes).unwrap();
                assert!(scale.is_nan(), "{isa}");
                assert_eq!(bytes, [0; 2]);
            }
            assert!(quantize_int8(isa, &[1.0; 33], &mut [0; 32]).is_err());
        });
    }
}
