//! A forward pass of many rows: each thread takes its own rows through all layers. Threads meet
//! once a layer, and only where a text is cut between them.

use std::ops::Range;

use akidb_kernels::{Epilogue, NR, Weight, prefetch};

use super::attention::{LayerAttention, Projected};
use super::block::{Activations, Before, Part, Split, block};
use super::buffer::{CACHE_LINE, grow};
use super::chunks::{CHUNK_ROWS, chunks};
use super::layout::Segment;
use super::model::Model;
use super::texts::Pass;
use super::workspace::{Chunk, Memory, Scratch};
use crate::error::EngineError;
use crate::pool::Member;
use crate::weights::{Norm, Product};

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
    let scratch = grow(&mut memory.wanted_rows, width);
    for (row, hidden) in own.clone().zip(hidden.chunks_exact_mut(stride)) {
        pass.embed(model, row, &mut hidden[..width], scratch)?;
    }
    let wanted_rows = pass.layout.wanted_rows(own.clone());
    let wanted_hidden = grow(&mut memory.wanted_rows, wanted_rows.len() * stride);
    let groups: Vec<Vec<_>> = chunks(&pass.layout, own.clone(), model.is_causal())
        .into_iter()
        .map(|group| {
            let chunk = |rows: Range<usize>| {
                let segments = pass.layout.segments(rows.clone());
                let (start, end) = (rows.start - own.start, rows.end - own.start);
                (start * stride..end * stride, segments)
            };
            group.into_iter().map(chunk).collect()
        })
        .collect();
    let is_cut = pass.is_cut();
    let last = model.weights.layers.len() - 1;
    for index in 0..=last {
        let attention = pass.attention(model, index);
        let mut walk = |hidden: &mut [f32], segments: &[Segment], part: Part| {
            let mut chunk = RowChunk {
                attention,
                hidden,
                segments,
                chunk: &mut memory.chunk,
                scratch: &mut memory.scratch,
            };
            block(&mut chunk, attention.layer, part)
        };
        if !is_cut && index < last {
            for group in &groups {
                if let [(values, segments)] = &group[..] {
                    walk(&mut hidden[values.clone()], segments, Part::All)?;
                    continue;
                }
                for part in [Part::KeysAndValues, Part::Rest] {
                    for (values, segments) in group {
                        walk(&mut hidden[values.clone()], segments, part)?;
                    }
                }
            }
        } else {
            for (values, segments) in groups.iter().flatten() {
                walk(&mut hidden[values.clone()], segments, Part::KeysAndValues)?;
            }
            if is_cut {
                member.wait()?;
            }
            if index < last {
                for (values, segments) in groups.iter().flatten() {
                    walk(&mut hidden[values.clone()], segments, Part::Rest)?;
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
                    walk(hidden, &segments, Part::Rest)?;
                }
            }
        }
        pass.keep(model, index);
    }
    let out = grow(&mut memory.out, wanted_rows.len() * width);
    let wanted_hidden = wanted_hidden.chunks_exact(stride);
    for (out, row) in out.chunks_exact_mut(width).zip(wanted_hidden) {
        out.copy_from_slice(&row[..width]);
    }
    model.final_norm(out)
}

/// From one row of `width` values to the next, in values. Rows a power of two apart would all fall
/// into the same few places of the caches.
fn stride(width: usize) -> usize {
    width.next_multiple_of(CACHE_LINE) + CACHE_LINE
}

/// A chunk of a thread's rows in one block.
struct RowChunk<'a> {
    attention: LayerAttention<'a>,
    /// `[rows]`, each [`stride`] values from the one before.
    hidden: &'a mut [f32],
    segments: &'a [Segment],
    chunk: &'a mut Chunk,
    scratch: &'a mut Scratch,
}

