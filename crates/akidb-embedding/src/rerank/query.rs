//! The steps from a query and a document to a score, for those who put something between them.

use crate::error::EmbedError;
use crate::options::OnLong;
use crate::tokenizer::{Frame, Progress, Tokens};

use super::scorer::Scorer;
use super::{RerankOptions, Reranker, Score};

/// A query that is ready for documents.
#[derive(Debug, Clone)]
pub struct PairQuery {
    pub(super) frame: Frame,
    pub(super) shared_text: String,
    limit: usize,
    on_long: OnLong,
}

impl PairQuery {
    /// The text that all pairs start with, as [`Embedder::forward`](crate::Embedder::forward) has its
    /// instruction; empty where the model reads the whole of a pair at once.
    pub fn shared_text(&self) -> &str {
        &self.shared_text
    }

    /// Tokens that each pair has beside the document's.
    pub fn tokens(&self) -> usize {
        self.frame.tokens()
    }
}

impl Reranker {
    /// Makes a query ready for documents that the model is to score.
    ///
    /// # Errors
    /// [`EmbedError::NotAReranker`], where the model scores no pairs; when the query leaves no room for a
    /// document, or the model takes no instruction.
    pub fn query(&self, query: &str, options: &RerankOptions) -> Result<PairQuery, EmbedError> {
        let embedder = &self.embedder;
        let limit = embedder.check_limit(options.max_tokens)?;
        let (frame, shared_text) =
            self.scorer()?
                .frame(&embedder.tokenizer, query, options, limit)?;
        let frame = frame.ok_or(EmbedError::QueryTooLong { limit })?;
        let of_document = options.max_document_tokens.map(|most| most.max(1));
        let of_document = of_document.map(|most| most.saturating_add(frame.tokens()));
        Ok(PairQuery {
            limit: of_document.unwrap_or(limit).min(limit),
            frame,
            shared_text,
            on_long: options.on_long,
        })
    }

    /// Goes on with a pair's tokens, some milliseconds of work, and gives them when all are there.
    ///
    /// # Errors
    /// When the document is too long and truncation was declined, or the tokenizer fails: index 0.
    pub fn pair_slice(
        &self,
        query: &PairQuery,
        document: &str,
        progress: &mut Progress,
    ) -> Result<Option<Tokens>, EmbedError> {
        let limit = query.limit;
        let tokenizer = &self.embedder.tokenizer;
        let keep = tokenizer.keep(query.on_long);
        let tokens = tokenizer.encode_in_frame(&query.frame, document, limit, keep, progress)?;
        if query.on_long == OnLong::Error && tokens.as_ref().is_some_and(|t| t.truncated) {
            return Err(EmbedError::TooLong { index: 0, limit });
        }
        Ok(tokens)
    }

    pub(super) fn pair_tokens(
        &self,
        query: &PairQuery,
        document: &str,
    ) -> Result<Tokens, EmbedError> {
        let mut progress = Progress::default();
        loop {
            if let Some(tokens) = self.pair_slice(query, document, &mut progress)? {
                return Ok(tokens);
            }
        }
    }

    /// The score of document `index`, whose pair has this state and so many tokens.
    ///
    /// # Errors
    /// [`EmbedError::NotFinite`], where the model overflows; [`EmbedError::NotAReranker`].
    pub fn score(
        &self,
        index: usize,
        state: &[f32],
        tokens: usize,
        truncated: bool,
    ) -> Result<Score, EmbedError> {
        let (score, logit) = self.scorer()?.score(state);
        if !logit.is_finite() {
            return Err(EmbedError::NotFinite {
                index,
                encoding: None,
            });
        }
        Ok(Score {
            index,
            score,
            logit,
            tokens,
            truncated,
        })
    }

    fn scorer(&self) -> Result<&Scorer, EmbedError> {
        let scorer = self.embedder.scorer.as_ref();
        scorer.ok_or_else(|| EmbedError::NotAReranker {
            model: self.embedder.model().to_owned(),
        })
    }
}
