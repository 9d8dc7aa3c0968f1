//! Keys and values of a pass's texts, written and read by all threads.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use akidb_kernels::{KeyValueTile, KeyValueType, ShapeError};

/// A lock for each tile of each head, held for as long as it takes to write some rows or to
/// attend to some keys.
#[derive(Debug, Default)]
pub(crate) struct KeyValues {
    heads: usize,
    /// `[tiles][heads]`.
    tiles: Vec<RwLock<KeyValueTile>>,
}

impl KeyValues {
    /// Makes room for `tiles` tiles of each head.
    pub(crate) fn reserve(
        &mut self,
        tiles: usize,
        heads: usize,
        head_dim: usize,
        key_value_type: KeyValueType,
    ) -> Result<(), ShapeError> {
        self.heads = heads;
        while self.tiles.len() < tiles.saturating_mul(heads) {
            let tile = KeyValueTile::new(head_dim, key_value_type)?;
            self.tiles.push(RwLock::new(tile));
        }
        Ok(())
    }

    /// A tile to write to; `None` when there is no such tile.
    pub(crate) fn write(
        &self,
        tile: usize,
        head: usize,
    ) -> Option<RwLockWriteGuard<'_, KeyValueTile>> {
        let tile = self.tiles.get(tile * self.heads + head)?;
        Some(tile.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// `count` tiles of a head, from tile `first` on.
    pub(crate) fn read(
        &self,
        first: usize,
        count: usize,
        head: usize,
    ) -> Vec<RwLockReadGuard<'_, KeyValueTile>> {
        let tiles = self.tiles.iter().skip(first * self.heads + head);
        let tiles = tiles.step_by(self.heads.max(1)).take(count);
        tiles
            .map(|tile| tile.read().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }
}
