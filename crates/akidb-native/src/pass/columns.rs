//! A forward pass of few rows: each thread has its own columns of every product, so that each
//! weight is read once, by one thread. Rows are normalised and packed by one thread each, for all.
//! Threads meet where one goes on with what others have computed.

use std::ops::Range;
use std::sync::PoisonError;

use akidb_kernels::{Epilogue, NR, Rows, Weight};

use super::attention::{LayerAttention, Projected};
use super::block::{Activations, Before, Part, Split, block};
use super::buffer::{Buffer, grow};
use super::layout::Segment;
use super::model::Model;
use super::shared_columns::{Columns, ColumnsView};
use super::texts::Pass;
use super::workspace::{Memory, Scratch, SharedColumns};
use crate::dims::Dims;
use crate::error::EngineError;
use crate::pool::Member;
use crate::weights::{Norm, Product};

impl SharedColumns {
    fn of(&self, activations: Activations) -> &Columns {
        match activations {
            Activations::Hidden => &self.hidden,
            Activations::Attended => &self.attended,
            Activations::Inner => &self.inner,
            Activations::Branch => &self.branch,
        }
    }

    /// Makes room for `rows` rows among so many threads.
    pub(crate) fn reserve(&mut self, dims: &Dims, rows: usize, threads: usize) {
        let columns = |width: usize| {
            let panels = (0..threads).map(|i| share(width.div_ceil(NR), i, threads));
            let columns =
                |panels: Range<usize>| (panels.start * NR).min(width)..(panels.end * NR).min(width);
            panels.map(columns).collect()
        };
        let group = dims.query_group();
        let heads = (0..threads).map(|i| share(dims.num_key_value_heads, i, threads));
        let heads = heads.map(|heads| heads.start * group..heads.end * group);
        self.hidden.reserve(rows, columns(dims.hidden_size));
        self.branch.reserve(rows, columns(dims.hidden_size));
        self.qkv.reserve(
            rows,
            match own_sets(dims, threads) {
                Some(sets) => sets.map(|sets| dims.qkv.columns(sets)).collect(),
                None => columns(dims.qkv.width()),
            },
        );
        self.attended.reserve(rows, heads.collect());
        self.inner.reserve(rows, columns(dims.intermediate_size));
    }
}

/// The sets of heads of each thread, if they come out even: a thread then needs no other thread's
/// columns of q/k/v.
fn own_sets(dims: &Dims, threads: usize) -> Option<impl Iterator<Item = Range<usize>>> {
    let sets = dims.qkv.sets;
    let even = sets.is_multiple_of(threads);
    even.then(|| (0..threads).map(move |i| share(sets, i, threads)))
}

/// Part `index` of `0..len`.
fn share(len: usize, index: usize, parts: usize) -> Range<usize> {
    index * len / parts..(index + 1) * len / parts
}

/// Takes the thread's columns of all rows through the model. The results of all texts are left in
/// the first thread's `memory.out`.
pub(crate) fn forward(
    model: &Model,
    member: Member<'_>,
    pass: &Pass<'_>,
    columns: &SharedColumns,
    memory: &mut Memory,
) -> Result<(), EngineError> {
    let dims = &model.dims;
    let rows = pass.layout.rows();
    let own = columns.hidden.range(member.index);
    if let Some(mut hidden) = columns.hidden.write(member.index) {
        let whole = grow(&mut memory.hidden, dims.hidden_size);
        let scratch = grow(&mut memory.wanted_rows, dims.hidden_size);
        for row in 0..rows {
            pass.embed(model, row, whole, scratch)?;
            hidden[row * own.len()..][..own.len()].copy_from_slice(&whole[own.clone()]);
        }
    }
    member.wait()?;
    let all: Vec<usize> = (0..rows).collect();
    let segments = pass.layout.segments(0..rows);
    let wanted_segments = pass.layout.wanted_rows(0..rows);
    let wanted: Vec<usize> = wanted_segments.iter().map(|row| row.first_row).collect();
    let last = model.weights.layers.len() - 1;
    for index in 0..=last {
        let attention = pass.attention(model, index);
        let mut share = ColumnShare {
            attention,
            member,
            columns,
            whole: &mut memory.hidden,
            scratch: &mut memory.scratch,
            rows: &all,
            segments: &segments,
        };
        if index < last {
            block(&mut share, attention.layer, Part::All)?;
        } else {
            block(&mut share, attention.layer, Part::KeysAndValues)?;
            (share.rows, share.segments) = (&wanted, &wanted_segments);
            block(&mut share, attention.layer, Part::Rest)?;
        }
    }
    if member.index == 0 {
        let width = dims.hidden_size;
        let out = grow(&mut memory.out, wanted.len() * width);
        let hidden = columns.hidden.read();
        for (row, out) in wanted.iter().zip(out.chunks_exact_mut(width)) {
            hidden.copy(*row, 0, out);
        }
        model.final_norm(out)?;
    }
    Ok(())
}

