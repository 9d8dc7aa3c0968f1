//! The inner loop of the product with block-quantised weights: a few rows of A times one panel of
//! B.
//!
//! The product of a block is an exact sum of integers, codes without their zero point times
//! activations, which goes to the total in f32 with one rounding of `sum · scale + total`, block
//! after block; the scale is that of the weights times that of the activations.

use crate::arch::{NBitsTarget, max_rows_nbits};
use crate::lanes::{LANES, Lanes};
use crate::product::nbits::rows::BlockScale;
use crate::product::nbits::weights::{Layout, Line, ZERO_POINT_UNIT};
use crate::product::quantized::high_digits::{DIGIT, HighDigit};
use crate::product::row_blocks::{Group, WORDS};

/// Vectors of a panel.
const VECTORS: usize = 2;

/// How bytes of a panel become unsigned weights, 128 above what they mean.
pub(crate) trait Codes<T: NBitsTarget>: Copy {
    /// Codes of 32 weights along K of a panel.
    type Unit;

    /// Whole units.
    fn units(lines: &[Line]) -> &[Self::Unit];

    /// 4 weights along K of 16 columns, of the first or the `HIGH` 16 of a unit.
    fn weights<const HIGH: bool>(
        self,
        target: T,
        unit: &Self::Unit,
        step: usize,
        vector: usize,
    ) -> T::Weights;
}

/// Nibbles, to be multiplied with 16.
#[derive(Clone, Copy)]
pub(crate) struct Nibbles;

/// Nibbles, to be looked up in a table.
#[derive(Clone, Copy)]
pub(crate) struct Levels<Table>(pub(crate) Table);

/// Bytes as they are.
#[derive(Clone, Copy)]
pub(crate) struct Bytes;

impl<T: NBitsTarget> Codes<T> for Nibbles {
    type Unit = [Line; WORDS * VECTORS];

    #[inline(always)]
    fn units(lines: &[Line]) -> &[Self::Unit] {
        lines.as_chunks().0
    }

    #[inline(always)]
    fn weights<const HIGH: bool>(
        self,
        target: T,
        unit: &Self::Unit,
        step: usize,
        vector: usize,
    ) -> T::Weights {
        target.nibbles::<HIGH>(&unit[step * VECTORS + vector].0)
    }
}

impl<T: NBitsTarget> Codes<T> for Levels<T::Table> {
    type Unit = [Line; WORDS * VECTORS];

    #[inline(always)]
    fn units(lines: &[Line]) -> &[Self::Unit] {
        lines.as_chunks().0
    }

    #[inline(always)]
    fn weights<const HIGH: bool>(
        self,
        target: T,
        unit: &Self::Unit,
        step: usize,
        vector: usize,
    ) -> T::Weights {
        target.look_up::<HIGH>(self.0, &unit[step * VECTORS + vector].0)
    }
}

impl<T: NBitsTarget> Codes<T> for Bytes {
    type Unit = [[Line; WORDS * VECTORS]; 2];

    #[inline(always)]
    fn units(lines: &[Line]) -> &[Self::Unit] {
        lines.as_chunks().0.as_chunks().0
    }

    #[inline(always)]
    fn weights<const HIGH: bool>(
        self,
        target: T,
        unit: &Self::Unit,
        step: usize,
        vector: usize,
    ) -> T::Weights {
        target.load_weights(&unit[usize::from(HIGH)][step * VECTORS + vector].0)
    }
}

/// Some neighbouring rows of a block of A.
#[derive(Clone, Copy)]
pub(crate) struct TileRows<'a> {
    /// `[K / 16][height]`, from the first row on.
    pub(crate) values: &'a [Group],
    /// `[blocks][height]`, likewise.
    pub(crate) scales: &'a [BlockScale],
    /// Rows of the block.
    pub(crate) height: usize,
    /// Rows that count.
    pub(crate) rows: usize,
}

/// Some columns of B.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) layout: Layout,
    /// What a later call reads.
    pub(crate) next: &'a [Line],
}

