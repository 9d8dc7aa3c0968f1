//! The inner loop of every product: a few rows of A times one or more panels of B.

use crate::arch::{Target, max_rows};
use crate::lanes::{LANES, Lanes};
use crate::packed::PanelRow;

/// Takes finished sums: 16 neighbouring columns of one row at a time.
pub(crate) trait Sink<T> {
    /// `row` counts within the block, `vector` counts 16 columns from the first panel on.
    fn put(&mut self, row: usize, vector: usize, sums: &[T; LANES]);
}

/// Some neighbouring panels of B.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    /// `[panels][stride]`.
    pub(crate) rows: &'a [PanelRow],
    /// Rows from one panel to the next.
    pub(crate) stride: usize,
    /// Rows of each panel that count (K), at most `stride`.
    pub(crate) k: usize,
}

/// Multiplies a block of `rows` rows, `[K][rows]`, with `panels` and gives each sum to `sink`.
/// A sum starts at zero and walks K upwards, in any tile.
///
/// `rows` is at most the target's tallest tile; lengths are the caller's business (a mistake
/// there gives missing sums, not a panic).
#[inline(always)]
pub(crate) fn product<T: Target>(
    target: T,
    rows: usize,
    a: &[f32],
    panels: Panels<'_>,
    sink: &mut impl Sink<f32>,
) {
    macro_rules! of_rows {
        ($($rows:literal)*) => {
            match rows {
                $($rows if $rows <= max_rows::<T>() => {
                    product_of_rows::<T, $rows>(target, a.as_chunks().0, panels, sink)
                })*
                _ => debug_assert!(false, "no tile of {rows} rows"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8 9 10 11 12);
}

#[inline(always)]
fn product_of_rows<T: Target, const MR: usize>(
    target: T,
    a: &[[f32; MR]],
    panels: Panels<'_>,
    sink: &mut impl Sink<f32>,
) {
    let Panels { rows, stride, k } = panels;
    let vectors = T::VECTORS.get(MR).copied().unwrap_or(1);
    let mut vector = 0;
    let mut rest = rows;
    if vectors >= 8 {
        while let Some((group, after)) = rest.split_at_checked(4 * stride) {
            let (first, second) = group.split_at(2 * stride);
            let ((p0, p1), (p2, p3)) = (first.split_at(stride), second.split_at(stride));
            let row = |i: usize| [&p0[i].0, &p1[i].0, &p2[i].0, &p3[i].0];
            tile(target, a, k, row, vector, sink);
            vector += 8;
            rest = after;
        }
    }
    if vectors >= 4 {
        while let Some((group, after)) = rest.split_at_checked(2 * stride) {
            let (p0, p1) = group.split_at(stride);
            tile(target, a, k, |i| [&p0[i].0, &p1[i].0], vector, sink);
            vector += 4;
            rest = after;
        }
    }
    for panel in rest.chunks_exact(stride) {
        if vectors >= 2 {
            tile(target, a, k, |i| [&panel[i].0], vector, sink);
        } else {
            let half = |half: usize| move |i: usize| [std::array::from_ref(&panel[i].0[half])];
            tile(target, a, k, half(0), vector, sink);
            tile(target, a, k, half(1), vector + 1, sink);
        }
        vector += 2;
    }
}

/// Sums of `MR` rows and `P` × `V` vectors, which `b` gives for each index along K.
#[inline(always)]
fn tile<'b, T: Target, const MR: usize, const P: usize, const V: usize>(
    target: T,
    a: &[[f32; MR]],
    k: usize,
    b: impl Fn(usize) -> [&'b [Lanes; V]; P],
    vector: usize,
    sink: &mut impl Sink<f32>,
) {
    let zero = target.splat(0.0);
    let mut sums = [[[zero; V]; P]; MR];
    for (i, a) in a.iter().enumerate().take(k) {
        let lanes = b(i);
        let mut b = [[zero; V]; P];
        for p in 0..P {
            for v in 0..V {
                b[p][v] = target.load(&lanes[p][v]);
            }
        }
        for r in 0..MR {
            let a = target.splat(a[r]);
            for p in 0..P {
                for v in 0..V {
                    sums[r][p][v] = target.mul_add(a, b[p][v], sums[r][p][v]);
                }
            }
        }
    }
    // A copy of its own, so that `sums` need no memory, whatever `sink` does.
    let mut done = [[[[0.0; LANES]; V]; P]; MR];
    for r in 0..MR {
        for p in 0..P {
            for v in 0..V {
                done[r][p][v] = target.store(sums[r][p][v]);
            }
        }
    }
    for (r, row) in done.iter().enumerate() {
        for (v, sums) in row.as_flattened().iter().enumerate() {
            sink.put(r, vector + v, sums);
        }
    }
}
