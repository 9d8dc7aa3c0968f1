//! Speed of the products per tier: GFLOP/s in f32, TOPS in int8.
//!
//! `cargo bench -p akidb-kernels`, or with `-- f32` or `-- int8` one of them: K = 1024 and N = 4096
//! (the fused q/k/v of Qwen3-Embedding-0.6B), packing of A included, median and best of 9 runs. In
//! f32 each thread has its own rows; in int8 the threads share rows, and each has its own panels.
//!
//! int8 on two cores of an AMD EPYC (Zen 4) whose `vpdpbusd` gives 938 GOPS, best of 9 runs:
//!
//! | M          |   1 |   5 |  12 |  40 | 160 |
//! |------------|-----|-----|-----|-----|-----|
//! | avx512vnni | 276 | 826 | 839 | 862 | 860 |
//! | avx512     | 221 | 289 | 295 | 300 | 301 |
//! | avx2       | 194 | 258 | 273 | 275 | 279 |

use std::hint::black_box;
use std::ops::Range;
use std::sync::Barrier;
use std::time::Instant;

use akidb_kernels::{
    Accumulate, Int8Type, Isa, NR, PackedF32, PackedInt8, PackedRows, QuantizedRows, ShapeError,
    gemm, gemm_int8,
};

const K: usize = 1024;
const N: usize = 4096;
const RUNS: usize = 9;

fn main() -> Result<(), ShapeError> {
    let chosen = std::env::args().find(|arg| arg == "f32" || arg == "int8");
    if chosen.as_deref() != Some("int8") {
        bench_f32()?;
    }
    if chosen.as_deref() != Some("f32") {
        bench_int8()?;
    }
    Ok(())
}

fn bench_f32() -> Result<(), ShapeError> {
    let mut b = PackedF32::zeros(K, N)?;
    let row: Vec<f32> = (0..N).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
    for k in 0..K {
        b.write_kn(k, 0, N, &row)?;
    }
    for threads in [1, 2] {
        for isa in Isa::available() {
            for rows in [1, 2, 4, 8, 12, 24, 64, 128] {
                let operations = 2 * threads * rows * K * N;
                let speed = speed(threads, operations, |_| {
                    let a = vec![0.5; rows * K];
                    let mut packed = PackedRows::new(isa);
                    let mut c = vec![0.0; rows * N];
                    let b = &b;
                    move || {
                        let mut c: Vec<&mut [f32]> = c.chunks_mut(N).collect();
                        packed.pack(black_box(&a), K)?;
                        gemm(&packed, b, 0..b.panels(), &mut c, Accumulate::No)
                    }
                })?;
                println!(
                    "f32   {threads} threads {isa:>10}  M = {rows:>3} a thread  {speed} GFLOP/s"
                );
            }
        }
    }
    Ok(())
}

fn bench_int8() -> Result<(), ShapeError> {
    let mut b = PackedInt8::zeros(K, N, Int8Type::I8)?;
    let row: Vec<u8> = (0..N).map(|i| (i % 251) as u8).collect();
    for k in 0..K {
        b.write_kn(k, 0, N, &row)?;
    }
    for threads in [1, 2] {
        for isa in Isa::available() {
            for rows in [1, 5, 12, 40, 160] {
                let speed = speed(threads, 2 * rows * K * N, |thread| {
                    let panels = share(thread, threads, b.panels());
                    let width = panels.len() * NR;
                    let a = vec![0.5; rows * K];
                    let mut packed = QuantizedRows::new(isa);
                    let mut c = vec![0.0; rows * width];
                    let b = &b;
                    move || {
                        let mut c: Vec<&mut [f32]> = c.chunks_mut(width).collect();
                        packed.pack(black_box(&a), K)?;
                        gemm_int8(&packed, b, panels.clone(), &mut c, Accumulate::No)
                    }
                })?;
                println!("int8  {threads} threads {isa:>10}  M = {rows:>3}           {speed} GOPS");
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
