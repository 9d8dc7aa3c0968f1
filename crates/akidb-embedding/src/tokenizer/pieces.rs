//! Tokens with the text that each stands for, and the way back from ids to text.

use std::borrow::Cow;
use std::ops::Range;

use super::slices::joined;
use super::{TextTokenizer, guard};
use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::options::EmbedOptions;

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

impl Embedder {
    /// A text's tokens one by one, prompt included, nothing cut off.
    ///
    /// ```
    /// use akidb_embedding::{EmbedOptions, Embedder};
    ///
    /// let embedder = Embedder::builder().model("akidb-mini").build()?;
    /// let pieces = embedder.pieces("Hello, world!", true, &EmbedOptions::default())?;
    /// assert_eq!((pieces[2].text.as_str(), pieces[2].range.clone()), (" world", Some(6..12)));
    /// assert!(pieces[4].special);
    /// # Ok::<(), akidb_embedding::EmbedError>(())
    /// ```
    ///
    /// # Errors
    /// When the model has no such prompt, or the tokenizer fails.
    pub fn pieces(
        &self,
        text: &str,
        special_tokens: bool,
        options: &EmbedOptions,
    ) -> Result<Vec<Piece>, EmbedError> {
        let mut progress = PiecesProgress::default();
        let mut pieces = Vec::new();
        while let Some(slice) = self.pieces_slice(text, special_tokens, options, &mut progress)? {
            pieces.extend(slice);
        }
        Ok(pieces)
    }

    /// The tokens of the next slice of a text, some milliseconds of work: all together are those of
    /// [`Self::pieces`]. `None` behind the last.
    ///
    /// # Errors
    /// As [`Self::pieces`].
    pub fn pieces_slice(
        &self,
        text: &str,
        special_tokens: bool,
        options: &EmbedOptions,
        progress: &mut PiecesProgress,
    ) -> Result<Option<Vec<Piece>>, EmbedError> {
        let prompt = options.prompt.resolve(&self.settings.prompts)?;
        self.tokenizer
            .pieces_slice(&prompt, text, special_tokens, progress)
    }

    /// The text that token ids stand for; ids that no token has stand for nothing.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, EmbedError> {
        self.tokenizer.decode(ids, skip_special_tokens)
    }
}

impl TextTokenizer {
    pub(super) fn pieces_slice(
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

    pub(super) fn decode(
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

#[cfg(test)]
#[cfg(feature = "builtin")]
mod tests {
    use super::*;
    use crate::options::Input;

    fn embedder() -> Embedder {
        Embedder::builder().model("akidb-mini").build().unwrap()
    }

    #[test]
    fn pieces_are_the_tokens_that_are_embedded() {
        let embedder = embedder();
        let query = EmbedOptions::query();
        let text = "naïve café 😀, 日本語";
        for options in [EmbedOptions::default(), query] {
            let tokens = embedder
                .tokenize(&[Input::from(text)], &options)
                .unwrap()
                .remove(0)
                .unwrap();
            let pieces = embedder.pieces(text, true, &options).unwrap();
            assert_eq!(pieces.iter().map(|p| p.id).collect::<Vec<_>>(), tokens.ids);
            let bare = embedder.pieces(text, false, &options).unwrap();
            assert_eq!(bare, pieces[..pieces.len() - 1]);
        }
    }

    #[test]
    fn ranges_count_bytes_and_cover_the_text() {
        let text = "naïve café 😀 日本";
        let pieces = embedder()
            .pieces(text, false, &EmbedOptions::default())
            .unwrap();
        let mut seen = 0;
        for piece in &pieces {
            let range = piece.range.clone().unwrap();
            // Tokens that share a character's bytes each stand for the whole character.
            assert!(range.start <= seen && seen <= range.end, "{piece:?}");
            assert_eq!(piece.text, text[range.clone()]);
            seen = range.end;
        }
        assert_eq!(seen, text.len());
    }

    #[test]
    fn the_special_token_has_its_name_and_no_place() {
        let pieces = embedder()
            .pieces("", true, &EmbedOptions::default())
            .unwrap();
        let [eos] = pieces.as_slice() else {
            panic!("{pieces:?}");
        };
        assert_eq!((eos.text.as_str(), eos.special), ("<|endoftext|>", true));
        assert_eq!(eos.range, None);
    }

    #[test]
    fn ids_become_their_text_again() {
        let embedder = embedder();
        let text = "Hello, wörld 😀!";
        let ids = embedder
            .tokenize(&[text], &EmbedOptions::default())
            .unwrap();
        let ids = &ids[0].as_ref().unwrap().ids;
        assert_eq!(embedder.decode(ids, true).unwrap(), text);
        assert_eq!(
            embedder.decode(ids, false).unwrap(),
            format!("{text}<|endoftext|>")
        );
        assert_eq!(embedder.decode(&[u32::MAX], true).unwrap(), "");
    }
}
