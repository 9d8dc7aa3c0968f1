//! Speed of what is done to each row beside the products, in µs per row.
//!
//! `cargo bench -p akidb-kernels --bench elementwise`: 128 rows of Qwen3-Embedding-0.6B (hidden size
//! 1024, copied and normalised; 16 + 8 heads of 128; MLP width 3072), one thread, best of 9 runs.

use std::hint::black_box;
use std::time::Instant;

use akidb_kernels::{Gate, Isa, ShapeError, glu, norm_rotary, rms_norm};

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
            out[..ROWS * HIDDEN].copy_from_slice(black_box(&x[..ROWS * HIDDEN]));
            rms_norm(isa, &mut out[..ROWS * HIDDEN], &weight, 1e-6)
        })?;
        let heads = time(|| {
            let rows = black_box(&x).chunks(HEADS * HEAD_DIM).zip(angles());
            let mut rows = rows.zip(out.chunks_mut(HEADS * HEAD_DIM));
            rows.try_for_each(|((row, (cos, sin)), out)| {
                norm_rotary(isa, row, &weight[..HEAD_DIM], 1e-6, [cos, sin], out)
            })
        })?;
        let gate = time(|| glu(isa, Gate::Silu, black_box(&x), &up, &mut out))?;
        println!(
            "{isa:>10}  rms_norm {norm:.3}  norm_rotary {heads:.3}  swiglu {gate:.3} µs a row"
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
