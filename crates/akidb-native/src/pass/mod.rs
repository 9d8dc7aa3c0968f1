//! The forward pass: which rows a thread works on, from token ids to hidden states.

mod attention;
mod block;
mod buffer;
mod chunks;
mod columns;
mod key_values;
mod layout;
mod model;
mod prefix;
mod rotary;
mod rows;
mod shared_columns;
mod texts;
mod workspace;

use std::sync::{Mutex, PoisonError};

use akidb_kernels::ShapeError;

use crate::error::EngineError;
use crate::pool::Member;
use layout::Layout;
use texts::Pass;

pub(crate) use layout::Wanted;
pub(crate) use model::Model;
pub(crate) use prefix::{Prefix, Prefixes};
pub(crate) use rotary::RotaryTable;
pub(crate) use workspace::Workspace;

/// With fewer rows for each thread than this, threads share out columns instead: each weight is
/// then read once instead of once a thread.
const MIN_ROWS_PER_THREAD: usize = 16;

/// How much longer a multiplication takes in attention than in the linear layers.
const ATTENTION_COST: f64 = 2.0;

impl Model {
    /// Writes the hidden states of the `wanted` tokens, after the final norm, to `out`,
    /// `[tokens, hidden_size]`.
    ///
    /// `second_segments` says of each text where its second segment begins.
    ///
    /// Texts must start with `prefix`, whose states are never among them, and go on, and have known
    /// tokens, no more than there are positions.
    pub(crate) fn forward(
        &self,
        texts: &[&[u32]],
        second_segments: &[usize],
        wanted: Wanted,
        prefix: Option<&Prefix>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        let cached = prefix.map_or(0, |prefix| prefix.ids().len());
        let layout = Layout::new(texts.iter().map(|text| (text.len(), cached)))
            .wanting(wanted)
            .causal(self.is_causal());
        self.reserve(workspace, &layout)?;
        let threads = self.pool.threads();
        let rows = layout.rows();
        let by_rows = threads == 1 || rows >= MIN_ROWS_PER_THREAD * threads;
        let pass = Pass {
            ids: texts
                .iter()
                .flat_map(|text| &text[cached..])
                .copied()
                .collect(),
            positions: self.positions(texts, cached),
            segments: self.segments(texts, second_segments, cached),
            shares: if by_rows {
                layout.shares(threads, ATTENTION_COST * self.dims.attention_share())
            } else {
                Vec::new()
            },
            layout,
            key_values: &workspace.key_values,
            prefix,
            kept: None,
        };
        let memory = |member: Member<'_>| workspace.members[member.index].lock();
        if by_rows {
            self.pool.team(|member| {
                let mut memory = memory(member).unwrap_or_else(PoisonError::into_inner);
                let own = pass.shares[member.index].clone();
                rows::forward(self, member, &pass, own, &mut memory)
            })?;
        } else {
            workspace.columns.reserve(&self.dims, rows, threads);
            let columns = &workspace.columns;
            self.pool.team(|member| {
                let mut memory = memory(member).unwrap_or_else(PoisonError::into_inner);
                columns::forward(self, member, &pass, columns, &mut memory)
            })?;
        }
        let mut out = out;
        for (member, memory) in workspace.members.iter().enumerate() {
            let ends = match pass.shares.get(member) {
                Some(own) => pass.layout.wanted_rows(own.clone()).len(),
                None if member == 0 => pass.layout.wanted_rows(0..rows).len(),
                None => 0,
            };
            let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let (own, rest) = out.split_at_mut(ends * self.dims.hidden_size);
            own.copy_from_slice(&memory.out[..own.len()]);
            out = rest;
        }
        Ok(())
    }

    /// The keys and values of every layer for texts that start with `ids`.
    pub(crate) fn prefix(
        &self,
        ids: &[u32],
        workspace: &mut Workspace,
    ) -> Result<Prefix, EngineError> {
        let layout = Layout::new([(ids.len(), 0)]);
        self.reserve(workspace, &layout)?;
        let pass = Pass {
            ids: ids.to_vec(),
            positions: self.positions(&[ids], 0),
            segments: Vec::new(),
            shares: layout.shares(1, 0.0),
            layout,
            key_values: &workspace.key_values,
            prefix: None,
            kept: Some(Mutex::default()),
        };
        self.pool.alone(|member| {
            let memory = workspace.members[member.index].lock();
            let mut memory = memory.unwrap_or_else(PoisonError::into_inner);
            rows::forward(self, member, &pass, 0..ids.len(), &mut memory)
        })?;
        let kept = pass.kept.map(Mutex::into_inner);
        let layers = kept.map(|kept| kept.unwrap_or_else(PoisonError::into_inner));
        Ok(Prefix::new(ids.to_vec(), layers.unwrap_or_default()))
    }

    /// Rows of the table of positions, of all tokens but the first `cached` of each text.
    fn positions(&self, texts: &[&[u32]], cached: usize) -> Vec<usize> {
        let Some(table) = &self.weights.embeddings.positions else {
            return Vec::new();
        };
        let of_text = |text: &&[u32]| table.rows_of(text).skip(cached).collect::<Vec<_>>();
        texts.iter().flat_map(of_text).collect()
    }

    /// Segments of all tokens but the first `cached` of each text, where the model tells them apart.
    fn segments(&self, texts: &[&[u32]], second_segments: &[usize], cached: usize) -> Vec<usize> {
        if !self.weights.embeddings.has_second_segment() {
            return Vec::new();
        }
        let of_text = |(text, second): (&&[u32], &usize)| {
            let second = *second;
            (cached..text.len()).map(move |token| usize::from(token >= second))
        };
        texts
            .iter()
            .zip(second_segments)
            .flat_map(of_text)
            .collect()
    }

    fn reserve(&self, workspace: &mut Workspace, layout: &Layout) -> Result<(), ShapeError> {
        let dims = &self.dims;
        let (heads, head_dim) = (dims.num_key_value_heads, dims.head_dim);
        for key_values in &mut workspace.key_values {
            key_values.reserve(layout.tiles(), heads, head_dim, self.key_value_type)?;
        }
        Ok(())
    }
}
