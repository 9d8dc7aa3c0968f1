//! A forward pass of many rows: each thread takes its own rows through all layers. Threads meet
//! once a layer, and only where a text is cut between them.

use std::ops::Range;

use akidb_kernels::{Epilogue, prefetch, rms_norm};

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
        let dims = &self.attention.model.dims;
        let panels = dims.kv_panels();
        let width = dims.v_column - dims.k_column + dims.kv_width;
        self.pack_normalised(hidden)?;
        self.multiply(panels, width)?;
        self.store(segments, width, [0, dims.v_column - dims.k_column])
    }

    /// All else, when the keys and values are there.
    fn rest(&mut self, hidden: &mut [f32], segments: &[Segment]) -> Result<(), EngineError> {
        let dims = &self.attention.model.dims;
        self.pack_normalised(hidden)?;
        // Whole panels, though a part of the last one may be nobody's.
        self.multiply(dims.q_panels(), dims.k_column)?;
        self.attend(segments, dims.k_column)?;
        self.after_attention(hidden)
    }

    /// [`Self::keys_and_values`], then [`Self::rest`].
    fn all(&mut self, hidden: &mut [f32], segments: &[Segment]) -> Result<(), EngineError> {
        let dims = &self.attention.model.dims;
        let width = dims.qkv_width();
        self.pack_normalised(hidden)?;
        self.multiply(0..self.attention.layer.qkv.panels(), width)?;
        self.store(segments, width, [dims.k_column, dims.v_column])?;
        self.attend(segments, width)?;
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

    /// Multiplies the packed rows with some panels of q/k/v, `width` columns.
    fn multiply(&mut self, panels: Range<usize>, width: usize) -> Result<(), EngineError> {
        let rows = &self.scratch.rows;
        let weight = &self.attention.layer.qkv;
        let out = grow(&mut self.chunk.qkv, rows.count(weight) * stride(width));
        let mut out = rows_of(out, width);
        rows.multiply(weight, panels, &mut out, Epilogue::Store)
    }

    fn store(
        &mut self,
        segments: &[Segment],
        width: usize,
        columns: [usize; 2],
    ) -> Result<(), EngineError> {
        let projected = ProjectedRows {
            data: &self.chunk.qkv,
            width,
        };
        let heads = 0..self.attention.model.dims.num_key_value_heads;
        let scratch = &mut self.scratch.attention;
        self.attention
            .store(segments, heads, columns, &projected, scratch)
    }

    fn attend(&mut self, segments: &[Segment], width: usize) -> Result<(), EngineError> {
        let dims = &self.attention.model.dims;
        let projected = ProjectedRows {
            data: &self.chunk.qkv,
            width,
        };
        let rows: usize = segments.iter().map(|segment| segment.rows).sum();
        let stride = stride(dims.q_width);
        let out = grow(&mut self.chunk.attended, rows * stride);
        let heads = 0..dims.num_key_value_heads;
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
        rows.pack_from(&layer.o, count, |i, _| {
            let stride = stride(dims.q_width);
            let (attended, next) = attended[i * stride..].split_at(stride);
            prefetch(model.isa, &next[..stride.min(next.len())]);
            Ok(Some(&attended[..dims.q_width]))
        })?;
        let mut out = rows_of(hidden, width);
        rows.multiply(&layer.o, 0..layer.o.panels(), &mut out, Epilogue::Add)?;

        rows.pack_from(&layer.gate_up, count, |i, row| {
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

        rows.pack_from(&layer.down, count, |i, _| {
            prefetch(model.isa, gated.get(i + 1).map_or(&[], |next| next));
            Ok(Some(&*gated[i]))
        })?;
        rows.multiply(&layer.down, 0..layer.down.panels(), &mut out, Epilogue::Add)
    }
}

/// The rows of a matrix whose rows lie [`stride`] apart.
fn rows_of(data: &mut [f32], width: usize) -> Vec<&mut [f32]> {
    let rows = data.chunks_exact_mut(stride(width));
    rows.map(|row| &mut row[..width]).collect()
}

/// q, k and v in a matrix whose rows lie [`stride`] apart.
struct ProjectedRows<'a> {
    data: &'a [f32],
    width: usize,
}

impl Projected for ProjectedRows<'_> {
    fn get<'s>(&'s self, row: usize, first: usize, buffer: &'s mut [f32]) -> &'s [f32] {
        let start = row * stride(self.width) + first;
        &self.data[start..start + buffer.len()]
    }
}
