//! Keys and values of one text and one key/value head, in the order in which attention reads them.

use crate::ShapeError;
use crate::lanes::LANES;
use crate::packed::{NR, PanelRow};

/// Keys that attention takes at a time. Tiles lie at fixed places: tile `t` holds the positions
/// `t · KEY_TILE ..`, whatever part of the text is being worked on.
pub const KEY_TILE: usize = 64;

/// Panels of a tile's keys.
pub(crate) const KEY_PANELS: usize = KEY_TILE / NR;

/// Where keys and values of heads of width `head_dim` lie in a slice of [`PanelRow`]s.
///
/// A tile is `[KEY_TILE / NR][head_dim][NR]` keys, so that a query times a tile is a product over
/// `head_dim`, then `[head_dim / NR][KEY_TILE][NR]` values, so that probabilities times a tile is
/// a product over keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyValues {
    head_dim: usize,
}

impl KeyValues {
    /// The layout for heads of width `head_dim`.
    ///
    /// # Errors
    /// When `head_dim` is zero or absurd (above 65 536).
    pub fn new(head_dim: usize) -> Result<Self, ShapeError> {
        if head_dim == 0 || head_dim > 1 << 16 {
            return Err(ShapeError::size("KeyValues::new", "head_dim", head_dim));
        }
        Ok(Self { head_dim })
    }

    /// Width of a head.
    pub fn head_dim(self) -> usize {
        self.head_dim
    }

    /// Panel rows that `tokens` tokens take, or `None` when they can't be counted.
    pub fn len(self, tokens: usize) -> Option<usize> {
        tokens.div_ceil(KEY_TILE).checked_mul(self.tile_len())
    }

    /// Writes the key and value of one position, each `[head_dim]`.
    ///
    /// # Errors
    /// When a length is wrong, or the position lies beyond `data`.
    pub fn write(
        self,
        data: &mut [PanelRow],
        position: usize,
        key: &[f32],
        value: &[f32],
    ) -> Result<(), ShapeError> {
        let op = "KeyValues::write";
        ShapeError::length(op, "key", self.head_dim, key.len())?;
        ShapeError::length(op, "value", self.head_dim, value.len())?;
        let tiles = data.len() / self.tile_len();
        let tile = position / KEY_TILE;
        ShapeError::range(op, "position", tile.saturating_add(1), tiles)?;
        let tile = &mut data[tile * self.tile_len()..][..self.tile_len()];
        let (keys, values) = tile.split_at_mut(KEY_PANELS * self.head_dim);
        let place = position % KEY_TILE;
        let panel = &mut keys[place / NR * self.head_dim..][..self.head_dim];
        let lane = place % NR;
        for (row, key) in panel.iter_mut().zip(key) {
            row.0[lane / LANES][lane % LANES] = *key;
        }
        for (panel, value) in values.chunks_exact_mut(KEY_TILE).zip(value.chunks(NR)) {
            panel[place].0.as_flattened_mut()[..value.len()].copy_from_slice(value);
        }
        Ok(())
    }

    /// Keys and values of tile `index`; empty when there is no such tile.
    #[inline(always)]
    pub(crate) fn tile(self, data: &[PanelRow], index: usize) -> (&[PanelRow], &[PanelRow]) {
        let start = index * self.tile_len();
        let tile = data.get(start..start + self.tile_len()).unwrap_or_default();
        tile.split_at_checked(KEY_PANELS * self.head_dim)
            .unwrap_or_default()
    }

    /// Panels of a tile's values.
    pub(crate) fn value_panels(self) -> usize {
        self.head_dim.div_ceil(NR)
    }

    fn tile_len(self) -> usize {
        KEY_PANELS * self.head_dim + self.value_panels() * KEY_TILE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(KeyValues::new(0).is_err());
        assert!(KeyValues::new(usize::MAX).is_err());
        let layout = KeyValues::new(8).unwrap();
        assert_eq!(layout.len(0), Some(0));
        assert_eq!(layout.len(1), layout.len(KEY_TILE));
        assert_eq!(layout.len(usize::MAX), None);
        let mut data = vec![PanelRow::default(); layout.len(KEY_TILE).unwrap()];
        let x = [1.0; 9];
        assert!(layout.write(&mut data, 63, &x[..8], &x[..8]).is_ok());
        assert!(layout.write(&mut data, 64, &x[..8], &x[..8]).is_err());
        assert!(
            layout
                .write(&mut data, usize::MAX, &x[..8], &x[..8])
                .is_err()
        );
        assert!(layout.write(&mut data, 0, &x, &x[..8]).is_err());
        assert!(layout.write(&mut data, 0, &x[..8], &x).is_err());
    }
}
