//! Causal grouped-query attention with an online softmax (Milakov & Gimelshein, 2018;
//! Rabe & Staats, 2021): memory grows with the number of queries, never with queries × keys.

use crate::arch::{Kernel, Target};
use crate::exp::exp_nonpositive;
use crate::key_values::KEY_TILE;
use crate::lanes::{LANES, Lanes, larger, max, sum};
use crate::packed::{NR, PanelRow};
use crate::tile::{Panels, Sink, product};
use crate::{Isa, KeyValues, PackedRows, ShapeError};

/// Vectors of a tile's scores.
const KEY_VECTORS: usize = KEY_TILE / LANES;

/// What one key/value head serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Layout of keys and values.
    pub key_values: KeyValues,
    /// Query heads that share the key/value head.
    pub query_heads: usize,
    /// Factor of the scores, 1/√head_dim as a rule.
    pub scale: f32,
}

/// Memory that [`attention`] keeps from one call to the next.
#[derive(Debug, Clone)]
pub struct AttentionScratch {
    queries: PackedRows,
    /// Of each query so far: the largest score,
    largest: Vec<f32>,
    /// the sum of e^(score - largest),
    total: Vec<f32>,
    /// and the sum of e^(score - largest) · value, filled up to whole panels.
    weighted: Vec<f32>,
}

impl AttentionScratch {
    /// Scratch for the kernels of `isa`.
    pub fn new(isa: Isa) -> Self {
        Self {
            queries: PackedRows::new(isa),
            largest: Vec::new(),
            total: Vec::new(),
            weighted: Vec::new(),
        }
    }
}

/// softmax(scale · Q·Kᵀ)·V for queries at the positions from `first_position` on, each seeing the
/// keys of its own and all earlier positions.
///
/// `queries` is `[rows, query_heads, head_dim]`, a row a position; `out` holds a slice
/// `[query_heads, head_dim]` per row. `data` holds the keys and values written by
/// [`KeyValues::write`] for all positions up to the last query's, and may hold anything behind.
/// A query's result is the same bits whatever other queries are in the call, as long as all values
/// are finite: keys are taken in tiles at fixed positions, and a tile that a query doesn't see is
/// no part of its sums.
///
/// # Errors
/// When lengths contradict each other, or `data` ends before the last query's position.
pub fn attention(
    shape: &Attention,
    data: &[PanelRow],
    first_position: usize,
    queries: &[f32],
    out: &mut [&mut [f32]],
    scratch: &mut AttentionScratch,
) -> Result<(), ShapeError> {
    let op = "attention";
    let head_dim = shape.key_values.head_dim();
    let bad_heads = ShapeError::size(op, "query_heads", shape.query_heads);
    let width = head_dim.checked_mul(shape.query_heads).ok_or(bad_heads)?;
    if width == 0 {
        return Err(bad_heads);
    }
    if out.is_empty() {
        return ShapeError::length(op, "queries", 0, queries.len());
    }
    let expected = width.checked_mul(out.len()).ok_or(bad_heads)?;
    ShapeError::length(op, "queries", expected, queries.len())?;
    for row in out.iter() {
        ShapeError::length(op, "rows of out", width, row.len())?;
    }
    let needed = first_position
        .checked_add(out.len())
        .and_then(|tokens| shape.key_values.len(tokens))
        .unwrap_or(usize::MAX);
    ShapeError::range(op, "keys and values", needed, data.len())?;

    let vectors = queries.len() / head_dim;
    let mut source = queries.chunks_exact(head_dim);
    scratch.queries.pack_with(vectors, head_dim, |_, row| {
        for (scaled, query) in row.iter_mut().zip(source.next().unwrap_or_default()) {
            *scaled = query * shape.scale;
        }
        Ok::<(), ShapeError>(())
    })?;
    reset(&mut scratch.largest, vectors, f32::NEG_INFINITY);
    reset(&mut scratch.total, vectors, 0.0);
    let padded = shape.key_values.value_panels() * NR;
    reset(&mut scratch.weighted, vectors * padded, 0.0);
    scratch.queries.isa().run(Tiles {
        shape,
        data,
        first_position,
        queries: &scratch.queries,
        largest: &mut scratch.largest,
        total: &mut scratch.total,
        weighted: &mut scratch.weighted,
        out,
    });
    Ok(())
}

fn reset(buffer: &mut Vec<f32>, len: usize, value: f32) {
    buffer.clear();
    buffer.resize(len, value);
}

