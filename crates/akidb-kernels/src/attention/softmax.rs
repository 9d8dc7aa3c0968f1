//! The softmax of some keys' scores, with what the keys before gave.

use super::operand::{CHUNK, Chunk, Operand};
use crate::arch::Target;
use crate::exp::exp2_nonpositive;
use crate::lanes::{Aligned, LANES, Lanes, larger, load_partial, max};

/// The largest of the first `seen` scores, -∞ without any. Up to the end of the last vector, the
/// scores behind become -∞.
#[inline(always)]
pub(super) fn mask(scores: &mut [Aligned<Lanes>], seen: usize) -> f32 {
    let mut top = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = scores.split_at_mut(seen / LANES);
    for Aligned(scores) in whole {
        for l in 0..LANES {
            top[l] = larger(scores[l], top[l]);
        }
    }
    if let Some(Aligned(scores)) = rest.first_mut() {
        for l in 0..LANES {
            if l as u32 >= (seen % LANES) as u32 {
                scores[l] = f32::NEG_INFINITY;
            }
            top[l] = larger(scores[l], top[l]);
        }
    }
    max(&top)
}

/// Makes -∞ of the first `unseen` scores.
#[inline(always)]
pub(super) fn hide(scores: &mut [Aligned<Lanes>], unseen: usize) {
    for (vector, Aligned(scores)) in scores.iter_mut().enumerate().take(unseen.div_ceil(LANES)) {
        for (l, score) in scores.iter_mut().enumerate() {
            if vector * LANES + l < unseen {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// Adds `bias` to the scores, which are those of powers of two. Where it ends, no key is seen.
#[inline(always)]
pub(super) fn add_bias(scores: &mut [Aligned<Lanes>], bias: &[f32]) {
    for (Aligned(scores), bias) in scores.iter_mut().zip(bias.chunks(LANES)) {
        let bias = match bias.first_chunk() {
            Some(bias) => *bias,
            None => load_partial(bias, 0.0),
        };
        for l in 0..LANES {
            scores[l] += bias[l] * std::f32::consts::LOG2_E;
        }
    }
}

/// Makes weights 2^(score - `largest`) of the first `seen` scores and adds them to `total`; the
/// keys behind weigh nothing. `weights` has a chunk each `stride` chunks.
#[inline(always)]
pub(super) fn weigh_keys<T: Target, O: Operand>(
    scores: &[Aligned<Lanes>],
    seen: usize,
    largest: f32,
    weights: &mut [Chunk<O::Factor>],
    stride: usize,
    Aligned(total): &mut Aligned<Lanes>,
) {
    let vectors_per_chunk = CHUNK * O::STEP / LANES;
    let (seen, unseen) = scores.split_at(seen.div_ceil(LANES).min(scores.len()));
    let chunks = weights.iter_mut().step_by(stride);
    for (scores, chunk) in seen.chunks(vectors_per_chunk).zip(chunks) {
        for (part, scores) in scores.iter().enumerate() {
            let mut x = scores.0;
            for x in &mut x {
                *x -= largest;
            }
            let mut x = exp2_nonpositive::<T>(&x);
            O::put(&mut x, chunk, part);
            for l in 0..LANES {
                total[l] += x[l];
            }
        }
    }
    for vector in seen.len()..seen.len() + unseen.len() {
        let chunk = weights.get_mut(vector / vectors_per_chunk * stride);
        if let Some(chunk) = chunk {
            O::put(&mut [0.0; LANES], chunk, vector % vectors_per_chunk);
        }
    }
}
