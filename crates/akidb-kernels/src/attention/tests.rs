use super::*;
use crate::testing::{bits, for_each_isa, random};

const TYPES: [KeyValueType; 2] = [KeyValueType::F32, KeyValueType::Bf16];

/// One text's keys and values, and queries at all its positions.
struct Case {
    shape: Attention,
    is_full: bool,
    /// Added to scores, where the whole text is seen.
    bias: Vec<f32>,
    /// Positions before and behind a query that it sees, where it doesn't see more.
    window: Option<[usize; 2]>,
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
                head_dim,
                query_heads,
                scale,
            },
            is_full: false,
            bias: Vec::new(),
            window: None,
            tokens,
            queries: random(seed, tokens * query_heads * head_dim),
            keys: random(seed + 1, tokens * head_dim),
            values: random(seed + 2, tokens * head_dim),
        }
    }

    /// The same, where every query sees the whole text.
    fn full(self) -> Self {
        Self {
            is_full: true,
            ..self
        }
    }

    /// The same, where queries see what is near.
    fn window(self, before: usize, after: usize) -> Self {
        Self {
            window: Some([before, after]),
            ..self
        }
    }

    /// The same, with something added to the scores.
    fn biased(self) -> Self {
        let len = self.shape.query_heads * (2 * self.tokens + 7);
        let bias = random(self.tokens as u64, len);
        Self {
            bias: bias.iter().map(|x| 3.0 * x).collect(),
            ..self.full()
        }
    }

    fn mask(&self) -> Mask<'_> {
        let (tokens, bias) = (self.tokens, &self.bias[..]);
        if let Some([before, after]) = self.window {
            return Mask::Window {
                tokens,
                before,
                after,
            };
        }
        match (self.is_full, bias) {
            (false, _) => Mask::Causal,
            (true, []) => Mask::Full { tokens },
            (true, bias) => Mask::Biased { tokens, bias },
        }
    }

    /// Memory that held NaN before, with the first `tokens` written.
    fn tiles(&self, key_value_type: KeyValueType, tokens: usize) -> Vec<KeyValueTile> {
        let head_dim = self.shape.head_dim;
        let mut garbage = KeyValueTile::new(head_dim, key_value_type).unwrap();
        let nan = vec![f32::NAN; head_dim];
        for place in 0..KEY_TILE {
            garbage.write(Isa::detect(), place, &nan, &nan).unwrap();
        }
        let mut tiles = vec![garbage; self.tokens.div_ceil(KEY_TILE)];
        let rows = self.keys.chunks(head_dim).zip(self.values.chunks(head_dim));
        // Backwards: the order of writing doesn't matter.
        for (i, (key, value)) in rows
            .enumerate()
            .take(tokens)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let tile = &mut tiles[i / KEY_TILE];
            tile.write(Isa::detect(), i % KEY_TILE, key, value).unwrap();
        }
        tiles
    }

    /// Queries from `first` to `end` over `tiles`.
    fn run(&self, isa: Isa, tiles: &[KeyValueTile], first: usize, end: usize) -> Vec<f32> {
        let width = self.shape.query_heads * self.shape.head_dim;
        let mut out = vec![f32::NAN; (end - first) * width];
        let mut rows: Vec<&mut [f32]> = out.chunks_mut(width).collect();
        let tiles: Vec<&KeyValueTile> = tiles.iter().collect();
        let queries = &self.queries[first * width..end * width];
        let mut scratch = AttentionScratch::new(isa);
        let (shape, mask) = (&self.shape, self.mask());
        attention(shape, mask, &tiles, first, queries, &mut rows, &mut scratch).unwrap();
        out
    }

    /// The last position's result, on its own.
    fn last(&self, isa: Isa, key_value_type: KeyValueType) -> Vec<f32> {
        let tiles = self.tiles(key_value_type, self.tokens);
        self.run(isa, &tiles, self.tokens - 1, self.tokens)
    }

    fn reference(&self, vector: usize) -> Vec<f64> {
        let head_dim = self.shape.head_dim;
        let query = &self.queries[vector * head_dim..][..head_dim];
        let heads = self.shape.query_heads;
        let seen = self.mask().end(vector / heads + 1);
        let first = self.mask().start(vector / heads);
        let bias = |key: usize| {
            let row = self.bias.len() / heads;
            let place = (row / 2 + key).checked_sub(vector / heads);
            let bias = place.and_then(|place| self.bias.get(vector % heads * row + place));
            bias.map_or(0.0, |bias| f64::from(*bias))
        };
        let scores: Vec<f64> = (first..seen)
            .map(|place| {
                let key = &self.keys[place * head_dim..][..head_dim];
                let terms = query.iter().zip(key);
                let dot: f64 = terms.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                dot * f64::from(self.shape.scale) + bias(place)
            })
            .collect();
        let top = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let total: f64 = weights.iter().sum();
        (0..head_dim)
            .map(|i| {
                let value = |key: usize| f64::from(self.values[key * head_dim + i]);
                let terms = weights.iter().enumerate();
                terms.map(|(i, w)| w / total * value(first + i)).sum()
            })
            .collect()
    }

    /// What the rounding of queries, keys, weights and values may change: each is off by 2^-9 of
    /// itself at most, a score by twice that of the sum of its products' magnitudes (at most
    /// `head_dim`, as all are below 1), and values are below 1.
    fn tolerance(&self, key_value_type: KeyValueType) -> f64 {
        let scale = f64::from(self.shape.scale);
        match key_value_type {
            KeyValueType::F32 => 2e-6 * (1.0 + scale),
            KeyValueType::Bf16 => {
                let score = scale * self.shape.head_dim as f64 * 2.0 / 512.0;
                2.0 * score.exp_m1().min(1.0) + 3.0 / 512.0
            }
        }
    }
}

