//! Long texts in parts, each at most so many tokens, split where the text itself is.

use akidb_embedding::diagnostics::chain;
use akidb_embedding::{EmbedError, EmbedOptions, Embedder, OnLong};
use text_splitter::{ChunkConfig, TextSplitter, TryChunkSizer};

use super::error::CorpusError;
use super::settings::Chunks;

/// Splits texts as a model's tokenizer counts them.
pub(super) struct Splitter<'a>(TextSplitter<Sizer<'a>>);

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its number, from 0.
    pub(super) chunk: i32,
    /// Its first character.
    pub(super) start: i64,
    /// The character behind its last.
    pub(super) end: i64,
}

/// Counts tokens; of a text that has too many anyway, not all of them.
struct Sizer<'a> {
    embedder: &'a Embedder,
    options: EmbedOptions,
    /// Tokens that are put around every text.
    around: usize,
}

impl<'a> Splitter<'a> {
    /// # Errors
    /// When chunks are longer than the model's texts, or have no room.
    pub(super) fn new(
        chunks: Chunks,
        embedder: &'a Embedder,
        options: &EmbedOptions,
    ) -> Result<Self, CorpusError> {
        let limit = options.max_tokens.unwrap_or(embedder.max_tokens());
        let wrong = |why: String| {
            CorpusError::Settings(format!("chunks of {} tokens: {why}", chunks.tokens))
        };
        if chunks.tokens > limit {
            return Err(wrong(format!("a text has at most {limit}")));
        }
        let options = EmbedOptions {
            max_tokens: Some(limit.min(chunks.tokens.saturating_add(1))),
            on_long: OnLong::Truncate,
            ..options.clone()
        };
        let mut sizer = Sizer {
            embedder,
            options,
            around: 0,
        };
        sizer.around = sizer.try_size("").map_err(CorpusError::Embed)?;
        let room = chunks.tokens.saturating_sub(sizer.around);
        if room <= chunks.overlap {
            let around = sizer.around;
            return Err(wrong(format!(
                "{around} are put around each text, {} overlap: nothing is left",
                chunks.overlap
            )));
        }
        let config = ChunkConfig::new(room).with_sizer(sizer);
        let config = config
            .with_overlap(chunks.overlap)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self(TextSplitter::new(config)))
    }

    /// The parts of a text; of one that is empty, itself.
    pub(super) fn split<'t>(&self, text: &'t str) -> Result<Vec<(Span, &'t str)>, String> {
        let mut parts = Vec::new();
        for part in self.0.try_chunk_char_indices(text) {
            let part = part.map_err(|error| chain(&error))?;
            let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
            let span = Span {
                chunk: i32::try_from(parts.len())
                    .map_err(|_| "it has too many chunks".to_owned())?,
                start: number(part.char_offset),
                end: number(part.char_offset + part.chunk.chars().count()),
            };
            parts.push((span, part.chunk));
        }
        if parts.is_empty() {
            let span = Span {
                chunk: 0,
                start: 0,
                end: 0,
            };
            parts.push((span, ""));
        }
        Ok(parts)
    }
}

impl TryChunkSizer for Sizer<'_> {
    type Error = EmbedError;

    fn try_size(&self, chunk: &str) -> Result<usize, EmbedError> {
        let tokens = self.embedder.tokenize(&[chunk], &self.options)?;
        let Some(tokens) = tokens.into_iter().next().transpose()? else {
            return Ok(0);
        };
        let more = usize::from(tokens.truncated);
        Ok(tokens.ids.len().saturating_sub(self.around) + more)
    }
}
