//! How a run's texts lie in a graph's inputs.

/// How texts lie in the inputs that have a value for each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextLayout {
    /// A row each, padded on the right: `[texts, tokens]`.
    Rows {
        /// Number of rows, where the graph has a fixed one.
        texts: Option<usize>,
        /// Length of a row, where the graph has a fixed one.
        tokens: Option<usize>,
    },
    /// End to end, `[tokens]`, beside the place where each begins, `[texts]`: a bag of tokens.
    EndToEnd,
}

impl TextLayout {
    /// Most texts of a run.
    pub fn most_texts(self) -> usize {
        match self {
            Self::Rows { texts, .. } => texts.unwrap_or(usize::MAX),
            Self::EndToEnd => usize::MAX,
        }
    }

    /// Most tokens of a text.
    pub fn most_tokens(self) -> Option<usize> {
        match self {
            Self::Rows { tokens, .. } => tokens,
            Self::EndToEnd => None,
        }
    }

    /// Rows and their length of a run of `texts` texts, the longest of `longest` tokens. End to end, a
    /// row is a text.
    pub fn grid(self, texts: usize, longest: usize) -> (usize, usize) {
        match self {
            Self::Rows {
                texts: rows,
                tokens,
            } => (rows.unwrap_or(texts), tokens.unwrap_or(longest)),
            Self::EndToEnd => (texts, longest),
        }
    }
}
