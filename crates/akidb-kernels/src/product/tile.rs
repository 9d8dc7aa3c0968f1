//! The inner loop of the products: a few rows of A times one panel of B.

use crate::arch::Target;
use crate::lanes::LANES;
use crate::product::panels::PanelRow;
use crate::product::row_blocks::{Group, WORDS};
use crate::product::weight_type::WeightType;

/// Rows of the tallest tile of any tier and type of weights.
pub(crate) const MAX_MR: usize = 12;

/// The sums of some rows with a panel, each row's as two vectors.
pub(crate) type Tile<S> = [[[S; LANES]; 2]; MAX_MR];

/// Multiplies a block of `rows` rows, `[K / STEP · parts / 4][rows]`, with `panel` and writes the sums to
/// `out`. Meanwhile asks for `next`, which a later call reads, to be in the cache.
///
/// A sum starts at zero and walks K upwards, in any tile. `rows` is at most the target's tallest
/// tile; lengths are the caller's business (a mistake there gives wrong sums, not a panic).
#[inline(always)]
pub(crate) fn multiply<T: Target, W: WeightType>(
    target: T,
    rows: usize,
    a: &[Group],
    panel: &[PanelRow<W::Vector>],
    next: &[PanelRow<W::Vector>],
    out: &mut Tile<W::Sum>,
) {
    macro_rules! of_rows {
        ($($rows:literal)*) => {
            match rows {
                $($rows if const { W::OPERANDS.vectors::<T>($rows) > 0 } => {
                    multiply_of_rows::<T, W, $rows>(target, a.as_chunks().0, panel, next, out)
                })*
                _ => debug_assert!(false, "no tile of {rows} rows"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8 9 10 11 12);
}

#[inline(always)]
fn multiply_of_rows<T: Target, W: WeightType, const MR: usize>(
    target: T,
    a: &[[Group; MR]],
    panel: &[PanelRow<W::Vector>],
    next: &[PanelRow<W::Vector>],
    out: &mut Tile<W::Sum>,
) {
    if const { W::OPERANDS.parts::<T>() == 1 } {
        vectors_of_panel::<T, W, MR, WORDS>(target, a, panel, next, out);
    } else {
        vectors_of_panel::<T, W, MR, { WORDS / 2 }>(target, a, panel, next, out);
    }
}

#[inline(always)]
fn vectors_of_panel<T: Target, W: WeightType, const MR: usize, const PER_GROUP: usize>(
    target: T,
    a: &[[Group; MR]],
    panel: &[PanelRow<W::Vector>],
    next: &[PanelRow<W::Vector>],
    out: &mut Tile<W::Sum>,
) {
    if const { W::OPERANDS.vectors::<T>(MR) >= 2 } {
        tile::<T, W, MR, 2, PER_GROUP>(target, a, panel, 0, next, out);
    } else {
        tile::<T, W, MR, 1, PER_GROUP>(target, a, panel, 0, next, out);
        tile::<T, W, MR, 1, PER_GROUP>(target, a, panel, 1, &[], out);
    }
}

/// Sums of `MR` rows and `V` vectors of the panel, from `vector` on. A group of a row is multiplied
/// with `PER_GROUP` rows of the panel.
#[inline(always)]
fn tile<T: Target, W: WeightType, const MR: usize, const V: usize, const PER_GROUP: usize>(
    target: T,
    a: &[[Group; MR]],
    panel: &[PanelRow<W::Vector>],
    vector: usize,
    next: &[PanelRow<W::Vector>],
    out: &mut Tile<W::Sum>,
) {
    let mut sums = [[W::zero(target); V]; MR];
    let next = next.as_flattened();
    let mut next = next.chunks(next.len().div_ceil(a.len().max(1)).max(1));
    let (groups, rest) = panel.as_chunks::<PER_GROUP>();
    let (a_groups, a_rest) = a.split_at(groups.len().min(a.len()));
    for (a, rows) in a_groups.iter().zip(groups) {
        for vector in next.next().unwrap_or_default() {
            target.prefetch(vector);
        }
        for (i, row) in rows.iter().enumerate() {
            step::<T, W, MR, V, PER_GROUP>(target, a, i, row, vector, &mut sums);
        }
    }
    for a in a_rest {
        for (i, row) in rest.iter().enumerate() {
            step::<T, W, MR, V, PER_GROUP>(target, a, i, row, vector, &mut sums);
        }
    }
    // By index: an iterator that owns the sums is not always seen through, and copies them all.
    for r in 0..MR {
        for v in 0..V {
            out[r][vector + v] = W::store(target, sums[r][v]);
        }
    }
}

/// Adds the products of a group's words for row `i` of the panel.
#[inline(always)]
fn step<T: Target, W: WeightType, const MR: usize, const V: usize, const PER_GROUP: usize>(
    target: T,
    a: &[Group; MR],
    i: usize,
    row: &PanelRow<W::Vector>,
    vector: usize,
    sums: &mut [[W::Sums<T>; V]; MR],
) {
    for part in 0..WORDS / PER_GROUP {
        // By index: a closure that loads two vectors was left a call.
        let mut weights = [W::load(target, &row[vector], part); V];
        for v in 1..V {
            weights[v] = W::load(target, &row[vector + v], part);
        }
        for r in 0..MR {
            let word = a[r].0[i * (WORDS / PER_GROUP) + part];
            for v in 0..V {
                sums[r][v] = W::dot(target, weights[v], word, sums[r][v]);
            }
        }
    }
}
