//! One linear layer over some rows, split among the threads.

use std::ops::Range;

use akidb_kernels::{Accumulate, NR};

use crate::error::EngineError;
use crate::pool::Pool;
use crate::product::Weight;
use crate::workspace::Scratch;

/// With more rows for each thread than this, threads take rows instead of panels: each reads all
/// weights, but nothing of what another one writes.
const ROWS_PER_THREAD: usize = 24;

/// Multiplications below which waking other threads costs more than it gains.
const SMALL: usize = 1 << 18;

/// A product with some panels of a packed weight.
pub(crate) struct Linear<'a> {
    pub(crate) weight: &'a Weight,
    pub(crate) panels: Range<usize>,
    pub(crate) accumulate: Accumulate,
}

impl<'a> Linear<'a> {
    /// All panels, overwriting the output.
    pub(crate) fn new(weight: &'a Weight) -> Self {
        Self::of_panels(weight, 0..weight.panels())
    }

    /// Some panels, overwriting the output.
    pub(crate) fn of_panels(weight: &'a Weight, panels: Range<usize>) -> Self {
        Self {
            weight,
            panels,
            accumulate: Accumulate::No,
        }
    }

    /// All panels, added to the output.
    pub(crate) fn residual(weight: &'a Weight) -> Self {
        Self {
            accumulate: Accumulate::Yes,
            ..Self::new(weight)
        }
    }

    /// Width of the output.
    pub(crate) fn width(&self) -> usize {
        (self.panels.end * NR).min(self.weight.n()) - self.panels.start * NR
    }

    /// Multiplies the rows that `input` writes (it is given an index and a slice of the weight's
    /// K) and puts the results to `out`, `[rows, width]`.
    pub(crate) fn run(
        &self,
        pool: &Pool,
        scratch: &mut Scratch,
        input: impl Fn(usize, &mut [f32]) -> Result<(), EngineError> + Sync,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        let rows = out.len() / self.width();
        if rows >= ROWS_PER_THREAD * pool.threads() {
            return self.split_rows(pool, scratch, input, out);
        }
        let shared = &mut scratch.shared;
        shared.pack_with(self.weight, rows, input)?;
        let small = rows * self.weight.k() * self.width() < SMALL;
        let threads = if small { 1 } else { pool.threads() };
        let tasks = self.panel_tasks(out, threads);
        pool.run(&mut scratch.workers, tasks, |_, (panels, mut out)| {
            Ok(shared.multiply(self.weight, panels, &mut out, self.accumulate)?)
        })
    }

    /// The panels in `count` parts, each with its columns of every row of `out`.
    fn panel_tasks<'o>(
        &self,
        out: &'o mut [f32],
        count: usize,
    ) -> Vec<(Range<usize>, Vec<&'o mut [f32]>)> {
        let per_task = self.panels.len().div_ceil(count).max(1);
        let starts = self.panels.clone().step_by(per_task);
        let mut tasks: Vec<_> = starts
            .map(|start| {
                let end = (start + per_task).min(self.panels.end);
                (start..end, Vec::new())
            })
            .collect();
        for row in out.chunks_exact_mut(self.width()) {
            for ((_, columns), part) in tasks.iter_mut().zip(row.chunks_mut(per_task * NR)) {
                columns.push(part);
            }
        }
        tasks
    }

    fn split_rows(
        &self,
        pool: &Pool,
        scratch: &mut Scratch,
        input: impl Fn(usize, &mut [f32]) -> Result<(), EngineError> + Sync,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        let rows = out.len() / self.width();
        let per_task = rows.div_ceil(pool.threads());
        let tasks = out
            .chunks_mut(per_task * self.width())
            .enumerate()
            .collect();
        pool.run(&mut scratch.workers, tasks, |worker, (task, out)| {
            let count = out.len() / self.width();
            let first = task * per_task;
            worker
                .rows
                .pack_with(self.weight, count, |row, values| input(first + row, values))?;
            let mut out: Vec<&mut [f32]> = out.chunks_exact_mut(self.width()).collect();
            let panels = self.panels.clone();
            let rows = &worker.rows;
            Ok(rows.multiply(self.weight, panels, &mut out, self.accumulate)?)
        })
    }
}
