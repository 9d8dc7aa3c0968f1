//! A forward pass of many rows: each thread takes its own rows through all layers. Threads meet
//! once a layer, and only where a text is cut between them.

use std::ops::Range;

use akidb_kernels::{Epilogue, NR, prefetch, rms_norm};

use crate::attention::{LayerAttention, Projected};
use crate::error::EngineError;
use crate::forward::{Model, Pass};
use crate::layout::Segment;
use crate::pool::Member;
use crate::workspace::{CACHE_LINE, Chunk, Memory, Scratch, grow};

/// Rows that go through a layer together: enough that reading the weights costs little beside
/// multiplying, few enough that activations stay near the core.
const CHUNK_ROWS: usize = 128;

/// Takes the pass's rows `own` through the model. The results of the texts that end there are left
/// in `memory.out`.
pub(crate) fn forward(
    model: &Model,
    member: Member<'_>,
    pass: &Pass<'_>,
    own: Range<usize>,
    memory: &mut Memory,
) -> Result<(), EngineError> {
    let width = model.dims.hidden_size;
    let stride = stride(width);
    let hidden = grow(&mut memory.hidden, own.len() * stride);
    for (row, hidden) in own.clone().zip(hidden.chunks_exact_mut(stride)) {
        model.embed(pass.id(row), &mut hidden[..width])?;
    }
    let wanted_rows = pass.layout.wanted_rows(own.clone());
    let wanted_hidden = grow(&mut memory.wanted_rows, wanted_rows.len() * stride);
    let chunks: Vec<_> = (0..own.len())
        .step_by(CHUNK_ROWS)
        .map(|start| {
            let end = own.len().min(start + CHUNK_ROWS);
            let segments = pass.layout.segments(own.start + start..own.start + end);
            (start * stride..end * stride, segments)
        })
        .collect();
    let is_cut = pass.is_cut();
    let last = model.weights.layers.len() - 1;
    for index in 0..=last {
        let mut layer = LayerRows {
            attention: pass.attention(model, index),
            chunk: &mut memory.chunk,
            scratch: &mut memory.scratch,
        };
        if !is_cut && index < last {
            for (values, segments) in &chunks {
                layer.all(&mut hidden[values.clone()], segments)?;
            }
        } else {
            for (values, segments) in &chunks {
                layer.keys_and_values(&hidden[values.clone()], segments)?;
            }
            if is_cut {
                member.wait()?;
            }
            if index < last {
                for (values, segments) in &chunks {
                    layer.rest(&mut hidden[values.clone()], segments)?;
                }
            } else {
                for (wanted, row) in wanted_rows
                    .iter()
                    .zip(wanted_hidden.chunks_exact_mut(stride))
                {
                    row.copy_from_slice(&hidden[wanted.first_row * stride..][..stride]);
                }
                let hidden = wanted_hidden.chunks_mut(CHUNK_ROWS * stride);
                for (wanted_rows, hidden) in wanted_rows.chunks(CHUNK_ROWS).zip(hidden) {
                    let rows = wanted_rows.iter().enumerate();
                    let segments: Vec<Segment> = rows
                        .map(|(first_row, row)| Segment { first_row, ..*row })
                        .collect();
                    layer.rest(hidden, &segments)?;
                }
            }
        }
        pass.keep(model, index);
    }
    let (norm, eps) = (&model.weights.norm, model.dims.rms_norm_eps);
    let out = grow(&mut memory.out, wanted_rows.len() * width);
    let wanted_hidden = wanted_hidden.chunks_exact(stride);
    for (out, row) in out.chunks_exact_mut(width).zip(wanted_hidden) {
        out.copy_from_slice(&row[..width]);
    }
    Ok(rms_norm(model.isa, out, norm, eps)?)
}

/// From one row of `width` values to the next, in values. Rows a power of two apart would all fall
/// into the same few places of the caches.
fn stride(width: usize) -> usize {
    width.next_multiple_of(CACHE_LINE) + CACHE_LINE
}

/// One layer, for chunks of rows.
struct LayerRows<'a> {
    attention: LayerAttention<'a>,
    chunk: &'a mut Chunk,
    scratch: &'a mut Scratch,
}