/// Multiplies rows with a panel and writes the totals to `out`, a row for each. Meanwhile asks for
/// the next panel to be in the cache.
///
/// There are at most as many rows as the target's tallest tile has; lengths are the caller's
/// business (a mistake there gives wrong totals, not a panic).
#[inline(always)]
pub(crate) fn multiply_nbits<T: NBitsTarget, C: Codes<T>>(
    target: T,
    codes: C,
    a: TileRows<'_>,
    panel: Panel<'_>,
    out: &mut [[Lanes; VECTORS]],
) {
    macro_rules! of_rows {
        ($($rows:literal)*) => {
            match a.rows {
                $($rows if const { $rows <= max_rows_nbits::<T>() } => {
                    multiply_of_rows::<T, C, $rows>(target, codes, a, panel, out)
                })*
                rows => debug_assert!(false, "no tile of {rows} rows"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6);
}

#[inline(always)]
fn multiply_of_rows<T: NBitsTarget, C: Codes<T>, const MR: usize>(
    target: T,
    codes: C,
    a: TileRows<'_>,
    panel: Panel<'_>,
    out: &mut [[Lanes; VECTORS]],
) {
    if const { MR <= max_rows_nbits::<T>() && T::NBITS_VECTORS[MR] >= 2 } {
        tile::<T, C, MR, 2>(target, codes, a, panel, 0, out);
    } else {
        tile::<T, C, MR, 1>(target, codes, a, panel, 0, out);
        let again = Panel { next: &[], ..panel };
        tile::<T, C, MR, 1>(target, codes, a, again, 1, out);
    }
}

/// Totals of `MR` rows and `V` vectors of the panel, from `vector` on.
#[inline(always)]
fn tile<T: NBitsTarget, C: Codes<T>, const MR: usize, const V: usize>(
    target: T,
    codes: C,
    a: TileRows<'_>,
    panel: Panel<'_>,
    vector: usize,
    out: &mut [[Lanes; VECTORS]],
) {
    let Panel {
        lines,
        layout,
        next,
    } = panel;
    let height = a.height;
    let two_blocks = layout.blocks == 2;
    let mut totals = [[target.splat(0.0); V]; MR];
    let units = a.values.len().div_ceil(2 * height).max(1);
    let mut next = next.chunks(next.len().div_ceil(units).max(1));
    // Not zipped, which would divide by the chunk sizes again and again.
    let mut values = a.values.chunks(2 * height);
    let mut scales_of_a = a.scales.chunks(layout.blocks * height);
    for lines in lines.chunks(layout.span()) {
        let parts = (lines.split_at_checked(layout.header), scales_of_a.next());
        let (Some((header, lines)), Some(scales_of_a)) = parts else {
            return;
        };
        let (scales, zero_points) = header.split_at(layout.blocks);
        let mut block = Block::<T, MR, V>::start(target, scales_of_a);
        if let Some(zero_points) = zero_points.first() {
            block.zero_points(target, &scales[0], zero_points, vector, &mut totals);
        }
        block.shift(target);
        for unit in C::units(lines) {
            let Some(values) = values.next() else {
                return;
            };
            for line in next.next().unwrap_or_default() {
                target.prefetch(line);
            }
            if let Some(values) = values.first_chunk() {
                block.add::<C, false>(target, codes, unit, values, vector);
            }
            if two_blocks {
                block.finish(target, &scales[0], vector, &mut totals);
                let second = scales_of_a.get(height..).unwrap_or_default();
                block = Block::start(target, second);
                if let Some(zero_points) = zero_points.get(1) {
                    block.zero_points(target, &scales[1], zero_points, vector, &mut totals);
                }
                block.shift(target);
            }
            if let Some(values) = values.get(height..).and_then(|high| high.first_chunk()) {
                block.add::<C, true>(target, codes, unit, values, vector);
            }
        }
        block.finish(target, &scales[layout.blocks - 1], vector, &mut totals);
    }
    // A copy of its own, so that `totals` need no memory.
    let mut done = [[[0.0; LANES]; V]; MR];
    for r in 0..MR {
        for v in 0..V {
            done[r][v] = target.store(totals[r][v]);
        }
    }
    for (out, done) in out.iter_mut().zip(&done) {
        for (out, done) in out.iter_mut().skip(vector).zip(done) {
            *out = *done;
        }
    }
}

/// Adds the products of a row's high digits, one after the other, to its totals. `scale_of_a` gives
/// the row's scale in a block.
#[inline(always)]
pub(crate) fn add_high_digits<T: NBitsTarget, C: Codes<T>>(
    target: T,
    codes: C,
    digits: &[HighDigit],
    scale_of_a: impl Fn(usize) -> f32,
    panel: Panel<'_>,
    totals: &mut [Lanes; VECTORS],
) {
    let Panel { lines, layout, .. } = panel;
    // Words of four along K in a unit.
    const UNIT_WORDS: usize = 2 * WORDS;
    let mut sums = [target.load(&totals[0]), target.load(&totals[1])];
    for digit in digits {
        let HighDigit { word, digits } = *digit;
        let (unit, word) = (word / UNIT_WORDS, word % UNIT_WORDS);
        let (span, unit) = (unit / layout.units, unit % layout.units);
        let (step, high) = (word % WORDS, word >= WORDS);
        let block = usize::from(layout.blocks == 2 && high);
        let lines = lines.get(span * layout.span()..).unwrap_or_default();
        let (header, lines) = lines.split_at(layout.header.min(lines.len()));
        let (Some(unit), Some(scales)) = (C::units(lines).get(unit), header.get(block)) else {
            return;
        };
        let zero_points = header.get(layout.blocks + block);
        // Takes back the 128 too much in each weight.
        let offset = target.splat_sums(-128 * digit.digit());
        let steps = DIGIT as f32 * scale_of_a(span * layout.blocks + block);
        let steps = target.splat(steps);
        let zero = target.splat(0.0);
        for (v, sum) in sums.iter_mut().enumerate() {
            let weights = if high {
                codes.weights::<true>(target, unit, step, v)
            } else {
                codes.weights::<false>(target, unit, step, v)
            };
            let product = target.sums_to_f32(target.dot(weights, digits, offset));
            let scale = target.mul_add(load(target, scales, v), steps, zero);
            if let Some(zero_points) = zero_points {
                let factor = target.mul_add(scale, target.splat(ZERO_POINT_UNIT), zero);
                let factor = target.mul_add(factor, load(target, zero_points, v), zero);
                *sum = target.mul_add(target.sums_to_f32(offset), factor, *sum);
            }
            *sum = target.mul_add(product, scale, *sum);
        }
    }
    *totals = sums.map(|sum| target.store(sum));
}

/// The sums of one block.
struct Block<T: NBitsTarget, const MR: usize, const V: usize> {
    /// Scale of each row.
    a: [f32; MR],
    sums: [[T::Sums; V]; MR],
}

#[expect(
    clippy::needless_range_loop,
    reason = "rows and vectors of a tile index several arrays at once"
)]
impl<T: NBitsTarget, const MR: usize, const V: usize> Block<T, MR, V> {
    /// Sums that take back the 128 too much in each weight. Behind the last block of A, scales are
    /// zeros.
    #[inline(always)]
    fn start(target: T, scales: &[BlockScale]) -> Self {
        let a = scales.first_chunk().copied();
        let a: [BlockScale; MR] = a.unwrap_or([BlockScale::default(); MR]);
        Self {
            a: a.map(|a| a.scale),
            sums: a.map(|a| [target.splat_sums(a.offset); V]),
        }
    }

    /// Adds to `totals` what the block's zero points differ from the middle, right after the
    /// start, when each sum is -128 · the sum of the row's activations.
    #[inline(always)]
    fn zero_points(
        &self,
        target: T,
        scales: &Line,
        zero_points: &Line,
        vector: usize,
        totals: &mut [[T::Vector; V]; MR],
    ) {
        let zero = target.splat(0.0);
        for v in 0..V {
            let scale = load(target, scales, vector + v);
            let factor = target.mul_add(scale, target.splat(ZERO_POINT_UNIT), zero);
            let factor = target.mul_add(factor, load(target, zero_points, vector + v), zero);
            for r in 0..MR {
                let sum = target.sums_to_f32(self.sums[r][v]);
                let factor = target.mul_add(factor, target.splat(self.a[r]), zero);
                totals[r][v] = target.mul_add(sum, factor, totals[r][v]);
            }
        }
    }

    /// Before the first group: nothing is to be taken back where the instructions do it.
    #[inline(always)]
    fn shift(&mut self, target: T) {
        if T::SHIFTED {
            self.sums = [[target.zero_sums(); V]; MR];
        }
    }

    /// Adds the products of one group.
    #[inline(always)]
    fn add<C: Codes<T>, const HIGH: bool>(
        &mut self,
        target: T,
        codes: C,
        unit: &C::Unit,
        values: &[Group; MR],
        vector: usize,
    ) {
        for step in 0..WORDS {
            for v in 0..V {
                let weights = codes.weights::<HIGH>(target, unit, step, vector + v);
                for r in 0..MR {
                    let word = values[r].0[step];
                    self.sums[r][v] = target.dot_shifted(weights, word, self.sums[r][v]);
                }
            }
        }
    }

    /// Adds the block to `totals`.
    #[inline(always)]
    fn finish(&self, target: T, scales: &Line, vector: usize, totals: &mut [[T::Vector; V]; MR]) {
        let zero = target.splat(0.0);
        for v in 0..V {
            let scale = load(target, scales, vector + v);
            for r in 0..MR {
                let sum = target.sums_to_f32(self.sums[r][v]);
                let scale = target.mul_add(scale, target.splat(self.a[r]), zero);
                totals[r][v] = target.mul_add(sum, scale, totals[r][v]);
            }
        }
    }
}

/// The i16 of 16 columns.
#[inline(always)]
fn load<T: NBitsTarget>(target: T, line: &Line, vector: usize) -> T::Vector {
    target.load_i16(&line.0.as_chunks().0[vector])
}
