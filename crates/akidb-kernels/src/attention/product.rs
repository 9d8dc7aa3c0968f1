//! The two products of attention: queries with keys, and weights with values.

use super::key_values::{KeyValueTile, Panels, Row};
use super::operand::{CHUNK, Chunk, Operand};
use crate::arch::Target;
use crate::lanes::{Aligned, LANES, Lanes};
use crate::product::NR;

/// Vectors of a row of a panel.
const ROW: usize = NR / LANES;

/// Panels of values that follow each other in memory. Their keys' weights lie from factor `first`
/// of chunk `chunk` on.
#[derive(Clone, Copy)]
pub(super) struct Values<'a, V> {
    /// `[panels][stride]`.
    pub(super) panels: &'a [Row<V>],
    pub(super) stride: usize,
    /// Rows of each panel that count.
    pub(super) rows: usize,
    pub(super) chunk: usize,
    pub(super) first: usize,
}

/// Rows of the tallest tile, a multiple of two.
#[inline(always)]
pub(super) const fn tallest<T: Target, O: Operand>() -> usize {
    O::OPERANDS.tallest::<T>() / 2 * 2
}

/// Calls `$function::<_, _, HEIGHT>` for the height of a block, an even number.
macro_rules! of_height {
    ($height:expr, $function:ident::<$target:ty, $operand:ty>($($argument:expr),* $(,)?)) => {
        of_height!(@ $height, $function, $target, $operand, ($($argument),*), 2 4 6 8 10 12)
    };
    (@ $height:expr, $function:ident, $target:ty, $operand:ty, $arguments:tt, $($rows:literal)*) => {
        match $height {
            $($rows if const { $rows <= tallest::<$target, $operand>() } => {
                of_height!(@call $function, $target, $operand, $rows, $arguments)
            })*
            height => debug_assert!(false, "no tile of {height} rows"),
        }
    };
    (@call $function:ident, $target:ty, $operand:ty, $rows:literal, ($($argument:expr),*)) => {
        $function::<$target, $operand, $rows>($($argument),*)
    };
}

/// The scores of `height` queries, `[chunks][height]`, with the first `seen` keys of `tiles`:
/// `scores` is `[height][vectors]`.
#[inline(always)]
pub(super) fn score<T: Target, O: Operand>(
    target: T,
    height: usize,
    queries: &[Chunk<O::Factor>],
    tiles: &[&KeyValueTile],
    seen: usize,
    scores: &mut [Aligned<Lanes>],
) {
    of_height!(
        height,
        score_rows::<T, O>(target, queries.as_chunks().0, tiles, seen, scores)
    );
}

#[inline(always)]
fn score_rows<T: Target, O: Operand, const MR: usize>(
    target: T,
    queries: &[[Chunk<O::Factor>; MR]],
    tiles: &[&KeyValueTile],
    seen: usize,
    scores: &mut [Aligned<Lanes>],
) {
    let panels = tiles.iter().filter_map(|tile| O::panels(tile));
    let panels = panels.flat_map(Panels::key_panels);
    let vectors = seen.div_ceil(LANES);
    for (keys, vector) in panels.zip((0..vectors).step_by(ROW)) {
        if const { O::OPERANDS.vectors::<T>(MR) >= ROW } && vector + ROW <= vectors {
            score_tile::<T, O, MR, ROW>(target, queries, keys, vector, scores);
        } else {
            for vector in vector..vectors.min(vector + ROW) {
                score_tile::<T, O, MR, 1>(target, queries, keys, vector, scores);
            }
        }
    }
}

#[inline(always)]
fn score_tile<T: Target, O: Operand, const MR: usize, const V: usize>(
    target: T,
    queries: &[[Chunk<O::Factor>; MR]],
    keys: &[Row<O::Vector>],
    vector: usize,
    scores: &mut [Aligned<Lanes>],
) {
    let mut sums = [[target.splat(0.0); V]; MR];
    for (queries, keys) in queries.iter().zip(keys.chunks(CHUNK)) {
        accumulate::<T, O, MR, V>(target, queries, 0, keys, vector, &mut sums);
    }
    let stride = scores.len() / MR;
    for (scores, sums) in scores.chunks_exact_mut(stride).zip(sums) {
        for (score, sums) in scores[vector..].iter_mut().zip(sums) {
            score.0 = target.store(sums);
        }
    }
}

