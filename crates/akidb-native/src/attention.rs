//! Attention of a chunk of rows: keys and values are put away, then the queries look at them.

use akidb_kernels::{PanelRow, attention, rms_norm_in_place, rotary};

use crate::dims::Dims;
use crate::error::EngineError;
use crate::forward::Model;
use crate::weights::Layer;
use crate::workspace::{Worker, grow};

/// Query vectors that look at keys together: a few tiles of the product.
const QUERIES_PER_TASK: usize = 48;

/// Multiplications below which waking other threads costs more than it gains.
const SMALL: usize = 1 << 18;

/// Some rows of one text within a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    /// Position in its text of the first row.
    pub(crate) position: usize,
    /// Number of rows.
    pub(crate) rows: usize,
    /// Where the text's keys and values start.
    pub(crate) key_values: usize,
    /// Length of one head's keys and values.
    pub(crate) head_len: usize,
}

/// Rows of a chunk with some of q, k and v.
#[derive(Clone, Copy)]
pub(crate) struct Projected<'a> {
    /// `[rows, width]`.
    pub(crate) data: &'a [f32],
    pub(crate) width: usize,
    /// First column of q.
    pub(crate) q: usize,
    /// First column of k.
    pub(crate) k: usize,
    /// First column of v.
    pub(crate) v: usize,
}

/// Normalises and turns the keys of a chunk, and stores keys and values where attention reads
/// them. Segments are in the order of the texts.
pub(crate) fn store_key_values(
    model: &Model,
    layer: &Layer,
    segments: &[Segment],
    projected: Projected<'_>,
    key_values: &mut [PanelRow],
    workers: &mut [Worker],
) -> Result<(), EngineError> {
    let dims = &model.dims;
    let heads = dims.num_key_value_heads;
    let mut tasks = Vec::with_capacity(segments.len() * heads);
    let (mut rest, mut at, mut first_row) = (key_values, 0, 0);
    for segment in segments {
        let text = std::mem::take(&mut rest);
        let (_, text) = text.split_at_mut(segment.key_values - at);
        let (text, after) = text.split_at_mut(segment.head_len * heads);
        (rest, at) = (after, segment.key_values + segment.head_len * heads);
        for (head, data) in text.chunks_exact_mut(segment.head_len).enumerate() {
            tasks.push((segment, first_row, head, data));
        }
        first_row += segment.rows;
    }
    let workers = enough(workers, first_row * dims.kv_width * 8);
    model.pool.run(
        workers,
        tasks,
        |worker, (segment, first_row, head, data)| {
            let column = head * dims.head_dim;
            let rows = projected.data.chunks_exact(projected.width).skip(first_row);
            for (position, row) in (segment.position..).zip(rows.take(segment.rows)) {
                let key = grow(&mut worker.heads, dims.head_dim);
                key.copy_from_slice(&row[projected.k + column..][..dims.head_dim]);
                norm_and_turn(model, &layer.k_norm, position, key)?;
                let value = &row[projected.v + column..][..dims.head_dim];
                dims.attention
                    .key_values
                    .write(data, position, key, value)?;
            }
            Ok(())
        },
    )
}

/// Normalises and turns the queries of a chunk and writes what they gather to `out`,
/// `[rows, q_width]`.
pub(crate) fn attend(
    model: &Model,
    layer: &Layer,
    segments: &[Segment],
    projected: Projected<'_>,
    key_values: &[PanelRow],
    workers: &mut [Worker],
    out: &mut [f32],
) -> Result<(), EngineError> {
    let dims = &model.dims;
    let heads = dims.num_key_value_heads;
    // Width of the query heads that share a key/value head.
    let group = dims.attention.query_heads * dims.head_dim;
    let rows_per_task = (QUERIES_PER_TASK / dims.attention.query_heads).max(1);

    let mut tasks = Vec::new();
    let mut out_rows = out.chunks_exact_mut(dims.q_width);
    let (mut first_row, mut work) = (0, 0_usize);
    for segment in segments {
        for first in (0..segment.rows).step_by(rows_per_task) {
            let count = rows_per_task.min(segment.rows - first);
            let position = segment.position + first;
            work = work.saturating_add(count * (position + count) * dims.q_width * 2);
            let mut by_head: Vec<Vec<&mut [f32]>> = Vec::new();
            by_head.resize_with(heads, || Vec::with_capacity(count));
            for row in out_rows.by_ref().take(count) {
                for (rows, part) in by_head.iter_mut().zip(row.chunks_exact_mut(group)) {
                    rows.push(part);
                }
            }
            for (head, out) in by_head.into_iter().enumerate() {
                tasks.push(Task {
                    key_values: segment.key_values + head * segment.head_len,
                    head_len: segment.head_len,
                    position,
                    first_row: first_row + first,
                    column: projected.q + head * group,
                    out,
                });
            }
        }
        first_row += segment.rows;
    }
    let workers = enough(workers, work);
    model.pool.run(workers, tasks, |worker, mut task| {
        let queries = grow(&mut worker.heads, task.out.len() * group);
        let rows = projected
            .data
            .chunks_exact(projected.width)
            .skip(task.first_row);
        for (i, (queries, row)) in queries.chunks_exact_mut(group).zip(rows).enumerate() {
            queries.copy_from_slice(&row[task.column..][..group]);
            norm_and_turn(model, &layer.q_norm, task.position + i, queries)?;
        }
        let data = &key_values[task.key_values..][..task.head_len];
        let (out, scratch) = (&mut task.out, &mut worker.attention);
        Ok(attention(
            &dims.attention,
            data,
            task.position,
            queries,
            out,
            scratch,
        )?)
    })
}

/// Some queries of one text that share a key/value head.
struct Task<'o> {
    key_values: usize,
    head_len: usize,
    position: usize,
    first_row: usize,
    column: usize,
    out: Vec<&'o mut [f32]>,
}

/// Normalises each head of one position and turns it by the position's angles.
fn norm_and_turn(
    model: &Model,
    norm: &[f32],
    position: usize,
    heads: &mut [f32],
) -> Result<(), EngineError> {
    rms_norm_in_place(model.isa, heads, norm, model.dims.rms_norm_eps)?;
    let (cos, sin) = model.rotary.cos_sin(position);
    Ok(rotary(model.isa, heads, cos, sin)?)
}

/// One worker for little work, else all.
fn enough(workers: &mut [Worker], work: usize) -> &mut [Worker] {
    let all = workers.len();
    let count = if work < SMALL { all.min(1) } else { all };
    &mut workers[..count]
}

impl Segment {
    /// The segment of a text at `key_values`, and the length of all its heads.
    pub(crate) fn of_text(dims: &Dims, tokens: usize, key_values: usize) -> Option<(Self, usize)> {
        let head_len = dims.attention.key_values.len(tokens)?;
        let segment = Self {
            position: 0,
            rows: tokens,
            key_values,
            head_len,
        };
        Some((segment, head_len.checked_mul(dims.num_key_value_heads)?))
    }

    /// The last row of a text.
    pub(crate) fn last_row(&self) -> Self {
        Self {
            position: self.position + self.rows - 1,
            rows: 1,
            ..*self
        }
    }
}
