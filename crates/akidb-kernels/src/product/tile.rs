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

/// Multiplies a block of `rows` rows, `[K / STEP / 4][rows]`, with `panel` and writes the sums to
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
    if const { W::OPERANDS.vectors::<T>(MR) >= 2 } {
        tile::<T, W, MR, 2>(target, a, panel, 0, next, out);
    } else {
        tile::<T, W, MR, 1>(target, a, panel, 0, next, out);
        tile::<T, W, MR, 1>(target, a, panel, 1, &[], out);
    }
}

/// Sums of `MR` rows and `V` vectors of the panel, from `vector` on.
#[inline(always)]
fn tile<T: Target, W: WeightType, const MR: usize, const V: usize>(
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
    let (groups, rest) = panel.as_chunks::<WORDS>();
    let (a_groups, a_rest) = a.split_at(groups.len().min(a.len()));
    for (a, rows) in a_groups.iter().zip(groups) {
        for vector in next.next().unwrap_or_default() {
            target.prefetch(vector);
        }
        for (i, row) in rows.iter().enumerate() {
            step::<T, W, MR, V>(target, a, i, row, vector, &mut sums);
        }
    }
    for a in a_rest {
        for (i, row) in rest.iter().enumerate() {
            step::<T, W, MR, V>(target, a, i, row, vector, &mut sums);
        }
    }
    // By index: an iterator that owns the sums is not always seen through, and copies them all.
    for r in 0..MR {
        for v in 0..V {
            out[r][vector + v] = W::store(target, sums[r][v]);
        }
    }
}

/// Adds the products of word `i` of a group.
#[inline(always)]
fn step<T: Target, W: WeightType, const MR: usize, const V: usize>(
    target: T,
    a: &[Group; MR],
    i: usize,
    row: &PanelRow<W::Vector>,
    vector: usize,
    sums: &mut [[W::Sums<T>; V]; MR],
) {
    let weights: [W::Loaded<T>; V] = std::array::from_fn(|v| W::load(target, &row[vector + v]));
    for r in 0..MR {
        for v in 0..V {
            sums[r][v] = W::dot(target, weights[v], a[r].0[i], sums[r][v]);
        }
    }
}
