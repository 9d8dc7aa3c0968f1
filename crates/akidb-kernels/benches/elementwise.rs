//! Speed of what is done to each row beside the products, in µs per row.
//!
//! `cargo bench -p akidb-kernels --bench elementwise`: 128 rows of Qwen3-Embedding-0.6B (hidden size
//! 1024; 16 + 8 heads of 128, turned in place; MLP width 3072), one thread, best of 9 runs.

use std::hint::black_box;
use std::time::Instant;

use akidb_kernels::{Isa, ShapeError, rms_norm, rms_norm_in_place, rotary, swiglu};

const ROWS: usize = 128;
const HIDDEN: usize = 1024;
const HEAD_DIM: usize = 128;
const HEADS: usize = 24;
const INTERMEDIATE: usize = 3072;

fn main() -> Result<(), ShapeError> {
    let weight = vec![1.5; HIDDEN];
    let x = values(ROWS * INTERMEDIATE);
    let up = values(ROWS * INTERMEDIATE);
    let mut out = vec![0.0; ROWS * INTERMEDIATE];
    let (sin, cos): (Vec<f32>, Vec<f32>) = (0..ROWS * HEAD_DIM / 2)
        .map(|i| (i as f32).sin_cos())
        .unzip();
    let angles = || cos.chunks(HEAD_DIM / 2).zip(sin.chunks(HEAD_DIM / 2));
    for isa in Isa::available() {
        let norm = time(|| {
            let (x, out) = (&x[..ROWS * HIDDEN], &mut out[..ROWS * HIDDEN]);
            rms_norm(isa, black_box(x), &weight, 1e-6, out)
        })?;
        let mut heads = x[..ROWS * HEADS * HEAD_DIM].to_vec();
        let head_norm =
            time(|| rms_norm_in_place(isa, black_box(&mut heads), &weight[..HEAD_DIM], 1e-6))?;
        let turn = time(|| {
            let mut rows = black_box(&mut heads)
                .chunks_mut(HEADS * HEAD_DIM)
                .zip(angles());
            rows.try_for_each(|(row, (cos, sin))| rotary(isa, row, cos, sin))
        })?;
        let gate = time(|| swiglu(isa, black_box(&x), &up, &mut out))?;
        println!(
            "{isa:>10}  rms_norm {norm:.3}  rms_norm of heads {head_norm:.3}  \
             rotary {turn:.3}  swiglu {gate:.3} µs a row"
        );
    }
    Ok(())
}

/// µs per row of the best of 9 runs.
fn time(mut run: impl FnMut() -> Result<(), ShapeError>) -> Result<f64, ShapeError> {
    const REPEAT: usize = 20;
    let mut best = f64::INFINITY;
    for _ in 0..9 {
        let start = Instant::now();
        for _ in 0..REPEAT {
            run()?;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best * 1e6 / (REPEAT * ROWS) as f64)
}

/// Numbers in -4..4 in no simple order.
fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (i * 7919 % 10_007) as f32 / 1250.875 - 4.0)
        .collect()
}
