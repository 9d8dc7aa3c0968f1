//! GELU, x · Φ(x), by the error function and by tanh.

use crate::Isa;
use crate::arch::{Kernel, Target};
use crate::exp::exp_nonpositive;
use crate::lanes::{LANES, Lanes, load_partial};

/// Makes x · Φ(x) of each x, Φ by the error function.
pub fn gelu_erf(isa: Isa, x: &mut [f32]) {
    isa.run(Gelu::<false>(x));
}

/// Makes x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2 of each x.
pub fn gelu_tanh(isa: Isa, x: &mut [f32]) {
    isa.run(Gelu::<true>(x));
}

struct Gelu<'a, const TANH: bool>(&'a mut [f32]);

impl<const TANH: bool> Kernel for Gelu<'_, TANH> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let of = if TANH { tanh::<T> } else { erf::<T> };
        let (whole, rest) = self.0.as_chunks_mut::<LANES>();
        for x in whole {
            *x = of(x);
        }
        let last = of(&load_partial(rest, 0.0));
        for (x, last) in rest.iter_mut().zip(last) {
            *x = last;
        }
    }
}

/// x · Φ(x), lane by lane, within 2e-7 · |x|.
///
/// With t = |x|, Φ(-t) is e^(-t²/2) · u · P(u), u = 1 / (1 + 0.35 t): a minimax fit of 0..14,
/// within 3.2e-8 of the value. Beyond, Φ(-t) is 0 in f32.
#[inline(always)]
pub(crate) fn erf<T: Target>(x: &Lanes) -> Lanes {
    const P: [f32; 9] = [
        0.139_621_4,
        0.139_861_9,
        0.119_832_66,
        0.105_508_9,
        -0.023_112_085,
        0.159_177_59,
        -0.255_717_37,
        0.143_973_26,
        -0.029_146_26,
    ];
    let mut power = [0.0; LANES];
    for l in 0..LANES {
        power[l] = -0.5 * x[l] * x[l];
    }
    let power = exp_nonpositive::<T>(&power);
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let u = 1.0 / T::mul_add_f32(0.35, x[l].abs(), 1.0);
        let mut p = P[8];
        for i in (0..8).rev() {
            p = T::mul_add_f32(p, u, P[i]);
        }
        let below = power[l] * (u * p);
        out[l] = x[l] * if x[l] < 0.0 { below } else { 1.0 - below };
    }
    out
}

/// The approximation by tanh, lane by lane: x · σ(2y), y what tanh is taken of.
#[inline(always)]
pub(crate) fn tanh<T: Target>(x: &Lanes) -> Lanes {
    // 2 · √(2/π)
    const FACTOR: f32 = 1.595_769;
    let (mut y, mut power) = ([0.0; LANES], [0.0; LANES]);
    for l in 0..LANES {
        y[l] = FACTOR * x[l] * T::mul_add_f32(0.044_715 * x[l], x[l], 1.0);
        power[l] = -y[l].abs();
    }
    let e = exp_nonpositive::<T>(&power);
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let numerator = if y[l] < 0.0 { e[l] } else { 1.0 };
        out[l] = x[l] * (numerator / (1.0 + e[l]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random};

    /// Φ(x) in f64: a series near 0, else a continued fraction of its tail.
    fn normal(x: f64) -> f64 {
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x.abs() < 3.0 {
            let (mut term, mut sum) = (x, x);
            for i in 1..200 {
                term *= x * x / f64::from(2 * i + 1);
                sum += term;
            }
            return 0.5 + density * sum;
        }
        let tail = (1..200)
            .rev()
            .fold(x.abs(), |f, i| x.abs() + f64::from(i) / f);
        let below = density / tail;
        if x < 0.0 { below } else { 1.0 - below }
    }

    fn check(isa: Isa, x: &[f32]) {
        let mut out = x.to_vec();
        gelu_erf(isa, &mut out);
        for (x, out) in x.iter().zip(&out) {
            let exact = f64::from(*x) * normal(f64::from(*x));
            let error = (f64::from(*out) - exact).abs();
            let tolerance = (4e-7 * f64::from(x.abs())).min(6e-6 * exact.abs()) + 1e-36;
            assert!(error <= tolerance, "{isa} erf {x} {out} {exact}");
        }
        let mut out = x.to_vec();
        gelu_tanh(isa, &mut out);
        for (x, out) in x.iter().zip(&out) {
            let x = f64::from(*x);
            let y = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            let exact = x / (1.0 + (-2.0 * y).exp());
            let error = (f64::from(*out) - exact).abs();
            let tolerance = (4e-7 * x.abs()).min(2e-5 * exact.abs()) + 1e-35;
            assert!(error <= tolerance, "{isa} tanh {x} {out} {exact}");
        }
    }

    #[test]
    fn agrees_with_f64_at_every_edge() {
        for len in LENGTHS {
            let x: Vec<f32> = random(1, len).iter().map(|x| x * 12.0).collect();
            for_each_isa(|isa| check(isa, &x));
        }
        let x: Vec<f32> = (-2600..=2600).map(|i| i as f32 / 200.0).collect();
        for_each_isa(|isa| check(isa, &x));
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            let edges = [
                0.0, -0.0, 1e-45, -1e-45, 1e-20, -1e-20, 20.0, -20.0, 1e10, -1e10,
            ];
            for gelu in [gelu_erf, gelu_tanh] {
                let mut out = edges;
                gelu(isa, &mut out);
                assert_eq!(out[..2], [0.0, 0.0], "{isa}");
                assert_eq!(out[6..], [20.0, 0.0, 1e10, 0.0], "{isa}");
                let mut out = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
                gelu(isa, &mut out);
                assert!(out[0].is_nan() && out[2].is_nan(), "{isa}");
                assert!(!out[1].is_finite(), "{isa}");
            }
        });
    }

    #[test]
    fn bits_do_not_depend_on_the_place() {
        let x = random(3, 50);
        for_each_isa(|isa| {
            for gelu in [gelu_erf, gelu_tanh] {
                let mut all = x.clone();
                gelu(isa, &mut all);
                for i in 0..50 {
                    let mut part = x[i..].to_vec();
                    gelu(isa, &mut part);
                    assert_eq!(bits(&part), bits(&all[i..]), "{isa}");
                }
            }
        });
    }
}