struct Tiles<'a, 'o> {
    shape: &'a Attention,
    data: &'a [PanelRow],
    first_position: usize,
    queries: &'a PackedRows,
    largest: &'a mut [f32],
    total: &'a mut [f32],
    weighted: &'a mut [f32],
    out: &'a mut [&'o mut [f32]],
}

impl Kernel for Tiles<'_, '_> {
    #[inline(always)]
    fn run<T: Target>(self, target: T) {
        let heads = self.shape.query_heads;
        let layout = self.shape.key_values;
        let (head_dim, padded) = (layout.head_dim(), layout.value_panels() * NR);
        let position = |vector: usize| self.first_position + vector / heads;
        let mut scores = Scores([[[0.0; LANES]; KEY_VECTORS]; LANES]);
        // Of a block of queries, `[KEY_TILE][rows]`.
        let mut weights = [0.0; KEY_TILE * LANES];

        let tiles = position(self.queries.rows() - 1) / KEY_TILE + 1;
        for tile in 0..tiles {
            let start = tile * KEY_TILE;
            let (keys, values) = layout.tile(self.data, tile);
            for (block, queries) in self.queries.blocks() {
                if position(block.end - 1) < start {
                    continue;
                }
                let rows = block.len();
                // Keys that the last query of the block sees.
                let seen_keys = (position(block.end - 1) + 1 - start).min(KEY_TILE);
                let key_panels = Panels {
                    rows: &keys[..seen_keys.div_ceil(NR) * head_dim],
                    stride: head_dim,
                    k: head_dim,
                };
                product(target, rows, queries, key_panels, &mut scores);

                let (mut shrink, mut sums) = ([0.0; LANES], [0.0; LANES]);
                for (row, vector) in block.clone().enumerate() {
                    let seen = (position(vector) + 1).saturating_sub(start);
                    let scores = &mut scores.0[row];
                    let largest = larger(self.largest[vector], mask(scores, seen));
                    shrink[row] = self.largest[vector] - largest;
                    self.largest[vector] = largest;
                    sums[row] = exp_minus::<T>(scores, largest);
                    let scores = scores.as_flattened().iter().take(seen_keys);
                    for (weights, score) in weights.chunks_exact_mut(rows).zip(scores) {
                        weights[row] = *score;
                    }
                }
                let shrink = exp_nonpositive::<T>(&shrink);
                // Queries before the tile don't see it.
                let first_seeing =
                    (start.saturating_sub(self.first_position) * heads).saturating_sub(block.start);
                for (row, vector) in block.clone().enumerate().skip(first_seeing) {
                    let total = self.total[vector];
                    self.total[vector] = T::mul_add_f32(total, shrink[row], sums[row]);
                }
                let mut sink = Weighted::<T> {
                    sums: &mut self.weighted[block.start * padded..block.end * padded],
                    padded,
                    shrink,
                    first_seeing,
                    target: std::marker::PhantomData,
                };
                let weights = &weights[..seen_keys * rows];
                let value_panels = Panels {
                    rows: values,
                    stride: KEY_TILE,
                    k: seen_keys,
                };
                product(target, rows, weights, value_panels, &mut sink);
            }
        }

        let results = self.weighted.chunks_exact(padded).zip(self.total.iter());
        let heads = self
            .out
            .iter_mut()
            .flat_map(|row| row.chunks_exact_mut(head_dim));
        for (out, (sums, total)) in heads.zip(results) {
            let inverse = 1.0 / total;
            for (out, sum) in out.iter_mut().zip(sums) {
                // Keys that another query of the block sees, but not this one, have weight 0, and
                // adding 0 · value may turn a sum of -0 into +0. So no result is -0.
                *out = sum * inverse + 0.0;
            }
        }
    }
}

/// The scores of a block of queries with a tile of keys.
struct Scores([[Lanes; KEY_VECTORS]; LANES]);

impl Sink<f32> for Scores {
    #[inline(always)]
    fn put(&mut self, row: usize, vector: usize, sums: &Lanes) {
        if let Some(scores) = self.0.get_mut(row).and_then(|row| row.get_mut(vector)) {
            *scores = *sums;
        }
    }
}

/// Overwrites the scores from `seen` on with -∞ and returns the largest one.
#[inline(always)]
fn mask(scores: &mut [Lanes; KEY_VECTORS], seen: usize) -> f32 {
    let seen = seen.min(KEY_TILE) as u32;
    let mut top = [f32::NEG_INFINITY; LANES];
    for (v, scores) in scores.iter_mut().enumerate() {
        for l in 0..LANES {
            let key = (v * LANES + l) as u32;
            if key >= seen {
                scores[l] = f32::NEG_INFINITY;
            }
            top[l] = larger(scores[l], top[l]);
        }
    }
    max(&top)
}

