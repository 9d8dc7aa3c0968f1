//! `act(gate) · up`, the gate of a gated MLP.

use crate::arch::{Kernel, Target};
use crate::exp::exp_nonpositive;
use crate::gelu;
use crate::lanes::{LANES, Lanes, load_partial};
use crate::{Isa, ShapeError};

/// What a gate passes before something is multiplied by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// x / (1 + e^-x), as in SwiGLU. Below -87.3 a gate counts as closed: the result is zero where
    /// it would be denormal.
    Silu,
    /// As [`gelu_erf`](crate::gelu_erf()).
    GeluErf,
    /// As [`gelu_tanh`](crate::gelu_tanh()).
    GeluTanh,
}

/// `out[i] = act(gate[i]) · up[i]`, three slices of one length.
///
/// # Errors
/// When the lengths differ.
pub fn glu(
    isa: Isa,
    act: Gate,
    gate: &[f32],
    up: &[f32],
    out: &mut [f32],
) -> Result<(), ShapeError> {
    ShapeError::length("glu", "up", gate.len(), up.len())?;
    ShapeError::length("glu", "out", gate.len(), out.len())?;
    isa.run(Glu { act, gate, up, out });
    Ok(())
}

struct Glu<'a> {
    act: Gate,
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Glu<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        let (gates, gate_rest) = self.gate.as_chunks::<LANES>();
        let (ups, up_rest) = self.up.as_chunks::<LANES>();
        let (outs, out_rest) = self.out.as_chunks_mut::<LANES>();
        for ((gate, up), out) in gates.iter().zip(ups).zip(outs) {
            *out = gated::<T>(self.act, gate, up);
        }
        let (gate, up) = (load_partial(gate_rest, 0.0), load_partial(up_rest, 0.0));
        let rest = gated::<T>(self.act, &gate, &up);
        for (out, value) in out_rest.iter_mut().zip(rest) {
            *out = value;
        }
    }
}

/// `act(gate) · up`, lane by lane.
#[inline(always)]
pub(crate) fn gated<T: Target>(act: Gate, gate: &Lanes, up: &Lanes) -> Lanes {
    let passed = match act {
        Gate::Silu => return silu_gated::<T>(gate, up),
        Gate::GeluErf => gelu::erf::<T>(gate),
        Gate::GeluTanh => gelu::tanh::<T>(gate),
    };
    std::array::from_fn(|l| passed[l] * up[l])
}

/// `SiLU(gate) · up`, lane by lane.
#[inline(always)]
fn silu_gated<T: Target>(gate: &Lanes, up: &Lanes) -> Lanes {
    // With e = e^-|gate|, the sigmoid is 1 / (1 + e) for a positive gate, else e / (1 + e).
    let mut x = [0.0; LANES];
    for l in 0..LANES {
        x[l] = -gate[l].abs();
    }
    let e = exp_nonpositive::<T>(&x);
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let numerator = if gate[l] < 0.0 { e[l] } else { 1.0 };
        out[l] = gate[l] * (numerator / (1.0 + e[l])) * up[l];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, bits, for_each_isa, random};

    fn check(isa: Isa, gate: &[f32], up: &[f32]) {
        let mut out = vec![9.0; gate.len()];
        glu(isa, Gate::Silu, gate, up, &mut out).unwrap();
        for ((gate, up), out) in gate.iter().zip(up).zip(out) {
            let (gate, up) = (f64::from(*gate), f64::from(*up));
            let exact = gate / (1.0 + (-gate).exp()) * up;
            let error = (f64::from(out) - exact).abs();
            assert!(
                error <= 6e-7 * exact.abs() + 1e-35,
                "{isa} {gate} {out} {exact}"
            );
        }
    }

    #[test]
    fn agrees_with_f64_at_every_edge() {
        for len in LENGTHS {
            let gate: Vec<f32> = random(1, len).iter().map(|g| g * 12.0).collect();
            let up = random(2, len);
            for_each_isa(|isa| check(isa, &gate, &up));
        }
    }

    #[test]
    fn edge_values() {
        let gates = [
            0.0, -0.0, 1e-45, -1e-45, 87.3, -87.3, 88.8, -88.8, 1e10, -1e10, 3e38,
        ];
        for_each_isa(|isa| {
            check(isa, &gates, &[1.0; 11]);
            let mut out = [0.0; 4];
            let (nan, inf) = (f32::NAN, f32::INFINITY);
            glu(
                isa,
                Gate::Silu,
                &[nan, 1.0, inf, -inf],
                &[1.0, nan, 1.0, 1.0],
                &mut out,
            )
            .unwrap();
            assert!(out[0].is_nan() && out[1].is_nan(), "{isa}");
            assert_eq!(out[2], inf, "{isa}");
            assert!(out[3].is_nan(), "{isa}");
        });
    }

    #[test]
    fn bits_do_not_depend_on_the_place() {
        let (gate, up) = (random(3, 50), random(4, 50));
        for_each_isa(|isa| {
            let mut all = [0.0; 50];
            glu(isa, Gate::Silu, &gate, &up, &mut all).unwrap();
            for i in 0..50 {
                let mut part = vec![0.0; 50 - i];
                glu(isa, Gate::Silu, &gate[i..], &up[i..], &mut part).unwrap();
                assert_eq!(bits(&part), bits(&all[i..]), "{isa}");
            }
        });
    }

    #[test]
    fn gelu_has_the_bits_of_its_own_kernel() {
        let (gate, up) = (random(5, 50), random(6, 50));
        let gate: Vec<f32> = gate.iter().map(|x| 6.0 * x).collect();
        let kernels = [
            (Gate::GeluErf, crate::gelu_erf as fn(Isa, &mut [f32])),
            (Gate::GeluTanh, crate::gelu_tanh),
        ];
        for_each_isa(|isa| {
            for (act, gelu) in kernels {
                let mut passed = gate.clone();
                gelu(isa, &mut passed);
                let expected: Vec<f32> = passed.iter().zip(&up).map(|(a, b)| a * b).collect();
                let mut out = [0.0; 50];
                glu(isa, act, &gate, &up, &mut out).unwrap();
                assert_eq!(bits(&out), bits(&expected), "{isa} {act:?}");
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let isa = Isa::detect();
        assert!(glu(isa, Gate::Silu, &[1.0; 2], &[1.0; 3], &mut [0.0; 2]).is_err());
        assert!(glu(isa, Gate::Silu, &[1.0; 2], &[1.0; 2], &mut [0.0; 3]).is_err());
    }
}
