//! What a model has that scores pairs: their text, and its head.

use super::RerankOptions;
use super::head::ScoreHead;
use super::options::sigmoid;
use super::pair_text::{Around, PairText};
use crate::backend::Loaded;
use crate::error::EmbedError;
use crate::model::{ModelFiles, Settings, Weights};
use crate::tokenizer::{Frame, TextTokenizer};

/// How a model scores pairs.
#[derive(Debug)]
pub(crate) struct Scorer {
    head: ScoreHead,
    sigmoid: bool,
    text: PairText,
    /// What no file says of that text.
    guess: Option<String>,
}

impl Scorer {
    /// The scorer of a model that scores pairs.
    pub(crate) fn load(
        files: &ModelFiles,
        weights: &Weights,
        settings: &Settings,
        tokenizer: &TextTokenizer,
        loaded: &Loaded,
    ) -> Result<Option<Self>, EmbedError> {
        let Some(scoring) = &settings.scoring else {
            return Ok(None);
        };
        let head = ScoreHead::load(files, weights, &scoring.head, tokenizer, loaded);
        let head = match head {
            Ok(head) => head,
            // It may be one, and has no such head: it embeds.
            Err(reason) if !scoring.certain => {
                tracing::debug!(model = files.id(), "no reranker: {reason}");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (text, guess) = PairText::of(files, settings, &scoring.head, tokenizer)?;
        if let Some(guess) = &guess {
            tracing::warn!(
                model = files.id(),
                "a guess, which no file of the model confirms: {guess}"
            );
        }
        Ok(Some(Self {
            head,
            sigmoid: scoring.sigmoid,
            text,
            guess,
        }))
    }

    /// What the model is told to look for; `None` where it isn't told.
    pub(super) fn instruction<'a>(&'a self, options: &'a RerankOptions) -> Option<&'a str> {
        self.text.instruction(options.instruction.as_deref())
    }

    pub(super) fn guess(&self) -> Option<&str> {
        self.guess.as_deref()
    }

    /// What stands around each document, unless that leaves no room for one; and the text that all
    /// pairs start with.
    pub(super) fn frame(
        &self,
        tokenizer: &TextTokenizer,
        query: &str,
        options: &RerankOptions,
        limit: usize,
    ) -> Result<(Option<Frame>, String), EmbedError> {
        let around = self.text.around(options.instruction.as_deref(), query)?;
        let Some(Around { head, prompt, tail }) = around else {
            return Ok((tokenizer.pair_frame(query, limit)?, String::new()));
        };
        let shared = format!("{head}{prompt}");
        let frame = tokenizer.template_frame(&head, prompt, &tail, limit)?;
        Ok((frame, shared))
    }

    /// Score and logit of a pair's state.
    pub(super) fn score(&self, state: &[f32]) -> (f32, f32) {
        let logit = self.head.logit(state);
        let score = if self.sigmoid { sigmoid(logit) } else { logit };
        (score, logit)
    }
}
