//! What a caller can ask for.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

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

impl<'a> From<Cow<'a, str>> for Input<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl From<Box<str>> for Input<'_> {
    fn from(text: Box<str>) -> Self {
        Self::Text(Cow::Owned(text.into_string()))
    }
}

/// References to whatever holds a text. One `From` for all of `AsRef<str>` would leave no room for
/// token ids.
macro_rules! from_texts {
    ($($text:ty),+) => {$(
        impl<'a> From<&'a $text> for Input<'a> {
            fn from(text: &'a $text) -> Self {
                Self::Text(Cow::Borrowed(text.as_ref()))
            }
        }
    )+};
}

from_texts!(
    &str,
    &&str,
    String,
    &String,
    Cow<'_, str>,
    Box<str>,
    Arc<str>,
    Rc<str>
);

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

impl<'a> From<&'a Vec<u32>> for Input<'a> {
    fn from(ids: &'a Vec<u32>) -> Self {
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
    /// Cut off the side that the model's tokenizer cuts off, keep what it puts around texts, and say so in the
    /// answer: its end, but for `"truncation_side": "left"` in tokenizer_config.json, or a truncation of
    /// direction `Left` in tokenizer.json.
    #[default]
    Truncate,
    /// The same with its start (prompt included).
    TruncateStart,
    /// The same with its end.
    TruncateEnd,
    /// Refuse it.
    Error,
}

choice!(OnLong, "way with long texts",
    Truncate = "truncate": "Cut off the side that the model's tokenizer says, mostly the end, and say so",
    TruncateStart = "truncate-start": "Cut the start off, the prompt included, and say so",
    TruncateEnd = "truncate-end": "Cut the end off and say so",
    Error = "error": "Refuse the text",
);

/// How a query and a document become a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// The model reads both and says how well they fit.
    Model,
    /// Cosine of their vectors.
    Cosine,
}

choice!(Scoring, "scoring",
    Model = "model": "The model reads query and document and says how well they fit",
    Cosine = "cosine": "Cosine of the vectors of query and document",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_holds_a_text_or_ids_is_an_input() {
        let text = || Input::Text(Cow::Borrowed("a"));
        let (string, boxed): (String, Box<str>) = ("a".into(), "a".into());
        let (cow, shared): (Cow<'_, str>, Arc<str>) = ("a".into(), "a".into());
        for input in [
            Input::from("a"),
            Input::from(&"a"),
            Input::from(&&"a"),
            Input::from(&string),
            Input::from(&&string),
            Input::from(&cow),
            Input::from(&boxed),
            Input::from(&shared),
            Input::from(&Rc::<str>::from("a")),
            Input::from(cow.clone()),
            Input::from(boxed.clone()),
            Input::from(string.clone()),
        ] {
            assert_eq!(input, text());
        }
        let ids = vec![1, 2];
        assert_eq!(Input::from(&ids), Input::from(&ids[..]));
    }
}
