//! Smaller forms of a vector.

use akidb_backend::choice;
use half::f16;

/// Element type of the vectors in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// 4 bytes a value.
    #[default]
    F32,
    /// 2 bytes a value, IEEE half precision.
    F16,
    /// 1 byte a value and one scale a vector: the largest magnitude becomes ±127.
    I8,
    /// 1 bit a value: 1 where it is positive.
    Binary,
}

choice!(Encoding, "encoding",
    F32 = "f32": "",
    F16 = "f16": "",
    I8 = "int8": "One signed byte a value; the largest magnitude becomes 127",
    Binary = "binary": "One sign bit a value, eight to a byte",
);

/// The numbers of one vector.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// As computed.
    F32(Vec<f32>),
    /// Rounded to nearest, ties to even.
    F16(Vec<f16>),
    /// `value ≈ code * scale`.
    I8 {
        /// Codes in -127..=127, rounded to nearest, ties to even.
        codes: Vec<i8>,
        /// What one step of a code is worth.
        scale: f32,
    },
    /// Sign bits, eight to a byte, the first value in the highest bit (as numpy's `packbits`),
    /// the last byte filled up with zeros.
    Binary(Vec<u8>),
}

impl Values {
    /// The f32 values, if that is what they are.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match self {
            Self::F32(values) => Some(values),
            _ => None,
        }
    }

    /// The first `dimension` numbers as whoever reads the encoding has them: a sign bit is 1 or −1.
    ///
    /// ```
    /// use akidb_embedding::{Encoding, encode};
    ///
    /// let signs = encode(vec![0.6, -0.8], Encoding::Binary).map(|values| values.decode(2));
    /// assert_eq!(signs, Some(vec![1.0, -1.0]));
    /// ```
    pub fn decode(self, dimension: usize) -> Vec<f32> {
        let mut values = match self {
            Self::F32(values) => values,
            Self::F16(values) => values.into_iter().map(f16::to_f32).collect(),
            Self::I8 { codes, scale } => {
                let codes = codes.into_iter().map(f32::from);
                codes.map(|code| code * scale).collect()
            }
            Self::Binary(bytes) => {
                let bits = bytes.into_iter().flat_map(|byte| {
                    let bit = move |i: u32| byte & (0x80_u8 >> i) != 0;
                    (0..8).map(bit)
                });
                bits.map(|bit| if bit { 1.0 } else { -1.0 }).collect()
            }
        };
        values.truncate(dimension);
        values
    }

    /// The f32 values, if that is what they are.
    pub fn into_f32(self) -> Option<Vec<f32>> {
        match self {
            Self::F32(values) => Some(values),
            _ => None,
        }
    }
}

/// Encodes finite values; `None` when one of them is too large for the encoding.
///
/// ```
/// use akidb_embedding::{Encoding, Values, encode};
///
/// let signs = encode(vec![0.6, -0.8], Encoding::Binary);
/// assert_eq!(signs, Some(Values::Binary(vec![0b1000_0000])));
/// ```
pub fn encode(values: Vec<f32>, encoding: Encoding) -> Option<Values> {
    Some(match encoding {
        Encoding::F32 => Values::F32(values),
        Encoding::F16 => {
            let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
            if halves.iter().any(|h| !h.is_finite()) {
                return None;
            }
            Values::F16(halves)
        }
        Encoding::I8 => {
            let largest = values.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let inverse = if largest > 0.0 {
                127.0 / f64::from(largest)
            } else {
                0.0
            };
            Values::I8 {
                codes: values
                    .iter()
                    .map(|&x| (f64::from(x) * inverse).round_ties_even() as i8)
                    .collect(),
                scale: largest / 127.0,
            }
        }
        Encoding::Binary => Values::Binary(
            values
                .chunks(8)
                .map(|eight| {
                    eight
                        .iter()
                        .enumerate()
                        .fold(0, |byte, (i, &x)| byte | (u8::from(x > 0.0) << (7 - i)))
                })
                .collect(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int8_spans_the_whole_range_and_rounds_to_even() {
        let Some(Values::I8 { codes, scale }) =
            encode(vec![-254.0, 254.0, 1.0, 3.0, 0.0], Encoding::I8)
        else {
            panic!("int8 takes any finite value");
        };
        assert_eq!(codes, [-127, 127, 0, 2, 0]);
        assert_eq!(scale, 2.0);
    }

    #[test]
    fn int8_of_zeros_and_of_the_smallest_number() {
        for x in [0.0, f32::from_bits(1), f32::MAX] {
            let Some(Values::I8 { codes, .. }) = encode(vec![x], Encoding::I8) else {
                panic!("int8 takes any finite value");
            };
            assert_eq!(codes, [if x > 0.0 { 127 } else { 0 }]);
        }
    }

    #[test]
    fn binary_has_the_first_value_in_the_highest_bit() {
        let mut values = vec![-1.0; 9];
        values[0] = 1.0;
        values[7] = 0.5;
        values[8] = 2.0;
        assert_eq!(
            encode(values, Encoding::Binary),
            Some(Values::Binary(vec![0b1000_0001, 0b1000_0000]))
        );
        assert_eq!(
            encode(vec![0.0, -0.0], Encoding::Binary),
            Some(Values::Binary(vec![0]))
        );
    }

    #[test]
    fn what_is_decoded_is_what_the_encoding_holds() {
        let values = vec![0.25, -1.0, 0.1];
        let decoded = |encoding| {
            let values = encode(values.clone(), encoding).unwrap();
            values.decode(3)
        };
        assert_eq!(decoded(Encoding::F32), values);
        assert_eq!(decoded(Encoding::F16)[2], f16::from_f32(0.1).to_f32());
        let scale = 1.0 / 127.0;
        assert_eq!(decoded(Encoding::I8), [32.0 * scale, -1.0, 13.0 * scale]);
        assert_eq!(decoded(Encoding::Binary), [1.0, -1.0, 1.0]);
    }

    #[test]
    fn f16_refuses_what_it_cannot_hold() {
        assert_eq!(encode(vec![70_000.0], Encoding::F16), None);
        assert_eq!(
            encode(vec![0.333_333_34], Encoding::F16),
            Some(Values::F16(vec![f16::from_f32(0.333_25)]))
        );
    }
}
