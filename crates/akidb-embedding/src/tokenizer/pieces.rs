//! Tokens with the text that each stands for, and the way back from ids to text.

use std::borrow::Cow;
use std::ops::Range;

use super::slices::joined;
use super::{TextTokenizer, guard};
use crate::error::EmbedError;

/// One token of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its id.
    pub id: u32,
    /// What it stands for in the text; a special token's own name.
    pub text: String,
    /// The model's, put around the text: not part of it.
    pub special: bool,
    /// Where in prompt and text it stands, in bytes; a special token nowhere.
    pub range: Option<Range<usize>>,
}

/// How far a text's tokens are told.
#[derive(Debug, Clone, Default)]
pub struct PiecesProgress {
    /// Bytes of the text.
    done: usize,
    /// Bytes of prompt and text.
    behind: usize,
    ended: bool,
}

impl TextTokenizer {
    pub(crate) fn pieces_slice(
        &self,
        prompt: &str,
        text: &str,
        special_tokens: bool,
        progress: &mut PiecesProgress,
    ) -> Result<Option<Vec<Piece>>, EmbedError> {
        if progress.ended {
            return Ok(None);
        }
        let start = progress.done;
        let end = self.slice_end(text, start).at;
        let slice = text.get(start..end).unwrap_or_default();
        let slice = match start {
            0 => joined(prompt, slice),
            _ => Cow::Borrowed(slice),
        };
        let special = |ids: &[u32]| -> Vec<Piece> {
            let ids = ids.iter().filter(|_| special_tokens);
            ids.map(|&id| Piece {
                id,
                text: self.pipeline.token(id).unwrap_or_default(),
                special: true,
                range: None,
            })
            .collect()
        };
        let mut pieces = Vec::new();
        if start == 0 {
            pieces = special(&self.prefix);
        }
        pieces.extend(self.content(&slice, start > 0, progress.behind)?);
        if end == text.len() {
            pieces.extend(special(&self.suffix));
            progress.ended = true;
        }
        progress.done = end;
        progress.behind += slice.len();
        Ok(Some(pieces))
    }

    /// The tokens of a slice that stands behind `before` bytes.
    fn content(
        &self,
        slice: &str,
        inside: bool,
        before: usize,
    ) -> Result<impl Iterator<Item = Piece>, EmbedError> {
        let text = self.as_trained(slice);
        let placed = guard(&self.label, || {
            self.pipeline.encode_char_offsets(&text, inside)
        })?;
        // In lower case a character may be several.
        let own: Vec<usize> = match self.lower_case {
            true => lower_case_origins(slice),
            false => Vec::new(),
        };
        let placed = placed.into_iter().map(move |(id, range)| {
            let start = own.get(range.start).copied().unwrap_or(range.start);
            let last = range.end.checked_sub(1);
            let end = last
                .and_then(|last| own.get(last))
                .map_or(range.end, |last| last + 1);
            (id, start..end.max(start))
        });
        let ends = slice.char_indices().map(|(at, _)| at).chain([slice.len()]);
        let ends: Vec<usize> = ends.collect();
        Ok(placed.map(move |(id, range)| {
            let byte = |char: usize| ends.get(char).copied().unwrap_or(slice.len());
            let range = byte(range.start)..byte(range.end);
            Piece {
                id,
                text: slice.get(range.clone()).unwrap_or_default().to_owned(),
                special: false,
                range: Some(before + range.start..before + range.end),
            }
        }))
    }

    pub(crate) fn decode(
        &self,
        ids: &[u32],
        skip_special_tokens: bool,
    ) -> Result<String, EmbedError> {
        guard(&self.label, || {
            self.pipeline.decode(ids, skip_special_tokens)
        })
    }
}

/// For each character of the text in lower case, the place of the one that it comes from.
fn lower_case_origins(text: &str) -> Vec<usize> {
    let lower = |(place, c): (usize, char)| std::iter::repeat_n(place, c.to_lowercase().count());
    text.chars().enumerate().flat_map(lower).collect()
}
