//! Several texts' token ids in one allocation.

/// Token ids of several texts, packed end to end without padding.
///
/// ```
/// let mut batch = akidb_backend::TokenBatch::new();
/// batch.push(&[9707, 16381]);
/// batch.push(&[16381]);
/// assert_eq!(batch.len(), 2);
/// assert_eq!(batch.text(0), &[9707, 16381]);
/// assert_eq!(batch.offsets(), &[0, 2, 3]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    offsets: Vec<usize>,
}

impl Default for TokenBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenBatch {
    /// A batch without texts.
    pub fn new() -> Self {
        Self {
            ids: Vec::new(),
            offsets: vec![0],
        }
    }

    /// Adds a text.
    pub fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.offsets.push(self.ids.len());
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// True when there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Token ids of text `index`; empty when there is no such text.
    pub fn text(&self, index: usize) -> &[u32] {
        match self.offsets.get(index..index.saturating_add(2)) {
            Some(&[start, end]) => &self.ids[start..end],
            _ => &[],
        }
    }

    /// Token ids of every text in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.offsets.windows(2).map(|w| &self.ids[w[0]..w[1]])
    }

    /// All token ids, text after text.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each text starts in [`Self::ids`], and the total at the end: `len() + 1` numbers.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Number of tokens in all texts.
    pub fn total_tokens(&self) -> usize {
        self.ids.len()
    }

    /// Length of the longest text, 0 when there is none.
    pub fn max_len(&self) -> usize {
        self.iter().map(<[u32]>::len).max().unwrap_or(0)
    }
}

impl<T: AsRef<[u32]>> FromIterator<T> for TokenBatch {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut batch = Self::new();
        for text in texts {
            batch.push(text.as_ref());
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_packed_in_order() {
        let batch: TokenBatch = [vec![1, 2], vec![], vec![3]].into_iter().collect();
        assert_eq!(batch.ids(), [1, 2, 3]);
        assert_eq!(batch.offsets(), [0, 2, 2, 3]);
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&[1, 2][..], &[], &[3]]);
        assert_eq!((batch.max_len(), batch.total_tokens()), (2, 3));
        assert_eq!(batch.text(3), &[] as &[u32]);
        assert_eq!(batch.text(usize::MAX), &[] as &[u32]);
    }
}
