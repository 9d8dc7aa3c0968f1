//! What a caller can ask for, and what comes back.

use crate::options::{OnLong, Scoring};
use crate::response::Embedding;
use crate::vectors::similarity;

/// How to score.
///
/// ```
/// use akidb_embedding::RerankOptions;
///
/// let options = RerankOptions {
///     top_n: Some(10),
///     ..RerankOptions::default()
/// };
/// assert!(options.scoring.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RerankOptions {
    /// How; without it, by the model where it is a reranker, else by cosine.
    pub scoring: Option<Scoring>,
    /// The task in your own words, for models that take one; without it, the model's own.
    pub instruction: Option<String>,
    /// A limit of a pair below the model's own, in tokens: special tokens and the model's own words
    /// included. With cosine, of each text.
    pub max_tokens: Option<usize>,
    /// A limit of a document alone, in tokens.
    pub max_document_tokens: Option<usize>,
    /// What to do with a document beyond the limit. A query is never cut (with cosine, as a document).
    pub on_long: OnLong,
    /// Give only so many, the best.
    pub top_n: Option<usize>,
}

/// How well a document answers the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Which document.
    pub index: usize,
    /// As the model's files say: the sigmoid of the logit (a probability), or the logit. A cosine where
    /// that is what documents are scored by.
    pub score: f32,
    /// What the model gave, not bounded; the cosine, where there is no such.
    pub logit: f32,
    /// Tokens of the pair, special ones included; with cosine, those of the document.
    pub tokens: usize,
    /// The document was longer, and part of it was not seen.
    pub truncated: bool,
}

impl Score {
    /// The score of a document whose vector has this cosine with the query's.
    fn cosine(index: usize, cosine: f32, tokens: usize, truncated: bool) -> Self {
        Self {
            index,
            score: cosine,
            logit: cosine,
            tokens,
            truncated,
        }
    }

    /// The scores of documents whose vectors are in f32, by their cosine with the query's, in order.
    pub fn cosines(query: &[f32], documents: &[Embedding]) -> Vec<Self> {
        let documents = documents.iter().enumerate();
        let score = |(index, document): (usize, &Embedding)| {
            let vector = document.values.as_f32().unwrap_or_default();
            let cosine = similarity(query, vector);
            Self::cosine(index, cosine, document.tokens, document.truncated)
        };
        documents.map(score).collect()
    }

    /// The best first, and no more than are wanted; of equal ones the earlier is first. The logit tells
    /// apart what rounds to the same probability.
    pub fn rank(scores: &mut Vec<Self>, top_n: Option<usize>) {
        scores.sort_by(|a, b| b.logit.total_cmp(&a.logit));
        scores.truncate(top_n.unwrap_or(usize::MAX));
    }

    /// The sigmoid of the logit, whatever the model's files say; a cosine stays.
    pub fn probability(&self, scoring: Scoring) -> f32 {
        match scoring {
            Scoring::Model => sigmoid(self.logit),
            Scoring::Cosine => self.score,
        }
    }
}

/// The sigmoid of a logit: 0 to 1.
pub(super) fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_first_and_of_equals_the_earlier() {
        let logits = [1.0, 50.0, -2.0, 60.0, 1.0];
        let score = |(index, &logit): (usize, &f32)| Score {
            score: sigmoid(logit),
            ..Score::cosine(index, logit, 1, false)
        };
        let mut scores: Vec<Score> = logits.iter().enumerate().map(score).collect();
        // Both are 1 to f32.
        assert_eq!(scores[1].score, scores[3].score);
        Score::rank(&mut scores, Some(4));
        let order: Vec<usize> = scores.iter().map(|score| score.index).collect();
        assert_eq!(order, [3, 1, 0, 4]);
    }

    #[test]
    fn sigmoids_end_at_0_and_1() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!((sigmoid(1e9), sigmoid(-1e9)), (1.0, 0.0));
        assert!((sigmoid(0.744607) - 0.6780025).abs() < 1e-6);
    }
}