impl LayerRows<'_> {
    /// Stores the keys and values of the rows in `hidden`, which are `segments`.
    fn keys_and_values(&mut self, hidden: &[f32], segments: &[Segment]) -> Result<(), EngineError> {
        let layout = self.attention.model.dims.qkv;
        self.pack_normalised(hidden)?;
        for set in 0..layout.sets {
            let heads = layout.heads(set..set + 1);
            let columns = layout.kv_columns(set);
            self.project(columns.clone())?;
            self.store(segments, heads, columns)?;
        }
        Ok(())
    }

    /// All else, when the keys and values are there.
    fn rest(&mut self, hidden: &mut [f32], segments: &[Segment]) -> Result<(), EngineError> {
        let layout = self.attention.model.dims.qkv;
        self.pack_normalised(hidden)?;
        for set in 0..layout.sets {
            let heads = layout.heads(set..set + 1);
            let columns = layout.q_columns(set);
            self.project(columns.clone())?;
            self.attend(segments, heads, columns)?;
        }
        self.after_attention(hidden)
    }

    /// [`Self::keys_and_values`], then [`Self::rest`].
    fn all(&mut self, hidden: &mut [f32], segments: &[Segment]) -> Result<(), EngineError> {
        let layout = self.attention.model.dims.qkv;
        self.pack_normalised(hidden)?;
        for set in 0..layout.sets {
            let heads = layout.heads(set..set + 1);
            let columns = layout.columns(set..set + 1);
            self.project(columns.clone())?;
            self.store(segments, heads.clone(), columns.clone())?;
            self.attend(segments, heads, columns)?;
        }
        self.after_attention(hidden)
    }

    fn pack_normalised(&mut self, hidden: &[f32]) -> Result<(), EngineError> {
        let LayerAttention { model, layer, .. } = self.attention;
        let width = model.dims.hidden_size;
        let stride = stride(width);
        let eps = model.dims.rms_norm_eps;
        let rows = hidden.len() / stride;
        self.scratch.rows.pack_from(&layer.qkv, rows, |i, row| {
            let (hidden, next) = hidden[i * stride..].split_at(stride);
            prefetch(model.isa, &next[..stride.min(next.len())]);
            row.copy_from_slice(&hidden[..width]);
            rms_norm(model.isa, row, &layer.input_layernorm, eps)?;
            Ok(None)
        })
    }

    /// Multiplies the packed rows with the panels of some columns of q/k/v.
    fn project(&mut self, columns: Range<usize>) -> Result<(), EngineError> {
        let rows = &self.scratch.rows;
        let weight = &self.attention.layer.qkv;
        let width = columns.len();
        let out = grow(&mut self.chunk.qkv, rows.count(weight) * stride(width));
        let panels = columns.start / NR..columns.end.div_ceil(NR);
        let mut out = rows_of(out, width);
        Ok(rows.multiply(weight, panels, &mut out, Epilogue::Store)?)
    }

    /// Stores the keys and values of `heads`, which are among `columns`, the last projected ones.
    fn store(
        &mut self,
        segments: &[Segment],
        heads: Range<usize>,
        columns: Range<usize>,
    ) -> Result<(), EngineError> {
        let projected = ProjectedRows {
            data: &self.chunk.qkv,
            columns,
        };
        let scratch = &mut self.scratch.attention;
        self.attention.store(segments, heads, &projected, scratch)
    }

    /// Gathers for the queries of `heads`, which are among `columns`, the last projected ones.
    fn attend(
        &mut self,
        segments: &[Segment],
        heads: Range<usize>,
        columns: Range<usize>,
    ) -> Result<(), EngineError> {
        let dims = &self.attention.model.dims;
        let projected = ProjectedRows {
            data: &self.chunk.qkv,
            columns,
        };
        let rows: usize = segments.iter().map(|segment| segment.rows).sum();
        let stride = stride(dims.q_width);
        let out = grow(&mut self.chunk.attended, rows * stride);
        let out = &mut out[heads.start * dims.query_group()..];
        let scratch = &mut self.scratch.attention;
        self.attention
            .attend(segments, heads, &projected, out, stride, scratch)
    }

    /// Output projection and MLP, each added to `hidden`.
    fn after_attention(&mut self, hidden: &mut [f32]) -> Result<(), EngineError> {
        let LayerAttention { model, layer, .. } = self.attention;
        let dims = &model.dims;
        let (width, inner) = (dims.hidden_size, dims.intermediate_size);
        let count = hidden.len() / stride(width);
        let rows = &mut self.scratch.rows;

        let attended = &self.chunk.attended;
        rows.pack_from::<EngineError>(&layer.o, count, |i, _| {
            let stride = stride(dims.q_width);
            let (attended, next) = attended[i * stride..].split_at(stride);
            prefetch(model.isa, &next[..stride.min(next.len())]);
            Ok(Some(&attended[..dims.q_width]))
        })?;
        let mut out = rows_of(hidden, width);
        rows.multiply(&layer.o, 0..layer.o.panels(), &mut out, Epilogue::Add)?;

        rows.pack_from::<EngineError>(&layer.gate_up, count, |i, row| {
            prefetch(model.isa, out.get(i + 1).map_or(&[], |next| next));
            row.copy_from_slice(out[i]);
            let norm = &layer.post_attention_layernorm;
            rms_norm(model.isa, row, norm, dims.rms_norm_eps)?;
            Ok(None)
        })?;
        let activated = grow(&mut self.chunk.activated, count * stride(inner));
        let mut gated = rows_of(activated, inner);
        let panels = 0..layer.gate_up.panels();
        rows.multiply(&layer.gate_up, panels, &mut gated, Epilogue::SwiGlu)?;

        rows.pack_from::<EngineError>(&layer.down, count, |i, _| {
            prefetch(model.isa, gated.get(i + 1).map_or(&[], |next| next));
            Ok(Some(&*gated[i]))
        })?;
        Ok(rows.multiply(&layer.down, 0..layer.down.panels(), &mut out, Epilogue::Add)?)
    }
}

/// The rows of a matrix whose rows lie [`stride`] apart.
fn rows_of(data: &mut [f32], width: usize) -> Vec<&mut [f32]> {
    let rows = data.chunks_exact_mut(stride(width));
    rows.map(|row| &mut row[..width]).collect()
}

/// Some columns of q, k and v in a matrix whose rows lie [`stride`] apart.
struct ProjectedRows<'a> {
    data: &'a [f32],
    columns: Range<usize>,
}

impl Projected for ProjectedRows<'_> {
    fn get<'s>(&'s self, row: usize, first: usize, buffer: &'s mut [f32]) -> &'s [f32] {
        let start = row * stride(self.columns.len()) + first - self.columns.start;
        &self.data[start..start + buffer.len()]
    }
}
