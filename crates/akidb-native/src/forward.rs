//! The forward pass: embedding lookup, layers, the last token's hidden state.

use std::ops::Range;

use akidb_kernels::{Isa, KEY_TILE, ShapeError, rms_norm, rms_norm_in_place, swiglu};

use crate::attention::{Projected, Segment, attend, store_key_values};
use crate::dims::Dims;
use crate::error::EngineError;
use crate::linear::Linear;
use crate::pool::Pool;
use crate::rotary::RotaryTable;
use crate::weights::{Layer, Weights};
use crate::workspace::{Chunk, Scratch, Workspace, grow};

/// Rows that go through a layer together, for each thread.
const CHUNK_ROWS_PER_THREAD: usize = 128;

/// Everything that stays the same from one pass to the next.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) dims: Dims,
    pub(crate) weights: Weights,
    pub(crate) rotary: RotaryTable,
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
}

/// Rows that go through a layer together, and what they are.
struct Rows {
    range: Range<usize>,
    segments: Vec<Segment>,
}

impl Model {
    /// Writes the hidden state of each text's last token, after the final norm, to `out`,
    /// `[texts, hidden_size]`.
    ///
    /// Texts must have tokens, all known, and no more than there are positions.
    pub(crate) fn forward(
        &self,
        texts: &[&[u32]],
        workspace: &mut Workspace,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        let width = self.dims.hidden_size;
        let (segments, key_values_len) = self.lay_out(texts)?;
        let tokens = texts.iter().map(|text| text.len()).sum::<usize>();
        let chunks = chunks(&segments, self.chunk_rows());
        workspace
            .chunk
            .reserve(&self.dims, self.chunk_rows().min(tokens));
        grow(&mut workspace.key_values, key_values_len);
        let hidden = grow(&mut workspace.hidden, tokens * width);
        for (id, row) in texts
            .iter()
            .copied()
            .flatten()
            .zip(hidden.chunks_exact_mut(width))
        {
            self.weights.embed_tokens.read_row(*id as usize, row)?;
        }
        let Some((last, layers)) = self.weights.layers.split_last() else {
            return Ok(());
        };
        for layer in layers {
            for rows in &chunks {
                self.layer(layer, rows, workspace)?;
            }
        }
        for rows in &chunks {
            self.last_layer_key_values(last, rows, workspace)?;
        }
        let mut end = 0;
        for (text, out) in texts.iter().zip(out.chunks_exact_mut(width)) {
            end += text.len();
            out.copy_from_slice(&workspace.hidden[(end - 1) * width..end * width]);
        }
        let ends: Vec<Segment> = segments.iter().map(Segment::last_row).collect();
        let count = self.chunk_rows();
        for (ends, out) in ends.chunks(count).zip(out.chunks_mut(count * width)) {
            self.last_layer(last, ends, workspace, out)?;
        }
        let eps = self.dims.rms_norm_eps;
        Ok(rms_norm_in_place(self.isa, out, &self.weights.norm, eps)?)
    }

    fn chunk_rows(&self) -> usize {
        CHUNK_ROWS_PER_THREAD * self.pool.threads()
    }

    /// Where each text's keys and values lie, and how much room all take.
    fn lay_out(&self, texts: &[&[u32]]) -> Result<(Vec<Segment>, usize), EngineError> {
        let mut len = 0_usize;
        let mut segments = Vec::with_capacity(texts.len());
        for text in texts {
            let tokens = text.len();
            let segment = Segment::of_text(&self.dims, tokens, len);
            let end = segment.and_then(|(_, heads)| len.checked_add(heads));
            let (Some((segment, _)), Some(end)) = (segment, end) else {
                let (op, operand, size) = ("forward", "tokens", tokens);
                return Err(ShapeError::Size { op, operand, size }.into());
            };
            segments.push(segment);
            len = end;
        }
        Ok((segments, len))
    }

    /// Takes some rows through a layer.
    fn layer(
        &self,
        layer: &Layer,
        rows: &Rows,
        workspace: &mut Workspace,
    ) -> Result<(), EngineError> {
        let Workspace {
            hidden,
            key_values,
            chunk,
            scratch,
        } = workspace;
        let (dims, width) = (&self.dims, self.dims.hidden_size);
        let count = rows.range.len();
        let hidden = &mut hidden[rows.range.start * width..rows.range.end * width];
        let qkv = &mut chunk.qkv[..count * dims.qkv_width()];
        let norm = self.norm_rows(hidden, &layer.input_layernorm);
        Linear::new(&layer.qkv).run(&self.pool, scratch, norm, qkv)?;
        let projected = Projected {
            data: qkv,
            width: dims.qkv_width(),
            q: 0,
            k: dims.k_column,
            v: dims.v_column,
        };
        let workers = &mut scratch.workers;
        store_key_values(self, layer, &rows.segments, projected, key_values, workers)?;
        let attended = &mut chunk.attended[..count * dims.q_width];
        attend(
            self,
            layer,
            &rows.segments,
            projected,
            key_values,
            workers,
            attended,
        )?;
        self.after_attention(layer, hidden, chunk, scratch)
    }