#[test]
fn agrees_with_f64_at_every_edge() {
    let lengths = (1..=19).chain([31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 530]);
    let cases = lengths
        .map(|tokens| (tokens, 16, 2, 0.25))
        .chain(
            (1..=19)
                .chain([31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 257])
                .map(|d| (70, d, 1, 0.2)),
        )
        .chain((1..=5).map(|heads| (66, 8, heads, 0.3)))
        // Scores up to ± 60, so that earlier keys shrink to nothing.
        .chain([(600, 10, 3, 20.0)]);
    let cases = cases.flat_map(|(tokens, head_dim, heads, scale)| {
        let case = || Case::new(tokens, head_dim, heads, scale);
        [
            case(),
            case().full(),
            case().biased(),
            case().window(tokens / 3, tokens / 5),
            case().window(0, 0),
        ]
    });
    for case in cases {
        let (tokens, head_dim, heads) = (case.tokens, case.shape.head_dim, case.shape.query_heads);
        let exact: Vec<f64> = (0..tokens * heads)
            .flat_map(|v| case.reference(v))
            .collect();
        for key_value_type in TYPES {
            let tiles = case.tiles(key_value_type, tokens);
            let tolerance = case.tolerance(key_value_type);
            for_each_isa(|isa| {
                let out = case.run(isa, &tiles, 0, tokens);
                for (out, exact) in out.iter().zip(&exact) {
                    let error = (f64::from(*out) - exact).abs();
                    assert!(
                        error <= tolerance,
                        "{isa} {key_value_type:?} {tokens} {head_dim} {heads}: {error}"
                    );
                }
            });
        }
    }
}

#[test]
fn bf16_is_as_exact_as_its_operands() {
    // Operands that bf16 holds: what is left is the rounding of the weights.
    let mut case = Case::new(300, 32, 2, 1.0);
    let coarse = |x: &mut f32| *x = (*x * 8.0).round() / 8.0;
    case.queries
        .iter_mut()
        .for_each(|q| *q = (*q * 8.0).round() / 8.0);
    case.keys.iter_mut().for_each(coarse);
    case.values.iter_mut().for_each(coarse);
    case.shape.scale = std::f32::consts::LN_2;
    let tiles = case.tiles(KeyValueType::Bf16, 300);
    for_each_isa(|isa| {
        let out = case.run(isa, &tiles, 0, 300);
        for (vector, out) in out.chunks(32).enumerate() {
            for (out, exact) in out.iter().zip(case.reference(vector)) {
                let error = (f64::from(*out) - exact).abs();
                assert!(error <= 1.0 / 256.0, "{isa} {vector}: {error}");
            }
        }
    });
}

#[test]
fn bits_do_not_depend_on_other_queries_or_later_keys() {
    let (tokens, width) = (300, 48);
    let case = Case::new(tokens, 24, 2, 0.2);
    for key_value_type in TYPES {
        let tiles = case.tiles(key_value_type, tokens);
        for_each_isa(|isa| {
            let all = case.run(isa, &tiles, 0, tokens);
            assert!(all.iter().all(|x| x.is_finite()), "{isa}");
            for step in [1, 7, 64, 100] {
                for first in (0..tokens).step_by(step) {
                    let end = (first + step).min(tokens);
                    let part = case.run(isa, &case.tiles(key_value_type, end), first, end);
                    let whole = &all[first * width..end * width];
                    assert_eq!(bits(&part), bits(whole), "{isa} {first}..{end}");
                }
            }
        });
    }
}

