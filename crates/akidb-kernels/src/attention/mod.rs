//! Grouped-query attention with an online softmax (Milakov & Gimelshein, 2018;
//! Rabe & Staats, 2021): memory grows with the number of queries, never with queries × keys.

use crate::arch::{Kernel, Operands, Target};
use crate::exp::exp2_nonpositive;
use crate::lanes::{Aligned, LANES, Lanes, larger, load_partial, sum};
use crate::product::{Blocks, MAX_MR, NR};
use crate::{Isa, ShapeError};

mod key_values;
mod operand;
mod product;
mod softmax;
#[cfg(test)]
mod tests;

use key_values::{Pairs, Row};
use operand::{Bf16, CHUNK, Chunk, F32, Operand};
use product::{Values, score, tallest, weigh};
use softmax::{add_bias, hide, mask, weigh_keys};

pub use key_values::{KEY_TILE, KeyValueTile, KeyValueType};

/// Tiles whose keys share one step of the softmax. Where the first keys of a text are seen by no query
/// of a call, whole steps of them may be left out.
pub const STEP_TILES: usize = 4;

/// Keys of a step. Steps lie at fixed places like tiles.
const STEP_KEYS: usize = STEP_TILES * KEY_TILE;

/// What one key/value head serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Width of a head.
    pub head_dim: usize,
    /// Query heads that share the key/value head.
    pub query_heads: usize,
    /// Factor of the scores, 1/√head_dim as a rule.
    pub scale: f32,
}

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mask<'a> {
    /// Those of its own and all earlier positions.
    Causal,
    /// Those of the whole text.
    Full {
        /// Positions of the text.
        tokens: usize,
    },
    /// The same, and something is added to its scores.
    Biased {
        /// Positions of the text.
        tokens: usize,
        /// What is added, `[query_heads, 2 * n + 1]`: for keys from `n` positions before the query
        /// to `n` behind it.
        bias: &'a [f32],
    },
    /// Those that are near.
    Window {
        /// Positions of the text.
        tokens: usize,
        /// So many positions before the query's own,
        before: usize,
        /// and behind it.
        after: usize,
    },
}

impl Mask<'_> {
    /// Positions up to the last that one of the queries up to `end` sees.
    #[inline(always)]
    fn end(self, end: usize) -> usize {
        match self {
            Self::Causal => end,
            Self::Full { tokens } | Self::Biased { tokens, .. } => tokens,
            Self::Window { tokens, after, .. } => tokens.min(end.saturating_add(after)),
        }
    }

    /// The first position that the query at `position` sees.
    #[inline(always)]
    fn start(self, position: usize) -> usize {
        match self {
            Self::Window { before, .. } => position.saturating_sub(before),
            _ => 0,
        }
    }
}

/// Memory that [`attention`] keeps from one call to the next.
#[derive(Debug, Clone)]
pub struct AttentionScratch {
    isa: Isa,
    state: State,
    f32: Factors<Lanes, f32>,
    bf16: Factors<Pairs, [u16; 2]>,
}

/// What is known of each query so far, and of a block's scores.
#[derive(Debug, Clone, Default)]
struct State {
    /// The largest score,
    largest: Vec<f32>,
    /// the sum of 2^(score - largest), lane by lane,
    total: Vec<Aligned<Lanes>>,
    /// and the sum of 2^(score - largest) · value, `[queries][vectors]`.
    weighted: Vec<Aligned<Lanes>>,
    /// Of a block with the keys of a step, `[rows][vectors]`.
    scores: Vec<Aligned<Lanes>>,
}

/// What is multiplied with keys and values.
#[derive(Debug, Clone)]
struct Factors<V, F> {
    /// `[blocks][chunks][rows]`, scaled.
    queries: Vec<Chunk<F>>,
    /// Of a block with the keys of a step, `[chunks][rows]`.
    weights: Vec<Chunk<F>>,
    /// The last row of each panel of values, where it is seen in part.
    last_row: Vec<Row<V>>,
}

impl<V, F> Factors<V, F> {
    const EMPTY: Self = Self {
        queries: Vec::new(),
        weights: Vec::new(),
        last_row: Vec::new(),
    };
}

impl AttentionScratch {
    /// Scratch for the kernels of `isa`.
    pub fn new(isa: Isa) -> Self {
        Self {
            isa,
            state: State::default(),
            f32: Factors::EMPTY,
            bf16: Factors::EMPTY,
        }
    }
}

