//! Attention of some rows of one text and one key/value head: keys and values are put away, then
//! the queries look at them.

use std::ops::Range;

use akidb_kernels::{
    AttentionScratch, KEY_TILE, KeyValueTile, Mask, STEP_TILES, attention, norm_rotary, rotary,
};

use super::buffer::{Buffer, grow};
use super::key_values::KeyValues;
use super::layout::Segment;
use super::model::Model;
use crate::error::EngineError;
use crate::weights::{Layer, Norm};

/// Rows whose queries look at a head's keys together. More would reuse a tile of keys better, but
/// not fit beside it.
const QUERY_ROWS: usize = 64;

/// q, k and v of some rows.
pub(crate) trait Projected {
    /// As many columns of a row as `buffer` has room for, from column `first` on. They may be there,
    /// or elsewhere.
    fn get<'s>(&'s self, row: usize, first: usize, buffer: &'s mut [f32]) -> &'s [f32];
}

/// Attention of one layer.
#[derive(Clone, Copy)]
pub(crate) struct LayerAttention<'a> {
    pub(crate) model: &'a Model,
    pub(crate) layer: &'a Layer,
    pub(crate) key_values: &'a KeyValues,
    /// Keys and values of the positions before every text's first row.
    pub(crate) prefix: Option<LayerPrefix<'a>>,
}

/// One layer's keys and values of the tokens that texts have in common.
#[derive(Clone, Copy)]
pub(crate) struct LayerPrefix<'a> {
    pub(crate) tokens: usize,
    /// `[tiles][heads]`.
    pub(crate) tiles: &'a [KeyValueTile],
}

/// Memory that is kept from one call to the next.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Heads as they are projected,
    projected: Buffer,
    /// and after norm and rotation.
    turned: Buffer,
    attention: AttentionScratch,
}

impl Scratch {
    pub(crate) fn new(isa: akidb_kernels::Isa) -> Self {
        Self {
            projected: Buffer::default(),
            turned: Buffer::default(),
            attention: AttentionScratch::new(isa),
        }
    }
}

