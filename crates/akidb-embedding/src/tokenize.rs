//! Texts to tokens and back, as the options say.

use crate::embedder::Embedder;
use crate::error::EmbedError;
use crate::options::{EmbedOptions, Input, OnLong};
use crate::tokenizer::{Piece, PiecesProgress, Progress, Tokens};

impl Embedder {
    /// The tokens of each text, or what is wrong with it: prompt, special tokens and truncation
    /// included.
    ///
    /// ```
    /// use akidb_embedding::{EmbedOptions, Embedder};
    ///
    /// let embedder = Embedder::builder().model("akidb-mini").build()?;
    /// let options = EmbedOptions::default();
    /// let tokens = embedder.tokenize(&["a text"], &options)?.remove(0)?;
    /// let states = embedder.forward(&[&tokens.ids], "")?;
    /// let values = embedder.finish(states.row(0), &options)?;
    /// assert_eq!(values.into_f32(), Some(embedder.vectors(&["a text"], &options)?.remove(0)));
    /// # Ok::<(), akidb_embedding::EmbedError>(())
    /// ```
    ///
    /// # Errors
    /// When an option doesn't fit the model.
    pub fn tokenize<'a, I>(
        &self,
        inputs: &'a [I],
        options: &EmbedOptions,
    ) -> Result<Vec<Result<Tokens, EmbedError>>, EmbedError>
    where
        &'a I: Into<Input<'a>>,
    {
        let prompt = options.prompt.resolve(&self.settings.prompts)?;
        Ok(self.tokens_of(inputs, options, &prompt)?.collect())
    }

    /// The tokens of each text, or what is wrong with it; `prompt` is the resolved one.
    pub(crate) fn tokens_of<'a, I>(
        &self,
        inputs: &'a [I],
        options: &EmbedOptions,
        prompt: &str,
    ) -> Result<impl Iterator<Item = Result<Tokens, EmbedError>>, EmbedError>
    where
        &'a I: Into<Input<'a>>,
    {
        let limit = self.check_limit(options.max_tokens)?;
        Ok(inputs.iter().enumerate().map(move |(index, input)| {
            let input = input.into();
            let mut progress = Progress::default();
            loop {
                let tokens = self.slice_of(index, &input, options, prompt, limit, &mut progress)?;
                if let Some(tokens) = tokens {
                    return Ok(tokens);
                }
            }
        }))
    }

    /// Goes on with a text's tokens, some milliseconds of work, and gives them when all are there:
    /// those of [`Self::tokenize`], prompt, special tokens and truncation included.
    ///
    /// ```
    /// use akidb_embedding::{EmbedOptions, Embedder, Input, Progress};
    ///
    /// let embedder = Embedder::builder().model("akidb-mini").build()?;
    /// let options = EmbedOptions::default();
    /// let text = Input::from("a long text ".repeat(2000));
    /// let mut progress = Progress::default();
    /// let tokens = loop {
    ///     if let Some(tokens) = embedder.tokenize_slice(&text, &options, &mut progress)? {
    ///         break tokens;
    ///     }
    /// };
    /// assert_eq!(tokens, embedder.tokenize(&[text], &options)?.remove(0)?);
    /// # Ok::<(), akidb_embedding::EmbedError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::tokenize`], for the options and for the text, index 0.
    pub fn tokenize_slice(
        &self,
        input: &Input<'_>,
        options: &EmbedOptions,
        progress: &mut Progress,
    ) -> Result<Option<Tokens>, EmbedError> {
        let prompt = options.prompt.resolve(&self.settings.prompts)?;
        let limit = self.check_limit(options.max_tokens)?;
        self.slice_of(0, input, options, &prompt, limit, progress)
    }

    /// Goes on with the text at `index` of a call.
    fn slice_of(
        &self,
        index: usize,
        input: &Input<'_>,
        options: &EmbedOptions,
        prompt: &str,
        limit: usize,
        progress: &mut Progress,
    ) -> Result<Option<Tokens>, EmbedError> {
        let tokenizer = &self.tokenizer;
        let keep = tokenizer.keep(options.on_long);
        let tokens = match input {
            Input::Text(text) => tokenizer
                .encode_slice(prompt, text, limit, keep, progress)
                .map_err(|error| error.counted_from(index))?,
            Input::Tokens(ids) => {
                let tokens = tokenizer.encode_ids(prompt, ids, limit, keep);
                Some(tokens.map_err(|message| EmbedError::InvalidTokens { index, message })?)
            }
        };
        if options.on_long == OnLong::Error && tokens.as_ref().is_some_and(|t| t.truncated) {
            return Err(EmbedError::TooLong { index, limit });
        }
        let Some(tokens) = tokens else {
            return Ok(None);
        };
        if tokens.ids.is_empty() {
            let message = "it has no tokens, and the model puts none around texts".to_owned();
            return Err(EmbedError::InvalidTokens { index, message });
        }
        let task = self.settings.task(&options.prompt)?;
        Ok(Some(Tokens {
            task: task.map_or(0, |(task, _)| task),
            ..tokens
        }))
    }

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

#[cfg(test)]
#[cfg(feature = "builtin")]
mod tests {
    use super::*;

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
