//! The inner loop of the int8 product: a few rows of A times one panel of B.

use crate::arch::{Int8Target, max_rows_int8};
use crate::lanes::LANES;
use crate::packed_int8::{Int8PanelRow, K_STEP};
use crate::quantized_rows::Group;
use crate::tile::Sink;

/// Steps along K in a [`Group`].
const STEPS: usize = LANES / K_STEP;

/// Multiplies a block of `rows` rows, `[K / 16][rows]`, with `panel` and gives each sum to
/// `sink`. Meanwhile asks for `next`, which a later call reads, to be in the cache.
///
/// `rows` is at most the target's tallest tile; lengths are the caller's business (a mistake
/// there gives missing sums, not a panic).
#[inline(always)]
pub(crate) fn product_int8<T: Int8Target>(
    target: T,
    rows: usize,
    a: &[Group],
    panel: &[Int8PanelRow],
    next: &[Int8PanelRow],
    sink: &mut impl Sink<i32>,
) {
    macro_rules! of_rows {
        ($($rows:literal)*) => {
            match rows {
                $($rows if $rows <= max_rows_int8::<T>() => {
                    product_of_rows::<T, $rows>(target, a.as_chunks().0, panel, next, sink)
                })*
                _ => debug_assert!(false, "no tile of {rows} rows"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8 9 10 11 12);
}

#[inline(always)]
fn product_of_rows<T: Int8Target, const MR: usize>(
    target: T,
    a: &[[Group; MR]],
    panel: &[Int8PanelRow],
    next: &[Int8PanelRow],
    sink: &mut impl Sink<i32>,
) {
    if T::INT8_VECTORS.get(MR).copied().unwrap_or(1) >= 2 {
        tile::<T, MR, 2>(target, a, panel, 0, next, sink);
    } else {
        tile::<T, MR, 1>(target, a, panel, 0, next, sink);
        tile::<T, MR, 1>(target, a, panel, 1, &[], sink);
    }
}

/// Sums of `MR` rows and `V` vectors of the panel, from `vector` on.
#[inline(always)]
fn tile<T: Int8Target, const MR: usize, const V: usize>(
    target: T,
    a: &[[Group; MR]],
    panel: &[Int8PanelRow],
    vector: usize,
    next: &[Int8PanelRow],
    sink: &mut impl Sink<i32>,
) {
    let mut sums = [[target.zero_sums(); V]; MR];
    let mut next = next.chunks(next.len().div_ceil(a.len().max(1)).max(1));
    let (groups, rest) = panel.as_chunks::<STEPS>();
    let (a_groups, a_rest) = a.split_at(groups.len().min(a.len()));
    for (a, rows) in a_groups.iter().zip(groups) {
        for row in next.next().unwrap_or_default() {
            target.prefetch(&row.0);
        }
        for (i, row) in rows.iter().enumerate() {
            step(target, a, i, row, vector, &mut sums);
        }
    }
    for a in a_rest {
        for (i, row) in rest.iter().enumerate() {
            step(target, a, i, row, vector, &mut sums);
        }
    }
    // A copy of its own, so that `sums` need no memory, whatever `sink` does.
    let mut done = [[[0; LANES]; V]; MR];
    for r in 0..MR {
        for v in 0..V {
            done[r][v] = target.store_sums(sums[r][v]);
        }
    }
    for (r, row) in done.iter().enumerate() {
        for (v, sums) in row.iter().enumerate() {
            sink.put(r, vector + v, sums);
        }
    }
}

/// Adds the products of step `i` of a group.
#[inline(always)]
fn step<T: Int8Target, const MR: usize, const V: usize>(
    target: T,
    a: &[Group; MR],
    i: usize,
    row: &Int8PanelRow,
    vector: usize,
    sums: &mut [[T::Sums; V]; MR],
) {
    let weights: [T::Weights; V] = std::array::from_fn(|v| target.load_weights(&row.0[vector + v]));
    for r in 0..MR {
        for v in 0..V {
            sums[r][v] = target.dot(weights[v], a[r].0[i], sums[r][v]);
        }
    }
}
