//! Sixteen f32 side by side: one AVX-512 register, two of AVX2, four of NEON or SSE2.

/// Number of lanes, the same on every tier so that all sum in the same order.
pub(crate) const LANES: usize = 16;

/// A logical vector.
pub(crate) type Lanes = [f32; LANES];

/// Starts with a cache line. A vector that lies across two is slow to read back.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// The first `values.len()` lanes from `values`, the rest `fill`. `values` holds at most 16.
#[inline(always)]
pub(crate) fn load_partial(values: &[f32], fill: f32) -> Lanes {
    let mut lanes = [fill; LANES];
    for (lane, value) in lanes.iter_mut().zip(values) {
        *lane = *value;
    }
    lanes
}

/// Sum of all lanes, pairwise.
#[inline(always)]
pub(crate) fn sum(lanes: &Lanes) -> f32 {
    fold(lanes, |a, b| a + b)
}

/// Largest lane; which of several NaN or zeros is left open.
#[inline(always)]
pub(crate) fn max(lanes: &Lanes) -> f32 {
    fold(lanes, larger)
}

/// The larger one, and `b` where they can't be compared.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Folds halves onto each other: 16, 8, 4, 2, 1.
#[inline(always)]
fn fold(lanes: &Lanes, f: impl Fn(f32, f32) -> f32) -> f32 {
    let (mut eight, mut four) = ([0.0; 8], [0.0; 4]);
    for l in 0..8 {
        eight[l] = f(lanes[l], lanes[l + 8]);
    }
    for l in 0..4 {
        four[l] = f(eight[l], eight[l + 4]);
    }
    f(f(four[0], four[2]), f(four[1], four[3]))
}