/// Multiplies each row of `sums`, `[height][vectors]`, by its `shrink` and adds the values with
/// the weights of `height` queries, `[chunks][height]`. Without `shrink` the sums start at 0,
/// whatever `sums` holds.
#[inline(always)]
pub(super) fn weigh<T: Target, O: Operand>(
    target: T,
    height: usize,
    weights: &[Chunk<O::Factor>],
    values: &[Values<'_, O::Vector>],
    shrink: Option<&Lanes>,
    sums: &mut [Aligned<Lanes>],
) {
    of_height!(
        height,
        weigh_rows::<T, O>(target, weights.as_chunks().0, values, shrink, sums)
    );
}

#[inline(always)]
fn weigh_rows<T: Target, O: Operand, const MR: usize>(
    target: T,
    weights: &[[Chunk<O::Factor>; MR]],
    values: &[Values<'_, O::Vector>],
    shrink: Option<&Lanes>,
    sums: &mut [Aligned<Lanes>],
) {
    let vectors = sums.len() / MR;
    for vector in (0..vectors).step_by(ROW) {
        if const { O::OPERANDS.vectors::<T>(MR) >= ROW } {
            weigh_tile::<T, O, MR, ROW>(target, weights, values, vector, shrink, sums);
        } else {
            for vector in vector..vector + ROW {
                weigh_tile::<T, O, MR, 1>(target, weights, values, vector, shrink, sums);
            }
        }
    }
}

#[inline(always)]
fn weigh_tile<T: Target, O: Operand, const MR: usize, const V: usize>(
    target: T,
    weights: &[[Chunk<O::Factor>; MR]],
    values: &[Values<'_, O::Vector>],
    vector: usize,
    shrink: Option<&Lanes>,
    all_sums: &mut [Aligned<Lanes>],
) {
    let zero = target.splat(0.0);
    let stride = all_sums.len() / MR;
    let mut sums = [[zero; V]; MR];
    if let Some(shrink) = shrink {
        let rows = sums.iter_mut().zip(all_sums.chunks_exact(stride));
        for ((sums, before), shrink) in rows.zip(shrink) {
            for (sums, before) in sums.iter_mut().zip(&before[vector..]) {
                *sums = target.mul_add(target.load(&before.0), target.splat(*shrink), zero);
            }
        }
    }
    for part in values {
        let panel = &part.panels[vector / ROW * part.stride..][..part.rows];
        if let Some(weights) = weights.get(part.chunk) {
            accumulate::<T, O, MR, V>(target, weights, part.first, panel, vector, &mut sums);
        }
    }
    for (all, sums) in all_sums.chunks_exact_mut(stride).zip(sums) {
        for (all, sums) in all[vector..].iter_mut().zip(sums) {
            all.0 = target.store(sums);
        }
    }
}

/// Adds to `sums` the products of `rows` with the factors from `first` on: `V` vectors of each
/// row, from `vector` modulo [`ROW`] on.
#[inline(always)]
fn accumulate<T: Target, O: Operand, const MR: usize, const V: usize>(
    target: T,
    factors: &[Chunk<O::Factor>; MR],
    first: usize,
    rows: &[Row<O::Vector>],
    vector: usize,
    sums: &mut [[T::Vector; V]; MR],
) {
    // A copy of its own, so that it stays in registers.
    let mut own = *sums;
    for (i, row) in (first..CHUNK).zip(rows) {
        let mut vectors = [O::load(target, &row.0[vector % ROW]); V];
        for (v, next) in vectors.iter_mut().enumerate().skip(1) {
            *next = O::load(target, &row.0[(vector + v) % ROW]);
        }
        for r in 0..MR {
            for v in 0..V {
                own[r][v] = O::mul_add(target, vectors[v], factors[r].0[i], own[r][v]);
            }
        }
    }
    *sums = own;
}
