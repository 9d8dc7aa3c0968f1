//! Speed of the products with block-quantised weights, next to int8 with a scale per column.
//!
//! `cargo bench -p akidb-kernels --bench nbits`, or with a name behind `--` one format only: K =
//! 1024 and N = 4096 (the fused q/k/v of Qwen3-Embedding-0.6B), two threads that share rows and
//! have their own panels, packing of A included. First GOPS of one matrix, which stays in the
//! cache, then GB/s of 96 MB of matrices, one after the other, next to a plain read of as much
//! memory. Median and best of 9 runs.
//!
//! One run on two cores of an AMD EPYC (Zen 4), GOPS, medians:
//!
//! | M         |   1 |   5 |  12 |  40 | 160 |
//! |-----------|-----|-----|-----|-----|-----|
//! | int8      | 258 | 825 | 844 | 845 | 842 |
//! | int4 b32  | 348 | 636 | 638 | 657 | 632 |
//!
//! The rate at which that machine reads memory changes by itself, between 20 and 67 GB/s: compare
//! GB/s only with the plain read right before it, and over several runs.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Barrier;
use std::time::Instant;

use akidb_kernels::{
    Epilogue, Int8Type, Isa, NBitsCodes, NBitsFormat, NR, PackedInt8, PackedNBits, Rows,
    ShapeError, Weight,
};

const K: usize = 1024;
const N: usize = 4096;
const RUNS: usize = 9;
const THREADS: usize = 2;
/// Beyond any last-level cache of a machine that this is measured on.
const LARGE: usize = 96 << 20;

fn main() -> Result<(), ShapeError> {
    let int4 = |block_size, zero_points| NBitsFormat {
        codes: NBitsCodes::Int4,
        block_size,
        zero_points,
    };
    let formats = [
        ("int4 b32", int4(32, false)),
        ("int4 b32 zp", int4(32, true)),
        ("int4 b16", int4(16, false)),
        ("int4 b128", int4(128, false)),
        (
            "nf4 b64",
            NBitsFormat {
                codes: NBitsCodes::NF4,
                ..int4(64, false)
            },
        ),
        (
            "int8 b32",
            NBitsFormat {
                codes: NBitsCodes::Int8,
                ..int4(32, false)
            },
        ),
    ];
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let formats = formats.into_iter().filter(|(name, _)| {
        chosen.iter().all(|c| c.starts_with("--")) || chosen.iter().any(|c| c == name)
    });
    let formats: Vec<_> = formats.collect();
    let isa = Isa::detect();
    println!("{isa}, {THREADS} threads, GOPS: median (best)");
    let int8 = [int8()?];
    for rows in [1, 5, 12, 40, 160] {
        let operations = 2 * rows * K * N;
        let speed = speed(operations, 1 << 31, |range| work(isa, rows, &int8, range))?;
        println!("  int8          M = {rows:>3}  {speed}");
    }
    for &(name, format) in &formats {
        let b = [nbits(format)?];
        for rows in [1, 5, 12, 40, 160] {
            let operations = 2 * rows * K * N;
            let speed = speed(operations, 1 << 31, |range| work(isa, rows, &b, range))?;
            println!("  {name:<12}  M = {rows:>3}  {speed}");
        }
    }

    println!("{isa}, {THREADS} threads, GB/s of weights: median (best)");
    let memory: Vec<u64> = (0..LARGE as u64 / 8).collect();
    let raw = || {
        speed(LARGE, 1 << 29, |range| {
            let len = memory.len();
            let part = &memory[range.start * len / N * NR..range.end * len / N * NR];
            move || {
                // Four streams, which keep more reads under way than one.
                let mut streams: Vec<_> =
                    part.chunks(part.len() / 4).map(|p| p.chunks(64)).collect();
                let mut sums = [0_u64; 64];
                for _ in 0..part.len() / 4 / 64 {
                    for words in streams.iter_mut().filter_map(Iterator::next) {
                        for (sum, word) in sums.iter_mut().zip(words) {
                            *sum = sum.wrapping_add(*word);
                        }
                    }
                }
                black_box(sums);
                Ok(())
            }
        })
    };
    let int8s = (0..LARGE / (K * N)).map(|_| self::int8());
    let int8s = int8s.collect::<Result<Vec<_>, _>>()?;
    for rows in [1, 5] {
        println!("  plain read             {}", raw()?);
        let speed = speed(int8s.len() * K * N, 1 << 29, |range| {
            work(isa, rows, &int8s, range)
        })?;
        println!("  int8          M = {rows:>3}  {speed}");
    }
    drop(int8s);
    for &(name, format) in &formats {
        let bits = if format.codes == NBitsCodes::Int8 {
            8
        } else {
            4
        };
        let per_block = 2 * (1 + usize::from(format.zero_points));
        let bytes = N * K * bits / 8 + N * K / format.block_size * per_block;
        let matrices = (0..LARGE / bytes).map(|_| nbits(format));
        let matrices = matrices.collect::<Result<Vec<_>, _>>()?;
        for rows in [1, 5] {
            println!("  plain read             {}", raw()?);
            let speed = speed(matrices.len() * bytes, 1 << 29, |range| {
                work(isa, rows, &matrices, range)
            })?;
            println!("  {name:<12}  M = {rows:>3}  {speed}");
        }
    }
    Ok(())
}

