//! Several texts' token ids in one allocation.

use crate::error::{BackendError, BackendErrorKind};

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
    /// For each text, the token with which its second segment begins; its length where it has none.
    second_segments: Vec<usize>,
    shared_prefix: usize,
    task: u32,
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
            second_segments: Vec::new(),
            shared_prefix: 0,
            task: 0,
        }
    }

    /// Adds a text. [`Self::shared_prefix`] is 0 again: the text may not have it.
    pub fn push(&mut self, ids: &[u32]) {
        self.push_pair(ids, ids.len());
    }

    /// Adds a pair of texts: from its token `second_segment` on it has token type 1, where the model
    /// has such. As [`Self::push`] where that is its length, or more.
    ///
    /// ```
    /// let mut batch = akidb_backend::TokenBatch::new();
    /// batch.push_pair(&[101, 7, 102, 8, 102], 3);
    /// batch.push(&[101, 7, 102]);
    /// assert_eq!(batch.second_segments(), [3, 3]);
    /// ```
    pub fn push_pair(&mut self, ids: &[u32], second_segment: usize) {
        self.ids.extend_from_slice(ids);
        self.offsets.push(self.ids.len());
        self.second_segments.push(second_segment.min(ids.len()));
        self.shared_prefix = 0;
    }

    /// The same batch, whose texts all start with the same `tokens` tokens.
    ///
    /// ```
    /// let batch: akidb_backend::TokenBatch = [[7, 8, 1], [7, 8, 2]].into_iter().collect();
    /// assert_eq!(batch.clone().with_shared_prefix(2)?.shared_prefix(), 2);
    /// assert!(batch.with_shared_prefix(3).is_err());
    /// # Ok::<(), akidb_backend::BackendError>(())
    /// ```
    ///
    /// # Errors
    /// [`BackendErrorKind::InvalidInput`] when they don't, or when a text has no token after them.
    pub fn with_shared_prefix(mut self, tokens: usize) -> Result<Self, BackendError> {
        let prefix = self.text(0).get(..tokens);
        let wrong = self.iter().position(|text| {
            text.len() <= tokens || prefix.is_none_or(|prefix| !text.starts_with(prefix))
        });
        if let Some(index) = wrong
            && tokens > 0
        {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!(
                    "text {index} of the batch does not continue the {tokens} tokens that all \
                     texts are said to start with"
                ),
            ));
        }
        self.shared_prefix = if self.is_empty() { 0 } else { tokens };
        Ok(self)
    }

    /// The same batch, to be run by the model's adaptation for a task; 0 unless this is called.
    #[must_use]
    pub fn for_task(mut self, task: u32) -> Self {
        self.task = task;
        self
    }

    /// The number of the adaptation, for models that have several
    /// ([`GraphInterface::takes_task`](crate::GraphInterface::takes_task)).
    pub fn task(&self) -> u32 {
        self.task
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

    /// For each text, the token with which its second segment begins: its length where it has none.
    pub fn second_segments(&self) -> &[usize] {
        &self.second_segments
    }

    /// Number of tokens in all texts.
    pub fn total_tokens(&self) -> usize {
        self.ids.len()
    }

    /// Number of tokens that all texts start with because of a prompt that they share, 0 where
    /// nothing is known of one. Each text is longer.
    ///
    /// A hint: a backend may compute these tokens once (under a causal mask their keys and values
    /// depend on nothing that follows) or ignore it.
    pub fn shared_prefix(&self) -> usize {
        self.shared_prefix
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
        assert_eq!(batch.shared_prefix(), 0);
    }

    #[test]
    fn a_shared_prefix_is_checked() {
        let batch: TokenBatch = [vec![5, 6, 1], vec![5, 6, 7, 8]].into_iter().collect();
        let shares = |tokens| {
            batch
                .clone()
                .with_shared_prefix(tokens)
                .map(|b| b.shared_prefix())
        };
        assert_eq!(shares(0).unwrap(), 0);
        assert_eq!(shares(2).unwrap(), 2);
        // The third token differs; the first text has no fourth; nobody has so many.
        for (tokens, index) in [(3, 0), (4, 0), (usize::MAX, 0)] {
            let error = shares(tokens).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
            let message = error.to_string();
            assert!(message.contains(&format!("text {index} ")), "{message}");
        }

        // All of one text, none of another, a different start.
        let one: TokenBatch = [[5, 6]].into_iter().collect();
        assert!(one.clone().with_shared_prefix(2).is_err());
        assert_eq!(one.with_shared_prefix(1).unwrap().shared_prefix(), 1);
        for texts in [[vec![5, 6], vec![]], [vec![5, 6], vec![6, 6]]] {
            let batch: TokenBatch = texts.into_iter().collect();
            let error = batch.with_shared_prefix(1).unwrap_err().to_string();
            assert!(error.contains("text 1 "), "{error}");
        }
        let none = TokenBatch::new().with_shared_prefix(3).unwrap();
        assert_eq!(none.shared_prefix(), 0);
    }

    #[test]
    fn a_further_text_ends_what_was_shared() {
        let mut batch = [[5, 6], [5, 7]]
            .into_iter()
            .collect::<TokenBatch>()
            .with_shared_prefix(1)
            .unwrap();
        batch.push(&[9]);
        assert_eq!(batch.shared_prefix(), 0);
    }
}