    /// Only the keys and values of some rows.
    fn last_layer_key_values(
        &self,
        layer: &Layer,
        rows: &Rows,
        workspace: &mut Workspace,
    ) -> Result<(), EngineError> {
        let (dims, width) = (&self.dims, self.dims.hidden_size);
        let hidden = &workspace.hidden[rows.range.start * width..rows.range.end * width];
        let linear = Linear::of_panels(&layer.qkv, dims.kv_panels());
        let data = &mut workspace.chunk.qkv[..rows.range.len() * linear.width()];
        let scratch = &mut workspace.scratch;
        let norm = self.norm_rows(hidden, &layer.input_layernorm);
        linear.run(&self.pool, scratch, norm, data)?;
        let projected = Projected {
            data,
            width: linear.width(),
            q: 0,
            k: 0,
            v: dims.v_column - dims.k_column,
        };
        let workers = &mut scratch.workers;
        let key_values = &mut workspace.key_values;
        store_key_values(self, layer, &rows.segments, projected, key_values, workers)
    }

    /// Takes the last rows of some texts, `hidden`, through a layer whose keys and values are
    /// there already.
    fn last_layer(
        &self,
        layer: &Layer,
        ends: &[Segment],
        workspace: &mut Workspace,
        hidden: &mut [f32],
    ) -> Result<(), EngineError> {
        let Workspace {
            key_values,
            chunk,
            scratch,
            ..
        } = workspace;
        let linear = Linear::of_panels(&layer.qkv, self.dims.q_panels());
        let data = &mut chunk.qkv[..ends.len() * linear.width()];
        let norm = self.norm_rows(hidden, &layer.input_layernorm);
        linear.run(&self.pool, scratch, norm, data)?;
        let projected = Projected {
            data,
            width: linear.width(),
            q: 0,
            k: 0,
            v: 0,
        };
        let attended = &mut chunk.attended[..ends.len() * self.dims.q_width];
        let workers = &mut scratch.workers;
        attend(self, layer, ends, projected, key_values, workers, attended)?;
        self.after_attention(layer, hidden, chunk, scratch)
    }

    /// Output projection and MLP, each added to `hidden`.
    fn after_attention(
        &self,
        layer: &Layer,
        hidden: &mut [f32],
        chunk: &mut Chunk,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        let dims = &self.dims;
        let count = hidden.len() / dims.hidden_size;
        let attended = &chunk.attended;
        let attended = |i: usize, row: &mut [f32]| {
            row.copy_from_slice(&attended[i * dims.q_width..][..dims.q_width]);
            Ok(())
        };
        Linear::residual(&layer.o).run(&self.pool, scratch, attended, hidden)?;

        let gate_up = &mut chunk.gate_up[..count * dims.gate_up_width()];
        let norm = self.norm_rows(hidden, &layer.post_attention_layernorm);
        Linear::new(&layer.gate_up).run(&self.pool, scratch, norm, gate_up)?;

        let activate = |i: usize, row: &mut [f32]| {
            let gate_up = &gate_up[i * dims.gate_up_width()..][..dims.gate_up_width()];
            let (gate, up) = (
                &gate_up[..dims.intermediate_size],
                &gate_up[dims.up_column..],
            );
            Ok(swiglu(self.isa, gate, up, row)?)
        };
        Linear::residual(&layer.down).run(&self.pool, scratch, activate, hidden)
    }

    /// A source of normalised rows of `hidden`.
    fn norm_rows<'a>(
        &'a self,
        hidden: &'a [f32],
        weight: &'a [f32],
    ) -> impl Fn(usize, &mut [f32]) -> Result<(), EngineError> + Sync + 'a {
        let width = self.dims.hidden_size;
        let eps = self.dims.rms_norm_eps;
        move |i, row| {
            let x = &hidden[i * width..][..width];
            Ok(rms_norm(self.isa, x, weight, eps, row)?)
        }
    }
}

/// Cuts the rows of all texts into chunks of `len` rows.
fn chunks(texts: &[Segment], len: usize) -> Vec<Rows> {
    let mut chunks: Vec<Rows> = Vec::new();
    let mut row = 0;
    for text in texts {
        let mut done = 0;
        while done < text.rows {
            if row % len == 0 {
                let (range, segments) = (row..row, Vec::new());
                chunks.push(Rows { range, segments });
            }
            let rows = (text.rows - done).min(len - row % len);
            (done, row) = (done + rows, row + rows);
            if let Some(chunk) = chunks.last_mut() {
                chunk.range.end = row;
                chunk.segments.push(Segment {
                    position: done - rows,
                    rows,
                    ..*text
                });
            }
        }
    }
    chunks
}

/// Tokens that a text's keys and values take room for.
pub(crate) fn key_room(tokens: usize) -> usize {
    tokens.next_multiple_of(KEY_TILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_row_once() {
        let text = |rows, key_values| Segment {
            position: 0,
            rows,
            key_values,
            head_len: 1,
        };
        let texts = [text(3, 0), text(1, 1), text(9, 2), text(4, 3)];
        let chunks = chunks(&texts, 4);
        let ranges: Vec<_> = chunks.iter().map(|rows| rows.range.clone()).collect();
        assert_eq!(ranges, [0..4, 4..8, 8..12, 12..16, 16..17]);
        let parts: Vec<Vec<_>> = chunks
            .iter()
            .map(|rows| {
                let parts = rows.segments.iter();
                parts.map(|s| (s.key_values, s.position, s.rows)).collect()
            })
            .collect();
        let expected: [&[(usize, usize, usize)]; 5] = [
            &[(0, 0, 3), (1, 0, 1)],
            &[(2, 0, 4)],
            &[(2, 4, 4)],
            &[(2, 8, 1), (3, 0, 3)],
            &[(3, 3, 1)],
        ];
        assert_eq!(parts, expected);
    }
}