impl Split for RowChunk<'_> {
    fn product(
        &mut self,
        from: Activations,
        before: Before<'_>,
        product: &Product,
        epilogue: Epilogue<'_>,
        to: Activations,
    ) -> Result<(), EngineError> {
        let weight = &product.weight;
        self.pack(from, before, weight)?;
        let width = to.width(&self.attention.model.dims);
        let len = self.rows() * stride(width);
        let out = match to {
            Activations::Hidden => &mut *self.hidden,
            Activations::Attended => grow(&mut self.chunk.attended, len),
            Activations::Inner => grow(&mut self.chunk.inner, len),
            Activations::Branch => grow(&mut self.chunk.branch, len),
        };
        let mut out = rows_of(out, width);
        let rows = &self.scratch.rows;
        Ok(rows.multiply(weight, 0..weight.panels(), &mut out, epilogue)?)
    }

    fn normalise(&mut self, norm: &Norm) -> Result<(), EngineError> {
        let model = self.attention.model;
        let width = model.dims.hidden_size;
        let mut rows = self.hidden.chunks_exact_mut(stride(width));
        rows.try_for_each(|row| norm.apply(model.isa, &mut row[..width]))
    }

    fn add_normed(&mut self, norm: &Norm) -> Result<(), EngineError> {
        let model = self.attention.model;
        let width = model.dims.hidden_size;
        let rows = self.hidden.chunks_exact_mut(stride(width));
        for (row, branch) in rows.zip(self.chunk.branch.chunks_exact_mut(stride(width))) {
            let branch = &mut branch[..width];
            norm.apply(model.isa, branch)?;
            row.iter_mut().zip(branch).for_each(|(x, y)| *x += *y);
        }
        Ok(())
    }

    /// One set of heads after the other, each while its projections are in the cache.
    fn attend(&mut self, part: Part) -> Result<(), EngineError> {
        let LayerAttention { model, layer, .. } = self.attention;
        let layout = model.dims.qkv;
        let norm = Before::norm(layer.attention_norms.before.as_ref());
        self.pack(Activations::Hidden, norm, &layer.qkv.weight)?;
        for set in 0..layout.sets {
            let heads = layout.heads(set..set + 1);
            let columns = match part {
                Part::All => layout.columns(set..set + 1),
                Part::KeysAndValues => layout.kv_columns(set),
                Part::Rest => layout.q_columns(set),
            };
            self.project(columns.clone())?;
            if part != Part::Rest {
                self.store(heads.clone(), columns.clone())?;
            }
            if part != Part::KeysAndValues {
                self.gather(heads, columns)?;
            }
        }
        Ok(())
    }

    /// All that is computed of a thread's rows is its own.
    fn wait(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

impl RowChunk<'_> {
    fn rows(&self) -> usize {
        self.hidden.len() / stride(self.attention.model.dims.hidden_size)
    }

    /// Packs all rows of `from` for `weight`, after what comes `before`.
    fn pack(
        &mut self,
        from: Activations,
        before: Before<'_>,
        weight: &Weight,
    ) -> Result<(), EngineError> {
        let model = self.attention.model;
        let width = from.width(&model.dims);
        let stride = stride(width);
        let rows = self.rows();
        let data: &[f32] = match from {
            Activations::Hidden => self.hidden,
            Activations::Attended => &self.chunk.attended,
            Activations::Inner => &self.chunk.inner,
            Activations::Branch => &self.chunk.branch,
        };
        let packed = &mut self.scratch.rows;
        packed.pack_from::<EngineError>(weight, rows, |i, row| {
            let (values, next) = data[i * stride..].split_at(stride);
            prefetch(model.isa, &next[..stride.min(next.len())]);
            let values = &values[..width];
            if let Before::Nothing = before {
                return Ok(Some(values));
            }
            row.copy_from_slice(values);
            before.apply(model.isa, row)?;
            Ok(None)
        })
    }

    /// Multiplies the packed rows with the panels of some columns of q/k/v.
    fn project(&mut self, columns: Range<usize>) -> Result<(), EngineError> {
        let width = columns.len();
        let len = self.rows() * stride(width);
        let out = grow(&mut self.chunk.qkv, len);
        let panels = columns.start / NR..columns.end.div_ceil(NR);
        let qkv = &self.attention.layer.qkv;
        let mut out = rows_of(out, width);
        let rows = &self.scratch.rows;
        let epilogue = Epilogue::store(qkv.bias());
        Ok(rows.multiply(&qkv.weight, panels, &mut out, epilogue)?)
    }

    /// Stores the keys and values of `heads`, which are among `columns`, the last projected ones.
    fn store(&mut self, heads: Range<usize>, columns: Range<usize>) -> Result<(), EngineError> {
        let projected = ProjectedRows {
            data: &self.chunk.qkv,
            columns,
        };
        let scratch = &mut self.scratch.attention;
        self.attention
            .store(self.segments, heads, &projected, scratch)
    }

    /// Gathers for the queries of `heads`, which are among `columns`, the last projected ones.
    fn gather(&mut self, heads: Range<usize>, columns: Range<usize>) -> Result<(), EngineError> {
        let dims = &self.attention.model.dims;
        let stride = stride(dims.q_width);
        let len = self.rows() * stride;
        let out = grow(&mut self.chunk.attended, len);
        let out = &mut out[heads.start * dims.query_group()..];
        let projected = ProjectedRows {
            data: &self.chunk.qkv,
            columns,
        };
        let scratch = &mut self.scratch.attention;
        self.attention
            .attend(self.segments, heads, &projected, out, stride, scratch)
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
