//! Keys and values of tokens that many texts start with, such as the instruction of a query.
//! A position's keys and values depend on nothing behind it, so that reusing them changes no bit.

use std::sync::Arc;

use akidb_kernels::{KEY_TILE, KeyValueTile};

/// Tokens of all prefixes that are kept, rounded up to tiles.
const MAX_TOKENS: usize = 512;

/// The first tokens of some texts.
#[derive(Debug)]
pub(crate) struct Prefix {
    ids: Vec<u32>,
    /// Of each layer, `[tiles][heads]`.
    layers: Vec<Vec<KeyValueTile>>,
}

impl Prefix {
    pub(crate) fn new(ids: Vec<u32>, layers: Vec<Vec<KeyValueTile>>) -> Self {
        Self { ids, layers }
    }

    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Keys and values of a layer, `[tiles][heads]`.
    pub(crate) fn layer(&self, index: usize) -> &[KeyValueTile] {
        self.layers.get(index).map_or(&[], Vec::as_slice)
    }

    /// Positions that take up memory.
    fn room(&self) -> usize {
        self.ids.len().next_multiple_of(KEY_TILE)
    }
}

/// The prefixes used last.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    /// The one used last is at the end.
    kept: Vec<Arc<Prefix>>,
    /// What a single text started with that was seen last.
    seen: Vec<u32>,
}

impl Prefixes {
    /// Whether to keep what so many texts start with. A single text's prefix is kept when it
    /// comes a second time: an instruction that is used once would only cost time.
    pub(crate) fn admits(&mut self, ids: &[u32], texts: usize) -> bool {
        if !(1..=MAX_TOKENS).contains(&ids.len()) {
            return false;
        }
        let again = self.seen == ids;
        self.seen.clear();
        self.seen.extend_from_slice(ids);
        again || texts > 1
    }

    pub(crate) fn get(&mut self, ids: &[u32]) -> Option<Arc<Prefix>> {
        let index = self.kept.iter().position(|prefix| prefix.ids == ids)?;
        let prefix = self.kept.remove(index);
        self.kept.push(Arc::clone(&prefix));
        Some(prefix)
    }

    /// Keeps a prefix, in place of those that were not used for longest.
    pub(crate) fn insert(&mut self, prefix: Arc<Prefix>) {
        let mut room = prefix.room();
        let fitting = self.kept.iter().rev().take_while(|kept| {
            room += kept.room();
            room <= MAX_TOKENS
        });
        let dropped = self.kept.len() - fitting.count();
        self.kept.drain(..dropped);
        self.kept.push(prefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_prefixes_are_kept() {
        let prefix = |first, len| {
            let ids: Vec<u32> = (first..first + len).collect();
            Arc::new(Prefix::new(ids, Vec::new()))
        };
        let mut prefixes = Prefixes::default();
        for first in 0..8 {
            prefixes.insert(prefix(first, 60));
        }
        assert!(prefixes.get(prefix(0, 60).ids()).is_some());
        prefixes.insert(prefix(100, 65));
        for first in 0..8 {
            let kept = prefixes.get(prefix(first, 60).ids()).is_some();
            assert_eq!(kept, first != 1 && first != 2, "{first}");
        }
        assert!(prefixes.get(prefix(0, 59).ids()).is_none());
        prefixes.insert(prefix(200, MAX_TOKENS as u32));
        assert_eq!(prefixes.kept.len(), 1);
    }

    #[test]
    fn a_prefix_is_kept_when_it_is_used_again() {
        let mut prefixes = Prefixes::default();
        assert!(!prefixes.admits(&[1, 2], 1));
        assert!(!prefixes.admits(&[1, 3], 1));
        assert!(prefixes.admits(&[1, 3], 1));
        assert!(prefixes.admits(&[5], 2));
        assert!(!prefixes.admits(&[], 2));
        assert!(prefixes.admits(&[0; MAX_TOKENS], 2));
        assert!(!prefixes.admits(&[0; MAX_TOKENS + 1], 2));
    }
}