fn int8() -> Result<Weight, ShapeError> {
    let mut b = PackedInt8::zeros(K, N, Int8Type::I8)?;
    let column: Vec<u8> = (0..K).map(|i| (i % 251) as u8).collect();
    for n in 0..N {
        b.write_nk(n, &column)?;
    }
    Ok(Weight::Int8(b))
}

fn nbits(format: NBitsFormat) -> Result<Weight, ShapeError> {
    let mut b = PackedNBits::zeros(K, N, format)?;
    let codes: Vec<u8> = (0..K).map(|i| (i % 251) as u8).collect();
    let scales: Vec<f32> = (0..K / format.block_size).map(|i| i as f32 + 1.0).collect();
    for n in 0..N {
        b.write_column(n, &codes, &scales, format.zero_points.then_some(&scales))?;
    }
    Ok(Weight::NBits(b))
}

/// Packs A for `weights`, which are of one format, and multiplies it with each, again and again.
fn work(
    isa: Isa,
    rows: usize,
    weights: &[Weight],
    panels: Range<usize>,
) -> impl FnMut() -> Result<(), ShapeError> {
    let width = panels.len() * NR;
    let a = vec![0.5; rows * K];
    let mut c = vec![0.0; rows * width];
    let mut packed = Rows::new(isa);
    move || {
        let mut c: Vec<&mut [f32]> = c.chunks_mut(width).collect();
        if let Some(weight) = weights.first() {
            let row = |i, _: &mut [f32]| Ok(black_box(&a).get(i * K..(i + 1) * K));
            packed.pack_from::<ShapeError>(weight, rows, row)?;
        }
        weights
            .iter()
            .try_for_each(|b| packed.multiply(b, panels.clone(), &mut c, Epilogue::Store))
    }
}

/// "median (best)" in 10⁹ a second of all threads together, when all of them run once what
/// `prepare` gives for their panels to do `amount`; repeated until that is `enough`.
fn speed<W: FnMut() -> Result<(), ShapeError>>(
    amount: usize,
    enough: usize,
    prepare: impl Fn(Range<usize>) -> W + Sync,
) -> Result<String, ShapeError> {
    let repeat = enough.div_ceil(amount);
    let barrier = Barrier::new(THREADS);
    let runs_of = |thread: usize| {
        let panels = N / NR;
        let mut work = prepare(thread * panels / THREADS..(thread + 1) * panels / THREADS);
        let run = |_| {
            barrier.wait();
            let start = Instant::now();
            // A thread that fails still takes part in the other runs.
            let done = (0..repeat).try_for_each(|_| work());
            done.map(|()| start.elapsed().as_secs_f64())
        };
        (0..RUNS).map(run).collect::<Vec<_>>()
    };
    let mut seconds = [0.0_f64; RUNS];
    let all = std::thread::scope(|scope| {
        let runs_of = &runs_of;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || runs_of(thread)))
            .collect();
        let joined = threads.into_iter().filter_map(|thread| thread.join().ok());
        joined.collect::<Vec<_>>()
    });
    for runs in all {
        for (slowest, run) in seconds.iter_mut().zip(runs) {
            *slowest = slowest.max(run?);
        }
    }
    seconds.sort_by(f64::total_cmp);
    let giga = |seconds: f64| (amount * repeat) as f64 / seconds / 1e9;
    let (median, best) = (giga(seconds[RUNS / 2]), giga(seconds[0]));
    Ok(format!("{median:7.1} ({best:7.1})"))
}
