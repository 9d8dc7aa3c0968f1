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
    Bf16Rows, Epilogue, Int8Type, Isa, NR, PackedBf16, PackedF32, PackedInt8, PackedRows,
    QuantizedRows, ShapeError, Tier, gemm, gemm_bf16, gemm_int8,
};

const K: usize = 1024;
const N: usize = 4096;
const RUNS: usize = 9;

/// Bytes that no last-level cache holds.
const STREAMED: usize = 128 << 20;

fn main() -> Result<(), ShapeError> {
    bench::<PackedF32>()?;
    bench::<PackedBf16>()?;
    bench::<PackedInt8>()
}

/// A packed matrix [K, N].
trait Packed: Sized + Sync {
    const NAME: &'static str;
    /// Bytes of a matrix.
    const BYTES: usize;
    type Rows;
    fn new() -> Result<Self, ShapeError>;
    fn rows(isa: Isa) -> Self::Rows;
    fn product(
        &self,
        rows: &mut Self::Rows,
        a: &[f32],
        panels: Range<usize>,
        c: &mut [&mut [f32]],
    ) -> Result<(), ShapeError>;
}

macro_rules! packed {
    ($name:literal, $packed:ident, $size:literal, $zeros:expr, $row:expr, $rows:ident, $gemm:ident) => {
        impl Packed for $packed {
            const NAME: &'static str = $name;
            const BYTES: usize = $size * K * N;
            type Rows = $rows;

            fn new() -> Result<Self, ShapeError> {
                let mut packed: $packed = $zeros?;
                let row: Vec<_> = (0..N).map($row).collect();
                for k in 0..K {
                    packed.write_kn(k, 0, N, &row)?;
                }
                Ok(packed)
            }

            fn rows(isa: Isa) -> $rows {
                $rows::new(isa)
            }

            fn product(
                &self,
                rows: &mut $rows,
                a: &[f32],
                panels: Range<usize>,
                c: &mut [&mut [f32]],
            ) -> Result<(), ShapeError> {
                rows.pack(a, K)?;
                $gemm(rows, self, panels, c, Epilogue::Store)
            }
        }
    };
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

packed!(
    "f32",
    PackedF32,
    4,
    Self::zeros(K, N),
    weight,
    PackedRows,
    gemm
);
packed!(
    "bf16",
    PackedBf16,
    2,
    Self::zeros(K, N),
    weight,
    Bf16Rows,
    gemm_bf16
);
packed!(
    "int8",
    PackedInt8,
    1,
    Self::zeros(K, N, Int8Type::I8),
    byte,
    QuantizedRows,
    gemm_int8
);

/// Whether the command line names `name`, or none of `all`.
fn chosen(name: &str, all: &[&str]) -> bool {
    let mut args = std::env::args().skip(1);
    let names: Vec<String> = args
        .by_ref()
        .filter(|a| all.contains(&a.as_str()))
        .collect();
    names.is_empty() || names.iter().any(|n| n == name)
}

fn bench<B: Packed>() -> Result<(), ShapeError> {
    if !chosen(B::NAME, &["f32", "bf16", "int8"]) {
        return Ok(());
    }
    let count = STREAMED.div_ceil(B::BYTES);
    let matrices: Vec<B> = (0..count).map(|_| B::new()).collect::<Result<_, _>>()?;
    let tiers = Tier::ALL.map(Tier::as_str);
    for (matrices, from) in [(&matrices[..1], "cached"), (&matrices, "streamed")] {
        for threads in [1, 2] {
            for isa in Isa::available().filter(|isa| chosen(isa.tier().as_str(), &tiers)) {
                for m in [1, 5, 12, 40, 160] {
                    let speed = speed(threads, 2 * m * K * N, |thread| {
                        let panels = share(thread, threads, N / NR);
                        let width = panels.len() * NR;
                        let a = activations(m * K);
                        let mut rows = B::rows(isa);
                        let mut c = vec![0.0; m * width];
                        let mut matrices = matrices.iter().cycle();
                        move || {
                            let mut c: Vec<&mut [f32]> = c.chunks_mut(width).collect();
                            matrices.next().map_or(Ok(()), |b| {
                                b.product(&mut rows, black_box(&a), panels.clone(), &mut c)
                            })
                        }
                    })?;
                    let name = B::NAME;
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
