//! Exponential functions of a vector.

use crate::arch::Target;
use crate::lanes::{LANES, Lanes};

/// Adding 1.5·2^23 leaves the nearest integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// Below this, e^x is less than the smallest normal f32.
const LOWEST: f32 = -87.336_54;

/// e^x for x ≤ 0, lane by lane, within 2 ulp; exactly 1 at 0, and 0 below -87.336, where the
/// result would be denormal. NaN gives NaN.
///
/// x is cut into n·ln 2 + r, |r| ≤ ln 2 / 2; e^r is a polynomial (minimax of Cephes' `expf`), and
/// 2^n goes into the exponent bits.
#[inline(always)]
pub(crate) fn exp_nonpositive<T: Target>(x: &Lanes) -> Lanes {
    // ln 2 in two parts; the first has few enough bits for n·LN2_HIGH to be exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let low = x[l] < LOWEST;
        let x = if low { LOWEST } else { x[l] };
        let shifted = T::mul_add_f32(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = T::mul_add_f32(n, -LN2_HIGH, x);
        let r = T::mul_add_f32(n, -LN2_LOW, r);
        let p = 1.987_569_1e-4;
        let p = T::mul_add_f32(p, r, 1.398_199_9e-3);
        let p = T::mul_add_f32(p, r, 8.333_452e-3);
        let p = T::mul_add_f32(p, r, 4.166_579_6e-2);
        let p = T::mul_add_f32(p, r, 1.666_666_5e-1);
        let p = T::mul_add_f32(p, r, 0.5);
        let p = T::mul_add_f32(p, r * r, r) + 1.0;
        out[l] = if low { 0.0 } else { p * power_of_two(shifted) };
    }
    out
}

/// 2^x for x ≤ 0, lane by lane, within 2 ulp; exactly 1 at 0, and 0 below -126, where the result
/// would be denormal. NaN gives NaN.
///
/// x is cut into n + r, |r| ≤ 1/2; 2^r is a polynomial (minimax of Cephes' `exp2f`).
#[inline(always)]
pub(crate) fn exp2_nonpositive<T: Target>(x: &Lanes) -> Lanes {
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let low = x[l] < -126.0;
        let x = if low { -126.0 } else { x[l] };
        let shifted = x + ROUND;
        let r = x - (shifted - ROUND);
        let p = 1.535_336_2e-4;
        let p = T::mul_add_f32(p, r, 1.339_887_4e-3);
        let p = T::mul_add_f32(p, r, 9.618_437e-3);
        let p = T::mul_add_f32(p, r, 5.550_332_5e-2);
        let p = T::mul_add_f32(p, r, 2.402_264_8e-1);
        let p = T::mul_add_f32(p, r, 6.931_472e-1);
        let p = T::mul_add_f32(p, r, 1.0);
        out[l] = if low { 0.0 } else { p * power_of_two(shifted) };
    }
    out
}

/// 2^n for -126 ≤ n ≤ 0 and `shifted` = n + [`ROUND`], whose low bits are n modulo 2^23.
#[inline(always)]
fn power_of_two(shifted: f32) -> f32 {
    f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Kernel;
    use crate::testing::for_each_isa;

    struct Exp<'a> {
        base: f64,
        x: &'a [f32],
        out: &'a mut [f32],
    }
    impl Kernel for Exp<'_> {
        #[inline(always)]
        fn run<T: Target>(self, _: T) {
            let (x, _) = self.x.as_chunks::<LANES>();
            let (out, _) = self.out.as_chunks_mut::<LANES>();
            for (x, out) in x.iter().zip(out) {
                *out = if self.base == 2.0 {
                    exp2_nonpositive::<T>(x)
                } else {
                    exp_nonpositive::<T>(x)
                };
            }
        }
    }

    /// Compares with f64 at every 1001st float down to `lowest`, and there.
    fn check_within_two_ulp(base: f64, lowest: f32) {
        let mut x: Vec<f32> = (0..lowest.abs().to_bits())
            .step_by(1001)
            .map(|bits| -f32::from_bits(bits))
            .collect();
        x.resize((x.len() + 1).next_multiple_of(LANES), lowest);
        let mut out = vec![0.0; x.len()];
        for_each_isa(|isa| {
            isa.run(Exp {
                base,
                x: &x,
                out: &mut out,
            });
            let mut worst = 0.0_f64;
            for (x, out) in x.iter().zip(&out) {
                let exact = base.powf(f64::from(*x));
                let ulp = f64::from(f32::from_bits((exact as f32).to_bits() + 1) - exact as f32);
                worst = worst.max((f64::from(*out) - exact).abs() / ulp);
            }
            assert!(worst <= 2.0, "{isa}: {worst} ulp");
        });
    }

    #[test]
    fn exp_is_within_two_ulp_of_f64() {
        check_within_two_ulp(std::f64::consts::E, -87.336_5);
    }

    #[test]
    fn exp2_is_within_two_ulp_of_f64() {
        check_within_two_ulp(2.0, -126.0);
    }

    #[test]
    fn edges() {
        for (base, below) in [(std::f64::consts::E, -87.4), (2.0, -126.001)] {
            let mut x = [f32::NEG_INFINITY; LANES];
            x[..6].copy_from_slice(&[0.0, -0.0, f32::NAN, below, f32::MIN, -1e-45]);
            for_each_isa(|isa| {
                let mut out = [9.0; LANES];
                isa.run(Exp {
                    base,
                    x: &x,
                    out: &mut out,
                });
                assert_eq!(out[..2], [1.0, 1.0], "{isa}");
                assert!(out[2].is_nan(), "{isa}");
                assert_eq!(out[3..6], [0.0, 0.0, 1.0], "{isa}");
                assert_eq!(out[6..], [0.0; LANES - 6], "{isa}");
            });
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        let x: Vec<f32> = (0..128).map(|n| -(n as f32)).collect();
        for_each_isa(|isa| {
            let mut out = [9.0; 128];
            isa.run(Exp {
                base: 2.0,
                x: &x,
                out: &mut out,
            });
            for (x, out) in x.iter().zip(&out).take(127) {
                assert_eq!(*out, x.exp2(), "{isa}");
            }
            assert_eq!(out[127], 0.0, "{isa}");
        });
    }
}
