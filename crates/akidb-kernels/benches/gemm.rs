//! GFLOP/s of the f32 product per tier, beside the fused multiply-adds that the CPU can do.
//!
//! `cargo bench -p akidb-kernels`: K = 1024 and N = 4096 (the fused q/k/v of Qwen3-Embedding-0.6B),
//! each thread its own rows above one tile, medians of 9 runs.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use akidb_kernels::{Accumulate, Isa, PackedF32, PackedRows, ShapeError, gemm};

const K: usize = 1024;
const N: usize = 4096;
const RUNS: usize = 9;

fn main() -> Result<(), ShapeError> {
    let mut b = PackedF32::zeros(K, N)?;
    let row: Vec<f32> = (0..N).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
    for k in 0..K {
        b.write_kn(k, 0, N, &row)?;
    }
    for threads in [1, 2] {
        for isa in Isa::available() {
            for rows in [1, 2, 4, 8, 12, 24, 64, 128] {
                let runs = (0..RUNS).map(|_| run(isa, &b, rows, threads));
                let gflops = median(runs.collect::<Result<_, _>>()?);
                println!(
                    "{threads} threads {isa:>8}  M = {rows:>3} a thread  {gflops:7.1} GFLOP/s"
                );
            }
        }
    }
    Ok(())
}

/// GFLOP/s of all threads together, packing of A included.
fn run(isa: Isa, b: &PackedF32, rows: usize, threads: usize) -> Result<f64, ShapeError> {
    let repeat = 256_usize.div_ceil(rows);
    let barrier = Barrier::new(threads);
    let work = || {
        let a = vec![0.5; rows * K];
        let mut packed = PackedRows::new(isa);
        let mut c = vec![0.0; rows * N];
        let mut c: Vec<&mut [f32]> = c.chunks_mut(N).collect();
        barrier.wait();
        let start = Instant::now();
        for _ in 0..repeat {
            packed.pack(black_box(&a), K)?;
            gemm(&packed, b, 0..b.panels(), &mut c, Accumulate::No)?;
            black_box(&mut c);
        }
        Ok(start.elapsed().as_secs_f64())
    };
    let seconds = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut seconds = vec![work()];
        seconds.extend(others.into_iter().filter_map(|thread| thread.join().ok()));
        seconds
    });
    let mut slowest = 0.0_f64;
    for seconds in seconds {
        slowest = slowest.max(seconds?);
    }
    Ok(2.0 * (threads * repeat * rows * K * N) as f64 / slowest / 1e9)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
