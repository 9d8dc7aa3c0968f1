//! The texts of a pass, and what is kept of them from layer to layer.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use akidb_kernels::KeyValueTile;

use super::attention::{LayerAttention, LayerPrefix};
use super::key_values::KeyValues;
use super::layout::Layout;
use super::model::Model;
use super::prefix::Prefix;
use crate::error::EngineError;

/// Texts that go through the model together.
pub(crate) struct Pass<'a> {
    /// Token id of each row.
    pub(super) ids: Vec<u32>,
    /// Row of the table of positions of each row, where there is such a table.
    pub(super) positions: Vec<usize>,
    /// Segment of each row; none where all are of the first.
    pub(super) segments: Vec<usize>,
    pub(crate) layout: Layout,
    /// Of the layers with an even index, and of the others.
    pub(super) key_values: &'a [KeyValues; 2],
    pub(super) prefix: Option<&'a Prefix>,
    /// Rows of each thread, where threads have rows.
    pub(super) shares: Vec<Range<usize>>,
    /// Keys and values of each layer, `[tiles][heads]`, kept for later passes.
    pub(super) kept: Option<Mutex<Vec<Vec<KeyValueTile>>>>,
}

impl Pass<'_> {
    /// Writes a row of the residual stream. `scratch` is as long.
    pub(crate) fn embed(
        &self,
        model: &Model,
        row: usize,
        out: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), EngineError> {
        let position = self.positions.get(row).copied().unwrap_or_default();
        let segment = self.segments.get(row).copied().unwrap_or_default();
        let embeddings = &model.weights.embeddings;
        embeddings.embed(model.isa, self.ids[row], position, segment, out, scratch)
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