/// One thread's columns in one block.
struct ColumnShare<'a> {
    attention: LayerAttention<'a>,
    member: Member<'a>,
    columns: &'a SharedColumns,
    /// Room for whole rows of the residual stream.
    whole: &'a mut Buffer,
    scratch: &'a mut Scratch,
    /// The rows at work, which are `segments`.
    rows: &'a [usize],
    segments: &'a [Segment],
}

impl Split for ColumnShare<'_> {
    fn product(
        &mut self,
        from: Activations,
        before: Before<'_>,
        product: &Product,
        epilogue: Epilogue<'_>,
        to: Activations,
    ) -> Result<(), EngineError> {
        self.pack(&product.weight, self.columns.of(from), before)?;
        self.multiply(&product.weight, self.columns.of(to), epilogue)
    }

    /// Each thread normalises all rows, and keeps its own columns once all have read theirs.
    fn normalise(&mut self, norm: &Norm) -> Result<(), EngineError> {
        let width = self.attention.model.dims.hidden_size;
        self.normed(norm, Activations::Hidden)?;
        self.member.wait()?;
        let whole = grow(self.whole, self.rows.len() * width);
        let own = self.columns.hidden.range(self.member.index);
        if let Some(mut hidden) = self.columns.hidden.write(self.member.index) {
            for (row, whole) in self.rows.iter().zip(whole.chunks_exact(width)) {
                hidden[row * own.len()..][..own.len()].copy_from_slice(&whole[own.clone()]);
            }
        }
        self.member.wait()
    }

    /// Each thread normalises all rows, and adds its own columns.
    fn add_normed(&mut self, norm: &Norm) -> Result<(), EngineError> {
        let width = self.attention.model.dims.hidden_size;
        self.normed(norm, Activations::Branch)?;
        let whole = grow(self.whole, self.rows.len() * width);
        let own = self.columns.hidden.range(self.member.index);
        if let Some(mut hidden) = self.columns.hidden.write(self.member.index) {
            for (row, whole) in self.rows.iter().zip(whole.chunks_exact(width)) {
                let hidden = &mut hidden[row * own.len()..][..own.len()];
                let branch = &whole[own.clone()];
                hidden.iter_mut().zip(branch).for_each(|(x, y)| *x += *y);
            }
        }
        Ok(())
    }

    /// Queries are projected along with keys and values.
    fn attend(&mut self, part: Part) -> Result<(), EngineError> {
        if part != Part::Rest {
            self.project()?;
            if own_sets(&self.attention.model.dims, self.member.team_size()).is_none() {
                self.member.wait()?;
            }
            self.store()?;
        }
        match part {
            Part::KeysAndValues => Ok(()),
            Part::All | Part::Rest => self.gather(),
        }
    }

    fn wait(&self) -> Result<(), EngineError> {
        self.member.wait()
    }
}

