//! Speed of attention: GFLOP/s of the causal half and the diagonal, and µs per text and key/value
//! head.
//!
//! `cargo bench -p akidb-kernels --bench attention`, with `-- f32` or `-- bf16` for one type and
//! with the name of a tier or a number of tokens for that one: head_dim 128, 2 query heads a key/value head, 8 of these (Qwen3-Embedding-0.6B), best of 9 runs; tasks of
//! some rows of one text, each thread with its own key/value heads.
//!
//! bf16 on one core of an AMD EPYC (Zen 4) whose `vdpbf16ps` gives 234 GFLOP/s, 64 rows a task:
//!
//! | tokens    |    5 |   64 |  128 |  512 |  2048 |
//! |-----------|------|------|------|------|-------|
//! | GFLOP/s   |   17 |  107 |  139 |  173 |   180 |
//! | µs a head | 0.88 | 20.0 | 60.8 |  779 | 11971 |

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use akidb_kernels::{
    Attention, AttentionScratch, Isa, KEY_TILE, KeyValueTile, KeyValueType, Mask, ShapeError,
    attention,
};

const SHAPE: Attention = Attention {
    head_dim: 128,
    query_heads: 2,
    scale: 0.088_388_35,
};
const HEADS: usize = 8;
const WIDTH: usize = SHAPE.head_dim * SHAPE.query_heads;
const RUNS: usize = 9;

fn main() -> Result<(), ShapeError> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let is_chosen = |name: &str| chosen.iter().any(|chosen| chosen == name);
    let isa = chosen.iter().find_map(|name| name.parse().ok());
    let tokens: Option<usize> = chosen.iter().find_map(|number| number.parse().ok());
    let tokens = tokens.map_or(vec![5, 64, 128, 512, 2048], |tokens| vec![tokens]);
    let types = [("f32", KeyValueType::F32), ("bf16", KeyValueType::Bf16)];
    for (name, key_value_type) in types {
        if types.iter().any(|(name, _)| is_chosen(name)) && !is_chosen(name) {
            continue;
        }
        for isa in Isa::available().filter(|other| isa.is_none_or(|isa| isa == *other)) {
            for threads in [1, 2] {
                for tokens in &tokens {
                    report(name, key_value_type, isa, threads, *tokens, 64)?;
                }
            }
        }
        for rows in [1, 6, 24, 128, 512]
            .into_iter()
            .filter(|_| tokens.len() > 1)
        {
            let isa = isa.unwrap_or_else(Isa::detect);
            report(name, key_value_type, isa, 1, 512, rows)?;
        }
    }
    Ok(())
}

/// Prints the speed of `threads` threads with tasks of `rows` rows.
fn report(
    name: &str,
    key_value_type: KeyValueType,
    isa: Isa,
    threads: usize,
    tokens: usize,
    rows: usize,
) -> Result<(), ShapeError> {
    let operations = 2 * WIDTH * tokens * (tokens + 1) * HEADS;
    let repeat = (1_usize << 28).div_ceil(operations);
    let barrier = Barrier::new(threads);
    let runs_of = |thread: usize| {
        let heads = thread * HEADS / threads..(thread + 1) * HEADS / threads;
        let texts: Result<Vec<_>, _> = heads.map(|_| text(key_value_type, tokens)).collect();
        let texts = texts?;
        let queries = values(1, tokens * WIDTH);
        let mut out = vec![0.0; tokens * WIDTH];
        let mut scratch = AttentionScratch::new(isa);
        let mut seconds = [0.0; RUNS];
        for seconds in &mut seconds {
            barrier.wait();
            let start = Instant::now();
            for tiles in (0..repeat).flat_map(|_| &texts) {
                let tiles: Vec<&KeyValueTile> = tiles.iter().collect();
                let tasks = queries
                    .chunks(rows * WIDTH)
                    .zip(out.chunks_mut(rows * WIDTH));
                for (task, (queries, out)) in tasks.enumerate() {
                    let mut out: Vec<&mut [f32]> = out.chunks_mut(WIDTH).collect();
                    let queries = black_box(queries);
                    let first = task * rows;
                    attention(
                        &SHAPE,
                        Mask::Causal,
                        &tiles,
                        first,
                        queries,
                        &mut out,
                        &mut scratch,
                    )?;
                }
            }
            *seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    };
    let mut slowest = [0.0_f64; RUNS];
    let all = std::thread::scope(|scope| {
        let runs_of = &runs_of;
        let others: Vec<_> = (1..threads)
            .map(|thread| scope.spawn(move || runs_of(thread)))
            .collect();
        let mut all = vec![runs_of(0)];
        all.extend(others.into_iter().filter_map(|thread| thread.join().ok()));
        all
    });
    for runs in all {
        for (slowest, run) in slowest.iter_mut().zip(runs?) {
            *slowest = slowest.max(run);
        }
    }
    let best = slowest.into_iter().fold(f64::INFINITY, f64::min) / repeat as f64;
    println!(
        "{name:>4}  {threads} threads {isa:>10}  {tokens:>4} tokens, {rows:>3} rows a task  \
         {:6.1} GFLOP/s  {:8.2} µs a head",
        operations as f64 / best / 1e9,
        best / HEADS as f64 * threads as f64 * 1e6,
    );
    Ok(())
}

/// Keys and values of one text and head.
fn text(key_value_type: KeyValueType, tokens: usize) -> Result<Vec<KeyValueTile>, ShapeError> {
    let (keys, values) = (
        values(2, tokens * SHAPE.head_dim),
        values(3, tokens * SHAPE.head_dim),
    );
    let tile = KeyValueTile::new(SHAPE.head_dim, key_value_type)?;
    let mut tiles = vec![tile; tokens.div_ceil(KEY_TILE)];
    let rows = keys
        .chunks(SHAPE.head_dim)
        .zip(values.chunks(SHAPE.head_dim));
    for (i, (key, value)) in rows.enumerate() {
        tiles[i / KEY_TILE].write(Isa::detect(), i % KEY_TILE, key, value)?;
    }
    Ok(tiles)
}

/// Numbers in -1..1 in no simple order.
fn values(seed: usize, len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i + seed) * 7919 % 10_007) as f32 / 5003.5 - 1.0)
        .collect()
}
