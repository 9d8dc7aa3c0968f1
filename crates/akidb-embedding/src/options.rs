//! What a caller can ask for.

use std::borrow::Cow;

use akidb_backend::choice;

use crate::prompt::Prompt;
use crate::vectors::Encoding;

/// One thing to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Token ids; special tokens are added where they are not there already.
    Tokens(Cow<'a, [u32]>),
}

impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Input<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a String> for Input<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a &str> for Input<'a> {
    fn from(text: &'a &str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a &[u32]> for Input<'a> {
    fn from(ids: &'a &[u32]) -> Self {
        Self::Tokens(Cow::Borrowed(ids))
    }
}

impl<'a> From<&'a Input<'_>> for Input<'a> {
    fn from(input: &'a Input<'_>) -> Self {
        match input {
            Input::Text(text) => Self::Text(Cow::Borrowed(text)),
            Input::Tokens(ids) => Self::Tokens(Cow::Borrowed(ids)),
        }
    }
}

impl<'a> From<&'a [u32]> for Input<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self::Tokens(Cow::Borrowed(ids))
    }
}

impl From<Vec<u32>> for Input<'_> {
    fn from(ids: Vec<u32>) -> Self {
        Self::Tokens(Cow::Owned(ids))
    }
}

/// What to do with a text that is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLong {
    /// Cut its end off, keep the EOS, and say so in the answer.
    #[default]
    Truncate,
    /// Cut its start off (prompt included), keep the EOS, and say so in the answer.
    TruncateStart,
    /// Refuse it.
    Error,
}

choice!(OnLong, "way with long texts",
    Truncate = "truncate": "Cut the end off and say so",
    TruncateStart = "truncate-start": "Cut the start off, the prompt included, and say so",
    Error = "error": "Refuse the text",
);

/// How to embed.
///
/// ```
/// use akidb_embedding::{EmbedOptions, Encoding};
///
/// let options = EmbedOptions {
///     dimension: Some(128),
///     encoding: Encoding::I8,
///     ..EmbedOptions::query()
/// };
/// assert!(options.normalize);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedOptions {
    /// What is put before each text.
    pub prompt: Prompt,
    /// Keep only the first so many values (Matryoshka), before normalising.
    pub dimension: Option<usize>,
    /// Scale each vector to length 1.
    pub normalize: bool,
    /// Element type of the vectors.
    pub encoding: Encoding,
    /// A limit below the model's own, in tokens, special tokens included.
    pub max_tokens: Option<usize>,
    /// What to do beyond the limit.
    pub on_long: OnLong,
}

impl Default for EmbedOptions {
    /// The model's default prompt or a document's, whole, normalised, f32, truncated where too long.
    fn default() -> Self {
        Self {
            prompt: Prompt::Default,
            dimension: None,
            normalize: true,
            encoding: Encoding::F32,
            max_tokens: None,
            on_long: OnLong::Truncate,
        }
    }
}

impl EmbedOptions {
    /// The defaults, for queries.
    pub fn query() -> Self {
        Self {
            prompt: Prompt::Query,
            ..Self::default()
        }
    }
}
