//! Speed of the products: 10⁹ operations a second, a multiplication and an addition being two.
//!
//! `cargo bench -p akidb-kernels`, or with names behind `--` only some types (`f32`, `bf16`,
//! `int8`) and tiers: K = 1024 and N = 4096 (the fused q/k/v of Qwen3-Embedding-0.6B), packing of
//! A included, each thread with its own panels, median and best of 9 runs. A is close to normally
//! distributed. "cached" is one matrix again and again; "streamed" are as many in turn as no
//! last-level cache holds.
//!
//! On two cores of an AMD EPYC (Zen 4) whose `vpdpbusd` gives 938 GOPS, best of 9 runs:
//!
//! | M               |   1 |   5 |  12 |  40 | 160 |
//! |-----------------|-----|-----|-----|-----|-----|
//! | int8 avx512vnni | 276 | 826 | 839 | 862 | 860 |
//! | int8 avx512     | 221 | 289 | 295 | 300 | 301 |
//! | int8 avx2       | 194 | 258 | 273 | 275 | 279 |

use std::hint::black_box;
use std::ops::Range;
use std::sync::Barrier;
use std::time::Instant;

use akidb_kernels::{
    Epilogue, Int8Type, Isa, NR, PackedBf16, PackedF32, PackedInt8, Rows, ShapeError, Tier, Weight,
};

const K: usize = 1024;
const N: usize = 4096;
const RUNS: usize = 9;

/// Bytes that no last-level cache holds.
const STREAMED: usize = 128 << 20;

fn main() -> Result<(), ShapeError> {
    let floats: Vec<f32> = (0..N).map(weight).collect();
    let bytes: Vec<u8> = (0..N).map(byte).collect();
    bench("f32", 4, || {
        let mut packed = PackedF32::zeros(K, N)?;
        (0..K).try_for_each(|k| packed.write_kn(k, 0, N, &floats))?;
        Ok(Weight::F32(packed))
    })?;
    bench("bf16", 2, || {
        let mut packed = PackedBf16::zeros(K, N)?;
        (0..K).try_for_each(|k| packed.write_kn(k, 0, N, &floats))?;
        Ok(Weight::Bf16(packed))
    })?;
    bench("int8", 1, || {
        let mut packed = PackedInt8::zeros(K, N, Int8Type::I8)?;
        (0..K).try_for_each(|k| packed.write_kn(k, 0, N, &bytes))?;
        Ok(Weight::Int8(packed))
    })
}

fn weight(i: usize) -> f32 {
    (i % 97) as f32 / 97.0 - 0.5
}

fn byte(i: usize) -> u8 {
    (i % 251) as u8
}

/// Close to normally distributed: sums of 12 numbers of an LCG by Knuth.
fn activations(len: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut uniform = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| (0..12).map(&mut uniform).sum()).collect()
}

/// Whether the command line names `name`, or none of `all`.
fn chosen(name: &str, all: &[&str]) -> bool {
    let mut args = std::env::args().skip(1);
    let names: Vec<String> = args
        .by_ref()
        .filter(|a| all.contains(&a.as_str()))
        .collect();
    names.is_empty() || names.iter().any(|n| n == name)
}

/// Prints the speed of weights of `size` bytes each.
fn bench(
    name: &str,
    size: usize,
    matrix: impl Fn() -> Result<Weight, ShapeError>,
) -> Result<(), ShapeError> {
    if !chosen(name, &["f32", "bf16", "int8"]) {
        return Ok(());
    }
    let count = STREAMED.div_ceil(size * K * N);
    let matrices: Vec<Weight> = (0..count).map(|_| matrix()).collect::<Result<_, _>>()?;
    let tiers = Tier::ALL.map(Tier::as_str);
    for (matrices, from) in [(&matrices[..1], "cached"), (&matrices, "streamed")] {
        for threads in [1, 2] {
            for isa in Isa::available().filter(|isa| chosen(isa.tier().as_str(), &tiers)) {
                for m in [1, 5, 12, 40, 160] {
                    let speed = speed(threads, 2 * m * K * N, |thread| {
                        let panels = share(thread, threads, N / NR);
                        let width = panels.len() * NR;
                        let a = activations(m * K);
                        let mut rows = Rows::new(isa);
                        let mut c = vec![0.0; m * width];
                        let mut matrices = matrices.iter().cycle();
                        move || {
                            let mut c: Vec<&mut [f32]> = c.chunks_mut(width).collect();
                            matrices.next().map_or(Ok(()), |b| {
                                let row =
                                    |i, _: &mut [f32]| Ok(black_box(&a).get(i * K..(i + 1) * K));
                                rows.pack_from::<ShapeError>(b, m, row)?;
                                rows.multiply(b, panels.clone(), &mut c, Epilogue::Store)
                            })
                        }
                    })?;
                    println!("{name} {from:>8} {threads} threads {isa:>10} M = {m:>3} {speed}");
                }
            }
        }
    }
    Ok(())
}

/// Part `index` of `0..len` cut into `parts`.
fn share(index: usize, parts: usize, len: usize) -> Range<usize> {
    index * len / parts..(index + 1) * len / parts
}

/// "median (best)" in 10⁹ operations a second of all threads together, when all of them run once
/// what `prepare` gives for their number to do `operations`.
fn speed<W: FnMut() -> Result<(), ShapeError>>(
    threads: usize,
    operations: usize,
    prepare: impl Fn(usize) -> W + Sync,
) -> Result<String, ShapeError> {
    let repeat = (1_usize << 31).div_ceil(operations);
    let barrier = Barrier::new(threads);
    let runs_of = |thread| {
        let mut work = prepare(thread);
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
        let others: Vec<_> = (1..threads)
            .map(|thread| scope.spawn(move || runs_of(thread)))
            .collect();
        let mut all = vec![runs_of(0)];
        all.extend(others.into_iter().filter_map(|thread| thread.join().ok()));
        all
    });
    for runs in all {
        for (slowest, run) in seconds.iter_mut().zip(runs) {
            *slowest = slowest.max(run?);
        }
    }
    seconds.sort_by(f64::total_cmp);
    let giga = |seconds: f64| (operations * repeat) as f64 / seconds / 1e9;
    Ok(format!(
        "{:7.1} ({:7.1})",
        giga(seconds[RUNS / 2]),
        giga(seconds[0])
    ))
}