impl ColumnShare<'_> {
    /// Leaves the rows at work of a matrix of the residual stream's width in `whole`, normalised.
    fn normed(&mut self, norm: &Norm, from: Activations) -> Result<(), EngineError> {
        let model = self.attention.model;
        let width = model.dims.hidden_size;
        let whole = grow(self.whole, self.rows.len() * width);
        let from = self.columns.of(from).read();
        for (row, whole) in self.rows.iter().zip(whole.chunks_exact_mut(width)) {
            from.copy(*row, 0, whole);
            norm.apply(model.isa, whole)?;
        }
        Ok(())
    }

    /// q, k and v.
    fn project(&mut self) -> Result<(), EngineError> {
        let layer = self.attention.layer;
        let (hidden, qkv) = (&self.columns.hidden, &self.columns.qkv);
        let norm = Before::norm(layer.attention_norms.before.as_ref());
        self.pack(&layer.qkv.weight, hidden, norm)?;
        self.multiply(&layer.qkv.weight, qkv, Epilogue::store(layer.qkv.bias()))
    }

    /// Keys and values of the thread's heads.
    fn store(&mut self) -> Result<(), EngineError> {
        let heads = self.heads();
        let qkv = own_qkv(&self.attention, self.member, self.columns);
        let scratch = &mut self.scratch.attention;
        self.attention.store(self.segments, heads, &qkv, scratch)
    }

    /// What the queries of the thread's heads gather.
    fn gather(&mut self) -> Result<(), EngineError> {
        let heads = self.heads();
        let width = heads.len() * self.attention.model.dims.query_group();
        let qkv = own_qkv(&self.attention, self.member, self.columns);
        let Some(mut attended) = self.columns.attended.write(self.member.index) else {
            return Ok(());
        };
        let scratch = &mut self.scratch.attention;
        self.attention
            .attend(self.segments, heads, &qkv, &mut attended, width, scratch)
    }

    /// Packs the rows of a matrix for `weight`, after what comes `before`. Each thread packs some for
    /// all.
    fn pack(
        &mut self,
        weight: &Weight,
        from: &Columns,
        before: Before<'_>,
    ) -> Result<(), EngineError> {
        let (model, rows) = (self.attention.model, self.rows);
        let pack = |packed: &mut Rows, rows: &[usize]| {
            let from = from.read();
            packed.pack_from::<EngineError>(weight, rows.len(), |i, row| {
                from.copy(rows[i], 0, row);
                before.apply(model.isa, row)?;
                Ok(None)
            })
        };
        if rows.len() < 2 {
            return pack(&mut self.scratch.rows, rows);
        }
        let (index, threads) = (self.member.index, self.member.team_size());
        if let Some(own) = self.columns.packed.get(index) {
            let mut own = own.write().unwrap_or_else(PoisonError::into_inner);
            pack(&mut own, &rows[share(rows.len(), index, threads)])?;
        }
        self.member.wait()?;
        let packed = self.columns.packed.iter();
        let packed = packed.map(|part| part.read().unwrap_or_else(PoisonError::into_inner));
        let packed: Vec<_> = packed.collect();
        let packed: Vec<&Rows> = packed.iter().map(|part| &**part).collect();
        Ok(self.scratch.rows.concat(weight, &packed)?)
    }

    /// Multiplies the packed rows with the panels whose columns of `out` are the thread's.
    fn multiply(
        &self,
        weight: &Weight,
        out: &Columns,
        epilogue: Epilogue<'_>,
    ) -> Result<(), EngineError> {
        let columns = out.range(self.member.index);
        let Some(mut out) = out.write(self.member.index).filter(|_| !columns.is_empty()) else {
            return Ok(());
        };
        // Gate and up alternate.
        let per_column = epilogue.panels();
        let panels = columns.start / NR * per_column..columns.end.div_ceil(NR) * per_column;
        let mut next = self.rows.iter().peekable();
        let mut out: Vec<&mut [f32]> = out
            .chunks_exact_mut(columns.len())
            .enumerate()
            .filter(|(row, _)| next.next_if_eq(&row).is_some())
            .map(|(_, out)| out)
            .collect();
        let rows = &self.scratch.rows;
        Ok(rows.multiply(weight, panels, &mut out, epilogue)?)
    }

    /// Key/value heads of the thread.
    fn heads(&self) -> Range<usize> {
        let heads = self.attention.model.dims.num_key_value_heads;
        share(heads, self.member.index, self.member.team_size())
    }
}

/// The columns of q/k/v that have what the thread's heads need.
fn own_qkv<'a>(
    attention: &LayerAttention<'_>,
    member: Member<'_>,
    columns: &'a SharedColumns,
) -> ColumnsView<'a> {
    match own_sets(&attention.model.dims, member.team_size()) {
        Some(_) => columns.qkv.read_parts(member.index..member.index + 1),
        None => columns.qkv.read(),
    }
}

impl Projected for ColumnsView<'_> {
    fn get<'s>(&'s self, row: usize, first: usize, buffer: &'s mut [f32]) -> &'s [f32] {
        match self.part(row, first, buffer.len()) {
            Some(columns) => columns,
            None => {
                self.copy(row, first, buffer);
                buffer
            }
        }
    }
}
