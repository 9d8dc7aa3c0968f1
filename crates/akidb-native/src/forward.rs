//! The forward pass: which rows a thread works on, from token ids to hidden states.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use akidb_kernels::{Isa, KeyValueTile, KeyValueType, ShapeError};

use crate::attention::{LayerAttention, LayerPrefix};
use crate::dims::Dims;
use crate::error::EngineError;
use crate::key_values::KeyValues;
use crate::layout::{Layout, Wanted};
use crate::pool::{Member, Pool};
use crate::prefix::Prefix;
use crate::rotary::RotaryTable;
use crate::weights::Weights;
use crate::workspace::Workspace;
use crate::{split_columns, split_rows};

/// With fewer rows for each thread than this, threads share out columns instead: each weight is
/// then read once instead of once a thread.
const MIN_ROWS_PER_THREAD: usize = 16;

/// How much longer a multiplication takes in attention than in the linear layers.
const ATTENTION_COST: f64 = 2.0;

/// Everything that stays the same from one pass to the next.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) dims: Dims,
    pub(crate) weights: Weights,
    pub(crate) rotary: RotaryTable,
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
    pub(crate) key_value_type: KeyValueType,
}

/// Texts that go through the model together.
pub(crate) struct Pass<'a> {
    /// Token id of each row.
    ids: Vec<u32>,
    pub(crate) layout: Layout,
    /// Of the layers with an even index, and of the others.
    key_values: &'a [KeyValues; 2],
    prefix: Option<&'a Prefix>,
    /// Rows of each thread, where threads have rows.
    shares: Vec<Range<usize>>,
    /// Keys and values of each layer, `[tiles][heads]`, kept for later passes.
    kept: Option<Mutex<Vec<Vec<KeyValueTile>>>>,
}

impl Pass<'_> {
    /// Token id of a row.
    pub(crate) fn id(&self, row: usize) -> u32 {
        self.ids[row]
    }

    /// True when a thread needs keys that another one computes.
    pub(crate) fn is_cut(&self) -> bool {
        let mut cuts = self.shares.iter().map(|share| share.end);
        !cuts.all(|end| self.layout.starts_at(end))
    }

    pub(crate) fn attention<'a>(&'a self, model: &'a Model, layer: usize) -> LayerAttention<'a> {
        LayerAttention {
            model,
            layer: &model.weights.layers[layer],
            key_values: &self.key_values[layer % 2],
            prefix: self.prefix.map(|prefix| LayerPrefix {
                tokens: prefix.ids().len(),
                tiles: prefix.layer(layer),
            }),
        }
    }

    /// Keeps the keys and values of a layer, if any are to be kept.
    pub(crate) fn keep(&self, model: &Model, layer: usize) {
        let Some(kept) = &self.kept else { return };
        let heads = model.dims.num_key_value_heads;
        let tiles = (0..self.layout.tiles()).flat_map(|tile| {
            let heads =
                (0..heads).flat_map(move |head| self.key_values[layer % 2].read(tile, 1, head));
            heads.map(|tile| tile.clone())
        });
        let tiles = tiles.collect();
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(tiles);
    }
}

impl Model {
    /// Writes the hidden states of the `wanted` tokens, after the final norm, to `out`,
    /// `[tokens, hidden_size]`.
    ///
    /// Texts must start with `prefix`, whose states are never among them, and go on, and have known
    /// tokens, no more than there are positions.
    pub(crate) fn forward(
        &self,
        texts: &[&[u32]],
        wanted: Wanted,
        prefix: Option<&Prefix>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        let cached = prefix.map_or(0, |prefix| prefix.ids().len());
        let layout = Layout::new(texts.iter().map(|text| (text.len(), cached))).wanting(wanted);
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
                split_rows::forward(self, member, &pass, own, &mut memory)
            })?;
        } else {
            workspace.columns.reserve(&self.dims, rows, threads);
            let columns = &workspace.columns;
            self.pool.team(|member| {
                let mut memory = memory(member).unwrap_or_else(PoisonError::into_inner);
                split_columns::forward(self, member, &pass, columns, &mut memory)
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
            shares: layout.shares(1, 0.0),
            layout,
            key_values: &workspace.key_values,
            prefix: None,
            kept: Some(Mutex::default()),
        };
        self.pool.alone(|member| {
            let memory = workspace.members[member.index].lock();
            let mut memory = memory.unwrap_or_else(PoisonError::into_inner);
            split_rows::forward(self, member, &pass, 0..ids.len(), &mut memory)
        })?;
        let kept = pass.kept.map(Mutex::into_inner);
        let layers = kept.map(|kept| kept.unwrap_or_else(PoisonError::into_inner));
        Ok(Prefix::new(ids.to_vec(), layers.unwrap_or_default()))
    }

    /// Writes a token's row of the embedding table.
    pub(crate) fn embed(&self, id: u32, row: &mut [f32]) -> Result<(), EngineError> {
        Ok(self.weights.embed_tokens.read_row(id as usize, row)?)
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
