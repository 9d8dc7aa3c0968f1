//! Values in steps, as whole numbers.

use crate::lanes::{LANES, Lanes, load_partial};
use crate::product::quantized::outliers::magnitude;
use crate::product::row_blocks::Group;

/// What has less magnitude counts as zero where the largest magnitude is meant: steps stay normal
/// numbers.
pub(crate) const SMALLEST: f32 = 127.0 * f32::MIN_POSITIVE;

/// Writes values in steps of 1 / `inverse`, the low 8 bits of each as i8, to the first one of each
/// of `groups`. Returns the sum of the steps, with all their bits.
#[inline(always)]
pub(crate) fn quantize<'a>(
    values: &[f32],
    inverse: f32,
    groups: &mut impl Iterator<Item = &'a mut [Group]>,
) -> i32 {
    let mut sums = [0; LANES];
    let (full, rest) = values.as_chunks::<LANES>();
    for (x, groups) in full.iter().zip(&mut *groups) {
        groups[0] = quantize_group(x, inverse, &mut sums);
    }
    if !rest.is_empty()
        && let Some(groups) = groups.next()
    {
        groups[0] = quantize_group(&load_partial(rest, 0.0), inverse, &mut sums);
    }
    let count = values.len().next_multiple_of(LANES) as i32;
    let rounds = ROUND.to_bits().cast_signed().wrapping_mul(count);
    let sum = sums.into_iter().fold(0, i32::wrapping_add);
    sum.wrapping_sub(rounds)
}

/// The same as two i16 a word, as [`Int8Target::INT8_PARTS`](crate::arch::Target) wants them.
#[inline(always)]
pub(crate) fn quantize_apart<'a>(
    values: &[f32],
    inverse: f32,
    groups: &mut impl Iterator<Item = &'a mut [Group]>,
) -> i32 {
    let mut together = [Group::default()];
    let mut total = 0_i32;
    for values in values.chunks(LANES) {
        let sum = quantize(values, inverse, &mut std::iter::once(&mut together[..]));
        total = total.wrapping_add(sum);
        let words = together[0].0.as_chunks::<2>().0;
        for (words, groups) in words.iter().zip(&mut *groups) {
            for (w, word) in words.iter().enumerate() {
                [groups[0].0[2 * w], groups[0].0[2 * w + 1]] = apart(*word);
            }
        }
    }
    total
}

/// The first and third of four i8 as i16, and the second and fourth.
#[inline(always)]
fn apart(word: i32) -> [i32; 2] {
    let pairs: [i16; 2] = bytemuck::cast(word);
    let first = pairs.map(|pair| (pair << 8) >> 8);
    [
        bytemuck::cast(first),
        bytemuck::cast(pairs.map(|pair| pair >> 8)),
    ]
}

/// Added to a number below 2^22 in magnitude, it leaves the nearest integer in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Adds values in steps, and the bits of [`ROUND`] to each, to `sums`.
#[inline(always)]
fn quantize_group(x: &Lanes, inverse: f32, sums: &mut [i32; LANES]) -> Group {
    let mut bytes = [0_u8; LANES];
    for l in 0..LANES {
        let bits = (x[l] * inverse + ROUND).to_bits().cast_signed();
        bytes[l] = bits as u8;
        sums[l] = sums[l].wrapping_add(bits);
    }
    Group(bytemuck::cast(bytes))
}

/// The nearest whole number of a number that is small, ties to even.
#[inline(always)]
pub(crate) fn round(x: f32) -> f32 {
    // The sum has no place for a fraction.
    (x + ROUND) - ROUND
}

/// The value with the largest magnitude; the scale of the block where it has none to go by.
#[inline(always)]
pub(crate) fn extreme(x: &[f32]) -> Result<f32, f32> {
    let largest = x.iter().map(|x| magnitude(*x)).fold(0, u32::max);
    if !f32::from_bits(largest).is_finite() {
        return Err(f32::NAN);
    }
    if f32::from_bits(largest) < SMALLEST {
        return Err(0.0);
    }
    let value = x.iter().copied().find(|x| magnitude(*x) == largest);
    value.ok_or(0.0)
}
