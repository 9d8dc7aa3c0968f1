//! Rounding to bf16, the upper half of an f32.

/// `x` as bf16: the nearest one, ties to even; beyond the largest, infinity; NaN stays NaN.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    // A carry out of the significand gives the next power of two, as it should.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // Quiet, so that the upper half isn't infinity where the payload is in the lower one.
    let nan = bits | 0x0040_0000;
    ((if x.is_nan() { nan } else { rounded }) >> 16) as u16
}

/// Two bf16 as the products take them: the first in the low half.
#[inline(always)]
pub(crate) fn to_bf16_pair(first: f32, second: f32) -> u32 {
    u32::from(to_bf16(first)) | u32::from(to_bf16(second)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    #[test]
    fn agrees_with_the_half_crate() {
        let mut bits: Vec<u32> = random(1, 10_000).iter().map(|x| x.to_bits()).collect();
        for exponent in 0..512 {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                for high in [0, 1, 2, 0x3f, 0x40, 0x7e, 0x7f] {
                    bits.push(exponent << 23 | high << 16 | low);
                }
            }
        }
        for x in bits.into_iter().map(f32::from_bits) {
            assert_eq!(to_bf16(x), half::bf16::from_f32(x).to_bits(), "{x:e}");
        }
        assert_eq!(to_bf16_pair(1.0, -2.0), 0xc000_3f80);
    }
}