/// softmax(scale · Q·Kᵀ)·V for queries at the positions from `first_position` on, each seeing the
/// keys that `mask` shows it.
///
/// `queries` is `[rows, query_heads, head_dim]`, a row a position; `out` holds a slice
/// `[query_heads, head_dim]` per row. Tile `t` of `tiles` holds the positions from `t` ·
/// [`KEY_TILE`] on, at least up to the last that is seen, and may hold anything behind.
///
/// A query's result is the same bits whatever other queries are in the call, as long as all values
/// are finite: keys are taken in steps at fixed positions, and keys that a query doesn't see have
/// weight 0. Steps that no query of a block sees, as those outside of a window, are not computed. Some 128 queries (rows × heads) a call are best: keys and values are then read from
/// the cache, and the queries fit beside them.
///
/// # Errors
/// When lengths contradict each other, `tiles` ends before the last position that is seen, or a
/// tile is of another width or type than the others.
pub fn attention(
    shape: &Attention,
    mask: Mask<'_>,
    tiles: &[&KeyValueTile],
    first_position: usize,
    queries: &[f32],
    out: &mut [&mut [f32]],
    scratch: &mut AttentionScratch,
) -> Result<(), ShapeError> {
    let op = "attention";
    let head_dim = shape.head_dim;
    let bad_heads = ShapeError::size(op, "query_heads", shape.query_heads);
    let width = head_dim.checked_mul(shape.query_heads).ok_or(bad_heads)?;
    if width == 0 {
        return Err(bad_heads);
    }
    let expected = width.checked_mul(out.len()).ok_or(bad_heads)?;
    ShapeError::length(op, "queries", expected, queries.len())?;
    for row in out.iter() {
        ShapeError::length(op, "rows of out", width, row.len())?;
    }
    let Some(first_tile) = tiles.first() else {
        return ShapeError::range(op, "positions", out.len(), 0);
    };
    let end = first_position.saturating_add(out.len());
    if let Mask::Biased { bias, tokens } = mask {
        let row = bias.len() / shape.query_heads;
        ShapeError::length(op, "bias", row * shape.query_heads, bias.len())?;
        ShapeError::range(op, "tokens", tokens.max(end), row.div_ceil(2))?;
    }
    if let Mask::Window { tokens, .. } = mask {
        ShapeError::range(op, "queries", end, tokens)?;
    }
    let end = mask.end(end);
    if end == 0 {
        return ShapeError::range(op, "queries", out.len(), 0);
    }
    ShapeError::range(op, "positions", end, tiles.len().saturating_mul(KEY_TILE))?;
    let key_value_type = first_tile.key_value_type();
    for tile in tiles {
        ShapeError::length(op, "a head of a tile", head_dim, tile.head_dim())?;
        if tile.key_value_type() != key_value_type {
            return Err(tile.wrong_type(op, key_value_type));
        }
    }

    let AttentionScratch {
        isa,
        state,
        f32,
        bf16,
    } = scratch;
    let call = Call {
        shape,
        mask,
        tiles,
        first_position,
        queries,
        out,
        state,
    };
    match key_value_type {
        KeyValueType::F32 => isa.run(Online::<F32> { call, factors: f32 }),
        KeyValueType::Bf16 => isa.run(Online::<Bf16> {
            call,
            factors: bf16,
        }),
    }
    Ok(())
}

/// What [`attention`] was called with.
struct Call<'a, 'o> {
    shape: &'a Attention,
    mask: Mask<'a>,
    tiles: &'a [&'a KeyValueTile],
    first_position: usize,
    queries: &'a [f32],
    out: &'a mut [&'o mut [f32]],
    state: &'a mut State,
}

struct Online<'a, 'o, O: Operand> {
    call: Call<'a, 'o>,
    factors: &'a mut Factors<O::Vector, O::Factor>,
}

impl<O: Operand> Kernel for Online<'_, '_, O> {
    const BF16: bool = matches!(O::OPERANDS, Operands::Bf16);

    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        let Self { mut call, factors } = self;
        let head_dim = call.shape.head_dim;
        let count = call.queries.len() / head_dim;
        // Of pairs of queries, so that half as many heights of tiles do.
        let pairs = Blocks {
            rows: count.div_ceil(2),
            tallest: tallest::<T, O>() / 2,
        };
        call.state.reset(2 * pairs.rows, columns(head_dim));
        factors.pack::<T, O>(target, &call, pairs);
        for (step, tiles) in call.tiles.chunks(STEP_TILES).enumerate() {
            for pairs in pairs.iter() {
                let block = Block {
                    start: 2 * pairs.start,
                    height: 2 * pairs.len(),
                    queries: count.min(2 * pairs.end) - 2 * pairs.start,
                };
                call.step::<T, O>(target, factors, step * STEP_KEYS, tiles, block);
            }
        }
        call.finish(target);
    }
}

