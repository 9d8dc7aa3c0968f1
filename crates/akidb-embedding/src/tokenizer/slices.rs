//! Texts of any length to tokens, a slice at a time: memory grows with the slice and with the limit
//! on tokens, not with the text.

use std::borrow::Cow;

use super::cuts::Known;
use super::{Keep, TextTokenizer, Tokens};
use crate::error::EmbedError;

/// How a text is sliced, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SliceSizes {
    /// What is tokenized at a time; texts up to here are whole. A slice takes at most some 500 bytes
    /// of memory a byte.
    pub(super) usual: usize,
    /// Where a text can't be cut for so long it is cut nevertheless, between two characters: a longer
    /// word has other tokens there than in one piece.
    pub(super) most: usize,
}

impl Default for SliceSizes {
    fn default() -> Self {
        Self {
            usual: 8 << 10,
            most: 64 << 10,
        }
    }
}

/// How far a text is tokenized.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub(super) ids: Vec<u32>,
    /// Bytes of the text, from its kept side on.
    done: usize,
    /// The text was cut within a word whose one token is there already.
    within_unknown: bool,
}

/// An end of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) at: usize,
    /// The text can't be cut there without a trace.
    forced: bool,
}

impl TextTokenizer {
    /// Goes on with the ids of `prompt` followed by `text`, at most `limit` of them with the special
    /// tokens.
    pub(crate) fn encode_slice(
        &self,
        prompt: &str,
        text: &str,
        limit: usize,
        keep: Keep,
        progress: &mut Progress,
    ) -> Result<Option<Tokens>, EmbedError> {
        let room = limit.saturating_sub(self.special_tokens());
        let whole = match keep {
            Keep::Start => self.go_on(prompt, text, progress)?,
            Keep::End => self.go_back(prompt, text, progress)?,
        };
        if !whole && progress.ids.len() <= room {
            return Ok(None);
        }
        let mut content = std::mem::take(progress).ids;
        let truncated = keep.cut(&mut content, room);
        Ok(Some(self.wrap(content, truncated)))
    }

    /// Adds a slice's ids; whether it was the last.
    pub(super) fn go_on(
        &self,
        prompt: &str,
        text: &str,
        progress: &mut Progress,
    ) -> Result<bool, EmbedError> {
        let start = progress.done;
        let end = self.slice_end(text, start);
        let slice = text.get(start..end.at).unwrap_or_default();
        let mut encoded = match start {
            0 => self.raw(&joined(prompt, slice))?,
            _ => self.raw(slice)?,
        };
        if let Some(longest) = self.pipeline.longest_word() {
            let word = encoded.first_word;
            let skip = if progress.within_unknown {
                word.tokens
            } else {
                0
            };
            progress.within_unknown = end.forced
                && (progress.within_unknown && word.alone || encoded.last_word.chars > longest);
            encoded.ids.drain(..skip.min(encoded.ids.len()));
        }
        progress.done = end.at;
        if progress.ids.is_empty() {
            progress.ids = encoded.ids;
        } else {
            progress.ids.append(&mut encoded.ids);
        }
        Ok(end.at == text.len())
    }

    /// Puts the ids of the slice before the last one before what is there; whether it was the first.
    pub(super) fn go_back(
        &self,
        prompt: &str,
        text: &str,
        progress: &mut Progress,
    ) -> Result<bool, EmbedError> {
        let end = text.len().saturating_sub(progress.done);
        let start = self.slice_start(text, end);
        let slice = text.get(start..end).unwrap_or_default();
        let mut encoded = match start {
            0 => self.raw(&joined(prompt, slice))?,
            _ => self.raw(slice)?,
        };
        progress.done = text.len() - start;
        encoded.ids.append(&mut progress.ids);
        progress.ids = encoded.ids;
        Ok(start == 0)
    }

    /// Where the slice that starts at `start` ends.
    pub(super) fn slice_end(&self, text: &str, start: usize) -> End {
        let SliceSizes { usual, most } = self.sizes;
        if text.len() - start <= usual {
            return End {
                at: text.len(),
                forced: false,
            };
        }
        let known = &mut Known::default();
        let (near, far) = (start + usual, start.saturating_add(most));
        let found = self.pipeline.cut(text, start + 1..near, true, known);
        let found = found.or_else(|| self.pipeline.cut(text, near..far, false, known));
        match found {
            Some(at) => End { at, forced: false },
            None if text.len() <= far => End {
                at: text.len(),
                forced: false,
            },
            None => End {
                at: text.floor_char_boundary(far),
                forced: true,
            },
        }
    }

    /// Where the slice that ends at `end` starts.
    fn slice_start(&self, text: &str, end: usize) -> usize {
        let SliceSizes { usual, most } = self.sizes;
        if end <= usual {
            return 0;
        }
        let known = &mut Known::default();
        let (near, far) = (end - usual, end.saturating_sub(most));
        let found = self.pipeline.cut(text, near..end, false, known);
        let found = found.or_else(|| self.pipeline.cut(text, far + 1..near, true, known));
        found.unwrap_or_else(|| text.ceil_char_boundary(far))
    }
}

pub(super) fn joined<'a>(prompt: &str, text: &'a str) -> Cow<'a, str> {
    if prompt.is_empty() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{prompt}{text}"))
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
