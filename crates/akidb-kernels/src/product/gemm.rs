//! What all products share: the way through panels and blocks of rows, and what C becomes.

use std::ops::Range;

use crate::activation::{Gate, gated};
use crate::arch::{Kernel, Target};
use crate::lanes::{Aligned, LANES, Lanes, load_partial};
use crate::product::row_blocks::RowBlocks;
use crate::product::tile::{MAX_MR, Tile};
use crate::{NR, ShapeError};

/// What a product does with C.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Epilogue<'a> {
    /// Overwrites it.
    Store,
    /// Overwrites it, with a bias added: a value for each column of the weight.
    StoreBiased(&'a [f32]),
    /// Is added to it (a residual connection).
    Add,
    /// Is added to it after a bias, as in [`Self::StoreBiased`].
    AddBiased(&'a [f32]),
    /// Overwrites it with `act(gate) · up`: panels are gate, up, gate, up, … and each such pair
    /// gives [`NR`] columns of C. The bits are those of [`glu`](crate::glu()) applied to the two
    /// products.
    Gated(Gate),
}

impl<'a> Epilogue<'a> {
    /// Overwrites C, with a bias added where there is one.
    pub fn store(bias: Option<&'a [f32]>) -> Self {
        bias.map_or(Self::Store, Self::StoreBiased)
    }

    /// Is added to C, after a bias where there is one.
    pub fn add(bias: Option<&'a [f32]>) -> Self {
        bias.map_or(Self::Add, Self::AddBiased)
    }

    /// Panels that give the same columns of C.
    pub fn panels(self) -> usize {
        match self {
            Self::Gated(_) => 2,
            _ => 1,
        }
    }

    /// What is added to the elements of a column and those behind it.
    #[inline(always)]
    fn bias(self, column: usize) -> Option<&'a [f32]> {
        match self {
            Self::StoreBiased(bias) | Self::AddBiased(bias) => bias.get(column..),
            _ => None,
        }
    }
}

/// Rows of A and packed panels of B.
pub(crate) trait Product {
    /// As [`Kernel::INT8`].
    const INT8: bool;

    /// As [`Kernel::BF16`].
    const BF16: bool;

    /// One of the numbers that the inner loop sums up in.
    type Sum: Copy + Default;

    /// What panels consist of.
    type PanelRow;

    /// The rows of A.
    fn rows(&self) -> &RowBlocks;

    /// K and N of B.
    fn weight_shape(&self) -> [usize; 2];

    /// The rows of a panel; empty when there is no such panel.
    fn panel(&self, index: usize) -> &[Self::PanelRow];

    /// Multiplies the rows of a block with a panel. Meanwhile asks for `next`, which a later call
    /// reads, to be in the cache.
    fn multiply<T: Target>(
        &self,
        target: T,
        rows: &Range<usize>,
        panel: usize,
        next: &[Self::PanelRow],
        out: &mut Tile<Self::Sum>,
    );

    /// Calls `row` for each row of a block, with its index in the block and the elements that the
    /// row's sums with a panel stand for.
    fn elements(
        &self,
        rows: &Range<usize>,
        panel: usize,
        sums: &Tile<Self::Sum>,
        row: impl FnMut(usize, &[Lanes; 2]),
    );
}

/// Computes `panels` of a product; what goes wrong is reported as `op`'s.
pub(crate) fn run(
    op: &'static str,
    product: &impl Product,
    panels: Range<usize>,
    c: &mut [&mut [f32]],
    epilogue: Epilogue<'_>,
) -> Result<(), ShapeError> {
    check(op, product, &panels, c, epilogue)?;
    product.rows().isa().run(Gemm {
        product,
        panels,
        c,
        epilogue,
    });
    Ok(())
}

/// `Ok` when operands, `panels` and `c` fit each other. K doesn't count without rows.
fn check(
    op: &'static str,
    product: &impl Product,
    panels: &Range<usize>,
    c: &[&mut [f32]],
    epilogue: Epilogue<'_>,
) -> Result<(), ShapeError> {
    let Range { start, end } = *panels;
    let (rows, [k, n]) = (product.rows(), product.weight_shape());
    ShapeError::range(op, "panels", end, n.div_ceil(NR))?;
    ShapeError::range(op, "panels", start, end)?;
    let group = epilogue.panels();
    ShapeError::length(op, "panels before", start.next_multiple_of(group), start)?;
    ShapeError::length(op, "panels", end.next_multiple_of(group), end)?;
    ShapeError::length(op, "c", rows.rows(), c.len())?;
    if let Some(bias) = epilogue.bias(0) {
        ShapeError::length(op, "bias", n, bias.len())?;
    }
    if rows.rows() == 0 {
        return Ok(());
    }
    ShapeError::length(op, "rows of a", k, rows.k())?;
    let widest = (end - start) / group * NR;
    for row in c {
        let width = match epilogue {
            // Padding of gate and up is no part of C.
            Epilogue::Gated(_) if row.len() + NR > widest => row.len().min(widest),
            Epilogue::Gated(_) => widest,
            _ => (end * NR).min(n).saturating_sub(start * NR),
        };
        ShapeError::length(op, "rows of c", width, row.len())?;
    }
    Ok(())
}