/// Vectors of a value.
fn columns(head_dim: usize) -> usize {
    head_dim.div_ceil(NR) * (NR / LANES)
}

/// Some queries that are multiplied together.
struct Block {
    /// The first one.
    start: usize,
    /// Rows of the tile, an even number.
    height: usize,
    /// Rows with a query.
    queries: usize,
}

impl State {
    /// Nothing is known of `queries` queries.
    fn reset(&mut self, queries: usize, columns: usize) {
        const ZERO: Aligned<Lanes> = Aligned([0.0; LANES]);
        fn fill<T: Copy>(buffer: &mut Vec<T>, len: usize, value: T) {
            buffer.clear();
            buffer.resize(len, value);
        }
        fill(&mut self.largest, queries, f32::NEG_INFINITY);
        fill(&mut self.total, queries, ZERO);
        // Written before they are read.
        let weighted = self.weighted.len().max(queries * columns);
        self.weighted.resize(weighted, ZERO);
        self.scores.resize(MAX_MR * STEP_KEYS / LANES, ZERO);
    }
}

impl<V, F: Copy + Default> Factors<V, F> {
    /// Scales the queries of `call` by blocks of pairs.
    #[inline(always)]
    fn pack<T: Target, O: Operand<Vector = V, Factor = F>>(
        &mut self,
        target: T,
        call: &Call<'_, '_>,
        pairs: Blocks,
    ) {
        let zero = Chunk([F::default(); CHUNK]);
        self.weights
            .resize(MAX_MR * STEP_KEYS / (O::STEP * CHUNK), zero);
        let head_dim = call.shape.head_dim;
        let chunks = head_dim.div_ceil(O::STEP * CHUNK);
        let rows = 2 * pairs.rows;
        if self.queries.len() < rows * chunks {
            self.queries.resize(rows * chunks, zero);
        }
        // The softmax takes powers of two.
        let scale = call.shape.scale * std::f32::consts::LOG2_E;
        let mut queries = call.queries.chunks_exact(head_dim);
        for pairs in pairs.iter() {
            let (start, height) = (2 * pairs.start, 2 * pairs.len());
            let block = &mut self.queries[start * chunks..][..height * chunks];
            for (row, query) in queries.by_ref().take(height).enumerate() {
                let targets = block[row..].iter_mut().step_by(height);
                for (chunk, values) in targets.zip(query.chunks(O::STEP * CHUNK)) {
                    let (whole, rest) = values.as_chunks::<LANES>();
                    for (part, values) in whole.iter().enumerate() {
                        O::put(&mut product(target, values, scale), chunk, part);
                    }
                    if !rest.is_empty() {
                        let values = load_partial(rest, 0.0);
                        O::put(&mut product(target, &values, scale), chunk, whole.len());
                    }
                }
            }
        }
    }
}

/// `values` times `factor`, never -0.
#[inline(always)]
fn product<T: Target>(target: T, values: &Lanes, factor: f32) -> Lanes {
    let (values, zero) = (target.load(values), target.splat(0.0));
    target.store(target.mul_add(values, target.splat(factor), zero))
}