#[test]
fn bits_of_the_whole_text_do_not_depend_on_other_queries() {
    for (tokens, key_value_type) in [7, 64, 300].into_iter().flat_map(|n| TYPES.map(|t| (n, t))) {
        let case = Case::new(tokens, 24, 2, 0.2).biased();
        let tiles = case.tiles(key_value_type, tokens);
        for_each_isa(|isa| {
            let all = case.run(isa, &tiles, 0, tokens);
            for step in [1, 7, 64, 100] {
                for first in (0..tokens).step_by(step) {
                    let end = (first + step).min(tokens);
                    let part = case.run(isa, &tiles, first, end);
                    let whole = &all[first * 48..end * 48];
                    assert_eq!(bits(&part), bits(whole), "{isa} {first}..{end}");
                }
            }
        });
    }
}

#[test]
fn bits_of_a_window_do_not_depend_on_other_queries_or_keys_outside_of_it() {
    let tokens = 1100;
    for ([before, after], key_value_type) in [[3, 5], [64, 64], [300, 0], [0, 520]]
        .into_iter()
        .flat_map(|window| TYPES.map(|t| (window, t)))
    {
        let case = Case::new(tokens, 8, 2, 0.3).window(before, after);
        let tiles = case.tiles(key_value_type, tokens);
        for_each_isa(|isa| {
            let all = case.run(isa, &tiles, 0, tokens);
            assert!(all.iter().all(|x| x.is_finite()), "{isa}");
            for step in [1, 7, 100] {
                for first in (0..tokens).step_by(11 * step) {
                    let end = (first + step).min(tokens);
                    let part = case.run(isa, &tiles, first, end);
                    let whole = &all[first * 16..end * 16];
                    assert_eq!(bits(&part), bits(whole), "{isa} {first}..{end}");
                }
            }
            // Of a long text, only the steps that are seen need be there.
            for first in [200, 600, 1099] {
                let unseen = (first - before.min(first)) / STEP_KEYS * STEP_TILES;
                let width = 16;
                let mut out = [f32::NAN; 16];
                let rows: Vec<&KeyValueTile> = tiles[unseen..].iter().collect();
                let mask = Mask::Window {
                    tokens: tokens - unseen * KEY_TILE,
                    before,
                    after,
                };
                let queries = &case.queries[first * width..][..width];
                let (position, mut scratch) =
                    (first - unseen * KEY_TILE, AttentionScratch::new(isa));
                let out_rows = &mut [&mut out[..]];
                attention(
                    &case.shape,
                    mask,
                    &rows,
                    position,
                    queries,
                    out_rows,
                    &mut scratch,
                )
                .unwrap();
                assert_eq!(bits(&out), bits(&all[first * width..][..width]), "{isa}");
            }
        });
    }
}

#[test]
fn scratch_and_tiles_carry_nothing_over() {
    let (wide, narrow) = (Case::new(80, 40, 2, 0.2), Case::new(9, 40, 1, 0.2));
    for_each_isa(|isa| {
        for key_value_type in TYPES {
            let expected = narrow.run(isa, &narrow.tiles(key_value_type, 9), 0, 9);
            let mut tiles = wide.tiles(key_value_type, 80);
            let mut scratch = AttentionScratch::new(isa);
            let mut run = |case: &Case, tiles: &[KeyValueTile]| {
                let width = case.shape.query_heads * 40;
                let mut out = vec![0.0; case.tokens * width];
                let mut rows: Vec<&mut [f32]> = out.chunks_mut(width).collect();
                let tiles: Vec<&KeyValueTile> = tiles.iter().collect();
                attention(
                    &case.shape,
                    Mask::Causal,
                    &tiles,
                    0,
                    &case.queries,
                    &mut rows,
                    &mut scratch,
                )
                .unwrap();
                out
            };
            run(&wide, &tiles);
            for (i, key) in narrow.keys.chunks(40).enumerate() {
                let value = &narrow.values[i * 40..][..40];
                tiles[0].write(isa, i, key, value).unwrap();
            }
            assert_eq!(bits(&run(&narrow, &tiles[..1])), bits(&expected), "{isa}");
        }
    });
}