/// Replaces each score by e^(score - `largest`) and returns their sum.
#[inline(always)]
fn exp_minus<T: Target>(scores: &mut [Lanes; KEY_VECTORS], largest: f32) -> f32 {
    let mut sums = [0.0; LANES];
    for scores in scores.iter_mut() {
        for score in scores.iter_mut() {
            *score -= largest;
        }
        *scores = exp_nonpositive::<T>(scores);
        for l in 0..LANES {
            sums[l] += scores[l];
        }
    }
    sum(&sums)
}

/// Adds a tile's weighted values to what the earlier tiles gave, shrunk to the new largest score.
struct Weighted<'a, T> {
    /// `[rows, padded]`.
    sums: &'a mut [f32],
    padded: usize,
    shrink: Lanes,
    /// Earlier rows don't see the tile.
    first_seeing: usize,
    target: std::marker::PhantomData<T>,
}

impl<T: Target> Sink<f32> for Weighted<'_, T> {
    #[inline(always)]
    fn put(&mut self, row: usize, vector: usize, tile_sums: &Lanes) {
        if row < self.first_seeing {
            return;
        }
        let start = row * self.padded + vector * LANES;
        let sums = self
            .sums
            .get_mut(start..)
            .and_then(<[f32]>::first_chunk_mut);
        if let (Some(sums), Some(shrink)) = (sums, self.shrink.get(row)) {
            let sums: &mut Lanes = sums;
            for l in 0..LANES {
                sums[l] = T::mul_add_f32(sums[l], *shrink, tile_sums[l]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, for_each_isa, random};

    /// One text's keys and values, and queries at all its positions.
    struct Case {
        shape: Attention,
        tokens: usize,
        queries: Vec<f32>,
        keys: Vec<f32>,
        values: Vec<f32>,
    }

    impl Case {
        fn new(tokens: usize, head_dim: usize, query_heads: usize, scale: f32) -> Self {
            let seed = (tokens * 1000 + head_dim) as u64;
            Self {
                shape: Attention {
                    key_values: KeyValues::new(head_dim).unwrap(),
                    query_heads,
                    scale,
                },
                tokens,
                queries: random(seed, tokens * query_heads * head_dim),
                keys: random(seed + 1, tokens * head_dim),
                values: random(seed + 2, tokens * head_dim),
            }
        }

        /// Memory that held NaN before, with the first `tokens` written.
        fn data(&self, tokens: usize) -> Vec<PanelRow> {
            let layout = self.shape.key_values;
            let garbage = PanelRow([[f32::NAN; LANES]; 2]);
            let mut data = vec![garbage; layout.len(self.tokens).unwrap()];
            let head_dim = layout.head_dim();
            for i in 0..tokens {
                let at = i * head_dim..(i + 1) * head_dim;
                let (key, value) = (&self.keys[at.clone()], &self.values[at]);
                layout.write(&mut data, i, key, value).unwrap();
            }
            data
        }

        /// Queries from `first` to `end` over `data`.
        fn run(&self, isa: Isa, data: &[PanelRow], first: usize, end: usize) -> Vec<f32> {
            let width = self.shape.query_heads * self.shape.key_values.head_dim();
            let mut out = vec![f32::NAN; (end - first) * width];
            let mut rows: Vec<&mut [f32]> = out.chunks_mut(width).collect();
            let queries = &self.queries[first * width..end * width];
            let mut scratch = AttentionScratch::new(isa);
            attention(&self.shape, data, first, queries, &mut rows, &mut scratch).unwrap();
            out
        }

        fn reference(&self, vector: usize) -> Vec<f64> {
            let head_dim = self.shape.key_values.head_dim();
            let query = &self.queries[vector * head_dim..][..head_dim];
            let seen = vector / self.shape.query_heads + 1;
            let scores: Vec<f64> = (0..seen)
                .map(|key| {
                    let key = &self.keys[key * head_dim..][..head_dim];
                    let terms = query.iter().zip(key);
                    let dot: f64 = terms.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                    dot * f64::from(self.shape.scale)
                })
                .collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            (0..head_dim)
                .map(|i| {
                    let value = |key: usize| f64::from(self.values[key * head_dim + i]);
                    let terms = weights.iter().enumerate();
                    terms.map(|(key, w)| w / total * value(key)).sum()
                })
                .collect()
        }
    }

    #[test]
    fn agrees_with_f64_at_every_edge() {
        let lengths = (1..=19).chain([31, 32, 33, 63, 64, 65, 127, 128, 129, 200]);
        let cases = lengths
            .map(|tokens| (tokens, 16, 2, 0.25))
            .chain(
                (1..=19)
                    .chain([31, 32, 33, 63, 64, 65, 96, 128])
                    .map(|d| (70, d, 1, 0.2)),
            )
            .chain((1..=5).map(|heads| (66, 8, heads, 0.3)))
            // Scores up to ± 60, so that earlier tiles shrink to nothing.
            .chain([(300, 10, 3, 20.0)]);
        for (tokens, head_dim, heads, scale) in cases {
            let case = Case::new(tokens, head_dim, heads, scale);
            let data = case.data(tokens);
            for_each_isa(|isa| {
                let out = case.run(isa, &data, 0, tokens);
                for (vector, out) in out.chunks(head_dim).enumerate() {
                    for (out, exact) in out.iter().zip(case.reference(vector)) {
                        let error = (f64::from(*out) - exact).abs();
                        let tolerance = 2e-6 * (1.0 + f64::from(scale));
                        assert!(
                            error <= tolerance,
                            "{isa} {tokens} {head_dim} {heads}: {error}"
                        );
                    }
                }
            });
        }
    }

    #[test]
    fn bits_do_not_depend_on_other_queries_or_later_keys() {
        let case = Case::new(150, 24, 2, 0.2);
        let width = 48;
        let data = case.data(150);
        for_each_isa(|isa| {
            let all = case.run(isa, &data, 0, 150);
            for step in [1, 7, 64, 100] {
                for first in (0..150).step_by(step) {
                    let end = (first + step).min(150);
                    let part = case.run(isa, &case.data(end), first, end);
                    let whole = &all[first * width..end * width];
                    assert_eq!(bits(&part), bits(whole), "{isa} {first}..{end}");
                }
            }
        });
    }

    #[test]
    fn edge_values() {
        for_each_isa(|isa| {
            // Equal scores, among them zero and denormal ones, give the mean.
            for query in [0.0, -0.0, 1e-45] {
                let mut case = Case::new(65, 4, 1, 1.0);
                case.queries.fill(query);
                case.values.fill(-3.0);
                let out = case.run(isa, &case.data(65), 0, 65);
                assert!(out.iter().all(|x| (x + 3.0).abs() < 1e-5), "{isa}");
            }
            // Values of zero stay zero, of either sign.
            let mut case = Case::new(65, 4, 1, 1.0);
            case.values.fill(-0.0);
            let out = case.run(isa, &case.data(65), 0, 65);
            assert!(bits(&out).iter().all(|x| *x == 0), "{isa}");
            // Large scores: one key takes all the weight.
            let mut case = Case::new(70, 4, 1, 1.0);
            case.queries.fill(1e15);
            case.keys.fill(-1e15);
            case.keys[..4].fill(1e15);
            let out = case.run(isa, &case.data(70), 69, 70);
            assert_eq!(out, case.values[..4], "{isa}");
            // What isn't finite doesn't come out finite.
            for (place, value) in [(3, f32::NAN), (3, f32::INFINITY), (279, f32::NAN)] {
                let mut case = Case::new(70, 4, 1, 1.0);
                case.queries.fill(1.0);
                case.keys[place] = value;
                let out = case.run(isa, &case.data(70), 69, 70);
                assert!(out.iter().all(|x| !x.is_finite()), "{isa} {value}");
                let mut case = Case::new(70, 4, 1, 1.0);
                case.values[place] = value;
                let out = case.run(isa, &case.data(70), 69, 70);
                assert!(!out[3].is_finite(), "{isa} {value}");
            }
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let case = Case::new(65, 4, 2, 1.0);
        let data = case.data(65);
        let mut scratch = AttentionScratch::new(Isa::detect());
        let mut run = |shape: &Attention, data: &[PanelRow], first, queries, width| {
            let (mut row, queries) = ([0.0; 8], &[0.0; 8][..queries]);
            let out = &mut [&mut row[..width]];
            attention(shape, data, first, queries, out, &mut scratch)
        };
        let shape = case.shape;
        assert!(run(&shape, &data, 64, 8, 8).is_ok());
        assert!(run(&shape, &data, 128, 8, 8).is_err());
        assert!(run(&shape, &data, usize::MAX, 8, 8).is_err());
        assert!(run(&shape, &data[1..], 64, 8, 8).is_err());
        assert!(run(&shape, &data, 0, 7, 8).is_err());
        assert!(run(&shape, &data, 0, 8, 7).is_err());
        for query_heads in [0, usize::MAX] {
            let shape = Attention {
                query_heads,
                ..shape
            };
            assert!(run(&shape, &data, 0, 8, 8).is_err());
        }
    }
}