impl Call<'_, '_> {
    /// Lets a block see the keys of the step from position `start` on.
    #[inline(always)]
    fn step<T: Target, O: Operand>(
        &mut self,
        target: T,
        factors: &mut Factors<O::Vector, O::Factor>,
        start: usize,
        tiles: &[&KeyValueTile],
        block: Block,
    ) {
        let (first_position, heads) = (self.first_position, self.shape.query_heads);
        let mask_of = self.mask;
        let queries = block.start..block.start + block.queries;
        // The first key that the block sees. No sums are known before its step.
        let first = mask_of.start(first_position + queries.start / heads);
        let knows_sums = start > first;
        let unseen_tiles = (first.saturating_sub(start) / KEY_TILE).min(tiles.len());
        let (start, tiles) = (start + unseen_tiles * KEY_TILE, &tiles[unseen_tiles..]);
        // Keys of the step that a query sees, and those before them.
        let seen_by = |query: usize| {
            let end = mask_of.end(first_position + query / heads + 1);
            end.saturating_sub(start).min(tiles.len() * KEY_TILE)
        };
        let unseen_by = |query: usize| {
            let first = mask_of.start(first_position + query / heads);
            first.saturating_sub(start)
        };
        let seen = seen_by(queries.end - 1);
        if seen == 0 {
            return;
        }
        let height = block.height;
        let chunks = self.shape.head_dim.div_ceil(O::STEP * CHUNK);
        let packed = &factors.queries[block.start * chunks..][..height * chunks];
        let width = seen.div_ceil(LANES);
        let scores = &mut self.state.scores[..height * width];
        score::<T, O>(target, height, packed, tiles, seen, scores);
        if let Mask::Biased { bias, .. } = mask_of {
            let row_len = bias.len() / heads;
            for (row, query) in queries.clone().enumerate() {
                let of_head = &bias[query % heads * row_len..][..row_len];
                let first = row_len / 2 + start - (first_position + query / heads);
                let scores = &mut scores[row * width..][..width];
                add_bias(scores, of_head.get(first..).unwrap_or_default());
            }
        }

        let mut shrink = [0.0; LANES];
        let largest = &mut self.state.largest[queries.clone()];
        for (row, query) in queries.clone().enumerate() {
            let scores = &mut scores[row * width..][..width];
            let before = largest[row];
            hide(scores, unseen_by(query));
            largest[row] = larger(before, mask(scores, seen_by(query)));
            // Nothing may be seen so far: -∞ - -∞ is no number.
            if largest[row] != before {
                shrink[row] = before - largest[row];
            }
        }
        let shrink = exp2_nonpositive::<T>(&shrink);
        for (row, query) in queries.clone().enumerate() {
            let total = &mut self.state.total[query];
            total.0 = product(target, &total.0, shrink[row]);
            let seen = seen_by(query);
            weigh_keys::<T, O>(
                &scores[row * width..][..width],
                if unseen_by(query) < seen { seen } else { 0 },
                largest[row],
                &mut factors.weights[row..],
                height,
                total,
            );
        }

        let columns = columns(self.shape.head_dim);
        let sums = &mut self.state.weighted[block.start * columns..][..height * columns];
        let values = values_seen::<O>(tiles, seen, &mut factors.last_row);
        let shrink = knows_sums.then_some(&shrink);
        weigh::<T, O>(target, height, &factors.weights, &values, shrink, sums);
    }

    /// Divides by the totals.
    #[inline(always)]
    fn finish<T: Target>(&mut self, target: T) {
        let head_dim = self.shape.head_dim;
        let sums = self.state.weighted.chunks_exact(columns(head_dim));
        let heads = self
            .out
            .iter_mut()
            .flat_map(|row| row.chunks_exact_mut(head_dim));
        for ((out, sums), total) in heads.zip(sums).zip(&self.state.total) {
            let inverse = 1.0 / sum(&total.0);
            let (whole, rest) = out.as_chunks_mut();
            // Keys that another query of the block sees, but not this one, have weight 0, and
            // adding 0 · value may turn a sum of -0 into +0. So no result is -0.
            for (out, sums) in whole.iter_mut().zip(sums) {
                *out = product(target, &sums.0, inverse);
            }
            if let Some(sums) = sums.get(whole.len()) {
                let last = product(target, &sums.0, inverse);
                rest.copy_from_slice(&last[..rest.len()]);
            }
        }
    }
}

/// The values of the first `seen` keys of `tiles`. `last_row` gets what is seen of rows that are
/// seen in part: memory behind may hold NaN, which weight 0 would not silence.
#[inline(always)]
fn values_seen<'a, O: Operand>(
    tiles: &[&'a KeyValueTile],
    seen: usize,
    last_row: &'a mut Vec<Row<O::Vector>>,
) -> [Values<'a, O::Vector>; STEP_TILES + 1] {
    let from = |key: usize, panels: &'a [Row<O::Vector>], stride, rows| Values {
        panels,
        stride,
        rows,
        chunk: key / O::STEP / CHUNK,
        first: key / O::STEP % CHUNK,
    };
    let mut values = [from(0, &[], 0, 0); STEP_TILES + 1];
    let stride = KEY_TILE / O::STEP;
    for ((t, tile), values) in tiles.iter().enumerate().zip(&mut values) {
        let seen = seen.saturating_sub(t * KEY_TILE).min(KEY_TILE);
        if let Some(panels) = O::panels(tile) {
            *values = from(t * KEY_TILE, panels.values(), stride, seen / O::STEP);
        }
    }
    last_row.clear();
    if !seen.is_multiple_of(O::STEP) {
        let tile = tiles.get(seen / KEY_TILE).and_then(|tile| O::panels(tile));
        let panels = tile.map(|tile| tile.values()).unwrap_or_default();
        for panel in panels.chunks_exact(stride) {
            last_row.push(O::only_first(&panel[seen % KEY_TILE / O::STEP]));
        }
        values[STEP_TILES] = from(seen, last_row, 1, 1);
    }
    values
}