#[test]
fn edge_values() {
    for key_value_type in TYPES {
        for_each_isa(|isa| {
            let whole = |case: &Case| {
                let tiles = case.tiles(key_value_type, case.tokens);
                case.run(isa, &tiles, 0, case.tokens)
            };
            // Equal scores, among them zero and denormal ones, give the mean.
            for query in [0.0, -0.0, 1e-45] {
                let mut case = Case::new(65, 4, 1, 1.0);
                case.queries.fill(query);
                case.values.fill(-3.0);
                let out = whole(&case);
                assert!(out.iter().all(|x| (x + 3.0).abs() < 1e-5), "{isa}");
            }
            // Values of zero stay zero, of either sign.
            let mut case = Case::new(65, 4, 1, 1.0);
            case.values.fill(-0.0);
            assert!(bits(&whole(&case)).iter().all(|x| *x == 0), "{isa}");
            // Large scores: one key takes all the weight.
            let mut case = Case::new(70, 4, 1, 1.0);
            case.queries.fill(1e15);
            case.keys.fill(-1e15);
            case.keys[..4].fill(1e15);
            case.values.fill(0.75);
            case.values[0] = 0.5;
            assert_eq!(
                case.last(isa, key_value_type),
                [0.5, 0.75, 0.75, 0.75],
                "{isa}"
            );
            // What isn't finite doesn't come out finite.
            for (place, value) in [(3, f32::NAN), (3, f32::INFINITY), (279, f32::NAN)] {
                let mut case = Case::new(70, 4, 1, 1.0);
                case.queries.fill(1.0);
                case.keys[place] = value;
                let out = case.last(isa, key_value_type);
                assert!(out.iter().all(|x| !x.is_finite()), "{isa} {value}");
                let mut case = Case::new(70, 4, 1, 1.0);
                case.values[place] = value;
                let out = case.last(isa, key_value_type);
                assert!(!out[3].is_finite(), "{isa} {value}");
            }
        });
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let case = Case::new(65, 4, 2, 1.0);
    let [tiles, rounded] = TYPES.map(|key_value_type| case.tiles(key_value_type, 65));
    let tiles: Vec<&KeyValueTile> = tiles.iter().collect();
    let wide = KeyValueTile::new(5, KeyValueType::F32).unwrap();
    let mut scratch = AttentionScratch::new(Isa::detect());
    let mask = Mask::Causal;
    let mut run = |shape: &Attention, tiles: &[&KeyValueTile], first, queries, width| {
        let (mut row, queries) = ([0.0; 8], &[0.0; 8][..queries]);
        let out = &mut [&mut row[..width]];
        attention(shape, mask, tiles, first, queries, out, &mut scratch)
    };
    let shape = case.shape;
    assert!(run(&shape, &tiles, 64, 8, 8).is_ok());
    assert!(run(&shape, &tiles, 128, 8, 8).is_err());
    assert!(run(&shape, &tiles, usize::MAX, 8, 8).is_err());
    assert!(run(&shape, &tiles[1..], 64, 8, 8).is_err());
    assert!(run(&shape, &[], 0, 8, 8).is_err());
    assert!(run(&shape, &[tiles[0], &rounded[1]], 0, 8, 8).is_err());
    assert!(run(&shape, &[tiles[0], &wide], 0, 8, 8).is_err());
    assert!(run(&shape, &tiles, 0, 7, 8).is_err());
    assert!(run(&shape, &tiles, 0, 8, 7).is_err());
    for (head_dim, query_heads) in [(4, 0), (4, usize::MAX), (0, 2), (8, 1)] {
        let shape = Attention {
            head_dim,
            query_heads,
            scale: 1.0,
        };
        assert!(run(&shape, &tiles, 0, 8, 8).is_err());
    }
    let none = attention(&shape, Mask::Causal, &tiles, 0, &[], &mut [], &mut scratch);
    assert!(none.is_ok());
    for (len, fits) in [
        (258, true),
        (260, true),
        (259, false),
        (256, false),
        (0, false),
    ] {
        let (mut row, bias) = ([0.0; 8], vec![0.0; len]);
        let (out, mask) = (
            &mut [&mut row[..]],
            Mask::Biased {
                tokens: 65,
                bias: &bias,
            },
        );
        let done = attention(&shape, mask, &tiles, 0, &[0.0; 8], out, &mut scratch);
        assert_eq!(done.is_ok(), fits, "{len}");
    }
    for (tokens, fits) in [
        (65, true),
        (128, true),
        (129, false),
        (0, false),
        (usize::MAX, false),
    ] {
        let (mut row, mask) = ([0.0; 8], Mask::Full { tokens });
        let out = &mut [&mut row[..]];
        let done = attention(&shape, mask, &tiles, 0, &[0.0; 8], out, &mut scratch);
        assert_eq!(done.is_ok(), fits, "{tokens}");
    }
    for (tokens, first, fits) in [
        (65, 0, true),
        (65, 64, true),
        (65, 65, false),
        (129, 0, true),
    ] {
        let (mut row, mask) = (
            [0.0; 8],
            Mask::Window {
                tokens,
                before: 3,
                after: 3,
            },
        );
        let out = &mut [&mut row[..]];
        let done = attention(&shape, mask, &tiles, first, &[0.0; 8], out, &mut scratch);
        assert_eq!(done.is_ok(), fits, "{tokens} {first}");
    }
}