impl LayerAttention<'_> {
    /// Normalises and turns the keys of some key/value heads, and stores keys and values.
    pub(crate) fn store(
        &self,
        segments: &[Segment],
        heads: Range<usize>,
        projected: &impl Projected,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        for segment in segments {
            for head in heads.clone() {
                self.store_head(segment, head, projected, scratch)?;
            }
        }
        Ok(())
    }

    fn store_head(
        &self,
        segment: &Segment,
        head: usize,
        projected: &impl Projected,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        self.copy_prefix(segment, head)?;
        let (head_dim, columns) = (self.model.dims.head_dim, self.model.dims.qkv);
        let buffer = grow(&mut scratch.projected, head_dim);
        let key = grow(&mut scratch.turned, head_dim);
        let mut row = 0;
        while row < segment.rows {
            let position = segment.position + row;
            let place = position % KEY_TILE;
            let count = (KEY_TILE - place).min(segment.rows - row);
            let tile = segment.first_tile + position / KEY_TILE;
            let Some(mut tile) = self.key_values.write(tile, head) else {
                return Ok(());
            };
            for i in 0..count {
                let from = segment.first_row + row + i;
                let heads = projected.get(from, columns.k(head), buffer);
                self.norm_and_turn(heads, self.layer.k_norm.as_ref(), position + i, key)?;
                let value = projected.get(from, columns.v(head), buffer);
                tile.write(self.model.isa, place + i, key, value)?;
            }
            row += count;
        }
        Ok(())
    }

    /// Puts the prefix before a segment that a text's rows start with.
    fn copy_prefix(&self, segment: &Segment, head: usize) -> Result<(), EngineError> {
        let Some(prefix) = self.prefix.filter(|p| p.tokens == segment.position) else {
            return Ok(());
        };
        let tiles = prefix.tiles.iter().skip(head);
        let tiles = tiles.step_by(self.model.dims.num_key_value_heads);
        for (i, tile) in tiles.take(prefix.tokens.div_ceil(KEY_TILE)).enumerate() {
            let places = (prefix.tokens - i * KEY_TILE).min(KEY_TILE);
            if let Some(mut target) = self.key_values.write(segment.first_tile + i, head) {
                target.copy_from(tile, places)?;
            }
        }
        Ok(())
    }

    /// Normalises and turns the queries that share some key/value heads, and writes what they gather
    /// to `out`, `[query_heads, head_dim]` of each of these heads, in rows `stride` apart.
    pub(crate) fn attend(
        &self,
        segments: &[Segment],
        heads: Range<usize>,
        projected: &impl Projected,
        out: &mut [f32],
        stride: usize,
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        let group = self.model.dims.query_group();
        for segment in segments {
            let rows = &mut out[segment.first_row * stride..];
            for (i, head) in heads.clone().enumerate() {
                let rows = rows.chunks_mut(stride).take(segment.rows);
                let mut out: Vec<&mut [f32]> = rows
                    .map(|row| &mut row[i * group..(i + 1) * group])
                    .collect();
                self.attend_head(segment, head, projected, &mut out, scratch)?;
            }
        }
        Ok(())
    }

    /// A slice of `out` is one row's.
    fn attend_head(
        &self,
        segment: &Segment,
        head: usize,
        projected: &impl Projected,
        out: &mut [&mut [f32]],
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        let dims = &self.model.dims;
        let group = dims.query_group();
        let seen = self.tiles_seen(segment.position, segment.rows, segment.tokens);
        let first_tile = seen.start;
        let tiles = segment.first_tile + first_tile;
        let tiles = self.key_values.read(tiles, seen.len(), head);
        let tiles: Vec<&KeyValueTile> = tiles.iter().map(|tile| &**tile).collect();
        for (part, out) in out.chunks_mut(QUERY_ROWS).enumerate() {
            let row = part * QUERY_ROWS;
            let position = segment.position + row;
            let buffer = grow(&mut scratch.projected, group);
            let queries = grow(&mut scratch.turned, out.len() * group);
            for (i, queries) in queries.chunks_exact_mut(group).enumerate() {
                let from = segment.first_row + row + i;
                let heads = projected.get(from, dims.qkv.q(head), buffer);
                self.norm_and_turn(heads, self.layer.q_norm.as_ref(), position + i, queries)?;
            }
            let (shape, scratch) = (&self.layer.attention, &mut scratch.attention);
            let seen = self.tiles_seen(position, out.len(), segment.tokens);
            let before = seen.start * KEY_TILE;
            let mask = self.mask(segment.tokens - before, head);
            let tiles = &tiles[seen.start - first_tile..seen.end - first_tile];
            attention(shape, mask, tiles, position - before, queries, out, scratch)?;
        }
        Ok(())
    }

    /// The tiles of a text with what the queries of some rows see. Only whole steps are left out
    /// before, so that the bits don't depend on it.
    fn tiles_seen(&self, position: usize, rows: usize, tokens: usize) -> Range<usize> {
        const STEP: usize = STEP_TILES * KEY_TILE;
        let (first, end) = match self.layer.mask {
            akidb_transformer::Mask::Causal => (0, position + rows),
            akidb_transformer::Mask::Full => (0, tokens),
            akidb_transformer::Mask::Window { before, after } => (
                position.saturating_sub(before),
                tokens.min((position + rows).saturating_add(after)),
            ),
        };
        first / STEP * STEP_TILES..end.div_ceil(KEY_TILE)
    }

    /// What the kernel is told, of a text that has so many tokens from the first given tile on.
    fn mask(&self, tokens: usize, head: usize) -> Mask<'_> {
        match (self.layer.mask, self.layer.bias_of(head)) {
            (akidb_transformer::Mask::Causal, _) => Mask::Causal,
            (akidb_transformer::Mask::Full, None) => Mask::Full { tokens },
            (akidb_transformer::Mask::Full, Some(bias)) => Mask::Biased { tokens, bias },
            (akidb_transformer::Mask::Window { before, after }, _) => Mask::Window {
                tokens,
                before,
                after,
            },
        }
    }

    /// Normalises each head of one position and turns it by the position's angles, where the model
    /// does.
    fn norm_and_turn(
        &self,
        heads: &[f32],
        norm: Option<&Norm>,
        position: usize,
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        let isa = self.model.isa;
        let angles = self.layer.rotary.as_ref();
        match (norm, angles.map(|rotary| rotary.cos_sin(position))) {
            (Some(norm), Some(angles)) => {
                norm_rotary(isa, heads, &norm.weight, norm.epsilon, angles, out)?;
            }
            (None, Some(angles)) => rotary(isa, heads, angles, out)?,
            (norm, None) => {
                out.copy_from_slice(heads);
                if let Some(norm) = norm {
                    norm.apply(isa, out)?;
                }
            }
        }
        Ok(())
    }
}