struct Gemm<'a, 'c, 'r, 'b, P> {
    product: &'a P,
    panels: Range<usize>,
    c: &'c mut [&'r mut [f32]],
    epilogue: Epilogue<'b>,
}

impl<P: Product> Kernel for Gemm<'_, '_, '_, '_, P> {
    const INT8: bool = P::INT8;
    const BF16: bool = P::BF16;

    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        let Self {
            product,
            panels: Range { start, end },
            c,
            epilogue,
        } = self;
        let blocks = product.rows().blocks();
        let group = epilogue.panels();
        // Of many rows, the next call is likely to go on where this one ends.
        let last = if blocks.count() > 1 { usize::MAX } else { end };
        let mut sums: Aligned<Tile<P::Sum>> = Aligned([[[P::Sum::default(); LANES]; 2]; MAX_MR]);
        let mut gates: Aligned<Tile<f32>> = Aligned([[[0.0; LANES]; 2]; MAX_MR]);
        let mut first = start;
        while first < end {
            let column = (first - start) / group * NR;
            let bias = epilogue.bias(first * NR);
            // All blocks take turns with the panels of one group, which stay in the cache. Each
            // asks for its share of the next group.
            for (index, rows) in blocks.iter().enumerate() {
                // Rows of C are far apart: each would be a cache miss when its elements are there.
                for c in c.iter().take(rows.end).skip(rows.start) {
                    let c = c.get(column..).unwrap_or_default();
                    for lanes in c.as_chunks::<LANES>().0.iter().take(2) {
                        target.prefetch(lanes);
                    }
                }
                for panel in first..first + group {
                    let next = next_share(product, panel + group, last, index, blocks.count());
                    product.multiply(target, &rows, panel, next, &mut sums.0);
                    if panel + 1 < first + group {
                        product.elements(&rows, panel, &sums.0, |row, elements| {
                            // As vectors, or the compiler scatters lanes of several rows.
                            gates.0[row] = elements.map(|x| target.store(target.load(&x)));
                        });
                    } else {
                        let c = c.get_mut(rows.clone()).unwrap_or_default();
                        product.elements(&rows, panel, &sums.0, |row, elements| {
                            let c = c.get_mut(row).and_then(|c| c.get_mut(column..));
                            let c = c.unwrap_or_default();
                            finish::<T>(epilogue, bias, c, elements, &gates.0[row]);
                        });
                    }
                }
            }
            first += group;
        }
    }
}

/// Part `index` of `parts` of a panel; empty from `end` on.
#[inline(always)]
fn next_share<P: Product>(
    product: &P,
    panel: usize,
    end: usize,
    index: usize,
    parts: usize,
) -> &[P::PanelRow] {
    if panel >= end {
        return &[];
    }
    let rows = product.panel(panel);
    let mut shares = rows.chunks(rows.len().div_ceil(parts.max(1)).max(1));
    shares.nth(index).unwrap_or_default()
}

/// Puts elements to the first columns of `c`, as far as there are any; `bias` begins with theirs.
#[inline(always)]
fn finish<T: Target>(
    epilogue: Epilogue<'_>,
    bias: Option<&[f32]>,
    c: &mut [f32],
    elements: &[Lanes; 2],
    gate: &[Lanes; 2],
) {
    for v in 0..2 {
        let Some(c) = c.get_mut(v * LANES..) else {
            return;
        };
        let elements = match epilogue {
            Epilogue::Store | Epilogue::Add => elements[v],
            Epilogue::StoreBiased(_) | Epilogue::AddBiased(_) => biased(&elements[v], bias, v),
            Epilogue::Gated(act) => gated::<T>(act, &gate[v], &elements[v]),
        };
        let adds = matches!(epilogue, Epilogue::Add | Epilogue::AddBiased(_));
        match (c.first_chunk_mut::<LANES>(), adds) {
            (Some(c), false) => *c = elements,
            (Some(c), true) => {
                for l in 0..LANES {
                    c[l] += elements[l];
                }
            }
            (None, false) => {
                for (c, element) in c.iter_mut().zip(elements) {
                    *c = element;
                }
            }
            (None, true) => {
                for (c, element) in c.iter_mut().zip(elements) {
                    *c += element;
                }
            }
        }
    }
}

/// Vector `v` of elements, with those of `bias` added, as far as there are any.
#[inline(always)]
fn biased(elements: &Lanes, bias: Option<&[f32]>, v: usize) -> Lanes {
    let bias = bias.and_then(|bias| bias.get(v * LANES..));
    let bias = bias.unwrap_or_default();
    let bias = match bias.first_chunk::<LANES>() {
        Some(bias) => *bias,
        None => load_partial(bias, 0.0),
    };
    std::array::from_fn(|l| elements[l] + bias[l])
}
